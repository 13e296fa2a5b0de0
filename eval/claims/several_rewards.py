"""Two rewards at once: does DeRa agree with training on their weighted sum, and what does it trade?

DeRa mixes two aligned models, each trained on one of the rewards alone.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from eval.claims import Claim, Evidence
from eval.claims.checks import Check, Condition, above, below, equal_within, shown
from eval.claims.evidence import MARGIN
from eval.several_rewards import NEITHER, ONE_EACH, Pair, Point, at
from eval.statistics import MIN_EFFECTIVE_SAMPLES, Measurement, Outcome, measure

MIN_PAIRS = 3
MARGIN_IN_WORDS = f"{MARGIN:.0%} of what training on the sum has gained in it"
NOT_HIGHER = Check(
    f"joint - DeRa in the weighted reward, less {MARGIN_IN_WORDS}, is below {{:g}}", 0.0, below
)
NOT_LOWER = Check(
    f"joint - DeRa in the weighted reward, plus {MARGIN_IN_WORDS}, is above {{:g}}", 0.0, above
)
FIRST_RISES = Check(
    "the first reward rises by more than {:g} from each pair to the next of a larger first weight",
    0.0,
    above,
)
SECOND_FALLS = Check("the second reward changes by less than {:g} there", 0.0, below)


def decide(evidence: Evidence) -> list[Claim]:
    """Return both claims for a task with a section `several_rewards`, none for others."""
    return [_agrees(evidence), _trades(evidence)] if evidence.several_rewards else []


def _agrees(evidence: Evidence) -> Claim:
    claim = Claim(
        id=f"{evidence.task}-several-rewards-agreement",
        part="limit",
        answers=("several-rewards",),
        task=evidence.task,
        claim=(
            "DeRa over two aligned models agrees with models trained on the weighted sum of the "
            "rewards."
        ),
        source="paper, several rewards (appendix)",
        criterion=f"At every pair of weights that was trained, {NOT_HIGHER}, and {NOT_LOWER}.",
        figure=f"{evidence.task}/several_rewards",
    )
    joint = sorted(_of_kind(evidence, "joint"), key=lambda point: point.lams)
    conditions: list[Condition] = []
    rows = []
    for point in joint:
        conditions += _equal(evidence, point)
        rows.append(_compare(evidence, point))
    largest = max((row["joint - DeRa"]["value"] for row in rows), key=abs)
    headline = f"The largest difference in the weighted reward is {largest:+.3f}."
    return claim.judged(conditions, headline, {"by weights": rows})


def _equal(evidence: Evidence, joint: Point) -> list[Condition]:
    """Return the two conditions that DeRa reaches the weighted reward of a joint model."""
    weights = joint.lams
    dera = at(evidence.several_rewards, "dera", weights)
    reference = at(evidence.several_rewards, "reference", NEITHER)
    difference = joint.reward(weights) - dera.reward(weights)
    gained = joint.reward(weights) - reference.reward(weights)
    name = f"weights {_written(joint)}"
    return equal_within(name, NOT_HIGHER, NOT_LOWER, difference, gained, MARGIN)


def _compare(evidence: Evidence, joint: Point) -> dict[str, Any]:
    """Return joint - DeRa in the weighted reward, and its two components.

    joint - DeRa = (joint - mixture: training of all three models) + (mixture - DeRa: approximation)
    """
    weights = joint.lams
    dera = at(evidence.several_rewards, "dera", weights)
    mixture = at(evidence.several_rewards, "mixture", weights)
    reference = at(evidence.several_rewards, "reference", NEITHER)

    # the components can be told apart only where the samples reach the mixture
    training = None
    approximation = None
    if mixture.ess >= MIN_EFFECTIVE_SAMPLES:
        training = shown(_difference(joint, mixture, weights))
        approximation = shown(_difference(mixture, dera, weights))
    return {
        "weights": _written(joint),
        "joint": _rewards(joint),
        "DeRa": _rewards(dera),
        "joint - DeRa": shown(_difference(joint, dera, weights)),
        "joint - reference": shown(_difference(joint, reference, weights)),
        "training": training,
        "approximation": approximation,
        "KL of joint": _mean(joint, "kl"),
        "KL of DeRa": _mean(dera, "kl"),
    }


def _trades_statement(evidence: Evidence) -> Claim:
    return Claim(
        id=f"{evidence.task}-several-rewards-conflict",
        part="limit",
        answers=("several-rewards",),
        task=evidence.task,
        claim="Where the two rewards conflict, DeRa trades one for the other monotonically.",
        source="ours: what a mixture of conflicting models is good for",
        criterion=(
            "Over the pairs of mixing weights that sum to 1 and are not negative, "
            f"{FIRST_RISES}, and {SECOND_FALLS}. It is not tested unless each model trained on one "
            "reward has less of the other reward than the reference."
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
    if not all(below(cost, 0) is Outcome.HOLDS for cost in costs.values()):
        changes = ", ".join(f"{cost.value:+.3f}" for cost in costs.values())
        return claim.not_tested(
            "The rewards do not conflict here: the models trained on one reward have of the other "
            f"reward, against the reference, {changes}."
        )

    # the path from one end to the other
    conditions = []
    for near, far in pairwise(between):
        name = f"{_written(near)} to {_written(far)}"
        rise = measure(far.values["reward_1"] - near.values["reward_1"])
        fall = measure(far.values["reward_2"] - near.values["reward_2"])
        conditions.append(Condition(f"{name}: first reward", FIRST_RISES, rise))
        conditions.append(Condition(f"{name}: second reward", SECOND_FALLS, fall))

    beyond = [point for point in dera if point not in between and any(point.lams)]
    rows = [_row(evidence, point, "between the ends") for point in between]
    rows += [_row(evidence, point, "beyond") for point in beyond]
    name_1, name_2 = costs
    headline = (
        f"Over {len(between)} pairs the reward of {name_1} goes from "
        f"{_mean(between[0], 'reward_1'):.3g} to {_mean(between[-1], 'reward_1'):.3g}, and the "
        f"reward of {name_2} from {_mean(between[0], 'reward_2'):.3g} to "
        f"{_mean(between[-1], 'reward_2'):.3g}."
    )
    other_reward = {name: shown(cost) for name, cost in costs.items()}
    return claim.judged(
        conditions,
        headline,
        {
            "the other reward, each model of one reward - reference": other_reward,
            "reference": _rewards(at(evidence.several_rewards, "reference", NEITHER)),
            "by mixing weights": rows,
        },
    )


def _costs(evidence: Evidence) -> dict[str, Measurement]:
    """Return for each model of one reward its other reward minus that of the reference."""
    reference = at(evidence.several_rewards, "reference", NEITHER)
    first_alone, second_alone = ONE_EACH
    costs = {}
    for trained_on, not_trained_on in (
        (first_alone, second_alone),
        (second_alone, first_alone),
    ):
        model = at(evidence.several_rewards, "single", trained_on)
        assert model.name is not None  # it was trained
        costs[model.name] = _difference(model, reference, not_trained_on)
    return costs


def _of_kind(evidence: Evidence, kind: str) -> list[Point]:
    return [point for point in evidence.several_rewards if point.kind == kind]


def _difference(first: Point, second: Point, weights: Pair) -> Measurement:
    """Return first - second in the weighted reward."""
    return measure(first.reward(weights) - second.reward(weights))


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
    return float(point.values[quantity].mean())
