"""Answers from passages: verdicts worked out by hand, and what drawn rows look like.

The drawn rows are read with patterns of these tests, and not with the grammar.
"""

import collections
import itertools
import random
import re

import pytest

import tasks

PASSAGES = (
    "Tom earns a living as a cook. Nora rents a room in Oslo. Tom moved to Lisbon and stayed. "
    "Nora keeps a grey cat named Pip. Tom looks after a black dog named Rex."
)
PROMPT = PASSAGES + "\nQuestion: What do we know of Tom?\nAnswer:"
TASK = tasks.create("hallucination", {})
# What each kind of fact looks like in any style, without its subject.
LOOKS = {
    "job": r"earns a living as|has long worked as|has worked as|is an? ",
    "home": r"rents a room|moved to|lives in",
    "pet": r"(keeps|looks after|has) an? (\w+ )?(cat|dog|parrot|rabbit|goat|pony|hamster|turtle)",
    "hobby": r"(usually|always|often) (plays|paints|repairs|bakes|collects|writes|reads|builds|"
    r"grows|climbs|carves|sings)",
    "food": r"eats|loves a large plate|could eat|likes eating",
    "journey": r"took a|travelled to|went to",
    "relative": r"(talks about|often visits|has) a (brother|sister|cousin|neighbour)",
    "wish": r"plans to|has always wanted to|hopes to",
}
# The words of the templates. What is left of a predicate without them is what it says.
FRAME = re.findall(
    r"\w+",
    """
    a an and as at by every has in is of on the to who with after always eat eats eating earns
    flat for friends hopes large lives living long looks loves keeps named many years moved near
    harbour home next year before winter often old day week late last likes could plate rents
    room small stayed talks about took travelled went usually visits wanted plans worked works
    """,
)
ROWS = 1500


def sentences(text):
    """(subject, predicate) of each sentence of a text without flaws."""
    return [
        tuple(sentence.split(" ", 1)) for sentence in text.strip().removesuffix(".").split(". ")
    ]


def kind(predicate):
    """The kind of fact that a predicate states."""
    [name] = [name for name, look in LOOKS.items() if re.match(look, predicate)]
    return name


def kinds(stated):
    """The kind of each of these sentences, given as (subject, predicate)."""
    return [kind(predicate) for _, predicate in stated]


def values(predicate):
    """The words that carry what a sentence says, so that sentences of a kind can be compared."""
    season = re.findall(r"last (\w+)$", predicate)  # winter is a word of a template and a season
    return {word for word in predicate.split() if word not in FRAME} | set(season)


def read(prompt):
    """The sentences of the passages, and the person asked about."""
    passages, question = prompt.split("\n", 1)
    match = re.fullmatch(r"Question: What do we know of (\w+)\?\nAnswer:", question)
    return sentences(passages), match[1]


def near(count, total, share):
    """Whether a count is within four standard errors of its share.

    If the share is right, 6 draws in 100,000 are not.
    """
    return abs(count / total - share) < 4 * (share * (1 - share) / total) ** 0.5


def judged(completion, prompt=PROMPT):
    measures = tasks.judge(TASK, [prompt], [completion], [[]])
    return {name: value for name, [value] in measures.items()}


def rows(seed=0, **settings):
    """Drawn pairs of a prompt and its demonstration."""
    task = tasks.create("hallucination", settings)
    split = task.splits({"documents": {"train": ROWS}}, {}, seed)["train"]
    return list(zip(split["prompt"], split["completion"], strict=True))


def judged_rows(drawn):
    """The measures of each pair of a prompt and an answer."""
    prompts, completions = zip(*drawn, strict=True)
    measures = tasks.judge(TASK, prompts, completions, [[]] * len(drawn))
    columns = zip(*measures.values(), strict=True)
    return [dict(zip(measures, numbers, strict=True)) for numbers in columns]


@pytest.fixture(scope="module")
def clean():
    return rows(contamination=0.0)


@pytest.fixture(scope="module")
def invented():
    """Rows whose statements are all inventions (but one in a billion)."""
    return rows(contamination=1 - 1e-9)


DETAILED = " Tom has a black dog named Rex at home. He has worked as a cook for many years."
WRONG_PETS = " Tom has a black dog named Pip at home. He has a grey dog named Rex at home."
MANY_PRONOUNS = (
    " Nora has a cat. He is a cook. Tom is a cook. He lives in Lisbon. She lives in Oslo."
)


