"""Which facts a text states, lacks and invents, by hand-made examples and by a template."""

import json
import math
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import facts
from tasks.data_to_text import LABELS, REQUEST, create, given_facts, prompt_of
from tasks.facts import errors
from tasks.facts.rule import check
from tests import e2e

CORPUS = {
    "kind": "local_files",
    "columns": {"prompt": "meaning_representation", "completion": "text"},
}
MILL = "name[The Mill], "
# facts after the name, a text, what it lacks and what it invents
EXAMPLES = [
    ("priceRange[cheap]", "The Mill has low prices.", "", ""),
    ("priceRange[cheap]", "The Mill is cheap.", "", ""),
    ("priceRange[cheap]", "You pay less than £20 at The Mill.", "", ""),
    ("priceRange[less than £20]", "The Mill is inexpensive.", "", ""),
    ("priceRange[cheap]", "The Mill is affordable.", "", ""),
    ("priceRange[high]", "The Mill is affordable.", "priceRange", "priceRange"),
    ("priceRange[high]", "The Mill is in the upper price range.", "", ""),
    ("priceRange[more than £30]", "The Mill is expensive, with meals over 30 pounds.", "", ""),
    ("priceRange[£20-25]", "The Mill charges between £20 and £25.", "", ""),
    ("priceRange[high]", "The Mill is not expensive.", "priceRange", "priceRange"),
    ("priceRange[moderate]", "The Mill has above average prices.", "priceRange", "priceRange"),
    ("priceRange[cheap]", "The Mill has a low customer rating.", "priceRange", "customer rating"),
    ("customer rating[high]", "The Mill is highly rated.", "", ""),
    ("customer rating[5 out of 5]", "The Mill has five stars.", "", ""),
    ("customer rating[high]", "Customers rate The Mill 5 out of 5 stars.", "", ""),
    ("customer rating[low]", "The Mill has a poor rating.", "", ""),
    ("customer rating[1 out of 5]", "The Mill, a one-star place.", "", ""),
    ("customer rating[low]", "The Mill is not highly rated.", "", ""),
    ("customer rating[average]", "The Mill has a 3/5 rating.", "", ""),
    (
        "customer rating[3 out of 5]",
        "The Mill is rated 1 out of 5.",
        "customer rating",
        "customer rating",
    ),
    ("customer rating[low]", "The Mill has low prices.", "customer rating", "priceRange"),
    ("customer rating[low], priceRange[high]", "The Mill: low ratings and high prices.", "", ""),
    (
        "customer rating[high], priceRange[cheap]",
        "The Mill has a low price range and a high customer rating.",
        "",
        "",
    ),
    ("familyFriendly[no]", "The Mill is adults only.", "", ""),
    ("familyFriendly[no]", "The Mill isn't kid friendly.", "", ""),
    ("familyFriendly[no]", "The Mill is a non-family-friendly place.", "", ""),
    ("familyFriendly[yes]", "Bring your children to The Mill.", "", ""),
    ("familyFriendly[yes]", "The Mill is not cheap, but it is kid friendly.", "", "priceRange"),
    ("familyFriendly[yes]", "The Mill does not allow children.", *["familyFriendly"] * 2),
    ("familyFriendly[yes]", "Not only is The Mill family-friendly.", "", ""),
    ("area[riverside]", "The Mill is by the river.", "", ""),
    ("area[riverside]", "The Mill is in the City Centre.", "area", "area"),
    ("area[city centre]", "The Mill lies in the heart of the city.", "", ""),
    ("eatType[pub]", "The Mill pub.", "", ""),
    ("eatType[pub]", "The Mill is a coffee shop.", "eatType", "eatType"),
    ("food[English]", "The Mill serves traditional British food.", "", ""),
    ("food[English]", "The Mill serves Thai food.", "food", "food"),
    ("near[Raja Indian Cuisine]", "The Mill is near Raja Indian Cuisine.", "", ""),
    ("near[Café Rouge]", "The Mill is near the Cafe Rouge.", "", ""),
    ("near[Café Rouge]", "The Mill is near Burger King.", "near", "near"),
    ("near[Crowne Plaza Hotel]", "The Mill is next to the Crown Plaza Hotel.", "", ""),
    ("area[riverside]", "The Mill, riverside, is near the London Eye.", "", "near"),
    ("area[riverside]", "The Golden Curry is by the riverside.", "name", "near"),
    ("area[riverside]", "", "name area", ""),
]


