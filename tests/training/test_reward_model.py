"""A reward model must beat chance on held-out pairs, and is tested on what was sampled."""

import math
import random
from fractions import Fraction

import pytest
import torch
from datasets import Dataset
from trl import RewardConfig, RewardTrainer

from tests.reward_models import random_reward_model
from training.reward_model import RewardModelError, check_accuracy, ranked_correctly, tokenized
from training.tokenizer import train_tokenizer

LEVEL = Fraction(1, 100)


def least_that_passes(of):
    """The fewest correct ones that chance reaches less often than the level, by exact counting."""
    tail, correct = 0, of + 1
    while Fraction(tail + math.comb(of, correct - 1), 2**of) < LEVEL:
        correct -= 1
        tail += math.comb(of, correct)
    return correct


@pytest.mark.parametrize("of", [20, 21, 50, 100, 101, 512, 1000])
def test_chance_passes_as_often_as_stated_and_no_oftener(of):
    least = least_that_passes(of)
    assert check_accuracy(least, of, "toy")["accuracy"] == least / of
    with pytest.raises(RewardModelError) as refused:
        check_accuracy(least - 1, of, "toy")
    message = str(refused.value)
    assert message.startswith(f"task toy: the reward model ranks {least - 1} of {of} ")
    assert f"({(least - 1) / of:.1%})" in message
    assert f"must rank {least} ({least / of:.1%})" in message


@pytest.mark.parametrize("correct", [0, 30, 50, 61])
def test_chance_and_worse_are_refused(correct):
    with pytest.raises(
        RewardModelError,
        match=rf"task toy: .* {correct} of 100 .*must rank 63 \(63\.0%\).*preferences\.pairs",
    ):
        check_accuracy(correct, 100, "toy")


@pytest.mark.parametrize(("correct", "of"), [(80, 100), (100, 100), (300, 512)])
def test_the_interval_is_wilsons(correct, of):
    z, share = 1.959963984540054, correct / of
    middle, width = (
        share + z * z / (2 * of),
        z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of)),
    )
    found = check_accuracy(correct, of, "toy")
    assert found["low"] == pytest.approx((middle - width) / (1 + z * z / of))
    assert found["high"] == pytest.approx((middle + width) / (1 + z * z / of))
    assert found["pairs"] == of


WORDS = ["Nora", "Tom", "She", "He", "is", "has", "a", "the", "cat", "dog", "baker", "in", "Oslo"]


@pytest.fixture(scope="module")
def pairs():
    rng = random.Random(0)

    def text(most):
        return "".join(" " + rng.choice(WORDS) for _ in range(rng.randint(1, most)))

    columns = {"prompt": 12, "chosen": 8, "rejected": 8}
    return Dataset.from_list(
        [{name: text(most) for name, most in columns.items()} for _ in range(151)]
    )


@pytest.fixture(scope="module")
def tokenizer(pairs):
    return train_tokenizer(pairs.rename_column("chosen", "completion"), vocab_size=290)


def test_pairs_are_prompt_completion_and_end(pairs, tokenizer):
    found = tokenized(pairs, tokenizer)
    assert set(found.column_names) == {"chosen_ids", "rejected_ids"}
    assert len(found) == len(pairs)
    for row, texts in zip(found, pairs, strict=True):
        for side in ("chosen", "rejected"):
            expected = (
                tokenizer(texts["prompt"]).input_ids
                + tokenizer(texts[side]).input_ids
                + [tokenizer.eos_token_id]
            )
            assert row[f"{side}_ids"] == expected


def test_held_out_pairs_are_counted_as_each_completion_alone_is_scored(pairs, tokenizer, tmp_path):
    model, rows = random_reward_model(tokenizer).eval(), tokenized(pairs, tokenizer)
    with torch.no_grad():
        scores = [
            [
                model.score(model.model(torch.tensor([row[side]])).last_hidden_state[0, -1]).item()
                for side in rows.column_names
            ]
            for row in rows
        ]
    assert rows.column_names == ["chosen_ids", "rejected_ids"]
    assert (
        min(abs(chosen - rejected) for chosen, rejected in scores if chosen != rejected) > 1e-4
    )  # no tie is broken by rounding
    arguments = RewardConfig(
        output_dir=str(tmp_path), use_cpu=True, bf16=False, max_length=None, report_to=[]
    )
    trainer = RewardTrainer(
        model=model, args=arguments, train_dataset=rows, processing_class=tokenizer
    )
    right = sum(chosen > rejected for chosen, rejected in scores)
    assert 30 < right < 121
    assert ranked_correctly(trainer, rows) == right
