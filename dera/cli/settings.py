"""Everything that the results of a command depend on, which is kept beside them."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dera.cli.metrics import metric_identity
from dera.cli.models import device_of, model_settings

#: Arguments that change no result, or that another entry stands for. Every other argument decides
#: what the results are. The batch size is one of these, because a batch has random draws of its
#: own.
_OTHERS = (
    "run",
    "output",
    "plot",
    "quiet",
    "debug",
    "prompts_file",
    "prompt_field",
    "device_map",
    "betas",
)


def settings_of(
    args: argparse.Namespace, prompts: Sequence[str], lams: Sequence[float] | None
) -> dict[str, Any]:
    """Return everything that the results depend on, in values that JSON has."""
    import torch
    import transformers

    import dera

    arguments = {name: value for name, value in vars(args).items() if name not in _OTHERS}
    metric = getattr(args, "metric", None)
    checksum = hashlib.sha256(json.dumps(prompts).encode()).hexdigest()[:16]
    settings = {
        **arguments,
        **model_settings(args),
        "lams": lams,
        "prompts": f"{len(prompts)} prompts {checksum}",
        "metric": metric_identity(metric) if metric else None,
        "device": device_of(args),
        "versions": {
            "dera": dera.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    # Tuples become lists, as in what is read from a file.
    return json.loads(json.dumps(settings, default=str))


def check_settings(
    settings: dict[str, Any], file: Path, begun: Path, free: Sequence[str] = ()
) -> None:
    """Refuse to go on with a file that was made with other settings.

    Args:
        settings: those of this command.
        file: the file with the settings that `begun` was made with.
        begun: the file to go on with.
        free: settings that `begun` does not depend on.

    Raises:
        ValueError: naming each setting that has changed.
    """
    remedy = f"delete {begun} to start over, or name another file with --output"
    before = read_settings(file)
    if before is None:
        raise ValueError(f"{begun} exists, but its settings cannot be read from {file}: {remedy}")
    changes = changes_of(before, settings, free)
    if changes:
        raise ValueError(
            f"{begun} was made with other settings: {'; '.join(changes)}. Use those again, {remedy}"
        )


def check_settings_file(file: Path) -> None:
    """Refuse to replace a file that is not one with settings.

    Raises:
        ValueError: naming it.
    """
    if file.exists() and read_settings(file) is None:
        raise ValueError(
            f"the settings are to be kept in {file}, which holds something else: move it away, or "
            "name another file with --output"
        )


def read_settings(file: Path) -> dict[str, Any] | None:
    """Return the settings in a file; None if it has none."""
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(settings, dict) or "versions" not in settings:
        return None
    return {"command": "sweep", **settings}  # once only sweeps had settings


def changes_of(
    before: dict[str, Any], after: dict[str, Any], free: Sequence[str] = ()
) -> list[str]:
    """Return a sentence for each setting that differs, the free ones left out."""
    return [
        f"{name} was {before.get(name)} and is now {after.get(name)}"
        for name in sorted({*before, *after} - {*free})
        if before.get(name) != after.get(name)
    ]
