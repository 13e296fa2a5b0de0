"""The summarisation task: what its judge counts, and how often demonstrations have blemishes."""

import random
from collections import Counter
from math import sqrt

import pytest

from tasks.summarization import SummarizationTask, create, untrue_phrase
from tasks.world import grammar
from tasks.world.chit_chat import NOISE_FORMS, NOISE_SENTENCES

SETTINGS = {"facts": 3, "noise": 2, "word_cost": 0.02}
ROWS = 2000
POST = (
    "Post: The tea has gone cold. Tom has long worked as a baker. He keeps a grey cat named Pip. It rained all morning. "
    "He took a train to Japan last winter.\nTL;DR:"
)


@pytest.fixture(scope="module")
def rows():
    task, rng = create(SETTINGS), random.Random(3)
    return [task.draw_pair(rng) for _ in range(ROWS)]


def judged(summary: str, post: str = POST, **settings) -> dict[str, float]:
    return {
        name: values[0]
        for name, values in create(SETTINGS | settings).judge([post], [summary], [[]]).items()
    }


def near(count: int, share: float) -> bool:
    """Whether a count out of ROWS is within four standard errors of its share; if it is right, 1 draw in 15,000 is not."""
    return abs(count - share * ROWS) < 4 * sqrt(share * (1 - share) * ROWS)


def post_and_summary(prompt: str, completion: str) -> tuple[list[str], list[str]]:
    """The sentences of each, stops off; the grammars have no stop inside a sentence."""
    text = prompt.removeprefix("Post: ").removesuffix("\nTL;DR:")
    return text.rstrip(".").split(". "), completion.strip().rstrip(".").split(". ")


@pytest.mark.parametrize(
    ("summary", "covered", "invented", "repeated", "noise", "words", "wellformed"),
    [
        (" Tom is a baker. He has a cat. He went to Japan.", 3, 0, 0, 0, 12, 1),
        (" He is a baker. Tom has a cat.", 2, 0, 0, 0, 8, 1),  # name and pronoun in any order
        (" Tom has a grey cat named Pip at home.", 1, 0, 0, 0, 9, 1),
        (
            " Tom has a black cat named Pip at home.",
            0,
            1,
            0,
            0,
            9,
            1,
        ),  # one value of three is wrong
        (" Tom is a nurse. He went to Japan.", 1, 1, 0, 0, 8, 1),
        (" Tom lives in Oslo.", 0, 1, 0, 0, 4, 1),  # the post says nothing of the kind
        (" Emil is a baker.", 0, 1, 0, 0, 4, 1),
        (" Tom is a baker. She has a cat.", 1, 1, 0, 0, 8, 1),
        (" Tom has a cat. He has a cat.", 1, 0, 1, 0, 8, 1),
        (
            " Tom has a cat. He has a grey cat named Pip at home. He keeps a grey cat named Pip.",
            1,
            0,
            2,
            0,
            20,
            1,
        ),
        (
            " Tom has a black cat named Pip at home. He has a cat.",
            1,
            1,
            0,
            0,
            13,
            1,
        ),  # two facts: one is false
        (" Tom is a nurse. He is a nurse.", 0, 2, 1, 0, 8, 1),  # an invention said twice is both
        (" Tom went to Chile. He went to Chile by ship late last winter.", 0, 2, 1, 0, 13, 1),
        (" Tom is a nurse. She is a nurse.", 0, 2, 0, 0, 8, 1),  # of two people
        (" Tom is a baker. It rained all morning. The tea has gone cold.", 1, 0, 0, 2, 13, 1),
        (" The tea has gone cold. The tea has gone cold.", 0, 0, 1, 1, 10, 1),
        (
            " The bath has gone cold. It snowed all morning.",
            0,
            2,
            0,
            0,
            9,
            1,
        ),  # chit-chat of another post
        (" The bath has gone cold. The bath has gone cold.", 0, 2, 1, 0, 10, 1),
        (" Tom is a baker. Bread bread he of.", 1, 1, 0, 0, 8, 0),
        (" Tom is a baker. He has a", 1, 1, 0, 0, 7, 0),
        (" Tom is a baker. It rained all morning", 1, 1, 0, 0, 8, 0),
        (".", 0, 1, 0, 0, 1, 0),
        ("  Tom is\n a  baker. ", 1, 0, 0, 0, 4, 1),  # white space does not matter
    ],
)
def test_counts_and_gold_of_hand_made_summaries(
    summary, covered, invented, repeated, noise, words, wellformed
):
    assert judged(summary) == {
        "coverage": pytest.approx(covered / 3),
        "invented": invented,
        "repeated": repeated,
        "noise": noise,
        "words": words,
        "wellformed": wellformed,
        "gold": pytest.approx((covered - invented - repeated - noise) / 3 - 0.02 * words),
    }


