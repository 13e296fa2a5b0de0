"""Prompts and completions from tables of a user's own (`tasks.corpora.tables`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from tasks.corpora import columns, tables
from tasks.corpora.columns import Texts

if TYPE_CHECKING:  # a config is checked without datasets, which takes seconds to import
    from datasets import Dataset


def load(
    settings: Mapping[str, Any], files: Mapping[str, str], seed: int, divided: bool = False
) -> dict[str, Dataset]:
    """Read the table of each split.

    Args:
        settings: `columns` maps `prompt` and `completion` to the tables' own names; `completion`
            may be absent, and is then empty text. Where a table has pairs, `chosen` and `rejected`
            may be named, and the completion is the chosen one (`tasks.corpora.columns.texts`).
            Prompts are cut to `max_prompt_words` words, if it is given.
        files: the path of each split.
        seed: not used, because nothing is drawn.
        divided: whether the task divides the rows among the splits itself. Then a prompt may be in
            several tables.

    Returns:
        One Dataset for each split, with columns `prompt` and `completion`.

    Raises:
        tables.TableError: naming the file, the row and the column that cannot be used.
    """
    from datasets import Dataset

    splits = {}
    for split, found in read(settings, files, divided).items():
        if found.left_out:
            print(f"{split}: rows left out, because nothing can learn from them: {found.left_out}")
        prompts = found.prompts
        completions = found.columns.get("completion", found.columns.get("chosen"))
        if completions is None:
            completions = [""] * len(prompts)
        splits[split] = Dataset.from_dict({"prompt": prompts, "completion": completions})
    return splits


def read(
    settings: Mapping[str, Any], files: Mapping[str, str], divided: bool = False
) -> dict[str, Texts]:
    """Read and check the table of each split, as `load` says.

    No prompt may be in two splits, unless the task divides them itself. Prompts that are alike only
    after they are cut may.
    """
    splits = {name: columns.texts(tables.read(path), settings) for name, path in files.items()}
    if not divided:
        for one, other in combinations(splits, 2):
            columns.check_apart(splits[one], splits[other])
    return {name: _cut(found, settings.get("max_prompt_words")) for name, found in splits.items()}


def _cut(found: Texts, count: int | None) -> Texts:
    """The texts with prompts of at most `count` words."""
    if count is None:
        return found
    prompts = [_first_words(prompt, count) for prompt in found.prompts]
    return replace(found, columns={**found.columns, "prompt": prompts})


def _first_words(text: str, count: int) -> str:
    """Return the first `count` words of a text, with the line breaks between them."""
    lines: list[str] = []
    words_left = count
    for line in text.strip().splitlines():
        words = line.split()[:words_left]
        lines.append(" ".join(words))
        words_left -= len(words)
        if words_left <= 0:
            break
    return "\n".join(lines)
