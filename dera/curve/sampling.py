"""Drawing completions at a few lams, and at more lams where the first do not suffice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dera.curve.balance_heuristic import (
    DEFAULT_MIN_ESS,
    check_counts,
    coverage,
    least_supported,
)
from dera.curve.sampled_lams import LamSamples, lam_grid
from dera.decoding import sample_completions
from dera.mixing import log_normalizers_at
from dera.model.modules import input_device
from dera.model.realigned import RealignedModel, check_pair
from dera.prompts import as_prompts

#: The lams at which `sample_covering` samples first.
DEFAULT_SAMPLED_LAMS = (0.0, 0.3, 0.8, 2.0)


class Batch(NamedTuple):
    """What was decoded in one batch, and the state of the random numbers after it.

    Attributes:
        token_ids: the completions' tokens without the end-of-sequence token.
        lengths: tokens of each completion, counting the end-of-sequence token.
        scores: the sums of `_ScoreSums` for these rows, float64 of shape (2 + lams, rows).
        generator: the generator's state.
    """

    token_ids: list[list[int]]
    lengths: list[int]
    scores: Tensor
    generator: Tensor


class BatchRecord(Protocol):
    """Keeps batches, so that an interrupted sampling goes on where it stopped.

    Batches are recalled and kept in the same order. `sampled_lams` and `start`, the number of the
    batch's first row, tell them apart.
    """

    def recall(self, sampled_lams: Sequence[float], start: int) -> Batch | None:
        """Return a batch that was kept before; None if there is none."""

    def keep(self, sampled_lams: Sequence[float], start: int, batch: Batch) -> None:
        """Keep a batch that has just been decoded."""


@torch.no_grad()
def sample_at_lams(
    model: RealignedModel,
    tokenizer: Any,
    prompts: Sequence[str],
    sampled_lams: Sequence[float],
    max_new_tokens: int,
    grid: Sequence[float] = (),
    samples: int = 4,
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = False,
    record: BatchRecord | None = None,
) -> LamSamples:
    """Sample completions at each of the sampled lams.

    Decoding runs both models on every token, so it also gives the completions' log-probabilities at
    every lam of the grid.

    Args:
        model: a reference with one aligned model.
        tokenizer: its tokenizer.
        prompts: texts to continue, or anything else that `sample_completions` takes.
        sampled_lams: the lams to sample at.
        max_new_tokens: completions are cut after so many tokens.
        grid: other lams to which the completions can be reweighted; the sampled lams are added.
        samples: completions of each prompt at each sampled lam.
        batch_size: how many completions are decoded at a time.
        seed: the same seed, machine and batch size give the same completions.
        progress: show a progress bar.
        record: keeps each batch that is decoded, and gives back those that were decoded before.

    Raises:
        ValueError: if a lam is not finite, there is no prompt, `samples` is below one, or the model
            has several aligned models.
    """
    check_pair(model)
    prompts = as_prompts(prompts)
    if not prompts or samples < 1:
        raise ValueError(
            "at least one prompt and one sample of each are needed, "
            f"got {len(prompts)} prompts and {samples} samples"
        )
    sampled = lam_grid(sampled_lams)
    lams = lam_grid([*grid, *sampled_lams])

    # One row a completion, in the order of an array of shape (prompts, sampled lams, samples).
    shape = (len(prompts), len(sampled), samples)
    row_prompts = [prompt for prompt in prompts for _ in range(len(sampled) * samples)]
    row_lams = torch.tensor(sampled).repeat_interleave(samples).repeat(len(prompts))

    # Decode batch by batch, and sum up the scores token by token on the way.
    scores = _ScoreSums(lams, len(row_prompts))
    generator = torch.Generator(input_device(model)).manual_seed(seed)
    token_ids: list[list[int]] = []
    lengths: list[int] = []
    bar_label = f"decoding at lam {', '.join(f'{lam:g}' for lam in sampled)}"
    with tqdm(total=len(row_prompts), disable=not progress, desc=bar_label, unit="text") as bar:
        for start in range(0, len(row_prompts), batch_size):
            batch = slice(start, start + batch_size)
            known = None if record is None else record.recall(sampled, start)
            if known is not None:
                scores.sums[:, batch] = known.scores
                generator.set_state(known.generator)
            else:
                drawn = sample_completions(
                    model,
                    tokenizer,
                    row_prompts[batch],
                    max_new_tokens,
                    row_lams[batch].to(input_device(model)),
                    on_step=scores.recorder(batch),
                    generator=generator,
                )
                known = Batch(
                    token_ids=drawn.token_ids(),
                    lengths=drawn.lengths(),
                    scores=scores.sums[:, batch],
                    generator=generator.get_state(),
                )
                if record is not None:
                    record.keep(sampled, start, known)
            token_ids += known.token_ids
            lengths += known.lengths
            bar.update(len(lengths) - start)

    # Bring the scores into the shape of the completions.
    reference, aligned, *log_z = scores.sums.numpy().reshape(-1, *shape)
    return LamSamples(
        prompts=list(prompts),
        sampled_lams=sampled,
        grid=lams,
        texts=tokenizer.batch_decode(token_ids, skip_special_tokens=True),
        token_ids=token_ids,
        lengths=np.array(lengths, dtype=float).reshape(shape),
        reference=reference,
        aligned=aligned,
        log_z=np.array(log_z),
    )


def sample_covering(
    model: RealignedModel,
    tokenizer: Any,
    prompts: Sequence[str],
    max_new_tokens: int,
    lams: Sequence[float],
    sampled_lams: Sequence[float] = DEFAULT_SAMPLED_LAMS,
    samples: int = 4,
    max_sampled_lams: int = 8,
    min_ess: float = DEFAULT_MIN_ESS,
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = False,
    record: BatchRecord | None = None,
) -> LamSamples:
    """Sample at a few lams, then at further ones until the completions cover all of `lams`.

    Each further lam is the one that the completions so far cover worst. Sampling stops once every
    lam is supported, or once there are `max_sampled_lams`. Other arguments and errors are those of
    `sample_at_lams` and `reweight`.

    Args:
        lams: the lams to cover.
        sampled_lams: the lams to sample at first.
        max_sampled_lams: the largest number of sampled lams, the first ones included.
        min_ess: what makes a lam supported, as in `reweight`.
    """
    prompts = as_prompts(prompts)
    check_counts(len(prompts), samples)
    options: dict[str, Any] = dict(
        samples=samples, batch_size=batch_size, progress=progress, record=record
    )
    drawn = sample_at_lams(
        model, tokenizer, prompts, sampled_lams, max_new_tokens, lams, seed=seed, **options
    )
    while len(drawn.sampled_lams) < max_sampled_lams:
        ess, _, supported = coverage(drawn, min_ess=min_ess)
        lam = least_supported(drawn.grid, ess, supported)
        if lam is None:
            break
        further = sample_at_lams(
            model,
            tokenizer,
            prompts,
            [lam],
            max_new_tokens,
            drawn.grid,
            seed=seed + len(drawn.sampled_lams),  # each further lam has a seed of its own
            **options,
        )
        drawn = drawn.with_samples(further)
    return drawn


class _ScoreSums:
    """Sums over each row's tokens of what `LamSamples` keeps of a completion.

    Attributes:
        sums: float64 of shape (2 + lams, rows): the log-probability under the reference, under the
            aligned model, and `log Z_t` at each lam.
    """

    def __init__(self, lams: Sequence[float], rows: int):
        self.lams = lams
        self.sums = torch.zeros(2 + len(lams), rows, dtype=torch.double)

    def recorder(self, batch: slice) -> Callable[[Tensor, Any, Tensor], None]:
        """Return a function that adds each token's scores to this batch's sums.

        It is an `on_step` for `sample_completions`.
        """
        batch_sums = self.sums[:, batch]

        def add(rows: Tensor, output: Any, tokens: Tensor) -> None:
            scores = _token_scores(
                output.reference_logits[:, -1], output.aligned_logits[:, -1], tokens, self.lams
            )
            # They are converted on the CPU, because not every accelerator knows float64.
            batch_sums[:, rows.cpu()] += scores.cpu().double()

        return add


def _token_scores(
    reference: Tensor, aligned: Tensor, tokens: Tensor, lams: Sequence[float]
) -> Tensor:
    """Return both models' log-probabilities of the tokens, then `log Z_t` at each lam.

    Args:
        reference: the reference's logits, shape (rows, vocabulary).
        aligned: the aligned model's logits, same shape.
        tokens: the tokens that were drawn, shape (rows,).
        lams: the lams of the normalisers.

    Returns:
        float32 of shape (2 + lams, rows).
    """
    log_reference = reference.float().log_softmax(-1)
    log_aligned = aligned.float().log_softmax(-1)
    of_tokens = [logs.gather(-1, tokens[:, None])[:, 0] for logs in (log_reference, log_aligned)]
    log_z = log_normalizers_at(log_reference, log_aligned, lams)
    return torch.cat([torch.stack(of_tokens), log_z])
