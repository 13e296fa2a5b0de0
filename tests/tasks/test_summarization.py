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
    "Post: The tea has gone cold. Tom has long worked as a baker. He keeps a grey cat named Pip. "
    "It rained all morning. He took a train to Japan last winter.\nTL;DR:"
)


@pytest.fixture(scope="module")
def rows():
    task = create(SETTINGS)
    rng = random.Random(3)
    return [task.draw_pair(rng) for _ in range(ROWS)]


def judged(summary: str, post: str = POST, **settings) -> dict[str, float]:
    measures = create(SETTINGS | settings).judge([post], [summary], [[]])
    return {name: values[0] for name, values in measures.items()}


def near(count: int, share: float) -> bool:
    """Whether a count out of ROWS is within four standard errors of its share.

    If the share is right, 1 draw in 15,000 is not.
    """
    return abs(count - share * ROWS) < 4 * sqrt(share * (1 - share) * ROWS)


def post_and_summary(prompt: str, completion: str) -> tuple[list[str], list[str]]:
    """The sentences of each, without stops; no sentence has a stop inside."""
    text = prompt.removeprefix("Post: ").removesuffix("\nTL;DR:")
    return text.rstrip(".").split(". "), completion.strip().rstrip(".").split(". ")


ONE_FACT_IN_THREE_STYLES = (
    " Tom has a cat. He has a grey cat named Pip at home. He keeps a grey cat named Pip."
)


