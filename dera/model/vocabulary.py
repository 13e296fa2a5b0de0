"""Checks that the logits of several models are about the same tokens."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import islice
from typing import Any

from dera.model.parts import Part

#: Where no tokenizer is given, embedding tables that differ by at most so many rows are taken to
#: differ in padding only. Implementations pad their tables to multiples of 64 to 512.
PADDING_ROWS = 512


def shared_vocabulary_size(parts: Sequence[Part], tokenizer: Any = None) -> int:
    """Return the number of tokens that all models know.

    It is the number of rows of the smallest embedding table. Further rows are unused padding.

    Raises:
        ValueError: if a table has fewer rows than the tokenizer has tokens, or, without a
            tokenizer, if the tables differ by more rows than padding explains. Added tokens for
            which no table has a row only cause a warning.
    """
    sizes = {part.name: part.config.get_text_config(decoder=True).vocab_size for part in parts}
    smallest = min(sizes.values())
    if tokenizer is not None:
        _check_tokens_have_rows(tokenizer, sizes)
    elif max(sizes.values()) - smallest > PADDING_ROWS:
        raise ValueError(
            f"the models' vocabularies have {sizes} rows, which differ by more than padding: "
            "pass tokenizer= if the rows beyond the smallest are unused"
        )
    return smallest


def check_same_tokenizer(
    first: Any, second: Any, names: tuple[str, str], max_examples: int = 5
) -> None:
    """Refuse two tokenizers that map text to different ids: logits over them cannot be mixed.

    Args:
        first: a tokenizer.
        second: the tokenizer to compare with it.
        names: what messages call the two.
        max_examples: how many tokens a message names at most.

    Raises:
        ValueError: naming tokens that differ.
    """
    first_ids, second_ids = first.get_vocab(), second.get_vocab()
    tokens = sorted({*first_ids, *second_ids})
    differing = [token for token in tokens if first_ids.get(token) != second_ids.get(token)]
    if not differing:
        return
    examples = "; ".join(
        f"{token!r} is {first_ids.get(token, 'absent')} and {second_ids.get(token, 'absent')}"
        for token in islice(differing, max_examples)
    )
    if len(differing) > max_examples:
        examples += "; ..."
    raise ValueError(
        f"{names[0]} and {names[1]} have different tokenizers, so mixing their logits has no "
        f"meaning. {len(differing)} of {len(first_ids)} and {len(second_ids)} tokens differ: "
        f"{examples}. Mix models that share one tokenizer"
    )


def _check_tokens_have_rows(tokenizer: Any, sizes: dict[str, int]) -> None:
    """Refuse a tokenizer with more tokens than a model's table has rows.

    The tokenizers of some text models have special tokens that only other models of the family use,
    such as the place of an image. Plain text never has these tokens, so a warning is enough.
    """
    vocabulary = tokenizer.get_vocab()
    smallest = min(sizes.values())
    without_row = [token for token, token_id in vocabulary.items() if token_id >= smallest]
    if not without_row:
        return
    are_added = set(without_row) <= set(tokenizer.get_added_vocab())
    if are_added and len(set(sizes.values())) == 1:
        warnings.warn(
            f"the models have no row for the added tokens {without_row}: prompts with these will "
            "fail, so leave these tokens out",
            stacklevel=4,
        )
        return
    raise ValueError(
        f"the tokenizer uses {max(vocabulary.values()) + 1} token ids, but the models' tables have "
        f"{sizes} rows: they do not belong together, so pass the tokenizer of these models"
    )
