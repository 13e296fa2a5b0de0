"""Typed settings of the benchmark: those in `bench/decoding.yaml`, and those its jobs are given."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Any

import pydantic
import yaml

from study import job
from tasks import TaskSettings


@job.settings_class
class Training:
    """How the adapter of the larger pair is trained.

    Attributes:
        steps: how many steps.
        batch_size: how many texts a step.
        tokens: how many tokens a text.
        learning_rate: the optimizer's learning rate.
    """

    steps: int
    batch_size: int
    tokens: int
    learning_rate: float


@job.settings_class
class Making:
    """How the larger pair is made.

    Attributes:
        shape: the shape of the base, as arguments of transformers' `LlamaConfig`.
        lora: the shape of the adapter, as arguments of PEFT's `LoraConfig`.
        training: how the adapter is trained.
        dtype: the numbers that the base's weights are, by torch's name.
    """

    shape: dict[str, Any]
    lora: dict[str, Any]
    training: Training
    dtype: str = "float32"


@job.settings_class
class StudyPair:
    """How decoding is timed with the pair that the study has trained.

    Attributes:
        rows: how many prompts are decoded, by the size of batches.
        repeats: how often each way of decoding is timed at each lam.
        dtype: the numbers that weights are, by torch's name.
        needs_gpu: whether the pair is left out where there is no GPU.
    """

    rows: dict[int, int]
    repeats: int
    dtype: str = "float32"
    needs_gpu: bool = False


@job.settings_class
class LargerPair(StudyPair):
    """How decoding is timed with a pair that the benchmark makes.

    Attributes:
        rows, repeats, dtype, needs_gpu: as in `StudyPair`.
        prompt_words: how many words each prompt has.
        max_new_tokens: how many tokens a completion has at most.
        make: how the pair is made.
    """

    prompt_words: int = field(kw_only=True)
    max_new_tokens: int = field(kw_only=True)
    make: Making = field(kw_only=True)


@job.settings_class
class CurveTiming:
    """How a curve over lam is timed, with the study's pair.

    Attributes:
        prompts: how many prompts are decoded.
        samples: how many completions of each prompt are drawn at each sampled lam.
        batch: how many completions are decoded together.
        points: how many lams the curve has, from 0 to `max_lam`.
        max_lam: the largest lam of the curve.
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
        lams: the mixing weights to decode at.
        once_above_seconds: a way of decoding that takes longer than this is timed once.
        compiler: what compiles the compiled ways, as torch calls its backend; None leaves these
            ways out.
        pairs: the study's pair and larger ones, by the names that records give them.
        curve: how a curve over lam is timed, with the study's pair.
    """

    lams: list[float]
    once_above_seconds: float
    compiler: str | None
    pairs: dict[str, LargerPair | StudyPair]
    curve: CurveTiming


@job.settings_class
class HoldingTiming:
    """How decoding with a pair is timed for each way of holding it in memory.

    Attributes:
        lam: the mixing weight.
        rows: how many prompts are decoded, by the size of batches.
        repeats: how often each way is timed.
        once_above_seconds: a way that takes longer than this is timed once.
    """

    lam: float
    rows: dict[int, int]
    repeats: int
    once_above_seconds: float


@job.settings_class
class Holding:
    """What `bench.memory` measures.

    Attributes:
        lams: the mixing weights at which texts are drawn and compared.
        prompts: how many prompts are continued at each lam at most; the test split may have fewer.
        batch_size: how many are read or continued together.
        timing: how decoding is timed.
    """

    lams: list[float]
    prompts: int
    batch_size: int
    timing: HoldingTiming


@job.settings_class
class Memory:
    """Settings of the job `bench.memory`.

    Attributes:
        task: judges the texts.
        max_new_tokens: how many tokens a completion has at most.
    """

    task: TaskSettings
    max_new_tokens: int


@job.settings_class
class Decoding:
    """Settings of the job `bench.decoding`.

    Attributes:
        max_new_tokens: how many tokens a completion of the study's pair has at most.
    """

    max_new_tokens: int


def read_timing(file: Path) -> Timing:
    """Read what is to be timed from a YAML file.

    Raises:
        ValueError: naming the key and the value that do not fit.
    """
    return _read(file, Timing)


def read_holding(file: Path) -> Holding:
    """Read what `bench.memory` is to measure from a YAML file.

    Raises:
        ValueError: naming the key and the value that do not fit.
    """
    return _read(file, Holding)


def _read(file: Path, kind: type[job.Settings]) -> job.Settings:
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    return pydantic.TypeAdapter(kind).validate_python(values)
