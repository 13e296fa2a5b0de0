"""Running a notebook on the models of a study that a test has made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.workflow.studies import ROOT


def run(name: str, task: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Run every cell of a notebook in order, and return the outputs.

    A cell that raises fails the test.

    Args:
        name: the notebook's name in notebooks/.
        task: the folder of the results of a task.
        monkeypatch: sets the environment of the notebook.
    """
    monkeypatch.setenv("DERA_STUDY", str(task))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in code:
        cell.outputs = []
        cell.execution_count = None
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    return [output for cell in code for output in cell.outputs]
