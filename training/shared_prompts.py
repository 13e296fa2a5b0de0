"""Score several completions of one prompt in one row, so that the prompt is read once.

A trainer that samples scores each completion as a row of its own, which repeats the prompt for each
of its completions and pads every row to the longest. Here all completions of a prompt share a row:

    p1 p2 | p3 a1 a2 | p3 b1 | p3 c1 c2 c3 ...

The prompt but for its last token comes first. Then each completion has a branch, which begins with
the prompt's last token and ends before the completion's last token, so that each token of a branch
predicts one token of the completion. A token attends to the prompt and to its own branch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

#: The label of a token that predicts nothing, as TRL and transformers have it.
IGNORED = -100
#: The branch of the prompt's tokens, and that of padding.
PROMPT = -1
PADDING = -2


@dataclass(frozen=True)
class SharedRows:
    """The rows of several prompts with all of their completions.

    Attributes:
        input_ids: shape (prompts, length), padded at the right.
        position_ids: each token's place in its prompt and completion, of the same shape.
        shift_labels: the token that each token predicts, or `IGNORED`, of the same shape.
        branches: the branch of each token, `PROMPT` or `PADDING`, of the same shape.
        of_tokens: for each token of a completion, in the order in which rows and their branches
            come, its place among the completions as they were given, shape (3, tokens): the row
            here, the column here, and the place in the flattened completions.
        shape: that of the completions as they were given, (completions, tokens).
    """

    input_ids: Tensor
    position_ids: Tensor
    shift_labels: Tensor
    branches: Tensor
    of_tokens: Tensor
    shape: tuple[int, int]

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
        """Return values of the tokens here in the shape of the completions; padding gets 0."""
        rows, columns, places = self.of_tokens
        flat = values.new_zeros(self.shape[0] * self.shape[1])
        return flat.index_put((places,), values[rows, columns]).view(self.shape)


def share_prompts(
    input_ids: Tensor, attention_mask: Tensor, completion_length: int
) -> SharedRows | None:
    """Put completions of the same prompt into one row.

    Args:
        input_ids: prompts, padded at the left, followed by completions, padded at the right, shape
            (completions, tokens).
        attention_mask: 0 at padding, of the same shape.
        completion_length: how many tokens at the end of each row belong to the completion.

    Returns:
        None where there is nothing to gain, because no two completions have the same prompt.
    """
    prompts: dict[tuple[int, ...], list[int]] = {}
    completions: list[list[int]] = []
    kept = attention_mask.bool()
    rows = input_ids.tolist()
    for number, (row, keep) in enumerate(zip(rows, kept.tolist(), strict=True)):
        start = len(row) - completion_length
        prompt = [token for token, kept_ in zip(row[:start], keep[:start], strict=True) if kept_]
        prompts.setdefault(tuple(prompt), []).append(number)
        completions.append(row[start : start + sum(keep[start:])])
    if len(prompts) == len(rows):
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
    places = []
    for members in prompts.values():
        for number in members:
            first = number * completion_length
            places += range(first, first + len(completions[number]))
    at = (labels != IGNORED).nonzero().T
    of_tokens = torch.cat([at, torch.tensor([places], device=input_ids.device)])
    return SharedRows(ids, positions, labels, branches, of_tokens, (len(rows), completion_length))


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
