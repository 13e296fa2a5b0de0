"""What DeRa costs and saves: training runs, seconds, decoding time and memory against one model."""

from __future__ import annotations

from eval.claims import FAILED, REPRODUCED, UNTESTED, Claim, Evidence, of_task, verdict

MOST_TIME, MOST_MEMORY = 2.0, 2.0
SLACK = 1.1  # "about": timings on a shared machine


def decide(evidence: Evidence) -> list[Claim]:
    """For each objective: seconds saved by not retraining, and the price of decoding two models."""
    claims = []
    for objective, per_lam in evidence.sampling_seconds.items():
        claims.append(_saves(evidence, objective, per_lam))
        if "dera" in per_lam:
            claims.append(_price(evidence, objective, per_lam))
    return claims


def _saves(evidence: Evidence, objective: str, per_lam: dict[str, float]) -> Claim:
    """One adapter and its lam sweep, against training every beta of one seed and decoding each."""
    training = evidence.training_seconds[objective]
    other_runs = int(training["runs per seed"]) - 1
    saved = training["seconds a run"] * other_runs + per_lam["retrained"] * other_runs
    spent = per_lam.get("dera", 0.0) * other_runs
    held = UNTESTED if not spent else REPRODUCED if spent < saved else FAILED
    return Claim(
        id=of_task(evidence, f"no-retraining-{objective}"),
        about="cost",
        task=evidence.task,
        claim=f"From one {objective.upper()} adapter, DeRa reaches the other strengths for less than training them.",
        source="paper, abstract",
        criterion="decoding the held-out prompts at the other strengths takes fewer seconds than training and decoding a model for each",
        verdict=held,
        headline=f"{spent:.1f} s of decoding against {saved:.1f} s for {other_runs} other strengths"
        + (f" ({saved / spent:.1f} times less)" if spent else ""),
        evidence={
            "other strengths": other_runs,
            "seconds of DeRa": round(spent, 1),
            "seconds of retraining": round(saved, 1),
            "note": "wall-clock seconds of jobs of one thread that shared the machine; decoding leaves out scoring",
            "seconds a training run": round(training["seconds a run"], 1),
        },
        figure="cost",
    )


def _price(evidence: Evidence, objective: str, per_lam: dict[str, float]) -> Claim:
    ratio = per_lam["dera"] / per_lam["retrained"]
    memory = per_lam["pair bytes"] / per_lam["model bytes"]
    adapter = per_lam["adapter bytes"] / per_lam["model bytes"]
    parts = [ratio <= MOST_TIME * SLACK, memory <= MOST_MEMORY * 1.001]
    return Claim(
        id=of_task(evidence, f"price-{objective}"),
        about="cost",
        task=evidence.task,
        claim=f"Decoding with two models ({objective.upper()}) takes at most about twice the time and memory of one.",
        source="paper, limitations",
        criterion=(
            f"decoding the held-out prompts by DeRa, mean over its lam, takes at most {MOST_TIME:g} x {SLACK:g} the seconds of one model alone; the parameters of "
            f"the two at most {MOST_MEMORY:g} times those of one; partly if one holds"
        ),
        verdict=verdict(sum(parts), len(parts)),
        headline=f"{ratio:.2f} times the time, {memory:.2f} times the parameters ({1 + adapter:.2f} with the adapter kept apart)",
        evidence={
            "decoding time, DeRa against one model": round(ratio, 2),
            "parameters, two models against one": round(memory, 3),
            "parameters, one model and an adapter against one": round(1 + adapter, 3),
            "bytes of one model": per_lam["model bytes"],
        },
        figure="cost",
    )
