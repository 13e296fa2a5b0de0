"""Completions that share a row are scored as they are scored one by one, without padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.dera.architectures import tiny
from training.shared_prompts import share_prompts

# Prompts of different lengths, one of them in the middle of the batch and again at its end.
PAIRS = [
    ([3, 4, 5], [6, 7]),
    ([3, 4, 5], [8]),
    ([9], [3, 3, 4, 5]),
    ([4, 4], [7, 6, 5]),
    ([3, 4, 5], [7, 7, 7, 2]),
    ([9], [2]),
]


def padded(pairs) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Prompts padded at the left and completions padded at the right, as TRL has them."""
    longest_prompt = max(len(prompt) for prompt, _ in pairs)
    longest = max(len(completion) for _, completion in pairs)
    ids, mask = [], []
    for prompt, completion in pairs:
        left = longest_prompt - len(prompt)
        right = longest - len(completion)
        ids.append([0] * left + prompt + completion + [0] * right)
        mask.append([0] * left + [1] * (len(prompt) + len(completion)) + [0] * right)
    return torch.tensor(ids), torch.tensor(mask), longest


@pytest.mark.parametrize("architecture", ["llama", "qwen", "gpt2"])
@torch.no_grad()
def test_scores_are_those_of_each_completion_alone(architecture):
    model = tiny(architecture, 3).double()
    ids, mask, longest = padded(PAIRS)
    rows = share_prompts(ids, mask, longest)
    logits = model(
        input_ids=rows.input_ids,
        attention_mask=rows.attention_mask(torch.float64),
        position_ids=rows.position_ids,
    ).logits
    labels = rows.shift_labels.clamp(min=0)
    scores = rows.apart(logits.log_softmax(-1).gather(-1, labels[..., None])[..., 0])

    expected = np.zeros((len(PAIRS), longest))
    for number, (prompt, completion) in enumerate(PAIRS):
        alone = model(input_ids=torch.tensor([prompt + completion])).logits[0].log_softmax(-1)
        for place, token in enumerate(completion):
            expected[number, place] = alone[len(prompt) - 1 + place, token]
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-9)


def test_a_prompt_is_in_the_batch_once():
    ids, mask, longest = padded(PAIRS)
    rows = share_prompts(ids, mask, longest)
    # each row has its prompt but for the last token, and as many tokens as its completions have
    lengths = (rows.branches > -2).sum(1).tolist()
    assert lengths == [2 + 2 + 1 + 4, 0 + 4 + 1, 1 + 3]


def test_without_a_common_prompt_there_is_nothing_to_share():
    ids, mask, longest = padded([([3], [4]), ([5], [4]), ([3, 3], [4])])
    assert share_prompts(ids, mask, longest) is None
