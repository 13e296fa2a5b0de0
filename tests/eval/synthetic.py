"""A study made on paper: exact models over a few completions, so that every policy's numbers are known."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd

LENGTHS = np.array([3, 10, 11, 20, 5])
REWARD = np.where((LENGTHS >= 8) & (LENGTHS <= 12), 0.0, -1.0)
REFERENCE = np.array([0.3, 0.2, 0.15, 0.25, 0.1])


def optimum(beta: float) -> np.ndarray:
    weights = REFERENCE * np.exp(REWARD / beta)
    return weights / weights.sum()


def completions(
    betas: list[str], anchors: list[str], lams: list[str], prompts: int = 64, samples: int = 16, seeds: int = 2,
    retrained_at: float = 1.0,
) -> pd.DataFrame:  # fmt: skip
    """A table as eval.score writes it, of models that reach `optimum(retrained_at * beta)` exactly.

    The sampler is the exact mixture with a pretended per-token normaliser that is constant, so every weight is equal.
    """
    rng = np.random.default_rng(0)
    tables = [_rows(rng, REFERENCE, REFERENCE, prompts, 4 * samples, policy="reference")]
    for seed in range(seeds):
        for beta in betas:
            labels = dict(policy="retrained", objective="rloo", adapter_beta=beta, seed=seed)
            model = optimum(retrained_at * float(beta))
            tables.append(_rows(rng, model, model, prompts, samples, **labels))
        for anchor in anchors:
            for lam in sorted({*lams, *(str(Fraction(anchor) / Fraction(beta)) for beta in betas)}):
                labels = dict(policy="dera", objective="rloo", adapter_beta=anchor, seed=seed, lam=lam)
                aligned, weight = optimum(float(anchor)), float(Fraction(lam))
                mixture = REFERENCE ** (1 - weight) * aligned**weight
                tables.append(_rows(rng, mixture / mixture.sum(), aligned, prompts, samples, **labels))
    return pd.concat(tables, ignore_index=True)


def _rows(rng, policy_probabilities, aligned, prompts, samples, **labels) -> pd.DataFrame:
    outcome = rng.choice(len(REFERENCE), p=policy_probabilities, size=prompts * samples)
    logp, reference = np.log(policy_probabilities)[outcome], np.log(REFERENCE)[outcome]
    blank = dict(objective=None, adapter_beta=None, seed=np.nan, lam=None)
    weight = 0.0 if labels.get("lam") is None else float(Fraction(labels["lam"]))
    aligned = np.log(aligned)[outcome]
    return pd.DataFrame(
        {
            "prompt_id": np.repeat(np.arange(prompts), samples),
            "sample_id": np.tile(np.arange(samples), prompts),
            "reward": REWARD[outcome],
            "length": LENGTHS[outcome],
            "logp_policy": logp,
            "logp_reference": reference,
            "logp_aligned": aligned,
            "log_ratio": logp - reference,
            "log_weight": (1 - weight) * reference + weight * aligned - logp,
        }
    ).assign(**{**blank, **labels})
