"""The profiles say how jobs run, and Snakemake uses the one that the command names."""

from pathlib import Path

import pytest
import yaml
from snakemake import cli

from study import job

ROOT = Path(__file__).parents[2]


def profile(name: str) -> dict:
    return yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text())


def test_the_profile_of_a_gpu_differs_in_the_jobs_on_the_gpu_alone():
    default, of_gpu = profile("default"), profile("gpu")
    assert default.pop("resources") == {"gpu": 1}
    assert of_gpu.pop("resources") == {"gpu": 4}
    assert default == of_gpu


def test_the_profile_of_slurm_asks_the_same_of_snakemake_as_the_default_one():
    """What is not about submitting must not differ, or a cluster would run other jobs again."""
    default, of_slurm = profile("default"), profile("slurm")
    del default["resources"]
    assert {name: of_slurm[name] for name in default} == default
    assert of_slurm["executor"] == "slurm"
    rules = (ROOT / "eval/eval.smk").read_text()
    assert all(f"rule {name}:" in rules for name in of_slurm["set-resources"])


@pytest.mark.parametrize("present", [True, False])
@pytest.mark.parametrize("said", ["1", "0", ""])
def test_on_a_cluster_a_variable_says_whether_jobs_get_a_gpu(said, present, monkeypatch):
    """Each job asks again on its own machine, which may have a GPU where the first had none."""
    monkeypatch.setattr(job, "gpu_present", lambda: present)
    monkeypatch.setenv("DERA_GPU", said)
    expected = present if said == "" else said == "1"
    assert job.gpus_of_a_job() == expected
    monkeypatch.setattr(job, "gpu_present", lambda: not present)
    assert job.gpus_of_a_job() == expected


def test_a_variable_that_says_neither_is_refused(monkeypatch):
    monkeypatch.setenv("DERA_GPU", "yes")
    with pytest.raises(SystemExit, match="DERA_GPU = 'yes': must be 1 .* and 0"):
        job.gpus_of_a_job()


@pytest.mark.parametrize(
    ("arguments", "jobs"), [([], 1), (["--workflow-profile", str(ROOT / "profiles/gpu")], 4)]
)
def test_four_jobs_share_the_gpu_where_the_command_names_its_profile(arguments, jobs):
    """With `--profile`, Snakemake would still take the number from profiles/default."""
    _, options = cli.parse_args(["-n", "--snakefile", str(ROOT / "Snakefile"), *arguments])
    assert int(options.resources["gpu"].value) == jobs
