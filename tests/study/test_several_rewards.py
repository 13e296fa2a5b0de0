"""The section `several_rewards`: DeRa decodes what follows from it, and mistakes are refused."""

import copy
import re

import pytest

from study import estimate, resolve, several_rewards
from study.schema import ConfigError
from tests.workflow.studies import tiny_study, with_rloo

MIXED = {"objective": "rloo", "betas": [0.1, 0.25], "anchors": [0.1]}
SECTION = {
    "objectives": ["rloo-coverage", "rloo-brevity"],
    "joint": {"rloo-1-2": [0.1, 0.9], "rloo-outside": [1.5, -0.5]},
    "beyond": [[1, 1], [2, 0]],
}


@pytest.fixture
def config() -> dict:
    """0.1 * 0.3 is not 0.03 in floating point."""
    config = tiny_study(summarization=with_rloo("summarization"))
    alignment = config["tasks"]["summarization"]["alignment"]
    rloo = {
        key: value
        for key, value in alignment["objectives"]["rloo"].items()
        if key not in ("reward", "default_beta")
    }
    joint = {**rloo, **MIXED, "anchors": []}
    alignment["objectives"] |= {
        "rloo-coverage": {**rloo, **MIXED, "reward": {"coverage": 0.3}},
        "rloo-brevity": {**rloo, **MIXED, "reward": {"words": -0.05, "coverage": 0.9}},
        "rloo-1-2": {**joint, "reward": {"coverage": 0.84, "words": -0.045}},
        "rloo-outside": {
            **joint,
            "reward": {"words": 0.025},
        },  # 1.5 * 0.3 - 0.5 * 0.9: coverage has no weight left
    }
    config["tasks"]["summarization"]["several_rewards"] = copy.deepcopy(SECTION)
    return config


def test_dera_decodes_each_joint_models_weights_the_ends_and_what_lies_beyond(config):
    resolve.plan_of(config)
    assert several_rewards.lam_pairs(SECTION) == [
        [0.1, 0.9],
        [1.5, -0.5],
        [1, 0],
        [0, 1],
        [0, 0],
        [1, 1],
        [2, 0],
    ]
    assert several_rewards.lam_pairs({"joint": {"one": [0.5, 0.5]}}) == [
        [0.5, 0.5],
        [1, 0],
        [0, 1],
        [0, 0],
    ]


def test_decoding_more_pairs_takes_longer(config):
    before = estimate.seconds(resolve.plan_of(config))
    config["tasks"]["summarization"]["several_rewards"]["beyond"] += [[3, 0]]
    after = estimate.seconds(resolve.plan_of(config))
    del config["tasks"]["summarization"]["several_rewards"]
    assert estimate.seconds(resolve.plan_of(config)) < before < after


