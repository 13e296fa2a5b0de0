"""A study is told before it starts which claims it cannot decide, and what is missing."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from study import prospects, resolve

CONFIG = Path(__file__).parents[2] / "config" / "laptop.yaml"


@pytest.fixture
def task() -> dict:
    """The section of one task that can decide every claim."""
    return copy.deepcopy(yaml.safe_load(CONFIG.read_text())["tasks"]["length"])


def said(task: dict) -> str:
    config = yaml.safe_load(CONFIG.read_text())
    return prospects.message(resolve.plan_of({**config, "tasks": {"length": task}}))


def test_of_a_study_that_can_decide_all_claims_nothing_is_said(task):
    assert said(task) == ""


def fewer_seeds(task):
    task["alignment"]["seeds"] = [0, 1, 2, 3]


def two_seeds(task):
    task["alignment"]["seeds"] = [0, 1]


def one_beta(task):
    task["alignment"]["objectives"]["dpo"].update(betas=[0.5], anchors=[0.5])


def coarse_grid(task):
    task["dera"]["lams"] = [-1, 0, 0.5, 1, 1.5, 2]


def test_steps_of_exactly_a_quarter_are_fine_enough(task):
    """0.09 + 0.25 is not 0.34 in floating point."""
    task["dera"]["lams"] = [0, 0.09, 0.34, 0.59, 0.84, 1]
    task["alignment"]["objectives"]["rloo"].update(betas=[1, 2], anchors=[1], default_beta=1)
    task["alignment"]["objectives"]["dpo"].update(betas=[1, 2], anchors=[1])
    assert said(task) == ""


def few_prompts(task):
    task["evaluation"]["prompts"] = 31
    del task["dera"]["other_references"]["prompts"]


def few_prompts_of_references(task):
    task["dera"]["other_references"]["prompts"] = 31


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (fewer_seeds, "rloo: every claim about its models needs 5 training seeds, and .* has 4"),
        (two_seeds, "the claims about baselines need 3 training seeds, and rloo has 2"),
        (two_seeds, "the claim about other references needs 3 training seeds, and rloo has 2"),
        (one_beta, "dpo: agreement needs a second strength"),
        (coarse_grid, "rloo: a smooth transition needs lams .* at most 1/4 apart"),
        (few_prompts, "dpo: intervals need 32 prompts, and evaluation.prompts is 31"),
        (
            few_prompts_of_references,
            "the claim about other references needs 32 prompts, and .* has 31",
        ),
    ],
)
def test_what_cannot_be_decided_is_named_with_the_number_that_is_missing(task, change, line):
    change(task)
    message = said(task)
    assert message.startswith("This study runs, and these claims will be `not tested here`:")
    assert re.search(line, message)


def too_small(task: dict) -> str:
    config = yaml.safe_load(CONFIG.read_text())
    return prospects.too_small(resolve.plan_of({**config, "tasks": {"length": task}}))


def test_a_study_that_can_judge_is_not_too_small(task):
    assert too_small(task) == ""


def test_one_objective_with_enough_seeds_is_enough(task):
    task["alignment"]["objectives"]["dpo"]["seeds"] = [0]
    assert too_small(task) == ""


def test_a_study_of_few_seeds_or_prompts_is_too_small_and_says_what_it_has(task):
    task["evaluation"]["prompts"] = 16
    task["dera"]["other_references"]["prompts"] = 16
    assert "no objective here has more than 5 training seeds and 16 prompts" in too_small(task)
    task["alignment"]["seeds"] = [0]
    assert "no objective here has more than 1 training seed and 16 prompts" in too_small(task)
    assert "needs 5 training seeds and 32 prompts" in too_small(task)


@pytest.mark.parametrize("name", ["smoke", "example"])
def test_the_studies_that_only_show_that_the_workflow_runs_are_too_small(name):
    config = yaml.safe_load((CONFIG.parent / f"{name}.yaml").read_text())
    assert prospects.too_small(resolve.plan_of(config))
