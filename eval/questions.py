"""The open questions of the notes this project started from, each answered by the claims that bear on it, or left open and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from eval.claims import UNTESTED


@dataclass(frozen=True)
class Question:
    """A question, the claims (by a pattern of their ids) that answer it, and what an answer leaves open or why there is none."""

    asked: str
    claims: str | None
    remark: str = ""


QUESTIONS = (
    Question(
        "Is the softmax of mixed logits the geometric mixture of the two models, as it is claimed to be?",
        "identity",
    ),
    Question(
        "Do DeRa's outputs go with those of retrained models over lam?", "-agreement-(rloo|dpo)"
    ),
    Question("Does it hold for other objectives, such as IPO and SLiC?", "-agreement-(?!rloo|dpo)"),
    Question("How does it behave for lam far outside [0, 1]?", "breakdown-|beyond-"),
    Question(
        "When does the per-token approximation fail, and can that be foreseen?", "gap-foresees-"
    ),
    Question(
        "Does it hold for safety alignment?",
        "refusal-|beyond-",
        "The requests are made up; no public set of prompts was used.",
    ),
    Question(
        "What does more alignment cost in coherence and capabilities?",
        "hallucination-|hacking-|breakdown-",
    ),
    Question(
        "How do several rewards combine, also where they conflict, and several aligned models?",
        "several-",
    ),
    Question(
        "How does it compare with interpolating weights, with ensembling probabilities, and with best-of-n?",
        "-baseline-|-compute-",
    ),
    Question(
        "Is the strength it finds better than the default, and worth retraining at?",
        "better-strength-|highest-win-rate-",
    ),
    Question(
        "What does it cost in computation and memory, and can the doubled memory be avoided?",
        "price-|no-retraining-",
        "The parameters need not be doubled where the aligned model is an adapter. Sharding and loading by turns were not tried: models this small need neither.",
    ),
    Question(
        "Does it depend on the reference, say a pretrained model in place of an SFT one?",
        None,
        "every reference here is an SFT model",
    ),
    Question(
        "Does it hold on public sets such as RealToxicityPrompts or MT-Bench, and for models of billions of parameters?",
        None,
        "the studies run where there is no network and no GPU",
    ),
)


def page(study: str, claims: list[dict[str, Any]]) -> str:
    """Every question with its answer in Markdown."""
    lines = [f"# Open questions, as the study `{study}` answers them", ""]
    for question in QUESTIONS:
        lines += [f"## {question.asked}", "", *_answer(question, claims), ""]
    return "\n".join(lines)


def _answer(question: Question, claims: list[dict[str, Any]]) -> list[str]:
    if question.claims is None:
        return [f"Not answered, because {question.remark}."]
    bearing = [claim for claim in claims if re.search(question.claims, claim["id"])]
    decided = [claim for claim in bearing if claim["verdict"] != UNTESTED]
    if not decided:
        why = (
            bearing[0]["headline"] if bearing else "no task or alignment of this study bears on it"
        )
        return [f"Not answered, because {why}."]
    lines = [
        f"- {c['task'] or 'all tasks'}, **{c['verdict']}**: {c['claim']} {c['headline']} ([`{c['id']}`](claims.md#{c['id'].replace('.', '')}))"
        for c in decided
    ]
    figures = dict.fromkeys(claim["figure"] for claim in decided if claim["figure"])
    if figures:
        lines += [
            "",
            "Figures: " + ", ".join(f"[`{name}`](figures/{name}.png)" for name in figures) + ".",
        ]
    return lines + (["", question.remark] if question.remark else [])
