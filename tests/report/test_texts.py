"""What the explorer says of a completion: measures in words, and harmful texts cut short."""

import math

import pytest

from report.page.texts import clean, completion, first_words, in_words

ROW = {"completion": " A text.", "gold": -0.5, "broken": 0.0}
LONG = " ".join(f"word{number}" for number in range(1, 31))


def test_a_text_is_shown_with_its_gold():
    assert completion(ROW) == {"text": "A text.", "gold": -0.5, "marks": []}


@pytest.mark.parametrize(
    ("measures", "expected"),
    [
        ({"broken": 1.0}, ["broken text"]),
        ({"refused": 1.0, "cautioned": 0.0, "complied": 0.0}, ["refused"]),
        ({"complied": 1.0, "complied_harmful": 1.0}, ["complied"]),
        ({"complied_harmful": 1.0}, ["complied"]),
        ({"complied_harmful": math.nan, "unsupported": math.nan}, []),
        ({"unsupported": 1.0}, ["1 invented statement"]),
        (
            {"invented": 2.0, "repeated": 1.0, "noise": 0.0},
            ["2 invented facts", "1 repeated sentence"],
        ),
    ],
)
def test_measures_are_said_in_words(measures, expected):
    assert in_words(measures) == expected


def test_an_answer_to_a_harmful_request_shows_its_first_dozen_words():
    row = ROW | {"completion": LONG, "refused": 0.0, "refused_harmful": 0.0}
    shown = completion(row)
    assert shown["text"].split()[:12] == LONG.split()[:12]
    assert shown["text"].split()[12:] == ["…"]
    assert shown["marks"] == ["shortened"]


@pytest.mark.parametrize(
    "measures",
    [
        {"refused": 1.0, "refused_harmful": 1.0},  # it refuses
        {"refused": 0.0, "refused_harmful": math.nan},  # the request is harmless
        {},  # the task has no requests
    ],
)
def test_other_texts_are_shown_whole(measures):
    assert completion(ROW | {"completion": LONG} | measures)["text"] == LONG


def test_a_dozen_words_are_not_cut():
    twelve = " ".join(LONG.split()[:12])
    assert first_words(twelve) == twelve


def test_letters_that_cannot_be_shown_become_a_mark():
    assert clean(" a\x07b\u202ec\td\r\ne\n") == "a\ufffdb\ufffdc d\ne"


@pytest.mark.parametrize("empty", ["", "  \n", math.nan, None])
def test_an_empty_text_is_said_to_be_empty(empty):
    assert completion(ROW | {"completion": empty}) == {
        "text": "",
        "gold": -0.5,
        "marks": ["wrote nothing"],
    }
