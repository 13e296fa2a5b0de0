"""A reward model must beat chance on held-out pairs, and reads the tokens that were sampled."""

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


def smallest_that_passes(pairs):
    """The smallest number of correct pairs that chance reaches less often than the level.

    It is found by exact counting.
    """
    tail, correct = 0, pairs + 1
    while Fraction(tail + math.comb(pairs, correct - 1), 2**pairs) < LEVEL:
        correct -= 1
        tail += math.comb(pairs, correct)
    return correct


@pytest.mark.parametrize("pairs", [20, 21, 50, 100, 101, 512, 1000])
def test_chance_passes_exactly_as_often_as_stated(pairs):
    smallest = smallest_that_passes(pairs)
    assert check_accuracy(smallest, pairs, "toy")["accuracy"] == smallest / pairs
    with pytest.raises(RewardModelError) as refused:
        check_accuracy(smallest - 1, pairs, "toy")
    message = str(refused.value)
    assert message.startswith(f"task toy: the reward model ranks {smallest - 1} of {pairs} ")
    assert f"({(smallest - 1) / pairs:.1%})" in message
    assert f"must rank {smallest} ({smallest / pairs:.1%})" in message


@pytest.mark.parametrize("correct", [0, 30, 50, 61])
def test_an_accuracy_of_chance_or_less_is_refused(correct):
    message = rf"task toy: .* {correct} of 100 .*must rank 63 \(63\.0%\).*preferences\.pairs"
    with pytest.raises(RewardModelError, match=message):
        check_accuracy(correct, 100, "toy")


@pytest.mark.parametrize(("correct", "pairs"), [(80, 100), (100, 100), (300, 512)])
def test_the_interval_is_wilsons(correct, pairs):
    z = 1.959963984540054
    share = correct / pairs
    middle = share + z * z / (2 * pairs)
    width = z * math.sqrt(share * (1 - share) / pairs + z * z / (4 * pairs * pairs))
    accuracy = check_accuracy(correct, pairs, "toy")
    assert accuracy["low"] == pytest.approx((middle - width) / (1 + z * z / pairs))
    assert accuracy["high"] == pytest.approx((middle + width) / (1 + z * z / pairs))
    assert accuracy["pairs"] == pairs


WORDS = ["Nora", "Tom", "She", "He", "is", "has", "a", "the", "cat", "dog", "baker", "in", "Oslo"]


@pytest.fixture(scope="module")
def pairs():
    rng = random.Random(0)

    def text(max_words):
        return "".join(" " + rng.choice(WORDS) for _ in range(rng.randint(1, max_words)))

    rows = []
    for _ in range(151):
        rows.append({"prompt": text(12), "chosen": text(8), "rejected": text(8)})
    return Dataset.from_list(rows)


@pytest.fixture(scope="module")
def tokenizer(pairs):
    return train_tokenizer(pairs.rename_column("chosen", "completion"), vocab_size=290)


def test_a_pair_is_tokenized_as_prompt_completion_and_end_token(pairs, tokenizer):
    rows = tokenized(pairs, tokenizer)
    assert set(rows.column_names) == {"chosen_ids", "rejected_ids"}
    assert len(rows) == len(pairs)
    for row, texts in zip(rows, pairs, strict=True):
        prompt = tokenizer(texts["prompt"]).input_ids
        for side in ("chosen", "rejected"):
            completion = tokenizer(texts[side]).input_ids
            assert row[f"{side}_ids"] == prompt + completion + [tokenizer.eos_token_id]


@torch.no_grad()
def scores_alone(model, rows):
    """The scores of the two completions of each pair, each computed by itself."""

    def score(ids):
        states = model.model(torch.tensor([ids])).last_hidden_state
        return model.score(states[0, -1]).item()

    return [(score(row["chosen_ids"]), score(row["rejected_ids"])) for row in rows]


def test_a_held_out_pair_counts_if_the_chosen_completion_alone_has_the_higher_score(
    pairs, tokenizer, tmp_path
):
    model = random_reward_model(tokenizer).eval()
    rows = tokenized(pairs, tokenizer)
    scores = scores_alone(model, rows)
    differences = [abs(chosen - rejected) for chosen, rejected in scores if chosen != rejected]
    assert min(differences) > 1e-4  # no tie is broken by rounding
    arguments = RewardConfig(
        output_dir=str(tmp_path), use_cpu=True, bf16=False, max_length=None, report_to=[]
    )
    trainer = RewardTrainer(
        model=model, args=arguments, train_dataset=rows, processing_class=tokenizer
    )
    right = sum(chosen > rejected for chosen, rejected in scores)
    assert 30 < right < 121
    assert ranked_correctly(trainer, rows) == right