@pytest.mark.parametrize("summary", ["", " ", "\n \t"])
def test_silence_does_not_pay(summary):
    found = judged(summary)
    assert found.pop("gold") == -1
    assert set(found.values()) == {0}


def test_word_cost_is_paid_for_every_word():
    summary = " Tom is a baker. The tea has gone cold."
    assert judged(summary, word_cost=0)["gold"] == pytest.approx(0)
    assert judged(summary, word_cost=0.5)["gold"] == pytest.approx(-0.5 * 9)


def other_fact(fact: grammar.Fact, rng: random.Random) -> grammar.Fact:
    """A fact of the kind that differs in every slot, so every statement of it is false."""
    values = [
        (slot, rng.choice([other for other in grammar.CHOICES[slot] if other != value]))
        for slot, value in fact.values
    ]
    return grammar.Fact(fact.kind, frozenset(values))


def test_what_was_put_into_a_summary_is_counted():
    """Summaries of sentences of known standing, drawn here: their counts come from book-keeping, without reading a sentence."""
    rng, task = random.Random(11), create({"facts": 4, "noise": 3, "word_cost": 0})
    for _ in range(400):
        name, pronoun = grammar.draw_person(rng)
        wrong = "He" if pronoun == "She" else "She"
        stranger = rng.choice([other for other in grammar.NAMES if other != name])
        facts = grammar.draw_facts(rng, 4)
        others = [other_fact(fact, rng) for fact in facts]
        forms = rng.sample(NOISE_FORMS, 6)
        inside, outside = (
            [rng.choice(form) for form in forms[:3]],
            [rng.choice(form) for form in forms[3:]],
        )
        salient = [
            f"{pronoun if i else name} {grammar.phrase(fact, 'document', rng)}."
            for i, fact in enumerate(facts)
        ]
        post = " ".join([inside[0], *salient[:2], inside[1], *salient[2:], inside[2]])

        said, summary = [], []
        for _ in range(rng.randint(1, 8)):
            standing, i = (
                rng.choice(
                    ["true", "true", "false", "wrong", "stranger", "inside", "outside", "garbage"]
                ),
                rng.randrange(3),
            )
            said.append((standing, i))
            if standing in ("inside", "outside"):
                summary.append((inside if standing == "inside" else outside)[i])
            elif standing == "garbage":
                summary.append(
                    " ".join(rng.sample(["cat", name, "a", "tea", pronoun], rng.randint(1, 3)))
                    + "."
                )
            else:
                subject = {"wrong": wrong, "stranger": stranger}.get(
                    standing, rng.choice([name, pronoun])
                )
                style = rng.choice(["document", "detailed", "terse"])
                summary.append(
                    f"{subject} {grammar.phrase((others if standing == 'false' else facts)[i], style, rng)}."
                )

        found = {
            key: value[0]
            for key, value in task.judge(
                [f"Post: {post}\nTL;DR:"], [" " + " ".join(summary)], [[]]
            ).items()
        }
        first = Counter(standing for standing, _ in set(said))
        assert found["coverage"] == first["true"] / 4, (post, summary)
        assert found["noise"] == first["inside"], (post, summary)
        assert found["invented"] == sum(
            standing not in ("true", "inside") for standing, _ in said
        ), (post, summary)
        speaking = [what for what in said if what[0] != "garbage"]
        assert found["repeated"] == len(speaking) - len(set(speaking)), (post, summary)
        assert found["wellformed"] == (len(speaking) == len(said)), (post, summary)


