"""Policies that are not sampled, but reached by reweighting the completions of another policy.

The true optimum at beta and baselines such as the best of n reweight completions of the reference.
The exact mixture at lam reweights those of DeRa at that lam.
"""

from __future__ import annotations

from fractions import Fraction
from types import ModuleType
from typing import Any

import pandas as pd

from dera import estimators
from dera.estimators import Array
from eval.columns import effective_beta
from eval.completions import grid, measures
from eval.policy import Policy


def optimum(reference: pd.DataFrame, objective: str, beta: Fraction) -> Policy:
    """Return `pi_ref * exp(reward / beta)`, which training at beta should have reached.

    This solves the KL-regularised objective that the paper starts from.

    Args:
        reference: completions of the reference with a column `reward`.
    """
    log_weights = grid(reference, "reward") / float(beta)
    return _reweighted(
        reference,
        log_weights,
        log_weights,
        kind="optimum",
        objective=objective,
        seed="mean",
        beta=beta,
        anchor=None,
        lam=None,
        log_normalizer=estimators.log_normalizer(log_weights),
    )


def mixture(
    rows: pd.DataFrame, objective: str, seed: str, anchor: Fraction, lam: Fraction
) -> Policy:
    """Return `pi_ref^(1-lam) * pi_aligned^lam` (paper, Proposition 1).

    Args:
        rows: completions of DeRa at that anchor and lam.
    """
    log_ratio = float(lam) * (grid(rows, "logp_aligned") - grid(rows, "logp_reference"))
    log_weights = grid(rows, "log_weight")
    return _reweighted(
        rows,
        log_ratio,
        log_weights,
        kind="mixture",
        objective=objective,
        seed=seed,
        beta=effective_beta(anchor, lam),
        anchor=anchor,
        lam=lam,
        gap=estimators.approximation_gap(log_weights),
    )


def baseline(reference: pd.DataFrame, objective: str, module: ModuleType, knob: Fraction) -> Policy:
    """Return a baseline that reweights completions of the reference, at one value of its knob.

    Args:
        reference: completions of the reference with a column `reward`.
        module: the baseline's file, which declares DECODED = False (see `eval.baselines`).
    """
    rewards = grid(reference, "reward")
    turned = int(knob) if knob.denominator == 1 else float(knob)
    weights = module.weights(rewards, turned)
    per_prompt = {}
    for name in measures(reference):
        per_prompt[name] = (weights * grid(reference, name)).sum(-1)
    per_prompt["kl"] = module.kl(rewards, turned)
    sample_sizes = 1 / (weights**2).sum(-1)
    return Policy(
        kind=module.NAME,
        objective=objective,
        seed="mean",
        beta=None,
        anchor=None,
        lam=None,
        per_prompt=per_prompt,
        completions=len(reference),
        ess=float(sample_sizes.mean()),
        knob=knob,
    )


def _reweighted(rows: pd.DataFrame, log_ratio: Array, log_weights: Array, **labels: Any) -> Policy:
    """Return the policy that a weighting of another policy's completions describes.

    Args:
        log_ratio: log of the policy over the reference up to a constant, shape (prompts, samples).
        log_weights: log importance weights up to a constant, shape (prompts, samples).
        labels: the policy's other fields.
    """
    per_prompt = {}
    for name in measures(rows):
        per_prompt[name] = estimators.reweighted_mean(grid(rows, name), log_weights)
    per_prompt["kl"] = estimators.kl_to_reference(log_ratio, log_weights)
    sample_sizes = estimators.effective_sample_size(log_weights)
    return Policy(
        per_prompt=per_prompt, completions=len(rows), ess=float(sample_sizes.mean()), **labels
    )
