"""What made a result: the versions of libraries, and a digest of the source code it depends on.

Because of the digest the workflow runs a job again when its code has changed. It is taken from the
syntax trees of the job's module and of every module of this project that it imports, directly or
through others. So an edited helper changes the digest. An edited comment, docstring or blank line
does not. A package brings the text files of its folder with it, because its code reads them.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import platform
from importlib import metadata
from pathlib import Path

from study.modules import file_of

# `study` is left out: it runs and records jobs and shapes no number, and every job imports it.
PACKAGES = ("bench", "dera", "eval", "figures", "report", "tasks", "training")
#: Endings of the texts beside a package's `__init__.py` that its code reads.
TEXTS = (".css", ".html", ".js", ".txt")
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
    """Versions of Python and of the libraries that shape results, or "not installed".

    A job that is run by hand on another machine needs neither snakemake nor evaluate.
    """
    result = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            result[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            result[name] = "not installed"
    return result


def source_digest(*modules: str) -> str:
    """A digest of the named modules (`training.sft`) and of this project's modules they import.

    Raises:
        FileNotFoundError: if a module does not exist.
    """
    trees: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in trees:
            continue
        tree, imports = _parsed(file_of(module).read_bytes())
        trees[module] = tree + _texts(file_of(module))
        waiting += [name for name in _modules_of(imports) if name.split(".")[0] in PACKAGES]
    text = "\n".join(f"{name} {trees[name]}" for name in sorted(trees))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _texts(file: Path) -> str:
    """The text files beside the `__init__.py` of a package; nothing for other modules."""
    if file.name != "__init__.py":
        return ""
    texts = sorted(path for path in file.parent.iterdir() if path.suffix in TEXTS)
    return "".join(f"\n{text.name}\n{text.read_text(encoding='utf-8')}" for text in texts)


@functools.cache
def _parsed(source: bytes) -> tuple[str, tuple[tuple[str, str], ...]]:
    """A module's syntax tree without docstrings, as text, and its imports.

    A hundred jobs import the same few modules, and parsing one takes a hundredth of a second.

    Returns:
        The tree, and each import as the imported module and the name that may be a module in it;
        for `import x`, both are x.
    """
    tree = ast.parse(source)
    _remove_docstrings(tree)
    imports = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [(alias.name, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            imports += [(node.module, f"{node.module}.{alias.name}") for alias in node.names]
    return ast.dump(tree), tuple(imports)


def _modules_of(imports: tuple[tuple[str, str], ...]) -> list[str]:
    """The modules of this project among the imports."""
    modules = []
    for package, member in imports:
        # `from dera import x` depends on the module x if there is one, else on the package.
        name = member if file_of(member).is_file() else package
        if file_of(name).is_file():
            modules.append(name)
    return modules


def _remove_docstrings(tree: ast.Module) -> None:
    """Take the docstrings out of a syntax tree."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list) or not body or not isinstance(body[0], ast.Expr):
            continue
        value = body[0].value
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            node.body = body[1:]  # type: ignore[attr-defined]
