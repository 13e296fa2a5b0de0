"""DeRa against its baselines at equal KL to the reference: where does it lose?

Baselines start from the default anchor of the main objective and exist for one seed, so DeRa is
taken from the same anchor and seed. Between two of its lams the reward is interpolated linearly in
KL.
"""

from __future__ import annotations

from dataclasses import asdict
from types import ModuleType
from typing import Any

from dera.estimators import Array
from eval import baselines
from eval.claims import FAILED, REPRODUCED, Claim, Evidence, mean, verdict
from eval.claims.checks import Check, Interval, above
from eval.policies import Policy, find, passes

WINS = Check("the 95% interval lies above {:g}", 0.0, above)


def decide(evidence: Evidence) -> list[Claim]:
    """Return one claim for each baseline that the task has, and one of the price of two models."""
    objective = evidence.judging.main_objective
    seed = str(evidence.judging.main.first_seed)
    path = dera_by_kl(evidence, seed)
    claims = []
    for kind, baseline in baselines.by_kind().items():
        # a baseline that reweights the reference's completions has no seed of its own
        seed_of_kind = seed if baseline.DECODED else "mean"
        policies = find(evidence.policies, kind, seed_of_kind, objective=objective)
        if not policies:
            continue
        policies.sort(key=lambda policy: policy.knob)
        claims.append(_against(evidence, baseline, path, policies))
        if kind == "best-of-n":
            claims.append(_compute(evidence, baseline, path, policies))
    return claims


def dera_by_kl(evidence: Evidence, seed: str) -> list[Policy]:
    """Return one seed's DeRa at lam >= 0, lam ascending; the path begins at the reference."""
    objective = evidence.judging.main_objective
    anchor = evidence.judging.main.default_beta
    decoded = find(evidence.policies, "dera", seed, objective=objective, anchor=anchor)
    path = [policy for policy in decoded if policy.lam >= 0]
    path.sort(key=lambda policy: policy.lam)
    if any(policy.lam == 0 for policy in path):
        return path
    return find(evidence.policies, "reference", objective=objective) + path


def compare(evidence: Evidence, path: list[Policy], baseline: Policy) -> dict[str, Any]:
    """Return DeRa - baseline in reward, where DeRa's mean KL is that of the baseline.

    `DeRa`, `difference` and `DeRa loses` are None where DeRa's KL does not go so far.
    """
    kl = mean(baseline, "kl")
    row: dict[str, Any] = {
        "knob": float(baseline.knob),
        "KL": kl,
        "reward": mean(baseline, "reward"),
        "passes": passes(baseline),
        "DeRa": None,
        "difference": None,
        "DeRa loses": None,
    }
    for near, far in zip(path, path[1:], strict=False):
        if mean(near, "kl") < mean(far, "kl") >= kl:
            per_prompt = _reward_at(near, far, baseline.per_prompt["kl"])
            difference = evidence.estimate(per_prompt - baseline.per_prompt["reward"])
            row["DeRa"] = float(per_prompt.mean())
            row["difference"] = asdict(difference)
            row["DeRa loses"] = difference.high < 0
            break
    return row


def _reward_at(near: Policy, far: Policy, kl: Array) -> Array:
    """Interpolate the reward per prompt between two policies, at the mean of `kl`.

    The chord joins the two policies in the plane of KL and reward. The correction that is added
    last is 0 on average. It makes the interval include the error of the mean KLs.
    """
    # where the chord has this mean KL, as a share of the way from near to far
    kl_between = mean(far, "kl") - mean(near, "kl")
    share = (kl.mean() - mean(near, "kl")) / kl_between
    reward = (1 - share) * near.per_prompt["reward"] + share * far.per_prompt["reward"]
    kl_on_chord = (1 - share) * near.per_prompt["kl"] + share * far.per_prompt["kl"]

    slope = (mean(far, "reward") - mean(near, "reward")) / kl_between
    return reward + slope * (kl - kl_on_chord)


def _against(
    evidence: Evidence, baseline: ModuleType, path: list[Policy], policies: list[Policy]
) -> Claim:
    objective = evidence.judging.main_objective
    keeps_up = Check(
        "the 95% interval lies above {:g}", -evidence.judging.main.reward_margin, above
    )
    claim = Claim(
        id=f"{evidence.task}-baseline-{baseline.NAME}-{objective}",
        about="ours",
        answers=("baselines",),
        task=evidence.task,
        claim=(
            f"At equal KL to the reference DeRa brings at least the reward of {baseline.TITLE} "
            f"({objective.upper()})."
        ),
        source=f"ours: the notes ask how DeRa compares with {baseline.TITLE}; {baseline.PAPER}",
        criterion=(
            f"The baseline's knob is its {baseline.KNOB}. At every knob whose KL DeRa reaches, "
            "DeRa's reward at the same KL (interpolated between its two neighbouring lams) less "
            f"the reward of the baseline is taken, and {keeps_up}. The claim is partly reproduced "
            "if this holds for at least half of the knobs."
        ),
        figure=f"{evidence.task}/baselines",
    )
    rows = [compare(evidence, path, policy) for policy in policies]
    reached = [row for row in rows if row["difference"]]
    if not reached:
        furthest = max(mean(policy, "kl") for policy in path)
        return claim.not_tested(
            f"DeRa reaches a KL of {furthest:.2f} nats, and the baseline lies beyond at each knob."
        )
    conditions = [keeps_up.holds(row["difference"]) for row in reached]
    worst = min(reached, key=lambda row: row["difference"]["value"])
    losses = sum(row["DeRa loses"] for row in reached)
    headline = (
        f"At worst DeRa less the baseline is {_shown(worst['difference'])}, at {baseline.KNOB} = "
        f"{worst['knob']:g} (KL {worst['KL']:.2f}); DeRa loses at {losses} of {len(reached)} knobs."
    )
    return claim.decided(
        verdict(conditions), headline, {"passes of DeRa": passes(path[-1]), "by knob": rows}
    )


def _compute(
    evidence: Evidence, best_of_n: ModuleType, path: list[Policy], policies: list[Policy]
) -> Claim:
    """Decide which brings more reward for two passes a token: DeRa or the best of two."""
    objective = evidence.judging.main_objective
    claim = Claim(
        id=f"{evidence.task}-compute-{objective}",
        about="ours",
        answers=("baselines",),
        task=evidence.task,
        claim=(
            "For the price of two models a token, DeRa brings more reward than the best of two "
            f"({objective.upper()})."
        ),
        source=f"ours: the notes ask what DeRa's second model could buy instead; {best_of_n.PAPER}",
        criterion=(
            "At the KL of the best of two completions of the reference, DeRa's reward less the "
            f"reward of the best of two is taken, and {WINS}."
        ),
        figure=f"{evidence.task}/baselines",
    )
    best_of_two = [policy for policy in policies if policy.knob == 2]
    if not best_of_two:
        return claim.not_tested("No best of two was compared.")
    row = compare(evidence, path, best_of_two[0])
    if not row["difference"]:
        return claim.not_tested("DeRa does not reach the KL of the best of two.")
    headline = (
        f"DeRa less the best of two is {_shown(row['difference'])} at KL {row['KL']:.2f}: the "
        f"reward of DeRa is {row['DeRa']:.2f}, that of the best of two {row['reward']:.2f}."
    )
    outcome = REPRODUCED if WINS.holds(row["difference"]) else FAILED
    return claim.decided(outcome, headline, row)


def _shown(interval: Interval) -> str:
    return f"{interval['value']:+.3f} [{interval['low']:+.3f}, {interval['high']:+.3f}]"
