"""DeRa finds a better strength than the default, and its win rate over the default is high.

The judge is gold, for objectives that did not maximise gold itself. The default is what TRL ships,
on a reward scaled to unit standard deviation under the reference.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from eval.claims import Claim, Evidence, mean
from eval.claims.checks import Check, Condition, above, shown
from eval.claims.choosing import choose, of_chosen
from eval.claims.lam_grid import fine_grid
from eval.policies import Policy, together
from eval.statistics import Measurement, measure
from eval.win_rates import win_rates_by_seed

#: The `beta` of TRL's RLOOConfig and DPOConfig, by the first word of an objective's name.
TRL_DEFAULTS = {"rloo": 0.05, "dpo": 0.1}
#: How far the config's default may lie from TRL's, as a factor; a config rounds.
MAX_FACTOR = 1.25

WINS = Check("the win rate is above {:g}", 0.5, above)
REACHES_THE_PAPER = Check("the win rate is above {:g} (0.9, less what rounds to it)", 0.85, above)
PAPERS_WIN_RATE = 0.9
#: The win rate for which the power of the first check is computed.
MODEST_WIN_RATE = 0.6


def decide(evidence: Evidence) -> list[Claim]:
    """Return two claims for each objective of a reward other than gold and of two or more betas."""
    claims = []
    for name, objective in evidence.objectives.items():
        if objective.reward != "gold" and len(objective.betas) > 1:
            claims.append(_better(evidence, name))
            claims.append(_highest(evidence, name))
    return claims


def _unfair_default(evidence: Evidence, objective: str) -> str | None:
    """Return why the config's default strength is not what TRL ships, None if it is."""
    fair = _trl_beta(evidence, objective)
    if fair is None:
        return "TRL's default is not known for this objective."
    default = evidence.objectives[objective].default_beta
    if not abs(math.log(float(default or 1) / fair)) <= math.log(MAX_FACTOR):
        return (
            f"The default strength of this config is {float(default or 0):g}, and TRL's default "
            f"is {fair:.3g} on this reward."
        )
    return None


def _choice() -> str:
    return (
        "For each training seed the lam is chosen by the other seeds, on the first half of the "
        "held-out prompts, by the win rate over the default; it is measured with that seed on the "
        "second half."
    )


def _better(evidence: Evidence, objective: str) -> Claim:
    default = evidence.default_model(objective)
    claim = Claim(
        id=f"{evidence.task}-better-strength-{objective}",
        part="paper",
        about="strength",
        answers=("strength",),
        task=evidence.task,
        claim=(
            f"DeRa finds a strength that beats TRL's default ({objective.upper()}, beta = "
            f"{float(default.beta or 0):g}), and the model retrained there beats it too."
        ),
        source="paper, summarisation",
        criterion=(
            f"The candidates are the lams that match a trained beta. {_choice()} There {WINS}, "
            "both for DeRa at the chosen lam and for the model retrained at its beta."
        ),
        figure=f"{evidence.task}/win_rates",
    )
    unfair = _unfair_default(evidence, objective)
    if unfair:
        return claim.not_tested(unfair)

    # choose among the strengths that were trained, other than the default itself, and confirm
    candidates = _candidates(evidence, objective, default)
    chosen, of_dera, of_retrained = _confirmed(candidates, default)
    regret = _regret(evidence, objective, [retrained for _, retrained in candidates], chosen)
    conditions = [
        Condition("DeRa", WINS, of_dera, MODEST_WIN_RATE),
        Condition("retrained", WINS, of_retrained, MODEST_WIN_RATE),
    ]
    lams = [str(candidates[number][0].lam) for number in chosen]
    headline = (
        f"At the chosen lam ({', '.join(dict.fromkeys(lams))}) DeRa wins {of_dera.value:.2f} of "
        f"the comparisons with the default, and the retrained model {of_retrained.value:.2f}; "
        f"the regret is {regret['value']:+.2f} gold."
    )
    return claim.judged(
        conditions,
        headline,
        {
            "chosen lam by seed": lams,
            "win rate of DeRa": shown(of_dera),
            "win rate of retrained": shown(of_retrained),
            "regret (gold of the best retrained less that of the chosen)": regret,
            "every other possible default": _other_defaults(evidence, objective),
        },
        brief=f"DeRa's choice wins {of_dera.value:.2f} over the default",
    )


