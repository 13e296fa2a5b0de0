"""The grammar reads back what it writes: its language is small enough to list every sentence."""

import itertools
import random

import pytest

from tasks.world import grammar

STYLES = ("document", "detailed", "terse")


def all_facts(kind):
    """The values of every fact of a kind."""
    slots = grammar.FACT_KINDS[kind].slots
    for values in itertools.product(*(grammar.CHOICES[slot] for slot in slots)):
        yield dict(zip(slots, values, strict=True))


def templates(kind):
    form = grammar.FACT_KINDS[kind]
    return (*form.document, form.detailed, form.terse)


def language():
    """Every predicate of the grammar, with the readings that templates and values give it.

    A reading is a kind of fact and the values that the predicate names.
    """
    readings = {}
    for kind in grammar.FACT_KINDS:
        for values in all_facts(kind):
            for template in templates(kind):
                named = frozenset(
                    (slot, value) for slot, value in values.items() if names_slot(template, slot)
                )
                readings.setdefault(template.format(**values), set()).add((kind, named))
    return readings


def names_slot(template, slot):
    return "{" + slot + "}" in template


LANGUAGE = language()


def fact(kind, values):
    return grammar.Fact(kind, frozenset(values.items()))


def phrases(stated, style):
    """Every wording of a fact in a style; documents have two for each kind."""
    rng = random.Random(0)
    return {grammar.phrase(stated, style, rng) for _ in range(40)}


def test_no_sentence_can_be_read_as_two_facts():
    assert [predicate for predicate, readings in LANGUAGE.items() if len(readings) > 1] == []


def test_parse_reads_every_sentence_there_is():
    for predicate, readings in LANGUAGE.items():
        [(kind, named)] = readings
        expected = grammar.Statement("She", grammar.Fact(kind, named))
        assert grammar.parse(f"She {predicate}.") == expected, predicate


@pytest.mark.parametrize("kind", grammar.FACT_KINDS)
@pytest.mark.parametrize("style", STYLES)
def test_parse_inverts_phrase(kind, style):
    subjects = itertools.cycle((*grammar.NAMES, *grammar.PRONOUNS))
    for subject, values in zip(subjects, all_facts(kind), strict=False):
        for phrase in phrases(fact(kind, values), style):
            read = grammar.parse(f"{subject} {phrase}.")
            assert read.subject == subject
            assert read.fact.kind == kind
            assert read.fact.values <= frozenset(values.items())
            if style != "terse":  # then the phrase names every value
                assert read.fact == fact(kind, values)


@pytest.mark.parametrize("kind", grammar.FACT_KINDS)
@pytest.mark.parametrize("style", STYLES)
def test_a_fact_entails_a_statement_unless_a_value_that_it_names_is_changed(kind, style):
    rng = random.Random(1)
    slots = grammar.FACT_KINDS[kind].slots
    stated = slots
    if style == "terse":
        terse = grammar.FACT_KINDS[kind].terse
        stated = [slot for slot in slots if names_slot(terse, slot)]
    for values in rng.sample(list(all_facts(kind)), 4):
        other_kinds = [other_kind for other_kind in grammar.FACT_KINDS if other_kind != kind]
        other_facts = [grammar.draw_fact(rng, other_kind) for other_kind in other_kinds]
        known = [fact(kind, values), *other_facts]
        for slot in slots:
            for value in grammar.CHOICES[slot]:
                follows = value == values[slot] or slot not in stated
                for phrase in phrases(fact(kind, values | {slot: value}), style):
                    statement = grammar.parse(f"He {phrase}.").fact
                    assert grammar.entailed(statement, known) == follows, (phrase, values)
        assert not grammar.entailed(fact(kind, values), other_facts)


def test_a_sentence_with_one_word_changed_is_read_only_if_it_is_in_the_language():
    """In 400 sentences of the language each word is left out, doubled, replaced or moved."""
    rng = random.Random(2)
    vocabulary = sorted({word for predicate in LANGUAGE for word in predicate.split()})
    changed = []
    for predicate in rng.sample(sorted(LANGUAGE), 400):
        words = predicate.split()
        for i, word in enumerate(words):
            before, after = words[:i], words[i + 1 :]
            changed.append(before + after)
            changed.append(before + [word] * 2 + after)
            changed.append(before + [rng.choice(vocabulary)] + after)
            changed.append(before + after[:1] + [word] + after[1:])
    texts = [" ".join(words) for words in changed]
    assert sum(text not in LANGUAGE for text in texts) > 0.8 * len(texts)
    for text in texts:
        assert (grammar.parse(f"She {text}.") is not None) == (text in LANGUAGE), text


@pytest.mark.parametrize(
    "sentence",
    [
        "", ".", "She", "She.", "She .", "Nora is a baker", "Nora is a baker..",
        "nora is a baker.", "It is a baker.", "Zoe is a baker.", "Nora Tom is a baker.",
        "Nora  is a baker.", "Nora is a  baker.", "is a baker.", "Nora is.", "Nora is a Baker.",
        "Nora is a bake.", "Nora is a baker. She lives in Oslo.", "Nora is {job}.",
        "Nora is a cat.",
    ],
)  # fmt: skip
def test_what_is_almost_a_sentence_is_not_read(sentence):
    assert grammar.parse(sentence) is None


def test_white_space_around_a_sentence_does_not_count():
    expected = grammar.Statement("Nora", fact("job", {"job": "a baker"}))
    assert grammar.parse(" Nora is a baker.\n") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n", []),
        ("Tom is a cook.", ["Tom is a cook."]),
        (" Tom is a cook. He lives in Oslo.", ["Tom is a cook.", "He lives in Oslo."]),
        ("Tom is a cook. He lives", ["Tom is a cook.", "He lives"]),
        ("Tom is\n a  cook.He lives in Oslo. ", ["Tom is a cook.", "He lives in Oslo."]),
        ("Tom is a cook..", ["Tom is a cook.", "."]),
    ],
)
def test_text_is_cut_at_stops(text, expected):
    assert grammar.split(text) == expected


def test_sentences_name_the_person_first_and_then_use_the_pronoun():
    text = grammar.sentences(["is a cook", "lives in Oslo", "has a cat"], "Tom", "He")
    assert text == "Tom is a cook. He lives in Oslo. He has a cat."


def test_no_person_has_two_pronouns_and_no_slot_has_a_value_twice():
    assert len(set(grammar.NAMES)) == len(grammar.NAMES) == sum(map(len, grammar.PEOPLE.values()))
    assert all(len(set(choices)) == len(choices) > 1 for choices in grammar.CHOICES.values())
