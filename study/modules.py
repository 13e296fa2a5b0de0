"""This project's modules as files: which there are, and what they declare, without importing them (importing trl takes seconds)."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def file_of(module: str) -> Path:
    """The file of a module of this project, whether or not it exists."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def names(package: str) -> list[str]:
    """Names of the modules directly in a package, subpackages left out."""
    folder = ROOT.joinpath(*package.split("."))
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


def constant(module: str, name: str) -> str:
    """The value of a string constant that a module declares at its top.

    Raises:
        ValueError: if the module declares no such constant.
    """
    for node in ast.parse(file_of(module).read_text()).body:
        targets = node.targets if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) else []
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return str(node.value.value)
    raise ValueError(f"{file_of(module).relative_to(ROOT)} must declare {name} at its top")
