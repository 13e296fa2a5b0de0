"""Splits drawn from a seed: no prompt twice, in one split or in two."""

import random

import pytest

from tasks.world import drawn


def draw_from(count):
    """Draws one of `count` prompts, and a demonstration that is another each time."""

    def draw(rng: random.Random) -> tuple[str, str]:
        prompt = rng.randrange(count)
        return str(prompt), f"{prompt} {rng.random()}"

    return draw


def test_every_prompt_is_used_once_even_if_none_is_left_over():
    splits = drawn.splits(draw_from(10), {"train": 6, "validation": 3, "test": 1}, "seed")
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 6,
        "validation": 3,
        "test": 1,
    }
    rows = [row for split in splits.values() for row in split]
    assert sorted(int(row["prompt"]) for row in rows) == list(range(10))
    assert all(row["completion"].split()[0] == row["prompt"] for row in rows)


@pytest.mark.parametrize("sizes", [{"train": 6, "test": 5}, {"test": 5, "train": 6}, {"train": 11}])
def test_too_few_prompts_are_an_error_that_names_the_split(sizes):
    last, size = list(sizes.items())[-1]
    with pytest.raises(
        ValueError, match=rf"corpus\.documents\.{last} = {size}: .*not so many different prompts"
    ):
        drawn.splits(draw_from(10), sizes, "seed")


def test_seeds_repeat_and_differ():
    first, again, other = (
        drawn.splits(draw_from(10**6), {"train": 50}, seed)["train"].to_list()
        for seed in ("a", "a", "b")
    )
    assert first == again
    assert {row["prompt"] for row in first}.isdisjoint(
        row["prompt"] for row in other
    )  # by chance they meet once in 400


def test_a_larger_split_begins_with_the_smaller_one():
    small, large = (
        drawn.splits(draw_from(10**6), {"train": size}, "seed")["train"].to_list()
        for size in (20, 50)
    )
    assert large[:20] == small
