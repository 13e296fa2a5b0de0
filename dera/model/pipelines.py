"""Pipelines of transformers, which know the names of their own models only."""

from __future__ import annotations

import logging

#: The logger that says which models a pipeline does not support.
_LOGGER = "transformers.pipelines.base"


def accept_in_text_generation(kind: type) -> None:
    """Leave out the false message that text generation does not support a decoder-only mixture.

    Args:
        kind: the class of the realigned model.
    """
    logger = logging.getLogger(_LOGGER)
    if not any(
        isinstance(known, _SupportedModel) and known.kind is kind for known in logger.filters
    ):
        logger.addFilter(_SupportedModel(kind))


class _SupportedModel(logging.Filter):
    """Drops the message that text generation does not support models of one class."""

    def __init__(self, kind: type):
        super().__init__()
        self.kind = kind

    def filter(self, record: logging.LogRecord) -> bool:
        false = f"The model '{self.kind.__name__}' is not supported for text-generation."
        return not record.getMessage().startswith(false)
