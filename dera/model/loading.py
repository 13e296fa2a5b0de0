"""Loading a reference and aligned models that belong together."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

from transformers import PreTrainedModel

from dera.model.adapters import warn_of_another_base, with_named_adapters
from dera.model.assembly import named
from dera.model.checkpoints import check_is_language_model, load_whole, tokenizer_of
from dera.model.layouts import (
    ON_BASE,
    ON_REFERENCE,
    base_source,
    check_aligned_on,
    layouts_of,
)
from dera.model.proof.kinds import check_kind_on_disk
from dera.model.proof.witness import Witness, merged_by_itself
from dera.model.sources import HUB_ARGUMENTS, PerModel, Source, sources_of
from dera.model.vocabulary import check_same_tokenizer


class ChatTemplateWarning(UserWarning):
    """The models of a pair have different chat templates."""


@dataclass(frozen=True)
class Loaded:
    """What `RealignedModel` takes.

    Attributes:
        reference: the reference; the name of its adapter where it is one of the adapters of
            `aligned`; None when it is the base of adapters.
        aligned: a PEFT model with all adapters, or whole models by name.
        adapters: PEFT's name of each aligned adapter, by the aligned model's name; None for whole
            models.
        tokenizer: the reference's tokenizer; None if it has none.
    """

    reference: PreTrainedModel | str | None
    aligned: Any
    adapters: dict[str, str] | None
    tokenizer: Any


@dataclass(frozen=True)
class Pair:
    """Checkpoints that have been checked, and whose weights are still to be loaded.

    Attributes:
        reference: the reference.
        base: the base of a reference that is an adapter; the reference itself where it is whole.
        aligned: the aligned models, by name.
        folders: the folders of those that are adapters, by name; the reference is "reference".
        layouts: for each aligned adapter whether it was trained on the base or on the reference,
            as `layouts_of` returns it.
    """

    reference: Source
    base: Source
    aligned: dict[str, Source]
    folders: dict[str, str]
    layouts: dict[str, str]

    @property
    def reference_folder(self) -> str | None:
        """The folder of the reference's adapter; None for a whole model."""
        return None if self.base is self.reference else self.folders["reference"]

    @property
    def all_adapters_on(self) -> str | None:
        """What all aligned models are adapters on; None if one is whole or if they differ."""
        layouts = [self.layouts.get(name) for name in self.aligned]
        return layouts[0] if len(set(layouts)) == 1 else None


def load_parts(
    reference: Any,
    aligned: Any,
    merge_adapter: bool = False,
    base: Any = None,
    aligned_on: str | None = None,
    revision: PerModel = None,
    subfolder: PerModel = None,
    check: bool = True,
    **kwargs: Any,
) -> Loaded:
    """Load a reference and aligned models.

    The arguments and the errors are those of `RealignedModel.from_pretrained`.
    """
    if kwargs.pop("trust_remote_code", False):
        raise ValueError(
            "trust_remote_code is not supported: models run from transformers' own code only, "
            "so leave it out"
        )
    # Everything is checked before weights are loaded, which may take long.
    check_aligned_on(aligned_on)
    hub = {name: kwargs[name] for name in HUB_ARGUMENTS if name in kwargs}
    paths = _paths(reference, aligned, base)
    sources = sources_of(paths, revision, subfolder, hub)
    pair = _checked(sources, aligned_on)
    tokenizer = _checked_tokenizer(pair)
    share_base = not merge_adapter and pair.all_adapters_on is not None
    if check:
        for folder in pair.folders.values():
            check_kind_on_disk(folder, keeps_base=share_base)

    # Where all parts are one base with and without adapters, they share it in memory.
    if share_base:
        return _load_on_one_base(pair, tokenizer, kwargs, check)
    return _load_apart(pair, tokenizer, kwargs, check)


def tokenizers_of_pair(reference: Source, aligned: Source, base: Source | None) -> tuple[Any, Any]:
    """Return the tokenizers of the reference and of the aligned model; None where there is none.

    Args:
        reference: the reference.
        aligned: the aligned model.
        base: the base of a reference that is an adapter, if it is given.
    """
    folder = reference.adapter_folder()
    tokenizer = tokenizer_of(reference)
    if tokenizer is None and folder is not None:
        tokenizer = tokenizer_of(base_source(reference, folder, base))
    return tokenizer, tokenizer_of(aligned)


def _load_on_one_base(pair: Pair, tokenizer: Any, kwargs: dict[str, Any], check: bool) -> Loaded:
    """Load a base once, and put all adapters on it."""
    folders = {name: pair.folders[name] for name in pair.aligned}
    if pair.reference_folder is None or pair.all_adapters_on == ON_REFERENCE:
        # With the adapters off, the base is the reference.
        base = _reference_as_base(pair, kwargs, check)
        model, names = _put_on(base, pair.reference, folders, check)
        return Loaded(None, model, names, tokenizer)

    # The reference is one more adapter.
    base = load_whole(pair.base, kwargs)
    folders = {"reference": pair.reference_folder, **folders}
    model, names = _put_on(base, pair.base, folders, check)
    return Loaded(names.pop("reference"), model, names, tokenizer)


def _put_on(
    base: PreTrainedModel, source: Source, folders: dict[str, str], check: bool
) -> tuple[Any, dict[str, str]]:
    """Put adapters on a base, and see to it that the base with all of them off is what it was.

    Returns:
        The PEFT model, and PEFT's name of each adapter by its own name.
    """
    witness = Witness(base) if check else None
    model, names = with_named_adapters(base, str(source), folders, keeps_base=True)
    if witness is not None:
        own_folders = {names[name]: folder for name, folder in folders.items()}
        witness.check_base_is_kept(model, str(source), own_folders)
    return model, names


