"""Completions of one token, as a die with a few faces.

Every expectation at every lam has a closed form, and no model runs.
"""

from __future__ import annotations

import numpy as np

from dera import LamSamples


class Dice:
    """A reference and an aligned die. For one token the sampler is the exact mixture.

    Args:
        reference, aligned: probabilities of the faces, 0 where a model excludes a face.
    """

    def __init__(self, reference: list[float], aligned: list[float]):
        self.reference, self.aligned = np.array(reference), np.array(aligned)

    def unnormalised(self, lam: float) -> np.ndarray:
        """Return what the faces' probabilities at lam are proportional to."""
        if lam == 0:
            return self.reference
        if lam == 1:
            return self.aligned
        both = (self.reference > 0) & (self.aligned > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(both, self.reference ** (1 - lam) * self.aligned**lam, 0)

    def at(self, lam: float) -> np.ndarray:
        """Return the probabilities of the faces at lam."""
        return self.unnormalised(lam) / self.unnormalised(lam).sum()

    def roll(
        self, sampled_lams, grid, prompts: int, samples: int, seed: int = 0
    ) -> tuple[LamSamples, np.ndarray]:
        """Roll at each of the sampled lams.

        Returns:
            the samples, and the faces that came up, shape (prompts, sampled lams, samples).
        """
        rng = np.random.default_rng(seed)
        number_of_faces = len(self.reference)
        rolls = [
            rng.choice(number_of_faces, p=self.at(lam), size=(prompts, samples))
            for lam in sampled_lams
        ]
        faces = np.stack(rolls, 1)
        with np.errstate(divide="ignore"):
            reference = np.log(self.reference)[faces]
            aligned = np.log(self.aligned)[faces]
        log_normalizers = [np.log(self.unnormalised(lam).sum()) for lam in grid]
        drawn = LamSamples(
            prompts=[""] * prompts,
            sampled_lams=tuple(sampled_lams),
            grid=tuple(grid),
            texts=[str(face) for face in faces.ravel()],
            token_ids=[],
            lengths=np.ones(faces.shape),
            reference=reference,
            aligned=aligned,
            log_z=np.stack([np.full(faces.shape, log_z) for log_z in log_normalizers]),
        )
        return drawn, faces
