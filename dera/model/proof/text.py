"""The few tokens that are read to prove a pair, and where no tokens can be read."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

#: How many tokens are read. The row that is padded has two less.
LENGTH = 6


def reason_not_to_read(bases: Sequence[Any]) -> str | None:
    """Return why no tokens are read through some transformers models; None if they are.

    Weights that are kept elsewhere would all be fetched for each reading, which may take minutes.
    """
    for base in bases:
        kind = type(base).__name__
        if getattr(base, "main_input_name", "input_ids") != "input_ids":
            return f"{kind} reads {base.main_input_name} and not tokens"
        if any(parameter.is_meta for parameter in base.parameters()):
            return f"weights of {kind} are offloaded or not loaded yet"
        if any(hasattr(parameter, "ds_id") for parameter in base.parameters()):
            return f"weights of {kind} are spread over processes"
    return None


def plain_tokens(bases: Sequence[Any], length: int = LENGTH) -> Tensor:
    """Return tokens that all models know and to which none gives a special meaning.

    Args:
        bases: transformers models.
        length: how many tokens are wanted. Models with a shorter window get fewer.

    Returns:
        Shape (1, time).
    """
    configs = [base.config.get_text_config(decoder=True) for base in bases]
    smallest = min(config.vocab_size for config in configs)
    special = set()
    for base in bases:
        for source in (base.config, *_configs_of(base), getattr(base, "generation_config", None)):
            special |= _special_tokens(source)
    plain = [token for token in range(smallest) if token not in special] or list(range(smallest))
    windows = [getattr(config, "max_position_embeddings", None) or length for config in configs]
    length = min(length, *windows)
    # The tokens are far apart from each other, and no two that follow each other are the same.
    return torch.tensor([[plain[(3 + 7919 * place) % len(plain)] for place in range(length)]])


def decoder_start_of(base: Any) -> int:
    """Return the token with which an encoder-decoder's decoder begins; 0 where none is named."""
    for source in (base.generation_config, base.config):
        for name in ("decoder_start_token_id", "bos_token_id"):
            token = getattr(source, name, None)
            if isinstance(token, int):
                return token
    return 0


@contextmanager
def at_rest(modules: Sequence[torch.nn.Module]) -> Iterator[None]:
    """Return a context in which modules neither drop out, learn, nor compile.

    The modes of all modules inside are afterwards what they were.
    """
    training = [inside for module in modules for inside in module.modules() if inside.training]
    for inside in training:
        inside.training = False
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            # Nothing can be compiled before this module is loaded, and to load it takes seconds.
            if "torch._dynamo" in sys.modules:
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            yield
    finally:
        for inside in training:
            inside.training = True


def _configs_of(base: Any) -> list[Any]:
    """Return the configurations of the text model and its decoder."""
    return [base.config.get_text_config(), base.config.get_text_config(decoder=True)]


def _special_tokens(config: Any) -> set[int]:
    """Return the ids of tokens that a configuration names."""
    special: set[int] = set()
    for name, value in ({} if config is None else vars(config)).items():
        if "token" in name and name.endswith(("_id", "_ids", "_index")):
            values = value if isinstance(value, (list, tuple)) else [value]
            special |= {token for token in values if isinstance(token, int)}
    return special
