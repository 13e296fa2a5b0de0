"""What is a whole text, and what is none."""

import pytest

from tasks.text.whole import is_whole

WHOLE = [
    "Mix the flour and the eggs.",
    "I'm sorry, but I can't help with that.",
    'He said: "Take care!"',
    "He said: “Take care!”",
    "First, open the door. Then, close the window.",
    "Is it red?",
]
NOT_WHOLE = [
    "",
    "   ",
    "Mix the flour and",
    "Yes.",
    "the the cake is good.",
    "you can and you can and you can and you can.",
    "1. 2. 3. 4. 5. a b.",
    "Mix the flour\ufffd and the eggs.",
    "Mix the flour\x00 and the eggs.",
    "Mix the flour\x1b[0m and the eggs.",
    "Mix the flour\ud800 and the eggs.",
    "{x: 1, y: 2}; (z == 3).",
]


@pytest.mark.parametrize("text", WHOLE)
def test_whole_texts(text):
    assert is_whole(text)
    assert is_whole(f"  {text}\n")


@pytest.mark.parametrize("text", NOT_WHOLE)
def test_texts_that_are_not_whole(text):
    assert not is_whole(text)
