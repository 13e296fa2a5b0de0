"""DeRa against its baselines at equal KL to the reference: better, equal, or worse?

Baselines start from the default anchor of the main objective, for some of its training seeds, and
DeRa is taken from the same anchor and seeds. Between two of its lams the reward is interpolated
linearly in KL.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np

from dera.estimators import Array
from eval import baselines
from eval.claims import Claim, Evidence, mean, mean_over_all
from eval.claims.checks import Check, Condition, Outcome, above, shown, within
from eval.claims.evidence import MARGIN
from eval.policies import Policy, find, passes, together
from eval.statistics import Measurement, measure
from study.prospects import MIN_SEEDS_OF_BASELINES as MIN_SEEDS

EQUAL_KL = "DeRa's reward at the KL of the baseline, interpolated between two of its lams, less "
BETTER = Check(EQUAL_KL + "the reward of the baseline is above {:g}", 0.0, above)


def decide(evidence: Evidence) -> list[Claim]:
    """Return one claim for each baseline that the task has, and one of the price of two models."""
    objective = evidence.judging.main_objective
    path = dera_by_kl(evidence)
    claims = []
    for kind, baseline in baselines.by_kind().items():
        policies = find(evidence.policies, kind, objective=objective)
        if not policies:
            continue
        policies.sort(key=lambda policy: policy.knob or 0)
        claims.append(_against(evidence, baseline, path, policies))
        if kind == "best-of-n":
            claims.append(_compute(evidence, baseline, path, policies))
    return claims


def dera_by_kl(evidence: Evidence) -> list[Policy]:
    """Return DeRa at lam >= 0, lam ascending; the path begins at the reference."""
    objective = evidence.judging.main_objective
    anchor = evidence.judging.main.default_beta
    decoded = find(evidence.policies, "dera", objective=objective, anchor=anchor)
    path = [policy for policy in decoded if (policy.lam or 0) >= 0]
    path.sort(key=lambda policy: policy.lam or 0)
    if any(policy.lam == 0 for policy in path):
        return path
    return [evidence.reference_of(objective), *path]


def advantage(path: Sequence[Policy], baseline: Policy) -> Array | None:
    """Return DeRa - baseline in reward, where DeRa's mean KL is that of the baseline.

    Returns:
        shape (seeds, prompts), or None where DeRa's KL does not go so far.
    """
    for near, far in pairwise(path):
        kl_near, kl_far, kl = together("kl", near, far, baseline)
        if mean_over_all(kl_near) < mean_over_all(kl_far) >= mean_over_all(kl):
            rewards = together("reward", near, far, baseline)
            return _reward_at(rewards[0], rewards[1], kl_near, kl_far, kl) - rewards[2]
    return None


def _reward_at(
    reward_near: Array, reward_far: Array, kl_near: Array, kl_far: Array, kl: Array
) -> Array:
    """Interpolate the reward between two policies at the mean of `kl`, seed by seed and prompt.

    The chord joins the two policies in the plane of KL and reward. The correction that is added
    last is 0 on average. It makes the measurement include the error of the mean KLs.
    """
    # where the chord has this mean KL, as a share of the way from near to far
    kl_between = mean_over_all(kl_far - kl_near)
    share = mean_over_all(kl - kl_near) / kl_between
    reward = (1 - share) * reward_near + share * reward_far
    kl_on_chord = (1 - share) * kl_near + share * kl_far

    slope = mean_over_all(reward_far - reward_near) / kl_between
    return reward + slope * (kl - kl_on_chord)


def margin_of(evidence: Evidence) -> float:
    """Return what counts as equal in reward: a share of what the default anchor has gained."""
    settings = evidence.judging.main
    moved = evidence.distance(evidence.judging.main_objective, settings.default_beta)
    return MARGIN * abs(float(np.nanmean(moved)))


def outcome_of(measured: Measurement, margin: float) -> str:
    """Return better, worse, equal or "cannot tell", for DeRa less the baseline."""
    if BETTER.outcome(measured) is Outcome.HOLDS:
        return "better"
    if BETTER.outcome(measured) is Outcome.FAILS:
        return "worse"
    if within(measured, margin) is Outcome.HOLDS:
        return "equal"
    return "cannot tell"


def _against(
    evidence: Evidence, baseline: ModuleType, path: list[Policy], policies: list[Policy]
) -> Claim:
    objective = evidence.judging.main_objective
    claim = Claim(
        id=f"{evidence.task}-beats-{baseline.NAME}-{objective}",
        part="limit",
        answers=("baselines",),
        task=evidence.task,
        claim=(
            f"At equal KL to the reference DeRa brings more reward than {baseline.TITLE} "
            f"({objective.upper()})."
        ),
        source=f"ours: people ask how DeRa compares with {baseline.TITLE}; {baseline.PAPER}",
        criterion=(
            f"The baseline's knob is its {baseline.KNOB}. At every knob whose KL DeRa reaches, "
            f"{BETTER}. It is not reproduced if at some knob this difference is below 0, or lies "
            f"within {MARGIN:.0%} of what the default anchor has gained. {MIN_SEEDS} training "
            "seeds are enough."
        ),
        figure=f"{evidence.task}/baselines",
    )
    margin = margin_of(evidence)
    conditions = []
    rows = []
    for policy in policies:
        difference = advantage(path, policy)
        row: dict[str, Any] = {
            "knob": float(policy.knob or 0),
            "KL": mean(policy, "kl"),
            "reward": mean(policy, "reward"),
            "passes": passes(policy),
            "DeRa - baseline": None,
            "DeRa is": "does not reach this KL",
        }
        if difference is not None:
            measured = measure(difference)
            row["DeRa - baseline"] = shown(measured)
            row["DeRa is"] = outcome_of(measured, margin)
            conditions.append(
                Condition(
                    f"{baseline.KNOB} = {row['knob']:g}", better_than(margin), measured, margin
                )
            )
        rows.append(row)
    if not conditions:
        furthest = max(mean(policy, "kl") for policy in path)
        return claim.not_tested(
            f"DeRa reaches a KL of {furthest:.2f} nats, and the baseline lies beyond at each knob."
        )
    outcomes = [row["DeRa is"] for row in rows if row["DeRa - baseline"]]
    headline = (
        f"Of {len(outcomes)} knobs DeRa is better at {outcomes.count('better')}, equal at "
        f"{outcomes.count('equal')}, worse at {outcomes.count('worse')}; at "
        f"{outcomes.count('cannot tell')} it cannot be told."
    )
    return claim.judged(
        conditions, headline, {"margin": margin, "by knob": rows}, min_seeds=MIN_SEEDS
    )


def better_than(margin: float) -> Check:
    """Return the check that DeRa is better, which fails where it is worse or equal."""

    def rule(measured: Measurement, threshold: float, level: float, fail_level: float) -> Outcome:
        outcome = above(measured, threshold, level, fail_level)
        is_equal = within(measured, margin, fail_level, fail_level) is Outcome.HOLDS
        return Outcome.FAILS if outcome is Outcome.OPEN and is_equal else outcome

    return Check(BETTER.sentence, BETTER.threshold, rule)


def _compute(
    evidence: Evidence, best_of_n: ModuleType, path: list[Policy], policies: list[Policy]
) -> Claim:
    """Decide which brings more reward for two passes a token: DeRa or the best of two."""
    objective = evidence.judging.main_objective
    claim = Claim(
        id=f"{evidence.task}-compute-{objective}",
        part="limit",
        answers=("baselines",),
        task=evidence.task,
        claim=(
            "For the price of two models a token, DeRa brings more reward than the best of two "
            f"({objective.upper()})."
        ),
        source=f"ours: people ask what DeRa's second model could buy instead; {best_of_n.PAPER}",
        criterion=f"At the KL of the best of two completions of the reference, {BETTER}.",
        figure=f"{evidence.task}/baselines",
    )
    best_of_two = [policy for policy in policies if policy.knob == 2]
    if not best_of_two:
        return claim.not_tested("No best of two was compared.")
    difference = advantage(path, best_of_two[0])
    if difference is None:
        return claim.not_tested("DeRa does not reach the KL of the best of two.")
    measured = measure(difference)
    interval = shown(measured)
    headline = (
        f"DeRa less the best of two is {interval['value']:+.3f} [{interval['low']:+.3f}, "
        f"{interval['high']:+.3f}] in reward at KL {mean(best_of_two[0], 'kl'):.2f}."
    )
    check = better_than(margin_of(evidence))
    return claim.judged(
        [Condition("n = 2", check, measured, margin_of(evidence))],
        headline,
        {"DeRa - best of two": interval},
        min_seeds=MIN_SEEDS,
    )
