"""Every completion of a tiny model up to a length, with its probability: the truth that estimates are compared with."""

from __future__ import annotations

import itertools

import numpy as np
import torch


def completions(model, prompt: list[int], length: int, eos: int) -> dict[tuple[int, ...], float]:
    """Log-probability of each completion that ends with `eos` or has `length` tokens; the probabilities sum to 1."""
    vocabulary = model.config.vocab_size
    found: dict[tuple[int, ...], float] = {}
    prefixes = {(): 0.0}
    for step in range(length):
        with torch.no_grad():
            batch = torch.tensor([[*prompt, *prefix] for prefix in prefixes])
            logs = model(input_ids=batch).logits[:, -1].double().log_softmax(-1).numpy()
        grown = {
            (*prefix, token): total + logs[i, token]
            for (i, (prefix, total)), token in itertools.product(enumerate(prefixes.items()), range(vocabulary))
        }
        ended = {sequence for sequence in grown if sequence[-1] == eos or step == length - 1}
        found |= {sequence: grown[sequence] for sequence in ended}
        prefixes = {sequence: total for sequence, total in grown.items() if sequence not in ended}
    return found


class Space:
    """All completions of one prompt under a reference and an aligned model, as arrays in one order."""

    def __init__(self, reference, aligned, prompt: list[int], length: int, eos: int):
        self.eos, self.length = eos, length
        by_reference = completions(reference, prompt, length, eos)
        by_aligned = completions(aligned, prompt, length, eos)
        self.sequences = list(by_reference)
        self.index = {sequence: i for i, sequence in enumerate(self.sequences)}
        self.reference = np.array([by_reference[s] for s in self.sequences])
        self.aligned = np.array([by_aligned[s] for s in self.sequences])
        self._models, self._prompt = (reference, aligned), prompt

    def mixture(self, lam: float) -> tuple[np.ndarray, float]:
        """Probabilities of the exact mixture, and the log of its normaliser."""
        unnormalised = (1 - lam) * self.reference + lam * self.aligned
        log_normalizer = np.logaddexp.reduce(unnormalised)
        return np.exp(unnormalised - log_normalizer), float(log_normalizer)

    def sampler(self, lam: float) -> np.ndarray:
        """Probabilities under per-token mixing: the product of normalised per-token mixtures, prefix by prefix."""
        mixed: dict[tuple[int, ...], np.ndarray] = {}
        totals = []
        for sequence in self.sequences:
            total = 0.0
            for t, token in enumerate(sequence):
                prefix = sequence[:t]
                if prefix not in mixed:
                    mixed[prefix] = self._next(prefix, lam)
                total += mixed[prefix][token]
            totals.append(total)
        return np.exp(totals)

    def _next(self, prefix: tuple[int, ...], lam: float) -> np.ndarray:
        with torch.no_grad():
            ids = torch.tensor([[*self._prompt, *prefix]])
            reference, aligned = (m(input_ids=ids).logits[0, -1].double().log_softmax(-1).numpy() for m in self._models)
        logits = (1 - lam) * reference + lam * aligned
        return logits - np.logaddexp.reduce(logits)
