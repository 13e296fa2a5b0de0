"""What made a result: versions, and a digest of the source code it depends on.

The digest is what makes the workflow run a job again when its code has changed. It is taken from the syntax tree without
docstrings, of the job's module and of every module of this project it imports, so a comment, a docstring or a blank line
changes nothing and an edited helper does.
"""

from __future__ import annotations

import ast
import hashlib
import platform
from importlib import metadata

from study.modules import file_of

# `study` is left out: it runs and records jobs and shapes no number, and every job imports it.
PACKAGES = ("bench", "dera", "eval", "figures", "tasks", "training")
LIBRARIES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "datasets",
    "evaluate",
    "scipy",
    "matplotlib",
    "snakemake",
)


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that shape results."""
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in LIBRARIES},
    }


def source_digest(*modules: str) -> str:
    """Digest of the named modules (`training.sft`) and of all modules of this project they import.

    Raises:
        FileNotFoundError: if a module does not exist.
    """
    seen: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        tree = _without_docstrings(ast.parse(file_of(module).read_text()))
        seen[module] = ast.dump(tree)
        waiting += [name for name in _imports(tree) if name.split(".")[0] in PACKAGES]
    text = "\n".join(f"{name} {seen[name]}" for name in sorted(seen))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _imports(tree: ast.AST) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from dera import x` depends on the module x where there is one, and on the package otherwise
            members = [f"{node.module}.{alias.name}" for alias in node.names]
            names += [member if file_of(member).is_file() else node.module for member in members]
    return [name for name in names if file_of(name).is_file()]


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                node.body = body[1:]  # type: ignore[attr-defined]
    return tree
