"""Who drafts, and how many tokens: a model of the cost, and an estimate of the acceptance."""

from __future__ import annotations

from collections.abc import Sequence

#: No more tokens than these are drafted before they are verified.
LONGEST_DRAFT = 12

#: On an accelerator the arithmetic of so many tokens takes as long as reading the weights once.
TOKENS_A_PASS_ON_ACCELERATOR = 256

#: On a CPU it is the arithmetic of so many tokens, measured with models of 0.8M to 100M parameters.
TOKENS_A_PASS_ON_CPU = 32


def draft_length(acceptance: float, verifiers: int, load: float) -> int:
    """Return the number of drafts at which a token of the text is cheapest.

    `k` drafts take k passes of the drafter and one pass of each verifier over k + 1 tokens. They
    give 1 + a + ... + a^(k-1) tokens on average, where a is the acceptance. These are the drafts
    kept before the first refusal, and its replacement. (In Equation 1 of Leviathan et al. 2023 the
    sum goes to a^k, because there a token is also added where all drafts are kept.) Without drafts
    every model reads one token, and the text grows by one token. A pass is taken to cost 1 for the
    weights that it reads, and `load` for the tokens that it reads at one position of all rows. This
    is a model of the cost and not a measurement, because measured times would make the text depend
    on the machine's speed.

    Args:
        acceptance: the probability that a draft is accepted, between 0 and 1.
        verifiers: how many models verify.
        load: the number of rows, divided by the tokens whose arithmetic takes as long as reading
            the weights once.
    """
    best_length = 0
    lowest_cost = (1 + verifiers) * (1 + load)
    tokens = 0.0
    for length in range(1, LONGEST_DRAFT + 1):
        tokens += acceptance ** (length - 1)
        passes = length * (1 + load) + verifiers * (1 + (length + 1) * load)
        cost = passes / tokens
        if cost < lowest_cost:
            best_length = length
            lowest_cost = cost
    return best_length


def tokens_a_pass(device_type: str) -> int:
    """Return for how many tokens the arithmetic takes as long as reading the weights once."""
    return TOKENS_A_PASS_ON_CPU if device_type == "cpu" else TOKENS_A_PASS_ON_ACCELERATOR


class Acceptance:
    """The acceptance that each part would have if it drafted, estimated from what was verified.

    A part's acceptance is the mean over positions of its overlap with the mixture, `sum_v min(p(v),
    q(v))` (Leviathan et al. 2023, Corollary 3.6). The part with the largest acceptance is the
    nearest to the mixture. At first this is guessed to be the part with the largest share.

    Args:
        shares: each part's exponent in the mixture, the reference's first.

    Attributes:
        nearest: the index of the part that is to draft.
    """

    #: The acceptance that is guessed for every part before anything is verified.
    GUESS = 0.95

    #: The guess counts as much as this many positions.
    WEIGHT = 4.0

    #: The drafter changes only if another part's acceptance is larger by this, because a change
    #: costs a little.
    MARGIN = 0.01

    def __init__(self, shares: Sequence[float]):
        self.sums = [self.GUESS * self.WEIGHT] * len(shares)
        self.weight = self.WEIGHT
        self.nearest = max(range(len(shares)), key=shares.__getitem__)

    def add(self, overlaps: Sequence[float], positions: float) -> bool:
        """Count overlaps, and return whether another part is now the nearest.

        Args:
            overlaps: each part's overlaps with the mixture, summed over positions.
            positions: how many positions these are.
        """
        self.sums = [total + new for total, new in zip(self.sums, overlaps, strict=True)]
        self.weight += positions
        before = self.nearest
        largest = max(range(len(self.sums)), key=self.sums.__getitem__)
        if self.sums[largest] > self.sums[before] + self.MARGIN * self.weight:
            self.nearest = largest
        return self.nearest != before

    @property
    def acceptance(self) -> float:
        """The estimated acceptance of the nearest part."""
        return min(self.sums[self.nearest] / self.weight, 1.0)
