"""Settings of the reading job: whose completions are read, by which models, at which lam."""

from __future__ import annotations

from fractions import Fraction

from eval.decode_settings import Exact
from study.job import settings_class

#: DeRa is read at these multiples of the matched lam, which is anchor / beta: powers of 2^(1/4)
#: from a quarter to four, and 0.8 and 1.25.
FACTORS = tuple(sorted([*(2 ** (k / 4) for k in range(-8, 9)), 0.8, 1.25]))


@settings_class
class Reading:
    """Whose completions one reading job reads, and by whom.

    They are the first `samples` completions of each of the first `prompts` held-out prompts, by the
    models of the objective that were retrained with `seed` at each of `betas`. DeRa reads them from
    the aligned model of each of `anchors`. `other_seed` is the seed whose models read them too; it
    is None where the objective has one seed. About `batch_size` completions are read at once.
    """

    task: str
    objective: str
    betas: tuple[Exact, ...]
    anchors: tuple[Exact, ...]
    seed: int
    other_seed: int | None
    prompts: int
    samples: int
    batch_size: int

    def __post_init__(self) -> None:
        strangers = [anchor for anchor in self.anchors if anchor not in self.betas]
        if strangers:
            raise ValueError(
                f"anchors = {self.anchors}: no model is trained at {', '.join(strangers)}; "
                f"the betas are {', '.join(self.betas)}"
            )

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the models that read: the completions' own seed, and the other one."""
        return (self.seed,) if self.other_seed is None else (self.seed, self.other_seed)

    @property
    def models(self) -> list[tuple[str, int]]:
        """The beta and the seed of every aligned model that the job loads, in their order."""
        models = []
        for seed in self.seeds:
            models += [(beta, seed) for beta in self.betas]
        return models

    def lams(self, anchor: str, beta: str) -> list[float]:
        """Return the lams at which DeRa from an anchor reads a model, one for each of FACTORS."""
        matched = float(Fraction(anchor) / Fraction(beta))
        return [matched * factor for factor in FACTORS]
