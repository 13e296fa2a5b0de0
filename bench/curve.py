"""How long a curve over many lams takes, in decodes of the same prompts at a single lam."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from bench.decoders import Pair
from bench.settings import CurveTiming
from bench.timing import ratios
from dera.curve.reweighting import lam_curve
from dera.decoding import sample_completions


def time_curve(
    pair: Pair, prompts: Sequence[str], settings: CurveTiming, seed: int
) -> dict[str, Any]:
    """Time curves, each beside decoding the same prompts as often at lam = 0.5.

    Returns:
        The record that is published: the number of lams and of those that were sampled, and the
        ratio of the two times.
    """
    curves = []
    decodes = []
    sampled_lams = 0
    # The first repeat is to warm up.
    for repeat in range(settings.repeats + 1):
        decodes.append(_time_decoding(pair, prompts, settings, seed + repeat))
        started = time.perf_counter()
        sampled_lams = _estimate_curve(pair, prompts, settings, seed + repeat)
        curves.append(time.perf_counter() - started)
    return {
        "lams": settings.points,
        "sampled_lams": sampled_lams,
        **ratios("ratio_to_decode", curves[1:], decodes[1:]),
        "repeats": settings.repeats,
    }


def _time_decoding(pair: Pair, prompts: Sequence[str], settings: CurveTiming, seed: int) -> float:
    """Return the seconds that decoding takes at a single lam."""
    rows = [prompt for prompt in prompts for _ in range(settings.samples)]
    torch.manual_seed(seed)
    started = time.perf_counter()
    for start in range(0, len(rows), settings.batch):
        texts = rows[start : start + settings.batch]
        sample_completions(pair.adapter, pair.tokenizer, texts, pair.max_new_tokens, lam=0.5)
    return time.perf_counter() - started


def _estimate_curve(pair: Pair, prompts: Sequence[str], settings: CurveTiming, seed: int) -> int:
    """Estimate a curve, and return at how many lams completions were sampled for it."""
    _, drawn = lam_curve(
        pair.adapter,
        pair.tokenizer,
        prompts,
        _count_words,
        pair.max_new_tokens,
        np.linspace(0, settings.max_lam, settings.points).tolist(),
        samples=settings.samples,
        batch_size=settings.batch,
        seed=seed,
    )
    return len(drawn.sampled_lams)


def _count_words(prompts: list[str], completions: list[str]) -> list[float]:
    return [float(len(completion.split())) for completion in completions]
