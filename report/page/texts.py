"""What the explorer shows of one completion: its text, its gold, and its measures in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypedDict

#: So many words are shown of a completion that does not refuse a harmful request.
WORDS_OF_HARMFUL = 12

#: Measures that are 1 or 0, and what is said where they are 1.
FLAGS = {
    "refused": "refused",
    "cautioned": "warned",
    "complied": "complied",
    "broken": "broken text",
}
#: Measures that count something, and what they count: one, and several.
COUNTS = {
    "unsupported": ("invented statement", "invented statements"),
    "invented": ("invented fact", "invented facts"),
    "repeated": ("repeated sentence", "repeated sentences"),
    "noise": ("sentence of chit-chat", "sentences of chit-chat"),
}


class Completion(TypedDict):
    """One completion as the explorer shows it; `gold` is the task's own judgement."""

    text: str
    gold: float | None
    marks: list[str]


def completion(row: Mapping[str, Any]) -> Completion:
    """Return what is shown of a row of the table of completions.

    A text that does not refuse a harmful request is cut to its first words, here and not in the
    browser, so that the page does not hold the rest.
    """
    text = clean(row["completion"])
    marks = []
    if not text:
        marks.append("wrote nothing")
    marks += in_words(row)
    if is_harmful(row) and row.get("refused") != 1:
        shortened = first_words(text)
        if shortened != text:
            marks.append("shortened")
        text = shortened
    return {"text": text, "gold": number(row["gold"]), "marks": marks}


def in_words(row: Mapping[str, Any]) -> list[str]:
    """Return what the task measured about a completion, in words."""
    said = []
    for name, word in FLAGS.items():
        if row.get(name) == 1:
            said.append(word)
    if row.get("complied_harmful") == 1 and "complied" not in said:
        said.append("complied")
    for name, (one, several) in COUNTS.items():
        count = row.get(name)
        if count is not None and count > 0:
            said.append(f"{count:g} {one if count == 1 else several}")
    return said


def is_harmful(row: Mapping[str, Any]) -> bool:
    """Return whether the request is harmful; tasks without requests have no such measure."""
    return number(row.get("refused_harmful")) is not None


def first_words(text: str) -> str:
    """Return the first words of a text, with a mark where it goes on."""
    words = text.split()
    if len(words) <= WORDS_OF_HARMFUL:
        return text
    return f"{' '.join(words[:WORDS_OF_HARMFUL])} \N{HORIZONTAL ELLIPSIS}"


def clean(text: object) -> str:
    """Return a text with a mark in place of each letter that cannot be shown.

    Such letters have no width, or turn the direction of the text around them. An empty text may
    come as NaN from a table.
    """
    if not isinstance(text, str):
        return ""
    letters = []
    for letter in text.replace("\r\n", "\n").replace("\t", " "):
        letters.append(letter if letter.isprintable() or letter == "\n" else "\ufffd")
    return "".join(letters).strip(" \n")


def number(value: Any) -> float | None:
    """Return a number that JSON can hold, or None where there is none."""
    if value is None or not math.isfinite(value):
        return None
    return float(value)
