"""A user's metric: `function(prompts, completions) -> numbers`, found in a file or a module."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

Metric = Callable[[list[str], list[str]], list[float]]


def load_metric(spec: str) -> Metric:
    """The metric named `file.py:function` or `package.module:function`, made to say clearly when what it returns is wrong.

    Raises:
        ValueError: if the file, the module or the function does not exist, or loading it fails.
    """
    where, _, name = spec.rpartition(":")
    if not where or not name:
        raise ValueError(f"--metric {spec!r} must be file.py:function or package.module:function")
    module = _module(where, spec)
    function = getattr(module, name, None)
    if not callable(function):
        own = [
            n
            for n, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__
        ]
        raise ValueError(
            f"--metric {spec}: there is no function {name!r} in {where}, which has {own}"
        )
    return _checked(function, spec)


def metric_identity(spec: str) -> str:
    """What tells a metric from others: its name, and a checksum where it is a file."""
    path = Path(spec.rpartition(":")[0])
    return (
        f"{spec} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
        if path.suffix == ".py"
        else spec
    )


def _module(where: str, spec: str) -> ModuleType:
    is_file = where.endswith(".py")
    if is_file and not Path(where).is_file():
        raise ValueError(f"--metric {spec}: there is no file {where}")
    try:
        if not is_file:
            if "" not in sys.path:
                sys.path.insert(0, "")  # the current folder, as `python -m` has it
            return importlib.import_module(where)
        found: Any = importlib.util.spec_from_file_location(
            f"dera_metric_{Path(where).stem}", where
        )
        module = importlib.util.module_from_spec(found)
        sys.modules[found.name] = module  # dataclasses look themselves up there
        sys.path.insert(
            0, str(Path(where).resolve().parent)
        )  # what it imports may lie beside it, as for a script
        found.loader.exec_module(module)
    except Exception as error:  # whatever the user's code raises
        raise ValueError(
            f"--metric {spec} could not be loaded: {type(error).__name__}: {error}"
        ) from error
    return module


def _checked(function: Callable[..., Any], spec: str) -> Metric:
    def judge(prompts: list[str], completions: list[str]) -> list[float]:
        try:
            values = np.asarray(list(function(list(prompts), list(completions))), dtype=float)
        except Exception as error:  # whatever the user's code raises
            raise ValueError(
                f"the metric {spec} failed: {type(error).__name__}: {error}"
            ) from error
        if values.shape != (len(completions),):
            raise ValueError(
                f"the metric {spec} must return one number for each of the {len(completions)} completions, not an array of shape {values.shape}"
            )
        if not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).argmax())
            raise ValueError(
                f"the metric {spec} is {values[bad]} for the completion {completions[bad]!r}: it must be finite"
            )
        return values.tolist()

    return judge