def _candidates(evidence: Evidence, objective: str, default: Policy) -> list[tuple[Policy, Policy]]:
    """Return DeRa at the lams that match a trained beta, each with the model retrained there.

    The default's own strength is no candidate against it.
    """
    pairs = []
    for dera in fine_grid(evidence, objective):
        retrained = evidence.find("retrained", objective, beta=dera.beta)
        if dera.beta != default.beta and retrained:
            pairs.append((dera, retrained[0]))
    return pairs


def _confirmed(
    candidates: list[tuple[Policy, Policy]], default: Policy
) -> tuple[list[int], Measurement, Measurement]:
    """Choose a candidate for each seed, and confirm it.

    Returns:
        The numbers of the candidates, and the win rates over the default of DeRa and of the
        retrained models.
    """
    dera_wins = [win_rates_by_seed(dera, default) for dera, _ in candidates]
    retrained_wins = [win_rates_by_seed(retrained, default) for _, retrained in candidates]
    chosen = choose(dera_wins)
    of_dera = measure(of_chosen(dera_wins, chosen))
    return chosen, of_dera, measure(of_chosen(retrained_wins, chosen))


def _regret(
    evidence: Evidence, objective: str, candidates: list[Policy], chosen: list[int]
) -> dict[str, float]:
    """Return the gold of the best retrained model less that of the model at DeRa's choice.

    The best model is chosen in the same way as DeRa's lam, by the other seeds. It may be the
    default.
    """
    retrained = [*candidates, evidence.default_model(objective)]
    golds = together("gold", *retrained)
    best = of_chosen(golds, choose(golds))
    return shown(measure(best - of_chosen(golds, chosen)))


def _other_defaults(evidence: Evidence, objective: str) -> list[dict[str, Any]]:
    """Return for every trained beta what DeRa's choice would be worth if it were the default."""
    rows = []
    trl_beta = _trl_beta(evidence, objective)
    assert trl_beta is not None  # the claim is not tested where TRL's default is not known
    for default in evidence.find("retrained", objective):
        candidates = _candidates(evidence, objective, default)
        if not candidates:
            continue
        _, of_dera, of_retrained = _confirmed(candidates, default)
        rows.append(
            {
                "default beta": float(default.beta or 0),
                "beta / TRL's default": float(default.beta or 0) / trl_beta,
                "gold of the default": mean(default, "gold"),
                "win rate of DeRa": shown(of_dera),
                "win rate of retrained": shown(of_retrained),
            }
        )
    return rows


def _trl_beta(evidence: Evidence, objective: str) -> float | None:
    """Return TRL's default on the scale of the objective's reward, None where it is not known."""
    default = TRL_DEFAULTS.get(objective.partition("-")[0])
    if default is None:
        return None
    return default * evidence.reward_spread.get(objective, math.nan)


def _highest(evidence: Evidence, objective: str) -> Claim:
    default = evidence.default_model(objective)
    claim = Claim(
        id=f"{evidence.task}-highest-win-rate-{objective}",
        part="paper",
        about="strength",
        answers=("strength",),
        task=evidence.task,
        claim=(
            f"At its best lam DeRa wins {PAPERS_WIN_RATE:g} of the comparisons with TRL's default "
            f"strength ({objective.upper()})."
        ),
        source="paper, summarisation: win rates of up to 0.9",
        criterion=f"The candidates are all lams that were decoded. {_choice()} There "
        f"{REACHES_THE_PAPER}.",
        figure=f"{evidence.task}/win_rates",
    )
    unfair = _unfair_default(evidence, objective)
    if unfair:
        return claim.not_tested(unfair)
    grid = [policy for policy in fine_grid(evidence, objective) if policy.lam != 1]
    over_default = [win_rates_by_seed(policy, default) for policy in grid]
    reference = evidence.reference_of(objective)
    over_reference = [win_rates_by_seed(policy, reference) for policy in grid]
    chosen = choose(over_default)
    wins = measure(of_chosen(over_default, chosen))
    against_reference = measure(of_chosen(over_reference, chosen))
    lams = [float(grid[number].lam or 0) for number in chosen]
    headline = (
        f"At its best lam (about {np.median(lams):g}) DeRa wins {wins.value:.2f} of the "
        f"comparisons with the default, and {against_reference.value:.2f} of those with the "
        "reference."
    )
    return claim.judged(
        [Condition("DeRa at its best lam", REACHES_THE_PAPER, wins, PAPERS_WIN_RATE)],
        headline,
        {
            "lam by seed": lams,
            "win rate over the default": shown(wins),
            "win rate over the reference": shown(against_reference),
        },
        brief=f"at most {wins.value:.2f} wins over the default",
    )
