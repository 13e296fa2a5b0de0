"""Answers from passages: hand-made verdicts, and properties of drawn rows read with patterns of the tests' own."""

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
# What each kind of fact looks like, with the subject cut off, in any style.
LOOKS = {
    "job": r"earns a living as|has long worked as|has worked as|is an? ",
    "home": r"rents a room|moved to|lives in",
    "pet": r"(keeps|looks after|has) an? (\w+ )?(cat|dog|parrot|rabbit|goat|pony|hamster|turtle)",
    "hobby": r"(usually|always|often) (plays|paints|repairs|bakes|collects|writes|reads|builds|grows|climbs|carves|sings)",
    "food": r"eats|loves a large plate|could eat|likes eating",
    "journey": r"took a|travelled to|went to",
    "relative": r"(talks about|often visits|has) a (brother|sister|cousin|neighbour)",
    "wish": r"plans to|has always wanted to|hopes to",
}
# The words of the templates: what is left of a predicate without them is what it says.
FRAME = re.findall(
    r"\w+",
    """a an and as at by every has in is of on the to who with after always eat eats eating earns flat for friends hopes
    large lives living long looks loves keeps named many years moved near harbour home next year before winter often old day
    week late last likes could plate rents room small stayed talks about took travelled went usually visits wanted plans
    worked works""",
)
ROWS = 1500


def sentences(text):
    """(subject, predicate) of each sentence of a text without flaws."""
    return [
        tuple(sentence.split(" ", 1)) for sentence in text.strip().removesuffix(".").split(". ")
    ]


def kind(predicate):
    [found] = [name for name, look in LOOKS.items() if re.match(look, predicate)]
    return found


def values(predicate):
    """The words that carry what a sentence says, so that sentences of a kind can be compared."""
    season = re.findall(r"last (\w+)$", predicate)  # winter is a word of a template, and a season
    return {word for word in predicate.split() if word not in FRAME} | set(season)


def parts(prompt):
    """The sentences of the passages, and the person asked about."""
    passages, question = prompt.split("\n", 1)
    return sentences(passages), re.fullmatch(
        r"Question: What do we know of (\w+)\?\nAnswer:", question
    )[1]


def judged(completion, prompt=PROMPT):
    found = tasks.judge(tasks.create("hallucination", {}), [prompt], [completion], [[]])
    return {name: value for name, [value] in found.items()}


def rows(seed=0, **settings):
    split = tasks.create("hallucination", settings).splits(
        {"documents": {"train": ROWS}}, {}, seed
    )["train"]
    return list(zip(split["prompt"], split["completion"], strict=True))


def judged_rows(drawn, **settings):
    prompts, completions = zip(*drawn, strict=True)
    found = tasks.judge(
        tasks.create("hallucination", settings), prompts, completions, [[]] * len(drawn)
    )
    return [dict(zip(found, numbers, strict=True)) for numbers in zip(*found.values(), strict=True)]


@pytest.fixture(scope="module")
def clean():
    return rows(contamination=0.0)


@pytest.fixture(scope="module")
def invented():
    """Rows of which every statement is an invention (but one in a billion)."""
    return rows(contamination=1 - 1e-9)