def test_any_text_is_judged_and_a_cut_sentence_is_not_well_formed(rows):
    rng = random.Random(2)
    for prompt, completion in rows[:20]:
        cuts = [completion[:i] for i in range(len(completion) + 1)]
        found = create(SETTINGS).judge([prompt] * len(cuts), cuts, [[]] * len(cuts))
        assert found["wellformed"] == [float(cut.rstrip().endswith(".")) for cut in cuts]
        assert found["words"] == [len(cut.split()) for cut in cuts]
    pieces = [
        ".",
        " ",
        "..",
        "\n",
        "\0",
        "Tom",
        "He",
        " is a baker.",
        "é",
        "(",
        "\\",
        "Post:",
        "\u2028",
        "[^.]*",
        "{}",
    ]
    texts = ["".join(rng.choices(pieces, k=rng.randint(0, 30))) for _ in range(2000)]
    found = create(SETTINGS).judge([POST] * len(texts), texts, [[]] * len(texts))
    assert all(gold <= 1 for gold in found["gold"])
    assert all(
        0 <= coverage <= 1 / 3 for coverage in found["coverage"]
    )  # the pieces state one fact


def test_chit_chat_states_nothing_and_names_nobody():
    assert all(
        grammar.parse(sentence) is None and grammar.split(sentence) == [sentence]
        for sentence in NOISE_SENTENCES
    )
    assert all(4 <= len(sentence.split()) <= 7 for sentence in NOISE_SENTENCES)
    words = {word.strip(".").lower() for sentence in NOISE_SENTENCES for word in sentence.split()}
    assert not words & {word.lower() for word in grammar.NAMES + grammar.PRONOUNS}
    assert len(NOISE_SENTENCES) == sum(map(len, NOISE_FORMS))


def test_posts_have_their_facts_and_scattered_chit_chat(rows):
    noisy_places = Counter()
    for row in rows:
        post, _ = post_and_summary(*row)
        places = [i for i, sentence in enumerate(post) if f"{sentence}." in NOISE_SENTENCES]
        statements = [
            grammar.parse(f"{sentence}.") for i, sentence in enumerate(post) if i not in places
        ]
        assert len(places) == len({post[i] for i in places}) == 2
        assert len({statement.fact.kind for statement in statements}) == len(statements) == 3
        name, *pronouns = (statement.subject for statement in statements)
        assert set(pronouns) == {"She" if name in grammar.PEOPLE["She"] else "He"}
        noisy_places.update(places)
    assert all(near(noisy_places[place], 2 / 5) for place in range(5))


def test_demonstrations_are_of_mixed_quality_at_the_stated_rates(rows):
    seen = Counter()
    for row in rows:
        post, summary = post_and_summary(*row)
        noise = [i for i, sentence in enumerate(summary) if f"{sentence}." in NOISE_SENTENCES]
        assert all(summary[i] in post for i in noise)
        told = [sentence.split(" ", 1) for i, sentence in enumerate(summary) if i not in noise]
        phrases = [phrase for _, phrase in told]
        distinct = list(dict.fromkeys(phrases))
        stated = [grammar.parse(f"He {phrase}.").fact for phrase in distinct]
        terse = {
            grammar.FACT_KINDS[f.kind].terse.format(**dict(f.values)) == p
            for f, p in zip(stated, distinct, strict=True)
        }
        order = [fact.kind for fact in stated]
        facts = [
            statement.fact for sentence in post if (statement := grammar.parse(f"{sentence}."))
        ]
        true = [grammar.entailed(fact, facts) for fact in stated]
        quoted = [any(sentence.endswith(f" {phrase}") for sentence in post) for phrase in distinct]
        assert (
            terse == {True} or quoted == true
        )  # what is true and not terse is in the post's own words
        assert [fact.kind for fact in facts if fact.kind in order] == order
        assert told[0][0] == next(word for word in " ".join(post).split() if word in grammar.NAMES)
        assert all(subject in grammar.PRONOUNS for subject, _ in told[1:])
        assert len(noise) <= 2
        assert 0 not in noise
        assert len(terse) == 1
        assert len(phrases) - len(distinct) <= 1
        assert true.count(False) <= 1
        if len(phrases) > len(distinct):  # said twice: right after, or at the end
            again = [i for i, phrase in enumerate(phrases) if phrase in phrases[:i]]
            assert phrases.index(phrases[again[0]]) == again[0] - 1 or again[0] == len(phrases) - 1
        seen.update([("kept", len(distinct)), ("terse", terse.pop()), ("noise", len(noise))])
        seen.update([("twice", len(phrases) - len(distinct)), ("false", true.count(False))])
    assert all(near(seen["kept", n], 1 / 3) for n in (1, 2, 3))
    assert near(seen["terse", True], 0.5)
    assert near(seen["noise", 1], 2 * 0.4 * 0.6)
    assert near(seen["noise", 2], 0.4**2)
    assert near(seen["twice", 1], 0.15)
    assert near(seen["false", 1], 0.05)


