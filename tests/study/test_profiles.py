"""The profiles say how jobs run, and Snakemake uses the one that the command names."""

from pathlib import Path

import pytest
import yaml
from snakemake import cli

ROOT = Path(__file__).parents[2]


def profile(name: str) -> dict:
    return yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text())


def test_the_profile_of_a_gpu_differs_in_the_jobs_on_the_gpu_alone():
    default, of_gpu = profile("default"), profile("gpu")
    assert default.pop("resources") == {"gpu": 1}
    assert of_gpu.pop("resources") == {"gpu": 4}
    assert default == of_gpu


@pytest.mark.parametrize(
    ("arguments", "jobs"), [([], 1), (["--workflow-profile", str(ROOT / "profiles/gpu")], 4)]
)
def test_four_jobs_share_the_gpu_where_the_command_names_its_profile(arguments, jobs):
    """With `--profile`, Snakemake would still take the number from profiles/default."""
    _, options = cli.parse_args(["-n", "--snakefile", str(ROOT / "Snakefile"), *arguments])
    assert int(options.resources["gpu"].value) == jobs
