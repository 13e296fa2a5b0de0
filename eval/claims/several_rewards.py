"""Two rewards at once: does DeRa agree with training on their weighted sum, and what does it trade?

DeRa mixes two aligned models, each trained on one of the rewards alone.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from scipy import stats

from eval.claims import PARTLY_IF_HALF, Claim, Evidence, verdict
from eval.claims.checks import Check, Interval, at_least, at_most, below, within
from eval.claims.convergence import MIN_EFFECTIVE_SAMPLES
from eval.several_rewards import NEITHER, ONE_EACH, Pair, Point, at

MIN_PAIRS = 3
EQUIVALENT = "the 95% interval of joint - DeRa in the weighted reward lies within +-{:g}"
FIRST_RISES = Check(
    "the Spearman correlation of the first reward with the first weight is at least {:g}",
    0.95,
    at_least,
)
SECOND_FALLS = Check(
    "the Spearman correlation of the second reward with the first weight is at most {:g}",
    -0.95,
    at_most,
)


def decide(evidence: Evidence) -> list[Claim]:
    """Return both claims for a task with a section `several_rewards`, none for others."""
    return [_agrees(evidence), _trades(evidence)] if evidence.several_rewards else []


def _agrees(evidence: Evidence) -> Claim:
    joint = sorted(_of_kind(evidence, "joint"), key=lambda point: point.lams)
    margins = sorted({point.margin for point in joint})
    sentences = [EQUIVALENT.format(margin) for margin in margins]
    claim = Claim(
        id=f"{evidence.task}-several-rewards-agreement",
        about="agreement",
        answers=("several-rewards",),
        task=evidence.task,
        claim=(
            "DeRa over two aligned models agrees with models trained on the weighted sum of the "
            "rewards."
        ),
        source="paper, several rewards (appendix)",
        criterion=(
            "At every pair of weights where the reference itself would not pass, "
            f"{' or '.join(sentences)} (the margin of the joint model). The claim is partly "
            "reproduced if this holds for at least half of the pairs."
        ),
        figure=f"{evidence.task}/several_rewards",
    )
    rows = [_compare(evidence, point) for point in joint]
    conditions = [row["equivalent"] for row in rows if row["informative"]]
    counted = f"equivalent at {sum(conditions)} of {len(conditions)} informative weights"
    largest = max((row["difference"]["value"] for row in rows), key=abs)
    return claim.decided(
        verdict(conditions),
        (
            f"DeRa and joint models are {counted}; the largest difference in the weighted reward "
            f"is {largest:+.3f}."
        ),
        {"equivalent": counted, "largest difference": largest, "by weights": rows},
    )


def _compare(evidence: Evidence, joint: Point) -> dict[str, Any]:
    """Return joint - DeRa in the weighted reward, and its two components.

    joint - DeRa = (joint - mixture: training of all three models) + (mixture - DeRa: approximation)
    """
    weights = joint.lams
    dera = at(evidence.several_rewards, "dera", weights)
    mixture = at(evidence.several_rewards, "mixture", weights)
    reference = at(evidence.several_rewards, "reference", NEITHER)
    equivalent = Check(EQUIVALENT, joint.margin, within)
    difference = _difference(evidence, joint, dera, weights)
    from_reference = _difference(evidence, joint, reference, weights)

    # the components can be told apart only where the samples reach the mixture
    training = None
    approximation = None
    if mixture.ess >= MIN_EFFECTIVE_SAMPLES:
        training = _difference(evidence, joint, mixture, weights)
        approximation = _difference(evidence, mixture, dera, weights)
    return {
        "weights": _written(joint),
        "joint": _rewards(joint),
        "DeRa": _rewards(dera),
        "difference": difference,
        "equivalent": equivalent.holds(difference),
        "informative": not equivalent.holds(from_reference),
        "training": training,
        "approximation": approximation,
        "KL of joint": _mean(joint, "kl"),
        "KL of DeRa": _mean(dera, "kl"),
    }


def _trades_statement(evidence: Evidence) -> Claim:
    return Claim(
        id=f"{evidence.task}-several-rewards-conflict",
        about="ours",
        answers=("several-rewards",),
        task=evidence.task,
        claim=(
            "Where the two rewards conflict, DeRa trades one for the other monotonically, and each "
            "reward is highest at the end that has all of the weight on it."
        ),
        source="ours: what a mixture of conflicting models is good for",
        criterion=(
            "Over the pairs of mixing weights that sum to 1 and are not negative, "
            f"{FIRST_RISES}, {SECOND_FALLS}, and each of the two rewards is highest at its own "
            f"end. {PARTLY_IF_HALF} It is not tested unless each model trained on one reward has "
            "less of the other reward than the reference (95% interval over prompts)."
        ),
        figure=f"{evidence.task}/several_rewards",
    )


def _trades(evidence: Evidence) -> Claim:
    claim = _trades_statement(evidence)
    dera = sorted(_of_kind(evidence, "dera"), key=lambda point: point.lams)
    between = [point for point in dera if sum(point.lams) == 1 and min(point.lams) >= 0]
    if len(between) < MIN_PAIRS:
        return claim.not_tested("Fewer than three such pairs of mixing weights were decoded.")

    # do the rewards conflict?
    costs = _costs(evidence)
    if not all(below(cost, 0) for cost in costs.values()):
        shown = ", ".join(f"{cost['value']:+.3f}" for cost in costs.values())
        return claim.not_tested(
            "The rewards do not conflict here: the models trained on one reward have of the other "
            f"reward, against the reference, {shown}."
        )

    # the path from one end to the other
    first = np.array([_mean(point, "reward_1") for point in between])
    second = np.array([_mean(point, "reward_2") for point in between])
    correlations = [_spearman(between, first), _spearman(between, second)]
    conditions = [
        FIRST_RISES.holds(correlations[0]),
        SECOND_FALLS.holds(correlations[1]),
        int(first.argmax()) == len(between) - 1,
        int(second.argmax()) == 0,
    ]

    beyond = [point for point in dera if point not in between and any(point.lams)]
    rows = [_row(evidence, point, "between the ends") for point in between]
    rows += [_row(evidence, point, "beyond") for point in beyond]
    name_1, name_2 = costs
    headline = (
        f"Over {len(between)} pairs the reward of {name_1} goes from {first[0]:.3g} to "
        f"{first[-1]:.3g} (Spearman {correlations[0]:.2f}), and the reward of {name_2} from "
        f"{second[0]:.3g} to {second[-1]:.3g} (Spearman {correlations[1]:.2f})."
    )
    return claim.decided(
        verdict(conditions),
        headline,
        {
            "the other reward, each model of one reward - reference": costs,
            "Spearman": correlations,
            "reference": _rewards(at(evidence.several_rewards, "reference", NEITHER)),
            "by mixing weights": rows,
        },
    )


def _costs(evidence: Evidence) -> dict[str, Interval]:
    """Return for each model of one reward its other reward minus that of the reference."""
    reference = at(evidence.several_rewards, "reference", NEITHER)
    first_alone, second_alone = ONE_EACH
    costs = {}
    for trained_on, not_trained_on in (
        (first_alone, second_alone),
        (second_alone, first_alone),
    ):
        model = at(evidence.several_rewards, "single", trained_on)
        costs[model.name] = _difference(evidence, model, reference, not_trained_on)
    return costs


def _of_kind(evidence: Evidence, kind: str) -> list[Point]:
    return [point for point in evidence.several_rewards if point.kind == kind]


def _difference(evidence: Evidence, first: Point, second: Point, weights: Pair) -> Interval:
    """Return first - second in the weighted reward."""
    return asdict(evidence.estimate(first.reward(weights) - second.reward(weights)))


def _spearman(between: list[Point], values: np.ndarray) -> float:
    """Return the correlation with the first weight, 0 where nothing varies."""
    first_weights = [float(point.lams[0]) for point in between]
    return float(np.nan_to_num(stats.spearmanr(first_weights, values).statistic))


def _row(evidence: Evidence, dera: Point, where: str) -> dict[str, Any]:
    mixture = at(evidence.several_rewards, "mixture", dera.lams)
    return {
        "lam": _written(dera),
        "where": where,
        "DeRa": _rewards(dera),
        "exact mixture": _rewards(mixture) if mixture.ess >= MIN_EFFECTIVE_SAMPLES else None,
        "KL": _mean(dera, "kl"),
        "broken": _mean(dera, "broken"),
    }


def _written(point: Point) -> str:
    return ", ".join(f"{float(lam):g}" for lam in point.lams)


def _rewards(point: Point) -> list[float]:
    return [_mean(point, "reward_1"), _mean(point, "reward_2")]


def _mean(point: Point, quantity: str) -> float:
    return float(point.per_prompt[quantity].mean())
