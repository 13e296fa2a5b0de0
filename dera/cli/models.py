"""From the arguments of a command to a pair of models and their tokenizer."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dera.chat import ChatTokenizer
from dera.cli.prompts import check_tokens
from dera.cli.window import check_window

if TYPE_CHECKING:
    from dera import RealignedModel

#: How many bytes are read at each end of a file to recognise it.
_END_BYTES = 1 << 20
#: The files of a model's folder that decide what it decodes.
_MODEL_SUFFIXES = (".safetensors", ".json", ".jinja", ".model")


def check_models(args: argparse.Namespace) -> None:
    """Refuse folders and devices that cannot be right, without loading anything.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: if a folder holds no model, or there is no such device.
    """
    _check_folder(args.reference, ["config.json"])
    _check_folder(args.aligned, ["config.json", "adapter_config.json"])
    device_of(args)


def device_of(args: argparse.Namespace) -> str:
    """Return the device that the models are put on, or the name of the device map.

    Without --device and --device-map it is the GPU if there is one.

    Raises:
        ValueError: if there is no such device.
    """
    import torch

    if args.device_map is not None:
        return f"map {args.device_map}"
    if args.device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    # torch raises an AssertionError if it was not compiled with CUDA.
    try:
        torch.empty(0, device=args.device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"--device {args.device} cannot be used: {str(error).splitlines()[0]}"
        ) from error
    return args.device


def load_pair(args: argparse.Namespace, prompts: Sequence[str]) -> tuple[RealignedModel, Any]:
    """Load the pair and its tokenizer.

    What the tokenizer can say about the prompts is checked before the models are loaded.

    Raises:
        ValueError: if there is no tokenizer, or no chat template although a chat was asked for; and
            as `RealignedModel.from_pretrained`.
    """
    from transformers.utils import logging

    from dera import RealignedModel

    if args.quiet:
        logging.disable_progress_bar()
    tokenizer = _tokenizer(args.reference)
    if args.chat:
        tokenizer = ChatTokenizer(tokenizer, args.reference, args.system)
    check_tokens(tokenizer, prompts)
    check_window(args, tokenizer, prompts)
    placement = {} if args.device_map is None else {"device_map": args.device_map}
    model = RealignedModel.from_pretrained(
        args.reference,
        args.aligned,
        aligned_beta=args.aligned_beta,
        merge_adapter=args.adapter_merge,
        dtype=args.dtype,
        **placement,
    )
    if args.device_map is None:
        model.to(device_of(args))  # type: ignore[arg-type]
    return model, tokenizer


def seed_batch(seed: int, batch: int) -> None:
    """Seed torch for one batch.

    What the batch draws then does not depend on which batches were decoded before it.
    """
    import numpy as np
    import torch

    state = np.random.SeedSequence([seed, batch]).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0]))


def identity(path: str) -> str:
    """Return what tells a model from others: a Hub id, or a folder's name with a checksum.

    Of large files only the two ends are read. Training changes every weight, so the ends and the
    size suffice to tell models apart.
    """
    folder = Path(path)
    if not folder.is_dir():
        return path
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix not in _MODEL_SUFFIXES:
            continue
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as content:
            digest.update(content.read(_END_BYTES))
            content.seek(max(size - _END_BYTES, 0))
            digest.update(content.read())
    return f"{folder.resolve().name} {digest.hexdigest()[:16]}"


def _check_folder(path: str, config_names: list[str]) -> None:
    """Refuse a folder without any of these files."""
    from dera.model.loading import must_exist

    must_exist(path)
    folder = Path(path)
    if folder.is_dir() and not any((folder / name).is_file() for name in config_names):
        raise ValueError(
            f"{path} is not a saved model, because it has no {' or '.join(config_names)}: "
            "name a folder that save_pretrained wrote"
        )


def _tokenizer(reference: str) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(reference)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no tokenizer could be loaded from {reference}. Save one beside the model. The cause "
            f"was: {error}"
        ) from error
    if tokenizer.pad_token is None:
        # Padding is masked and each completion is cut at its first end of sequence, so any token
        # will do.
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
