"""Completions sampled at a few lam, with what is needed to reweight them to any other lam of a grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import special
from torch import Tensor
from tqdm import tqdm

from dera.decoding import sample_completions
from dera.estimators import Array
from dera.mixing import log_normalizers_at
from dera.model.realigned import RealignedModel, check_pair

#: A judge of completions: takes prompts and completions, row by row, and returns a number for each.
Metric = Callable[[list[str], list[str]], Sequence[float]]


@dataclass(frozen=True)
class LamSamples:
    """Completions of P prompts at J anchors, S for each, and their log-probabilities at G values of lam.

    Attributes:
        prompts: the P prompts.
        anchors: the J lam they were sampled at; each is in `grid`.
        grid: the G lam that can be reached by reweighting, ascending.
        texts, token_ids: completions, in the order of an array of shape (P, J, S); ids without the end-of-sequence token.
        lengths: tokens of each, the end-of-sequence token counted, shape (P, J, S).
        reference, aligned: sequence log-probabilities under the two models in nats, shape (P, J, S).
        log_z: `sum_t log Z_t` at each lam of the grid, shape (G, P, J, S).
    """

    prompts: list[str]
    sampled_lams: tuple[float, ...]
    grid: tuple[float, ...]
    texts: list[str]
    token_ids: list[list[int]]
    lengths: Array
    reference: Array
    aligned: Array
    log_z: Array

    def log_mixture(self) -> Array:
        """Unnormalised log-probabilities under the exact mixture at each lam of the grid (Proposition 1), (G, P, J, S).

        As in `mix_logits`, what a model excludes (-inf) stays excluded wherever that model has a share.
        """
        ends = {0.0: self.reference, 1.0: self.aligned}
        excluded = np.isneginf(self.reference) | np.isneginf(self.aligned)
        with np.errstate(invalid="ignore"):
            between = [
                ends.get(
                    lam,
                    np.where(excluded, -np.inf, (1 - lam) * self.reference + lam * self.aligned),
                )
                for lam in self.grid
            ]
        return np.stack(between)

    def log_sampler(self) -> Array:
        """Log-probabilities under the sampler at each lam of the grid (Proposition 2), shape (G, P, J, S)."""
        return self.log_mixture() - self.log_z

    def log_proposal(self) -> Array:
        """Log-probabilities under the anchors' samplers taken together, each with an equal share; shape (P, J, S)."""
        at_sampled_lams = self.log_sampler()[
            [self.grid.index(anchor) for anchor in self.sampled_lams]
        ]
        return special.logsumexp(at_sampled_lams, axis=0) - np.log(len(self.sampled_lams))

    def row_prompts(self) -> list[str]:
        """The prompt of each of `texts`."""
        return [prompt for prompt in self.prompts for _ in range(self.lengths[0].size)]

    def judge(self, metric: Metric) -> Array:
        """The metric of each completion, shape (P, J, S).

        Raises:
            ValueError: if it returns another number of values, or one that is not finite.
        """
        values = np.asarray(list(metric(self.row_prompts(), self.texts)), dtype=float)
        if values.shape != (len(self.texts),):
            raise ValueError(
                f"the metric returned {values.shape} values for {len(self.texts)} completions: it must return one for each"
            )
        if not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).argmax())
            raise ValueError(
                f"the metric is {values[bad]} for the completion {self.texts[bad]!r}: it must be finite"
            )
        return values.reshape(self.lengths.shape)

    def with_samples(self, more: LamSamples) -> LamSamples:
        """These samples and those of further anchors, of the same prompts and grid."""
        if more.prompts != self.prompts or more.grid != self.grid:
            raise ValueError(
                "samples can be joined only if they are of the same prompts and the same grid of lam"
            )
        both, places = (
            (self, more),
            [np.arange(len(self.texts)), len(self.texts) + np.arange(len(more.texts))],
        )
        order = np.concatenate(
            [p.reshape(s.lengths.shape) for p, s in zip(places, both, strict=True)], 1
        ).ravel()
        texts, token_ids = [*self.texts, *more.texts], [*self.token_ids, *more.token_ids]
        return LamSamples(
            prompts=self.prompts,
            sampled_lams=(*self.sampled_lams, *more.sampled_lams),
            grid=self.grid,
            texts=[texts[i] for i in order],
            token_ids=[token_ids[i] for i in order],
            lengths=np.concatenate([s.lengths for s in both], 1),
            reference=np.concatenate([s.reference for s in both], 1),
            aligned=np.concatenate([s.aligned for s in both], 1),
            log_z=np.concatenate([s.log_z for s in both], 2),
        )


