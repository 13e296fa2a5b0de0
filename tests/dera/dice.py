"""Completions of one token, a die with a few faces: every expectation at every lam has a closed form, and no model runs."""

from __future__ import annotations

import numpy as np

from dera import LamSamples


class Dice:
    """A reference and an aligned die; for one token the sampler is the mixture.

    Args:
        reference, aligned: probabilities of the faces; 0 where a model excludes a face.
    """

    def __init__(self, reference: list[float], aligned: list[float]):
        self.reference, self.aligned = np.array(reference), np.array(aligned)

    def unnormalised(self, lam: float) -> np.ndarray:
        return {0.0: self.reference, 1.0: self.aligned}.get(lam, self._between(lam))

    def at(self, lam: float) -> np.ndarray:
        """Probabilities of the faces at lam."""
        return self.unnormalised(lam) / self.unnormalised(lam).sum()

    def roll(
        self, anchors, grid, prompts: int, samples: int, seed: int = 0
    ) -> tuple[LamSamples, np.ndarray]:
        """Samples at the anchors, and the faces that came up, shape (prompts, anchors, samples)."""
        rng = np.random.default_rng(seed)
        faces = np.stack(
            [
                rng.choice(len(self.reference), p=self.at(lam), size=(prompts, samples))
                for lam in anchors
            ],
            1,
        )
        with np.errstate(divide="ignore"):
            logs = [np.log(die)[faces] for die in (self.reference, self.aligned)]
        log_z = np.stack(
            [np.full(faces.shape, np.log(self.unnormalised(lam).sum())) for lam in grid]
        )
        texts = [str(face) for face in faces.ravel()]
        return LamSamples(
            [""] * prompts,
            tuple(anchors),
            tuple(grid),
            texts,
            [],
            np.ones(faces.shape),
            *logs,
            log_z,
        ), faces

    def _between(self, lam: float) -> np.ndarray:
        both = (self.reference > 0) & (self.aligned > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(both, self.reference ** (1 - lam) * self.aligned**lam, 0)
