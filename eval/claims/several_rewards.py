"""Two rewards at once: DeRa over two aligned models against models trained on weighted sums of their rewards, and what it trades."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from scipy import stats

from eval.claims import Claim, Evidence, of_task, untested, verdict, within
from eval.claims.agreement import LEAST_EFFECTIVE
from eval.several_rewards import NEITHER, ONE_EACH, Pair, Point, at

LEAST_MONOTONE = 0.95


def decide(evidence: Evidence) -> list[Claim]:
    """Both claims for a task with a section `several`, none for others."""
    return [_agrees(evidence), _trades(evidence)] if evidence.several_rewards else []


def _agrees(evidence: Evidence) -> Claim:
    found = evidence.several_rewards
    joint = sorted(
        (point for point in found if point.kind == "joint"), key=lambda point: point.lams
    )
    rows = [_compare(evidence, point) for point in joint]
    parts = [row["equivalent"] for row in rows if row["informative"]]
    counted = f"equivalent at {sum(parts)} of {len(parts)} informative weights"
    largest = max((row["difference"]["value"] for row in rows), key=abs)
    margins = " or ".join(
        f"+-{margin:g}"
        for margin in sorted({point.margin for point in joint if point.margin is not None})
    )
    return Claim(
        id=of_task(evidence, "several-agreement"),
        about="agreement",
        task=evidence.task,
        claim="DeRa over two aligned models agrees with models trained on the weighted sum of the rewards.",
        source="paper, several rewards (appendix)",
        criterion=(
            "at every pair of weights where the reference itself would not pass, the 95% interval of joint - DeRa in the weighted reward lies "
            f"within {margins} (the joint model's margin); partly if at half of them"
        ),
        verdict=verdict(sum(parts), len(parts)),
        headline=f"{counted}; largest difference in the weighted reward {largest:+.3f}",
        evidence={"equivalent": counted, "largest difference": largest, "by weights": rows},
        figure=f"{evidence.task}/several",
    )


def _compare(evidence: Evidence, joint: Point) -> dict[str, Any]:
    """joint - dera = (joint - mixture: training of all three models) + (mixture - dera: approximation)."""
    dera, mixture = (at(evidence.several_rewards, kind, joint.lams) for kind in ("dera", "mixture"))
    reference = at(evidence.several_rewards, "reference", NEITHER)
    margin = joint.margin or 0.0
    reached = mixture.ess >= LEAST_EFFECTIVE
    difference = _difference(evidence, joint, dera, joint.lams)
    return {
        "weights": _written(joint),
        "joint": _rewards(joint),
        "DeRa": _rewards(dera),
        "difference": difference,
        "equivalent": within(difference, margin),
        "informative": not within(_difference(evidence, joint, reference, joint.lams), margin),
        "training": _difference(evidence, joint, mixture, joint.lams) if reached else None,
        "approximation": _difference(evidence, mixture, dera, joint.lams) if reached else None,
        "KL of joint": _mean(joint, "kl"),
        "KL of DeRa": _mean(dera, "kl"),
    }


def _trades(evidence: Evidence) -> Claim:
    found = evidence.several_rewards
    dera = sorted((point for point in found if point.kind == "dera"), key=lambda point: point.lams)
    between = [point for point in dera if sum(point.lams) == 1 and min(point.lams) >= 0]
    text: dict[str, Any] = dict(
        id=of_task(evidence, "several-conflict"),
        about="ours",
        task=evidence.task,
        claim="Where the two rewards conflict, DeRa trades one for the other monotonically, and each part's own reward is highest at its own end.",
        source="ours: what a mixture of conflicting models is good for",
        criterion=(
            "over the pairs of mixing weights that sum to 1 and are not negative: Spearman correlation with the first weight "
            f">= {LEAST_MONOTONE:g} for the first reward and <= -{LEAST_MONOTONE:g} for the second, and each reward highest at its own end; "
            "partly if half of these four hold; not tested unless each part's model has less of the other's reward than the reference "
            "(95% interval over prompts)"
        ),
        figure=f"{evidence.task}/several",
    )
    if len(between) < 3:
        return untested(text, "fewer than three such pairs were decoded")
    names = [at(found, "part", weights).name for weights in ONE_EACH]
    costs = {name: _cost(evidence, own) for own, name in enumerate(names)}
    if not all(cost["high"] < 0 for cost in costs.values()):
        shown = ", ".join(f"{cost['value']:+.3f}" for cost in costs.values())
        return untested(
            text,
            f"the rewards do not conflict here: each part's model has of the other's reward {shown} against the reference",
        )
    first, second = (np.array([_mean(point, f"reward_{i}") for point in between]) for i in (1, 2))
    correlations = [_spearman(between, values) for values in (first, second)]
    parts = [correlations[0] >= LEAST_MONOTONE, correlations[1] <= -LEAST_MONOTONE]
    parts += [int(first.argmax()) == len(between) - 1, int(second.argmax()) == 0]
    rows = [_row(evidence, point, "between the ends") for point in between]
    rows += [
        _row(evidence, point, "beyond")
        for point in dera
        if point not in between and any(point.lams)
    ]
    return Claim(
        **text,
        verdict=verdict(sum(parts), len(parts)),
        headline=(
            f"over {len(between)} pairs the reward of {names[0]} goes from {first[0]:.3g} to {first[-1]:.3g} (Spearman {correlations[0]:.2f}), "
            f"that of {names[1]} from {second[0]:.3g} to {second[-1]:.3g} ({correlations[1]:.2f})"
        ),
        evidence={
            "other's reward, each part - reference": costs,
            "Spearman": correlations,
            "reference": _rewards(at(evidence.several_rewards, "reference", NEITHER)),
            "by mixing weights": rows,
        },
    )


def _cost(evidence: Evidence, own: int) -> dict[str, float]:
    """What a part's model has of the other's reward, less what the reference has."""
    return _difference(
        evidence,
        at(evidence.several_rewards, "part", ONE_EACH[own]),
        at(evidence.several_rewards, "reference", NEITHER),
        ONE_EACH[1 - own],
    )


def _difference(evidence: Evidence, first: Point, second: Point, weights: Pair) -> dict[str, float]:
    return asdict(evidence.estimate(first.reward(weights) - second.reward(weights)))


def _spearman(between: list[Point], values: np.ndarray) -> float:
    """Correlation with the first weight, 0 where nothing varies."""
    return float(
        np.nan_to_num(
            stats.spearmanr([float(point.lams[0]) for point in between], values).statistic
        )
    )


def _row(evidence: Evidence, dera: Point, where: str) -> dict[str, Any]:
    mixture = at(evidence.several_rewards, "mixture", dera.lams)
    return {
        "lam": _written(dera),
        "where": where,
        "DeRa": _rewards(dera),
        "exact mixture": _rewards(mixture) if mixture.ess >= LEAST_EFFECTIVE else None,
        "KL": _mean(dera, "kl"),
        "broken": _mean(dera, "broken"),
    }


def _written(point: Point) -> str:
    return ", ".join(f"{float(lam):g}" for lam in point.lams)


def _rewards(point: Point) -> list[float]:
    return [_mean(point, "reward_1"), _mean(point, "reward_2")]


def _mean(point: Point, quantity: str) -> float:
    return float(point.per_prompt[quantity].mean())
