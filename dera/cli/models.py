"""From the arguments to a pair of models and their tokenizer."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dera.chat import ChatTokenizer
from dera.cli.prompts import check_tokens

if TYPE_CHECKING:
    from dera import RealignedModel

_ENDS = 1 << 20  # bytes read at both ends of a weights file to recognise it


def check_models(args: argparse.Namespace) -> None:
    """Refuse, without loading anything, folders and devices that cannot be right.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: if a folder holds no model, or the device is not there.
    """
    from dera.model.loading import must_exist

    for path, configs in (
        (args.reference, ["config.json"]),
        (args.aligned, ["config.json", "adapter_config.json"]),
    ):
        must_exist(path)
        if Path(path).is_dir() and not any((Path(path) / name).is_file() for name in configs):
            raise ValueError(f"{path} is not a saved model: it has no {' or '.join(configs)}")
    device_of(args)


def device_of(args: argparse.Namespace) -> str:
    """Where the models are put: the device asked for, or the GPU if there is one; or the device map.

    Raises:
        ValueError: if there is no such device.
    """
    import torch

    if args.device_map is not None:
        return f"map {args.device_map}"
    if args.device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=args.device)
    except (
        RuntimeError,
        AssertionError,
    ) as error:  # torch says "not compiled with CUDA" by an assertion
        raise ValueError(
            f"--device {args.device} cannot be used: {str(error).splitlines()[0]}"
        ) from error
    return args.device


def load_pair(args: argparse.Namespace, prompts: Sequence[str]) -> tuple[RealignedModel, Any]:
    """The pair and its tokenizer; all that the tokenizer can say about the prompts is checked before models are loaded.

    Raises:
        ValueError: without a tokenizer, or without the chat template asked for; and as `RealignedModel.from_pretrained`.
    """
    from transformers.utils import logging

    from dera import RealignedModel

    if args.quiet:
        logging.disable_progress_bar()
    tokenizer = _tokenizer(args.reference)
    if args.chat:
        tokenizer = ChatTokenizer(tokenizer, args.reference, args.system)
    check_tokens(tokenizer, prompts)
    options = {} if args.device_map is None else {"device_map": args.device_map}
    model = RealignedModel.from_pretrained(
        args.reference,
        args.aligned,
        aligned_beta=args.aligned_beta,
        merge_adapter=args.adapter_merge,
        dtype=args.dtype,
        **options,
    )
    if args.device_map is None:
        model.to(device_of(args))  # type: ignore[arg-type]
    return model, tokenizer


def seed_batch(seed: int, batch: int) -> None:
    """Seed torch for one batch, so that what it draws does not depend on which batches were decoded before it."""
    import numpy as np
    import torch

    torch.manual_seed(int(np.random.SeedSequence([seed, batch]).generate_state(1, np.uint64)[0]))


def identity(path: str) -> str:
    """What tells a model from others: a Hub id; for a folder its name and a checksum, wherever it stands.

    Of large files only the size and both ends are read: training changes all weights, so these tell.
    """
    folder = Path(path)
    if not folder.is_dir():
        return path
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in (".safetensors", ".json", ".jinja", ".model"):
            size = file.stat().st_size
            digest.update(f"{file.name} {size}\n".encode())
            with file.open("rb") as content:
                digest.update(content.read(_ENDS))
                content.seek(max(size - _ENDS, 0))
                digest.update(content.read())
    return f"{folder.resolve().name} {digest.hexdigest()[:16]}"


def _tokenizer(reference: str) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(reference)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no tokenizer could be loaded from {reference}, save it beside the model: {error}"
        ) from error
    if tokenizer.pad_token is None:
        # Padding is masked, so any token does, and each completion is cut at its first end of sequence.
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
