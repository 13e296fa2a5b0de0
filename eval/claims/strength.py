"""DeRa finds a better strength than the default, and its win rate over the default is high.

The judge is gold, for objectives that did not maximise gold itself. What is chosen is chosen on the
first half of the held-out prompts, and measured on the second half.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from dera.estimators import Estimate
from eval.claims import FAILED, PARTLY, REPRODUCED, Claim, Evidence, verdict
from eval.claims.checks import Check, Interval, above
from eval.claims.lam_grid import fine_grid
from eval.policies import Policy, find
from eval.win_rates import win_rate, win_rate_per_prompt

WINS = Check("the 95% interval of the win rate lies above {:g}", 0.5, above)
REACHES_THE_PAPER = Check(
    "the 95% interval of the win rate reaches {:g}",
    0.9,
    lambda interval, papers_win_rate: interval["high"] >= papers_win_rate,
)


def decide(evidence: Evidence) -> list[Claim]:
    """Return two claims for each objective of a reward other than gold and of two or more betas."""
    claims = []
    for name, objective in evidence.objectives.items():
        if objective.reward != "gold" and len(objective.betas) > 1:
            (default,) = find(
                evidence.policies, "retrained", objective=name, beta=objective.default_beta
            )
            claims.append(_better(evidence, name, default))
            claims.append(_highest(evidence, name, default))
    return claims


def _better_statement(evidence: Evidence, objective: str, default: Policy) -> Claim:
    return Claim(
        id=f"{evidence.task}-better-strength-{objective}",
        about="strength",
        answers=("strength",),
        task=evidence.task,
        claim=(
            f"DeRa finds a strength that beats the default beta = {float(default.beta):g} "
            f"({objective.upper()}), and the model retrained there beats it too."
        ),
        source="paper, summarisation",
        criterion=(
            "Among the lams that match a trained beta, the lam with the highest win rate over the "
            "default on the first half of the held-out prompts is chosen. On the second half, "
            f"{WINS}, both for DeRa at that lam and for the model retrained at that beta. The "
            "claim is partly reproduced if this holds for one of them."
        ),
        figure=f"{evidence.task}/win_rates",
    )


def _better(evidence: Evidence, objective: str, default: Policy) -> Claim:
    claim = _better_statement(evidence, objective, default)

    # choose a lam whose strength was trained, other than the default itself
    candidates = []
    for policy in fine_grid(evidence, objective):
        trained = find(evidence.policies, "retrained", objective=objective, beta=policy.beta)
        if policy.lam != 1 and trained:
            candidates.append(policy)
    chosen = _choose(candidates, default)
    (retrained,) = find(evidence.policies, "retrained", objective=objective, beta=chosen.beta)

    # confirm it on the other prompts
    wins = {
        "DeRa": _confirm(evidence, chosen, default),
        "retrained": _confirm(evidence, retrained, default),
    }
    conditions = [WINS.holds(interval) for interval in wins.values()]
    headline = (
        f"At lam = {chosen.lam} (beta = {float(chosen.beta):g}) DeRa wins {_shown(wins['DeRa'])} "
        f"of the comparisons with the default, and the retrained model {_shown(wins['retrained'])}."
    )
    return claim.decided(
        verdict(conditions),
        headline,
        {
            "chosen lam": str(chosen.lam),
            "beta": float(chosen.beta),
            "win rate of DeRa": wins["DeRa"],
            "win rate of retrained": wins["retrained"],
            "prompts that confirm": _prompts(default) - _prompts(default) // 2,
        },
    )


def _highest_statement(evidence: Evidence, objective: str, default: Policy) -> Claim:
    return Claim(
        id=f"{evidence.task}-highest-win-rate-{objective}",
        about="strength",
        answers=("strength",),
        task=evidence.task,
        claim=(
            f"At its best lam DeRa wins up to {REACHES_THE_PAPER.threshold:g} of the comparisons "
            f"with the default strength ({objective.upper()})."
        ),
        source="paper, summarisation: win rates of up to 0.9",
        criterion=(
            "The lam with the highest win rate over the default on the first half of the held-out "
            "prompts is chosen. On the second half, the claim is reproduced if "
            f"{REACHES_THE_PAPER}; it is partly reproduced if {WINS}."
        ),
        figure=f"{evidence.task}/win_rates",
    )


def _highest(evidence: Evidence, objective: str, default: Policy) -> Claim:
    claim = _highest_statement(evidence, objective, default)
    grid = fine_grid(evidence, objective)
    chosen = _choose(grid, default)
    (reference,) = find(evidence.policies, "reference", objective=objective)
    over_default = _confirm(evidence, chosen, default)
    over_reference = _confirm(evidence, chosen, reference)
    partly = PARTLY if WINS.holds(over_default) else FAILED
    headline = (
        f"At lam = {chosen.lam} DeRa wins {_shown(over_default)} of the comparisons with the "
        f"default, and {_shown(over_reference)} of those with the reference."
    )
    return claim.decided(
        REPRODUCED if REACHES_THE_PAPER.holds(over_default) else partly,
        headline,
        {
            "lam": str(chosen.lam),
            "win rate over the default": over_default,
            "win rate over the reference": over_reference,
            "if every completion were the best that DeRa found for its prompt": _ceiling(
                grid, default
            ),
        },
    )


def _prompts(policy: Policy) -> int:
    return len(policy.per_prompt["gold"])


def _choose(candidates: list[Policy], default: Policy) -> Policy:
    """Return the candidate that wins most often on the first half of the prompts."""
    first_half = slice(0, _prompts(default) // 2)

    def wins(policy: Policy) -> float:
        return win_rate_per_prompt(policy.gold[first_half], default.gold[first_half]).mean()

    return max(candidates, key=wins)


def _confirm(evidence: Evidence, policy: Policy, opponent: Policy) -> Interval:
    """Return the win rate of a policy on the second half of the prompts."""
    second_half = slice(_prompts(opponent) // 2, None)
    resamples = evidence.statistics.bootstrap_resamples
    estimate: Estimate = win_rate(policy, opponent, resamples, evidence.seed, second_half)
    return asdict(estimate)


def _ceiling(grid: list[Policy], default: Policy) -> float:
    """Return the win rate if every completion were the best of its prompt that DeRa found.

    No policy could win more: the default's ties and near-perfect completions cannot be beaten.
    """
    golds = np.concatenate([policy.gold for policy in grid], axis=1)
    best = golds.max(1, keepdims=True)
    per_prompt = win_rate_per_prompt(best, default.gold)
    return float(per_prompt[_prompts(default) // 2 :].mean())


def _shown(interval: Interval) -> str:
    return f"{interval['value']:.2f} [{interval['low']:.2f}, {interval['high']:.2f}]"
