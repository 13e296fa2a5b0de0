"""DeRa at lam = anchor / beta is the model retrained at beta, as a distribution over completions.

The measure is KL(retrained || DeRa) over whole completions, read from the retrained model's own
completions. It is known for every lam without decoding (`eval.readings`). Between the two models of
other quantities than these, such as their mean reward, agreement may be a coincidence.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from dera.estimators import Array
from eval.claims import Claim, Evidence, mean
from eval.claims.checks import Check, Condition, Outcome, above, below, equal_within, shown
from eval.claims.convergence import converged
from eval.claims.evidence import MARGIN
from eval.policies import together
from eval.statistics import measure

#: The matched lam must be the best one within this factor.
WINDOW = 1.25
#: The KL to DeRa may lie above the floor by this share of the KL to the reference.
SHARE = MARGIN

FALLS_BEFORE = Check(
    f"KL(retrained || DeRa) still falls with lam at the matched lam / {WINDOW:g} (its slope there "
    "is below {:g})",
    0.0,
    below,
)
RISES_AFTER = Check(
    f"KL(retrained || DeRa) rises with lam at the matched lam x {WINDOW:g} (its slope there is "
    "above {:g})",
    0.0,
    above,
)
NEAR_THE_FLOOR = Check(
    f"KL(retrained || DeRa) at the matched lam, less the floor and less {SHARE:.0%} of "
    "KL(retrained || reference), is below {:g}",
    0.0,
    below,
)
INFORMATIVE = Check(
    "KL(retrained || reference) less twice the floor is above {:g}",
    0.0,
    above,
)
SAME_MODEL = Check("KL(aligned || DeRa at lam = 1) is below {:g} nats", 0.001, below)
SAME_REWARD_HIGH = Check(
    f"aligned - DeRa, less {MARGIN:.0%} of what alignment has gained, is below {{:g}}", 0.0, below
)
SAME_REWARD_LOW = Check(
    f"aligned - DeRa, plus {MARGIN:.0%} of what alignment has gained, is above {{:g}}", 0.0, above
)
#: Objectives of the paper. A question of its own asks about others.
OF_THE_PAPER = ("rloo", "dpo")
#: Columns of the table agreement.csv, which the figure of the same name draws.
TABLE = [
    "objective",
    "anchor",
    "beta",
    "lam",
    "premise",
    "informative",
    "excess",
    "excess_low",
    "excess_high",
    "share",
]
SIDES = {
    "interpolation": "stronger regularisation than its own (lam < 1)",
    "extrapolation": "weaker regularisation than its own (lam > 1)",
}


def is_informative(to_reference: Array, floor: Array) -> bool:
    """Return whether alignment moves a model further than another training seed does.

    Args:
        to_reference: KL(retrained || reference) in nats, shape (seeds, prompts).
        floor: KL(retrained || retrained of another seed), of the same shape.
    """
    return INFORMATIVE.outcome(measure(to_reference - 2 * floor)) is Outcome.HOLDS


def decide(evidence: Evidence) -> list[Claim]:
    """Return the claims of each objective and anchor.

    They are that DeRa at lam = 1 is its own aligned model, and that it agrees with retraining for
    lam below 1 and for lam above 1.
    """
    claims = []
    for objective, anchor in _anchors(evidence):
        claims += _is_its_own_model(evidence, objective, anchor)
        rows = compare(evidence, objective, anchor)
        for side in SIDES:
            if any(_is_on(side, anchor, beta) for beta in evidence.objectives[objective].betas):
                on_side = [row for row in rows if _is_on(side, anchor, Fraction(str(row["beta"])))]
                claims.append(_agrees(evidence, objective, anchor, side, on_side))
    return claims


def table(evidence: Evidence) -> pd.DataFrame:
    """Return a row for each objective, anchor and other trained beta, for the figure."""
    lines = []
    for objective, anchor in _anchors(evidence):
        for row in compare(evidence, objective, anchor):
            excess = row["excess share"] or {"value": None, "low": None, "high": None}
            lines.append(
                {
                    "objective": objective,
                    "anchor": float(anchor),
                    "beta": row["beta"],
                    "lam": row["lam"],
                    "premise": row["premise"] == "met",
                    "informative": row["informative"],
                    "excess": excess["value"],
                    "excess_low": excess["low"],
                    "excess_high": excess["high"],
                    "share": SHARE,
                }
            )
    return pd.DataFrame(lines, columns=TABLE)


def compare(evidence: Evidence, objective: str, anchor: Fraction) -> list[dict[str, Any]]:
    """Return what is known of each retrained beta other than the anchor's own.

    The row of a beta has its premise, whether it is informative, its conditions, and further lines
    about mean reward, gold, KL and broken text that decide nothing.
    """
    rows = []
    for retrained in evidence.find("retrained", objective):
        beta = retrained.beta
        across = evidence.readings.dera(objective, beta, anchor, across=True)
        if beta == anchor or across is None:
            continue  # at lam = 1 DeRa is the retrained model itself
        rows.append(_row(evidence, objective, anchor, beta, across))
    return rows


def _anchors(evidence: Evidence) -> list[tuple[str, Fraction]]:
    """Return each objective with each of its anchors, sorted by name and strength."""
    pairs = []
    for name, objective in evidence.objectives.items():
        pairs += [(name, anchor) for anchor in objective.anchors]
    return sorted(pairs)


def _row(
    evidence: Evidence,
    objective: str,
    anchor: Fraction,
    beta: Fraction,
    across: tuple[Array, Array],
) -> dict[str, Any]:
    """Return one line of `compare`."""
    readings = evidence.readings
    lam = float(anchor / beta)
    to_reference = readings.to_reference(objective, beta)
    floor = readings.floor(objective, beta)
    assert floor is not None  # there are readings across seeds, so there are two seeds
    factors, kl = across
    matched = kl[..., _at(factors, 1.0)]
    excess = matched - floor
    within = readings.dera(objective, beta, anchor, across=False)
    assert within is not None
    kl_within = within[1][..., _at(within[0], 1.0)]

    # where each seed's curve is least
    best = [float(factors[curve.argmin()]) for curve in np.nanmean(kl, axis=1)]
    in_window = [1 / WINDOW <= factor <= WINDOW for factor in best]

    return {
        "beta": float(beta),
        "lam": lam,
        "premise": _premise(evidence, objective, anchor, beta),
        "informative": is_informative(to_reference, floor),
        "KL to DeRa, across seeds": shown(measure(matched)),
        "KL to DeRa, within a seed": shown(measure(kl_within)),
        "floor": shown(measure(floor)),
        "KL to the reference": shown(measure(to_reference)),
        "share explained": _share_explained(matched, to_reference),
        "excess share": _ratio(excess, to_reference),
        "best lam / matched lam by seed": best,
        "seeds within the window": f"{sum(in_window)} of {len(in_window)}",
        **_further_lines(evidence, objective, anchor, beta),
        "conditions": _conditions(evidence, objective, anchor, beta, excess, to_reference),
    }


def _conditions(
    evidence: Evidence,
    objective: str,
    anchor: Fraction,
    beta: Fraction,
    excess: Array,
    to_reference: Array,
) -> list[Condition]:
    """Return the three conditions of one beta.

    For the power of the first two a DeRa is assumed whose KL is a parabola in lam, from the KL to
    the reference at lam = 0 to nothing at the matched lam.
    """
    slopes = evidence.readings.dera(objective, beta, anchor, across=True, column="slope")
    assert slopes is not None
    factors, slope = slopes
    name = f"beta = {float(beta):g}"
    kl = float(np.nanmean(to_reference))
    steepness = 2 * kl / float(anchor / beta)
    before = slope[..., _at(factors, 1 / WINDOW)]
    after = slope[..., _at(factors, WINDOW)]
    return [
        Condition(
            f"{name}: slope before",
            FALLS_BEFORE,
            measure(before),
            expected=-steepness * (1 - 1 / WINDOW),
        ),
        Condition(
            f"{name}: slope after",
            RISES_AFTER,
            measure(after),
            expected=steepness * (WINDOW - 1),
        ),
        Condition(
            f"{name}: above the floor",
            NEAR_THE_FLOOR,
            measure(excess - SHARE * to_reference),
            expected=-SHARE * kl,
        ),
    ]


def _premise(evidence: Evidence, objective: str, anchor: Fraction, beta: Fraction) -> str:
    """Return "met", or what is not known to have converged."""
    if evidence.objectives[objective].optimum == "unknown":
        return "met"  # no optimum is known in closed form, so there is nothing to compare with
    if not converged(evidence, objective, anchor):
        return "not met: the anchor has not converged"
    if not converged(evidence, objective, beta):
        return "not met: the retrained model has not converged"
    return "met"


def _further_lines(
    evidence: Evidence, objective: str, anchor: Fraction, beta: Fraction
) -> dict[str, Any]:
    """Return retrained - DeRa in means, where DeRa was decoded at the matched lam."""
    (retrained,) = evidence.find("retrained", objective, beta=beta)
    decoded = evidence.find("dera", objective, anchor=anchor, beta=beta)
    if not decoded:
        return {}
    (dera,) = decoded
    lines: dict[str, Any] = {}
    for quantity in ("reward", "gold", "kl", "broken"):
        lines[f"{quantity} of retrained"] = mean(retrained, quantity)
        lines[f"{quantity}, retrained - DeRa"] = shown(
            evidence.difference(retrained, dera, quantity)
        )
    return lines


def _ratio(numerator: Array, denominator: Array) -> dict[str, float] | None:
    """Return mean(numerator) / mean(denominator), with an interval by linearisation."""
    scale = float(np.nanmean(denominator))
    if scale <= 0:
        return None
    ratio = float(np.nanmean(numerator)) / scale
    interval = shown(measure((numerator - ratio * denominator) / scale))
    return {name: ratio + value for name, value in interval.items()}


def _share_explained(to_dera: Array, to_reference: Array) -> float | None:
    """Return the share of the KL to the reference that is gone in the KL to DeRa."""
    scale = float(np.nanmean(to_reference))
    return 1 - float(np.nanmean(to_dera)) / scale if scale > 0 else None


def _agrees(
    evidence: Evidence,
    objective: str,
    anchor: Fraction,
    side: str,
    rows: list[dict[str, Any]],
) -> Claim:
    claim = Claim(
        id=f"{evidence.task}-{side}-{objective}-{float(anchor):g}",
        part="paper" if objective.startswith(OF_THE_PAPER) else "limit",
        about=side if objective.startswith(OF_THE_PAPER) else None,
        answers=("agreement" if objective.startswith(OF_THE_PAPER) else "other-objectives",),
        task=evidence.task,
        claim=(
            f"DeRa from the {objective.upper()} model of beta = {float(anchor):g} is the model "
            f"retrained at beta / lam, at {SIDES[side]}."
        ),
        source="paper, Proposition 2 and its experiments",
        criterion=(
            "Retrained models and DeRa have different training seeds, and the floor is "
            "KL(retrained || retrained of another seed). At every trained beta on this side that "
            f"is informative, {FALLS_BEFORE}; {RISES_AFTER}; and {NEAR_THE_FLOOR}. A beta is "
            f"informative if {INFORMATIVE}. A beta whose retrained model or anchor has not "
            "converged does not count; if none is left, the claim is not tested."
        ),
        figure=f"{evidence.task}/kl_by_lam",
    )

    # which betas count
    lines = []
    conditions: list[Condition] = []
    counting = []
    for row in rows:
        counts = row["informative"] and row["premise"] == "met"
        lines.append({name: value for name, value in row.items() if name != "conditions"})
        if counts:
            conditions += row["conditions"]
            counting.append(row)
    evidence_of_claim = {"by beta": lines}
    if not rows:
        return claim.not_tested(
            "There is one training seed, so that no model of another seed has read its texts."
        )
    if not counting:
        reasons = {row["premise"] if row["premise"] != "met" else "not informative" for row in rows}
        return claim.not_tested(
            f"No beta counts here ({'; '.join(sorted(reasons))}).", evidence_of_claim
        )
    worst = max(counting, key=lambda row: row["excess share"]["value"])
    return claim.judged(
        conditions,
        _headline(worst, counting, rows),
        evidence_of_claim,
        brief=(
            f"DeRa explains {worst['share explained']:.0%} of the KL, "
            f"another seed {_explained_again(worst):.0%}"
        ),
    )


def _headline(
    worst: dict[str, Any], counting: list[dict[str, Any]], rows: list[dict[str, Any]]
) -> str:
    apart = worst["excess share"]
    return (
        f"{len(counting)} of {len(rows)} beta count. DeRa falls furthest behind retraining with "
        f"another seed at beta = {worst['beta']:g}: it explains {worst['share explained']:.0%} of "
        f"the KL to the reference, and the other seed {_explained_again(worst):.0%}. The "
        f"difference is {apart['value']:.0%} [{apart['low']:.0%}, {apart['high']:.0%}] of that KL."
    )


def _explained_again(row: dict[str, Any]) -> float:
    """Return the share of the KL to the reference that a retrained model of another seed explains.

    It is what DeRa explains, and what DeRa is above the floor.
    """
    return row["share explained"] + row["excess share"]["value"]


def _is_its_own_model(evidence: Evidence, objective: str, anchor: Fraction) -> list[Claim]:
    """Return the claim that compares a model with itself; none where nothing was read."""
    within = evidence.readings.dera(objective, anchor, anchor, across=False)
    decoded = evidence.find("dera", objective, anchor=anchor, lam=Fraction(1))
    if within is None or not decoded:
        return []
    claim = Claim(
        id=f"{evidence.task}-own-model-{objective}-{float(anchor):g}",
        part="premise",
        task=evidence.task,
        claim=(
            f"At lam = 1 DeRa is the {objective.upper()} model of beta = {float(anchor):g} that it "
            "starts from."
        ),
        source="ours: a comparison of a model with itself, which shows the noise",
        criterion=(
            f"{SAME_MODEL}. In mean reward, {SAME_REWARD_HIGH}, and {SAME_REWARD_LOW}. Both are "
            "decoded with random numbers of their own."
        ),
        figure=f"{evidence.task}/reward_kl_by_beta",
    )
    kl = within[1][..., _at(within[0], 1.0)]
    (own,) = evidence.find("retrained", objective, beta=anchor)
    of_own, of_dera = together("reward", own, decoded[0])
    moved = evidence.distance(objective, anchor)
    moved = np.sign(moved.mean()) * moved
    conditions = [Condition("KL", SAME_MODEL, measure(kl), 0.0)]
    conditions += equal_within(
        "reward", SAME_REWARD_HIGH, SAME_REWARD_LOW, of_own - of_dera, moved, MARGIN
    )
    shift = evidence.difference(own, decoded[0])
    headline = (
        f"The KL is {float(kl.mean()):.1e} nats, and the difference in reward {shift.value:+.3f}."
    )
    return [claim.judged(conditions, headline, {"reward, own - DeRa": shown(shift)})]


def _is_on(side: str, anchor: Fraction, beta: Fraction) -> bool:
    """Return whether DeRa reaches beta from the anchor on this side of lam = 1."""
    return beta > anchor if side == "interpolation" else beta < anchor


def _at(factors: Array, factor: float) -> int:
    """Return the place of a factor in the grid."""
    return int(np.abs(factors - factor).argmin())
