"""Every completion of a tiny pair up to a length, with its probability: the truth that estimates are compared with."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats


class Space:
    """All completions of one prompt that end with `eos` or have `length` tokens, under a reference and an aligned model.

    Attributes:
        sequences, index: the completions, and where each stands.
        reference, aligned: their log-probabilities under the two models, float64, whose exponentials sum to 1.
    """

    def __init__(self, reference, aligned, prompt: list[int], length: int, eos: int):
        vocabulary = reference.config.vocab_size
        self.sequences: list[tuple[int, ...]] = []
        self._next: dict[
            tuple[int, ...], np.ndarray
        ] = {}  # prefix to next-token log-probabilities, shape (2, vocabulary)
        prefixes: list[tuple[int, ...]] = [()]
        for step in range(length):
            ids = torch.tensor([[*prompt, *prefix] for prefix in prefixes])
            with torch.no_grad():
                logs = [
                    m(input_ids=ids).logits[:, -1].double().log_softmax(-1).numpy()
                    for m in (reference, aligned)
                ]
            self._next |= {
                prefix: np.stack([log[i] for log in logs]) for i, prefix in enumerate(prefixes)
            }
            grown = [(*prefix, token) for prefix in prefixes for token in range(vocabulary)]
            ended = [sequence for sequence in grown if sequence[-1] == eos or step == length - 1]
            self.sequences += ended
            prefixes = [sequence for sequence in grown if sequence[-1] != eos]
        self.index = {sequence: i for i, sequence in enumerate(self.sequences)}
        self.reference, self.aligned = (
            self._totals({p: logs[i] for p, logs in self._next.items()}) for i in (0, 1)
        )

    def mixture(self, lam: float) -> tuple[np.ndarray, float]:
        """Probabilities of the exact mixture, and the log of its normaliser."""
        unnormalised = (1 - lam) * self.reference + lam * self.aligned
        log_normalizer = np.logaddexp.reduce(unnormalised)
        return np.exp(unnormalised - log_normalizer), float(log_normalizer)

    def sampler(self, lam: float) -> np.ndarray:
        """Probabilities under per-token mixing: products of normalised per-token mixtures."""
        mixed = {prefix: (1 - lam) * logs[0] + lam * logs[1] for prefix, logs in self._next.items()}
        return np.exp(
            self._totals(
                {prefix: logits - np.logaddexp.reduce(logits) for prefix, logits in mixed.items()}
            )
        )

    def gap(self, lam: float) -> float:
        """KL(sampler || mixture) in nats."""
        sampler = self.sampler(lam)
        return float(sampler @ (np.log(sampler) - np.log(self.mixture(lam)[0])))

    def kl(self, lam: float) -> float:
        """KL(sampler || reference) in nats."""
        sampler = self.sampler(lam)
        return float(sampler @ (np.log(sampler) - self.reference))

    def _totals(self, next_logs: dict[tuple[int, ...], np.ndarray]) -> np.ndarray:
        return np.array(
            [sum(next_logs[s[:t]][token] for t, token in enumerate(s)) for s in self.sequences]
        )


def p_value(counts: np.ndarray, probabilities: np.ndarray) -> float:
    """Of a chi-square test that outcomes follow `probabilities`; those expected less than five times count as one."""
    expected = counts.sum() * probabilities / probabilities.sum()
    common = expected >= 5
    assert common.sum() > 10
    rest = [counts[~common].sum()], [expected[~common].sum()]
    if rest == ([0], [0]):
        rest = [], []
    return stats.chisquare([*counts[common], *rest[0]], [*expected[common], *rest[1]]).pvalue
