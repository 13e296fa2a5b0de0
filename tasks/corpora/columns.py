"""Make plain texts of the columns of a table, and refuse what cannot be trained on.

A value is a text, or it has the form of a chat: a list of turns, each with a `role` and a
`content`. Both forms are those of the library TRL. A prompt in the form of a chat is one turn of
the user, and a completion is one turn of the assistant. Longer chats are refused, because the study
renders one turn for each prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.corpora.tables import Row, TableError

#: What a table of pairs calls its columns where a config does not say it.
OF_PAIRS = {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}

#: The remedy for a row that nothing can learn from.
SKIPPED = "or write `skip_unusable: true`, which leaves such rows out"


class UnusableRow(TableError):
    """A row that nothing can learn from; a config may ask to leave such rows out."""


@dataclass(frozen=True)
class Texts:
    """The texts of a table.

    Attributes:
        places: where each row stands, for messages.
        columns: the texts of each column, by this project's names: `prompt`, and `completion` or
            `chosen` and `rejected` if the table has them.
        left_out: how many rows were left out, because nothing could learn from them.
    """

    places: list[str]
    columns: dict[str, list[str]]
    left_out: int = 0

    @property
    def prompts(self) -> list[str]:
        """The prompt of each row."""
        return self.columns["prompt"]

    def only(self, kept: Sequence[int]) -> Texts:
        """Return these rows alone, by their numbers from 0. The others count as left out."""
        columns = {name: [column[i] for i in kept] for name, column in self.columns.items()}
        left_out = self.left_out + len(self.places) - len(kept)
        return Texts([self.places[i] for i in kept], columns, left_out)


def texts(rows: Sequence[Row], settings: Mapping[str, Any]) -> Texts:
    """Map the columns of a table, and check every value.

    Args:
        rows: the table.
        settings: `columns` maps names of this project (`prompt`, `completion`, `chosen`,
            `rejected`) to the table's own; without it the table has pairs in columns of these
            names. A prompt that is not named is what `chosen` and
            `rejected` begin with: their shared turns; or in texts, all up to the last
            `prompt_ends_with` of what they share. Rows that nothing can learn from are left out if
            `skip_unusable` is true.

    Raises:
        TableError: naming the file, the row and the column that cannot be used.
    """
    columns: Mapping[str, str] = settings.get("columns", OF_PAIRS)
    _check_names(rows, columns)
    places: list[str] = []
    table: dict[str, list[str]] = {"prompt": []} | {name: [] for name in columns}
    left_out = 0
    for row in rows:
        try:
            found = _of_row(row, columns, settings.get("prompt_ends_with"))
        except UnusableRow:
            if not settings.get("skip_unusable"):
                raise
            left_out += 1
            continue
        places.append(row.place)
        for name, text in found.items():
            table[name].append(text)
    if not places:
        raise TableError(f"{rows[0].place}: neither this row nor any other can be used")
    return Texts(places, table, left_out)


def check_apart(some: Texts, others: Texts) -> None:
    """Check that no prompt is in both tables.

    Raises:
        TableError: naming the first such row of both.
    """
    where = dict(zip(map(str.strip, others.prompts), others.places, strict=True))
    shared = [
        (place, where[prompt.strip()])
        for place, prompt in zip(some.places, some.prompts, strict=True)
        if prompt.strip() in where
    ]
    if shared:
        place, other = shared[0]
        more = f" ({len(shared)} such rows)" if len(shared) > 1 else ""
        raise TableError(
            f"{place}: the prompt is also that of {other}{more}; remove it from one of the two, "
            "because what is measured on prompts that were trained on means nothing"
        )


def _check_names(rows: Sequence[Row], columns: Mapping[str, str]) -> None:
    """Check that each named column is somewhere in the table."""
    there = set().union(*(row.values for row in rows))
    for name, column in columns.items():
        if column not in there:
            file = rows[0].place.rpartition(", row ")[0]
            raise TableError(
                f"{file}: there is no column {column!r} for columns.{name}; "
                f"there are {', '.join(sorted(there))}"
            )


def _of_row(row: Row, columns: Mapping[str, str], mark: str | None) -> dict[str, str]:
    """The texts of one row, by this project's names."""
    # What the row has, and how messages call it.
    values = {name: row.values.get(column) for name, column in columns.items()}
    called = {name: f"{row.place}: the column {column!r}" for name, column in columns.items()}
    for name, value in values.items():
        if value is None or value == []:
            raise UnusableRow(f"{called[name]} is empty; fill it, {SKIPPED}")
    if "chosen" in values and values["chosen"] == values["rejected"]:
        raise UnusableRow(
            f"{called['chosen']} equals {columns['rejected']!r}; remove the row, {SKIPPED}"
        )

    # The prompt may be in both completions.
    if "prompt" not in values:
        called["prompt"] = f"{called['chosen']} begins with a prompt that"
        values = _with_prompt(called["chosen"], values, mark)
    return {name: _text(called[name], name, value) for name, value in values.items()}


def _text(called: str, name: str, value: Any) -> str:
    """A value as a text."""
    if isinstance(value, list):
        value = _content(called, "user" if name == "prompt" else "assistant", value)
    if not isinstance(value, str):
        raise TableError(
            f"{called} is of type {type(value).__name__}, and must be text or a list of turns with "
            "`role` and `content`"
        )
    if not value.strip():
        raise UnusableRow(f"{called} is empty; fill it, {SKIPPED}")
    return value


def _content(called: str, role: str, turns: Sequence[Any]) -> Any:
    """What is said in a chat of one turn."""
    for turn in turns:
        if not isinstance(turn, Mapping) or not {"role", "content"} <= set(turn):
            raise TableError(f"{called} has a turn without `role` and `content`: {turn!r}")
    roles = [str(turn["role"]) for turn in turns]
    if roles != [role]:
        raise TableError(
            f"{called} has the turns [{', '.join(roles)}], and can only be one turn of the {role}; "
            "remove rows with longer chats from the table"
        )
    return turns[0]["content"]


def _with_prompt(called: str, values: Mapping[str, Any], mark: str | None) -> dict[str, Any]:
    """Take the prompt out of the two completions that begin with it."""
    chosen, rejected = values["chosen"], values["rejected"]
    if type(chosen) is not type(rejected) or not isinstance(chosen, str | list):
        raise TableError(f"{called} and the rejected one must both be texts, or lists of turns")
    length = 0
    for one, other in zip(chosen, rejected, strict=False):
        if one != other:
            break
        length += 1
    if isinstance(chosen, str):
        if mark is None:
            raise TableError(
                f"{called} is text; name the column of the prompt as columns.prompt, or say how "
                r'the prompt ends that both begin with, such as prompt_ends_with: "\n\nAssistant:"'
            )
        start = chosen.rfind(mark, 0, length)
        if start < 0:
            raise TableError(
                f"{called} shares no beginning with the rejected one that ends with "
                f"prompt_ends_with = {mark!r}"
            )
        length = start + len(mark)
    return {"prompt": chosen[:length], "chosen": chosen[length:], "rejected": rejected[length:]}