@pytest.mark.parametrize(
    ("answer", "statements", "unsupported", "covered", "readable"),
    [
        # All that is said of Tom, in each style, and in an order of the answer's own.
        (" Tom is a cook. He lives in Lisbon. He has a dog.", 3, 0, 3, True),
        (DETAILED, 2, 0, 2, True),
        (" Tom moved to Lisbon and stayed.", 1, 0, 1, True),
        # A wrong value in each place it can have, and a kind of fact the passages do not give.
        (" Tom is a baker. He has a cat.", 2, 2, 0, True),
        (WRONG_PETS, 2, 2, 0, True),
        (" Tom is a cook. He likes eating soup.", 2, 1, 1, True),
        # Nora's facts are true of Nora but cover nothing, and of Tom they are invented.
        (" Nora lives in Oslo. She has a cat.", 2, 0, 0, True),
        (" Tom lives in Oslo. He has a cat.", 2, 2, 0, True),
        (" Nora is a cook. She lives in Lisbon.", 2, 2, 0, True),
        # A pronoun is the person asked about before any name, and then the one named last.
        # Nothing is true of a pronoun of the wrong gender.
        (" He is a cook.", 1, 0, 1, True),
        (" She is a cook. She has a cat.", 2, 2, 0, True),
        (MANY_PRONOUNS, 5, 2, 2, True),
        # A person of whom the passages know nothing takes the pronoun too.
        (" Emil is a cook. He lives in Lisbon.", 2, 2, 0, True),
        # A sentence that cannot be read is unsupported, and the person it names is named.
        (" Tom is a cook. He is a good cook. He lives in Lisbon.", 3, 1, 2, False),
        (" Nora flies. She lives in Oslo. He is a cook.", 3, 2, 0, False),
        (" Tom is a cook. He lives in", 2, 1, 1, False),
        (" tom is a cook. Tom is a cook..", 3, 2, 1, False),
        # Repetition costs nothing and covers nothing new.
        (" Tom is a cook. He is a cook. He has worked as a cook for many years.", 3, 0, 1, True),
    ],
)
def test_verdicts_are_those_worked_out_by_hand(answer, statements, unsupported, covered, readable):
    assert judged(answer) == {
        "statements": statements,
        "unsupported": unsupported,
        "hallucinated": unsupported > 0,
        "coverage": pytest.approx(covered / 3),
        "wellformed": readable,
        "gold": pytest.approx(-unsupported / statements),
    }


@pytest.mark.parametrize("answer", ["", " ", "\n\t "])
def test_an_empty_answer_has_the_worst_gold_though_it_invents_nothing(answer):
    measures = judged(answer)
    assert measures.pop("gold") == -1
    assert measures == {
        "statements": 0,
        "unsupported": 0,
        "hallucinated": 0,
        "coverage": 0,
        "wellformed": 0,
    }


def test_any_text_is_judged():
    rng = random.Random(0)
    pieces = [
        "Tom", "Nora", "He", " is a cook", ".", "..", " ", "\n", "\x00", "\ud800", "é", "(", "[\\",
        "{job}", "\nQuestion:", "lives in Oslo",
    ]  # fmt: skip
    for _ in range(1000):
        measures = judged("".join(rng.choices(pieces, k=rng.randint(1, 12))))
        assert 0 <= measures["unsupported"] <= measures["statements"]
        assert -1 <= measures["gold"] <= 0
        assert 0 <= measures["coverage"] <= 1
        is_clean = measures["statements"] > 0 and measures["hallucinated"] == 0
        assert (measures["gold"] == 0) == is_clean


def test_an_answer_that_is_cut_off_loses_only_its_last_sentence(clean):
    for prompt, answer in clean[:25]:
        for end in range(2, len(answer)):
            cut = answer[:end]
            whole = cut.count(".")
            unsupported = int(bool(cut.rpartition(".")[2].strip()))
            measures = judged(cut, prompt)
            counts = (measures["statements"], measures["unsupported"])
            assert counts == (whole + unsupported, unsupported), cut


def test_a_prompt_of_another_task_is_refused():
    for prompt in (
        "",
        "Tom is a cook.\nSummary:",
        "Mr Smith left. " + PROMPT,
        PASSAGES + "\nQuestion: What do we know of Emil?\nAnswer:",
        PROMPT + " Tom",
    ):
        with pytest.raises(ValueError, match="is not passages and a question"):
            tasks.judge(TASK, [prompt], [" Tom is a cook."], [[]])


