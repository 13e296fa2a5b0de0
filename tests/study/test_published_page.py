"""A front page is published if it is small enough to keep in Git."""

import subprocess
import sys

import pytest

from study.published_page import MAX_BYTES, publish


@pytest.fixture
def page(tmp_path):
    page = tmp_path / "results/index.html"
    page.parent.mkdir()
    page.write_text("a page")
    (tmp_path / "docs").mkdir()
    return page


def test_a_small_page_is_copied(page, tmp_path):
    assert publish(page, tmp_path / "docs", max_bytes=6)
    assert (tmp_path / "docs/index.html").read_text() == "a page"


def test_a_larger_page_is_not_copied(page, tmp_path):
    assert not publish(page, tmp_path / "docs", max_bytes=5)
    assert not list((tmp_path / "docs").iterdir())


def test_the_command_says_that_a_page_is_too_large(page, tmp_path):
    with page.open("wb") as file:
        file.truncate(MAX_BYTES + 200_000)
    command = [sys.executable, "-m", "study.published_page", page, tmp_path / "docs"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr == f"{page} is not published: it has 5.2 MB, more than 5 MB\n"
