"""Checking that the logits of several models are about the same tokens."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import islice
from typing import Any

from dera.model.parts import Part

#: Without a tokenizer to ask, tables that differ by no more rows than this are taken to differ in padding only: implementations
#: pad to multiples of 64 up to 512.
PADDING_ROWS = 512


def shared_vocabulary_size(parts: Sequence[Part], tokenizer: Any = None) -> int:
    """The number of tokens all models know; rows beyond it in the larger tables are unused padding.

    Raises:
        ValueError: if a table has fewer rows than the tokenizer has tokens (but for added tokens that no table has), or,
            without a tokenizer, the tables differ by more rows than padding explains.
    """
    sizes = {part.name: part.config.get_text_config(decoder=True).vocab_size for part in parts}
    smallest = min(sizes.values())
    if tokenizer is not None:
        beyond = [token for token, number in tokenizer.get_vocab().items() if number >= smallest]
        if (
            beyond
            and len(set(sizes.values())) == 1
            and set(beyond) <= set(tokenizer.get_added_vocab())
        ):
            # some text models keep special tokens of a larger family (an image's place), which their text never has
            warnings.warn(
                f"the models have no row for the added tokens {beyond}: prompts with these will fail",
                stacklevel=3,
            )
        elif beyond:
            raise ValueError(
                f"the tokenizer uses {max(tokenizer.get_vocab().values()) + 1} token ids, but the models' tables have {sizes} rows: "
                "they do not belong together"
            )
    elif max(sizes.values()) - smallest > PADDING_ROWS:
        raise ValueError(
            f"the models' vocabularies have {sizes} rows, which differ by more than padding: "
            "pass tokenizer= if the rows beyond the smallest are unused"
        )
    return smallest


def check_same_tokenizer(first: Any, second: Any, names: tuple[str, str], shown: int = 5) -> None:
    """Refuse two tokenizers that map text to different ids: logits over them are about different things.

    Raises:
        ValueError: naming the tokens that differ.
    """
    ids = first.get_vocab(), second.get_vocab()
    differing = [
        token for token in sorted({*ids[0], *ids[1]}) if ids[0].get(token) != ids[1].get(token)
    ]
    if differing:
        examples = "; ".join(
            f"{token!r} is {ids[0].get(token, 'absent')} and {ids[1].get(token, 'absent')}"
            for token in islice(differing, shown)
        )
        raise ValueError(
            f"{names[0]} and {names[1]} have different tokenizers, so mixing their logits has no meaning. {len(differing)} of "
            f"{len(ids[0])} and {len(ids[1])} tokens differ: {examples}{'; ...' if len(differing) > shown else ''}"
        )
