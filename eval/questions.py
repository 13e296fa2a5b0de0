"""The open questions of the notes this project started from, and the claims that answer them.

A claim declares in `answers` the keys of the questions that it answers. A question without a key is
one that no claim can answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eval.claims import UNTESTED


@dataclass(frozen=True)
class Question:
    """A question of the notes.

    `key` is what claims name in `answers`, None where no claim can answer. `remark` is what the
    answer leaves open, or why there is none.
    """

    asked: str
    key: str | None
    remark: str = ""


QUESTIONS = (
    Question(
        "Is the softmax of mixed logits the geometric mixture of the two models, as it is claimed "
        "to be?",
        "identity",
    ),
    Question("Do DeRa's outputs go with those of retrained models over lam?", "agreement"),
    Question("Does it hold for other objectives, such as IPO and SLiC?", "other-objectives"),
    Question("How does it behave for lam far outside [0, 1]?", "outside"),
    Question("When does the per-token approximation fail, and can that be foreseen?", "foresight"),
    Question(
        "Does it hold for safety alignment?",
        "safety",
        "The requests are made up; no public set of prompts was used.",
    ),
    Question("What does more alignment cost in coherence and capabilities?", "coherence"),
    Question(
        "How do several rewards combine, also where they conflict, and several aligned models?",
        "several-rewards",
    ),
    Question(
        "How does it compare with interpolating weights, with ensembling probabilities, and with "
        "best-of-n?",
        "baselines",
    ),
    Question(
        "Is the strength it finds better than the default, and worth retraining at?", "strength"
    ),
    Question(
        "What does it cost in computation and memory, and can the doubled memory be avoided?",
        "cost",
        "The parameters need not be doubled where the aligned model is an adapter. Sharding and "
        "loading by turns were not tried: models this small need neither.",
    ),
    Question(
        "Does it depend on the reference, say a pretrained model in place of an SFT one?",
        None,
        "Every reference here is an SFT model.",
    ),
    Question(
        "Does it hold on public sets such as RealToxicityPrompts or MT-Bench, and for models of "
        "billions of parameters?",
        None,
        "The studies run where there is no network and no GPU.",
    ),
)


def page(study: str, claims: list[dict[str, Any]]) -> str:
    """Return every question with its answer, as Markdown."""
    lines = [f"# Open questions, as the study `{study}` answers them", ""]
    for question in QUESTIONS:
        lines += [f"## {question.asked}", "", *_answer(question, claims), ""]
    return "\n".join(lines)


def _answer(question: Question, claims: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a question's answer."""
    if question.key is None:
        return [_unanswered(question.remark)]
    relevant = [claim for claim in claims if question.key in claim["answers"]]
    decided = [claim for claim in relevant if claim["verdict"] != UNTESTED]
    if not decided:
        reasons = [claim["headline"] for claim in relevant]
        reasons.append("No task or objective of this study bears on it.")
        return [_unanswered(reasons[0])]

    # the claims, then their figures without repetition, then what they leave open
    lines = [_line(claim) for claim in decided]
    figures = dict.fromkeys(claim["figure"] for claim in decided if claim["figure"])
    if figures:
        links = ", ".join(f"[`{name}`](figures/{name}.png)" for name in figures)
        lines += ["", f"Figures: {links}."]
    if question.remark:
        lines += ["", question.remark]
    return lines


def _unanswered(why: str) -> str:
    return f"This question is not answered. {why}"


def _line(claim: dict[str, Any]) -> str:
    """Return one line: the task, the verdict, the claim with its numbers, and a link to it."""
    link = f"[`{claim['id']}`](claims.md#{claim['id'].replace('.', '')})"
    said = f"{claim['claim']} {claim['headline']}"
    return f"- {claim['task'] or 'all tasks'}, **{claim['verdict']}**: {said} ({link})"
