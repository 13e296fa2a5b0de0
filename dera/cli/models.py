"""From the arguments of a command to a pair of models and their tokenizer."""

from __future__ import annotations

import argparse
import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dera.chat import ChatTokenizer
from dera.cli.output import note
from dera.cli.prompts import check_tokens
from dera.cli.window import check_window

if TYPE_CHECKING:
    from dera import RealignedModel

#: How many bytes are read at each end of a file to recognise it.
_END_BYTES = 1 << 20
#: The files of a model's folder that decide what it decodes.
_MODEL_SUFFIXES = (".safetensors", ".json", ".jinja", ".model")
#: Options that decide what a pair decodes, beside the models themselves. A sweep records those that
#: are given.
_MODEL_OPTIONS = (
    "aligned_on",
    "revision",
    "aligned_revision",
    "base_revision",
    "chat_template",
    "template_arguments",
)


def check_models(args: argparse.Namespace) -> None:
    """Refuse folders and devices that cannot be right, without loading anything.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: if a folder holds no model, or there is no such device.
    """
    from dera.model.checkpoints import check_folder

    _check_base_options(args)
    for source in sources_of_pair(args).values():
        check_folder(source.place)
    device_of(args)


def sources_of_pair(args: argparse.Namespace) -> dict[str, Any]:
    """Return the `Source` of "reference", "aligned" and, if it is given, "base".

    Raises:
        FileNotFoundError: if a path or a subfolder does not exist.
        ValueError: if a revision is given for a folder.
    """
    from dera.model.sources import sources_of

    paths = {"reference": args.reference, "aligned": args.aligned}
    if args.base is not None:
        paths["base"] = args.base
    return sources_of(paths, _per_model(args, "revision"), _per_model(args, "subfolder"), {})


def model_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return what tells a pair from others, for the settings of a sweep."""
    from dera.model.layouts import base_source

    # The base of a reference that is an adapter decides as much as the adapter does.
    sources = sources_of_pair(args)
    reference = sources["reference"]
    folder = reference.adapter_folder()
    if folder is not None:
        sources["base"] = base_source(reference, folder, sources.get("base"))
    given = {name: getattr(args, name) for name in _MODEL_OPTIONS}
    return {
        **{
            name: identity(source.place) if source.is_local else str(source)
            for name, source in sources.items()
        },
        **{name: value for name, value in given.items() if value is not None},
    }


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
    from dera.model.loading import ChatTemplateWarning

    if args.quiet:
        logging.disable_progress_bar()
    tokenizer = _prompt_tokenizer(args)
    check_tokens(tokenizer, prompts)
    check_window(args, tokenizer, prompts)
    placement = {} if args.device_map is None else {"device_map": args.device_map}
    with warnings.catch_warnings():
        # Which template is used was said already.
        warnings.simplefilter("ignore", ChatTemplateWarning)
        model = RealignedModel.from_pretrained(
            args.reference,
            args.aligned,
            aligned_beta=args.aligned_beta,
            merge_adapter=args.adapter_merge,
            base=args.base,
            aligned_on=args.aligned_on,
            revision=_per_model(args, "revision"),
            subfolder=_per_model(args, "subfolder"),
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


def _check_base_options(args: argparse.Namespace) -> None:
    """Refuse options about a base that is not given."""
    for name in ("base_revision", "base_subfolder"):
        if getattr(args, name) is not None and args.base is None:
            option = f"--{name.replace('_', '-')} {getattr(args, name)}"
            raise ValueError(f"{option} is about the model of --base: give --base too")


def _per_model(args: argparse.Namespace, kind: str) -> Any:
    """Return the revisions or the subfolders, as `RealignedModel.from_pretrained` takes them."""
    both, aligned, base = (getattr(args, f"{which}{kind}") for which in ("", "aligned_", "base_"))
    if aligned is None and base is None:
        return both
    if aligned is None:
        # A revision that is given for both models says nothing about a folder.
        aligned = None if kind == "revision" and Path(args.aligned).exists() else both
    values = {"reference": both, "aligned": aligned}
    return values if args.base is None else values | {"base": base}


def _prompt_tokenizer(args: argparse.Namespace) -> Any:
    """Return what reads the prompts: the tokenizer, or the tokenizer with a chat template.

    It is said which template is used where there is a choice.

    Raises:
        ValueError: if there is no tokenizer, or no template although a chat is asked for.
    """
    from dera.model.loading import tokenizers_of_pair

    sources = sources_of_pair(args)
    tokenizer, aligned = tokenizers_of_pair(
        sources["reference"], sources["aligned"], sources.get("base")
    )
    if tokenizer is None:
        raise ValueError(_no_tokenizer(sources["reference"]))
    if tokenizer.pad_token is None:
        # Padding is masked and each completion is cut at its first end of sequence, so any token
        # will do.
        tokenizer.pad_token = tokenizer.eos_token
    templates = {
        "reference": tokenizer.chat_template,
        "aligned": None if aligned is None else aligned.chat_template,
    }
    if not args.chat:
        _say_no_template(args, templates)
        return tokenizer
    chosen = _chosen_template(args, templates)
    tokenizer.chat_template = templates[chosen]
    arguments = args.template_arguments or {}
    return ChatTokenizer(tokenizer, getattr(args, chosen), args.system, **arguments)


def _say_no_template(args: argparse.Namespace, templates: dict[str, str | None]) -> None:
    """Say that the prompts of a chat model are read as they are."""
    for name, template in templates.items():
        if template:
            note(
                f"{getattr(args, name)} has a chat template, and the prompts are read without it: "
                "give --chat if they are a user's turns"
            )
            return


def _chosen_template(args: argparse.Namespace, templates: dict[str, str | None]) -> str:
    """Return which model's chat template is used, and say it where the templates differ."""
    chosen = args.chat_template
    if chosen is None:
        chosen = "aligned" if templates["aligned"] and not templates["reference"] else "reference"
    other = "aligned" if chosen == "reference" else "reference"
    if args.chat_template is None and templates[other] and templates[other] != templates[chosen]:
        note(
            f"prompts are written in the chat template of {getattr(args, chosen)}, and "
            f"{getattr(args, other)} has another: choose with --chat-template"
        )
    elif args.chat_template is None and chosen == "aligned":
        note(
            f"prompts are written in the chat template of {args.aligned}, because "
            f"{args.reference} has none"
        )
    return chosen


def _no_tokenizer(reference: Any) -> str:
    """Return that a reference has no tokenizer, and why it cannot be loaded."""
    from transformers import AutoTokenizer

    cause: Exception | None = None
    try:
        AutoTokenizer.from_pretrained(reference.place, **reference.arguments)
    except (OSError, ValueError) as error:
        cause = error
    return (
        f"no tokenizer could be loaded from {reference}. Save one beside the model. The cause was: "
        f"{cause}"
    )
