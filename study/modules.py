"""Modules that a config names: this project's, files of a user's own, entry points. What they declare is read without importing them (importing trl takes seconds)."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

#: Entry points that are looked for where a name is no module of the package.
GROUPS = {"training.objectives": "dera.objectives", "tasks": "dera.tasks"}


class ModuleError(ValueError):
    """A module that is not there or lacks what it must declare; the message names the file and what is missing."""


def file_of(module: str) -> Path:
    """The file of a module of this project (`training.sft`), whether or not it exists; a path to a file is itself."""
    if module.endswith(".py"):
        return Path(module)
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def names(package: str) -> list[str]:
    """Names of the modules directly in a package, subpackages left out."""
    folder = ROOT.joinpath(*package.split("."))
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


def find(package: str, name: str) -> str:
    """The module a config means: one of the package, a file by its path (relative to the working directory), or an entry point.

    Returns:
        A dotted name of this project or a path, as `file_of` and `load` take them.

    Raises:
        ModuleError: if there is none, or two of one name.
    """
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise ModuleError(f"there is no file {Path(name).absolute()}")
        return name
    own, group = names(package), GROUPS[package]
    points = list(metadata.entry_points(group=group, name=name))
    found = [f"{package}.{name}"] * (name in own) + [
        f"{point.dist.name}: {point.value}" for point in points if point.dist
    ]
    if len(found) > 1:
        raise ModuleError(
            f"there are {len(found)} modules of this name ({', '.join(found)}): name one by the path of its file"
        )
    if name in own:
        return f"{package}.{name}"
    if points:
        spec = importlib.util.find_spec(points[0].module)
        if spec is None or not spec.origin:
            raise ModuleError(
                f"the entry point {points[0].value!r} names no module that can be found"
            )
        return spec.origin
    allowed = sorted({*own, *metadata.entry_points(group=group).names})
    raise ModuleError(
        f"there is no such module; allowed: {', '.join(allowed)}, or the path of a file that ends in .py"
    )


def load(module: str) -> ModuleType:
    """Import what `find` returned.

    Raises:
        ModuleError: if it cannot be imported; the message names the file and the error.
    """
    if not module.endswith(".py"):
        return importlib.import_module(module)
    path = Path(module)
    name = f"{path.stem}_{abs(hash(path.resolve()))}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded  # dataclasses look their module up there
    try:
        spec.loader.exec_module(loaded)
    except Exception as error:
        raise ModuleError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return loaded


def literal(module: str, name: str) -> Any:
    """The value that a module gives to a constant at its top, which must be written as a literal.

    Raises:
        ModuleError: if the module does not parse, declares no such constant, or computes its value.
    """
    for node in _parsed(module).body:
        if not isinstance(node, ast.Assign):
            continue
        if any(isinstance(target, ast.Name) and target.id == name for target in node.targets):
            try:
                return ast.literal_eval(node.value)
            except ValueError as error:
                raise ModuleError(
                    f"{file_of(module)} must give {name} as a literal, not as something to compute"
                ) from error
    raise ModuleError(f"{file_of(module)} must declare {name} at its top")


def constant(module: str, name: str, allowed: tuple[str, ...]) -> str:
    """The value of a string constant that a module declares at its top.

    Raises:
        ModuleError: if it does not parse, or declares no such constant, or another value than those allowed.
    """
    for node in _parsed(module).body:
        targets = (
            node.targets
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            else []
        )
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = str(node.value.value)  # type: ignore[union-attr]
            if value in allowed:
                return value
            raise ModuleError(
                f"{file_of(module)} declares {name} = {value!r}; allowed: {', '.join(map(repr, allowed))}"
            )
    raise ModuleError(
        f"{file_of(module)} must declare {name} at its top, as {' or '.join(map(repr, allowed))}"
    )


def require_function(module: str, name: str) -> None:
    """Check that a module defines a function at its top.

    Raises:
        ModuleError: if it does not parse, or defines none of that name.
    """
    if not any(
        isinstance(node, ast.FunctionDef) and node.name == name for node in _parsed(module).body
    ):
        raise ModuleError(f"{file_of(module)} must define a function {name} at its top")


def require_class(module: str, method: str) -> None:
    """Check that a module defines a class with this method.

    Raises:
        ModuleError: if it does not parse, or defines none.
    """
    classes = [node for node in _parsed(module).body if isinstance(node, ast.ClassDef)]
    if not any(
        isinstance(node, ast.FunctionDef) and node.name == method
        for found in classes
        for node in found.body
    ):
        raise ModuleError(f"{file_of(module)} must define a class with a method {method}")


def _parsed(module: str) -> ast.Module:
    try:
        return ast.parse(file_of(module).read_text())
    except SyntaxError as error:
        raise ModuleError(f"{file_of(module)}, line {error.lineno}: {error.msg}") from error
