"""Does DeRa need the reference that its aligned model was aligned from?

The same aligned model is mixed with other references in the same way (`eval.reference_trial`). If
the reference does not matter, the mixtures are as close to retrained models as DeRa is.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from eval.claims import Claim, Evidence
from eval.claims.agreement import INFORMATIVE, is_informative
from eval.claims.checks import Check, Condition, above, shown
from eval.statistics import measure
from study.other_references import OTHER, OWN, PRETRAINED
from study.prospects import MIN_SEEDS_OF_REFERENCES as MIN_SEEDS

FURTHER = Check(
    "KL(retrained || mixture with the other reference) less KL(retrained || DeRa with its own "
    "reference) is above {:g}",
    0.0,
    above,
)
#: What each other reference is called in a sentence.
NAMES = {
    PRETRAINED: "the pretrained model before SFT",
    OTHER: "a reference of other demonstrations",
}


def decide(evidence: Evidence) -> list[Claim]:
    """Return the claim for a task with a section `dera.other_references`, none for others."""
    return [_needs_its_own(evidence)] if evidence.mixtures.others else []


def _needs_its_own(evidence: Evidence) -> Claim:
    claim = _statement(evidence)

    # which betas count
    betas = evidence.mixtures.betas
    counting = [beta for beta in betas if _is_informative(evidence, beta)]
    lines = {
        "by beta": _by_beta(evidence, counting),
        "gold and whole text by lam": _by_lam(evidence),
    }
    if not counting:
        written = ", ".join(f"{float(beta):g}" for beta in betas)
        why = f"No other beta is informative ({written})." if betas else "There is no other beta."
        return claim.not_tested(why, lines)

    # one condition for each of them and each other reference
    conditions = []
    for reference in evidence.mixtures.others:
        for beta in counting:
            name = f"{NAMES[reference]}, beta = {float(beta):g}"
            excess = measure(evidence.mixtures.excess(reference, beta))
            conditions.append(Condition(name, FURTHER, excess))
    headline = _headline(evidence, counting)
    brief = _brief(evidence, counting)
    return claim.judged(conditions, headline, lines, min_seeds=MIN_SEEDS, brief=brief)


def _statement(evidence: Evidence) -> Claim:
    objective = evidence.judging.main_objective
    return Claim(
        id=f"{evidence.task}-own-reference-{objective}",
        part="limit",
        answers=("reference",),
        task=evidence.task,
        claim=(
            "DeRa needs the reference that the model was aligned from: with another one it is "
            f"further from retrained models ({objective.upper()})."
        ),
        source="ours: people ask whether DeRa depends on the reference",
        criterion=(
            "The same aligned model is mixed with its own reference, with a reference of the same "
            "kind that learnt from other demonstrations, and with the pretrained model before SFT "
            "where there is one. Retrained models have the seed of the aligned model. At the "
            "matched lam of every trained beta that is informative, and for each other reference, "
            f"{FURTHER}. A beta is informative if {INFORMATIVE}; if none is, the claim is not "
            f"tested. {MIN_SEEDS} training seeds are enough."
        ),
        figure=f"{evidence.task}/other_references",
    )


def _is_informative(evidence: Evidence, beta: Fraction) -> bool:
    """Return whether alignment at a beta moves the model further than another seed does."""
    objective = evidence.judging.main_objective
    floor = evidence.readings.floor(objective, beta)
    if floor is None:
        return False  # there is one seed
    to_reference = evidence.readings.to_reference(objective, beta)
    return is_informative(to_reference, floor)


def _by_beta(evidence: Evidence, counting: list[Fraction]) -> list[dict[str, Any]]:
    """Return a line for each beta and reference: the KL from the retrained model."""
    mixtures = evidence.mixtures
    lines = []
    for beta in mixtures.betas:
        for reference in [OWN, *mixtures.others]:
            kl = mixtures.at_beta(reference, beta, "kl_retrained")
            line: dict[str, Any] = {
                "beta": float(beta),
                "informative": beta in counting,
                "reference": reference,
                "KL(retrained || mixture)": shown(measure(kl)),
                "KL(retrained || this reference)": float(
                    mixtures.at_beta(reference, beta, "kl_reference").mean()
                ),
            }
            if reference != OWN:
                line["more than with the own reference"] = shown(
                    measure(mixtures.excess(reference, beta))
                )
            lines.append(line)
    return lines


def _by_lam(evidence: Evidence) -> list[dict[str, Any]]:
    """Return a line for each lam and reference: gold, and the share of whole text."""
    mixtures = evidence.mixtures
    lines = []
    for lam in mixtures.lams:
        for reference in [OWN, *mixtures.others]:
            line: dict[str, Any] = {"lam": float(lam), "reference": reference}
            for column in ("gold", "whole"):
                line[column] = shown(measure(mixtures.at_lam(reference, lam, column)))
            lines.append(line)
    return lines


def _headline(evidence: Evidence, counting: list[Fraction]) -> str:
    """Return where each other reference adds least to the KL to DeRa, and how much that is."""
    sentences = []
    for reference in evidence.mixtures.others:
        least = min(counting, key=lambda beta: _added(evidence, reference, beta))
        excess = shown(measure(evidence.mixtures.excess(reference, least)))
        own = float(evidence.mixtures.at_beta(OWN, least, "kl_retrained").mean())
        sentences.append(
            f"With {NAMES[reference]}, the KL from retrained models is larger by at least "
            f"{excess['value']:.3g} nats [{excess['low']:.3g}, {excess['high']:.3g}] than the "
            f"{own:.3g} of DeRa with its own reference, at beta = {float(least):g}."
        )
    return " ".join(sentences)


def _brief(evidence: Evidence, counting: list[Fraction]) -> str:
    """Return the least that another reference adds, in a few words."""
    added = [_added(evidence, name, beta) for name in evidence.mixtures.others for beta in counting]
    return f"another reference adds at least {min(added):.2g} nats"


def _added(evidence: Evidence, reference: str, beta: Fraction) -> float:
    return float(np.mean(evidence.mixtures.excess(reference, beta)))
