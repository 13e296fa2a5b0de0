"""Where documents and their summaries come from: one module for each kind of corpus.

A module offers a function `load(settings, files, seed)`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset


def load(settings: Mapping[str, Any], files: Mapping[str, str], seed: int) -> dict[str, Dataset]:
    """Load the corpus `settings["kind"]`.

    Args:
        settings: the config's section `corpus`.
        files: the file of each split, if the corpus reads files.
        seed: seed of everything that is drawn.

    Returns:
        One Dataset for each split, with columns `prompt` and `completion`.
    """
    return importlib.import_module(f"tasks.corpora.{settings['kind']}").load(settings, files, seed)
