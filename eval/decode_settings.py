"""Settings of the decoding job: which policies are decoded, and how many completions of each."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal

import pydantic

from study.job import settings_class


def _check_exact(number: str) -> str:
    """Return the text of a number that `Fraction` can read; ValueError if it is none."""
    Fraction(number)
    return number


#: A beta, a mixing weight or a knob as it was written: "0.25" or "1/4".
Exact = Annotated[str, pydantic.AfterValidator(_check_exact)]


@settings_class
class Reference:
    """The reference alone."""

    kind: Literal["reference"]

    @property
    def members(self) -> int:
        """How many policies this is."""
        return 1


@settings_class
class Retrained:
    """The model that was trained at `beta`, alone."""

    kind: Literal["retrained"]
    objective: str
    beta: Exact
    seed: int

    @property
    def members(self) -> int:
        """How many policies this is."""
        return 1


@settings_class
class Dera:
    """DeRa from the aligned model of strength `anchor`, at each of `lams`."""

    kind: Literal["dera"]
    objective: str
    anchor: Exact
    seed: int
    lams: tuple[Exact, ...] = pydantic.Field(min_length=1)

    @property
    def members(self) -> int:
        """How many policies this is."""
        return len(self.lams)


@settings_class
class Baseline:
    """A baseline from the aligned model of strength `anchor`, at each of its `knobs`.

    `name` is its file in eval/baselines, and `options` are the further settings of that file.
    """

    kind: Literal["baseline"]
    name: str
    objective: str
    anchor: Exact
    seed: int
    knobs: tuple[Exact, ...] = pydantic.Field(min_length=1)
    options: dict[str, Any] = pydantic.Field(default_factory=dict)

    @property
    def members(self) -> int:
        """How many policies this is."""
        return len(self.knobs)


@settings_class
class SeveralRewards:
    """Two aligned models mixed at each pair of mixing weights."""

    kind: Literal["several_rewards"]
    seed: int
    lams: tuple[tuple[Exact, Exact], ...] = pydantic.Field(min_length=1)

    @property
    def members(self) -> int:
        """How many policies this is."""
        return len(self.lams)


AnyPolicy = Annotated[
    Reference | Retrained | Dera | Baseline | SeveralRewards, pydantic.Field(discriminator="kind")
]

#: How many adapters each kind of policy needs beside the reference.
ADAPTERS = {"reference": 0, "retrained": 1, "dera": 1, "baseline": 1, "several_rewards": 2}


@settings_class
class Decoding:
    """What one decoding job does.

    It decodes the first `prompts` held-out prompts by each of the policies in their order. The
    reference draws `reference_samples` completions of a prompt, and every other policy `samples`. A
    batch has `batch_size` completions, and a completion has at most `max_new_tokens` tokens.
    """

    task: str
    prompts: int
    samples: int
    reference_samples: int
    batch_size: int
    max_new_tokens: int
    policies: tuple[AnyPolicy, ...]

    def samples_of(self, policy: AnyPolicy) -> int:
        """Return how many completions of a prompt the policy draws."""
        return self.reference_samples if policy.kind == "reference" else self.samples

    def completions(self) -> int:
        """Return how many completions all policies draw."""
        return sum(
            self.prompts * self.samples_of(policy) * policy.members for policy in self.policies
        )

    def adapters(self) -> int:
        """Return how many adapters the policies need.

        Raises:
            ValueError: if they do not all need the same number.
        """
        needed = {ADAPTERS[policy.kind] for policy in self.policies}
        if len(needed) != 1:
            kinds = ", ".join(policy.kind for policy in self.policies)
            raise ValueError(
                f"one job cannot decode {kinds}, which need different numbers of adapters "
                f"({ADAPTERS}): decode them in several jobs"
            )
        return needed.pop()
