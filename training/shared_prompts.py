"""Score several completions of one prompt in one row, so that the prompt is read once.

A trainer that samples scores each completion as a row of its own, which repeats the prompt for each
of its completions and pads every row to the longest. Here all completions of a prompt share a row:

    p1 p2 | p3 a1 a2 | p3 b1 | p3 c1 c2 c3 ...

The prompt but for its last token comes first. Then each completion has a branch, which begins with
the prompt's last token and ends before the completion's last token, so that each token of a branch
predicts one token of the completion. A token attends to the prompt and to its own branch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

#: The label of a token that predicts nothing, as TRL and transformers have it.
IGNORED = -100
#: The branch of the prompt's tokens, and that of padding.
PROMPT = -1
PADDING = -2

#: Log-probabilities of a token that were computed in two ways differ by less than this.
SAME_WITHIN = 1e-3
#: What TRL's heads say of each token that has a label, as far as it is asked for.
OF_TOKENS = ("log_probs", "entropy", "mean_logits", "is_top1")


@dataclass(frozen=True)
class SharedRows:
    """The rows of several prompts with all of their completions.

    Attributes:
        input_ids: shape (prompts, length), padded at the right.
        position_ids: each token's place in its prompt and completion, of the same shape.
        shift_labels: the token that each token predicts, or `IGNORED`, of the same shape.
        branches: the branch of each token, `PROMPT` or `PADDING`, of the same shape.
        of_tokens: for each token of a completion, in the order in which rows and their branches
            come, its place among the rows as they were given, shape (3, tokens): the row here, the
            column here, and the place in the flattened rows that were given.
        shape: that of the rows as they were given, (completions, tokens).
    """

    input_ids: Tensor
    position_ids: Tensor
    shift_labels: Tensor
    branches: Tensor
    of_tokens: Tensor
    shape: tuple[int, ...]

    def attention_mask(self, dtype: torch.dtype) -> Tensor:
        """Return 0 where a token attends and the lowest number elsewhere.

        Returns:
            shape (prompts, 1, length, length).
        """
        length = self.input_ids.shape[1]
        of_query = self.branches[:, :, None]
        of_key = self.branches[:, None, :]
        not_later = torch.ones(length, length, dtype=torch.bool, device=of_key.device).tril()
        attends = ((of_key == PROMPT) | (of_key == of_query)) & not_later
        mask = torch.zeros(attends.shape, dtype=dtype, device=attends.device)
        return mask.masked_fill_(~attends, torch.finfo(dtype).min)[:, None]

    def apart(self, values: Tensor) -> Tensor:
        """Return values that tokens here have for the token that each predicts.

        Returns:
            each value at the predicted token, in the shape of the rows as they were given. Prompts
            and padding get 0.
        """
        rows, columns, places = self.of_tokens
        flat = values.new_zeros(self.shape[0] * self.shape[1])
        return flat.index_put((places,), values[rows, columns]).view(self.shape)


def share_prompts(
    input_ids: Tensor, attention_mask: Tensor, in_completion: Tensor
) -> SharedRows | None:
    """Put completions of the same prompt into one row.

    Args:
        input_ids: prompts, each followed by its completion, shape (completions, tokens).
        attention_mask: 0 at padding, which may be anywhere, of the same shape.
        in_completion: whether a token belongs to the completion, of the same shape.

    Returns:
        None where there is nothing to gain, because no two completions have the same prompt.
    """
    prompts: dict[tuple[int, ...], list[int]] = {}
    completions: list[list[int]] = []
    columns_of: list[list[int]] = []
    kept = attention_mask.bool()
    in_prompt = kept & ~in_completion.bool()
    in_completion = kept & in_completion.bool()
    for number, row in enumerate(input_ids):
        prompts.setdefault(tuple(row[in_prompt[number]].tolist()), []).append(number)
        completions.append(row[in_completion[number]].tolist())
        columns_of.append(in_completion[number].nonzero()[:, 0].tolist())
    if len(prompts) == len(input_ids):
        return None
    assert all(prompts), "a prompt has at least one token"

    lines = []
    for prompt_ids, members in prompts.items():
        lines.append(_line(prompt_ids, [completions[number] for number in members]))
    columns = []
    for column, fill in zip(zip(*lines, strict=True), (0, 0, IGNORED, PADDING), strict=True):
        rows_of_column = [torch.tensor(row, dtype=torch.long) for row in column]
        padded = pad_sequence(rows_of_column, batch_first=True, padding_value=fill)
        columns.append(padded.to(input_ids.device))
    ids, positions, labels, branches = columns

    # Tokens of completions come in the order of rows and branches, which is that of the members.
    width = input_ids.shape[1]
    places = []
    for members in prompts.values():
        for number in members:
            places += [number * width + column for column in columns_of[number]]
    at = (labels != IGNORED).nonzero().T
    of_tokens = torch.cat([at, torch.tensor([places], device=input_ids.device)])
    return SharedRows(ids, positions, labels, branches, of_tokens, tuple(input_ids.shape))


def _line(
    prompt: Sequence[int], completions: Sequence[Sequence[int]]
) -> tuple[list[int], list[int], list[int], list[int]]:
    """Return the ids, positions, labels and branches of one prompt with its completions."""
    *first, last = prompt
    ids = list(first)
    positions = list(range(len(first)))
    labels = [IGNORED] * len(first)
    branches = [PROMPT] * len(first)
    for number, completion in enumerate(completions):
        ids += [last, *completion[:-1]] if completion else []
        positions += range(len(first), len(first) + len(completion))
        labels += completion
        branches += [number] * len(completion)
    return ids, positions, labels, branches


def in_full_precision(trainer: Any) -> bool:
    """Return whether a trainer's model runs in float32.

    In half precision the sum of weight and adapter is rounded so coarsely that the adapter may be
    lost, and a token's probability depends on what it was computed together with.
    """
    return trainer.model.dtype == torch.float32 and trainer.accelerator.mixed_precision == "no"


class SharedScorer:
    """Lets a trainer's model score completions that share rows, where it does so rightly.

    Not every architecture scores completions in one row as it scores them apart. So the first batch
    is scored in both ways.

    Args:
        config: the model's configuration.

    Attributes:
        works: whether the model can score shared rows; None before the first batch.
    """

    def __init__(self, config: Any) -> None:
        self._config = config
        self.works: bool | None = None

    def score(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        in_completion: Tensor,
        apart: Callable[[], Tensor],
    ) -> SimpleNamespace | None:
        """Return what the model says of each token of the completions.

        Args:
            model: a model with one of TRL's heads, or an adapter on one, in full precision.
            input_ids, attention_mask, in_completion: see `share_prompts`.
            apart: returns the log-probabilities as they are computed without sharing, in the shape
                of `input_ids` and 0 outside the completions. It is called for the first batch only.

        Returns:
            an object with those of `OF_TOKENS` that the model returns, each in the shape of
            `input_ids`. None where the caller must score the completions apart: the model cannot
            share, or no two completions have the same prompt.
        """
        # A mask of four dimensions takes the place of a sliding window. The first batch does not
        # show this if it is shorter than the window.
        if self.works is False or getattr(self._config, "sliding_window", None) is not None:
            return None
        rows = share_prompts(input_ids, attention_mask, in_completion)
        if rows is None:
            return None
        try:
            output = model(
                input_ids=rows.input_ids,
                attention_mask=rows.attention_mask(model.dtype),
                position_ids=rows.position_ids,
                shift_labels=rows.shift_labels,
                fused_lm_head=True,
            )
        except (TypeError, ValueError, RuntimeError, NotImplementedError):
            if self.works:
                raise  # it has worked before, so this is another failure
            self.works = False
            return None
        values = {name: getattr(output, name, None) for name in OF_TOKENS}
        together = SimpleNamespace(
            **{name: rows.apart(value) for name, value in values.items() if value is not None}
        )
        if self.works is None:
            self.works = torch.allclose(together.log_probs, apart(), atol=SAME_WITHIN, rtol=0)
        # The first batch gets these values too, so a resumed training computes the same bits.
        return together if self.works else None