@pytest.mark.parametrize(("given_after", "text", "missing", "invented"), EXAMPLES)
def test_what_is_missing_and_what_is_invented(given_after, text, missing, invented):
    verdict = check(facts.parse(MILL + given_after), text)
    assert verdict.missing == set(_kinds(missing))
    assert verdict.invented == set(_kinds(invented))
    assert verdict.stated == set(facts.parse(MILL + given_after)) - verdict.missing


def _kinds(words):
    return [kind for kind in facts.KINDS if kind in words]


@settings(deadline=None)
@given(st.integers(0, 2**32), st.data())
def test_of_a_template_the_rule_finds_exactly_the_facts_that_were_changed(seed, data):
    rng = random.Random(seed)
    told = e2e.draw(rng)
    assert check(told, e2e.sentence(told)) == check(told, e2e.sentence(told).upper())
    assert not check(told, e2e.sentence(told)).missing

    # Each fact is kept, left out of the text, or replaced in it, and others are put into it.
    said = dict(told)
    missing, invented = set(), set()
    for kind in e2e.PHRASES:
        values = list(e2e.PHRASES[kind])
        if kind not in told:
            if data.draw(st.booleans(), label=f"add {kind}"):
                said[kind] = rng.choice(values)
                invented.add(kind)
            continue
        choice = data.draw(st.sampled_from(["keep", "drop", "replace"]), label=kind)
        if choice == "drop":
            del said[kind]
            missing.add(kind)
        if choice == "replace":
            said[kind] = rng.choice([v for v in values if not same(v, told[kind])])
            missing.add(kind)
            invented.add(kind)
    if "near" in said and data.draw(st.booleans(), label="near"):
        said["near"] = rng.choice([place for place in e2e.PLACES if place != told["near"]])
        missing.add("near")
        invented.add("near")

    verdict = check(told, e2e.sentence(said))
    assert verdict.missing == missing
    assert verdict.invented == invented


def same(first, second):
    """Whether a text may state both values in the same words."""
    return first == second or any({first, second} <= level for level in e2e.LEVELS)


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_judged(text):
    task = create({})
    measures = task.judge([prompt_of(e2e.draw(random.Random(1)))], [text], [[1]])
    assert all(math.isfinite(values[0]) for values in measures.values())
    assert -5 <= measures["gold"][0] <= 0


FACTS = "name[The Mill], eatType[pub], area[riverside], near[Burger King]"
GOLD = [
    ("The Mill is a pub by the river near Burger King.", 0, 0, 1),
    ("The Mill is a pub near Burger King.", 1, 0, 1),
    ("The Mill is a cheap pub by the river near Burger King.", 0, 1, 1),
    ("The Mill is a pub in the city centre near Burger King.", 1, 1, 1),
    ("This cheap, kid friendly restaurant serves sushi near the Hilton.", 4, 5, 1),
    ("The Mill is a pub by the river near", 1, 0, 0),
]


@pytest.mark.parametrize(("text", "missing", "invented", "whole"), GOLD)
def test_gold_counts_faults_and_what_is_not_whole_has_the_worst(text, missing, invented, whole):
    measures = create({"most_faults": 6}).judge([prompt_of(facts.parse(FACTS))], [text], [[1]])
    row = {name: values[0] for name, values in measures.items()}
    assert row == {
        "missing": missing,
        "invented": invented,
        "hallucinated": invented > 0,
        "statements": 4 - missing + invented,
        "coverage": 1 - missing / 4,
        "wellformed": whole,
        "gold": -min(missing + invented, 6) if whole else -6,
    }


