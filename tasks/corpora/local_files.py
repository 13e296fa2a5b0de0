"""Documents and summaries from files on this machine: JSONL, JSONL gzipped, or Parquet."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset


def load(settings: Mapping[str, Any], files: Mapping[str, str], seed: int) -> dict[str, Dataset]:
    """Read the file of each split; rows with an empty prompt or completion are left out.

    Args:
        settings: `columns` maps `prompt` and `completion` to the files' own column names. Prompts
            are cut to `max_prompt_words` words, if it is given.
        files: the path of each split.
        seed: not used, because nothing is drawn.

    Returns:
        One Dataset for each split, with columns `prompt` and `completion`.

    Raises:
        ValueError: if a column is missing, or if a split is left empty.
    """
    return {split: _read(Path(path), settings) for split, path in files.items()}


def _read(path: Path, settings: Mapping[str, Any]) -> Dataset:
    """Read one file."""
    with tempfile.TemporaryDirectory() as cache:
        read = Dataset.from_parquet if path.suffix == ".parquet" else Dataset.from_json
        rows = read(str(path), cache_dir=cache, keep_in_memory=True)

    columns = settings["columns"]
    for column in columns.values():
        if column not in rows.column_names:
            raise ValueError(
                f"corpus.columns: {path.name} has no column {column!r}; "
                f"it has {sorted(rows.column_names)}"
            )

    max_words = settings.get("max_prompt_words")
    prompts: list[str] = []
    completions: list[str] = []
    for prompt, completion in zip(
        rows[columns["prompt"]], rows[columns["completion"]], strict=True
    ):
        prompt = _first_words(str(prompt or ""), max_words)
        completion = str(completion or "").strip()
        if prompt and completion:
            prompts.append(prompt)
            completions.append(completion)
    if not prompts:
        raise ValueError(
            f"corpus.files: {path.name} has no row with both a prompt and a completion"
        )
    return Dataset.from_dict({"prompt": prompts, "completion": completions})


def _first_words(text: str, count: int | None) -> str:
    """Return the first `count` words of a text, with the line breaks between them."""
    if count is None:
        return text.strip()
    lines: list[str] = []
    words_left = count
    for line in text.strip().splitlines():
        words = line.split()[:words_left]
        lines.append(" ".join(words))
        words_left -= len(words)
        if words_left <= 0:
            break
    return "\n".join(lines)
