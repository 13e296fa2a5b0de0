"""Every config shipped is valid; every mistake is refused with its key, its value and what is allowed."""

import copy
import math
import re
from fractions import Fraction
from pathlib import Path

import pytest
import yaml

from study import checks, modules
from study import config as study_config

ROOT = Path(__file__).parents[2]
TASKS = {"length": "any", "summarization": "own", "hallucination": "own", "safety": "own"}
OBJECTIVES = {
    "rloo": ("prompts", "known"),
    "grpo": ("prompts", "unknown"),
    "dpo": ("preferences", "known"),
    "ipo": ("preferences", "unknown"),
    "slic": ("preferences", "unknown"),
    "kto": ("preferences", "unknown"),
}
SHIPPED = sorted(
    path.name for path in (ROOT / "config").glob("*.yaml") if path.name != "schema.yaml"
)


def shipped(name: str) -> dict:
    return yaml.safe_load((ROOT / "config" / name).read_text())


@pytest.fixture
def config() -> dict:
    """The smoke study, its sections no longer shared."""

    def own(value):
        if isinstance(value, dict):
            return {key: own(item) for key, item in value.items()}
        return [own(item) for item in value] if isinstance(value, list) else value

    return own(shipped("smoke.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_config_is_valid(name):
    study_config.check(shipped(name))


def test_the_smoke_study_has_the_tasks_and_alignments_of_the_default_one():
    def alignments(name):
        return {
            task: set(section["alignment"]["objectives"])
            for task, section in shipped(name)["tasks"].items()
        }

    assert alignments("smoke.yaml") == alignments("laptop.yaml")


REMOVED = object()
RLOO, DPO = ("alignment", "objectives", "rloo"), ("alignment", "objectives", "dpo")
COMPARATORS = ("dera", "baselines")
LOCAL = {
    "kind": "local_files",
    "files": dict.fromkeys(["train", "validation", "test"], "x.jsonl"),
    "columns": {"prompt": "a", "completion": "b"},
}
# task, key, the wrong value, and what must be said; "@" stands for the task's section
MISTAKES = {
    "unknown key": ("length", ("sft", "stepz"), 3, r"@\.sft\.stepz = 3: unknown key; allowed here: .*steps"),
    "unknown task key": ("length", ("modle",), 3, r"@\.modle = 3: unknown key; allowed here: module, settings, .*model"),
    "unknown objective": ("length", ("alignment", "objectives", "ppo"), "rloo", r"@\.alignment\.objectives = 'ppo': .*allowed: dpo, grpo, ipo, kto, rloo, slic, or the path of a file"),
    "unknown module": ("hallucination", ("alignment", "objectives", "rloo-judge", "objective"), "rlo", r"@\.alignment\.objectives\.rloo-judge\.objective = 'rlo': there is no such module; allowed: dpo, grpo, ipo, kto, rloo, slic, or the path of a file"),
    "module of another name": ("hallucination", ("alignment", "objectives", "rloo-judge", "objective"), REMOVED, r"@\.alignment\.objectives = 'rloo-judge': there is no such module; allowed: dpo, grpo, ipo, kto, rloo, slic, or the path of a file"),
    "no objective": ("length", ("alignment", "objectives"), {}, r"@\.alignment\.objectives = {}: must not be empty"),
    "beta zero": ("length", (*RLOO, "betas"), [0.25, 0], r"rloo\.betas\[1\] = 0: must be a number greater than 0"),
    "beta negative": ("length", (*RLOO, "betas"), [-1, 0.25], r"rloo\.betas\[0\] = -1: .*greater than 0"),
    "beta not a number": ("length", (*RLOO, "betas"), ["x", 0.25], r"rloo\.betas\[0\] = 'x': must be of type number"),
    "beta nan": ("length", (*RLOO, "betas"), [math.nan, 0.25], r"@\.alignment\.objectives\.rloo\.betas\[0\] = nan: must be a finite number"),
    "beta infinite": ("length", (*RLOO, "betas"), [math.inf, 0.25], r"rloo\.betas\[0\] = inf: must be a finite"),
    "no beta": ("length", (*RLOO, "betas"), [], r"rloo\.betas = \[\]: must not be empty"),
    "beta twice": ("length", (*RLOO, "betas"), [0.25, 0.25, 1], r"rloo\.betas = .*must not name a value twice"),
    "lam infinite": ("length", ("dera", "lams"), [0, math.inf], r"@\.dera\.lams\[1\] = inf: must be a finite number"),
    "no lam": ("length", ("dera", "lams"), [], r"@\.dera\.lams = \[\]: must not be empty"),
    "anchor not trained": ("length", (*RLOO, "anchors"), [0.3], r"@\.alignment\.objectives\.rloo\.anchors = 0\.3: must be one of .*betas = \[0\.25, 1\]"),
    "grid anchor": ("length", (*RLOO, "default_beta"), 1, r"rloo\.default_beta = 1: must be one of .*anchors = \[0\.25\]"),
    "seed not an integer": ("length", ("alignment", "seeds"), [0.5], r"@\.alignment\.seeds\[0\] = 0\.5: must be of type integer"),
    "own seed negative": ("hallucination", ("alignment", "objectives", "rloo-judge", "seeds"), [-1], r"rloo-judge\.seeds\[0\] = -1: must be at least 0"),
    "no own seed": ("hallucination", ("alignment", "objectives", "rloo-judge", "seeds"), [], r"rloo-judge\.seeds = \[\]: must not be empty"),
    "weights of a model itself": ("length", (*COMPARATORS, "weights"), [0.5, 1.0], r"@\.dera\.baselines\.weights\[1\] = 1\.0: must be neither 0 nor 1, which are the two models themselves"),
    "a share of probabilities beyond both": ("length", (*COMPARATORS, "probabilities"), [0.5, 1], r"baselines\.probabilities\[1\] = 1: must be a number less than 1"),
    "no share of probabilities": ("length", (*COMPARATORS, "probabilities"), [0, 0.5], r"baselines\.probabilities\[0\] = 0: must be a number greater than 0"),
    "temperature zero": ("length", (*COMPARATORS, "temperature"), [0], r"baselines\.temperature\[0\] = 0: must be a number greater than 0"),
    "top-k of nothing": ("length", (*COMPARATORS, "top_k"), {"k": 0, "lams": [1]}, r"baselines\.top_k\.k = 0: must be at least 1"),
    "top-k at no lam": ("length", (*COMPARATORS, "top_k"), {"k": 5}, r"@\.dera\.baselines\.top_k: 'lams' is a required property"),
    "best of one": ("length", (*COMPARATORS, "best_of"), [1], r"baselines\.best_of\[0\] = 1: must be at least 2"),
    "best of too many": ("length", (*COMPARATORS, "best_of"), [2, 3], r"@\.dera\.baselines\.best_of\[1\] = 3: must be at most half of @\.evaluation\.reference_samples = 4"),
    "unknown baseline": ("length", (*COMPARATORS, "beam"), [2], r"baselines\.beam = \[2\]: unknown key; allowed here: weights, probabilities, temperature, top_k, best_of"),
    "no baseline": ("length", COMPARATORS, {}, r"@\.dera\.baselines = {}: must not be empty"),
    "no room": ("length", ("model", "max_new_tokens"), 12, r"@\.model\.max_new_tokens = 12: must be more than @\.settings\.max_tokens = 12"),
    "heads": ("safety", ("model", "heads"), 5, r"@\.model\.hidden_size = 64: must be a multiple of @\.model\.heads = 5"),
    "too many prompts": ("safety", ("evaluation", "prompts"), 65, r"@\.evaluation\.prompts = 65: must be at most @\.corpus\.documents\.test = 64"),
    "corpus kind": ("length", ("corpus", "kind"), "made_wrld", r"@\.corpus\.kind = 'made_wrld': must be one of \['made_world', 'local_files'\]"),
    "corpus key": ("length", ("corpus", "docs"), 3, r"@\.corpus\.docs = 3: unknown key; allowed here: kind, documents"),
    "corpus size": ("length", ("corpus", "documents", "test"), 0, r"@\.corpus\.documents\.test = 0: must be at least 1"),
    "corpus of a task that draws its own": ("summarization", ("corpus",), LOCAL, r"@\.corpus\.kind = 'local_files': summarization draws its own documents; only 'made_world' is allowed"),
    "groups": ("length", (*RLOO, "batch_size"), 36, r"rloo\.batch_size = 36: must be a multiple of samples_per_prompt = 8"),
    "no groups": ("length", (*RLOO, "samples_per_prompt"), REMOVED, r"@\.alignment\.objectives\.rloo: 'samples_per_prompt' is a required property of an objective that samples"),
    "no updates": ("length", (*RLOO, "updates_per_sample"), REMOVED, r"rloo: 'updates_per_sample' is a required property"),
    "unknown reward": ("length", (*RLOO, "reward"), "golden", r"rloo\.reward = 'golden': must be one of \['gold', 'learned', 'labeller'\]"),
    "sampling for the labeller": ("summarization", (*RLOO, "reward"), "labeller", r"@\.alignment\.objectives\.rloo\.reward = 'labeller': an objective that samples can maximise 'gold', 'learned' or measures of the task"),
    "pairs for the reward model": ("summarization", (*DPO, "reward"), "learned", r"@\.alignment\.objectives\.dpo\.reward = 'learned': an objective that learns from preference pairs never sees the reward model"),
    "pairs missing for dpo": ("safety", ("preferences",), REMOVED, r"@\.preferences: missing, but @\.alignment\.objectives\.dpo needs preference pairs"),
    "pairs missing for the reward model": ("hallucination", ("preferences",), REMOVED, r"@\.preferences: missing, but @\.alignment\.objectives\.rloo-judge needs preference pairs"),
    "reward model missing": ("summarization", ("reward_model",), REMOVED, r"@\.reward_model: missing, but @\.alignment\.objectives\.rloo\.reward is 'learned'"),
    "gold from a biased labeller": ("summarization", (*DPO, "reward"), "gold", r"@\.alignment\.objectives\.dpo\.reward = 'gold': the labeller has a length_bias, so what the pairs teach is 'labeller'"),
    "gold by default from a biased labeller": ("safety", ("preferences", "length_bias"), 0.1, r"@\.alignment\.objectives\.dpo\.reward = 'gold': the labeller has a length_bias"),
    "sharpness zero": ("safety", ("preferences", "sharpness"), 0, r"@\.preferences\.sharpness = 0: must be a number greater than 0"),
    "no labeller": ("safety", ("preferences", "sharpness"), REMOVED, r"@\.preferences: 'sharpness' is a required property where the reference is the source"),
    "unknown source": ("safety", ("preferences", "source"), "gold", r"@\.preferences\.source = 'gold': must be one of \['reference', 'task'\]"),
    "a task that writes no pairs": ("safety", ("preferences", "source"), "task", r"@\.preferences\.source = 'task': this task writes no pairs .*allowed: 'reference'"),
    "a labeller of what the task writes": ("hallucination", ("preferences", "sharpness"), 4, r"@\.preferences\.sharpness = 4: what the task writes needs no labeller; remove it"),
    "dpo on what the task writes": ("hallucination", DPO, "dpo", r"@\.alignment\.objectives\.dpo: learns from pairs of the reference's own completions, but @\.preferences\.source = 'task'"),
    "own margin zero": ("hallucination", ("alignment", "objectives", "rloo-judge", "reward_margin"), 0, r"rloo-judge\.reward_margin = 0: must be a number greater than 0"),
    "too few held out": ("summarization", ("reward_model", "held_out"), 10, r"@\.reward_model\.held_out = 10: must be at least 20"),
    "more than a share": ("safety", ("sft", "least"), {"finished": 1.5}, r"@\.sft\.least\.finished = 1\.5: must be at most 1"),
    "margin zero": ("safety", ("reward_margin",), 0, r"@\.reward_margin = 0: must be a number greater than 0"),
}  # fmt: skip
STUDY_MISTAKES = {
    "unknown top key": ("sedd", 3, r"sedd = 3: unknown key; allowed here: .*seed"),
    "study seed": ("seed", "one", r"seed = 'one': must be of type integer"),
    "no task": ("tasks", {}, r"tasks = {}: must not be empty"),
    "old form": ("task", {"name": "length"}, r"task = {'name': 'length'}: unknown key; allowed here: .*tasks"),
    "margin of the study": ("statistics", {"bootstrap_resamples": 200, "rank_correlation": 0.9, "reward_margin": 0.1}, r"statistics\.reward_margin = 0\.1: unknown key"),
}  # fmt: skip


def refused(config: dict, message: str) -> None:
    with pytest.raises(study_config.ConfigError, match=message):
        study_config.check(config)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_refused_by_name(config, name):
    task, path, value, message = MISTAKES[name]
    section = config["tasks"][task]
    for key in path[:-1]:
        section = section[key]
    if value is REMOVED:
        section.pop(path[-1], None)
    else:
        section[path[-1]] = copy.deepcopy(section["rloo"]) if value in ("rloo", "dpo") else value
    refused(config, message.replace("@", re.escape(f"tasks.{task}")))


@pytest.mark.parametrize("name", STUDY_MISTAKES)
def test_a_mistake_in_the_study_is_refused_by_name(config, name):
    key, value, message = STUDY_MISTAKES[name]
    refused(config | {key: value}, message)


def test_an_unknown_task_is_refused_and_the_tasks_there_are_named(config):
    config["tasks"]["lenght"] = config["tasks"].pop("length")
    refused(
        config,
        "'lenght': there is no such module; allowed: hallucination, length, safety, summarization",
    )


@pytest.mark.parametrize("task", TASKS)
def test_a_missing_key_is_named_with_its_task(config, task):
    del config["tasks"][task]["sft"]["steps"]
    refused(config, rf"tasks\.{task}\.sft: 'steps' is a required property")


def test_what_no_objective_needs_may_be_missing(config):
    section = config["tasks"]["hallucination"]
    del (
        section["alignment"]["objectives"]["rloo-judge"],
        section["preferences"],
        section["reward_model"],
    )
    study_config.check(config)


def test_a_biased_labeller_is_no_mistake_for_who_maximises_his_taste(config):
    config["tasks"]["safety"]["preferences"]["length_bias"] = 0.1
    config["tasks"]["safety"]["alignment"]["objectives"]["dpo"]["reward"] = "labeller"
    study_config.check(config)


def test_lams_match_the_trained_betas_exactly():
    task = {
        "alignment": {
            "seeds": [3, 4],
            "objectives": {
                "rloo": {"betas": [0.1, 0.3, 0.2], "anchors": [0.1, 0.3], "default_beta": 0.1}
            },
        },
        "dera": {"lams": [0, 0.5]},
    }
    assert study_config.lams(task, "rloo", "0.1") == [0, Fraction(1, 3), Fraction(1, 2), 1]
    assert study_config.lams(task, "rloo", "0.3") == [1, Fraction(3, 2), 3]


def test_comparators_that_need_no_decoding_are_not_decoded(config):
    section = config["tasks"]["length"]
    assert set(study_config.decoded_baselines(section)) == {
        "weights",
        "probabilities",
        "temperature",
        "top_k",
    }
    section["dera"]["baselines"] = {"best_of": [2]}
    study_config.check(config)
    assert study_config.decoded_baselines(section) == {}
    del section["dera"]["baselines"]
    study_config.check(config)
    assert study_config.decoded_baselines(section) == {}


def test_seeds_are_the_objectives_own_or_the_tasks():
    task = {"alignment": {"seeds": [0, 1], "objectives": {"rloo": {"seeds": [5]}, "dpo": {}}}}
    assert study_config.seeds(task, "rloo") == [5]
    assert study_config.seeds(task, "dpo") == [0, 1]


@pytest.mark.parametrize(
    ("strength", "text"),
    [
        (0.25, "0.25"),
        (1, "1"),
        (1.0, "1"),
        (100, "100"),
        (1e-7, "0.0000001"),
        (0.33333333, "0.33333333"),
    ],
)
def test_strengths_are_written_out_in_full(strength, text):
    assert study_config.label(strength) == text
    assert Fraction(text) == Fraction(str(strength))


@pytest.mark.parametrize("key", ["betas", "anchors", "seeds"])
def test_another_strength_or_seed_does_not_change_what_the_others_are_asked_to_do(config, key):
    task = config["tasks"]["length"]
    section = task["alignment"]["objectives"]["rloo"]
    before = study_config.trainer_settings(task, "rloo")
    section[key] = [*section.get(key, []), 2]
    assert study_config.trainer_settings(task, "rloo") == before
    section["steps"] += 1
    assert study_config.trainer_settings(task, "rloo") != before


def declared(name: str) -> tuple[str, str]:
    module = f"training.objectives.{name}"
    data = modules.constant(module, "DATA", ("prompts", "preferences"))
    return data, modules.constant(module, "OPTIMUM", ("known", "unknown"))


def test_tasks_and_objectives_say_what_they_work_on_without_being_imported():
    assert {name: declared(name) for name in modules.names("training.objectives")} == OBJECTIVES
    assert {
        name: modules.constant(f"tasks.{name}", "CORPUS", ("any", "own"))
        for name in modules.names("tasks")
    } == TASKS
    with pytest.raises(
        modules.ModuleError,
        match=r"__init__\.py must declare DATA at its top, as 'prompts' or 'preferences'",
    ):
        modules.constant("training.objectives", "DATA", ("prompts", "preferences"))


def test_corpus_files_come_from_the_config_or_the_environment(tmp_path, monkeypatch):
    corpus, key = shipped("local-text.yaml")["tasks"]["length"]["corpus"], "tasks.length.corpus"
    for name in corpus["files"].values():
        (tmp_path / name).touch()
    monkeypatch.delenv(checks.CORPUS_VARIABLE, raising=False)
    with pytest.raises(
        study_config.ConfigError, match=r"tasks\.length\.corpus\.folder: not set; .*DERA_CORPUS="
    ):
        checks.corpus_files(key, corpus)
    monkeypatch.setenv(checks.CORPUS_VARIABLE, str(tmp_path))
    found = checks.corpus_files(key, corpus)
    assert {split: Path(path).name for split, path in found.items()} == corpus["files"]
    corpus["folder"] = str(tmp_path / "elsewhere")
    message = r"tasks\.length\.corpus\.files\.train = 'train\.jsonl\.gz': .*does not exist"
    with pytest.raises(study_config.ConfigError, match=message):
        checks.corpus_files(key, corpus)
    assert checks.corpus_files(key, shipped("smoke.yaml")["tasks"]["length"]["corpus"]) == {}


def test_a_wrong_config_ends_in_one_line_and_a_right_one_gives_each_tasks_files(config, capsys):
    assert study_config.check_or_exit(config).corpus_files == {name: {} for name in config["tasks"]}
    config["tasks"]["safety"]["model"]["heads"] = 5
    with pytest.raises(SystemExit, match="1"):
        study_config.check_or_exit(config)
    assert capsys.readouterr().err == (
        "config error: tasks.safety.model.hidden_size = 64: must be a multiple of tasks.safety.model.heads = 5\n"
    )


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder with an objective, a task and a metric of the user's own."""
    for kind in ("objective", "task", "metric"):
        (tmp_path / f"{kind}.py").write_text((ROOT / f"docs/examples/{kind}.py").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_files_of_the_users_own_are_found_and_said(config, here):
    length = config["tasks"]["length"]
    length["alignment"]["objectives"]["mine"] = {
        **length["alignment"]["objectives"]["dpo"],
        "objective": "objective.py",
    }
    length["metrics"] = ["metric.py"]
    config["tasks"]["mine"] = {**length, "module": "task.py", "settings": {"max_words": 9}}
    found = study_config.check(config)
    assert found.plugins() == ["objective.py"]
    assert found.objectives["length"]["mine"] == checks.Objective(
        "objective.py", "preferences", "unknown"
    )
    assert found.task_modules["mine"] == "task.py"
    config["tasks"]["mine"]["settings"] = {"max_words": 0}
    refused(config, r"tasks\.mine\.settings = .*max_words = 0 must be at least 1")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("module",), "nowhere.py", r"tasks\.length\.module = 'nowhere\.py': there is no file"),
        (("module",), "metric.py", r"tasks\.length\.module = 'metric\.py': metric\.py must define a function create"),
        (("module",), "raises.py", r"tasks\.length\.module = 'raises\.py': raises\.py cannot be imported: ZeroDivisionError"),
        (("metrics",), ["nowhere.py"], r"tasks\.length\.metrics = 'nowhere\.py': there is no file"),
        (("metrics",), ["task.py"], r"tasks\.length\.metrics = 'task\.py': task\.py must define a class with a method _compute"),
        (("metrics",), ["metric.py", "again/metric.py"], r"'metric\.py' and 'again/metric\.py' are both named 'metric'"),
        (("metrics",), ["metric"], r"tasks\.length\.metrics\[0\] = 'metric'"),
        ((*RLOO, "objective"), "nowhere.py", r"@\.rloo\.objective = 'nowhere\.py': there is no file"),
        ((*RLOO, "objective"), "metric.py", r"@\.rloo\.objective = 'metric\.py': metric\.py must define a function make_trainer"),
        ((*RLOO, "objective"), "undeclared.py", r"@\.rloo\.objective = .*undeclared\.py must declare DATA at its top"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_by_name(config, here, path, value, message):
    (here / "raises.py").write_text('CORPUS = "any"\n\n\ndef create(settings): ...\n\n\n1 / 0\n')
    (here / "undeclared.py").write_text("def make_trainer(inputs): ...\n")
    (here / "again").mkdir()
    (here / "again/metric.py").write_text((here / "metric.py").read_text())
    section = config["tasks"]["length"]
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    refused(config, message.replace("@", r"tasks\.length\.alignment\.objectives"))


def test_an_objective_that_needs_pairs_is_refused_where_the_task_has_none(config, here):
    length = config["tasks"]["length"]
    length["alignment"]["objectives"] = {
        "mine": {**length["alignment"]["objectives"]["dpo"], "objective": "objective.py"}
    }
    del length["preferences"]
    refused(
        config,
        r"tasks\.length\.preferences: missing, but tasks\.length\.alignment\.objectives\.mine needs preference pairs",
    )


def test_a_reward_may_be_a_sum_of_measures_but_not_for_pairs(config):
    objectives = config["tasks"]["summarization"]["alignment"]["objectives"]
    objectives["rloo"]["reward"] = {"coverage": 1, "words": -0.05}
    study_config.check(config)
    objectives["dpo"]["reward"] = {"coverage": 1}
    refused(
        config, r"dpo\.reward = {'coverage': 1}: preference pairs teach what the labeller likes"
    )


def test_models_that_dera_does_not_start_from_are_allowed_but_not_alone(config):
    objectives = config["tasks"]["length"]["alignment"]["objectives"]
    for objective in objectives.values():
        objective.pop("default_beta", None)
    objectives["dpo"]["anchors"] = []
    study_config.check(config)
    objectives["rloo"]["anchors"] = []
    refused(config, r"tasks\.length\.alignment\.objectives: all anchors are empty")


def test_a_key_that_stands_twice_is_refused_with_both_lines(tmp_path, capsys):
    path = tmp_path / "config.yaml"
    text = (ROOT / "config" / "smoke.yaml").read_text()
    path.write_text(text.replace("        dpo:\n", "        rloo:\n", 1))
    with pytest.raises(SystemExit, match="1"):
        study_config.check_or_exit(yaml.safe_load(path.read_text()), [path])
    message = r"config error: tasks\.length\.alignment\.objectives\.rloo: there are two of this name in .*, lines (\d+) and (\d+); rename one"
    first, second = map(int, re.search(message, capsys.readouterr().err).groups())
    assert (
        path.read_text().splitlines()[first - 1]
        == path.read_text().splitlines()[second - 1]
        == "        rloo:"
    )
