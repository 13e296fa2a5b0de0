"""Modules that a config names are found; a message about one names its file.

They are modules of this project, files, and entry points.
"""

from __future__ import annotations

import importlib
import textwrap
from pathlib import Path

import pytest

from study import modules
from study.modules import ModuleError

GOOD = 'DATA = "prompts"\nOPTIMUM = "known"\n\n\ndef make_trainer(inputs): ...\n'


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Makes distributions that offer an objective each: (distribution, name, module)."""

    def install(*offers: tuple[str, str, str]) -> None:
        for distribution, name, module in offers:
            folder = tmp_path / f"{distribution}-1.0.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
            )
            (folder / "entry_points.txt").write_text(f"[dera.objectives]\n{name} = {module}\n")
            (tmp_path / f"{module}.py").write_text(GOOD)
        monkeypatch.syspath_prepend(str(tmp_path))
        importlib.invalidate_caches()

    return install


def test_a_name_is_a_module_of_the_package_and_a_path_a_file(tmp_path, monkeypatch):
    assert modules.find("training.objectives", "rloo") == "training.objectives.rloo"
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(GOOD)
    assert modules.find("training.objectives", "mine.py") == "mine.py"
    with pytest.raises(ModuleError, match=rf"there is no file {tmp_path}/other\.py"):
        modules.find("training.objectives", "other.py")
    with pytest.raises(
        ModuleError, match="there is no such module; allowed: dpo, .*rloo, .*or the path of a file"
    ):
        modules.find("training.objectives", "mine")


def test_an_entry_point_is_found_without_being_imported(installed, tmp_path):
    installed(("mine", "cdpo", "my_cdpo"))
    path = modules.find("training.objectives", "cdpo")
    assert path == str(tmp_path / "my_cdpo.py")
    assert modules.constant(path, "DATA", ("prompts", "preferences")) == "prompts"
    assert modules.load(path).OPTIMUM == "known"


@pytest.mark.parametrize(
    ("offers", "name", "both"),
    [
        (
            [("one", "cdpo", "first"), ("two", "cdpo", "second")],
            "cdpo",
            r"one: first, two: second|two: second, one: first",
        ),
        ([("one", "rloo", "first")], "rloo", r"training\.objectives\.rloo, one: first"),
    ],
)
def test_two_of_one_name_are_refused_and_both_are_named(installed, offers, name, both):
    installed(*offers)
    with pytest.raises(
        ModuleError, match=rf"2 modules of this name \(({both})\): name one by the path of its file"
    ):
        modules.find("training.objectives", name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "DATA = 'pairs'\n",
            r"mine\.py declares DATA = 'pairs'; allowed: 'prompts', 'preferences'",
        ),
        (
            "data = 'prompts'\n",
            r"mine\.py must declare DATA at its top, as 'prompts' or 'preferences'",
        ),
        ("DATA = \n", r"mine\.py, line 1: invalid syntax"),
    ],
)
def test_what_a_file_declares_wrongly_is_named(tmp_path, text, message):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(ModuleError, match=message):
        modules.constant(str(path), "DATA", ("prompts", "preferences"))


def test_functions_and_classes_that_are_missing_are_named(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        textwrap.dedent("""
        class Metric:
            def _compute(self): ...

        def create(settings): ...
    """)
    )
    modules.require_function(str(path), "create")
    modules.require_class(str(path), "_compute")
    with pytest.raises(
        ModuleError, match=r"mine\.py must define a function make_trainer at its top"
    ):
        modules.require_function(str(path), "make_trainer")
    with pytest.raises(ModuleError, match=r"mine\.py must define a class with a method _info"):
        modules.require_class(str(path), "_info")


def test_files_of_one_name_in_two_folders_are_two_modules(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(f"NAME = {folder!r}\n")
    first, second = (modules.load(str(tmp_path / folder / "mine.py")) for folder in ("one", "two"))
    assert (first.NAME, second.NAME) == ("one", "two")
