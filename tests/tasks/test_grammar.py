"""The grammar is read back as it was written: its language is small enough to list every sentence."""

import itertools
import random

import pytest

from tasks.world import grammar

STYLES = ("document", "detailed", "terse")


def all_facts(kind):
    slots = grammar.FACT_KINDS[kind].slots
    for values in itertools.product(*(grammar.CHOICES[slot] for slot in slots)):
        yield dict(zip(slots, values, strict=True))


def templates(kind):
    form = grammar.FACT_KINDS[kind]
    return (*form.document, form.detailed, form.terse)


def language():
    """Every predicate of the grammar, and the readings (kind, values it names) that templates and values give it."""
    found = {}
    for kind in grammar.FACT_KINDS:
        for values in all_facts(kind):
            for template in templates(kind):
                named = frozenset(
                    (slot, value) for slot, value in values.items() if "{" + slot + "}" in template
                )
                found.setdefault(template.format(**values), set()).add((kind, named))
    return found


LANGUAGE = language()


def fact(kind, values):
    return grammar.Fact(kind, frozenset(values.items()))


def phrases(of, style):
    """Every wording of a fact in a style; documents have two a kind."""
    rng = random.Random(0)
    return {grammar.phrase(of, style, rng) for _ in range(40)}


def test_no_sentence_can_be_read_as_two_facts():
    assert [predicate for predicate, readings in LANGUAGE.items() if len(readings) > 1] == []


def test_parse_reads_every_sentence_there_is():
    for predicate, readings in LANGUAGE.items():
        [(kind, named)] = readings
        assert grammar.parse(f"She {predicate}.") == grammar.Statement(
            "She", grammar.Fact(kind, named)
        ), predicate


@pytest.mark.parametrize("kind", grammar.FACT_KINDS)
@pytest.mark.parametrize("style", STYLES)
def test_parse_inverts_phrase(kind, style):
    facts = list(all_facts(kind))
    for subject, values in zip(
        itertools.cycle((*grammar.NAMES, *grammar.PRONOUNS)), facts, strict=False
    ):
        for phrase in phrases(fact(kind, values), style):
            read = grammar.parse(f"{subject} {phrase}.")
            assert read.subject == subject
            assert read.fact.kind == kind
            assert read.fact.values <= frozenset(values.items())
            if style != "terse":  # says all there is to say
                assert read.fact == fact(kind, values)


@pytest.mark.parametrize("kind", grammar.FACT_KINDS)
@pytest.mark.parametrize("style", STYLES)
def test_a_statement_follows_unless_a_value_it_names_is_changed(kind, style):
    rng = random.Random(1)
    slots = grammar.FACT_KINDS[kind].slots
    stated = (
        slots
        if style != "terse"
        else [slot for slot in slots if "{" + slot + "}" in grammar.FACT_KINDS[kind].terse]
    )
    for values in rng.sample(list(all_facts(kind)), 4):
        known = [
            fact(kind, values),
            *(grammar.draw_fact(rng, other) for other in grammar.FACT_KINDS if other != kind),
        ]
        for slot in slots:
            for value in grammar.CHOICES[slot]:
                for phrase in phrases(fact(kind, values | {slot: value}), style):
                    follows = value == values[slot] or slot not in stated
                    assert (
                        grammar.entailed(grammar.parse(f"He {phrase}.").fact, known) == follows
                    ), (phrase, values)
        assert not grammar.entailed(fact(kind, values), known[1:])


def test_sentences_of_no_grammar_are_not_read():
    """Every change of one word of 400 sentences: the list of the language says which are still sentences."""
    rng = random.Random(2)
    words = sorted({word for predicate in LANGUAGE for word in predicate.split()})
    changed = []
    for predicate in rng.sample(sorted(LANGUAGE), 400):
        parts = predicate.split()
        for i in range(len(parts)):
            rest = parts[i + 1 :]
            changed += [
                parts[:i] + rest,
                parts[:i] + [parts[i]] * 2 + rest,
                parts[:i] + [rng.choice(words)] + rest,
            ]
            changed += [parts[:i] + rest[:1] + [parts[i]] + rest[1:]]
    texts = [" ".join(parts) for parts in changed]
    assert sum(text not in LANGUAGE for text in texts) > 0.8 * len(texts)
    for text in texts:
        assert (grammar.parse(f"She {text}.") is not None) == (text in LANGUAGE), text


@pytest.mark.parametrize(
    "sentence",
    [
        "", ".", "She", "She.", "She .", "Nora is a baker", "Nora is a baker..", "nora is a baker.", "It is a baker.",
        "Zoe is a baker.", "Nora Tom is a baker.", "Nora  is a baker.", "Nora is a  baker.", "is a baker.", "Nora is.",
        "Nora is a Baker.", "Nora is a bake.", "Nora is a baker. She lives in Oslo.", "Nora is {job}.", "Nora is a cat.",
    ],
)  # fmt: skip
def test_what_is_almost_a_sentence_is_not_read(sentence):
    assert grammar.parse(sentence) is None


def test_white_space_around_a_sentence_does_not_count():
    assert grammar.parse(" Nora is a baker.\n") == grammar.Statement(
        "Nora", fact("job", {"job": "a baker"})
    )


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


def test_no_person_has_two_pronouns_and_no_value_stands_twice():
    assert len(set(grammar.NAMES)) == len(grammar.NAMES) == sum(map(len, grammar.PEOPLE.values()))
    assert all(len(set(choices)) == len(choices) > 1 for choices in grammar.CHOICES.values())
