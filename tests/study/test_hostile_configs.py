"""Whatever a config says, it is accepted or refused in one message, and nothing is run from it."""

from __future__ import annotations

import contextlib
import copy
import io
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from study import resolve, schema

ROOT = Path(__file__).parents[2]
SMOKE = yaml.safe_load((ROOT / "config/smoke.yaml").read_text(encoding="utf-8"))
LENGTH = ("tasks", "length")
RLOO = (*LENGTH, "alignment", "objectives", "rloo")
REMOVED = object()


def own(value: Any) -> Any:
    """A copy in which no two sections are the same object, as aliases of YAML are."""
    if isinstance(value, dict):
        return {key: own(item) for key, item in value.items()}
    return [own(item) for item in value] if isinstance(value, list) else value


BASE = own(SMOKE | {"tasks": {"length": SMOKE["tasks"]["length"]}})


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Every place of a config, as the keys that lead to it."""
    found = [path] if path else []
    items = dict(enumerate(value)) if isinstance(value, list) else value
    if isinstance(items, dict):
        for key, item in items.items():
            found += places(item, (*path, key))
    return found


def changed(path: tuple, value: Any) -> dict:
    """The smoke study with another value at one place, or without it."""
    config = copy.deepcopy(BASE)
    section = config
    for key in path[:-1]:
        section = section[key]
    if value is REMOVED:
        section.pop(path[-1])
    else:
        section[path[-1]] = value
    return config


def said_of(config: dict) -> str:
    """What is said of a config that is refused; an empty text of one that is accepted."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = 0
        try:
            resolve.plan_or_exit(config)
        except SystemExit as ended:
            status = ended.code
    message = said.getvalue()
    assert status == (1 if message else 0)
    if message:
        assert message.startswith("config error: ")
        assert message.count("\n") == 1
        assert len(message) < 1100
    return message


HOSTILE = [
    *(None, True, False, 0, -1, 1, 3, 2**31, 2**32, 2**64, -(2**64), 10**400),
    *(0.0, 1.0, 200.0, -0.5, 1e-320, 1e-300, 1e300, float("nan"), float("inf"), -float("inf")),
    *("", " ", "x", "none", "../../x", "/tmp/x", "`touch hit`", "$(touch hit)", "x;touch hit;"),
    *("--index-url=http://x", "-x.py", "{task}", "{}", "a\0b.py", "\ud800.py", "\x1b[2J", "x\n"),
    *("x" * 200_000, "x" * 300 + ".py", "010", "all-linear", [], {}, [[]], [None], {3: 4}),
    *({None: 1}, ["x"], [0, 0], [1, 1.0], {"x": {"x": {"x": 1}}}, {"path": "a'b"}),
    *({"knobs": [1]}, {"gold": 0}, {"pretrained": [{"path": "-x"}]}, list(range(2000))),
]
VALUES = st.one_of(
    st.sampled_from(HOSTILE),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.integers(-3, 3), max_size=4),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
    st.just(REMOVED),
)


@settings(
    max_examples=600,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(path=st.sampled_from(places(BASE)), value=VALUES)
def test_any_value_at_any_key_is_accepted_or_refused_by_name(tmp_path_factory, path, value):
    """There are no jobs here, so that a command that ran would have run in the checker."""
    if value is REMOVED and isinstance(path[-1], int):
        return
    said = said_of(changed(path, value))
    assert not Path("hit").exists()
    if said:
        # A key below the task is named; a mistake in one key may be told of another beside it.
        below = [key for key in path[2:] if isinstance(key, str)] or [path[0]]
        section = {name for name in (below[0], "dera", "model") if name in said}
        assert section, (path, said)


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(path=st.sampled_from(places(BASE)), key=st.one_of(st.integers(), st.text(), st.none()))
def test_an_unknown_key_is_refused_or_belongs_to_a_section_of_names(path, key):
    section = BASE
    for step in path:
        section = section[step]
    if isinstance(section, dict) and key not in section:
        assert said_of(changed((*path, key), object))


def refused(path: tuple, value: Any, message: str) -> None:
    said = said_of(changed(path, value))
    assert re.search(message, said), said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('raise KeyError("a")', "cannot be imported: KeyError: 'a'"),
        ("import sys; sys.exit(0)", "cannot be imported: SystemExit: 0"),
        ("def create(settings): raise OSError('no')", "create raised OSError: no"),
        ("def create(settings): raise SystemExit", "create raised SystemExit"),
        ("def create(settings): return 3", "create returned int, which has no method splits and"),
        ("x = '\udcff'", "decode byte 0xff"),
        ("x = " + "(" * 500, "nested|never closed"),
        ("create = 1", "must define a function create"),
        ("def create(settings): raise ValueError('y' * 100000)", r"yyy \.\.\. yyy"),
    ],
)
def test_a_task_that_is_broken_is_refused_by_its_file(tmp_path, text, message):
    file = tmp_path / "mine.py"
    define = "" if "create" in text else "\ndef create(settings): pass"
    content = f'CORPUS = "any"\n{text}{define}\n'
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    refused((*LENGTH, "module"), str(file), rf"tasks(\.\w+)*\.(module|settings) = .*{message}")


