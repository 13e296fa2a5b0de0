"""A few tokens are read through the mixture, and what its parts say is compared with each alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dera.model.proof.closeness import error_of, is_quantised, tolerance_of
from dera.model.proof.encoder_decoder_reader import EncoderDecoderReader
from dera.model.proof.reader import Reader, Readings, described
from dera.model.proof.text import at_rest, reason_not_to_read

if TYPE_CHECKING:
    from dera.model.realigned import RealignedModel

#: What is said of quantised weights beside a fault.
ROUNDED = (
    ". Weights are quantised here. In 8 bits a layer rounds the rows of a batch together, and a "
    "small model may differ by this much from that alone: then pass check=False"
)


def prove_by_reading(model: RealignedModel) -> dict[str, Tensor]:
    """Compare what the parts say inside a realigned model with what each says alone.

    One text is read by each part alone, without a cache. It is then read through the mixture, with
    a cache, beside a padded copy of its beginning, and the rows are exchanged between two calls.
    That is two calls of the mixture. Only if this differs is it found out what it is that differs.

    Args:
        model: the realigned model.

    Returns:
        For each part by its name the logits that it gives alone, shape (1, time, its vocabulary);
        nothing where no tokens can be read.

    Raises:
        ValueError: naming the part and what it does otherwise than alone.
    """
    bases = [part.base for part in model.parts]
    reason = reason_not_to_read(bases)
    if reason is not None:
        warnings.warn(
            f"the pair was not proved by reading tokens, because {reason}: compare its logits at "
            "lam = 0 and 1 with those of the models, or pass check=False",
            stacklevel=4,
        )
        return {}
    with at_rest([model]):
        reader = _reader_of(model)
        if _fault_of(model, reader.all_at_once) is not None:
            _name_the_fault(model, reader)
        _forget_a_trial_that_shows_nothing(model, reader.alone)
    return {part.name: reader.alone[index] for index, part in enumerate(model.parts)}


def _reader_of(model: RealignedModel) -> Reader:
    return EncoderDecoderReader(model) if model.config.is_encoder_decoder else Reader(model)


def _fault_of(model: RealignedModel, read: Callable[[], Readings]) -> str | None:
    """Return which part differs from what it gives alone, and by how much; None if none does."""
    try:
        readings = read()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        return f"the mixture fails with {type(error).__name__}: {error}"
    errors = {
        index: max(error_of(got, expected) for got, expected in pairs)
        for index, pairs in readings.items()
    }
    worst = max(errors, key=lambda index: errors[index])
    if errors[worst] <= tolerance_of([part.base for part in model.parts]):
        return None
    part = described(model.parts[worst])
    return f"the logits of {part} are off by {errors[worst]:.2g} of their spread"


def _name_the_fault(model: RealignedModel, reader: Reader) -> None:
    """Read one thing at a time, and refuse the model for the first that differs.

    Raises:
        ValueError: always, unless each thing is right by itself.
    """
    for difference, remedy, read in reader.stages():
        fault = _fault_of(model, read)
        if fault is not None:
            rounds = any(is_quantised(part.base) for part in model.parts)
            raise ValueError(f"{difference}: {fault}. {remedy}{ROUNDED if rounds else ''}")


def _forget_a_trial_that_shows_nothing(model: RealignedModel, alone: list[Tensor]) -> None:
    """Let one pass be tried again at its first use, if an adapter has changed nothing so far.

    It may be trained after the pair is made, and a trial without its effect proves nothing.
    """
    if model.one_pass is not None and any(torch.equal(part, alone[0]) for part in alone[1:]):
        vars(model.one_pass).pop("_trial", None)
