"""The digest of a job's code changes with the code of its helpers, and not with comments."""

import shutil
from pathlib import Path

import pytest

from study import modules, provenance

ROOT = modules.ROOT
FILES = {
    "tasks/__init__.py": '"""Tasks."""\n',
    "tasks/helper.py": "def twice(x):\n    return 2 * x\n",
    "training/__init__.py": "",
    "training/job.py": (
        '"""A job."""\nfrom tasks.helper import twice\n\n\n'
        'def main():\n    """Run."""\n    return twice(1)  # two\n'
    ),
}


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(modules, "ROOT", tmp_path)
    return tmp_path


def edited(project: Path, name: str, old: str, new: str) -> bool:
    """Whether replacing `old` in a file changes the digest."""
    before = provenance.source_digest("training.job")
    text = (project / name).read_text()
    assert old in text
    (project / name).write_text(text.replace(old, new))
    return provenance.source_digest("training.job") != before


def test_comments_docstrings_and_blank_lines_do_not_count(project):
    assert not edited(project, "training/job.py", "# two", "# the number two")
    assert not edited(project, "training/job.py", '"""A job."""', '"""A better job."""\n\n')
    assert not edited(project, "training/job.py", '    """Run."""\n', "")
    assert not edited(project, "tasks/__init__.py", "Tasks", "All tasks")


def test_code_counts_also_in_an_imported_module(project):
    assert edited(project, "training/job.py", "twice(1)", "twice(2)")
    assert edited(project, "tasks/helper.py", "2 * x", "x + x")


@pytest.mark.parametrize("ending", ["txt", "html", "css", "js"])
def test_text_files_of_an_imported_package_count_and_others_do_not(project, ending):
    """A list of requests that a package reads is as much a part of its code as a constant."""
    for folder in ("tasks/lists", "tasks/other"):
        (project / folder).mkdir()
        (project / folder / "__init__.py").write_text("")
        (project / folder / f"words.{ending}").write_text("one")
    job = project / "training/job.py"
    job.write_text("from tasks import lists\n" + job.read_text())
    assert edited(project, f"tasks/lists/words.{ending}", "one", "two")
    assert not edited(project, f"tasks/other/words.{ending}", "one", "two")


def test_a_module_that_does_not_exist_is_an_error(project):
    with pytest.raises(FileNotFoundError):
        provenance.source_digest("training.nothing")


def test_versions_are_those_installed():
    import torch

    assert provenance.versions()["torch"] == torch.__version__


def test_a_job_depends_on_the_modules_it_uses_and_not_on_the_whole_library(tmp_path, monkeypatch):
    """An edit to tuning must not train DPO again; one to decoding must."""
    shutil.copytree(ROOT / "dera", tmp_path / "dera")
    for name in ("training", "tasks", "eval"):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.setattr(modules, "ROOT", tmp_path)
    before = provenance.source_digest("training.preferences")
    with (tmp_path / "dera/tuning.py").open("a") as file:
        file.write("\nMORE = 1\n")
    assert provenance.source_digest("training.preferences") == before
    with (tmp_path / "dera/decoding.py").open("a") as file:
        file.write("\nMORE = 1\n")
    assert provenance.source_digest("training.preferences") != before
