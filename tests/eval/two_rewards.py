"""A study of two rewards made on paper: both aligned models, joint models and DeRa over both, all known exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from eval.claims import Evidence
from eval.several_rewards import points
from tests.eval import synthetic
from tests.eval.synthetic import World

BETA, MARGIN = 0.25, 0.03
SECTION = {
    "parts": ["rloo-kind", "rloo-brief"],
    "joint": {"rloo-3-1": [0.75, 0.25], "rloo-1-1": [0.5, 0.5], "rloo-1-3": [0.25, 0.75]},
    "beyond": [[1, 1], [1.5, -0.5], [2, 0]],
}
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

Sampler = Callable[[World, float, float], np.ndarray]


def unnormalised(world: World, first: float, second: float) -> np.ndarray:
    """The optimum of `first * kindness - second * words / 10` at BETA, not normalised: pi_ref * prod_i (pi_i / pi_ref)^lam_i up to a constant."""
    reward = first * world.measures["kindness"] - second * world.measures["words"] / 10
    return world.reference * np.exp(reward / BETA)


def mixture(world: World, first: float, second: float) -> np.ndarray:
    weights = unnormalised(world, first, second)
    return weights / weights.sum()


def completions(
    world: World,
    joint: Sampler = mixture,
    sampler: Sampler = mixture,
    prompts: int = 100,
    samples: int = 32,
    seeds: int = 2,
) -> pd.DataFrame:
    """A table as eval.score writes it.

    Args:
        joint: the model that training on the weighted sum ends with; the exact optimum if training is perfect.
        sampler: what DeRa draws from at a pair of mixing weights; the exact mixture if its approximation is perfect.
    """
    rng, tables = np.random.default_rng(0), []

    def draw(model: np.ndarray, target: np.ndarray, **labels: Any) -> None:
        tables.append(synthetic.rows(rng, [world], [(model, target)], prompts, samples, **labels))

    draw(world.reference, world.reference, policy="reference")
    for seed in range(seeds):
        ends = dict(zip(SECTION["parts"], ([1, 0], [0, 1]), strict=True))
        for name, weights in {**ends, **SECTION["joint"]}.items():
            model = joint(world, *weights) if name in SECTION["joint"] else mixture(world, *weights)
            draw(
                model,
                model,
                policy="retrained",
                objective=name,
                adapter_beta=f"{BETA:g}",
                seed=seed,
            )
        for pair in [*SECTION["joint"].values(), *ends.values(), [0, 0], *SECTION["beyond"]]:
            # with lam = 1 the rows' log_weight is toward the second model, here the mixture itself
            draw(
                sampler(world, *pair),
                unnormalised(world, *pair),
                policy="several_rewards",
                lam="1",
                seed=seed,
                lams="{:g},{:g}".format(*pair),
            )
    table = pd.concat(tables, ignore_index=True)
    return table.assign(lam=None)


def objectives() -> dict[str, dict[str, Any]]:
    """What eval/eval.smk tells of the alignments."""
    shared = {
        "reward_margin": MARGIN,
        "betas": [f"{BETA:g}"],
        "optimum": "known",
        "seeds": [0, 1],
        "default_beta": f"{BETA:g}",
    }
    found = {
        name: {**shared, "reward": reward, "anchors": [f"{BETA:g}"]}
        for name, reward in REWARDS.items()
    }
    for name, (first, second) in SECTION["joint"].items():
        found[name] = {
            **shared,
            "reward": {"kindness": first, "words": -0.1 * second},
            "anchors": [],
        }
    return found


def evidence(world: World, **more: Any) -> Evidence:
    return Evidence(
        task="paper",
        policies=[],
        objectives={},
        statistics={"bootstrap_resamples": 300, "rank_correlation": 0.9},
        seed=0,
        several_rewards=points(completions(world, **more), SECTION, objectives()),
    )