def test_a_prompt_has_every_fact_in_a_line_and_is_read_back():
    told = facts.parse(
        "name[Zizzi], eatType[pub], food[Fast food], priceRange[£20-25], customer rating[low], "
        "area[riverside], familyFriendly[no], near[Café Rouge]"
    )
    prompt = prompt_of(told)
    assert prompt.startswith(REQUEST)
    assert prompt.splitlines()[1:] == [f"{LABELS[kind]}: {told[kind]}" for kind in facts.KINDS]
    assert given_facts(prompt) == told
    with pytest.raises(ValueError, match="is no list of facts"):
        given_facts("Tell me about The Mill.")


@pytest.mark.parametrize(
    ("meaning", "message"),
    [
        ("The Mill", "is no list of facts, because of 'The Mill'"),
        ("name[The Mill], colour[red]", r"because of 'colour\[red\]'"),
        ("name[The Mill], area[park]", "unknown value of 'area': 'park'; allowed: city centre"),
    ],
)
def test_facts_of_another_form_are_refused_with_what_is_wrong(tmp_path, meaning, message):
    with pytest.raises(ValueError, match=message):
        facts.parse(meaning)
    paths = e2e.save(tmp_path, train=8, validation=2, test=2)
    append(paths["test"], meaning, "The Mill.")
    with pytest.raises(ValueError, match=rf"corpus\.columns\.prompt: .*{message}"):
        create({}).splits(CORPUS, paths, seed=1)


def append(path, meaning, text):
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"meaning_representation": meaning, "text": text}) + "\n")


def test_rows_that_contradict_themselves_are_left_out_and_texts_end_like_sentences(tmp_path):
    paths = e2e.save(tmp_path, train=8, validation=2, test=2)
    append(paths["train"], "name[Zizzi], eatType[pub], eatType[restaurant]", "Zizzi is two.")
    append(paths["train"], "name[Zizzi], eatType[pub]", "Zizzi  is a pub")
    train = create({}).splits(CORPUS, paths, seed=1)["train"]
    assert len(train) == 9
    texts = dict(zip(train["prompt"], train["completion"], strict=True))
    assert texts[prompt_of({"name": "Zizzi", "eatType": "pub"})] == "Zizzi is a pub."


def test_train_has_every_text_and_the_other_splits_have_one_for_each_set_of_facts(tmp_path):
    paths = e2e.save(tmp_path, train=8, validation=2, test=2)
    for split in ("train", "test"):
        append(
            paths[split], f"name[Zizzi], area[riverside]{', near[Ranch]' * (split == 'test')}", "A."
        )
        append(
            paths[split], f"name[Zizzi], area[riverside]{', near[Ranch]' * (split == 'test')}", "B."
        )
    append(paths["train"], "name[Zizzi], area[riverside], near[Ranch]", "It is in the test split.")
    splits = create({}).splits(CORPUS, paths, seed=1)
    assert {name: len(rows) for name, rows in splits.items()} == {
        "train": 10,
        "validation": 2,
        "test": 3,
    }


def test_splits_that_name_one_file_share_its_facts(tmp_path):
    paths = e2e.save(tmp_path, train=400, test=10)
    paths = {"train": paths["train"], "validation": paths["train"], "test": paths["test"]}
    splits = create({}).splits(CORPUS, paths, seed=1)
    again = create({}).splits(CORPUS, paths, seed=2)
    prompts = {name: set(rows["prompt"]) for name, rows in splits.items()}
    assert not prompts["train"] & prompts["validation"]
    assert len(prompts["train"] | prompts["validation"]) == 400
    # A part of an eighth has a mean of 50 and a standard error of 6.6; 26 is four of them.
    assert abs(len(prompts["validation"]) - 50) <= 26
    assert prompts == {name: set(rows["prompt"]) for name, rows in again.items()}
    assert list(splits["train"]["prompt"]) != list(again["train"]["prompt"])