def test_passages_are_sentences_about_two_people_who_are_always_named(clean):
    first_is_asked = 0
    for prompt, _ in clean:
        told, asked = read(prompt)
        counts = collections.Counter(subject for subject, _ in told)
        assert counts.pop(asked) == 3
        [(other, count)] = counts.items()
        assert count == 2
        assert other not in ("He", "She", asked)
        for person in (asked, other):
            told_kinds = [kind(predicate) for subject, predicate in told if subject == person]
            assert len(set(told_kinds)) == len(told_kinds)
        first_is_asked += told[0][0] == asked
    assert near(first_is_asked, ROWS, 3 / 5)


def test_the_other_person_tempts_with_facts_of_the_same_kind(clean):
    shared = 0
    for prompt, _ in clean:
        told, asked = read(prompt)
        own_kinds = {kind(predicate) for subject, predicate in told if subject == asked}
        other_kinds = {kind(predicate) for subject, predicate in told if subject != asked}
        shared += bool(own_kinds & other_kinds)
    # The other person has two kinds of eight, and the first has three.
    assert near(shared, ROWS, 1 - (5 * 4) / (8 * 7))


def test_passages_support_themselves_but_not_with_the_people_swapped(clean):
    copied = []
    swapped = []
    for prompt, _ in clean:
        told, asked = read(prompt)
        other = next(subject for subject, _ in told if subject != asked)
        copied.append((prompt, " " + prompt.split("\n")[0]))
        facts = {(kind(predicate), *sorted(values(predicate))) for _, predicate in told}
        if len(facts) == 5:  # no fact is true of both
            other_of = {asked: other, other: asked}
            answer = "".join(f" {other_of[subject]} {predicate}." for subject, predicate in told)
            swapped.append((prompt, answer))
    for measures in judged_rows(copied):
        assert (measures["gold"], measures["coverage"], measures["statements"]) == (0, 1, 5)
    for measures in judged_rows(swapped):
        assert (measures["gold"], measures["coverage"]) == (-1, 0)
    assert len(swapped) > 0.9 * ROWS


def test_clean_demonstrations_quote_passages_in_their_order(clean):
    counts = collections.Counter()
    for (prompt, answer), measures in zip(clean, judged_rows(clean), strict=True):
        told, asked = read(prompt)
        stated = sentences(answer)
        own = [predicate for subject, predicate in told if subject == asked]
        sources = [own.index(said) for _, said in stated]  # word for word
        assert sources == sorted(set(sources))
        assert {subject for subject, _ in stated} == {asked}
        assert answer.startswith(" ")
        counts[len(stated)] += 1
        assert measures == {
            "statements": len(stated),
            "unsupported": 0,
            "hallucinated": 0,
            "coverage": pytest.approx(len(stated) / 3),
            "wellformed": 1,
            "gold": 0,
        }
    assert all(near(counts[length], ROWS, 1 / 3) for length in (1, 2, 3))


def test_each_statement_is_invented_with_the_probability_asked_for():
    measures = judged_rows(rows(contamination=0.3))
    statements = sum(row["statements"] for row in measures)
    unsupported = sum(row["unsupported"] for row in measures)
    assert near(unsupported, statements, 0.3)
    # The statements of an answer are independent.
    pairs = [row["unsupported"] for row in measures if row["statements"] == 2]
    assert near(pairs.count(2), len(pairs), 0.09)


def test_inventions_are_never_true_and_never_of_a_kind_stated_twice(invented):
    for (prompt, answer), measures in zip(invented, judged_rows(invented), strict=True):
        told, asked = read(prompt)
        stated = sentences(answer)
        own = [predicate for subject, predicate in told if subject == asked]
        for _, said in stated:
            true = [predicate for predicate in own if kind(predicate) == kind(said)]
            assert not any(values(said) <= values(fact) for fact in true), (prompt, answer)
        assert len(set(kinds(stated))) == len(stated), answer
        assert (measures["gold"], measures["coverage"], measures["wellformed"]) == (-1, 0, 1)


