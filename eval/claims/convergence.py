"""Training reached the true optimum at each beta.

Models that were trained alike may agree with each other and with no theory. This claim says whether
they are where theory puts them.
"""

from __future__ import annotations

import math
from typing import Any

from eval.claims import Claim, Evidence, mean, verdict
from eval.claims.checks import Check, within
from eval.policies import Policy, find

#: Effective samples a prompt; an estimate reweighted from fewer says too little to blame anything.
MIN_EFFECTIVE_SAMPLES = 2.0


def decide(evidence: Evidence) -> list[Claim]:
    """Return one claim for each objective."""
    return [_converged(evidence, objective) for objective in evidence.objectives]


def can_be_told(policy: Policy, retrained: Policy) -> bool:
    """Return whether the samples can tell what a policy near `retrained` is.

    A reweighted policy needs two effective samples a prompt. For the optimum they do not suffice:
    completions that the reference never drew have no weight, and the weights of the others are then
    equal. So the retrained model, which is near the optimum, must not be further from the reference
    than that many samples can tell, which is the log of their number.
    """
    if policy.ess < MIN_EFFECTIVE_SAMPLES:
        return False
    samples = policy.completions / len(policy.per_prompt["reward"])
    return policy.kind != "optimum" or mean(retrained, "kl") <= math.log(samples)


def _converged(evidence: Evidence, objective: str) -> Claim:
    settings = evidence.objectives[objective]
    near_optimum = Check(
        "the 95% interval of retrained - optimum in reward lies within +-{:g}",
        settings.reward_margin,
        within,
    )
    claim = Claim(
        id=f"{evidence.task}-converged-{objective}",
        about="ours",
        task=evidence.task,
        claim=(
            f"Training with {objective.upper()} reached the true optimum at each beta, which is "
            "the premise of the claims that follow."
        ),
        source="ours: a check of the training, not of the paper",
        criterion=(
            f"At every trained beta {near_optimum}. The claim is partly reproduced if this holds "
            "for at least half of the betas. A beta does not count where the reference's samples "
            f"do not reach the optimum: where there are fewer than {MIN_EFFECTIVE_SAMPLES:g} "
            "effective samples a prompt, or where the KL of the retrained model is above the log "
            "of the number of samples."
        ),
        figure=f"{evidence.task}/reward_kl_by_beta",
    )
    if settings.optimum == "unknown":
        return claim.not_tested(
            "No optimum is known in closed form; the objective's module says why."
        )
    rows = _compare(evidence, objective, near_optimum)
    conditions = [row["equivalent"] for row in rows if row["decides"]]
    counted = f"equivalent at {sum(conditions)} of {len(conditions)} beta"
    return claim.decided(
        verdict(conditions),
        f"Retrained models and the optimum are {counted}.",
        {"equivalent": counted, "by beta": rows},
    )


def _compare(evidence: Evidence, objective: str, near_optimum: Check) -> list[dict[str, Any]]:
    """Return for each trained beta the retrained model beside the true optimum."""
    rows = []
    for retrained in find(evidence.policies, "retrained", objective=objective):
        (optimum,) = find(evidence.policies, "optimum", objective=objective, beta=retrained.beta)
        difference = evidence.difference(retrained, optimum)
        row = {
            "beta": float(retrained.beta),
            "retrained": mean(retrained, "reward"),
            "true optimum": mean(optimum, "reward"),
            "difference": difference,
            "equivalent": near_optimum.holds(difference),
            "effective samples": round(optimum.ess, 1),
            "decides": can_be_told(optimum, retrained),
            "KL difference": evidence.difference(retrained, optimum, "kl"),
        }
        rows.append(row)
    return rows
