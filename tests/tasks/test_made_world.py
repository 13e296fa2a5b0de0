"""The made world: summaries state what documents say, and splits have no prompt in common."""

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
    """The sentences that a template can make, with a group for each slot."""
    pieces = re.split(r"\{(\w+)\}", template)  # text and slots in turn
    for i, piece in enumerate(pieces):
        if i % 2 == 0:
            pieces[i] = re.escape(piece)
        else:
            choices = "|".join(map(re.escape, grammar.CHOICES[piece]))
            pieces[i] = f"(?P<{piece}>{choices})"
    return re.compile("".join(pieces))


FORMS = [
    (name, pattern(template))
    for name, kind in grammar.FACT_KINDS.items()
    for template in (*kind.document, kind.detailed, kind.terse)
]


def statements(text: str) -> list[tuple[str, frozenset]]:
    """Each sentence's kind of fact and its values; fails on a sentence of no template."""
    stated = []
    for sentence in text.rstrip(".").split(". "):
        phrase = sentence.split(" ", 1)[1]
        matches = [(kind, form.fullmatch(phrase)) for kind, form in FORMS]
        readings = {
            (kind, frozenset(match.groupdict().items())) for kind, match in matches if match
        }
        assert len(readings) == 1, (sentence, readings)
        stated += readings
    return stated


def test_every_statement_of_a_summary_is_in_its_document(splits):
    for row in splits["train"]:
        document = statements(row["prompt"])
        assert len({kind for kind, _ in document}) == len(document) == 3
        for kind, named in statements(row["completion"]):
            told = [values for told_kind, values in document if told_kind == kind]
            assert any(named <= values for values in told), row


def test_the_grammar_reads_documents_and_summaries_as_these_tests_do(splits):
    for row in splits["train"]:
        for text in (row["prompt"], row["completion"]):
            read = [grammar.parse(sentence) for sentence in grammar.split(text)]
            facts = [(statement.fact.kind, statement.fact.values) for statement in read]
            assert facts == statements(text)
            assert read[0].subject == text.split()[0]


def test_a_document_and_its_summary_name_their_person_first_and_then_use_the_pronoun(splits):
    for row in splits["train"]:
        name, *pronouns = [sentence.split()[0] for sentence in row["prompt"].split(". ")]
        summary_name, *summary_pronouns = [
            sentence.split()[0] for sentence in row["completion"].split(". ")
        ]
        [pronoun] = set(pronouns)
        assert name == summary_name
        assert set(summary_pronouns) <= {pronoun}
        assert name in grammar.PEOPLE[pronoun]


def test_lengths_of_summaries_vary_widely_and_do_not_depend_on_the_document(splits):
    lengths = np.array([len(text.split()) for text in splits["train"]["completion"]])
    documents = np.array([len(text.split()) for text in splits["train"]["prompt"]])
    assert lengths.min() <= 5
    assert lengths.max() >= 24
    assert lengths.std() > 5
    assert abs(np.corrcoef(lengths, documents)[0, 1]) < 0.17  # four standard errors of 600 rows


def test_no_prompt_is_in_two_splits_and_only_another_seed_gives_other_rows(splits):
    prompts = [set(split["prompt"]) for split in splits.values()]
    assert sum(map(len, prompts)) == len(set.union(*prompts)) == 700
    again = made_world.load(SETTINGS, {}, seed=0)
    other_seed = made_world.load(SETTINGS, {}, seed=1)
    assert again["train"].to_list() == splits["train"].to_list()
    assert other_seed["train"].to_list() != splits["train"].to_list()
