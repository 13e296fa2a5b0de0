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


def padded(pairs, left: bool = True) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return ids, the mask of what is no padding, and the mask of completions, as TRL has them.

    Its trainers that sample pad prompts at the left and completions at the right. The trainer for
    pairs pads prompt and completion together, at the right.
    """
    longest_prompt = max(len(prompt) for prompt, _ in pairs)
    longest = longest_prompt + max(len(completion) for _, completion in pairs)
    ids, mask, in_completion = [], [], []
    for prompt, completion in pairs:
        before = [0] * (longest_prompt - len(prompt)) if left else []
        after = [0] * (longest - len(before) - len(prompt) - len(completion))
        ids.append(before + prompt + completion + after)
        mask.append(before + [1] * len(prompt + completion) + after)
        in_completion.append([0] * len(before + prompt) + [1] * len(completion) + after)
    return torch.tensor(ids), torch.tensor(mask), torch.tensor(in_completion)


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("architecture", ["llama", "qwen", "gpt2"])
@torch.no_grad()
def test_scores_are_those_of_each_completion_alone(architecture, left):
    model = tiny(architecture, 3).double()
    ids, mask, in_completion = padded(PAIRS, left)
    rows = share_prompts(ids, mask, in_completion)
    logits = model(
        input_ids=rows.input_ids,
        attention_mask=rows.attention_mask(torch.float64),
        position_ids=rows.position_ids,
    ).logits
    labels = rows.shift_labels.clamp(min=0)
    scores = rows.apart(logits.log_softmax(-1).gather(-1, labels[..., None])[..., 0])

    expected = np.zeros(ids.shape)
    for number, (prompt, completion) in enumerate(PAIRS):
        alone = model(input_ids=torch.tensor([prompt + completion])).logits[0].log_softmax(-1)
        first = in_completion[number].tolist().index(1)
        for place, token in enumerate(completion):
            expected[number, first + place] = alone[len(prompt) - 1 + place, token]
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-9)


def test_a_prompt_is_in_the_batch_once():
    rows = share_prompts(*padded(PAIRS))
    # each row has its prompt but for the last token, and as many tokens as its completions have
    lengths = (rows.branches > -2).sum(1).tolist()
    assert lengths == [2 + 2 + 1 + 4, 0 + 4 + 1, 1 + 3]


def test_without_a_common_prompt_there_is_nothing_to_share():
    assert share_prompts(*padded([([3], [4]), ([5], [4]), ([3, 3], [4])])) is None
