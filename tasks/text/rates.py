"""How often a rule is wrong, with an interval."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """How often a rule was wrong about texts with one label."""

    wrong: int
    labelled: int

    @property
    def share(self) -> float:
        """The share of the labelled texts about which the rule is wrong."""
        return self.wrong / self.labelled

    def interval(self) -> tuple[float, float]:
        """Return the ends of Wilson's 95% interval of the share."""
        from scipy import stats  # takes a second, and a config is checked without intervals

        interval = stats.binomtest(self.wrong, self.labelled).proportion_ci(method="wilson")
        return float(interval.low), float(interval.high)

    def posterior(self) -> tuple[float, float]:
        """Return the mean and the variance of the rate after a uniform prior, a beta distribution.

        So a rate is not taken for 0 because no error was found among a few texts.
        """
        mean = (self.wrong + 1) / (self.labelled + 2)
        return mean, mean * (1 - mean) / (self.labelled + 3)

    def __str__(self) -> str:
        low, high = self.interval()
        return f"{self.wrong} of {self.labelled} ({self.share:.1%} [{low:.1%}, {high:.1%}])"


@dataclass(frozen=True)
class JudgeErrors:
    """The errors of a rule that says of each text whether it does something, such as to refuse.

    Attributes:
        missed: of the texts that people say do it, those of which the rule says that they do not.
        imagined: of the other texts, those of which the rule says that they do it.
    """

    missed: Rate
    imagined: Rate

    def swapped(self) -> JudgeErrors:
        """Return the errors about texts that do *not* do it."""
        return JudgeErrors(missed=self.imagined, imagined=self.missed)

    def are_usable(self) -> bool:
        """Return whether the rule tells more than chance does, as far as the labels show."""
        rates = (self.missed, self.imagined)
        counted = all(0 <= rate.wrong <= rate.labelled > 0 for rate in rates)
        return counted and sum(rate.posterior()[0] for rate in rates) < 1
