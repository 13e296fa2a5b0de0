"""Shipped configs are valid. A mistake is refused with its key, its value and what is allowed."""

import copy
import math
import re
from pathlib import Path

import pytest
import yaml

from study import checks, resolve, schema, sources
from study.objective_checks import Declared

ROOT = Path(__file__).parents[2]
TASKS = ["length", "summarization", "hallucination", "safety"]
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
    resolve.plan_of(shipped(name))


def test_the_smoke_study_has_the_tasks_and_at_least_the_alignments_of_the_default_one():
    def alignments(name):
        return {
            task: set(section["alignment"]["objectives"])
            for task, section in shipped(name)["tasks"].items()
        }

    smoke = alignments("smoke.yaml")
    laptop = alignments("laptop.yaml")
    assert set(smoke) == set(laptop)
    for task, objectives in laptop.items():
        assert objectives <= smoke[task]


REMOVED = object()
RLOO, DPO = ("alignment", "objectives", "rloo"), ("alignment", "objectives", "dpo")
BASELINES = ("dera", "baselines")
OWN_PAIRS = {"source": "files", "files": {"path": "pairs.jsonl"}}
LOCAL = {
    "kind": "local_files",
    "files": dict.fromkeys(["train", "validation", "test"], "x.jsonl"),
    "columns": {"prompt": "a", "completion": "b"},
}
# task, key, the wrong value, and what must be said; "@" stands for the task's section
MISTAKES = {
    "unknown key": (
        "length",
        ("sft", "stepz"),
        3,
        r"@\.sft\.stepz = 3: unknown key; allowed here: .*steps",
    ),
    "unknown task key": (
        "length",
        ("modle",),
        3,
        r"@\.modle = 3: unknown key; allowed here: module, settings, .*model",
    ),
    "unknown objective": (
        "length",
        ("alignment", "objectives", "ppo"),
        "rloo",
        r"@\.alignment\.objectives = 'ppo': .*allowed: dpo, grpo, ipo, kto, rloo, slic, or the "
        r"path of a file",
    ),
    "unknown module": (
        "hallucination",
        ("alignment", "objectives", "rloo-judge", "objective"),
        "rlo",
        r"@\.alignment\.objectives\.rloo-judge\.objective = 'rlo': there is no such module; "
        r"allowed: dpo, grpo, ipo, kto, rloo, slic, or the path of a file",
    ),
    "module of another name": (
        "hallucination",
        ("alignment", "objectives", "rloo-judge", "objective"),
        REMOVED,
        r"@\.alignment\.objectives = 'rloo-judge': there is no such module; allowed: dpo, grpo, "
        r"ipo, kto, rloo, slic, or the path of a file",
    ),
    "no objective": (
        "length",
        ("alignment", "objectives"),
        {},
        r"@\.alignment\.objectives = {}: must not be empty",
    ),
    "beta zero": (
        "length",
        (*RLOO, "betas"),
        [0.25, 0],
        r"rloo\.betas\[1\] = 0: must be at least 1e-06",
    ),
    "beta negative": (
        "length",
        (*RLOO, "betas"),
        [-1, 0.25],
        r"rloo\.betas\[0\] = -1: must be at least 1e-06",
    ),
    "beta not a number": (
        "length",
        (*RLOO, "betas"),
        ["x", 0.25],
        r"rloo\.betas\[0\] = 'x': must be of type number",
    ),
    "beta nan": (
        "length",
        (*RLOO, "betas"),
        [math.nan, 0.25],
        r"@\.alignment\.objectives\.rloo\.betas\[0\] = nan: must be a finite number",
    ),
    "beta out of all proportion": (
        "length",
        (*RLOO, "betas"),
        [1e300, 0.25],
        r"rloo\.betas\[0\] = 1e\+300: must be at most",
    ),
    "learning rate out of all proportion": (
        "length",
        ("sft", "learning_rate"),
        1e6,
        r"sft\.learning_rate = 1000000\.0: must be at most 10",
    ),
    "lam out of all proportion": (
        "length",
        ("dera", "lams"),
        [0, 1e5],
        r"dera\.lams\[1\] = 100000\.0: must be at most 1000",
    ),
    "an integer with a point": (
        "length",
        ("sft", "steps"),
        200.0,
        r"sft\.steps = 200\.0: must be of type integer",
    ),
    "truth for a number": (
        "length",
        ("sft", "steps"),
        True,
        r"sft\.steps = True: must be of type integer",
    ),
    "beta infinite": (
        "length",
        (*RLOO, "betas"),
        [math.inf, 0.25],
        r"rloo\.betas\[0\] = inf: must be a finite",
    ),
    "no beta": ("length", (*RLOO, "betas"), [], r"rloo\.betas = \[\]: must not be empty"),
    "beta twice": (
        "length",
        (*RLOO, "betas"),
        [0.25, 0.25, 1],
        r"rloo\.betas = .*must not name a value twice",
    ),
    "lam infinite": (
        "length",
        ("dera", "lams"),
        [0, math.inf],
        r"@\.dera\.lams\[1\] = inf: must be a finite number",
    ),
    "no lam": ("length", ("dera", "lams"), [], r"@\.dera\.lams = \[\]: must not be empty"),
    "anchor not trained": (
        "length",
        (*RLOO, "anchors"),
        [0.3],
        r"@\.alignment\.objectives\.rloo\.anchors = 0\.3: must be one of .*betas = \[0\.25, 1\]",
    ),
    "grid anchor": (
        "length",
        (*RLOO, "default_beta"),
        1,
        r"rloo\.default_beta = 1: must be one of .*anchors = \[0\.25\]",
    ),
    "no default strength": (
        "length",
        RLOO,
        [0.25, 1],
        r"@\.alignment\.objectives\.rloo\.default_beta: missing, but there are 2 anchors; name "
        r"the default strength, one of \[0\.25, 1\]",
    ),
    "main objective missing": (
        "length",
        ("alignment", "main_objective"),
        REMOVED,
        r"@\.alignment\.main_objective: missing, but several objectives have anchors \(rloo, "
        r"dpo\); name the one",
    ),
    "main objective unknown": (
        "length",
        ("alignment", "main_objective"),
        "ppo",
        r"@\.alignment\.main_objective = 'ppo': must be an objective with an anchor; allowed: "
        r"rloo, dpo",
    ),
    "seed not an integer": (
        "length",
        ("alignment", "seeds"),
        [0.5],
        r"@\.alignment\.seeds\[0\] = 0\.5: must be of type integer",
    ),
    "own seed negative": (
        "hallucination",
        ("alignment", "objectives", "rloo-judge", "seeds"),
        [-1],
        r"rloo-judge\.seeds\[0\] = -1: must be at least 0",
    ),
    "no own seed": (
        "hallucination",
        ("alignment", "objectives", "rloo-judge", "seeds"),
        [],
        r"rloo-judge\.seeds = \[\]: must not be empty",
    ),
    "weights of a model itself": (
        "length",
        (*BASELINES, "weights"),
        [0.5, 1.0],
        r"@\.dera\.baselines\.weights\[1\] = 1\.0: must be none of \[0, 1\]",
    ),
    "a share of probabilities beyond both": (
        "length",
        (*BASELINES, "probabilities"),
        [0.5, 1],
        r"baselines\.probabilities\[1\] = 1: must be a number less than 1",
    ),
    "no share of probabilities": (
        "length",
        (*BASELINES, "probabilities"),
        [0, 0.5],
        r"baselines\.probabilities\[0\] = 0: must be a number greater than 0",
    ),
    "temperature zero": (
        "length",
        (*BASELINES, "temperature"),
        [0],
        r"baselines\.temperature\[0\] = 0: must be a number greater than 0",
    ),
    "top-k of nothing": (
        "length",
        (*BASELINES, "top_k"),
        {"k": 0, "knobs": [1]},
        r"baselines\.top_k\.k = 0: must be at least 1",
    ),
    "top-k at no lam": (
        "length",
        (*BASELINES, "top_k"),
        {"k": 5},
        r"@\.dera\.baselines\.top_k: 'knobs' is a required property",
    ),
    "best of one": (
        "length",
        (*BASELINES, "best_of_n"),
        [1],
        r"baselines\.best_of_n\[0\] = 1: must be at least 2",
    ),
    "best of too many": (
        "length",
        (*BASELINES, "best_of_n"),
        [2, 3],
        r"@\.dera\.baselines\.best_of_n\[1\] = 3: must be at most half of "
        r"@\.evaluation\.reference_samples = 4",
    ),
    "unknown baseline": (
        "length",
        (*BASELINES, "beam"),
        [2],
        r"baselines\.beam = \[2\]: unknown key; allowed here: best_of_n, probabilities, "
        r"temperature, top_k, weights",
    ),
    "no baseline": ("length", BASELINES, {}, r"@\.dera\.baselines = {}: must not be empty"),
    "no room": (
        "length",
        ("model", "max_new_tokens"),
        12,
        r"@\.model\.max_new_tokens = 12: must be more than @\.settings\.max_tokens = 12",
    ),
    "heads": (
        "safety",
        ("model", "heads"),
        5,
        r"@\.model\.hidden_size = 64: must be a multiple of @\.model\.heads = 5",
    ),
    "too many prompts": (
        "safety",
        ("evaluation", "prompts"),
        65,
        r"@\.evaluation\.prompts = 65: must be at most @\.corpus\.documents\.test = 64",
    ),
    "more completions read than drawn": (
        "safety",
        ("evaluation", "reading_samples"),
        3,
        r"@\.evaluation\.reading_samples = 3: must be at most @\.evaluation\.samples = 2",
    ),
    "corpus kind": (
        "length",
        ("corpus", "kind"),
        "made_wrld",
        r"@\.corpus\.kind = 'made_wrld': must be one of \['made_world', 'local_files', 'fetched'\]",
    ),
    "corpus key": (
        "length",
        ("corpus", "docs"),
        3,
        r"@\.corpus\.docs = 3: unknown key; allowed here: kind, documents",
    ),
    "corpus size": (
        "length",
        ("corpus", "documents", "test"),
        0,
        r"@\.corpus\.documents\.test = 0: must be at least 1",
    ),
    "corpus of a task that draws its own": (
        "summarization",
        ("corpus",),
        LOCAL,
        r"@\.corpus\.kind = 'local_files': the task summarization cannot read such a corpus; "
        r"allowed: 'made_world'",
    ),
    "groups": (
        "length",
        (*RLOO, "batch_size"),
        36,
        r"rloo\.batch_size = 36: must be a multiple of samples_per_prompt = 8",
    ),
    "no groups": (
        "length",
        (*RLOO, "samples_per_prompt"),
        REMOVED,
        r"@\.alignment\.objectives\.rloo: 'samples_per_prompt' is a required property of an "
        r"objective that samples",
    ),
    "no updates": (
        "length",
        (*RLOO, "updates_per_sample"),
        REMOVED,
        r"rloo: 'updates_per_sample' is a required property",
    ),
    "unknown reward": (
        "length",
        (*RLOO, "reward"),
        "golden",
        r"rloo\.reward = 'golden': must be one of \['gold', 'learned', 'labeller'\]",
    ),
    "sampling for the labeller": (
        "summarization",
        (*RLOO, "reward"),
        "labeller",
        r"@\.alignment\.objectives\.rloo\.reward = 'labeller': an objective that samples can "
        r"maximise 'gold', 'learned' or measures of the task",
    ),
    "pairs for the reward model": (
        "summarization",
        (*DPO, "reward"),
        "learned",
        r"@\.alignment\.objectives\.dpo\.reward = 'learned': an objective that learns from "
        r"preference pairs never sees the reward model",
    ),
    "pairs missing for dpo": (
        "safety",
        ("preferences",),
        REMOVED,
        r"@\.preferences: missing, but @\.alignment\.objectives\.dpo needs preference pairs",
    ),
    "pairs missing for the reward model": (
        "hallucination",
        ("preferences",),
        REMOVED,
        r"@\.preferences: missing, but @\.alignment\.objectives\.rloo-judge needs preference "
        r"pairs",
    ),
    "reward model missing": (
        "summarization",
        ("reward_model",),
        REMOVED,
        r"@\.reward_model: missing, but @\.alignment\.objectives\.rloo\.reward is 'learned'",
    ),
    "gold from a biased labeller": (
        "summarization",
        (*DPO, "reward"),
        "gold",
        r"@\.alignment\.objectives\.dpo\.reward = 'gold': the labeller has a length_bias, so "
        r"what the pairs teach is 'labeller'",
    ),
    "gold by default from a biased labeller": (
        "safety",
        ("preferences", "length_bias"),
        0.1,
        r"@\.alignment\.objectives\.dpo\.reward = 'gold': the labeller has a length_bias",
    ),
    "sharpness zero": (
        "safety",
        ("preferences", "sharpness"),
        0,
        r"@\.preferences\.sharpness = 0: must be at least 1e-06",
    ),
    "no labeller": (
        "safety",
        ("preferences", "sharpness"),
        REMOVED,
        r"@\.preferences: 'sharpness' is a required property where the reference is the source",
    ),
    "unknown source": (
        "safety",
        ("preferences", "source"),
        "gold",
        r"@\.preferences\.source = 'gold': must be one of \['reference', 'task', 'files'\]",
    ),
    "a labeller of the user's own pairs": (
        "length",
        ("preferences",),
        OWN_PAIRS | {"sharpness": 4},
        r"@\.preferences\.sharpness = 4: unknown key; allowed here: source, files, columns, ",
    ),
    "no file of pairs": (
        "length",
        ("preferences",),
        {"source": "files"},
        r"@\.preferences: 'files' is a required property",
    ),
    "pairs by a text": (
        "length",
        ("preferences",),
        OWN_PAIRS | {"files": "pairs.jsonl"},
        r"@\.preferences\.files = 'pairs\.jsonl': must be of type object",
    ),
    "pairs of a folder on the Hub": (
        "length",
        ("preferences",),
        OWN_PAIRS | {"files": {"hub": "a/b", "revision": "main"}},
        r"@\.preferences\.files: 'file' is a required property",
    ),
    "pairs without rejected ones": (
        "length",
        ("preferences",),
        OWN_PAIRS | {"columns": {"prompt": "x", "chosen": "y"}},
        r"@\.preferences\.columns: 'rejected' is a required property",
    ),
    "completions and pairs": (
        "length",
        ("corpus",),
        LOCAL | {"columns": {"prompt": "a", "completion": "b", "rejected": "c"}},
        r"@\.corpus\.columns\.rejected = 'c': unknown key; allowed here: prompt, completion",
    ),
    "nothing to train the reference on": (
        "length",
        ("corpus",),
        LOCAL | {"columns": {"prompt": "a"}},
        r"@\.corpus\.columns: names no `completion`, so there is nothing for sft to train on",
    ),
    "a task that writes no pairs": (
        "safety",
        ("preferences", "source"),
        "task",
        r"@\.preferences\.source = 'task': this task writes no pairs "
        r".*allowed: 'reference', 'files'",
    ),
    "a labeller of what the task writes": (
        "hallucination",
        ("preferences", "sharpness"),
        4,
        r"@\.preferences\.sharpness = 4: what the task writes needs no labeller; remove it",
    ),
    "several completions of what the task writes": (
        "hallucination",
        ("preferences", "completions"),
        3,
        r"@\.preferences\.completions = 3: the task writes pairs, and no completion is sampled; "
        r"remove it",
    ),
    "one completion of a pair": (
        "safety",
        ("preferences", "completions"),
        1,
        r"@\.preferences\.completions = 1: must be at least 2",
    ),
    "dpo on what the task writes": (
        "hallucination",
        DPO,
        "dpo",
        r"@\.alignment\.objectives\.dpo: learns from pairs of the reference's own completions or "
        r"of the user's, but @\.preferences\.source = 'task'; allowed: 'reference', 'files'",
    ),
    "a margin of an objective": (
        "hallucination",
        ("alignment", "objectives", "rloo-judge", "reward_margin"),
        0.1,
        r"rloo-judge\.reward_margin = 0\.1: unknown key",
    ),
    "too few held out": (
        "summarization",
        ("reward_model", "held_out"),
        10,
        r"@\.reward_model\.held_out = 10: must be at least 20",
    ),
    "more than a share": (
        "safety",
        ("sft", "minimum"),
        {"finished": 1.5},
        r"@\.sft\.minimum\.finished = 1\.5: must be at most 1",
    ),
    "a margin of a task": (
        "safety",
        ("reward_margin",),
        0.1,
        r"@\.reward_margin = 0\.1: unknown key",
    ),
}
STUDY_MISTAKES = {
    "unknown top key": ("sedd", 3, r"sedd = 3: unknown key; allowed here: .*seed"),
    "study seed": ("seed", "one", r"seed = 'one': must be of type integer"),
    "no task": ("tasks", {}, r"tasks = {}: must not be empty"),
    "main task missing": (
        "main_task",
        REMOVED,
        r"main_task: missing, but there are several tasks \(length, summarization, "
        r"hallucination, safety\); name the one",
    ),
    "main task unknown": (
        "main_task",
        "lenght",
        r"main_task = 'lenght': there is no such task; allowed: length, summarization",
    ),
    "seed too large": ("seed", 2**32, r"seed = 4294967296: must be at most 4294967295"),
    "old form": (
        "task",
        {"name": "length"},
        r"task = {'name': 'length'}: unknown key; allowed here: .*tasks",
    ),
    "margin of the study": (
        "statistics",
        {"bootstrap_resamples": 200, "reward_margin": 0.1},
        r"statistics\.reward_margin = 0\.1: unknown key",
    ),
}


