"""A replicate has seeds that no other one has, and is either tuned on or published."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from study import resolve
from study.schema import ConfigError

ROOT = Path(__file__).parents[2]
REPLICATES = {"tuning": [0, 3], "published": [1, 2]}


@pytest.fixture
def config() -> dict:
    """The smoke study with replicates, and with seeds of its own for one objective."""
    result = copy.deepcopy(yaml.safe_load((ROOT / "config/smoke.yaml").read_text()))
    result["replicates"] = copy.deepcopy(REPLICATES)
    result["replicate"] = 1
    alignment = result["tasks"]["length"]["alignment"]
    alignment["seeds"] = [0, 999]
    alignment["objectives"]["dpo"]["seeds"] = [5]
    return result


def random_seeds(config: dict) -> set[int]:
    """Every seed that a job of the study is given."""
    plan = resolve.plan_of(config)
    seeds = {plan.seed}
    for task in plan.tasks.values():
        seeds |= {run.seed for run in task.runs} | {task.preferences_seed("reward_model")}
        seeds |= {task.preferences_seed(f"seed={run.seed}") for run in task.runs}
        seeds |= {decoding.seed for decoding in task.decodings.values()}
    return seeds


def test_no_two_replicates_share_a_seed(config):
    of_replicates = [random_seeds(config | {"replicate": number}) for number in range(4)]
    assert sum(map(len, of_replicates)) == len(set.union(*of_replicates))


def test_a_thousand_times_the_replicate_is_added_to_every_seed(config):
    plan = resolve.plan_of(config | {"replicate": 2, "seed": 7})
    task = plan.tasks["length"]
    assert plan.seed == task.study_seed == 2007
    assert task.objectives["rloo"].seeds == (2000, 2999)
    assert task.objectives["dpo"].seeds == (2005,)
    assert {run.seed for run in task.runs} == {2000, 2999, 2005}
    assert resolve.plan_of(config | {"replicate": 0, "seed": 7}).seed == 7


def test_the_first_published_replicate_has_the_folder_of_the_studys_own_name(config):
    folders = [resolve.plan_of(config | {"replicate": number}).folder for number in range(4)]
    assert folders == ["smoke-replicate=0", "smoke", "smoke-replicate=2", "smoke-replicate=3"]
    del config["replicate"], config["replicates"]
    assert resolve.plan_of(config).folder == "smoke"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"replicates": {"tuning": [0, 1], "published": [1, 2]}},
            r"replicates\.published = \[1, 2\]: 1 is in replicates\.tuning too",
        ),
        (
            {"replicate": 4},
            r"replicate = 4: must be one of replicates\.tuning = \[0, 3\] or "
            r"replicates\.published = \[1, 2\]",
        ),
        ({"replicate": -1}, r"replicate = -1: must be at least 0"),
        ({"replicate": "x"}, r"replicate = 'x': must be of type integer"),
        ({"replicates": {"tuning": [0], "published": []}}, r"published = \[\]: must not be empty"),
        ({"replicates": {"tuning": [0]}}, r"replicates: 'published' is a required property"),
        ({"seed": 1000}, r"^seed = 1000: must be less than 1000, because replicates"),
    ],
)
def test_a_mistake_is_refused(config, changes, message):
    with pytest.raises(ConfigError, match=message):
        resolve.plan_of(config | changes)


def test_training_seeds_that_reach_those_of_the_next_replicate_are_refused(config):
    alignment = config["tasks"]["length"]["alignment"]
    alignment["seeds"] = [0, 1000]
    with pytest.raises(ConfigError, match=r"tasks\.length\.alignment\.seeds = 1000: must be less"):
        resolve.plan_of(config)
    alignment["seeds"] = [0]
    alignment["objectives"]["dpo"]["seeds"] = [1200]
    with pytest.raises(ConfigError, match=r"objectives\.dpo\.seeds = 1200: must be less than 1000"):
        resolve.plan_of(config)
    del config["replicates"], config["replicate"]
    assert resolve.plan_of(config).tasks["length"].objectives["dpo"].seeds == (1200,)


def test_a_replicate_without_the_section_is_refused_because_its_results_would_mix(config):
    del config["replicates"]
    message = r"replicate = 1: the config has no section `replicates`.*published: \[1\]"
    with pytest.raises(ConfigError, match=message):
        resolve.plan_of(config)


def test_the_default_study_publishes_nothing_that_it_is_tuned_on():
    config = yaml.safe_load((ROOT / "config/laptop.yaml").read_text())
    plan = resolve.plan_of(config)
    assert plan.folder == "laptop"
    assert plan.replicate.number in plan.replicate.published
    assert len(plan.replicate.published) >= 2
    plan.replicate.check_published_or_exit()


def snakemake(*arguments: str) -> subprocess.CompletedProcess:
    """A dry run of the default study, as on the command line."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_line_chooses_a_replicate_of_the_default_study():
    target = "results/laptop-replicate=2/length/models/rloo/beta=1/seed=2001"
    result = snakemake(target, "--config", "replicate=2")
    assert result.returncode == 0, result.stderr
    assert f"output: {target}" in result.stdout + result.stderr


def test_a_replicate_that_is_tuned_on_is_not_published():
    result = snakemake("publish", "--config", "replicate=0")
    assert result.returncode == 1
    message = (
        r"config error: replicate = 0: cannot be published, because hyper-parameters are tuned"
    )
    assert re.search(message, result.stderr), result.stderr[-2000:]


def test_the_published_replicates_are_listed_for_make():
    def listed(*arguments: str) -> list[str]:
        command = [sys.executable, "-m", "study.replicates", *arguments]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return result.stdout.split()

    assert listed("config/laptop.yaml") == ["1", "2"]
    claims = ["results/laptop/claims.json", "results/laptop-replicate=2/claims.json"]
    assert listed("config/laptop.yaml", "--claims") == claims
    assert listed("config/smoke.yaml") == ["0"]