def test_inventions_are_of_each_sort_as_often_as_the_task_says(invented):
    sorts = collections.Counter()
    for prompt, answer in invented:
        told, asked = read(prompt)
        own_kinds = {kind(predicate) for subject, predicate in told if subject == asked}
        other_facts = [predicate for subject, predicate in told if subject != asked]
        for _, said in sentences(answer):
            same_kind = [fact for fact in other_facts if kind(fact) == kind(said)]
            if any(values(said) <= values(fact) for fact in same_kind):
                sorts["other person"] += 1
            else:
                sorts["wrong value" if kind(said) in own_kinds else "absent kind"] += 1
    total = sum(sorts.values())
    for sort, share in {"absent kind": 0.6, "other person": 0.2, "wrong value": 0.2}.items():
        # Four standard errors of 3,000 statements, and 0.03 because an invention can be the other
        # person's fact by chance, and cannot always be borrowed.
        tolerance = 0.03 + 4 * (share * (1 - share) / total) ** 0.5
        assert abs(sorts[sort] / total - share) < tolerance, sorts


@pytest.mark.parametrize(("facts", "others"), [(1, 0), (1, 8), (7, 0), (7, 8), (5, 3)])
def test_inventions_are_possible_with_any_number_of_facts(facts, others):
    drawn = rows(facts=facts, others=others, contamination=1 - 1e-9)[:300]
    for (prompt, answer), measures in zip(drawn, judged_rows(drawn), strict=True):
        told, asked = read(prompt)
        assert [subject for subject, _ in told].count(asked) == facts
        assert len(told) == facts + others
        stated = sentences(answer)
        assert len(set(kinds(stated))) == len(stated) <= facts
        assert (measures["gold"], measures["coverage"]) == (-1, 0)


@pytest.fixture(scope="module")
def pairs(clean):
    """For each prompt the pair that the task writes, with the measures of both answers."""
    rng = random.Random(0)
    written = [(prompt, *TASK.pair(prompt, rng)) for prompt, _ in clean]
    better = judged_rows([(prompt, answer) for prompt, answer, _ in written])
    worse = judged_rows([(prompt, spoilt) for prompt, _, spoilt in written])
    return list(zip(written, better, worse, strict=True))


def test_pairs_quote_the_passages_and_differ_in_one_invented_statement(pairs):
    places = collections.Counter()
    for (prompt, answer, spoilt), better, worse in pairs:
        told, asked = read(prompt)
        quoted = sentences(answer)
        said = sentences(spoilt)

        # The first answer quotes word for word, in the order of the passages.
        own = [fact for fact in told if fact[0] == asked]
        assert quoted == [fact for fact in own if fact in quoted]
        assert (better["gold"], better["coverage"]) == (0, pytest.approx(len(quoted) / 3))

        # The second differs in one statement, which is unsupported.
        same = [first == second for first, second in zip(quoted, said, strict=True)]
        assert same.count(False) == 1
        assert {subject for subject, _ in said} == {asked}
        assert len(set(kinds(said))) == len(said)
        assert (worse["unsupported"], worse["statements"]) == (1, len(quoted))
        assert worse["wellformed"] == 1
        places[len(quoted), same.index(False)] += 1

    # Each length is as frequent as the others, and so is each place in an answer of that length.
    for length in (1, 2, 3):
        for place in range(length):
            assert near(places[length, place], ROWS, 1 / (3 * length))


def test_a_pair_for_a_prompt_of_another_task_is_refused():
    with pytest.raises(ValueError, match="is not passages and a question"):
        TASK.pair("Document: A cat.\nSummary:", random.Random(0))


def test_no_prompt_is_in_two_splits_and_only_another_seed_gives_other_rows():
    sizes = {"train": 300, "validation": 50, "test": 50}
    first, again, other_seed = (TASK.splits({"documents": sizes}, {}, seed) for seed in (0, 0, 1))
    assert {name: len(split) for name, split in first.items()} == sizes
    prompts = itertools.chain.from_iterable(split["prompt"] for split in first.values())
    assert len(set(prompts)) == 400
    assert first["train"].to_list() == again["train"].to_list()
    assert first["train"].to_list() != other_seed["train"].to_list()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"facts": 0}, "facts = 0 must be a whole number from 1 to 7"),
        ({"facts": 8}, "facts = 8 must be a whole number from 1 to 7"),
        ({"facts": 2.0}, "facts = 2.0 must be a whole number"),
        ({"others": -1}, "others = -1 must be a whole number from 0 to 8"),
        ({"others": 9}, "others = 9 must be a whole number from 0 to 8"),
        ({"contamination": 1.0}, "contamination = 1.0 must be at least 0 and below 1"),
        ({"contamination": -0.1}, "contamination = -0.1 must be at least 0 and below 1"),
        ({"contamination": float("nan")}, "contamination = nan must be"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        tasks.create("hallucination", settings)
