"""The made world: summaries state what documents say, splits do not meet, seeds repeat."""

import re

import numpy as np
import pytest

from tasks.corpora import made_world
from tasks.world import grammar

SETTINGS = {"documents": {"train": 600, "validation": 50, "test": 50}}


@pytest.fixture(scope="module")
def splits():
    return made_world.load(SETTINGS, {}, seed=0)


def pattern(template: str) -> re.Pattern:
    """The sentences a template can make, with a group for each slot."""
    parts = re.split(r"\{(\w+)\}", template)
    for i in range(1, len(parts), 2):
        parts[i] = f"(?P<{parts[i]}>" + "|".join(map(re.escape, grammar.CHOICES[parts[i]])) + ")"
    return re.compile(
        "".join(re.escape(part) if i % 2 == 0 else part for i, part in enumerate(parts))
    )


FORMS = [
    (name, pattern(t))
    for name, kind in grammar.FACT_KINDS.items()
    for t in (*kind.document, kind.detailed, kind.terse)
]


def statements(text: str) -> list[tuple[str, frozenset]]:
    """(fact kind, values named) of each sentence; fails on a sentence the grammar cannot have made."""
    found = []
    for sentence in text.rstrip(".").split(". "):
        phrase = sentence.split(" ", 1)[1]
        matches = [(kind, form.fullmatch(phrase)) for kind, form in FORMS]
        readings = {
            (kind, frozenset(match.groupdict().items())) for kind, match in matches if match
        }
        assert len(readings) == 1, (sentence, readings)
        found += readings
    return found


def test_every_statement_of_a_summary_is_in_its_document(splits):
    for row in splits["train"]:
        document = statements(row["prompt"])
        assert len({kind for kind, _ in document}) == len(document) == 3
        for kind, named in statements(row["completion"]):
            assert any(kind == k and named <= n for k, n in document), row


def test_the_grammar_reads_documents_and_summaries_as_they_were_read_here(splits):
    for row in splits["train"]:
        for text in (row["prompt"], row["completion"]):
            read = [grammar.parse(sentence) for sentence in grammar.split(text)]
            assert [
                (statement.fact.kind, statement.fact.values) for statement in read
            ] == statements(text)
            assert read[0].subject == text.split()[0]


def test_a_document_names_its_person_once_and_its_summary_agrees(splits):
    for row in splits["train"]:
        subjects = [
            [sentence.split()[0] for sentence in row[side].split(". ")]
            for side in ("prompt", "completion")
        ]
        (name, *rest), (again, *others) = subjects
        [pronoun] = set(rest)
        assert name == again
        assert set(others) <= {pronoun}
        assert name in grammar.PEOPLE[pronoun]


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
