"""The estimate told before a study starts: it grows with what is asked for, and in proportion where the work does."""

from pathlib import Path

import pytest
import yaml

from study import estimate
from study.checks import Objective

ROOT = Path(__file__).parents[2]
MADE_WITH = {"rloo": "prompts", "dpo": "preferences"}


@pytest.fixture
def config() -> dict:
    tasks = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())["tasks"]
    return {"study": "one", "tasks": {"length": tasks["length"]}}


def seconds(config: dict) -> float:
    made_with = {
        name: {
            key: Objective("", MADE_WITH[objective.get("objective", key)], "known")
            for key, objective in task["alignment"]["objectives"].items()
        }
        for name, task in config["tasks"].items()
    }
    return estimate.seconds(config, made_with)


def with_seeds(config: dict, *seeds: int) -> dict:
    config["tasks"]["length"]["alignment"]["seeds"] = list(seeds)
    return config


def test_another_beta_takes_longer_by_its_training_at_least(config):
    before, rloo = seconds(config), config["tasks"]["length"]["alignment"]["objectives"]["rloo"]
    rloo["betas"] = [*rloo["betas"], 2]
    assert (
        seconds(config) - before
        > rloo["steps"] * rloo["batch_size"] * estimate.SECONDS_A_SEQUENCE["prompts"] * 0.1
    )


def test_each_seed_takes_as_long_as_the_last_one(config):
    one, two, three, nine = (seconds(with_seeds(config, *range(count))) for count in (1, 2, 3, 9))
    assert three - two == pytest.approx(two - one)
    assert nine - one == pytest.approx(8 * (two - one))
    assert two > one


def test_comparators_count_by_what_they_decode(config):
    found = config["tasks"]["length"]["dera"]["baselines"]
    before = seconds(config)
    found["weights"] = [*found["weights"], 3]
    one = seconds(config) - before
    found["top_k"]["lams"] = [*found["top_k"]["lams"], 8]
    assert seconds(config) - before == pytest.approx(2 * one)
    found["best_of"] = [2, 3]
    assert seconds(config) - before == pytest.approx(2 * one)
    assert one > 0


def test_an_objectives_own_seeds_count_instead_of_the_tasks(config):
    all_three, objectives = (
        seconds(with_seeds(config, 0, 1, 2)),
        config["tasks"]["length"]["alignment"]["objectives"],
    )
    for objective in objectives.values():
        objective["seeds"] = [0, 1, 2]
    assert seconds(with_seeds(config, 0)) == pytest.approx(all_three)


@pytest.mark.parametrize(
    ("section", "key"),
    [("sft", "steps"), ("preferences", "pairs"), ("model", "layers"), ("evaluation", "samples")],
)
def test_more_of_anything_takes_longer(config, section, key):
    before = seconds(config)
    config["tasks"]["length"][section] = config["tasks"]["length"][section] | {
        key: 2 * config["tasks"]["length"][section][key]
    }
    assert seconds(config) > before


def test_two_tasks_take_as_long_as_each_alone(config):
    tasks = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())["tasks"]
    assert seconds({"tasks": tasks}) == pytest.approx(
        sum(seconds({"tasks": {name: task}}) for name, task in tasks.items())
    )


def test_the_message_names_the_study_its_minutes_and_the_cores():
    message = estimate.message(2400.0, 2, "laptop")
    assert "`laptop`" in message
    assert "about 20 min" in message
    assert "2 cores" in message
    assert "about 40 min" in estimate.message(2400.0, 1, "laptop")