HERE, THERE = ("several_rewards",), ("alignment", "objectives")
# the key, the wrong value, and what must be said; "@" stands for the task's section
MISTAKES = {
    "unknown key": (
        (*HERE, "jiont"),
        {},
        r"@\.several_rewards\.jiont = {}: unknown key; allowed here: objectives, joint, beyond",
    ),
    "one objective": (
        (*HERE, "objectives"),
        ["rloo-coverage"],
        r"@\.several_rewards\.objectives = .*: must have at least 2 items",
    ),
    "three objectives": (
        (*HERE, "objectives"),
        ["rloo-coverage", "rloo-brevity", "rloo"],
        r"@\.several_rewards\.objectives = .*: must have at most 2 items",
    ),
    "an objective twice": (
        (*HERE, "objectives"),
        ["rloo-coverage", "rloo-coverage"],
        r"@\.several_rewards\.objectives = .*: must not name a value twice",
    ),
    "no joint model": ((*HERE, "joint"), {}, r"@\.several_rewards\.joint = {}: must not be empty"),
    "three weights": (
        (*HERE, "joint", "rloo-1-2"),
        [0.1, 0.4, 0.5],
        r"@\.several_rewards\.joint\.rloo-1-2 = .*: must have at most 2 items",
    ),
    "unknown objective": (
        (*HERE, "objectives"),
        ["rloo-coverage", "rloo-short"],
        r"@\.several_rewards\.objectives\[1\] = 'rloo-short': there is no such objective; "
        r"allowed: rloo, rloo-coverage, rloo-brevity, rloo-1-2",
    ),
    "unknown joint model": (
        (*HERE, "joint", "rloo-2-2"),
        [0.5, 0.5],
        r"@\.several_rewards\.joint = 'rloo-2-2': there is no such objective; allowed: ",
    ),
    "reward of no weights": (
        (*THERE, "rloo-coverage", "reward"),
        "gold",
        r"@\.several_rewards\.objectives\[0\] = 'rloo-coverage': its reward is 'gold', .*name an "
        r"objective whose reward is a mapping",
    ),
    "two anchors": (
        (*THERE, "rloo-brevity", "anchors"),
        [0.1, 0.25],
        r"@\.alignment\.objectives\.rloo-brevity\.anchors = \[0\.1, 0\.25\]: must be one anchor, "
        r"because @\.several_rewards\.objectives\[1\] names it",
    ),
    "no anchor": (
        (*THERE, "rloo-coverage", "anchors"),
        [],
        r"@\.alignment\.objectives\.rloo-coverage\.anchors = \[\]: must be one anchor",
    ),
    "other anchor": (
        (*THERE, "rloo-brevity", "anchors"),
        [0.25],
        r"@\.alignment\.objectives\.rloo-brevity\.anchors = \[0\.25\]: must be \[0\.1\], the "
        r"anchor of rloo-coverage",
    ),
    "other seeds": (
        (*THERE, "rloo-brevity", "seeds"),
        [3],
        r"@\.alignment\.objectives\.rloo-brevity\.seeds = \[3\]: must be \[0\], the seeds of "
        r"rloo-coverage",
    ),
    "not the sum": (
        (*THERE, "rloo-1-2", "reward"),
        {"coverage": 0.5, "words": -0.045},
        r"@\.alignment\.objectives\.rloo-1-2\.reward = {'coverage': 0\.5, 'words': -0\.045}: "
        r"must be {'coverage': 0\.84, 'words': -0\.045}, the sum of the rewards of rloo-coverage "
        r"and rloo-brevity weighted by @\.several_rewards\.joint\.rloo-1-2 = \[0\.1, 0\.9\]",
    ),
    "a joint reward of no weights": (
        (*THERE, "rloo-1-2", "reward"),
        "learned",
        r"@\.alignment\.objectives\.rloo-1-2\.reward = 'learned': must be {'coverage': 0\.84, "
        r"'words': -0\.045}",
    ),
    "joint beta missing": (
        (*THERE, "rloo-1-2", "betas"),
        [0.25],
        r"@\.alignment\.objectives\.rloo-1-2\.betas = \[0\.25\]: must have 0\.1, the anchor of "
        r"rloo-coverage and rloo-brevity",
    ),
    "joint with anchors": (
        (*THERE, "rloo-1-2", "anchors"),
        [0.1],
        r"@\.alignment\.objectives\.rloo-1-2\.anchors = \[0\.1\]: must be \[\], because "
        r"@\.several_rewards\.joint\.rloo-1-2 names it to be compared with",
    ),
    "weights of another strength": (
        (*HERE, "joint", "rloo-1-2"),
        [0.1, 0.8],
        r"@\.several_rewards\.joint\.rloo-1-2 = \[0\.1, 0\.8\]: must sum to 1",
    ),
    "pair twice": (
        (*HERE, "beyond"),
        [[1, 1], [2, 0], [1.0, 1]],
        r"@\.several_rewards\.beyond\[2\] = \[1\.0, 1\]: is decoded already, .*remove it",
    ),
    "an end again": (
        (*HERE, "beyond"),
        [[0, 0]],
        r"@\.several_rewards\.beyond\[0\] = \[0, 0\]: is decoded already",
    ),
    "joint weights again": (
        (*HERE, "beyond"),
        [[0.1, 0.9]],
        r"@\.several_rewards\.beyond\[0\] = \[0\.1, 0\.9\]: is decoded already",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_refused_by_name(config, name):
    path, value, message = MISTAKES[name]
    section = config["tasks"]["summarization"]
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    if name == "two anchors":
        section["default_beta"] = 0.1  # without it, it would be missed first
    with pytest.raises(ConfigError, match=message.replace("@", re.escape("tasks.summarization"))):
        resolve.plan_of(config)
