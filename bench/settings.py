"""Typed settings of the benchmark: what `bench/decoding.yaml` says, and what its jobs are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic
import yaml

from study import job


@job.settings_class
class Training:
    """How the adapter of the larger pair is trained."""

    steps: int
    batch_size: int
    tokens: int
    learning_rate: float


@job.settings_class
class Making:
    """How the larger pair is made.

    Attributes:
        shape: of the base, arguments of transformers' `LlamaConfig`.
        lora: of the adapter, arguments of PEFT's `LoraConfig`.
        training: of the adapter.
    """

    shape: dict[str, Any]
    lora: dict[str, Any]
    training: Training


@job.settings_class
class StudyPair:
    """How decoding is timed with the pair that the study has trained.

    Attributes:
        rows: how many prompts are decoded, by the size of batches.
        repeats: how often each way of decoding is timed.
    """

    rows: dict[int, int]
    repeats: int


@job.settings_class
class LargerPair:
    """How decoding is timed with the larger pair; `rows` and `repeats` as for `StudyPair`.

    Attributes:
        prompt_words: the length of its prompts.
        max_new_tokens: the longest completion.
        make: how the pair is made.
    """

    rows: dict[int, int]
    repeats: int
    prompt_words: int
    max_new_tokens: int
    make: Making


@job.settings_class
class CurveTiming:
    """How a curve over lam is timed, with the study's pair.

    Attributes:
        prompts: how many prompts.
        samples: completions of each prompt at each sampled lam.
        batch: rows decoded together.
        points: how many lams the curve has, from 0 to `max_lam`.
        repeats: how often the curve is timed.
    """

    prompts: int
    samples: int
    batch: int
    points: int
    max_lam: float
    repeats: int


@job.settings_class
class Timing:
    """What the benchmark times.

    Attributes:
        batches: sizes of batches.
        lams: mixing weights.
        once_above_seconds: a way of decoding that takes longer than this is timed once.
        pairs: a pair of the study and a larger one, by the names that records give them.
        curve: how a curve over lam is timed.
    """

    batches: list[int]
    lams: list[float]
    once_above_seconds: float
    pairs: dict[str, StudyPair | LargerPair]
    curve: CurveTiming

    def study_pair(self) -> tuple[str, StudyPair]:
        """Return the name and the settings of the study's pair."""
        return next(
            (name, pair) for name, pair in self.pairs.items() if isinstance(pair, StudyPair)
        )

    def larger_pair(self) -> tuple[str, LargerPair]:
        """Return the name and the settings of the larger pair."""
        return next(
            (name, pair) for name, pair in self.pairs.items() if isinstance(pair, LargerPair)
        )


@job.settings_class
class Decoding:
    """Settings of the job `bench.decoding`.

    Attributes:
        max_new_tokens: the longest completion of the study's pair.
    """

    max_new_tokens: int


def read_timing(file: Path) -> Timing:
    """Read what is to be timed from a YAML file.

    Raises:
        ValueError: naming the key and the value that do not fit.
    """
    return pydantic.TypeAdapter(Timing).validate_python(yaml.safe_load(file.read_text()))
