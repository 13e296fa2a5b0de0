"""Training reached the true optimum at each beta.

Models that were trained alike may agree with each other and with no theory. This claim says whether
they are where theory puts them. The distance is in nats: for the optimum `pi*` of the objective
`J = E[r] - beta * KL`, a policy `pi` has `KL(pi || pi*) = (J* - J) / beta`, and `J* / beta` is the
log of `E_ref[exp(r / beta)]`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from eval.claims import Claim, Evidence, mean
from eval.claims.checks import Check, Condition, Outcome, below, shown
from eval.policies import Policy, together
from eval.statistics import MIN_EFFECTIVE_SAMPLES, Measurement, measure

#: A model has converged if its KL to the optimum is below this many nats ...
MAX_NATS = 0.05
#: ... or below this share of the KL from the optimum to the reference, where that is more.
MAX_SHARE = 0.1
#: Whatever is allowed, it is never more than this share of the KL from the optimum to the
#: reference. Otherwise an untrained model would pass wherever that KL is below `MAX_NATS`.
LARGEST_SHARE = 0.25

CONVERGED = Check(
    f"KL(retrained || optimum) = (J* - J) / beta, less what is allowed, is below {{:g}}; allowed "
    f"are {MAX_NATS:g} nats or {MAX_SHARE:.0%} of KL(optimum || reference), whichever is more, "
    f"but at most {LARGEST_SHARE:.0%} of it",
    0.0,
    below,
)


def decide(evidence: Evidence) -> list[Claim]:
    """Return one claim for each objective."""
    return [_converged(evidence, objective) for objective in evidence.objectives]


def converged(evidence: Evidence, objective: str, beta: Fraction) -> bool:
    """Return whether the models of a beta are known to have reached the optimum."""
    (retrained,) = evidence.find("retrained", objective, beta=beta)
    optimum = usable_optimum(evidence, objective, beta)
    if optimum is None:
        return False
    return CONVERGED.outcome(measure(_excess(retrained, optimum))) is Outcome.HOLDS


def usable_optimum(evidence: Evidence, objective: str, beta: Fraction) -> Policy | None:
    """Return the optimum at beta, None where it is unknown or the samples do not reach it."""
    optima = evidence.find("optimum", objective, beta=beta)
    if not optima or optima[0].ess < MIN_EFFECTIVE_SAMPLES:
        return None
    return optima[0]


def nats_to_optimum(retrained: Policy, optimum: Policy) -> Measurement:
    """Return KL(retrained || optimum) in nats."""
    return measure(_nats(retrained, optimum))


def _nats(retrained: Policy, optimum: Policy) -> np.ndarray:
    """Return `(J* - J) / beta` of each seed and prompt, shape (seeds, prompts)."""
    assert optimum.log_normalizer is not None
    assert optimum.beta is not None
    (reward,) = together("reward", retrained)
    (kl,) = together("kl", retrained)
    return optimum.log_normalizer[None] - reward / float(optimum.beta) + kl


def _excess(retrained: Policy, optimum: Policy) -> np.ndarray:
    """Return the distance to the optimum less what is allowed, shape (seeds, prompts)."""
    return _nats(retrained, optimum) - _allowed(optimum)


def _allowed(optimum: Policy) -> np.ndarray:
    """Return how many nats from the optimum count as converged, shape (prompts,).

    A share of the KL is taken prompt by prompt, so that the error of that KL counts, too.
    """
    to_reference = optimum.per_prompt["kl"]
    if MAX_SHARE * to_reference.mean() > MAX_NATS:
        return MAX_SHARE * to_reference
    if LARGEST_SHARE * to_reference.mean() < MAX_NATS:
        return LARGEST_SHARE * to_reference
    return np.full(len(to_reference), MAX_NATS)


def _converged(evidence: Evidence, objective: str) -> Claim:
    claim = Claim(
        id=f"{evidence.task}-converged-{objective}",
        part="premise",
        task=evidence.task,
        claim=(
            f"Training with {objective.upper()} reached the true optimum at each beta, which is "
            "the premise of agreement."
        ),
        source="ours: a check of the training, not of the paper",
        criterion=(
            f"At every trained beta {CONVERGED}. A beta does not count where the reference's "
            f"samples do not reach the optimum, which takes {MIN_EFFECTIVE_SAMPLES:g} effective "
            "samples a prompt."
        ),
        figure=f"{evidence.task}/reward_kl_by_beta",
    )
    if evidence.objectives[objective].optimum == "unknown":
        return claim.not_tested(
            "No optimum is known in closed form: the objective's module says why, or the pairs are "
            "the user's own."
        )
    rows: list[dict[str, Any]] = []
    conditions = []
    for retrained in evidence.find("retrained", objective):
        (optimum,) = evidence.find("optimum", objective, beta=retrained.beta)
        usable = optimum.ess >= MIN_EFFECTIVE_SAMPLES
        nats = nats_to_optimum(retrained, optimum)
        name = f"beta = {float(retrained.beta):g}"
        condition = Condition(name, CONVERGED, measure(_excess(retrained, optimum)))
        if usable:
            conditions.append(condition)
        rows.append(
            {
                "beta": float(retrained.beta),
                "KL to the optimum (nats)": shown(nats),
                "KL from the optimum to the reference": mean(optimum, "kl"),
                "allowed (nats)": float(_allowed(optimum).mean()),
                "effective samples": round(optimum.ess, 1),
                "converged": CONVERGED.outcome(condition.measured).value if usable else "-",
                "reward of retrained": mean(retrained, "reward"),
                "reward of the optimum": mean(optimum, "reward"),
            }
        )
    if not conditions:
        return claim.not_tested(
            "The reference's samples do not reach the optimum at any beta.", {"by beta": rows}
        )
    reached = [row for row in rows if row["converged"] == Outcome.HOLDS.value]
    headline = (
        f"The optimum was reached at {len(reached)} of {len(conditions)} beta where the samples "
        "can tell."
    )
    return claim.judged(conditions, headline, {"by beta": rows})
