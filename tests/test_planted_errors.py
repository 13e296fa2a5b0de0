"""The list of planted errors fits the code that they are planted in."""

from __future__ import annotations

import ast

import pytest

from tests.planted_errors import COPIED, ERRORS, ROOT


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.name)
def test_an_error_takes_the_place_of_one_piece_of_code(error):
    text = (ROOT / error.file).read_text()
    assert text.count(error.was) == 1
    ast.parse(text.replace(error.was, error.becomes))
    assert error.file.split("/")[0] in COPIED


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.name)
def test_the_tests_that_ought_to_notice_exist(error):
    assert error.tests
    assert all((ROOT / test).is_file() for test in error.tests)


def test_names_differ():
    assert len({error.name for error in ERRORS}) == len(ERRORS)
