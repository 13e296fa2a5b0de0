"""Documents and summaries from files on this machine: JSONL, JSONL gzipped, or Parquet."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset


def load(settings: dict[str, Any], files: Mapping[str, str], seed: int) -> dict[str, Dataset]:
    """Read `files`, the path of each split; `seed` is not used.

    `columns` maps `prompt` and `completion` to the files' own column names. Prompts are cut to
    `max_prompt_words` words, if given; rows with an empty prompt or completion are left out.

    Raises:
        ValueError: if a column is missing, or a split is left empty.
    """
    return {split: _read(Path(path), settings) for split, path in files.items()}


def _read(path: Path, settings: dict[str, Any]) -> Dataset:
    with tempfile.TemporaryDirectory() as cache:
        read = Dataset.from_parquet if path.suffix == ".parquet" else Dataset.from_json
        rows = read(str(path), cache_dir=cache, keep_in_memory=True)
    columns = settings["columns"]
    for column in columns.values():
        if column not in rows.column_names:
            raise ValueError(
                f"corpus.columns: {path.name} has no column {column!r}; it has {sorted(rows.column_names)}"
            )
    limit = settings.get("max_prompt_words")
    pairs = [
        (_first_words(str(prompt or ""), limit), str(completion or "").strip())
        for prompt, completion in zip(
            rows[columns["prompt"]], rows[columns["completion"]], strict=True
        )
    ]
    pairs = [pair for pair in pairs if all(pair)]
    if not pairs:
        raise ValueError(
            f"corpus.files: {path.name} has no row with both a prompt and a completion"
        )
    prompts, completions = zip(*pairs, strict=True)
    return Dataset.from_dict({"prompt": list(prompts), "completion": list(completions)})


def _first_words(text: str, limit: int | None) -> str:
    """The first `limit` words with the line breaks between them kept."""
    if limit is None:
        return text.strip()
    kept, room = [], limit
    for line in text.strip().splitlines():
        words = line.split()[:room]
        kept.append(" ".join(words))
        room -= len(words)
        if room <= 0:
            break
    return "\n".join(kept)