def _load_apart(pair: Pair, tokenizer: Any, kwargs: dict[str, Any], check: bool) -> Loaded:
    """Load every model whole. Each adapter is merged into a base of its own."""
    modules = {}
    for name, source in pair.aligned.items():
        if name not in pair.layouts:
            modules[name] = load_whole(source, kwargs)
        elif pair.layouts[name] == ON_BASE:
            base = load_whole(pair.base, kwargs)
            modules[name] = _merged(base, pair.base, pair.folders[name], check)
        else:
            base = _reference_as_base(pair, kwargs, check)
            modules[name] = _merged(base, pair.reference, pair.folders[name], check)
    return Loaded(_reference_as_base(pair, kwargs, check), modules, None, tokenizer)


def _reference_as_base(pair: Pair, kwargs: dict[str, Any], check: bool) -> PreTrainedModel:
    """Load the reference whole. If it is an adapter, it is merged into its base."""
    base = load_whole(pair.base, kwargs)
    if pair.reference_folder is None:
        return base
    return _merged(base, pair.base, pair.reference_folder, check)


def _merged(base: PreTrainedModel, source: Source, folder: str, check: bool) -> Any:
    """Return a base with the adapter in a folder merged into it."""
    model, _ = with_named_adapters(base, str(source), {"merged": folder}, keeps_base=False)
    return merged_by_itself(model, folder, check)


def _paths(reference: Any, aligned: Any, base: Any) -> dict[str, str]:
    """Return the paths of the reference, of the aligned models and of the base, by name."""
    given = named(aligned)
    taken = [name for name in ("reference", "base") if name in given]
    if taken:
        raise ValueError(
            f"an aligned model cannot be called {taken[0]!r}, because that is another model's name "
            "here: call it otherwise"
        )
    paths = {"reference": reference, **given}
    if base is not None:
        paths["base"] = base
    for name, path in paths.items():
        if not isinstance(path, (str, PathLike)):
            raise TypeError(
                f"from_pretrained takes folders and Hub ids, got a {type(path).__name__} as "
                f"{name!r}: give models that are loaded already to RealignedModel(reference, "
                "aligned)"
            )
    return {name: str(path) for name, path in paths.items()}


def _checked(sources: dict[str, Source], aligned_on: str | None) -> Pair:
    """Find out which models are adapters and on which base they go, and check what is on disk."""
    reference, given_base = sources["reference"], sources.get("base")
    aligned = {name: sources[name] for name in sources if name not in ("reference", "base")}
    folders = _adapter_folders({"reference": reference, **aligned})
    adapters = {name: aligned[name] for name in aligned if name in folders}

    # Find the base, and what each adapter was trained on.
    if "reference" in folders:
        base = base_source(reference, folders["reference"], given_base)
        layouts = layouts_of(reference, folders["reference"], base, adapters, folders, aligned_on)
    else:
        _check_needs_no_base(reference, given_base, aligned_on)
        base = reference
        layouts = dict.fromkeys(adapters, ON_REFERENCE)

    # Check the whole models and the adapters.
    whole = [source for name, source in aligned.items() if name not in folders]
    for source in (base, *whole):
        check_is_language_model(source)
    if "reference" in folders:
        warn_of_another_base(folders["reference"], base.place)
    else:
        for name in adapters:
            warn_of_another_base(folders[name], reference.place)
    return Pair(reference, base, aligned, folders, layouts)


def _adapter_folders(sources: Mapping[str, Source]) -> dict[str, str]:
    """Return the folders of those models that are adapters, by name."""
    found = {name: source.adapter_folder() for name, source in sources.items()}
    return {name: folder for name, folder in found.items() if folder is not None}


def _check_needs_no_base(reference: Source, base: Source | None, aligned_on: str | None) -> None:
    """Refuse arguments that would do nothing, because the reference is no adapter."""
    for argument, value in (("base", base), ("aligned_on", aligned_on)):
        if value is not None:
            raise ValueError(
                f"{argument}={str(value)!r} is for a reference that is an adapter, and "
                f"{reference} is a whole model: leave it out"
            )


def _checked_tokenizer(pair: Pair) -> Any:
    """Return the reference's tokenizer, after it was compared with those of the aligned models.

    A reference that is an adapter may come without a tokenizer: its base's is taken then.
    """
    tokenizer = tokenizer_of(pair.reference)
    if tokenizer is None and pair.reference_folder is not None:
        tokenizer = tokenizer_of(pair.base)
    for name, source in pair.aligned.items():
        own = tokenizer_of(source)
        # An adapter may come without a tokenizer.
        if own is None and name in pair.folders:
            continue
        for owner, saved in ((pair.reference, tokenizer), (source, own)):
            if saved is None:
                raise ValueError(
                    f"{owner} has no tokenizer to compare: save the tokenizer beside the model"
                )
        check_same_tokenizer(tokenizer, own, (str(pair.reference), str(source)))
        _check_same_template(tokenizer, own, pair.reference, source)
    return tokenizer


def _check_same_template(first: Any, second: Any, reference: Source, aligned: Source) -> None:
    """Warn of two chat templates: the prompts are written in the one that the user chooses."""
    if first.chat_template != second.chat_template:
        warnings.warn(
            f"{reference} and {aligned} have different chat templates. Prompts are written in the "
            "template of the tokenizer that you use: take that of the model whose way of "
            "chatting both should follow, mostly the aligned model's",
            ChatTemplateWarning,
            stacklevel=5,
        )
