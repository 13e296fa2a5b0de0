"""What the workflow refuses: a config with a mistake, and models that have not learnt."""

from __future__ import annotations

import functools
import re

import pytest

from tests.workflow.conftest import Study
from tests.workflow.studies import tiny_study, with_rloo

pytestmark = pytest.mark.workflow


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seed", "x", "seed = 'x': must be of type integer"),
        ("tasks.length.sft.stepz", 3, "tasks.length.sft.stepz = 3: unknown key; allowed here: "),
        ("tasks.length.dera.lams", [], "tasks.length.dera.lams = []: must not be empty"),
        (
            "tasks.length.settings.min_tokens",
            13,
            "tasks.length.settings = {'max_tokens': 12, 'min_tokens': 13}: "
            "min_tokens = 13 must be at least 1 and at most max_tokens = 12",
        ),
    ],
)
def test_a_config_with_a_mistake_is_refused_before_any_job(
    tmp_path, warm_environment, key, value, message
):
    study = Study(tmp_path, tiny_study(length=with_rloo("length")), warm_environment)
    *sections, last = key.split(".")
    section = functools.reduce(dict.__getitem__, sections, study.config)
    section[last] = value
    result = study.run()
    assert result.returncode != 0
    [line] = [line for line in result.stderr.splitlines() if line.startswith("config error: ")]
    assert line.startswith(f"config error: {message}")
    assert not study.results.exists()


def test_a_reference_that_has_not_learnt_its_task_stops_the_study(tmp_path, warm_environment):
    """After ten steps not every summary ends in time."""
    section = with_rloo("length")
    section["sft"]["minimum"] = {"finished": 1.0}
    study = Study(tmp_path, tiny_study(length=section), warm_environment)
    result = study.run("results/tiny/length/samples/reference")
    assert result.returncode != 0
    message = (
        r"\[length sft\] failed: task length: the reference has not learnt its task: "
        r"finished is 0\.\d+ on validation prompts, and sft\.minimum\.finished = 1\."
    )
    assert re.search(message, result.stderr), result.stderr[-3000:]
    finished = study.results / "length/data/test.parquet"
    assert finished.exists()
    missing = ("models/reference", "samples")
    assert not any((study.results / "length" / name).exists() for name in missing)


def test_a_reward_model_that_does_not_beat_chance_stops_the_study(tmp_path, warm_environment):
    """It learns from coin flips. One seed in a hundred passes by luck, but not this one."""
    section = with_rloo("summarization")
    # short posts and summaries, which soon end by themselves
    section["settings"] |= {"facts": 1, "noise": 0}
    section["sft"]["steps"] = 40
    section["preferences"] |= {"pairs": 256, "sharpness": 0.0001, "length_bias": 0}
    section["reward_model"] |= {"steps": 2, "warmup_steps": 0, "batch_size": 8, "held_out": 20}
    study = Study(tmp_path, tiny_study(summarization=section), warm_environment)
    result = study.run("results/tiny/summarization/models/rloo/beta=1/seed=0")
    assert result.returncode != 0
    message = (
        r"\[summarization reward model\] failed: task summarization: the reward model ranks \d+ "
        r"of 20 held-out pairs .* to beat chance it must rank 16 \(80\.0%\)"
    )
    assert re.search(message, result.stderr), result.stderr[-3000:]
    finished = ("data/preferences/reward_model.parquet", "models/reference/model.safetensors")
    assert all((study.results / "summarization" / name).exists() for name in finished)
    missing = ("models/reward", "models/rloo")
    assert not any((study.results / "summarization" / name).exists() for name in missing)