@pytest.mark.parametrize(
    ("answer", "statements", "unsupported", "covered", "readable"),
    [
        # all that is said of Tom, in each style, and in an order of the answer's own
        (" Tom is a cook. He lives in Lisbon. He has a dog.", 3, 0, 3, True),
        (
            " Tom has a black dog named Rex at home. He has worked as a cook for many years.",
            2,
            0,
            2,
            True,
        ),
        (" Tom moved to Lisbon and stayed.", 1, 0, 1, True),
        # a wrong value, in each place it can have; a kind of fact the passages do not give
        (" Tom is a baker. He has a cat.", 2, 2, 0, True),
        (
            " Tom has a black dog named Pip at home. He has a grey dog named Rex at home.",
            2,
            2,
            0,
            True,
        ),
        (" Tom is a cook. He likes eating soup.", 2, 1, 1, True),
        # Nora's facts: of Nora they are true but cover nothing, of Tom they are invented
        (" Nora lives in Oslo. She has a cat.", 2, 0, 0, True),
        (" Tom lives in Oslo. He has a cat.", 2, 2, 0, True),
        (" Nora is a cook. She lives in Lisbon.", 2, 2, 0, True),
        # pronouns: of the person asked before any name, then of the one named last; of the wrong gender nothing is true
        (" He is a cook.", 1, 0, 1, True),
        (" She is a cook. She has a cat.", 2, 2, 0, True),
        (
            " Nora has a cat. He is a cook. Tom is a cook. He lives in Lisbon. She lives in Oslo.",
            5,
            2,
            2,
            True,
        ),
        # a person of whom the passages know nothing takes the pronoun too
        (" Emil is a cook. He lives in Lisbon.", 2, 2, 0, True),
        # a sentence that cannot be read is unsupported, and who it names is named
        (" Tom is a cook. He is a good cook. He lives in Lisbon.", 3, 1, 2, False),
        (" Nora flies. She lives in Oslo. He is a cook.", 3, 2, 0, False),
        (" Tom is a cook. He lives in", 2, 1, 1, False),
        (" tom is a cook. Tom is a cook..", 3, 2, 1, False),
        # repetition costs nothing and covers nothing new
        (" Tom is a cook. He is a cook. He has worked as a cook for many years.", 3, 0, 1, True),
    ],
)
def test_verdicts_worked_out_by_hand(answer, statements, unsupported, covered, readable):
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
    expected = {
        "statements": 0,
        "unsupported": 0,
        "hallucinated": 0,
        "coverage": 0,
        "wellformed": 0,
        "gold": -1,
    }
    assert judged(answer) == expected


def test_any_text_is_judged():
    rng = random.Random(0)
    pieces = [
        "Tom",
        "Nora",
        "He",
        " is a cook",
        ".",
        "..",
        " ",
        "\n",
        "\x00",
        "\ud800",
        "é",
        "(",
        "[\\",
        "{job}",
        "\nQuestion:",
        "lives in Oslo",
    ]
    for _ in range(1000):
        found = judged("".join(rng.choices(pieces, k=rng.randint(1, 12))))
        assert 0 <= found["unsupported"] <= found["statements"]
        assert -1 <= found["gold"] <= 0
        assert 0 <= found["coverage"] <= 1
        assert (found["gold"] == 0) == (found["statements"] > 0 and found["hallucinated"] == 0)


def test_an_answer_cut_off_loses_its_last_sentence_only(clean):
    for prompt, answer in clean[:25]:
        for end in range(2, len(answer)):
            whole = answer[:end].count(".")
            expected = (
                0
                if answer[:end].endswith(".")
                or not answer[answer[:end].rfind(".") + 1 : end].strip()
                else 1
            )
            found = judged(answer[:end], prompt)
            assert (found["statements"], found["unsupported"]) == (whole + expected, expected), (
                answer[:end]
            )


def test_a_prompt_of_another_task_is_refused():
    for prompt in (
        "",
        "Tom is a cook.\nSummary:",
        "Mr Smith left. " + PROMPT,
        PASSAGES + "\nQuestion: What do we know of Emil?\nAnswer:",
        PROMPT + " Tom",
    ):
        with pytest.raises(ValueError, match="is not passages and a question"):
            tasks.judge(tasks.create("hallucination", {}), [prompt], [" Tom is a cook."], [[]])


def test_passages_are_sentences_about_two_people_each_with_a_name(clean):
    first_is_asked = 0
    for prompt, _ in clean:
        told, asked = parts(prompt)
        about = collections.Counter(subject for subject, _ in told)
        assert about.pop(asked) == 3
        [(other, count)] = about.items()
        assert count == 2
        assert other not in ("He", "She", asked)
        for who in (asked, other):
            kinds = [kind(predicate) for subject, predicate in told if subject == who]
            assert len(set(kinds)) == len(kinds)
        first_is_asked += told[0][0] == asked
    assert (
        abs(first_is_asked / ROWS - 3 / 5) < 4 * (0.24 / ROWS) ** 0.5
    )  # four standard errors: 6 in 100,000


