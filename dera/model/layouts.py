"""A reference that is an adapter itself: on which model the aligned adapters were trained.

An SFT adapter and a DPO adapter come in two layouts. Side by side, both were trained on the base.
Stacked, the DPO adapter was trained on the base with the SFT adapter merged into it. Each adapter
names its base in its configuration, which mostly tells the layouts apart. It does not where the SFT
adapter was merged in memory, because the merged model still goes by the name of the base.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

from peft import PeftConfig

from dera.model.sources import Source, must_exist

#: What an aligned adapter may have been trained on, where the reference is an adapter.
ON_BASE, ON_REFERENCE = "base", "reference"


def base_source(reference: Source, folder: str, base: Source | None) -> Source:
    """Return where the base of a reference that is an adapter is.

    Args:
        reference: the reference.
        folder: the folder of its adapter.
        base: the base that the user named, if any.

    Raises:
        ValueError: if no base is named, or the named one is an adapter.
        FileNotFoundError: if the adapter names a base that is not on this machine.
    """
    if base is not None:
        found = base
    else:
        config = PeftConfig.from_pretrained(folder)
        recorded = config.base_model_name_or_path
        if not recorded:
            raise ValueError(
                f"the reference {reference} is an adapter that names no base: "
                "give its base with base= (on the command line --base)"
            )
        try:
            must_exist(recorded)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"the reference {reference} is an adapter on {recorded}, which is not there: "
                "give its base with base= (on the command line --base)"
            ) from error
        on_hub = not Path(recorded).exists()
        revision = config.revision if on_hub else None
        found = Source(recorded, revision, None, reference.hub)
    if found.adapter_folder() is not None:
        raise ValueError(
            f"the reference {reference} is an adapter on {found}, which is an adapter too: merge "
            "that one with PEFT's merge_and_unload, save the merged model, and give it with base= "
            "(on the command line --base)"
        )
    return found


def layouts_of(
    reference: Source,
    reference_folder: str,
    base: Source,
    adapters: Mapping[str, Source],
    folders: Mapping[str, str],
    aligned_on: str | None,
) -> dict[str, str]:
    """Return for each aligned adapter whether it was trained on the base or on the reference.

    What was read off the adapters is said in a warning. It is not said if the user decided.

    Args:
        reference: the reference, which is an adapter.
        reference_folder: the folder of its adapter.
        base: the base of the reference.
        adapters: the aligned adapters, by name.
        folders: their folders, by name.
        aligned_on: `ON_BASE` or `ON_REFERENCE` if the user says so.

    Raises:
        ValueError: if an adapter does not tell, or if the user says it where there is no adapter.
    """
    if aligned_on is not None and not adapters:
        raise ValueError(
            f"aligned_on={aligned_on!r} is for an aligned adapter, and all aligned models are "
            "whole: leave it out"
        )
    if aligned_on is not None:
        return dict.fromkeys(adapters, aligned_on)
    base_name = PeftConfig.from_pretrained(reference_folder).base_model_name_or_path
    bases = [name for name in (base.place, base_name) if name]
    layouts = {}
    for name, adapter in adapters.items():
        recorded = PeftConfig.from_pretrained(folders[name]).base_model_name_or_path
        layout = _layout(recorded, bases, reference)
        if layout is None:
            raise ValueError(_cannot_tell(adapter, recorded, reference, base))
        layouts[name] = layout
        warnings.warn(_what_was_chosen(layout, adapter, reference, base), stacklevel=4)
    return layouts


def check_aligned_on(aligned_on: str | None) -> None:
    """Refuse anything but the two layouts.

    Raises:
        ValueError: naming the value.
    """
    if aligned_on not in (None, ON_BASE, ON_REFERENCE):
        raise ValueError(
            f"aligned_on must be {ON_BASE!r} or {ON_REFERENCE!r}, got {aligned_on!r}: it says what "
            "the aligned adapter was trained on"
        )


def _layout(recorded: str | None, bases: list[str], reference: Source) -> str | None:
    """Return which model an adapter names; None if that cannot be told.

    Folders move, so the last part of the name decides where no whole name is the same.
    """
    if not recorded:
        return None
    for is_same in (_is_same_place, _has_same_name):
        on_base = any(is_same(recorded, name) for name in bases)
        on_reference = is_same(recorded, reference.place)
        if on_base != on_reference:
            return ON_BASE if on_base else ON_REFERENCE
    return None


def _is_same_place(first: str, second: str) -> bool:
    return first == second or Path(first).resolve() == Path(second).resolve()


def _has_same_name(first: str, second: str) -> bool:
    return Path(first).name == Path(second).name


def _what_was_chosen(layout: str, adapter: Source, reference: Source, base: Source) -> str:
    if layout == ON_BASE:
        return (
            f"the adapter {adapter} names the base of the reference {reference} as its own, so "
            f"both adapters are put on {base}, side by side. If {adapter} was trained on the "
            "reference's adapter merged into its base, say aligned_on='reference' (on the command "
            "line --aligned-on reference); if not, aligned_on='base'"
        )
    return (
        f"the adapter {adapter} names the reference {reference} as its base, so it is put on "
        f"{base} with the reference's adapter merged into it. If it was trained on {base} alone, "
        "say aligned_on='base' (on the command line --aligned-on base); if not, "
        "aligned_on='reference'"
    )


def _cannot_tell(adapter: Source, recorded: str | None, reference: Source, base: Source) -> str:
    named = f"names {recorded} as its base" if recorded else "names no base"
    return (
        f"the adapter {adapter} {named}, which is not clearly the reference {reference} or its "
        f"base {base}. Say aligned_on='base' if it was trained on {base}, or "
        f"aligned_on='reference' if it was trained on {reference} merged into it (on the command "
        "line --aligned-on)"
    )