def lam_grid(lams: Sequence[float]) -> tuple[float, ...]:
    """Ascending distinct values, rounded so that the same lam written in two ways is the same."""
    values = tuple(sorted({round(float(lam), 9) for lam in lams}))
    if not values or not np.isfinite(values).all():
        raise ValueError(f"lam must be finite and at least one is needed, got {list(lams)}")
    return values


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
) -> LamSamples:
    """Sample completions at each anchor; decoding gives their log-probabilities at every lam of the grid on the way.

    Args:
        model: a reference with one aligned model.
        tokenizer: its tokenizer.
        prompts: texts to continue.
        anchors: lam to sample at.
        max_new_tokens: completions are cut there.
        grid: other lam to be able to reweight to; the anchors are added.
        samples: completions of each prompt at each anchor.
        batch_size: rows decoded at a time.
        seed: the same seed, machine and batch size give the same completions.
        progress: show a progress bar.

    Raises:
        ValueError: on a lam that is not finite, no prompt, fewer than one sample, or several aligned models.
    """
    check_pair(model)
    if not prompts or samples < 1:
        raise ValueError(
            f"at least one prompt and one sample are needed, got {len(prompts)} and {samples}"
        )
    at, lams = lam_grid(sampled_lams), lam_grid([*grid, *sampled_lams])
    shape = (len(prompts), len(at), samples)
    row_prompts = [prompt for prompt in prompts for _ in range(len(at) * samples)]
    row_lams = torch.tensor(at).repeat_interleave(samples).repeat(len(prompts))
    generator = torch.Generator(model.device).manual_seed(seed)
    totals = torch.zeros(2 + len(lams), len(row_prompts), dtype=torch.double)
    ids: list[list[int]] = []
    lengths: list[int] = []
    at_text = ", ".join(f"{lam:g}" for lam in at)
    bar = tqdm(
        total=len(row_prompts), disable=not progress, desc=f"decoding at lam {at_text}", unit="text"
    )
    for start in range(0, len(row_prompts), batch_size):
        batch = slice(start, start + batch_size)
        scores = totals[:, batch]

        def add(rows: Tensor, output: Any, tokens: Tensor, scores: Tensor = scores) -> None:
            found = _scores(
                output.reference_logits[:, -1], output.aligned_logits[:, -1], tokens, lams
            )
            scores[:, rows.cpu()] += found.cpu().double()  # not every accelerator knows float64

        lam = row_lams[batch].to(model.device)
        drawn = sample_completions(
            model,
            tokenizer,
            row_prompts[batch],
            max_new_tokens,
            lam,
            on_step=add,
            generator=generator,
        )
        ids += drawn.token_ids()
        lengths += drawn.lengths()
        bar.update(len(lengths) - start)
    bar.close()
    reference, aligned, *log_z = totals.numpy().reshape(-1, *shape)
    return LamSamples(
        prompts=list(prompts),
        sampled_lams=at,
        grid=lams,
        texts=tokenizer.batch_decode(ids, skip_special_tokens=True),
        token_ids=ids,
        lengths=np.array(lengths, dtype=float).reshape(shape),
        reference=reference,
        aligned=aligned,
        log_z=np.array(log_z),
    )


def _scores(reference: Tensor, aligned: Tensor, tokens: Tensor, lams: Sequence[float]) -> Tensor:
    """Log-probabilities of tokens under both models, and `log Z_t` at each lam; float32 of shape (2 + lams, rows)."""
    reference, aligned = reference.float().log_softmax(-1), aligned.float().log_softmax(-1)
    chosen = [logs.gather(-1, tokens[:, None])[:, 0] for logs in (reference, aligned)]
    return torch.cat([torch.stack(chosen), log_normalizers_at(reference, aligned, lams)])
