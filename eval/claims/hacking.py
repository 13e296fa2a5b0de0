"""Too weak a regularisation brings reward hacking, too strong a one brings little alignment.

The claim is there for objectives that did not maximise gold itself.
"""

from __future__ import annotations

from typing import Any

from eval.claims import Claim, Evidence, mean
from eval.claims.checks import Check, Condition, above, below
from eval.claims.choosing import choose, of_chosen
from eval.claims.lam_grid import fine_grid
from eval.policies import Policy, together
from eval.statistics import Measurement, measure

MIN_BETAS = 3
REWARD_RISES = Check(
    "the reward at the smallest trained beta less the reward at the best beta is above {:g}",
    0.0,
    above,
)
GOLD_FALLS = Check(
    "the gold at the smallest trained beta less the gold at the best beta is below {:g}", 0.0, below
)
GOLD_MISSED = Check(
    "the gold at the largest trained beta less the gold at the best beta is below {:g}", 0.0, below
)
DERA_FALLS = Check(
    "DeRa's gold at its largest lam less DeRa's gold at its best lam is below {:g}", 0.0, below
)


def decide(evidence: Evidence) -> list[Claim]:
    """Return one claim for each objective of a reward other than gold and of enough betas."""
    claims = []
    for name, objective in evidence.objectives.items():
        if objective.reward != "gold" and len(objective.betas) >= MIN_BETAS:
            claims.append(_hacked(evidence, name))
    return claims


def _statement(evidence: Evidence, objective: str) -> Claim:
    return Claim(
        id=f"{evidence.task}-hacking-{objective}",
        part="paper",
        about="hacking",
        answers=("coherence",),
        task=evidence.task,
        claim=(
            f"Too weak a regularisation is hacked ({objective.upper()}: reward rises and gold "
            "falls), and too strong a one brings little."
        ),
        source="paper, introduction",
        criterion=(
            "The best beta is the one of the highest gold among the other trained betas. For each "
            "training seed the other seeds choose it on the first half of the held-out prompts, "
            "and it is measured with that seed on the second half. DeRa's best lam among the "
            f"smaller lams is chosen alike. {REWARD_RISES}; {GOLD_FALLS}; {GOLD_MISSED}; and "
            f"{DERA_FALLS}."
        ).replace("alike. the", "alike. Then the"),
        figure=f"{evidence.task}/over_optimization",
    )


def _hacked(evidence: Evidence, objective: str) -> Claim:
    claim = _statement(evidence, objective)

    # policies from the strongest to the weakest regularisation
    retrained = evidence.find("retrained", objective)
    strongest, *_, weakest = retrained
    dera = [policy for policy in fine_grid(evidence, objective) if (policy.lam or 0) > 0]
    conditions = [
        Condition(
            "weakest regularisation: reward",
            REWARD_RISES,
            _less_the_best(weakest, retrained, "reward"),
        ),
        Condition(
            "weakest regularisation: gold", GOLD_FALLS, _less_the_best(weakest, retrained, "gold")
        ),
        Condition(
            "strongest regularisation: gold",
            GOLD_MISSED,
            _less_the_best(strongest, retrained, "gold"),
        ),
        Condition("DeRa, largest lam: gold", DERA_FALLS, _less_the_best(dera[-1], dera, "gold")),
    ]
    reward, fall, missed, _ = [condition.measured.value for condition in conditions]
    headline = (
        f"Against the best of the other betas, beta = {float(weakest.beta or 0):g} changes gold "
        f"by {fall:+.2f} and reward by {reward:+.2f}; beta = {float(strongest.beta or 0):g} "
        f"changes gold by {missed:+.2f}."
    )
    rows = [_row(policy) for policy in [*retrained, *dera]]
    brief = f"weakest beta: gold {fall:+.2f}, reward {reward:+.2f}"
    return claim.judged(conditions, headline, {"by policy": rows}, brief=brief)


def _less_the_best(policy: Policy, policies: list[Policy], quantity: str) -> Measurement:
    """Return a measure of a policy less that of the best of the others by gold."""
    others = [other for other in policies if other is not policy]
    chosen = choose(together("gold", *others))
    values, *of_others = together(quantity, policy, *others)
    same_policy = [0] * len(chosen)
    return measure(of_chosen([values], same_policy) - of_chosen(of_others, chosen))


def _row(policy: Policy) -> dict[str, Any]:
    return {
        "policy": policy.kind,
        "beta": float(policy.beta or 0),
        "reward": mean(policy, "reward"),
        "gold": mean(policy, "gold"),
        "KL": mean(policy, "kl"),
    }
