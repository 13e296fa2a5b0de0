"""What people ask about the method, each question answered in a few sentences.

A claim declares in `answers` the keys of the questions that it answers. An answer is a template
that is filled with the verdicts and the numbers of those claims. Where this study answers a
question by no claim, another study's claims may. A question without a key is one that no claim can
answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eval.claims import FAILED, INCONCLUSIVE, REPRODUCED

Claims = list[dict[str, Any]]
DECIDED = (REPRODUCED, FAILED, INCONCLUSIVE)


@dataclass(frozen=True)
class Question:
    """A question that people ask.

    Attributes:
        asked: the question.
        key: what claims name in `answers`, None where no claim can answer.
        yes: the first sentence of the answer if all decided claims are reproduced.
        no: the first sentence if none is reproduced and one has failed.
        remark: what the answer leaves open, or why there is none.
    """

    asked: str
    key: str | None = None
    yes: str = "Yes."
    no: str = "No."
    remark: str = ""


QUESTIONS = (
    Question(
        "Is the softmax of mixed logits the geometric mixture of the two models, as it is claimed "
        "to be?",
        "identity",
        yes="Yes, token by token, up to rounding.",
    ),
    Question(
        "Do DeRa's outputs go with those of retrained models over lam?",
        "agreement",
        yes="Yes, as whole distributions over completions.",
        no="No: the distributions differ by more than training seeds do.",
    ),
    Question("Does it hold for other objectives, such as IPO and SLiC?", "other-objectives"),
    Question(
        "How does it behave for lam far outside [0, 1]?",
        "outside",
        yes="Text stays whole at every lam that was tried.",
        no="Text breaks.",
    ),
    Question(
        "When does the per-token approximation fail, and can that be foreseen?",
        remark=(
            "The figure `approximation_gap` sets the gap beside broken text. Both are smooth "
            "curves over lam, and unrelated smooth curves correlate, so that no number of lams "
            "tests it."
        ),
    ),
    Question(
        "Does it hold for safety alignment?",
        "safety",
        remark="The requests are made up; no public set of prompts was used.",
    ),
    Question(
        "What does more alignment cost in coherence and capabilities?",
        "coherence",
        yes="Little, where the claims about it hold.",
        no="It costs coherence or gold.",
    ),
    Question(
        "How do several rewards combine, also where they conflict, and several aligned models?",
        "several-rewards",
        yes="They combine as training on their weighted sum does.",
        no="They do not combine as training on their weighted sum does.",
    ),
    Question(
        "How does it compare with interpolating weights, with ensembling probabilities, and with "
        "best-of-n?",
        "baselines",
        yes="DeRa brings more reward than each of them at equal KL.",
        no="DeRa is not better than they are at equal KL.",
    ),
    Question(
        "Is the strength it finds better than the default, and worth retraining at?", "strength"
    ),
    Question(
        "What does it cost in computation and memory, and can the doubled memory be avoided?",
        "cost",
        yes="It costs what the paper says.",
        no="It costs more than the paper says.",
        remark=(
            "The parameters need not be doubled where the aligned model is an adapter. What half "
            "precision, quantised weights, and layers that are loaded by turns cost on a real "
            "chat model is measured by `make memory` (docs/decoding-cost.md)."
        ),
    ),
    Question(
        "Does it depend on the reference, say a pretrained model in place of an SFT one?",
        "reference",
        yes="Yes: it is further from retrained models with another reference.",
        no="No: another reference serves as well.",
    ),
    Question(
        "Does it hold on public sets such as RealToxicityPrompts or MT-Bench, and for models of "
        "billions of parameters?",
        remark="The studies run where there is no network and no GPU.",
    ),
)


def page(study: str, claims: Claims, elsewhere: Mapping[str, Claims] | None = None) -> str:
    """Return every question with its answer, as Markdown.

    Args:
        study: the study's name.
        claims: its claims.
        elsewhere: the claims of other studies by name, for questions that this one leaves open.
    """
    lines = [f"# Open questions, as the study `{study}` answers them", ""]
    for question in QUESTIONS:
        lines += [f"## {question.asked}", ""]
        lines += [_answer(question, study, claims, elsewhere or {}), ""]
    return "\n".join(lines)


def _answer(question: Question, study: str, claims: Claims, elsewhere: Mapping[str, Claims]) -> str:
    """Return the answer of the first study that has one."""
    if question.key is None:
        return f"This question is not answered. {question.remark}"
    relevant = _about(question, claims)
    if _decided(relevant):
        return _filled(question, _decided(relevant), "")
    for other, of_other in elsewhere.items():
        decided = _decided(_about(question, of_other))
        if other != study and decided:
            return f"The study `{other}` answers. {_filled(question, decided, f'../{other}/')}"
    reasons = [claim["headline"] for claim in relevant]
    reasons.append("No task or objective of this study bears on it.")
    return f"This question is not answered. {reasons[0]}"


def _about(question: Question, claims: Claims) -> Claims:
    return [claim for claim in claims if question.key in claim.get("answers", ())]


def _decided(claims: Claims) -> Claims:
    return [claim for claim in claims if claim["verdict"] in DECIDED]


def _filled(question: Question, decided: Claims, folder: str) -> str:
    """Return the answer: a first sentence, how many claims say so, and the numbers of one or two.

    The claim that is shown for a verdict is the first of it.
    """
    by_verdict = {verdict: [c for c in decided if c["verdict"] == verdict] for verdict in DECIDED}
    counts = [f"{len(some)} {verdict}" for verdict, some in by_verdict.items() if some]
    if len(by_verdict[REPRODUCED]) == len(decided):
        first = question.yes
    elif by_verdict[FAILED] and not by_verdict[REPRODUCED]:
        first = question.no
    elif by_verdict[REPRODUCED] and by_verdict[FAILED]:
        first = "In part."
    else:
        first = "We cannot tell yet."
    counted = f"Of {len(decided)} claims {' and '.join(counts)}."
    if len(decided) == 1:
        counted = ""
    shown = [some[0] for verdict, some in by_verdict.items() if some and verdict != INCONCLUSIVE]
    sentences = [_sentence(claim, folder) for claim in shown or decided[:1]]
    parts = [first, counted, *sentences, question.remark]
    return " ".join(part for part in parts if part)


def _sentence(claim: dict[str, Any], folder: str) -> str:
    """Return a claim's numbers with the task, and a link to the claim."""
    link = f"[`{claim['id']}`]({folder}claims.md#{claim['id'].replace('.', '')})"
    where = f"On `{claim['task']}`: " if claim["task"] else ""
    return f"{where}{claim['headline']} ({link}, {claim['verdict']})"
