"""DeRa saves training runs, and costs decoding time and memory against one model."""

from __future__ import annotations

from eval.claims import FAILED, PARTLY_IF_HALF, REPRODUCED, UNTESTED, Claim, Evidence, verdict
from eval.claims.checks import Check

SLACK = 1.1  # what the paper's "about" allows, because the machine that takes the times is shared
ROUNDING = 1.001  # so that a handful of parameters does not decide
TWICE_THE_TIME = Check(
    "decoding the held-out prompts by DeRa, as a mean over its lams, takes at most {:g} "
    f"x {SLACK:g} times the seconds of one model alone",
    2.0,
    lambda ratio, factor: ratio <= factor * SLACK,
)
TWICE_THE_MEMORY = Check(
    "the two models have at most {:g} times the parameters of one",
    2.0,
    lambda ratio, factor: ratio <= factor * ROUNDING,
)


def decide(evidence: Evidence) -> list[Claim]:
    """Return for each objective what is saved by not retraining, and what two models cost."""
    claims = []
    for objective, measured in evidence.sampling_seconds.items():
        claims.append(_saves(evidence, objective, measured))
        if "dera" in measured:
            claims.append(_price(evidence, objective, measured))
    return claims


def _saves(evidence: Evidence, objective: str, seconds: dict[str, float]) -> Claim:
    """Compare decoding from one adapter with training and decoding a model for each other beta."""
    claim = Claim(
        id=f"{evidence.task}-no-retraining-{objective}",
        about="cost",
        answers=("cost",),
        task=evidence.task,
        claim=(
            f"From one {objective.upper()} adapter, DeRa reaches the other strengths for less than "
            "training them."
        ),
        source="paper, abstract",
        criterion=(
            "Decoding the held-out prompts at the other strengths takes fewer seconds than "
            "training a model for each and decoding with it."
        ),
        figure="cost",
    )
    training = evidence.training_seconds[objective]
    other_runs = int(training["runs per seed"]) - 1
    saved = training["seconds a run"] * other_runs + seconds["retrained"] * other_runs
    spent = seconds.get("dera", 0.0) * other_runs
    cheaper = REPRODUCED if spent < saved else FAILED
    ratio = f" ({saved / spent:.1f} times less)" if spent else ""
    headline = (
        f"DeRa takes {spent:.1f} s of decoding against {saved:.1f} s of retraining for "
        f"{other_runs} other strengths{ratio}."
    )
    return claim.decided(
        cheaper if spent else UNTESTED,
        headline,
        {
            "other strengths": other_runs,
            "seconds of DeRa": round(spent, 1),
            "seconds of retraining": round(saved, 1),
            "note": (
                "wall-clock seconds of jobs of one thread that shared the machine; decoding leaves "
                "out scoring"
            ),
            "seconds a training run": round(training["seconds a run"], 1),
        },
    )


def _price(evidence: Evidence, objective: str, measured: dict[str, float]) -> Claim:
    """Compare the decoding time and the parameters of two models with those of one."""
    claim = Claim(
        id=f"{evidence.task}-price-{objective}",
        about="cost",
        answers=("cost",),
        task=evidence.task,
        claim=(
            f"Decoding with two models ({objective.upper()}) takes at most about twice the time "
            "and memory of one."
        ),
        source="paper, limitations",
        criterion=f"First, {TWICE_THE_TIME}; second, {TWICE_THE_MEMORY}. {PARTLY_IF_HALF}",
        figure="cost",
    )
    time = measured["dera"] / measured["retrained"]
    memory = measured["pair bytes"] / measured["model bytes"]
    with_adapter = 1 + measured["adapter bytes"] / measured["model bytes"]
    conditions = [TWICE_THE_TIME.holds(time), TWICE_THE_MEMORY.holds(memory)]
    headline = (
        f"DeRa takes {time:.2f} times the time and {memory:.2f} times the parameters of one model "
        f"({with_adapter:.2f} times with the adapter kept apart)."
    )
    return claim.decided(
        verdict(conditions),
        headline,
        {
            "decoding time, DeRa against one model": round(time, 2),
            "parameters, two models against one": round(memory, 3),
            "parameters, one model and an adapter against one": round(with_adapter, 3),
            "bytes of one model": measured["model bytes"],
        },
    )
