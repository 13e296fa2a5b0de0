"""Settings of every test run: one thread for each process, and the longest files first.

`make test` has two workers, each of which takes one file of tests after the other
(`pytest -n 2 --dist loadfile`), so that what the tests of a file share is made once.
`python -m pytest FILE` runs in one process, without workers.
"""

from __future__ import annotations

import os

import hypothesis
import pytest

# A busy machine is no error, so no example has a deadline.
hypothesis.settings.register_profile("without deadline", deadline=None)
hypothesis.settings.load_profile("without deadline")

# This comes before torch is imported. With two threads each, two workers take ten times as long.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

LONGEST = [
    "tests/workflow/test_workflow.py",
    "tests/workflow/test_extending.py",
    "tests/workflow/test_local_text.py",
    "tests/workflow/test_refusals.py",
    "tests/dera/test_speculative.py",
    "tests/dera/test_generate.py",
    "tests/dera/test_compiled.py",
    "tests/figures/test_figures.py",
    "tests/figures/test_task_figures.py",
    "tests/eval/claims/test_baselines.py",
    "tests/eval/claims/test_agreement.py",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the workers start with the longest files, so that neither ends alone with one."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=place)


def place(item: pytest.Item) -> int:
    """Where a test's file stands in the order of running. Files of one place keep their order."""
    file = item.nodeid.split("::")[0]
    return LONGEST.index(file) if file in LONGEST else len(LONGEST)
