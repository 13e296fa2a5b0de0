"""A reward model as a reward: what the labeller's pairs taught it, in log-odds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerBase

from dera import chat

#: Completions that are scored at once.
BATCH = 256


class LearnedReward:
    """Scores completions with a sequence classifier of one output.

    Args:
        folder: a reward model and its tokenizer.
        device: where the model runs.
    """

    def __init__(self, folder: Path, device: str = "cpu"):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True)
        self.model = model.eval().to(device)

    def __call__(
        self,
        prompts: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
        finished: Sequence[bool],
    ) -> list[float]:
        """Return one score for each completion.

        Args:
            prompts: the prompt of each completion.
            completion_ids: tokens of each completion, without the end-of-sequence token.
            finished: whether each completion ended by itself; the end-of-sequence token then
                follows it.
        """
        prompt_ids = chat.for_prompts(self.tokenizer)(list(prompts)).input_ids
        rows = [
            tokens_of(self.tokenizer, *row)
            for row in zip(prompt_ids, completion_ids, finished, strict=True)
        ]

        # Rows of similar length share a batch, so that little of it is padding.
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        scores = [0.0] * len(rows)
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            batch_scores = self._scores([rows[i] for i in batch])
            for i, score in zip(batch, batch_scores, strict=True):
                scores[i] = score
        return scores

    @torch.no_grad()
    def _scores(self, rows: list[list[int]]) -> list[float]:
        """Return the scores of one batch of token ids."""
        inputs = self.tokenizer.pad({"input_ids": rows}, padding_side="right", return_tensors="pt")
        return self.model(**inputs.to(self.model.device)).logits[:, 0].tolist()


def tokens_of(
    tokenizer: PreTrainedTokenizerBase,
    prompt_ids: Sequence[int],
    completion_ids: Sequence[int],
    finished: bool,
) -> list[int]:
    """Return what the reward model reads of one completion.

    This is the prompt, the completion, and the end-of-sequence token if the completion ended.
    """
    end = [tokenizer.eos_token_id] if finished else []
    return [*prompt_ids, *completion_ids, *end]