def test_the_other_person_tempts_with_facts_of_the_same_kind(clean):
    shared = 0
    for prompt, _ in clean:
        told, asked = parts(prompt)
        own, lent = (
            {kind(predicate) for subject, predicate in told if (subject == asked) is mine}
            for mine in (True, False)
        )
        shared += bool(own & lent)
    expected = 1 - (5 * 4) / (8 * 7)  # two kinds of eight, of which three are taken
    assert abs(shared / ROWS - expected) < 4 * (expected * (1 - expected) / ROWS) ** 0.5


def test_passages_support_themselves_and_not_what_they_say_of_the_other(clean):
    swapped_rows, copied = [], []
    for prompt, _ in clean:
        told, asked = parts(prompt)
        other = next(subject for subject, _ in told if subject != asked)
        copied.append((prompt, " " + prompt.split("\n")[0]))
        if (
            len({(kind(predicate), *sorted(values(predicate))) for _, predicate in told}) == 5
        ):  # no fact is true of both
            other_of = {asked: other, other: asked}
            swapped_rows.append(
                (
                    prompt,
                    "".join(f" {other_of[subject]} {predicate}." for subject, predicate in told),
                )
            )
    assert {
        (found["gold"], found["coverage"], found["statements"]) for found in judged_rows(copied)
    } == {(0, 1, 5)}
    assert {(found["gold"], found["coverage"]) for found in judged_rows(swapped_rows)} == {(-1, 0)}
    assert len(swapped_rows) > 0.9 * ROWS


def test_clean_demonstrations_quote_passages_in_their_order(clean):
    counts = collections.Counter()
    for (prompt, answer), found in zip(clean, judged_rows(clean), strict=True):
        told, asked = parts(prompt)
        stated = sentences(answer)
        own = [predicate for subject, predicate in told if subject == asked]
        sources = [own.index(said) for _, said in stated]  # word for word
        assert sources == sorted(set(sources))
        assert {subject for subject, _ in stated} == {asked}
        assert answer.startswith(" ")
        counts[len(stated)] += 1
        assert found == {
            "statements": len(stated),
            "unsupported": 0,
            "hallucinated": 0,
            "coverage": pytest.approx(len(stated) / 3),
            "wellformed": 1,
            "gold": 0,
        }
    assert all(abs(counts[n] / ROWS - 1 / 3) < 4 * (2 / 9 / ROWS) ** 0.5 for n in (1, 2, 3))


def test_each_statement_is_invented_with_the_probability_asked_for():
    found = judged_rows(rows(contamination=0.3))
    total, invented = (sum(row[name] for row in found) for name in ("statements", "unsupported"))
    assert (
        abs(invented / total - 0.3) < 4 * (0.21 / total) ** 0.5
    )  # statements are independent; 6 in 100,000
    pairs = [row["unsupported"] for row in found if row["statements"] == 2]
    assert abs(pairs.count(2) / len(pairs) - 0.09) < 4 * (0.09 * 0.91 / len(pairs)) ** 0.5


def test_inventions_are_never_true_and_never_said_twice(invented):
    for (prompt, answer), found in zip(invented, judged_rows(invented), strict=True):
        told, asked = parts(prompt)
        for _, said in sentences(answer):
            true = [fact for subject, fact in told if subject == asked and kind(fact) == kind(said)]
            assert not any(values(said) <= values(fact) for fact in true), (prompt, answer)
        kinds = [kind(said) for _, said in sentences(answer)]
        assert len(set(kinds)) == len(kinds), answer
        assert (found["gold"], found["coverage"], found["wellformed"]) == (-1, 0, 1)