@pytest.mark.parametrize(
    ("summary", "covered", "invented", "repeated", "noise", "words", "wellformed"),
    [
        (" Tom is a baker. He has a cat. He went to Japan.", 3, 0, 0, 0, 12, 1),
        # Name and pronoun may stand in any order.
        (" He is a baker. Tom has a cat.", 2, 0, 0, 0, 8, 1),
        (" Tom has a grey cat named Pip at home.", 1, 0, 0, 0, 9, 1),
        # One value of three is wrong.
        (" Tom has a black cat named Pip at home.", 0, 1, 0, 0, 9, 1),
        (" Tom is a nurse. He went to Japan.", 1, 1, 0, 0, 8, 1),
        # The post says nothing of the kind.
        (" Tom lives in Oslo.", 0, 1, 0, 0, 4, 1),
        (" Emil is a baker.", 0, 1, 0, 0, 4, 1),
        (" Tom is a baker. She has a cat.", 1, 1, 0, 0, 8, 1),
        (" Tom has a cat. He has a cat.", 1, 0, 1, 0, 8, 1),
        (ONE_FACT_IN_THREE_STYLES, 1, 0, 2, 0, 20, 1),
        # These are two facts, because one is false.
        (" Tom has a black cat named Pip at home. He has a cat.", 1, 1, 0, 0, 13, 1),
        # An invention that is said twice counts as invented and as repeated.
        (" Tom is a nurse. He is a nurse.", 0, 2, 1, 0, 8, 1),
        (" Tom went to Chile. He went to Chile by ship late last winter.", 0, 2, 1, 0, 13, 1),
        # The sentences are about two people.
        (" Tom is a nurse. She is a nurse.", 0, 2, 0, 0, 8, 1),
        (" Tom is a baker. It rained all morning. The tea has gone cold.", 1, 0, 0, 2, 13, 1),
        (" The tea has gone cold. The tea has gone cold.", 0, 0, 1, 1, 10, 1),
        # This is chit-chat of another post.
        (" The bath has gone cold. It snowed all morning.", 0, 2, 0, 0, 9, 1),
        (" The bath has gone cold. The bath has gone cold.", 0, 2, 1, 0, 10, 1),
        (" Tom is a baker. Bread bread he of.", 1, 1, 0, 0, 8, 0),
        (" Tom is a baker. He has a", 1, 1, 0, 0, 7, 0),
        (" Tom is a baker. It rained all morning", 1, 1, 0, 0, 8, 0),
        (".", 0, 1, 0, 0, 1, 0),
        # White space does not matter.
        ("  Tom is\n a  baker. ", 1, 0, 0, 0, 4, 1),
    ],
)
def test_counts_and_gold_are_those_worked_out_by_hand(
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
def test_an_empty_summary_has_the_worst_gold(summary):
    measures = judged(summary)
    assert measures.pop("gold") == -1
    assert set(measures.values()) == {0}


def test_the_word_cost_is_paid_for_every_word():
    summary = " Tom is a baker. The tea has gone cold."
    assert judged(summary, word_cost=0)["gold"] == pytest.approx(0)
    assert judged(summary, word_cost=0.5)["gold"] == pytest.approx(-0.5 * 9)


def other_fact(fact: grammar.Fact, rng: random.Random) -> grammar.Fact:
    """A fact of the kind that differs in every slot, so every statement of it is false."""
    values = {}
    for slot, value in fact.values:
        values[slot] = rng.choice([choice for choice in grammar.CHOICES[slot] if choice != value])
    return grammar.Fact(fact.kind, frozenset(values.items()))


class KnownPost:
    """A post of four facts and three sentences of chit-chat, with sentences of known standing."""

    STANDINGS = ("true", "true", "false", "wrong", "stranger", "inside", "outside", "garbage")

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.name, self.pronoun = grammar.draw_person(rng)
        self.stranger = rng.choice([name for name in grammar.NAMES if name != self.name])
        self.facts = grammar.draw_facts(rng, 4)
        self.false_facts = [other_fact(fact, rng) for fact in self.facts]
        chit_chat = [rng.choice(form) for form in rng.sample(NOISE_FORMS, 6)]
        self.inside = chit_chat[:3]
        self.outside = chit_chat[3:]

    def text(self) -> str:
        phrases = [grammar.phrase(fact, "document", self.rng) for fact in self.facts]
        stated = grammar.split(grammar.sentences(phrases, self.name, self.pronoun))
        first, second, third = self.inside
        return " ".join([first, *stated[:2], second, *stated[2:], third])

    def sentence(self, standing: str, i: int) -> str:
        """A sentence of this standing about the fact, or with the chit-chat, number `i`."""
        rng = self.rng
        if standing == "inside":
            return self.inside[i]
        if standing == "outside":
            return self.outside[i]
        if standing == "garbage":
            words = ["cat", self.name, "a", "tea", self.pronoun]
            return " ".join(rng.sample(words, rng.randint(1, 3))) + "."
        subject = rng.choice([self.name, self.pronoun])
        if standing == "wrong":
            subject = "He" if self.pronoun == "She" else "She"
        elif standing == "stranger":
            subject = self.stranger
        fact = (self.false_facts if standing == "false" else self.facts)[i]
        style = rng.choice(["document", "detailed", "terse"])
        return f"{subject} {grammar.phrase(fact, style, rng)}."


def test_what_was_put_into_a_summary_is_counted():
    """The counts come from book-keeping, without reading a sentence."""
    rng = random.Random(11)
    task = create({"facts": 4, "noise": 3, "word_cost": 0})
    for _ in range(400):
        known = KnownPost(rng)
        post = known.text()
        said = [(rng.choice(known.STANDINGS), rng.randrange(3)) for _ in range(rng.randint(1, 8))]
        summary = "".join(f" {known.sentence(*what)}" for what in said)
        judged = task.judge([f"Post: {post}\nTL;DR:"], [summary], [[]])
        measures = {name: value[0] for name, value in judged.items()}

        first = Counter(standing for standing, _ in set(said))
        invented = sum(standing not in ("true", "inside") for standing, _ in said)
        readable = [what for what in said if what[0] != "garbage"]
        assert measures["coverage"] == first["true"] / 4, (post, summary)
        assert measures["noise"] == first["inside"], (post, summary)
        assert measures["invented"] == invented, (post, summary)
        assert measures["repeated"] == len(readable) - len(set(readable)), (post, summary)
        assert measures["wellformed"] == (len(readable) == len(said)), (post, summary)


def test_a_summary_that_is_cut_inside_a_sentence_is_not_well_formed(rows):
    task = create(SETTINGS)
    for prompt, completion in rows[:20]:
        cuts = [completion[:i] for i in range(len(completion) + 1)]
        measures = task.judge([prompt] * len(cuts), cuts, [[]] * len(cuts))
        assert measures["wellformed"] == [float(cut.rstrip().endswith(".")) for cut in cuts]
        assert measures["words"] == [len(cut.split()) for cut in cuts]


def test_any_text_is_judged():
    rng = random.Random(2)
    pieces = [
        ".", " ", "..", "\n", "\0", "Tom", "He", " is a baker.", "é", "(", "\\", "Post:", "\u2028",
        "[^.]*", "{}",
    ]  # fmt: skip
    texts = ["".join(rng.choices(pieces, k=rng.randint(0, 30))) for _ in range(2000)]
    measures = create(SETTINGS).judge([POST] * len(texts), texts, [[]] * len(texts))
    assert all(gold <= 1 for gold in measures["gold"])
    # The pieces state one fact.
    assert all(0 <= coverage <= 1 / 3 for coverage in measures["coverage"])


def test_chit_chat_states_nothing_and_names_nobody():
    for sentence in NOISE_SENTENCES:
        assert grammar.parse(sentence) is None
        assert grammar.split(sentence) == [sentence]
        assert 4 <= len(sentence.split()) <= 7
    words = {word.strip(".").lower() for sentence in NOISE_SENTENCES for word in sentence.split()}
    assert not words & {word.lower() for word in grammar.NAMES + grammar.PRONOUNS}
    assert len(NOISE_SENTENCES) == sum(map(len, NOISE_FORMS))


def test_posts_have_facts_of_different_kinds_and_chit_chat_in_any_place(rows):
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


class Demonstration:
    """A demonstration as it reads beside its post."""

    def __init__(self, prompt: str, completion: str):
        self.post, self.summary = post_and_summary(prompt, completion)
        self.noise = [
            i for i, sentence in enumerate(self.summary) if f"{sentence}." in NOISE_SENTENCES
        ]
        told = [sentence for i, sentence in enumerate(self.summary) if i not in self.noise]
        self.subjects = [sentence.split(" ", 1)[0] for sentence in told]
        self.phrases = [sentence.split(" ", 1)[1] for sentence in told]
        self.distinct = list(dict.fromkeys(self.phrases))
        self.stated = [grammar.parse(f"He {phrase}.").fact for phrase in self.distinct]
        statements = [grammar.parse(f"{sentence}.") for sentence in self.post]
        self.facts = [statement.fact for statement in statements if statement]
        self.true = [grammar.entailed(fact, self.facts) for fact in self.stated]

    def is_terse(self) -> bool:
        """Whether its statements are terse; fails if only some of them are."""
        styles = set()
        for fact, phrase in zip(self.stated, self.distinct, strict=True):
            terse = grammar.FACT_KINDS[fact.kind].terse.format(**dict(fact.values))
            styles.add(phrase == terse)
        [terse] = styles
        return terse

    def is_quoted(self, phrase: str) -> bool:
        return any(sentence.endswith(f" {phrase}") for sentence in self.post)


def test_a_demonstration_states_facts_in_the_order_of_the_post_with_few_blemishes(rows):
    for row in rows:
        shown = Demonstration(*row)
        # It names the person first, and keeps the order of the facts.
        words = " ".join(shown.post).split()
        assert shown.subjects[0] == next(word for word in words if word in grammar.NAMES)
        assert all(subject in grammar.PRONOUNS for subject in shown.subjects[1:])
        order = [fact.kind for fact in shown.stated]
        assert [fact.kind for fact in shown.facts if fact.kind in order] == order
        # What is true and not terse is in the post's own words.
        quoted = [shown.is_quoted(phrase) for phrase in shown.distinct]
        assert shown.is_terse() or quoted == shown.true
        # Chit-chat is the post's, and never comes first.
        assert all(shown.summary[i] in shown.post for i in shown.noise)
        assert len(shown.noise) <= 2
        assert 0 not in shown.noise
        # At most one statement is false, and at most one is repeated: right after, or at the end.
        assert shown.true.count(False) <= 1
        assert len(shown.phrases) - len(shown.distinct) <= 1
        for i, phrase in enumerate(shown.phrases):
            if phrase in shown.phrases[:i]:
                assert shown.phrases.index(phrase) == i - 1 or i == len(shown.phrases) - 1


def test_demonstrations_have_each_blemish_as_often_as_the_task_says(rows):
    seen = Counter()
    for row in rows:
        shown = Demonstration(*row)
        seen["kept", len(shown.distinct)] += 1
        seen["terse", shown.is_terse()] += 1
        seen["noise", len(shown.noise)] += 1
        seen["twice", len(shown.phrases) - len(shown.distinct)] += 1
        seen["false", shown.true.count(False)] += 1
    assert all(near(seen["kept", count], 1 / 3) for count in (1, 2, 3))
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


def test_no_prompt_is_in_two_splits_and_only_another_seed_gives_other_rows():
    task = create(SETTINGS)
    corpus = {"kind": "made_world", "documents": {"train": 200, "test": 50}}
    splits, again, other_seed = (task.splits(corpus, {}, seed) for seed in (0, 0, 1))
    prompts = {name: set(split["prompt"]) for name, split in splits.items()}
    assert {name: len(of_split) for name, of_split in prompts.items()} == corpus["documents"]
    assert not prompts["train"] & prompts["test"]
    for text in splits["train"]["completion"]:
        assert text.startswith(" ")
        assert not text.startswith("  ")
    assert again["train"].to_list() == splits["train"].to_list()
    assert other_seed["train"].to_list() != splits["train"].to_list()


@pytest.mark.parametrize(
    ("facts", "noise"), [(1, 0), (1, len(NOISE_FORMS)), (len(grammar.FACT_KINDS), 0)]
)
def test_the_smallest_and_the_largest_settings_work(facts, noise):
    rng = random.Random(0)
    task = SummarizationTask(facts=facts, noise=noise, word_cost=0)
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
def test_wrong_settings_are_refused_with_their_name_and_value(wrong, message):
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
