"""A user's metric, `function(prompts, completions) -> numbers`, found in a file or a module."""

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
    """Return the metric named `file.py:function` or `package.module:function`.

    The metric raises a ValueError that says what is wrong if its function fails or returns anything
    but a finite number for each completion.

    Raises:
        ValueError: if the file, the module or the function does not exist, or loading it fails.
    """
    source, _, name = spec.rpartition(":")
    if not source or not name:
        raise ValueError(f"--metric {spec!r} must be file.py:function or package.module:function")
    module = _module(source, spec)
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(
            f"--metric {spec}: there is no function {name!r} in {source}, "
            f"which has {_own_functions(module)}"
        )
    return _checked(function, spec)


def metric_identity(spec: str) -> str:
    """Return what tells a metric from others: its name, and the checksum of its file if any."""
    path = Path(spec.rpartition(":")[0])
    if path.suffix != ".py":
        return spec
    return f"{spec} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"


def _module(source: str, spec: str) -> ModuleType:
    is_file = source.endswith(".py")
    if is_file and not Path(source).is_file():
        raise ValueError(f"--metric {spec}: there is no file {source}")
    # The user's code runs here and may raise anything.
    try:
        return _from_file(Path(source)) if is_file else _from_path(source)
    except Exception as error:
        raise ValueError(
            f"--metric {spec} could not be loaded: {type(error).__name__}: {error}"
        ) from error


def _from_path(name: str) -> ModuleType:
    """Import a module by its name. As with `python -m`, it may be in the current folder."""
    if "" not in sys.path:
        sys.path.insert(0, "")
    return importlib.import_module(name)


def _from_file(path: Path) -> ModuleType:
    """Run a file as a module. As with a script, what it imports may lie beside it."""
    module_spec: Any = importlib.util.spec_from_file_location(f"dera_metric_{path.stem}", path)
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module  # dataclasses look up their own module there
    sys.path.insert(0, str(path.resolve().parent))
    module_spec.loader.exec_module(module)
    return module


def _own_functions(module: ModuleType) -> list[str]:
    """Return the names of the functions that a module defines and does not import."""
    return [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
    ]


def _checked(function: Callable[..., Any], spec: str) -> Metric:
    """Return the function as a metric that refuses anything but a finite number a completion."""

    def judge(prompts: list[str], completions: list[str]) -> list[float]:
        # The user's code runs here and may raise anything.
        try:
            values = np.asarray(list(function(list(prompts), list(completions))), dtype=float)
        except Exception as error:
            raise ValueError(
                f"the metric {spec} failed: {type(error).__name__}: {error}"
            ) from error
        if values.shape != (len(completions),):
            raise ValueError(
                f"the metric {spec} must return one number for each of the {len(completions)} "
                f"completions, not an array of shape {values.shape}"
            )
        if not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).argmax())
            raise ValueError(
                f"the metric {spec} is {values[bad]} for the completion {completions[bad]!r}: "
                "it must be finite for every completion"
            )
        return values.tolist()

    return judge
