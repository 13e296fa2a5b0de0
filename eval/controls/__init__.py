"""Evidence that is broken on purpose: a claim that was reproduced must not survive.

A control takes the scored completions, the readings and the mixtures of a task, breaks them in one
way, and the claims are decided again. It names the kinds of claims that test what it breaks. If
such a claim was reproduced and still is, the claim does not test what it says, and the page of
controls shows so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from eval.claims import REPRODUCED
from eval.controls import breaking
from eval.judging import Judging
from eval.other_references import Mixtures
from eval.readings import Readings
from study.job import Progress

AGREEMENT = ("interpolation", "extrapolation")
#: Claims of a direction in lam.
DIRECTION = ("smooth", "hallucination", "refusal")
TABLE = ["control", "what is broken", "claim", "aimed", "before", "under the control"]


@dataclass(frozen=True)
class Control:
    """One way to break the evidence.

    Attributes:
        name: what it is called in tables.
        breaks: what it does, in a sentence.
        aims_at: the kinds of claims that it must keep from being reproduced.
        completions: breaks the table of completions.
        readings: breaks the readings.
        mixtures: breaks the mixtures with several references.
    """

    name: str
    breaks: str
    aims_at: tuple[str, ...]
    completions: Callable[[pd.DataFrame, Judging], pd.DataFrame]
    readings: Callable[[Readings, Judging], Readings]
    mixtures: Callable[[Mixtures], Mixtures] = breaking.untouched_mixtures

    def aims(self, task: str, claim: str) -> bool:
        """Return whether the control aims at a claim, whose id is the task, the kind and more."""
        return claim.startswith(tuple(f"{task}-{kind}-" for kind in self.aims_at))


#: Decides all claims of a task from evidence that a control has broken, and returns the verdicts
#: by the claims' ids.
Decide = Callable[[Control], dict[str, str]]

CONTROLS = (
    Control(
        "lam x 1.3",
        "DeRa decodes at 1.3 times the lam that is asked for.",
        AGREEMENT,
        breaking.scaled_completions(1.3),
        breaking.scaled_readings(1.3),
    ),
    Control(
        "lam x 1.5",
        "DeRa decodes at 1.5 times the lam that is asked for.",
        AGREEMENT,
        breaking.scaled_completions(1.5),
        breaking.scaled_readings(1.5),
    ),
    Control(
        "lam ignored",
        "DeRa is the aligned model at every lam.",
        (*AGREEMENT, *DIRECTION),
        breaking.completions_at_one,
        breaking.readings_at_one,
    ),
    Control(
        "lam shuffled",
        "DeRa decodes at another lam of its grid than the one that is asked for.",
        (*AGREEMENT, *DIRECTION),
        breaking.completions_of_other_lams,
        breaking.readings_of_other_lams,
    ),
    Control(
        "lam reversed",
        "In [0, 1] DeRa decodes at 1 - lam.",
        DIRECTION,
        breaking.completions_reversed,
        breaking.untouched_readings,
    ),
    Control(
        "beta shuffled",
        "Retrained models carry the label of another beta.",
        (*AGREEMENT, "converged"),
        breaking.retrained_of_other_betas,
        breaking.readings_of_other_betas,
    ),
    Control(
        "retrained is the reference",
        "In place of every retrained model stands the reference.",
        (*AGREEMENT, "converged", "better-strength"),
        breaking.retrained_is_reference,
        breaking.readings_of_reference,
    ),
    Control(
        "collapsed",
        "DeRa writes one completion a prompt and reward, again and again.",
        AGREEMENT,
        breaking.collapsed_completions,
        breaking.collapsed_readings,
    ),
    Control(
        "broken text",
        "Above lam = 1 DeRa decodes at the largest lam of its grid, and all of it is broken.",
        ("extrapolation", "whole-above-1"),
        breaking.broken_completions,
        breaking.largest_lam_readings,
    ),
    Control(
        "heavy noise",
        "Every model of every seed is off by as much as alignment moves a measure.",
        (*AGREEMENT, *DIRECTION, "converged"),
        breaking.noisy_completions,
        breaking.noisy_readings,
    ),
    Control(
        "other is own",
        "In place of every other reference stands the model's own.",
        ("own-reference",),
        breaking.untouched_completions,
        breaking.untouched_readings,
        breaking.mixtures_of_own_reference,
    ),
)


def table(task: str, before: Mapping[str, str], decide: Decide, progress: Progress) -> pd.DataFrame:
    """Return the verdict of each claim under each control, beside the verdict without it.

    Args:
        task: the name of a task.
        before: the verdicts without a control, by the claims' ids.
        decide: returns the verdicts from the evidence that a control has broken.
        progress: is told which control is done.
    """
    rows = []
    for number, control in enumerate(CONTROLS, start=1):
        after = decide(control)
        for claim, verdict in before.items():
            rows.append(
                {
                    "control": control.name,
                    "what is broken": control.breaks,
                    "claim": claim,
                    "aimed": control.aims(task, claim),
                    "before": verdict,
                    "under the control": after.get(claim, "not made"),
                }
            )
        progress.update(number, len(CONTROLS), "controls")
    return pd.DataFrame(rows, columns=TABLE)


def summary(controlled: pd.DataFrame) -> pd.DataFrame:
    """Return for each control how many of the claims it aims at were and remain reproduced."""
    rows = []
    for (name, breaks), of_control in controlled.groupby(["control", "what is broken"], sort=False):
        aimed = of_control[of_control["aimed"] & (of_control["before"] == REPRODUCED)]
        survives = aimed[aimed["under the control"] == REPRODUCED]
        became = aimed["under the control"].value_counts()
        rows.append(
            {
                "control": name,
                "what is broken": breaks,
                "reproduced before": len(aimed),
                "still reproduced": len(survives),
                "became": ", ".join(f"{verdict} {count}" for verdict, count in became.items()),
                "survivors": ", ".join(survives["claim"]),
            }
        )
    return pd.DataFrame(rows)