@pytest.mark.parametrize("style", ["terse", "detailed"])
@pytest.mark.parametrize("kind", grammar.FACT_KINDS)
def test_an_untrue_phrase_is_false_as_it_is_stated(kind, style):
    rng = random.Random(4)
    for _ in range(200):
        fact = grammar.draw_fact(rng, kind)
        stated = grammar.parse(f"He {untrue_phrase(fact, style, rng)}.").fact
        assert stated.kind == kind
        assert any(value != dict(fact.values)[slot] for slot, value in stated.values)


def test_splits_do_not_meet_and_seeds_repeat():
    task, corpus = create(SETTINGS), {"kind": "made_world", "documents": {"train": 200, "test": 50}}
    splits, again, other = (task.splits(corpus, {}, seed) for seed in (0, 0, 1))
    prompts = {name: set(split["prompt"]) for name, split in splits.items()}
    assert {name: len(found) for name, found in prompts.items()} == corpus["documents"]
    assert not prompts["train"] & prompts["test"]
    assert all(
        text.startswith(" ") and not text.startswith("  ") for text in splits["train"]["completion"]
    )
    assert again["train"].to_list() == splits["train"].to_list()
    assert other["train"].to_list() != splits["train"].to_list()


@pytest.mark.parametrize(
    ("facts", "noise"), [(1, 0), (1, len(NOISE_FORMS)), (len(grammar.FACT_KINDS), 0)]
)
def test_the_ends_of_the_settings_work(facts, noise):
    rng, task = random.Random(0), SummarizationTask(facts=facts, noise=noise, word_cost=0)
    for _ in range(50):
        prompt, completion = task.draw_pair(rng)
        post, _ = post_and_summary(prompt, completion)
        assert len(post) == facts + noise
        assert task.judge([prompt], [completion], [[]])["wellformed"] == [1.0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"facts": 0}, "facts = 0 must be a whole number from 1 to 8"),
        ({"facts": 9}, "facts = 9"),
        ({"facts": 2.5}, r"facts = 2\.5"),
        ({"noise": -1}, "noise = -1 must be a whole number from 0 to 10"),
        ({"noise": 11}, "noise = 11"),
        ({"word_cost": -0.1}, r"word_cost = -0\.1 must be a finite number, at least 0"),
        ({"word_cost": float("inf")}, "word_cost = inf"),
        ({"word_cost": float("nan")}, "word_cost = nan"),
        ({"word_cost": "much"}, "word_cost = 'much'"),
    ],
)
def test_wrong_settings_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        create(SETTINGS | wrong)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "Tom is a cook.",
        "Post: \nTL;DR:",
        POST.replace("It rained", "It rainde"),
        "Post: He is a cook.\nTL;DR:",
    ],
)
def test_a_prompt_that_is_no_post_is_refused(prompt):
    with pytest.raises(ValueError, match="not a post"):
        judged(" Tom is a cook.", post=prompt)
