"""Completions of one token, drawn by rolling dice with a few faces instead of running models.

Every expectation at every lam has a closed form.
"""

from __future__ import annotations

import numpy as np

from dera import LamSamples


class Dice:
    """A reference die and an aligned die. For one token the sampler is the mixture.

    Args:
        reference: the probabilities of the faces; 0 where the die excludes a face.
        aligned: those of the aligned die.
    """

    def __init__(self, reference: list[float], aligned: list[float]):
        self.reference = np.array(reference)
        self.aligned = np.array(aligned)

    def unnormalised(self, lam: float) -> np.ndarray:
        """Return the product of the dice's probabilities to the powers 1 - lam and lam."""
        return {0.0: self.reference, 1.0: self.aligned}.get(lam, self._between(lam))

    def at(self, lam: float) -> np.ndarray:
        """Return the probabilities of the faces at lam."""
        return self.unnormalised(lam) / self.unnormalised(lam).sum()

    def roll(
        self, sampled_lams, grid, prompts: int, samples: int, seed: int = 0
    ) -> tuple[LamSamples, np.ndarray]:
        """Roll the dice at some lams.

        Args:
            sampled_lams: the lams to roll at.
            grid: the lams that the samples can be reweighted to.
            prompts: how many prompts there are.
            samples: how often the dice are rolled for each prompt and sampled lam.
            seed: the seed of the rolls.

        Returns:
            The samples, and the faces that came up, shape (prompts, sampled lams, samples).
        """
        rng = np.random.default_rng(seed)
        size = (prompts, samples)
        number = len(self.reference)
        faces = np.stack([rng.choice(number, p=self.at(lam), size=size) for lam in sampled_lams], 1)
        with np.errstate(divide="ignore"):
            logs = [np.log(die)[faces] for die in (self.reference, self.aligned)]
        totals = [self.unnormalised(lam).sum() for lam in grid]
        log_z = np.stack([np.full(faces.shape, np.log(total)) for total in totals])
        rolled = LamSamples(
            [""] * prompts,
            tuple(sampled_lams),
            tuple(grid),
            [str(face) for face in faces.ravel()],
            [],
            np.ones(faces.shape),
            *logs,
            log_z,
        )
        return rolled, faces

    def _between(self, lam: float) -> np.ndarray:
        both = (self.reference > 0) & (self.aligned > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(both, self.reference ** (1 - lam) * self.aligned**lam, 0)