def refused(config: dict, message: str) -> None:
    with pytest.raises(schema.ConfigError, match=message):
        resolve.plan_of(config)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_refused_by_name(config, name):
    task, path, value, message = MISTAKES[name]
    section = config["tasks"][task]
    for key in path[:-1]:
        section = section[key]
    if name == "no default strength":
        section["rloo"]["anchors"] = [0.25, 1]
        del section["rloo"]["default_beta"]
    elif value is REMOVED:
        section.pop(path[-1], None)
    else:
        section[path[-1]] = copy.deepcopy(section["rloo"]) if value in ("rloo", "dpo") else value
    refused(config, message.replace("@", re.escape(f"tasks.{task}")))


@pytest.mark.parametrize("name", STUDY_MISTAKES)
def test_a_mistake_in_the_study_is_refused_by_name(config, name):
    key, value, message = STUDY_MISTAKES[name]
    changed = config | {key: value}
    if value is REMOVED:
        del changed[key]
    refused(changed, message)


def test_an_unknown_task_is_refused_and_the_tasks_there_are_named(config):
    config["tasks"]["lenght"] = config["tasks"].pop("length")
    refused(
        config,
        "'lenght': there is no such module; "
        "allowed: chat_safety, data_to_text, hallucination, length, own_text, safety, "
        "summarization",
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
    resolve.plan_of(config)


def test_a_biased_labeller_is_no_mistake_for_who_maximises_his_taste(config):
    config["tasks"]["safety"]["preferences"]["length_bias"] = 0.1
    config["tasks"]["safety"]["alignment"]["objectives"]["dpo"]["reward"] = "labeller"
    resolve.plan_of(config)


def test_corpus_files_come_from_the_config_or_the_environment(tmp_path, monkeypatch):
    key = "tasks.length.corpus"
    corpus = shipped("local-text.yaml")["tasks"]["length"]["corpus"]
    for name in corpus["files"].values():
        (tmp_path / name).touch()
    monkeypatch.delenv(checks.CORPUS_VARIABLE, raising=False)
    with pytest.raises(
        schema.ConfigError, match=r"tasks\.length\.corpus\.folder: not set; .*DERA_CORPUS="
    ):
        checks.corpus_sources(key, corpus)
    monkeypatch.setenv(checks.CORPUS_VARIABLE, str(tmp_path))
    found = checks.corpus_sources(key, corpus)
    assert {split: Path(source.path).name for split, source in found.items()} == corpus["files"]
    corpus["folder"] = str(tmp_path / "elsewhere")
    message = r"tasks\.length\.corpus\.files\.train = 'train\.jsonl\.gz': .*does not exist"
    with pytest.raises(schema.ConfigError, match=message):
        checks.corpus_sources(key, corpus)
    assert checks.corpus_sources(key, shipped("smoke.yaml")["tasks"]["length"]["corpus"]) == {}


def test_tables_of_a_corpus_lie_where_they_say_or_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.delenv(checks.CORPUS_VARIABLE, raising=False)
    saved = tmp_path / "saved"
    saved.mkdir()
    of_hub = {"hub": "owner/name", "revision": "main", "file": "data/train-*.parquet"}
    corpus = LOCAL | {
        "files": {
            "train": of_hub,
            "validation": {"path": str(saved)},
            "test": {"path": str(tmp_path / "absent.jsonl")},
        }
    }
    with pytest.raises(schema.ConfigError, match=r"corpus\.files\.test\.path = .*does not exist"):
        checks.corpus_sources("tasks.length.corpus", corpus)
    corpus["files"]["test"] = {"path": str(saved)}
    assert checks.corpus_sources("tasks.length.corpus", corpus) == {
        "train": sources.HubTable(**of_hub),
        "validation": sources.OwnPath(str(saved)),
        "test": sources.OwnPath(str(saved)),
    }


def test_pairs_of_files_have_a_source_and_the_others_have_none(config, tmp_path):
    section = config["tasks"]["length"]
    assert checks.pairs_source("tasks.length", section) is None
    section["preferences"] = OWN_PAIRS
    with pytest.raises(
        schema.ConfigError, match=r"tasks\.length\.preferences\.files\.path = .*does not exist"
    ):
        checks.pairs_source("tasks.length", section)
    (tmp_path / "pairs.jsonl").touch()
    section["preferences"] = OWN_PAIRS | {"files": {"path": str(tmp_path / "pairs.jsonl")}}
    source = checks.pairs_source("tasks.length", section)
    assert source == sources.OwnPath(str(tmp_path / "pairs.jsonl"))


def test_nothing_computes_what_the_labeller_of_the_users_own_pairs_likes(config):
    section = config["tasks"]["length"]
    section["preferences"] = OWN_PAIRS
    resolve.plan_of(config)
    section["alignment"]["objectives"]["dpo"]["reward"] = "labeller"
    refused(config, r"dpo\.reward = 'labeller': pairs of tasks\.length\.preferences\.files were")


def test_a_wrong_config_ends_in_one_line_and_a_right_one_gives_each_tasks_files(config, capsys):
    resolved = resolve.plan_or_exit(config)
    assert all(task.corpus_sources == {} for task in resolved.tasks.values())
    config["tasks"]["safety"]["model"]["heads"] = 5
    with pytest.raises(SystemExit, match="1"):
        resolve.plan_or_exit(config)
    assert capsys.readouterr().err == (
        "config error: tasks.safety.model.hidden_size = 64: must be a multiple of "
        "tasks.safety.model.heads = 5\n"
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
    resolved = resolve.plan_of(config)
    assert resolved.plugins() == ["objective.py"]
    declared = resolved.tasks["length"].objectives["mine"].declared
    assert declared == Declared("objective.py", "preferences", "unknown")
    assert resolved.tasks["mine"].module == "task.py"
    config["tasks"]["mine"]["settings"] = {"max_words": 0}
    refused(config, r"tasks\.mine\.settings = .*max_words = 0 must be at least 1")


WRONG_FILES = [
    (("module",), "nowhere.py", "there is no file"),
    (("module",), "metric.py", r"metric\.py must define a function create"),
    (("module",), "raises.py", r"raises\.py cannot be imported: ZeroDivisionError"),
    (("metrics",), ["nowhere.py"], "there is no file"),
    (("metrics",), ["task.py"], r"task\.py must define a class with a method _compute"),
    (("metrics",), ["metric.py", "again/metric.py"], ""),
    (("metrics",), ["metric"], ""),
    ((*RLOO, "objective"), "nowhere.py", "there is no file"),
    ((*RLOO, "objective"), "metric.py", r"metric\.py must define a function make_trainer"),
    ((*RLOO, "objective"), "undeclared.py", r"undeclared\.py must declare DATA at its top"),
]


@pytest.mark.parametrize(("path", "value", "message"), WRONG_FILES)
def test_a_wrong_file_is_refused_by_name(config, here, path, value, message):
    (here / "raises.py").write_text('CORPUS = "any"\n\n\ndef create(settings): ...\n\n\n1 / 0\n')
    (here / "undeclared.py").write_text("def make_trainer(inputs): ...\n")
    (here / "again").mkdir()
    (here / "again/metric.py").write_text((here / "metric.py").read_text())
    section = config["tasks"]["length"]
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value

    # The message names the key and the file.
    key = re.escape(".".join(("tasks", "length", *path)))
    if value == ["metric.py", "again/metric.py"]:
        refused(config, rf"{key}: 'metric\.py' and 'again/metric\.py' are both named 'metric'")
    elif value == ["metric"]:
        refused(config, rf"{key}\[0\] = 'metric'")
    else:
        file = value[0] if isinstance(value, list) else value
        refused(config, rf"{key} = '{re.escape(file)}': {message}")


def test_an_objective_that_needs_pairs_is_refused_where_the_task_has_none(config, here):
    length = config["tasks"]["length"]
    length["alignment"]["objectives"] = {
        "mine": {**length["alignment"]["objectives"]["dpo"], "objective": "objective.py"}
    }
    del length["preferences"]
    refused(
        config,
        r"tasks\.length\.preferences: missing, but tasks\.length\.alignment\.objectives\.mine "
        r"needs preference pairs",
    )


def test_a_reward_may_be_a_sum_of_measures_but_not_for_pairs(config):
    objectives = config["tasks"]["summarization"]["alignment"]["objectives"]
    objectives["rloo"]["reward"] = {"coverage": 1, "words": -0.05}
    resolve.plan_of(config)
    objectives["dpo"]["reward"] = {"coverage": 1}
    refused(
        config, r"dpo\.reward = {'coverage': 1}: preference pairs teach what the labeller likes"
    )


def test_models_that_dera_does_not_start_from_are_allowed_but_not_alone(config):
    objectives = config["tasks"]["length"]["alignment"]["objectives"]
    for objective in objectives.values():
        objective.pop("default_beta", None)
    objectives["dpo"]["anchors"] = []
    resolve.plan_of(config)
    objectives["rloo"]["anchors"] = []
    refused(config, r"tasks\.length\.alignment\.objectives: all anchors are empty")


@pytest.mark.parametrize(
    ("written", "read"),
    [("010", "8"), ("1_0", "10"), ("0x10", "16"), ("1:30", "90"), ("1:30.5", "90.5")],
)
def test_an_integer_that_yaml_reads_otherwise_is_refused(tmp_path, capsys, written, read):
    path = tmp_path / "config.yaml"
    text = (ROOT / "config" / "smoke.yaml").read_text()
    path.write_text(re.sub(r"^seed: 0", f"seed: {written}", text, flags=re.MULTILINE))
    with pytest.raises(SystemExit, match="1"):
        resolve.plan_or_exit(yaml.safe_load(path.read_text()), [path])
    assert f"seed = {written}: YAML reads this as {read} (" in capsys.readouterr().err


@pytest.mark.parametrize("seed", [2**32 + 1, 10**400])
def test_a_number_beyond_all_bounds_is_refused_whatever_its_length(config, capsys, seed):
    config["seed"] = seed
    with pytest.raises(SystemExit, match="1"):
        resolve.plan_or_exit(config)
    assert capsys.readouterr().err.strip().endswith(f"must be at most {2**32} in size")


def test_an_empty_file_is_refused_by_what_it_lacks(tmp_path, capsys):
    path = tmp_path / "config.yaml"
    path.write_text("")
    with pytest.raises(SystemExit, match="1"):
        resolve.plan_or_exit({}, [path])
    assert capsys.readouterr().err.startswith("config error: config: 'study' is a required")


def multiplying(levels: int) -> str:
    """Lists of ten aliases to the list before: 10 ** levels values in a few lines."""
    lines = ["x0: &x0 [" + "1, " * 10 + "]"]
    for level in range(1, levels):
        lines.append(f"x{level}: &x{level} [" + f"*x{level - 1}, " * 10 + "]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("x: &x [*x, *x]", "is nested more than 20 deep"),
        ("x: &x {y: {z: *x}}", "is nested more than 20 deep"),
        (multiplying(9), "the config has more than 20000 values"),
    ],
)
def test_aliases_that_have_no_end_are_refused_at_once(tmp_path, capsys, lines, said):
    """Followed to their end, they would need more memory than there is."""
    path = tmp_path / "config.yaml"
    path.write_text((ROOT / "config" / "smoke.yaml").read_text() + lines + "\n")
    with pytest.raises(SystemExit, match="1"):
        resolve.plan_or_exit(yaml.safe_load(path.read_text()), [path])
    assert said in capsys.readouterr().err


def test_a_message_fits_a_screen(config, capsys):
    config["seed"] = "9" * 100_000
    with pytest.raises(SystemExit, match="1"):
        resolve.plan_or_exit(config)
    message = capsys.readouterr().err
    assert message.startswith("config error: seed = '999")
    assert message.strip().endswith("must be of type integer")
    assert len(message) < 1100


def test_a_key_that_stands_twice_is_refused_with_both_lines(tmp_path, capsys):
    path = tmp_path / "config.yaml"
    text = (ROOT / "config" / "smoke.yaml").read_text()
    path.write_text(text.replace("        dpo:\n", "        rloo:\n", 1))
    with pytest.raises(SystemExit, match="1"):
        resolve.plan_or_exit(yaml.safe_load(path.read_text()), [path])
    message = (
        r"config error: tasks\.length\.alignment\.objectives\.rloo: there are two of this name in "
        r".*, lines (\d+) and (\d+); rename one"
    )
    first, second = map(int, re.search(message, capsys.readouterr().err).groups())
    assert (
        path.read_text().splitlines()[first - 1]
        == path.read_text().splitlines()[second - 1]
        == "        rloo:"
    )


PRETRAINED = ("model", "pretrained")
CHAT_FILES = ("corpus", "files")
# key, the wrong value, and what must be said; "@" stands for the section of chat_safety
CHAT_MISTAKES = {
    "model of two forms": (
        PRETRAINED,
        {"path": "model", "hub": "owner/name"},
        r"@\.model\.pretrained\.path = 'model': unknown key; allowed here: hub, revision",
    ),
    "model without a revision": (
        PRETRAINED,
        {"hub": "owner/name"},
        r"@\.model\.pretrained: 'revision' is a required property",
    ),
    "shape of a pretrained model": (
        ("model", "layers"),
        3,
        r"@\.model\.layers = 3: unknown key; allowed here: pretrained, chat",
    ),
    "another precision": (
        ("model", "dtype"),
        "int8",
        r"@\.model\.dtype = 'int8': must be one of \['float32', 'bfloat16', 'float16'\]",
    ),
    "no word about chat": (
        ("model", "chat"),
        REMOVED,
        r"@\.model: 'chat' is a required property",
    ),
    "model that is not there": (
        PRETRAINED,
        {"path": "no/such/model"},
        r"@\.model\.pretrained\.path = 'no/such/model': .*does not exist",
    ),
    "another word for no SFT": (("sft",), "off", r"@\.sft = 'off': must be 'none'"),
    "demonstrations that nothing learns from": (
        ("sft",),
        "none",
        r"@\.demonstrations: with sft = 'none' nothing learns from them; remove them",
    ),
    "no demonstrations": (
        ("demonstrations",),
        REMOVED,
        r"@\.demonstrations: missing, but the task has no demonstrations of its own",
    ),
    "corpus of another kind": (
        ("corpus",),
        {"kind": "made_world", "documents": {"train": 8, "validation": 8, "test": 96}},
        r"@\.corpus\.kind = 'made_world': the task chat_safety cannot read .*allowed: 'fetched'",
    ),
    "file that the task does not read": (
        (*CHAT_FILES, "more"),
        {"path": "README.md"},
        r"@\.corpus\.files: names adv_bench, do_not_answer, harm_bench, more, and the task "
        r"chat_safety reads adv_bench, do_not_answer, harm_bench",
    ),
    "file that is not there": (
        (*CHAT_FILES, "adv_bench"),
        {"path": "no/such/file"},
        r"@\.corpus\.files\.adv_bench\.path = 'no/such/file': .*does not exist",
    ),
    "micro-batches that do not fill a step": (
        ("sft", "micro_batch_size"),
        5,
        r"@\.sft\.micro_batch_size = 5: must divide batch_size = 16",
    ),
    "micro-batches of an objective": (
        ("alignment", "objectives", "dpo", "micro_batch_size"),
        3,
        r"@\.alignment\.objectives\.dpo\.micro_batch_size = 3: must divide batch_size = 8",
    ),
}


@pytest.mark.parametrize("name", CHAT_MISTAKES)
def test_mistakes_about_pretrained_models_and_published_files(name, capsys):
    config = shipped("real-mini.yaml")
    key, value, message = CHAT_MISTAKES[name]
    section = config["tasks"]["chat_safety"]
    *path, last = key
    for step in path:
        section = section[step]
    if value is REMOVED:
        del section[last]
    else:
        section[last] = value
    with pytest.raises(SystemExit):
        resolve.plan_or_exit(config)
    message = message.replace("@", r"tasks\.chat_safety")
    assert re.search(message, capsys.readouterr().err)


def test_a_model_from_scratch_needs_sft_and_writes_no_demonstrations(config):
    section = config["tasks"]["safety"]
    section["sft"] = "none"
    message = r"tasks\.safety\.sft = 'none': a model that is trained from scratch needs sft"
    with pytest.raises(schema.ConfigError, match=message):
        resolve.plan_of(config)
    section["sft"] = config["tasks"]["length"]["sft"]
    section["demonstrations"] = {
        "rounds": 1,
        "temperature": 1,
        "max_new_tokens": 8,
        "batch_size": 8,
    }
    with pytest.raises(schema.ConfigError, match="only a pretrained model can write them"):
        resolve.plan_of(config)
