"""How each kind of policy draws completions, and what log-probabilities come with them.

Sequence log-probabilities are in nats, and the end-of-sequence token counts. `logp_policy` is under
the policy itself. `log_weight` is the log importance weight of a completion toward the exact
mixture that the policy approximates, not normalised.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import torch

from dera.decoding import Completions, sample_completions
from dera.model.realigned import RealignedModel
from dera.scoring import (
    PolicyScores,
    SequenceScores,
    log_probabilities,
    sample_and_score,
    sample_and_score_policy,
    score_completions,
)
from eval import baselines, decode_settings
from eval.columns import effective_beta
from eval.combining import Combined

Row = dict[str, Any]


@dataclass(frozen=True)
class Decoder:
    """What all samplers share: the models that were loaded, and how they are decoded.

    `model` is the reference where no adapter was loaded, otherwise a `RealignedModel`.
    """

    model: Any
    tokenizer: Any
    max_new_tokens: int

    def arguments(self, prompts: list[str]) -> tuple[Any, list[str], int]:
        """Return what every function that samples takes after the model."""
        return self.tokenizer, prompts, self.max_new_tokens


class Sampler(Protocol):
    """One policy, or a family of policies whose completions are decoded in the same batches.

    `labels` are columns that are the same for all completions of the family. `variants` has the
    columns in which its members differ, such as lam; there is one dictionary for each member.
    """

    labels: dict[str, Any]
    variants: list[Row]

    def sample(self, prompts: list[str], rows: list[Row]) -> tuple[Completions, Any]:
        """Draw one completion for each prompt, by the member of the family that its row names.

        The second result holds the scores that decoding computes, or None if it computes none.
        """

    def columns(self, completions: Completions, scores: Any) -> dict[str, list[float]]:
        """Return the log-probabilities of completions that `sample` has drawn, by column."""


class ReferenceSampler:
    """The reference alone; its completions are scored after they are drawn."""

    def __init__(self, decoder: Decoder):
        self.decoder = decoder
        self.labels: dict[str, Any] = {"kind": "reference"}
        self.variants: list[Row] = [{}]

    def sample(self, prompts: list[str], rows: list[Row]) -> tuple[Completions, None]:
        return sample_completions(self.decoder.model, *self.decoder.arguments(prompts)), None

    def columns(self, completions: Completions, scores: None) -> dict[str, list[float]]:
        log_prob = log_probabilities(self.decoder.model, completions).tolist()
        return {"logp_policy": log_prob, "logp_reference": log_prob}


class RetrainedSampler:
    """The aligned model of a pair alone; both models score its completions after they are drawn."""

    def __init__(self, decoder: Decoder, settings: decode_settings.Retrained):
        self.decoder = decoder
        self.labels = {
            "kind": "retrained",
            "objective": settings.objective,
            "beta": settings.beta,
            "seed": settings.seed,
        }
        self.variants: list[Row] = [{}]

    def sample(self, prompts: list[str], rows: list[Row]) -> tuple[Completions, None]:
        aligned = self.decoder.model.aligned
        return sample_completions(aligned, *self.decoder.arguments(prompts)), None

    def columns(self, completions: Completions, scores: None) -> dict[str, list[float]]:
        # At lam = 1 the realigned model is the aligned one.
        return mixture_columns(score_completions(self.decoder.model, completions, 1.0))


class DeraSampler:
    """DeRa at several lam, which are decoded and scored in the same batches."""

    def __init__(self, decoder: Decoder, settings: decode_settings.Dera):
        self.decoder = decoder
        self.labels = {
            "kind": "dera",
            "objective": settings.objective,
            "anchor": settings.anchor,
            "seed": settings.seed,
        }
        self.variants = []
        for written in settings.lams:
            lam = Fraction(written)
            beta = effective_beta(Fraction(settings.anchor), lam)
            written_beta = None if beta is None else str(beta)
            self.variants.append({"lam": str(lam), "beta": written_beta})

    def sample(self, prompts: list[str], rows: list[Row]) -> tuple[Completions, SequenceScores]:
        lam = torch.tensor([float(Fraction(row["lam"])) for row in rows])
        return sample_and_score(self.decoder.model, *self.decoder.arguments(prompts), lam)

    def columns(self, completions: Completions, scores: SequenceScores) -> dict[str, list[float]]:
        return mixture_columns(scores)


class SeveralRewardsSampler:
    """Two aligned models at several pairs of mixing weights."""

    def __init__(self, decoder: Decoder, settings: decode_settings.SeveralRewards):
        self.decoder = decoder
        self.labels = {"kind": "several_rewards", "seed": settings.seed}
        self.variants = [{"lams": ",".join(pair)} for pair in settings.lams]

    def sample(self, prompts: list[str], rows: list[Row]) -> tuple[Completions, SequenceScores]:
        pairs = []
        for row in rows:
            first, second = row["lams"].split(",")
            pairs.append((float(Fraction(first)), float(Fraction(second))))
        lam = torch.tensor(pairs)
        return sample_and_score(self.decoder.model, *self.decoder.arguments(prompts), lam)

    def columns(self, completions: Completions, scores: SequenceScores) -> dict[str, list[float]]:
        columns = mixture_columns(scores)
        del columns["logp_aligned"]  # there are two aligned models
        return columns


class BaselineSampler:
    """A baseline at one value of its knob."""

    def __init__(self, decoder: Decoder, settings: decode_settings.Baseline, knob: str):
        self.decoder = decoder
        module = baselines.load(settings.name)
        self.labels = {
            "kind": module.NAME,
            "objective": settings.objective,
            "anchor": settings.anchor,
            "seed": settings.seed,
            "knob": str(Fraction(knob)),
        }
        self.variants: list[Row] = [{}]
        self.policy: Combined = module.policy(
            decoder.model, float(Fraction(knob)), settings.options
        )

    def sample(self, prompts: list[str], rows: list[Row]) -> tuple[Completions, PolicyScores]:
        return sample_and_score_policy(self.policy, *self.decoder.arguments(prompts))

    def columns(self, completions: Completions, scores: PolicyScores) -> dict[str, list[float]]:
        columns = {
            "logp_policy": scores.policy.tolist(),
            "logp_reference": scores.reference.tolist(),
        }
        model: RealignedModel = self.decoder.model
        # some baselines put another model in the aligned one's place
        if self.policy.pair.aligned is model.aligned:
            columns["logp_aligned"] = scores.aligned.tolist()
        return columns


def samplers(decoder: Decoder, policy: decode_settings.AnyPolicy) -> Iterator[Sampler]:
    """Yield the samplers that decode one entry of the setting `policies`.

    They are made one at a time, because a baseline may hold another model for each knob.
    """
    match policy:
        case decode_settings.Reference():
            yield ReferenceSampler(decoder)
        case decode_settings.Retrained():
            yield RetrainedSampler(decoder, policy)
        case decode_settings.Dera():
            yield DeraSampler(decoder, policy)
        case decode_settings.SeveralRewards():
            yield SeveralRewardsSampler(decoder, policy)
        case decode_settings.Baseline():
            for knob in policy.knobs:
                yield BaselineSampler(decoder, policy, knob)


def mixture_columns(scores: SequenceScores) -> dict[str, list[float]]:
    """Return the log-probabilities of completions of a realigned model by column."""
    return {
        "logp_policy": scores.sampler.tolist(),
        "logp_reference": scores.reference.tolist(),
        "logp_aligned": scores.aligned.tolist(),
        "log_weight": scores.log_weight.tolist(),
    }
