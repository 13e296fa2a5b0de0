"""The modules that a config names: this project's own, files of a user's own, and entry points.

What a module declares is read from its syntax tree, without importing it: importing trl takes
seconds.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

#: The entry points that are looked for where a name is no module of the package.
GROUPS = {"training.objectives": "dera.objectives", "tasks": "dera.tasks"}


class ModuleError(ValueError):
    """A module that is missing or lacks a declaration; the message says which."""


def file_of(module: str) -> Path:
    """The file of a module of this project (`training.sft`), whether or not it exists.

    The path of a file is returned as it is.
    """
    if module.endswith(".py"):
        return Path(module)
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def names(package: str) -> list[str]:
    """Names of the modules directly in a package, without its subpackages."""
    folder = ROOT.joinpath(*package.split("."))
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


def find(package: str, name: str) -> str:
    """The module that a name in a config means.

    It is a module of the package, a file by its path (relative to the working directory), or an
    entry point.

    Returns:
        A dotted name of this project, or a path, as `file_of` and `load` take them.

    Raises:
        ModuleError: if there is none, or there are two of this name.
    """
    if name.startswith("-"):
        raise ModuleError(f"begins with '-', as options do; write ./{name}")
    if name.endswith(".py"):
        if not os.path.isfile(name):  # unlike Path.is_file, it is False for any name
            raise ModuleError(f"there is no file {Path(name).absolute()}")
        return name

    # Two modules of one name would leave open which of them is meant.
    own_names = names(package)
    group = GROUPS[package]
    points = list(metadata.entry_points(group=group, name=name))
    candidates = [f"{package}.{name}"] if name in own_names else []
    candidates += [f"{point.dist.name}: {point.value}" for point in points if point.dist]
    if len(candidates) > 1:
        raise ModuleError(
            f"there are {len(candidates)} modules of this name ({', '.join(candidates)}): "
            "name one by the path of its file"
        )
    if name in own_names:
        return f"{package}.{name}"
    if points:
        return _file_of_entry_point(points[0])
    allowed = sorted({*own_names, *metadata.entry_points(group=group).names})
    raise ModuleError(
        f"there is no such module; allowed: {', '.join(allowed)}, "
        "or the path of a file that ends in .py"
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
    except (Exception, SystemExit) as error:
        message = f"{path} cannot be imported: {type(error).__name__}: {error}"
        raise ModuleError(message) from error
    return loaded


def literal(module: str, name: str) -> Any:
    """The value that a module gives to a constant at its top, which must be written as a literal.

    Raises:
        ModuleError: if the module does not parse, declares no such constant, or computes its value.
    """
    value = _assigned(module, name)
    if value is None:
        raise ModuleError(f"{file_of(module)} must declare {name} at its top")
    try:
        return ast.literal_eval(value)
    except ValueError as error:
        message = f"{file_of(module)} must give {name} as a literal, not as something to compute"
        raise ModuleError(message) from error


def constant(module: str, name: str, allowed: tuple[str, ...]) -> str:
    """The value of a string constant that a module declares at its top.

    Raises:
        ModuleError: if it does not parse, or declares no such constant, or another value than
        those allowed.
    """
    assigned = _assigned(module, name)
    if not isinstance(assigned, ast.Constant):
        values = " or ".join(map(repr, allowed))
        raise ModuleError(f"{file_of(module)} must declare {name} at its top, as {values}")
    value = str(assigned.value)
    if value not in allowed:
        values = ", ".join(map(repr, allowed))
        raise ModuleError(f"{file_of(module)} declares {name} = {value!r}; allowed: {values}")
    return value


def require_function(module: str, name: str) -> None:
    """Check that a module defines a function at its top.

    Raises:
        ModuleError: if it does not parse, or defines none of that name.
    """
    functions = [node for node in _parsed(module).body if isinstance(node, ast.FunctionDef)]
    if name not in [function.name for function in functions]:
        raise ModuleError(f"{file_of(module)} must define a function {name} at its top")


def require_class(module: str, method: str) -> None:
    """Check that a module defines a class with this method.

    Raises:
        ModuleError: if it does not parse, or defines none.
    """
    for node in _parsed(module).body:
        if isinstance(node, ast.ClassDef):
            functions = [item for item in node.body if isinstance(item, ast.FunctionDef)]
            if method in [function.name for function in functions]:
                return
    raise ModuleError(f"{file_of(module)} must define a class with a method {method}")


def _file_of_entry_point(point: metadata.EntryPoint) -> str:
    spec = importlib.util.find_spec(point.module)
    if spec is None or not spec.origin:
        raise ModuleError(
            f"the entry point {point.value!r} names no module that can be found; install its "
            "package again, or name the path of a file that ends in .py"
        )
    return spec.origin


def _assigned(module: str, name: str) -> ast.expr | None:
    """What a module assigns to a name at its top, None if it does not."""
    for node in _parsed(module).body:
        if isinstance(node, ast.Assign):
            targets = [target.id for target in node.targets if isinstance(target, ast.Name)]
            if name in targets:
                return node.value
    return None


def _parsed(module: str) -> ast.Module:
    """The syntax tree of a module. It is read as bytes, since it may declare its encoding."""
    file = file_of(module)
    try:
        return ast.parse(file.read_bytes())
    except SyntaxError as error:
        place = f", line {error.lineno}" if error.lineno else ""
        raise ModuleError(f"{file}{place}: {error.msg}") from error
    except OSError as error:
        raise ModuleError(f"{file} cannot be read: {error.strerror}") from error
    except (RecursionError, MemoryError) as error:
        raise ModuleError(f"{file} is nested too deeply to be read") from error
