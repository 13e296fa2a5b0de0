"""Splits drawn from a seed: no prompt occurs twice, in one split or in two."""

import random

import pytest

from tasks.world import drawn


def draw_from(count):
    """Draws one of `count` prompts, each time with another demonstration."""

    def draw(rng: random.Random) -> tuple[str, str]:
        prompt = rng.randrange(count)
        return str(prompt), f"{prompt} {rng.random()}"

    return draw


def train_rows(size, seed):
    """Rows drawn from so many prompts that hardly any is drawn twice."""
    return drawn.splits(draw_from(10**6), {"train": size}, seed)["train"].to_list()


def test_every_prompt_is_used_once_even_if_the_splits_need_all_of_them():
    sizes = {"train": 6, "validation": 3, "test": 1}
    splits = drawn.splits(draw_from(10), sizes, "seed")
    assert {name: len(split) for name, split in splits.items()} == sizes
    rows = [row for split in splits.values() for row in split]
    assert sorted(int(row["prompt"]) for row in rows) == list(range(10))
    assert all(row["completion"].split()[0] == row["prompt"] for row in rows)


@pytest.mark.parametrize("sizes", [{"train": 6, "test": 5}, {"test": 5, "train": 6}, {"train": 11}])
def test_too_few_prompts_are_an_error_that_names_the_split(sizes):
    last, size = list(sizes.items())[-1]
    message = rf"corpus\.documents\.{last} = {size}: .*does not have that many different prompts"
    with pytest.raises(ValueError, match=message):
        drawn.splits(draw_from(10), sizes, "seed")


def test_the_same_seed_gives_the_same_rows_and_another_seed_gives_others():
    first = train_rows(50, "a")
    assert first == train_rows(50, "a")
    prompts = {row["prompt"] for row in first}
    other_prompts = {row["prompt"] for row in train_rows(50, "b")}
    assert prompts.isdisjoint(other_prompts)  # by chance they meet once in 400


def test_a_larger_split_begins_with_the_smaller_one():
    assert train_rows(50, "seed")[:20] == train_rows(20, "seed")