@pytest.mark.parametrize("key", [(*LENGTH, "module"), (*RLOO, "objective")])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("-x.py", "write ./-x.py"),
        ("x" * 300 + ".py", "there is no file"),
        ("../x", "there is no such module"),
        ("x;touch hit", "there is no such module"),
    ],
)
def test_a_plug_in_that_cannot_be_named_like_that_is_refused(key, name, message):
    refused(key, name, message)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((*LENGTH, "model", "hidden_size"), 12, "must be an even multiple of .*heads = 4, such"),
        ((*LENGTH, "model", "heads"), 64, "must be an even multiple"),
        ((*LENGTH, "model", "max_new_tokens"), 256, r"must be less than .*max_positions = 256"),
        ((*LENGTH, "model", "layers"), 10**9, r"layers = 1000000000: must be at most"),
        ((*LENGTH, "lora", "target_modules"), ["q_proj", "q"], "no layer 'q'; allowed: all-linear"),
        ((*LENGTH, "lora", "first_block"), 2, r"first_block = 2: must be less than .*layers = 2"),
        ((*LENGTH, "lora", "target_modules"), "linear", "must be 'all-linear'"),
        ((*RLOO, "reward"), {"nope": 1}, r"rloo\.reward\.nope = 1: the task has no such measure"),
        ((*RLOO, "reward"), {"gold": 0}, "every weight is 0"),
        ((*LENGTH, "sft", "minimum"), {"nope": 0.5}, "no such measure; allowed: finished, gold"),
        ((*LENGTH, "settings"), {"min_tokens": 8.5, "max_tokens": 12}, "min_tokens = 8.5 must be"),
        ((*LENGTH, "settings"), {"min_tokens": True, "max_tokens": 12}, "min_tokens = True must"),
        ((*LENGTH, "sft", "learning_rate"), 1e-300, "must be 0, or at least 1e-09 in size"),
        ((*LENGTH, "dera", "curve", "max_sampled_lams"), 1, "must be at least 2, because"),
        (("seed",), 2**32, "must be at most 4294967295"),
        (("study",), "criteria", "is taken by the study itself"),
        (("zz\x1b[2J\n",), 1, r"zz\\x1b\[2J\\n = 1: unknown key"),
    ],
)
def test_what_would_fail_late_is_refused_early(path, value, message):
    refused(path, value, message)


def test_the_remedies_for_the_width_and_the_layers_work():
    assert not said_of(changed((*LENGTH, "model", "hidden_size"), 16))
    for targets in ("all-linear", ["q_proj", "mlp.up_proj"], ["layers.1.self_attn.v_proj"]):
        assert not said_of(changed((*LENGTH, "lora", "target_modules"), targets))
    assert not said_of(changed((*LENGTH, "sft", "minimum"), {"finished": 0.5, "gold": 0}))


def test_a_list_that_contains_itself_is_refused_at_once():
    config = copy.deepcopy(BASE)
    config["tasks"]["length"]["dera"]["lams"].append(config["tasks"]["length"]["dera"]["lams"])
    assert "nested more than" in said_of(config)
    laughs: list = [0]
    for _ in range(15):
        laughs = [laughs] * 9
    assert "YAML aliases that contain aliases multiply" in said_of(changed(("seed",), laughs))


def test_the_schema_has_no_key_that_may_grow_without_bound():
    """Every number has a largest value, except those that another check bounds."""
    text = yaml.safe_load(schema.SCHEMA.read_text(encoding="utf-8"))
    unbounded = []

    def visit(rules: Any, path: tuple) -> None:
        if isinstance(rules, dict):
            if rules.get("type") in ("integer", "number") and "maximum" not in rules:
                unbounded.append(path)
            for key, item in rules.items():
                visit(item, (*path, key))
        elif isinstance(rules, list):
            for number, item in enumerate(rules):
                visit(item, (*path, number))

    visit(text, ())
    assert unbounded == []
