"""Every completion of a tiny pair up to a length, with its probability: the truth for estimates."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats


class Space:
    """All completions of one prompt that end with `eos` or have `length` tokens.

    Attributes:
        sequences: the completions.
        index: the place of each completion in `sequences`.
        reference: the log-probabilities of the completions under the reference, float64. Their
            exponentials sum to 1.
        aligned: those under the aligned model.
    """

    def __init__(self, reference, aligned, prompt: list[int], length: int, eos: int):
        vocabulary = reference.config.vocab_size
        self.sequences: list[tuple[int, ...]] = []
        # the next-token log-probabilities of both models after a prefix, shape (2, vocabulary)
        self._next: dict[tuple[int, ...], np.ndarray] = {}
        prefixes: list[tuple[int, ...]] = [()]
        for step in range(length):
            ids = torch.tensor([[*prompt, *prefix] for prefix in prefixes])
            with torch.no_grad():
                logits = [model(input_ids=ids).logits[:, -1] for model in (reference, aligned)]
            logs = [part.double().log_softmax(-1).numpy() for part in logits]
            self._next |= dict(zip(prefixes, np.stack(logs, 1), strict=True))
            grown = [(*prefix, token) for prefix in prefixes for token in range(vocabulary)]
            ended = [sequence for sequence in grown if sequence[-1] == eos or step == length - 1]
            self.sequences += ended
            prefixes = [sequence for sequence in grown if sequence[-1] != eos]
        self.index = {sequence: i for i, sequence in enumerate(self.sequences)}
        self.reference = self._totals({prefix: logs[0] for prefix, logs in self._next.items()})
        self.aligned = self._totals({prefix: logs[1] for prefix, logs in self._next.items()})

    def mixture(self, lam: float) -> tuple[np.ndarray, float]:
        """Return the probabilities of the exact mixture, and the log of its normaliser."""
        unnormalised = (1 - lam) * self.reference + lam * self.aligned
        log_normalizer = np.logaddexp.reduce(unnormalised)
        return np.exp(unnormalised - log_normalizer), float(log_normalizer)

    def sampler(self, lam: float) -> np.ndarray:
        """Return the probabilities under mixing token by token.

        They are products of normalised mixtures for each token.
        """
        return np.exp(self.log_sampler(lam))

    def log_sampler(self, lam: float) -> np.ndarray:
        """Return the logarithms of these probabilities."""
        next_logs = {}
        for prefix, logs in self._next.items():
            mixed = (1 - lam) * logs[0] + lam * logs[1]
            next_logs[prefix] = mixed - np.logaddexp.reduce(mixed)
        return self._totals(next_logs)

    def gap(self, lam: float) -> float:
        """Return KL(sampler || mixture) in nats."""
        sampler = self.sampler(lam)
        return float(sampler @ (np.log(sampler) - np.log(self.mixture(lam)[0])))

    def kl(self, lam: float) -> float:
        """Return KL(sampler || reference) in nats."""
        sampler = self.sampler(lam)
        return float(sampler @ (np.log(sampler) - self.reference))

    def _totals(self, next_logs: dict[tuple[int, ...], np.ndarray]) -> np.ndarray:
        """The sum of each completion's next-token log-probabilities."""

        def total(sequence):
            return sum(next_logs[sequence[:t]][token] for t, token in enumerate(sequence))

        return np.array([total(sequence) for sequence in self.sequences])


def p_value(counts: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the p-value of a chi-square test that outcomes follow `probabilities`.

    Outcomes that are expected less than five times count as one outcome.
    """
    expected = counts.sum() * probabilities / probabilities.sum()
    common = expected >= 5
    assert common.sum() > 10
    rest = [counts[~common].sum()], [expected[~common].sum()]
    if rest == ([0], [0]):
        rest = [], []
    return stats.chisquare([*counts[common], *rest[0]], [*expected[common], *rest[1]]).pvalue
