"""Completions drawn at a few sampled lams, with what is needed to reweight them to other lams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from dera.estimators import Array

#: Judges completions: takes prompts and completions, row by row, and returns a number for each.
Metric = Callable[[list[str], list[str]], Sequence[float]]


@dataclass(frozen=True)
class LamSamples:
    """S completions of each of P prompts at each of J sampled lams, scored at each of G lams.

    The scores are log-probabilities of whole completions, in nats. Arrays of shape (P, J, S) hold
    one number a completion.

    Attributes:
        prompts: the P prompts.
        sampled_lams: the J lams at which completions were drawn; each of them is in `grid`.
        grid: the G lams to which the completions can be reweighted, ascending.
        texts: the completions, in the order of an array of shape (P, J, S).
        token_ids: their tokens without the end-of-sequence token, in the same order.
        lengths: tokens of each completion, counting the end-of-sequence token; shape (P, J, S).
        reference: log-probabilities under the reference, shape (P, J, S).
        aligned: log-probabilities under the aligned model, shape (P, J, S).
        log_z: `sum_t log Z_t` of each completion at each lam of the grid, shape (G, P, J, S). `Z_t`
            is the normaliser of the token-by-token mixture at token t.
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
        """Return log-probabilities under the exact mixture, up to its normaliser (Proposition 1).

        Returns:
            `(1 - lam) * log p_ref + lam * log p_aligned` at each lam of the grid, shape
            (G, P, J, S). As in `mix_logits`, a completion that a model excludes (-inf) stays
            excluded wherever that model has a share.
        """
        return np.stack([self._log_mixture_at(lam) for lam in self.grid])

    def log_sampler(self) -> Array:
        """Return log-probabilities under the sampler at each lam of the grid (Proposition 2).

        The sampler divides each token's mixture by its normaliser `Z_t`, so `sum_t log Z_t` is what
        separates it from the unnormalised mixture. The shape is (G, P, J, S).
        """
        return self.log_mixture() - self.log_z

    def log_proposal(self) -> Array:
        """Return log-probabilities under the mean of the J samplers that drew the completions.

        All sampled lams have the same number of completions, so each has the share 1 / J. The
        shape is (P, J, S).
        """
        sampled = [self.grid.index(lam) for lam in self.sampled_lams]
        at_sampled_lams = self.log_sampler()[sampled]
        return special.logsumexp(at_sampled_lams, axis=0) - np.log(len(self.sampled_lams))

    def row_prompts(self) -> list[str]:
        """Return the prompt of each completion in `texts`."""
        completions_per_prompt = self.lengths[0].size
        return [prompt for prompt in self.prompts for _ in range(completions_per_prompt)]

    def judge(self, metric: Metric) -> Array:
        """Return the metric of each completion, shape (P, J, S).

        Raises:
            ValueError: if the metric does not return one finite number for each completion.
        """
        values = np.asarray(list(metric(self.row_prompts(), self.texts)), dtype=float)
        if values.shape != (len(self.texts),):
            raise ValueError(
                f"the metric returned an array of shape {values.shape} for {len(self.texts)} "
                "completions: it must return one number for each"
            )
        if not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).argmax())
            raise ValueError(
                f"the metric is {values[bad]} for the completion {self.texts[bad]!r}: "
                "it must be finite for every completion"
            )
        return values.reshape(self.lengths.shape)

    def with_samples(self, more: LamSamples) -> LamSamples:
        """Return these samples together with `more`, drawn at further lams.

        Raises:
            ValueError: if the prompts or the grids of the two differ.
        """
        if more.prompts != self.prompts or more.grid != self.grid:
            raise ValueError(
                "these samples have different prompts or different grids of lam: "
                "sample both with the same prompts and the same grid to join them"
            )
        # Completions lie prompt by prompt, so those of the further lams go behind each prompt's.
        places = np.arange(len(self.texts)).reshape(self.lengths.shape)
        places_of_more = len(self.texts) + np.arange(len(more.texts)).reshape(more.lengths.shape)
        order = np.concatenate([places, places_of_more], axis=1).ravel()
        texts = self.texts + more.texts
        token_ids = self.token_ids + more.token_ids
        return LamSamples(
            prompts=self.prompts,
            sampled_lams=(*self.sampled_lams, *more.sampled_lams),
            grid=self.grid,
            texts=[texts[place] for place in order],
            token_ids=[token_ids[place] for place in order],
            lengths=np.concatenate([self.lengths, more.lengths], axis=1),
            reference=np.concatenate([self.reference, more.reference], axis=1),
            aligned=np.concatenate([self.aligned, more.aligned], axis=1),
            log_z=np.concatenate([self.log_z, more.log_z], axis=2),
        )

    def _log_mixture_at(self, lam: float) -> Array:
        """Return `log_mixture` at one lam, shape (P, J, S)."""
        if lam == 0:
            return self.reference
        if lam == 1:
            return self.aligned
        excluded = np.isneginf(self.reference) | np.isneginf(self.aligned)
        with np.errstate(invalid="ignore"):  # inf - inf of excluded completions
            mixed = (1 - lam) * self.reference + lam * self.aligned
        return np.where(excluded, -np.inf, mixed)


def lam_grid(lams: Sequence[float]) -> tuple[float, ...]:
    """Return the distinct lams in ascending order.

    They are rounded to nine digits, so that 0.3 and 0.1 * 3 are the same lam.

    Raises:
        ValueError: if there is no lam, or one is not finite.
    """
    values = tuple(sorted({round(float(lam), 9) for lam in lams}))
    if not values or not np.isfinite(values).all():
        raise ValueError(
            f"every lam must be a finite number and at least one is needed, got {list(lams)}"
        )
    return values
