"""Objectives whose models are loaded: what the plan makes of them, and what is refused."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from study import estimate, resolve, schema, settings, sizes
from study.plan import Run
from study.sources import HubModel, OwnPath
from tests.pretrained import chat_tokenizer, save_chat_model

ROOT = Path(__file__).parents[2]
KEY = r"tasks\.chat_safety\.alignment\.objectives\.zephyr"
TRAINING = {
    "steps": 1,
    "batch_size": 2,
    "learning_rate": 1e-3,
    "schedule": "constant",
    "warmup_steps": 0,
    "log_every": 1,
    "save_every": 1,
}


@pytest.fixture
def config() -> dict:
    return yaml.safe_load((ROOT / "config/zephyr.yaml").read_text())


def section_of(config: dict) -> dict:
    return config["tasks"]["chat_safety"]


def objective_of(config: dict) -> dict:
    return section_of(config)["alignment"]["objectives"]["zephyr"]


def hub(name: str) -> dict:
    return {"hub": f"owner/{name}", "revision": "main"}


def test_each_strength_is_loaded_from_the_model_at_its_place(config):
    objective_of(config).update(pretrained=[hub("weak"), hub("strong")], betas=[1, 0.25])
    objective_of(config)["anchors"] = [0.25]
    task = resolve.plan_of(config).main_task
    objective = task.objectives["zephyr"]
    assert objective.is_loaded
    assert objective.pretrained == {
        "1": HubModel("owner/weak", "main"),
        "0.25": HubModel("owner/strong", "main"),
    }
    assert set(objective.pretrained.values()) <= set(task.sources)
    (seed,) = objective.seeds
    asked = settings.loading_aligned(task, Run("zephyr", "0.25", seed))
    assert asked == {"task": "chat_safety", "pretrained": hub("strong"), "dtype": "bfloat16"}
    assert not task.has_training


def test_what_is_not_known_of_loaded_models_is_not_said(config):
    """Nobody knows the reward that they were trained on, so they have no known optimum."""
    plan = resolve.plan_of(config)
    judged = settings.judging(plan, plan.main_task)["objectives"]["zephyr"]
    assert judged["optimum"] == "unknown"
    assert judged["reward"] == "gold"


def test_models_of_one_objective_may_be_loaded_and_those_of_another_trained(config):
    section = section_of(config)
    section["lora"] = {"rank": 2, "alpha": 2, "target_modules": "all-linear"}
    section["preferences"] = {"pairs": 10, "sharpness": 1, "batch_size": 2}
    section["alignment"]["main_objective"] = "zephyr"
    section["alignment"]["objectives"]["dpo"] = {"betas": [0.1], "anchors": [0.1], **TRAINING}
    task = resolve.plan_of(config).main_task
    assert [plan.is_loaded for plan in task.objectives.values()] == [True, False]
    assert task.has_training
    del section["lora"]
    with pytest.raises(schema.ConfigError, match=r"tasks\.chat_safety: 'lora' is a required"):
        resolve.plan_of(config)


def two_seeds(config):
    section_of(config)["alignment"]["seeds"] = [3, 4]


def own_two_seeds(config):
    objective_of(config)["seeds"] = [3, 4]


def trained_too(config):
    objective_of(config)["steps"] = 100


def named_after_a_module(config):
    objective_of(config)["objective"] = "dpo"


def no_revision(config):
    del objective_of(config)["pretrained"][0]["revision"]


def more_models_than_strengths(config):
    objective_of(config)["pretrained"] *= 2


def learned_reward(config):
    objective_of(config)["reward"] = "learned"


def a_reference_that_is_trained(config):
    mini = yaml.safe_load((ROOT / "config/real-mini.yaml").read_text())
    for name in ("sft", "demonstrations"):
        section_of(config)[name] = section_of(mini)[name]


def a_reference_from_scratch(config):
    smoke = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    safety = copy.deepcopy(smoke["tasks"]["safety"])
    safety["alignment"] = section_of(config)["alignment"]
    config["tasks"] = {"chat_safety": safety | {"module": "safety"}}


def neither_trained_nor_loaded(config):
    del objective_of(config)["pretrained"]


MISTAKES = [
    (two_seeds, rf"{KEY}: .* has one seed, but the seeds are \[3, 4\]; say `seeds: \[3\]`"),
    (own_two_seeds, rf"{KEY}: .* has one seed, but the seeds are \[3, 4\]"),
    (trained_too, rf"{KEY}\.steps = 100: the models in .* are loaded and not trained; remove it"),
    (named_after_a_module, rf"{KEY}\.objective = 'dpo': the models in .* are loaded"),
    (no_revision, rf"{KEY}\.pretrained\[0\]: 'revision' is a required property"),
    (more_models_than_strengths, rf"{KEY}\.pretrained: names 2 models, and .*\[0\.1\] has 1"),
    (learned_reward, rf"{KEY}\.reward = 'learned': nobody here trains these models on it"),
    (a_reference_that_is_trained, r"tasks\.chat_safety\.sft: trains another .*say `sft: none`"),
    (a_reference_from_scratch, rf"{KEY}\.pretrained: .* name it in .*\.model\.pretrained"),
    (neither_trained_nor_loaded, rf"{KEY}: 'steps' is a required property"),
]


@pytest.mark.parametrize(("mistake", "message"), MISTAKES)
def test_a_mistake_is_refused_by_name(config, mistake, message):
    mistake(config)
    with pytest.raises(schema.ConfigError, match=message):
        resolve.plan_of(config)


def test_the_remedy_for_several_seeds_is_one(config):
    two_seeds(config)
    objective_of(config)["seeds"] = [3]
    (seed,) = resolve.plan_of(config).main_task.objectives["zephyr"].seeds
    assert seed % 1000 == 3


def test_one_name_does_not_stand_for_loaded_and_for_trained_models(config):
    smoke = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    length = copy.deepcopy(smoke["tasks"]["length"])
    objectives = length["alignment"]["objectives"]
    objectives["zephyr"] = {**objectives["dpo"], "objective": "dpo"}
    config["tasks"]["length"] = length
    config["main_task"] = "length"
    with pytest.raises(schema.ConfigError, match=r"zephyr: models are loaded .*; rename one"):
        resolve.plan_of(config)


@pytest.fixture
def local(config, tmp_path) -> dict:
    """The config with models on this machine."""
    reference = save_chat_model(tmp_path / "reference")
    aligned = save_chat_model(tmp_path / "aligned", seed=1)
    section_of(config)["model"]["pretrained"] = {"path": str(reference)}
    objective_of(config)["pretrained"] = [{"path": str(aligned)}]
    return config


def refused(config: dict, capsys) -> str:
    with pytest.raises(SystemExit):
        resolve.plan_or_exit(config)
    return capsys.readouterr().err


def test_a_model_with_another_tokenizer_is_refused_before_any_job(local, tmp_path, capsys):
    task = resolve.plan_or_exit(local).main_task
    assert task.objectives["zephyr"].pretrained == {"0.1": OwnPath(str(tmp_path / "aligned"))}

    tokenizer = chat_tokenizer()
    tokenizer.add_tokens(["<|more|>"])
    tokenizer.save_pretrained(tmp_path / "aligned")
    said = refused(local, capsys)
    assert re.search(rf"{KEY}\.pretrained\[0\]: .* has another tokenizer than the reference", said)
    assert f"1 tokens differ: '<|more|>' is absent and {len(tokenizer) - 1}" in said


def test_an_adapter_without_a_tokenizer_is_left_to_its_job(local, tmp_path):
    (tmp_path / "aligned/tokenizer.json").unlink()
    assert resolve.plan_or_exit(local).main_task.objectives["zephyr"].is_loaded


def test_a_model_that_is_not_there_is_refused(local, capsys):
    objective_of(local)["pretrained"] = [{"path": "no/such/model"}]
    said = refused(local, capsys)
    assert re.search(rf"{KEY}\.pretrained\[0\]\.path = 'no/such/model': .*does not exist", said)


def test_sizes_follow_from_parameters_and_precision(config):
    """Two downloads, the pretrained model, the reference, the aligned one: 2 bytes a weight."""
    plan = resolve.plan_or_exit(config)
    weights = 7242e6
    assert sizes.disk(plan.main_task) == 5 * 2 * weights
    assert sizes.memory(plan.main_task) == 2 * 2 * weights
    assert sizes.checked(plan.main_task) == 2 * 8 * weights
    said = sizes.message(plan)
    assert all(number in said for number in ("72.4 GB of disk", "29.0 GB of weights", "115.9 GB"))
    section_of(config)["model"]["dtype"] = "float32"
    assert sizes.memory(resolve.plan_of(config).main_task) == 2 * 4 * weights


def test_sizes_of_a_study_that_trains_have_the_training(config):
    """All weights in float32 with a gradient and two moments: 16 bytes a weight."""
    mini = yaml.safe_load((ROOT / "config/real-mini.yaml").read_text())
    section = section_of(mini)
    section["alignment"]["seeds"] = [0]
    section["alignment"]["objectives"]["dpo"].update(betas=[0.5], anchors=[0.5])
    assert sizes.memory(resolve.plan_of(mini).main_task) == 16 * 135e6
    section["sft"]["lora"] = section["lora"]
    assert sizes.memory(resolve.plan_of(mini).main_task) == 2 * 4 * 135e6


def test_small_models_are_not_spoken_of():
    smoke = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    assert sizes.message(resolve.plan_of(smoke)) == ""


def test_loading_takes_less_time_than_training(config):
    loaded = estimate.seconds(resolve.plan_of(config))
    trained = {"objective": "dpo", "betas": [0.1], "anchors": [0.1], **TRAINING}
    section = section_of(config)
    section["lora"] = {"rank": 2, "alpha": 2, "target_modules": "all-linear"}
    section["preferences"] = {"pairs": 10, "sharpness": 1, "batch_size": 2}
    section["alignment"]["objectives"]["zephyr"] = trained
    one_step = estimate.seconds(resolve.plan_of(config))
    trained["steps"] = 101
    assert loaded < one_step < estimate.seconds(resolve.plan_of(config))


def test_a_time_of_many_hours_is_told_in_hours():
    assert "about 280 min" in estimate.message(280 * 60, 1, "zephyr")
    assert "about 28 hours" in estimate.message(28 * 3600, 1, "zephyr")
