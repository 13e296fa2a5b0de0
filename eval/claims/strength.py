"""DeRa finds a better strength than the default; and how far its win rate goes. Judged by gold where gold is not what was maximised.

What is chosen, is chosen on the first half of the held-out prompts and measured on the second.
"""

from __future__ import annotations

from dataclasses import asdict
from fractions import Fraction

import numpy as np

from dera.estimators import Estimate
from eval.claims import FAILED, PARTLY, REPRODUCED, Claim, Evidence, of_task, verdict
from eval.claims.transition import grid_of
from eval.policies import Policy, find
from eval.win_rates import win_rate, win_rate_per_prompt

PAPERS_HIGHEST = 0.9


def decide(evidence: Evidence) -> list[Claim]:
    """Two claims for each objective that did not maximise gold itself and was trained at more strengths than one."""
    claims = []
    for name, settings in evidence.objectives.items():
        if settings["reward"] != "gold" and len(settings["betas"]) > 1:
            default = Fraction(settings["default_beta"])
            (opponent,) = find(evidence.policies, "retrained", objective=name, beta=default)
            claims += [_better(evidence, name, opponent), _highest(evidence, name, opponent)]
    return claims


def _halves(opponent: Policy) -> tuple[slice, slice]:
    half = len(opponent.per_prompt["gold"]) // 2
    return slice(0, half), slice(half, None)


def _best(candidates: list[Policy], opponent: Policy) -> Policy:
    """The candidate that wins most on the first half of the prompts."""
    choosing, _ = _halves(opponent)
    return max(
        candidates,
        key=lambda policy: win_rate_per_prompt(
            policy.gold[choosing], opponent.gold[choosing]
        ).mean(),
    )


def _confirmed(evidence: Evidence, policy: Policy, opponent: Policy) -> Estimate:
    """Its win rate on the second half."""
    return win_rate(
        policy,
        opponent,
        evidence.statistics["bootstrap_resamples"],
        evidence.seed,
        _halves(opponent)[1],
    )


def _shown(found: Estimate) -> str:
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _better(evidence: Evidence, objective: str, opponent: Policy) -> Claim:
    candidates = [
        policy
        for policy in grid_of(evidence, objective)
        if policy.lam != 1
        and find(evidence.policies, "retrained", objective=objective, beta=policy.beta)
    ]
    chosen = _best(candidates, opponent)
    (retrained,) = find(evidence.policies, "retrained", objective=objective, beta=chosen.beta)
    wins = {
        "DeRa": _confirmed(evidence, chosen, opponent),
        "retrained": _confirmed(evidence, retrained, opponent),
    }
    parts = [found.low > 0.5 for found in wins.values()]
    return Claim(
        id=of_task(evidence, f"better-strength-{objective}"),
        about="strength",
        task=evidence.task,
        claim=(
            f"DeRa finds a strength that beats the default beta = {float(opponent.beta):g} ({objective.upper()}), and the model retrained there beats it too."
        ),
        source="paper, summarisation",
        criterion=(
            "of the lam that match a trained beta, take the one with the highest win rate over the default on the first half of the held-out "
            "prompts; on the second half the 95% interval of its win rate, and of the retrained model's at that beta, lies above 0.5; partly if one does"
        ),
        figure=f"{evidence.task}/win_rates",
        verdict=verdict(sum(parts), len(parts)),
        headline=f"lam = {chosen.lam} (beta = {float(chosen.beta):g}): DeRa wins {_shown(wins['DeRa'])}, retrained {_shown(wins['retrained'])}",
        evidence={
            "chosen lam": str(chosen.lam),
            "beta": float(chosen.beta),
            **{f"win rate of {name}": asdict(f) for name, f in wins.items()},
            "prompts that confirm": len(opponent.per_prompt["gold"]) - _halves(opponent)[0].stop,
        },
    )


def _highest(evidence: Evidence, objective: str, opponent: Policy) -> Claim:
    grid = grid_of(evidence, objective)
    chosen = _best(grid, opponent)
    found = _confirmed(evidence, chosen, opponent)
    (reference,) = find(evidence.policies, "reference", objective=objective)
    over_reference = _confirmed(evidence, chosen, reference)
    held = REPRODUCED if found.high >= PAPERS_HIGHEST else PARTLY if found.low > 0.5 else FAILED
    # the most that any policy could reach: the default's own ties and near-perfect completions cannot be beaten
    best = np.concatenate([policy.gold for policy in grid], axis=1).max(1, keepdims=True)
    ceiling = float(win_rate_per_prompt(best, opponent.gold)[_halves(opponent)[1]].mean())
    return Claim(
        id=of_task(evidence, f"highest-win-rate-{objective}"),
        about="strength",
        task=evidence.task,
        claim=f"DeRa's best lam wins up to {PAPERS_HIGHEST:g} of comparisons with the default strength ({objective.upper()}).",
        source="paper, summarisation: win rates of up to 0.9",
        criterion=(
            f"the lam with the highest win rate over the default on the first half of the held-out prompts, on the second: reproduced if the 95% "
            f"interval reaches {PAPERS_HIGHEST:g}, partly if it lies above 0.5"
        ),
        verdict=held,
        headline=f"{_shown(found)} at lam = {chosen.lam}; over the reference {_shown(over_reference)}",
        evidence={
            "lam": str(chosen.lam),
            "win rate over the default": asdict(found),
            "win rate over the reference": asdict(over_reference),
            "if every completion were the best that DeRa found for its prompt": ceiling,
        },
        figure=f"{evidence.task}/win_rates",
    )
