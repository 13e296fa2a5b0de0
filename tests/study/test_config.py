"""Every config shipped is valid; every mistake is refused with its key, its value and what is allowed."""

import copy
import math
from fractions import Fraction
from pathlib import Path

import pytest
import yaml

from study import config as study_config
from study import modules

ROOT = Path(__file__).parents[2]
TASKS = ["length"]
OBJECTIVES = {"rloo": "prompts", "dpo": "preferences"}


def shipped(name: str) -> dict:
    return yaml.safe_load((ROOT / "config" / name).read_text())


@pytest.fixture
def config() -> dict:
    return copy.deepcopy(shipped("smoke.yaml"))


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_config_is_valid(path):
    if path.name != "schema.yaml":
        study_config.check(shipped(path.name), TASKS, OBJECTIVES)


MISTAKES = {
    "unknown key": (("sft", "stepz"), 3, r"sft\.stepz = 3: unknown key; allowed here: .*steps"),
    "unknown top key": (("sedd",), 3, r"sedd = 3: unknown key; allowed here: .*seed"),
    "unknown task": (("task", "name"), "lenght", r"task\.name = 'lenght': .*allowed: length"),
    "unknown objective": (("alignment", "objectives", "ppo"), None, r"alignment\.objectives = 'ppo': .*allowed: dpo, rloo"),
    "beta zero": (("alignment", "objectives", "rloo", "betas"), [0.25, 0], r"rloo\.betas\[1\] = 0: must be a number greater than 0"),
    "beta negative": (("alignment", "objectives", "rloo", "betas"), [-1, 0.25], r"rloo\.betas\[0\] = -1: .*greater than 0"),
    "beta not a number": (("alignment", "objectives", "rloo", "betas"), ["x", 0.25], r"rloo\.betas\[0\] = 'x': must be of type number"),
    "beta nan": (("alignment", "objectives", "rloo", "betas"), [math.nan, 0.25], r"rloo\.betas\[0\] = nan: must be a finite number"),
    "beta infinite": (("alignment", "objectives", "rloo", "betas"), [math.inf, 0.25], r"rloo\.betas\[0\] = inf: must be a finite"),
    "no beta": (("alignment", "objectives", "rloo", "betas"), [], r"rloo\.betas = \[\]: must not be empty"),
    "beta twice": (("alignment", "objectives", "rloo", "betas"), [0.25, 0.25, 1], r"rloo\.betas = .*must not name a value twice"),
    "lam infinite": (("dera", "lams"), [0, math.inf], r"dera\.lams\[1\] = inf: must be a finite number"),
    "no lam": (("dera", "lams"), [], r"dera\.lams = \[\]: must not be empty"),
    "anchor not trained": (("alignment", "objectives", "rloo", "anchors"), [0.3], r"rloo\.anchors = 0\.3: must be one of .*betas = \[0\.25, 1\]"),
    "grid anchor": (("alignment", "objectives", "rloo", "grid_anchor"), 1, r"rloo\.grid_anchor = 1: must be one of .*anchors = \[0\.25\]"),
    "seed not an integer": (("alignment", "seeds"), [0.5], r"alignment\.seeds\[0\] = 0\.5: must be of type integer"),
    "study seed": (("seed",), "one", r"seed = 'one': must be of type integer"),
    "range upside down": (("task", "min_tokens"), 13, r"task\.min_tokens = 13: must be at most task\.max_tokens = 12"),
    "no room": (("model", "max_new_tokens"), 12, r"model\.max_new_tokens = 12: must be more than"),
    "heads": (("model", "heads"), 5, r"model\.hidden_size = 64: must be a multiple of model\.heads = 5"),
    "too many prompts": (("evaluation", "prompts"), 65, r"evaluation\.prompts = 65: must be at most corpus\.documents\.test = 64"),
    "corpus kind": (("corpus", "kind"), "made_wrld", r"corpus\.kind = 'made_wrld': must be one of \['made_world', 'local_files'\]"),
    "corpus key": (("corpus", "docs"), 3, r"corpus\.docs = 3: unknown key; allowed here: kind, documents"),
    "corpus size": (("corpus", "documents", "test"), 0, r"corpus\.documents\.test = 0: must be at least 1"),
    "groups": (("alignment", "objectives", "rloo", "batch_size"), 36, r"rloo\.batch_size = 36: must be a multiple of samples_per_prompt = 8"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_refused_by_name(config, name):
    path, value, message = MISTAKES[name]
    section = config
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = copy.deepcopy(config["alignment"]["objectives"]["rloo"]) if value is None else value
    with pytest.raises(study_config.ConfigError, match=message):
        study_config.check(config, TASKS, OBJECTIVES)


def test_a_missing_key_is_named(config):
    del config["sft"]["steps"]
    with pytest.raises(study_config.ConfigError, match="sft: 'steps' is a required property"):
        study_config.check(config, TASKS, OBJECTIVES)


def test_lams_match_the_trained_betas_exactly():
    config = {
        "alignment": {"objectives": {"rloo": {"betas": [0.1, 0.3, 0.2], "anchors": [0.1, 0.3], "grid_anchor": 0.1}}},
        "dera": {"lams": [0, 0.5]},
    }
    assert study_config.lams(config, "rloo", "0.1") == [0, Fraction(1, 3), Fraction(1, 2), 1]
    assert study_config.lams(config, "rloo", "0.3") == [1, Fraction(3, 2), 3]


@pytest.mark.parametrize(
    ("strength", "text"),
    [(0.25, "0.25"), (1, "1"), (1.0, "1"), (100, "100"), (1e-7, "0.0000001"), (0.33333333, "0.33333333")],
)
def test_strengths_are_written_out_in_full(strength, text):
    assert study_config.label(strength) == text
    assert Fraction(text) == Fraction(str(strength))


def test_another_beta_does_not_change_what_the_others_are_asked_to_do(config):
    before = study_config.trainer_settings(config, "rloo")
    config["alignment"]["objectives"]["rloo"]["betas"].append(2)
    assert study_config.trainer_settings(config, "rloo") == before


def test_objectives_say_what_they_learn_from_without_being_imported():
    assert {
        name: modules.constant(f"training.objectives.{name}", "DATA") for name in modules.names("training.objectives")
    } == OBJECTIVES
    with pytest.raises(ValueError, match="must declare DATA"):
        modules.constant("training.objectives", "DATA")


def test_corpus_files_come_from_the_config_or_the_environment(tmp_path, monkeypatch):
    config = shipped("local-text.yaml")
    for name in config["corpus"]["files"].values():
        (tmp_path / name).touch()
    monkeypatch.delenv(study_config.CORPUS_VARIABLE, raising=False)
    with pytest.raises(study_config.ConfigError, match=r"corpus\.folder: not set; .*DERA_CORPUS="):
        study_config.corpus_files(config)
    monkeypatch.setenv(study_config.CORPUS_VARIABLE, str(tmp_path))
    found = study_config.corpus_files(config)
    assert {split: Path(path).name for split, path in found.items()} == config["corpus"]["files"]
    config["corpus"]["folder"] = str(tmp_path / "elsewhere")
    with pytest.raises(study_config.ConfigError, match=r"corpus\.files\.train = 'train\.jsonl\.gz': .*does not exist"):
        study_config.corpus_files(config)
    assert study_config.corpus_files(shipped("smoke.yaml")) == {}
