"""The estimate told before a study starts grows with the work that is asked for."""

import copy
from pathlib import Path

import pytest
import yaml

from study import estimate, resolve

ROOT = Path(__file__).parents[2]


def smoke() -> dict:
    return yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())


def with_tasks(config: dict, *names: str) -> dict:
    """The config with these tasks alone."""
    tasks = {name: config["tasks"][name] for name in names}
    return config | {"main_task": names[0], "tasks": tasks}


@pytest.fixture
def config() -> dict:
    config = copy.deepcopy(with_tasks(smoke(), "length"))
    length = config["tasks"]["length"]
    length["dera"] = copy.deepcopy(length["dera"])
    return config


def seconds(config: dict) -> float:
    return estimate.seconds(resolve.plan_of(config))


def seconds_with_seeds(config: dict, count: int) -> float:
    config["tasks"]["length"]["alignment"]["seeds"] = list(range(count))
    return seconds(config)


def test_another_beta_takes_longer_by_its_training_at_least(config):
    before = seconds(config)
    rloo = config["tasks"]["length"]["alignment"]["objectives"]["rloo"]
    rloo["betas"] = [*rloo["betas"], 2]
    sequences = rloo["steps"] * rloo["batch_size"]
    # The model of the smoke study is more than a tenth as large as the one that was measured.
    assert seconds(config) - before > 0.1 * sequences * estimate.SECONDS_A_SEQUENCE["prompts"]


def test_each_seed_takes_as_long_as_the_last_one(config):
    total = {count: seconds_with_seeds(config, count) for count in (1, 2, 3, 9)}
    assert total[3] - total[2] == pytest.approx(total[2] - total[1])
    assert total[9] - total[1] == pytest.approx(8 * (total[2] - total[1]))
    assert total[2] > total[1]


def test_baselines_count_by_what_they_decode(config):
    baselines = config["tasks"]["length"]["dera"]["baselines"]
    before = seconds(config)
    baselines["weights"] = [*baselines["weights"], 3]
    one_knob = seconds(config) - before
    assert one_knob > 0
    baselines["top_k"]["knobs"] = [*baselines["top_k"]["knobs"], 8]
    assert seconds(config) - before == pytest.approx(2 * one_knob)
    config["tasks"]["length"]["evaluation"]["reference_samples"] = 6
    without_best_of_3 = seconds(config)
    baselines["best_of_n"] = [2, 3]
    assert seconds(config) == pytest.approx(without_best_of_3)


def test_an_objectives_own_seeds_count_instead_of_the_tasks(config):
    with_three_seeds = seconds_with_seeds(config, 3)
    for objective in config["tasks"]["length"]["alignment"]["objectives"].values():
        objective["seeds"] = [0, 1, 2]
    assert seconds_with_seeds(config, 1) == pytest.approx(with_three_seeds)


def test_pairs_are_drawn_again_for_each_seed_that_learns_from_them(config):
    """A seed more of RLOO, which samples, draws no pairs. One more of DPO draws them once more."""

    def cost_of_pairs() -> float:
        length = config["tasks"]["length"]
        before = seconds(config)
        few = length["preferences"]
        length["preferences"] = few | {"pairs": few["pairs"] + 1000}
        more = seconds(config)
        length["preferences"] = few
        return more - before

    objectives = config["tasks"]["length"]["alignment"]["objectives"]
    objectives["dpo"] = objectives["dpo"] | {"seeds": [0]}
    of_one_seed = cost_of_pairs()
    objectives["rloo"] = objectives["rloo"] | {"seeds": [0, 1, 2]}
    assert cost_of_pairs() == pytest.approx(of_one_seed)
    objectives["dpo"] = objectives["dpo"] | {"seeds": [0, 1, 2]}
    assert cost_of_pairs() == pytest.approx(3 * of_one_seed)


def test_pairs_of_files_are_read_once_and_nothing_is_sampled_for_them(config):
    length = config["tasks"]["length"]
    objectives = length["alignment"]["objectives"]
    length["alignment"]["objectives"] = {"dpo": objectives["dpo"] | {"seeds": [0]}}
    del length["alignment"]["main_objective"]
    length["preferences"] |= {"pairs": 1}
    hardly_sampled = seconds(config)
    length["preferences"] = {"source": "files", "files": {"path": "pairs.jsonl"}}
    assert seconds(config) == pytest.approx(hardly_sampled, abs=0.01)

    # A second seed trains and decodes, and reads no pairs of its own: there is no third START.
    def cost_of_a_seed() -> float:
        before = seconds(config)
        length["alignment"]["objectives"]["dpo"]["seeds"] = [0, 1]
        cost = seconds(config) - before
        length["alignment"]["objectives"]["dpo"]["seeds"] = [0]
        return cost

    of_files = cost_of_a_seed()
    length["preferences"] = {"pairs": 1, "batch_size": 1, "sharpness": 4}
    assert cost_of_a_seed() - of_files == pytest.approx(estimate.START, abs=0.01)


@pytest.mark.parametrize(
    ("section", "key"),
    [("sft", "steps"), ("preferences", "pairs"), ("model", "layers"), ("evaluation", "samples")],
)
def test_more_of_anything_takes_longer(config, section, key):
    before = seconds(config)
    length = config["tasks"]["length"]
    length[section] = length[section] | {key: 2 * length[section][key]}
    assert seconds(config) > before


def test_two_tasks_take_as_long_as_each_alone():
    names = list(smoke()["tasks"])
    alone = [seconds(with_tasks(smoke(), name)) for name in names]
    assert seconds(with_tasks(smoke(), *names)) == pytest.approx(sum(alone))


def test_the_message_names_the_study_its_minutes_and_the_cores():
    message = estimate.message(2400.0, 2, "laptop")
    assert "`laptop`" in message
    assert "about 20 min" in message
    assert "2 cores" in message
    assert "about 40 min" in estimate.message(2400.0, 1, "laptop")