def test_where_inventions_come_from(invented):
    ways = collections.Counter()
    for prompt, answer in invented:
        told, asked = parts(prompt)
        own = {kind(predicate) for subject, predicate in told if subject == asked}
        for _, said in sentences(answer):
            lent = [fact for subject, fact in told if subject != asked and kind(fact) == kind(said)]
            if any(values(said) <= values(fact) for fact in lent):
                ways["other person"] += 1
            else:
                ways["wrong value" if kind(said) in own else "absent kind"] += 1
    total = sum(ways.values())
    for way, share in {"absent kind": 0.6, "other person": 0.2, "wrong value": 0.2}.items():
        # four standard errors of 3,000 statements, and 0.03 for what is the other person's fact by chance, or cannot be borrowed
        assert abs(ways[way] / total - share) < 0.03 + 4 * (share * (1 - share) / total) ** 0.5, (
            ways
        )


@pytest.mark.parametrize(("facts", "others"), [(1, 0), (1, 8), (7, 0), (7, 8), (5, 3)])
def test_inventions_are_found_for_any_number_of_facts(facts, others):
    drawn = rows(facts=facts, others=others, contamination=1 - 1e-9)[:300]
    for (prompt, answer), found in zip(drawn, judged_rows(drawn), strict=True):
        told, asked = parts(prompt)
        assert [subject for subject, _ in told].count(asked) == facts
        assert len(told) == facts + others
        kinds = [kind(said) for _, said in sentences(answer)]
        assert len(set(kinds)) == len(kinds) <= facts
        assert (found["gold"], found["coverage"]) == (-1, 0)


def test_pairs_quote_the_passages_and_differ_in_one_invented_statement(clean):
    task, rng = tasks.create("hallucination", {}), random.Random(0)
    pairs = [(prompt, *task.pair(prompt, rng)) for prompt, _ in clean]
    positions = collections.Counter()
    for (prompt, true, spoilt), best, worst in zip(
        pairs,
        judged_rows([(prompt, true) for prompt, true, _ in pairs]),
        judged_rows([(prompt, spoilt) for prompt, _, spoilt in pairs]),
        strict=True,
    ):
        told, asked = parts(prompt)
        quoted, said = sentences(true), sentences(spoilt)
        own = [fact for fact in told if fact[0] == asked]
        assert quoted == [
            fact for fact in own if fact in quoted
        ]  # word for word, in the order of the passages
        [changed] = [
            i for i, (first, second) in enumerate(zip(quoted, said, strict=True)) if first != second
        ]
        assert {subject for subject, _ in said} == {asked}
        assert len({kind(predicate) for _, predicate in said}) == len(said)
        assert (best["gold"], best["coverage"]) == (0, pytest.approx(len(quoted) / 3))
        assert (worst["unsupported"], worst["statements"], worst["wellformed"]) == (
            1,
            len(quoted),
            1,
        )
        positions[len(quoted), changed] += 1
    for length in (
        1,
        2,
        3,
    ):  # each length, and each place in it, as often as the others; four standard errors: 6 in 100,000
        for place in range(length):
            share = 1 / (3 * length)
            assert (
                abs(positions[length, place] / ROWS - share)
                < 4 * (share * (1 - share) / ROWS) ** 0.5
            )


def test_pairs_need_a_prompt_of_the_task():
    with pytest.raises(ValueError, match="is not passages and a question"):
        tasks.create("hallucination", {}).pair("Document: A cat.\nSummary:", random.Random(0))


def test_splits_do_not_meet_and_seeds_repeat():
    task, sizes = tasks.create("hallucination", {}), {"train": 300, "validation": 50, "test": 50}
    first, again, other = (task.splits({"documents": sizes}, {}, seed) for seed in (0, 0, 1))
    assert {name: len(split) for name, split in first.items()} == sizes
    assert (
        len(set(itertools.chain.from_iterable(split["prompt"] for split in first.values()))) == 400
    )
    assert first["train"].to_list() == again["train"].to_list() != other["train"].to_list()


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