def test_a_split_without_facts_of_its_own_is_refused(tmp_path):
    paths = e2e.save(tmp_path, train=2, validation=2, test=2)
    Path(paths["train"]).write_text(Path(paths["test"]).read_text())
    with pytest.raises(ValueError, match=r"corpus\.files\.train: no facts are left"):
        create({}).splits(CORPUS, paths, seed=1)


@pytest.mark.parametrize("most_faults", [0, -1, 2.5])
def test_settings_that_make_no_sense(most_faults):
    with pytest.raises(ValueError, match=f"most_faults = {most_faults} must be a whole number"):
        create({"most_faults": most_faults})


def test_errors_of_the_rule_are_counted_in_one_half(tmp_path):
    """Texts by the template, of which a third lack the last fact; the rule makes no mistake."""
    paths = [Path(path) for path in e2e.save(tmp_path, train=90, test=90).values()]
    held_out, contradictions = errors.read(paths)
    seen, _ = errors.read(paths, held_out=False)
    assert contradictions == 0
    assert len(held_out) + len(seen) == 180
    assert not {row.meaning for row in held_out} & {row.meaning for row in seen}
    lacking = sum(row.text != e2e.sentence(row.facts) for row in held_out)
    missing, invented = errors.means(held_out)
    assert missing.value == pytest.approx(lacking / len(held_out))
    assert invented.value == 0 == invented.half_width
    # With one text for each set of facts, the interval is that of a share.
    share = lacking / len(held_out)
    spread = math.sqrt(share * (1 - share) / (len(held_out) - 1))
    assert missing.half_width == pytest.approx(1.96 * spread)


def test_changes_that_the_rule_does_not_see_are_counted():
    """The second text states no area, so a dropped area cannot be found in it."""
    told = {"name": "Zizzi", "area": "riverside"}
    texts = ["Zizzi is by the river.", "Zizzi is nice."]
    rows = [errors.Row("", told, text) for text in texts]
    dropped = errors.missed(rows, "dropped")
    assert (dropped["area"].wrong, dropped["area"].labelled) == (1, 2)
    assert (dropped["name"].wrong, dropped["name"].labelled) == (0, 2)
    added = errors.missed(rows, "added")
    assert set(added) == set(facts.KINDS) - set(told)
    assert all((rate.wrong, rate.labelled) == (0, 2) for rate in added.values())


def test_a_changed_fact_has_another_level():
    rng = random.Random(3)
    told = {"name": "Zizzi", "priceRange": "cheap"}
    spoilt = {errors.spoil(told, "priceRange", "changed", rng)["priceRange"] for _ in range(200)}
    assert spoilt == {"moderate", "£20-25", "high", "more than £30"}
    assert errors.spoil(told, "priceRange", "added", rng) is None
    assert errors.spoil(told, "area", "dropped", rng) is None


def test_files_that_cannot_be_counted_are_refused(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "Zizzi."}\n')
    with pytest.raises(ValueError, match=r"x.jsonl has no column meaning_representation"):
        errors.read([path])
    path.write_text("")
    with pytest.raises(ValueError, match="no text in this half"):
        errors.read([path])


@pytest.mark.skipif(
    "DERA_E2E" not in os.environ, reason="DERA_E2E does not name a folder with the files of E2E"
)
def test_the_rule_is_mostly_right_about_the_held_out_half():
    """Most of what it calls invented is: by hand, about 7 of 100 such verdicts were wrong."""
    paths = sorted(Path(os.environ["DERA_E2E"]).glob("*.jsonl.gz"))
    rows, _ = errors.read(paths)
    missing, invented = errors.means(rows)
    assert missing.value <= 0.04
    assert invented.value <= 0.25
    for change, most in (("changed", 0.02), ("dropped", 0.01), ("added", 0.06)):
        rates = errors.missed(rows[::10], change).values()
        assert sum(rate.wrong for rate in rates) <= most * sum(rate.labelled for rate in rates)
