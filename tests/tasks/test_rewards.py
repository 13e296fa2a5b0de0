"""How often the labeller prefers, and what a reward model scores, row by row and in batches."""

import math
import random

import pytest
import torch
from datasets import Dataset
from scipy import special, stats
from transformers import LlamaForSequenceClassification

from tasks.rewards import labeller, learned
from tests.reward_models import random_reward_model
from training.tokenizer import train_tokenizer

LEVEL = 1e-4  # of each binomial test
DRAWS = 4000


@pytest.mark.parametrize(
    ("first", "second"), [(0, 0), (1, 0), (0, 1), (-4, -1.5), (3, 2.75), (8, 0)]
)
def test_the_labeller_prefers_the_first_with_probability_sigmoid_of_the_difference(first, second):
    rng = random.Random(0)
    count = sum(labeller.prefers_first(rng, first, second) for _ in range(DRAWS))
    assert stats.binomtest(count, DRAWS, special.expit(first - second)).pvalue > LEVEL


@pytest.mark.parametrize(
    ("settings", "odds"),
    [
        ({"sharpness": 4}, [4, -2, 0]),
        ({"sharpness": 4, "length_bias": 0.0}, [4, -2, 0]),
        ({"sharpness": 4, "length_bias": 0.25}, [4.75, -2, 2.5]),
        ({"sharpness": 1, "length_bias": -0.5}, [-0.5, -0.5, -5]),
    ],
)
def test_utilities_are_those_worked_out_by_hand(settings, odds):
    completion_ids = [[7] * 3, [], [7] * 10]
    utilities = labeller.utilities([1.0, -0.5, 0.0], completion_ids, **settings)
    assert utilities == pytest.approx(odds)


@pytest.mark.parametrize(("sharpness", "bias"), [(4, 0.0), (4, 0.2), (2, -0.1)])
def test_gold_and_length_are_worth_what_the_settings_say(sharpness, bias):
    """The second completion has a gold lower by 0.5 and 5 tokens more, so the odds are known."""
    rng = random.Random(1)
    first, second = labeller.utilities([0.0, -0.5], [[7] * 5, [7] * 10], sharpness, bias)
    count = sum(labeller.prefers_first(rng, first, second) for _ in range(DRAWS))
    odds = math.exp(sharpness / 2 - 5 * bias)
    assert stats.binomtest(count, DRAWS, odds / (1 + odds)).pvalue > LEVEL


PROMPTS = [
    "Nora is a baker.\nSummary:",
    "Tom lives in Oslo. He has a cat.\nSummary:",
    "x",
    "Tom is a cook.\nSummary:",
] * 2
COMPLETIONS = [
    " She bakes.",
    " Tom has a cat and lives in Oslo.",
    "",
    " Tom",
    " Nora is.",
    " A cat.",
    " ü",
    " Tom is a cook.",
]
FINISHED = [True, False, True, False, False, True, True, True]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random reward model and its tokenizer, as the workflow saves them."""
    path = tmp_path_factory.mktemp("reward")
    tokenizer = train_tokenizer(
        Dataset.from_dict({"prompt": PROMPTS[:4], "completion": COMPLETIONS[:4]}), vocab_size=300
    )
    random_reward_model(tokenizer).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def reward(folder):
    return learned.LearnedReward(folder)


def completion_ids(reward):
    return reward.tokenizer(COMPLETIONS).input_ids


def alone(folder, rows):
    """The score of each row of token ids by itself.

    It is the head's output on the state of the last token, without padding and without a mask.
    """
    model = LlamaForSequenceClassification.from_pretrained(folder).eval()
    scores = []
    with torch.no_grad():
        for row in rows:
            states = model.model(torch.tensor([row])).last_hidden_state
            scores.append(model.score(states[0, -1]).item())
    return scores


@pytest.mark.parametrize("batch", [1, 3, 256])
def test_scores_in_a_batch_are_those_of_each_row_alone(folder, reward, monkeypatch, batch):
    monkeypatch.setattr(learned, "BATCH", batch)
    ids = completion_ids(reward)
    eos = reward.tokenizer.eos_token_id
    rows = [
        reward.tokenizer(prompt).input_ids + completion + [eos] * ended
        for prompt, completion, ended in zip(PROMPTS, ids, FINISHED, strict=True)
    ]
    expected = alone(folder, rows)
    assert torch.tensor(expected).std() > 0.1
    assert reward(PROMPTS, ids, FINISHED) == pytest.approx(expected, abs=1e-4)


def test_a_completion_that_ended_is_followed_by_the_end_token(reward):
    ids = completion_ids(reward)
    ended = reward(PROMPTS, ids, [True] * len(ids))
    cut_off = reward(PROMPTS, ids, [False] * len(ids))
    ids_with_end = [completion + [reward.tokenizer.eos_token_id] for completion in ids]
    written_out = reward(PROMPTS, ids_with_end, [False] * len(ids))
    assert ended == pytest.approx(written_out, abs=1e-4)
    assert all(abs(first - second) > 1e-3 for first, second in zip(ended, cut_off, strict=True))


def test_scores_do_not_depend_on_the_order_of_rows(reward):
    ids = completion_ids(reward)
    order = random.Random(0).sample(range(len(ids)), len(ids))
    shuffled = reward(
        [PROMPTS[i] for i in order], [ids[i] for i in order], [FINISHED[i] for i in order]
    )
    expected = reward(PROMPTS, ids, FINISHED)
    assert shuffled == pytest.approx([expected[i] for i in order], abs=1e-4)


def test_a_prompt_and_its_completion_are_not_tokenized_together(folder, reward):
    """The tokens of a completion stay as they were sampled, even if its text has other tokens."""
    split = [reward.tokenizer.convert_tokens_to_ids(letter) for letter in "cat"]
    assert reward.tokenizer("cat").input_ids != split
    prompt = reward.tokenizer(PROMPTS[0]).input_ids
    assert reward(PROMPTS[:1], [split], [False]) == pytest.approx(
        alone(folder, [prompt + split]), abs=1e-4
    )
