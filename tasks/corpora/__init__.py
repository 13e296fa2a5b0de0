"""Where documents and their summaries come from: one module a kind, each offering `load(settings, files, seed)`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset


def load(settings: dict[str, Any], files: Mapping[str, str], seed: int) -> dict[str, Dataset]:
    """Load the corpus `settings["kind"]`: one Dataset with columns `prompt` and `completion` for each split."""
    return importlib.import_module(f"tasks.corpora.{settings['kind']}").load(settings, files, seed)
