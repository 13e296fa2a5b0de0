"""A study of two rewards made on paper, in which every model is known exactly.

It has both aligned models, joint models, and DeRa over both rewards.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from eval.claims import Evidence
from eval.judging import Judging, Objective, SeveralRewards
from eval.several_rewards import points
from tests.eval import synthetic
from tests.eval.synthetic import World

BETA, MARGIN = 0.25, 0.03
SECTION = SeveralRewards(
    objectives=("rloo-kind", "rloo-brief"),
    joint={"rloo-3-1": (0.75, 0.25), "rloo-1-1": (0.5, 0.5), "rloo-1-3": (0.25, 0.75)},
    beyond=((1, 1), (1.5, -0.5), (2, 0)),
)
#: What is kind is seldom brief.
CONFLICT = World(
    np.array([0.4, 0.2, 0.2, 0.15, 0.05]),
    {
        "gold": np.zeros(5),
        "kindness": np.array([0.5, 1.0, 0.1, 0.0, 0.9]),
        "words": np.array([5.0, 9.0, 2.0, 1.0, 3.0]),
    },
)
#: What is kind is brief.
HARMONY = World(
    CONFLICT.reference, {**CONFLICT.measures, "words": 10 * (1 - CONFLICT.measures["kindness"])}
)
REWARDS = {"rloo-kind": {"kindness": 1}, "rloo-brief": {"words": -0.1}}
ENDS: list[tuple[Fraction, Fraction]] = [
    (Fraction(1), Fraction(0)),
    (Fraction(0), Fraction(1)),
    (Fraction(0), Fraction(0)),
]

Sampler = Callable[[World, float, float], np.ndarray]


def unnormalised(world: World, first: float, second: float) -> np.ndarray:
    """The optimum of `first * kindness - second * words / 10` at BETA, not normalised.

    It is `pi_ref * prod_i (pi_i / pi_ref)^lam_i` up to a constant.
    """
    reward = first * world.measures["kindness"] - second * world.measures["words"] / 10
    return world.reference * np.exp(reward / BETA)


def mixture(world: World, first: float, second: float) -> np.ndarray:
    weights = unnormalised(world, first, second)
    return weights / weights.sum()


def completions(
    world: World,
    joint: Sampler = mixture,
    sampler: Sampler = mixture,
    prompts: int = 60,
    samples: int = 32,
    seeds: int = 5,
) -> pd.DataFrame:
    """A table as eval.score writes it.

    Args:
        joint: the model that training on the weighted sum ends with; the exact optimum if training
            is perfect.
        sampler: what DeRa draws from at a pair of mixing weights; the exact mixture if its
            approximation is perfect.
    """
    rng = np.random.default_rng(0)
    tables = []

    def draw(model: np.ndarray, target: np.ndarray, **labels: Any) -> None:
        tables.append(synthetic.rows(rng, [world], [(model, target)], prompts, samples, **labels))

    draw(world.reference, world.reference, kind="reference")
    trained = {**dict(zip(SECTION.objectives, ENDS, strict=False)), **SECTION.joint}
    decoded = [*SECTION.joint.values(), *ENDS, *SECTION.beyond]
    for seed in range(seeds):
        for name, pair in trained.items():
            weights = [float(weight) for weight in pair]
            train = joint if name in SECTION.joint else mixture
            model = train(world, *weights)
            labels = {"objective": name, "beta": f"{BETA:g}", "seed": seed}
            draw(model, model, kind="retrained", **labels)
        for pair in decoded:
            weights = [float(weight) for weight in pair]
            # with lam = 1 a row's log_weight is toward the second model, here the mixture itself
            draw(
                sampler(world, *weights),
                unnormalised(world, *weights),
                kind="several_rewards",
                lam="1",
                seed=seed,
                lams="{:g},{:g}".format(*weights),
            )
    table = pd.concat(tables, ignore_index=True)
    return table.assign(lam=None)


def objectives() -> dict[str, Objective]:
    """The two objectives that are mixed and the joint ones."""
    shared = {
        "betas": (f"{BETA:g}",),
        "optimum": "known",
        "seeds": (0, 1, 2, 3, 4),
    }
    anchored = {"anchors": (f"{BETA:g}",), "default_beta": f"{BETA:g}"}
    settings = {}
    for name, reward in REWARDS.items():
        settings[name] = Objective(**shared, **anchored, reward=reward)
    for name, (first, second) in SECTION.joint.items():
        reward = {"kindness": float(first), "words": -0.1 * float(second)}
        settings[name] = Objective(**shared, anchors=(), default_beta=None, reward=reward)
    return settings


def judging() -> Judging:
    """Settings of the jobs that judge."""
    return synthetic.judging_of(objectives(), several_rewards=SECTION)


def evidence(world: World, **more: Any) -> Evidence:
    return Evidence(
        task="paper",
        policies=[],
        judging=judging(),
        seed=0,
        several_rewards=points(completions(world, **more), judging()),
    )
