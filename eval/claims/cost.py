"""DeRa saves training runs, and costs decoding time and memory against one model."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from eval.claims import FAILED, REPRODUCED, Claim, Evidence
from eval.claims.checks import Check, Condition, above, below, shown
from eval.statistics import measure_over_seeds

SLACK = 1.1  # what the paper's "about" allows
ROUNDING = 1.001  # so that a handful of parameters does not decide
#: Repeats of a timing that lie further apart than this factor were disturbed by something else.
MAX_BUSY = 1.25
MIN_REPEATS = 5

CHEAPER = Check(
    "the log of the ratio of the seconds that retraining takes to those that DeRa takes is above "
    "{:g}",
    0.0,
    above,
)
TWICE_THE_TIME = Check(
    "the log of the ratio of seconds a token, two models to one, is below {:.3g} (the log of 2 x "
    f"{SLACK:g})",
    math.log(2 * SLACK),
    below,
)


def decide(evidence: Evidence) -> list[Claim]:
    """Return for each objective what is saved by not retraining."""
    return [_saves(evidence, objective) for objective in evidence.seconds_saved]


def _saves(evidence: Evidence, objective: str) -> Claim:
    """Compare decoding from one adapter with training and decoding a model for each other beta."""
    claim = Claim(
        id=f"{evidence.task}-no-retraining-{objective}",
        part="paper",
        about="cost",
        answers=("cost",),
        task=evidence.task,
        claim=(
            f"From one {objective.upper()} adapter, DeRa reaches the other strengths for less than "
            "training them."
        ),
        source="paper, abstract",
        criterion=(
            "For each training seed the held-out prompts are decoded at the other strengths, by "
            f"DeRa, or by a model that is trained for each of them: {CHEAPER}. The seconds are of "
            "jobs of one thread that shared the machine."
        ),
        figure="cost",
    )
    logs = evidence.seconds_saved[objective]
    if len(logs) < 2:
        return claim.not_tested("There is one training seed, so there is no interval.")
    measured = measure_over_seeds(np.array(logs))
    ratio = {name: math.exp(value) for name, value in shown(measured).items()}
    headline = f"Retraining takes {ratio['value']:.1f} times the seconds of DeRa."
    return claim.judged(
        [Condition("all seeds", CHEAPER, measured)],
        headline,
        {"ratio of seconds": ratio, "ratio by seed": [round(math.exp(log), 1) for log in logs]},
        brief=f"retraining takes {ratio['value']:.0f} times the seconds",
    )


def price(timings: pd.DataFrame) -> list[Claim]:
    """Return the claims on time and memory of two models against one, which belong to the study.

    Args:
        timings: what `eval.time_two_models` wrote.
    """
    return [_time(timings), _memory(timings)]


def _time(timings: pd.DataFrame) -> Claim:
    claim = Claim(
        id="decoding-time",
        part="paper",
        about="cost",
        answers=("cost",),
        claim="Decoding with two models takes at most about twice the time a token of one.",
        source="paper, limitations",
        criterion=(
            "The same prompts are decoded by one model and by two, one after the other, several "
            f"times in one job that has the machine to itself; {TWICE_THE_TIME}. It is not tested "
            f"with fewer than {MIN_REPEATS} repeats, or if a repeat's wall-clock seconds exceed "
            f"the processor's by a factor of {MAX_BUSY:g}, because then the machine was busy."
        ),
        figure="cost",
    )
    columns = ["one model", "two models", "wall over processor"]
    repeats = {"repeats": timings[columns].to_dict("records")}
    busy = float(timings["wall over processor"].max())
    if len(timings) < MIN_REPEATS:
        return claim.not_tested(f"There are {len(timings)} repeats.", repeats)
    if busy > MAX_BUSY:
        return claim.not_tested(
            f"The machine was busy: a repeat took {busy:.2f} times the processor's seconds.",
            repeats,
        )
    ratios = (timings["two models"] / timings["one model"]).to_numpy()
    if not (ratios >= 1).all():
        return claim.not_tested(
            f"The machine was busy: in a repeat two models took {ratios.min():.2f} times the time "
            "of one, and they cannot take less, because one of them is that model.",
            repeats,
        )
    logs = np.log(ratios)
    measured = measure_over_seeds(logs)
    ratio = {name: math.exp(value) for name, value in shown(measured).items()}
    headline = (
        f"Two models take {ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}] times "
        f"the time a token of one, over {len(timings)} interleaved repeats."
    )
    return claim.judged(
        [Condition("seconds a token", TWICE_THE_TIME, measured, math.log(2))],
        headline,
        {"ratio": ratio, **repeats},
        min_seeds=MIN_REPEATS,
        brief=f"{ratio['value']:.2f} times the time a token",
    )


def _memory(timings: pd.DataFrame) -> Claim:
    claim = Claim(
        id="memory",
        part="paper",
        about="cost",
        answers=("cost",),
        claim="Decoding takes at most two models in memory.",
        source="paper, limitations",
        criterion=f"The two models have at most 2 x {ROUNDING:g} times the parameters of one.",
        figure="cost",
    )
    first = timings.iloc[0]
    pair = float(first["pair bytes"] / first["model bytes"])
    with_adapter = 1 + float(first["adapter bytes"] / first["model bytes"])
    apart = ""
    if with_adapter < pair:  # not where the aligned model is a whole one
        apart = f", and one model with its adapter kept apart {with_adapter:.2f} times"
    return claim.decided(
        REPRODUCED if pair <= 2 * ROUNDING else FAILED,
        f"Two models have {pair:.2f} times the parameters of one{apart}.",
        {"two models against one": pair, "one model and an adapter against one": with_adapter},
        brief=f"{pair:.2f} times the parameters",
    )
