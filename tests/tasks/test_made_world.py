"""The made world: summaries state what documents say, splits do not meet, seeds repeat."""

import re

import numpy as np
import pytest

from tasks.corpora import made_world

SETTINGS = {"documents": {"train": 600, "validation": 50, "test": 50}}


@pytest.fixture(scope="module")
def splits():
    return made_world.load(SETTINGS, {}, seed=0)


def pattern(template: str) -> re.Pattern:
    """The sentences a template can make, with a group for each slot."""
    parts = re.split(r"\{(\w+)\}", template)
    for i in range(1, len(parts), 2):
        parts[i] = "(" + "|".join(map(re.escape, made_world.CHOICES[parts[i]])) + ")"
    return re.compile("".join(re.escape(part) if i % 2 == 0 else part for i, part in enumerate(parts)))


FORMS = [(i, pattern(t)) for i, kind in enumerate(made_world.FACT_KINDS) for t in (*kind.document, kind.detailed, kind.terse)]


def statements(text: str) -> list[tuple[int, set[str]]]:
    """(fact kind, values named) of each sentence; fails on a sentence the grammar cannot have made."""
    found = []
    for sentence in text.rstrip(".").split(". "):
        phrase = sentence.split(" ", 1)[1]
        matches = [(kind, form.fullmatch(phrase)) for kind, form in FORMS]
        readings = {(kind, frozenset(match.groups())) for kind, match in matches if match}
        assert len(readings) == 1, (sentence, readings)
        found += readings
    return found


def test_every_statement_of_a_summary_is_in_its_document(splits):
    for row in splits["train"]:
        document = statements(row["prompt"])
        for kind, named in statements(row["completion"]):
            assert any(kind == k and named <= n for k, n in document), row


def test_lengths_vary_widely_and_do_not_depend_on_the_document(splits):
    lengths = np.array([len(text.split()) for text in splits["train"]["completion"]])
    documents = np.array([len(text.split()) for text in splits["train"]["prompt"]])
    assert lengths.min() <= 5
    assert lengths.max() >= 24
    assert lengths.std() > 5
    assert abs(np.corrcoef(lengths, documents)[0, 1]) < 0.17  # four standard errors of 600 rows


def test_splits_do_not_meet_and_seeds_repeat(splits):
    prompts = [set(split["prompt"]) for split in splits.values()]
    assert sum(map(len, prompts)) == len(set.union(*prompts)) == 700
    again, other = made_world.load(SETTINGS, {}, seed=0), made_world.load(SETTINGS, {}, seed=1)
    assert again["train"].to_list() == splits["train"].to_list()
    assert other["train"].to_list() != splits["train"].to_list()
