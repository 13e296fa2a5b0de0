"""DeRa needs no retraining: seconds of decoding against seconds of training."""

from __future__ import annotations

from eval.claims import FAILED, REPRODUCED, UNTESTED, Claim, Evidence


def decide(evidence: Evidence) -> list[Claim]:
    """For each objective: one adapter and its lam sweep, against training every beta of one seed and decoding each."""
    claims = []
    for objective, per_lam in sorted(evidence.sampling_seconds.items()):
        training = evidence.training_seconds[objective]
        other_runs = int(training["runs per seed"]) - 1
        saved = training["seconds a run"] * other_runs + per_lam["retrained"] * other_runs
        spent = per_lam["dera"] * other_runs
        held = UNTESTED if other_runs == 0 else REPRODUCED if spent < saved else FAILED
        claims.append(
            Claim(
                id=f"no-retraining-{objective}",
                claim=f"From one {objective.upper()} adapter, DeRa reaches the other strengths for less than training them.",
                source="paper, abstract",
                criterion="decoding the held-out prompts at the other strengths takes fewer seconds than training and decoding a model for each",
                verdict=held,
                evidence={
                    "other strengths": other_runs,
                    "seconds of DeRa": round(spent, 1),
                    "seconds of retraining": round(saved, 1),
                    "ratio": round(saved / spent, 2) if spent else None,
                    "note": "wall-clock seconds of jobs of one thread that shared the machine; decoding leaves out scoring",
                    "seconds a training run": round(training["seconds a run"], 1),
                    "decoding, DeRa against one model": round(per_lam["dera"] / per_lam["retrained"], 2),
                },
                figure="training_curves",
            )
        )
    return claims
