"""Names become folders and words on a command line, so hostile and ambiguous ones are refused."""

import copy
from pathlib import Path

import pytest
import yaml

from study import names, resolve
from study.schema import ConfigError

ROOT = Path(__file__).parents[2]
HOSTILE = [
    "`touch x`",
    "x;touch y;",
    "$(touch x)",
    "../../x",
    "/tmp/x",
    "a b",
    "a'b",
    'a"b',
    "a\nb",
    "smoke\n",
    "{task}",
    "{}",
    "--help",
    "-x",
    "x-",
    "a=b",
    "a|b",
    "ä",
    "",
    "x" * 65,
    3,
]


@pytest.fixture
def config() -> dict:
    smoke = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    smoke["tasks"] = {"length": copy.deepcopy(smoke["tasks"]["length"])}
    return smoke


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_of_a_task_an_objective_or_a_study_is_refused(config, name):
    of_study = config | {"study": name}
    of_task = config | {"tasks": {name: config["tasks"]["length"] | {"module": "length"}}}
    del of_task["main_task"]
    of_objective = copy.deepcopy(config)
    objectives = of_objective["tasks"]["length"]["alignment"]["objectives"]
    objectives[name] = objectives["dpo"] | {"objective": "dpo"}
    for changed in (of_study, of_task, of_objective):
        with pytest.raises(ConfigError):
            resolve.plan_of(changed)


@pytest.mark.parametrize("name", ["length", "rloo-judge", "rloo-3-1", "my_task", "T5", "7"])
def test_a_plain_name_is_accepted(name):
    for kind in names.RESERVED:
        names.check("here", name, kind)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, reserved in names.RESERVED.items() for name in sorted(reserved)],
)
def test_a_name_that_the_study_needs_itself_is_refused_with_a_remedy(kind, name):
    with pytest.raises(ConfigError, match=f"here: the name '{name}' is taken .*choose another"):
        names.check("here", name, kind)


def test_names_that_differ_in_capitals_alone_are_refused():
    with pytest.raises(ConfigError, match="'rloo' and 'RLOO' differ in capitals alone"):
        names.check_all("here", ["rloo", "dpo", "RLOO"], "objective")
