"""A reward model as a reward: what the labeller's pairs taught it, in log-odds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerBase

BATCH = 256


class LearnedReward:
    """Scores completions with a sequence classifier of one output.

    Args:
        folder: a reward model and its tokenizer.
        device: where to run it.
    """

    def __init__(self, folder: Path, device: str = "cpu"):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = (
            AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True)
            .eval()
            .to(device)
        )

    @torch.no_grad()
    def __call__(
        self,
        prompts: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
        finished: Sequence[bool],
    ) -> list[float]:
        """One score a completion; `finished` says which ended by themselves, and so are followed by the end-of-sequence token."""
        rows = [
            tokens_of(self.tokenizer, prompt_ids, ids, ended)
            for prompt_ids, ids, ended in zip(
                self.tokenizer(list(prompts)).input_ids, completion_ids, finished, strict=True
            )
        ]
        order = sorted(
            range(len(rows)), key=lambda i: len(rows[i])
        )  # rows of like length share a batch
        scores = [0.0] * len(rows)
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            inputs = self.tokenizer.pad(
                {"input_ids": [rows[i] for i in batch]}, padding_side="right", return_tensors="pt"
            )
            for i, score in zip(
                batch, self.model(**inputs.to(self.model.device)).logits[:, 0].tolist(), strict=True
            ):
                scores[i] = score
        return scores


def tokens_of(
    tokenizer: PreTrainedTokenizerBase,
    prompt_ids: Sequence[int],
    completion_ids: Sequence[int],
    finished: bool,
) -> list[int]:
    """What the reward model reads: prompt, completion, and the end-of-sequence token where there was one."""
    return [*prompt_ids, *completion_ids, *([tokenizer.eos_token_id] if finished else [])]
