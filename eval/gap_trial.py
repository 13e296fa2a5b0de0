"""Compare the estimated approximation gap with the true gap, where that can be enumerated.

Each pretended prompt has a random reference over short sequences, and the exact optimum for random
rewards as its aligned model. Every sequence is listed, so KL(sampler || exact mixture) is known.
The estimate sees only sampled completions and their per-token normalisers.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dera import estimators
from dera.estimators import Array
from study import job

VOCABULARY = 3
LENGTH = 5
PROMPTS = 128
BETA = 0.5
LAMS = (-2.0, -1.0, -0.5, 0.25, 0.5, 0.75, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
#: Completions of a prompt from which the gap is estimated.
SAMPLES = (4, 32)
RESAMPLES = 1000
SEQUENCES = np.array(list(itertools.product(range(VOCABULARY), repeat=LENGTH)))


def random_pair(rng: np.random.Generator) -> tuple[Array, Array]:
    """Return every sequence's probability under a random reference and under its optimum.

    The optimum is that of uniform rewards at strength BETA: `p_ref * exp(r / BETA)`, normalised.
    """
    prefixes = itertools.chain.from_iterable(
        itertools.product(range(VOCABULARY), repeat=length) for length in range(LENGTH)
    )
    next_token = {prefix: rng.dirichlet(np.ones(VOCABULARY)) for prefix in prefixes}

    def token_probabilities(sequence: Array) -> list[float]:
        return [next_token[tuple(sequence[:t])][sequence[t]] for t in range(LENGTH)]

    reference = np.prod([token_probabilities(sequence) for sequence in SEQUENCES], axis=1)
    rewards = rng.uniform(-1, 1, len(reference))
    aligned = reference * np.exp(rewards / BETA)
    return reference, aligned / aligned.sum()


def sampler(reference: Array, aligned: Array, lam: float) -> tuple[Array, Array]:
    """Return every sequence's probability under DeRa and its `sum_t log Z_t` (Proposition 2).

    Args:
        reference, aligned: the two models' probabilities of every sequence.
        lam: mixing weight.
    """
    log_mixed = np.zeros(len(reference))
    log_z = np.zeros(len(reference))
    for t in range(LENGTH):
        log_reference = np.log(_next_token(reference, t))
        log_aligned = np.log(_next_token(aligned, t))
        scores = (1 - lam) * log_reference + lam * log_aligned
        log_normaliser = np.log(np.exp(scores).sum(-1))
        log_z += log_normaliser
        log_mixed += scores[np.arange(len(scores)), SEQUENCES[:, t]] - log_normaliser
    return np.exp(log_mixed), log_z


def _next_token(model: Array, t: int) -> Array:
    """Return p(next token | the first t tokens) on the path of each sequence.

    Returns:
        shape (sequences, vocabulary).
    """
    tree = model.reshape((VOCABULARY,) * LENGTH)
    # The probability of each prefix of t + 1 tokens, of which the last axis is the next token.
    of_prefixes = tree.sum(tuple(range(t + 1, LENGTH)))
    first_tokens = tuple(SEQUENCES[:, position] for position in range(t))
    if t == 0:
        rows = np.broadcast_to(of_prefixes, (len(SEQUENCES), VOCABULARY))
    else:
        rows = of_prefixes[first_tokens]
    return rows / rows.sum(-1, keepdims=True)


def enumerated_gap(probabilities: Array, mixture: Array) -> float:
    """Return KL(sampler || mixture) by summing over every sequence; `mixture` is unnormalised."""
    return (probabilities * np.log(probabilities / mixture * mixture.sum())).sum()


def rows_at(
    lam: float, pairs: list[tuple[Array, Array]], rng: np.random.Generator, seed: int
) -> list[dict[str, Any]]:
    """Return a row for each number of samples: the true gap at one lam, and its estimate."""
    # What can be enumerated: DeRa, the exact mixture, and the true gap for each pretended prompt.
    samplers = [sampler(reference, aligned, lam) for reference, aligned in pairs]
    mixtures = [reference ** (1 - lam) * aligned**lam for reference, aligned in pairs]
    true_gaps = [
        enumerated_gap(probabilities, mixture)
        for (probabilities, _), mixture in zip(samplers, mixtures, strict=True)
    ]

    # What is estimated from samples, for each number of them.
    rows = []
    for count in SAMPLES:
        drawn = np.array([_draw(*of_prompt, count, rng) for of_prompt in samplers])
        gaps = estimators.approximation_gap(drawn)
        estimate = estimators.bootstrap_mean(gaps, RESAMPLES, seed)
        rows.append(
            {
                "lam": lam,
                "samples": count,
                "prompts": PROMPTS,
                "enumerated": np.mean(true_gaps),
                "estimated": estimate.value,
                "estimated_low": estimate.low,
                "estimated_high": estimate.high,
            }
        )
    return rows


def _draw(probabilities: Array, log_z: Array, count: int, rng: np.random.Generator) -> Array:
    """Return `sum_t log Z_t` of sequences drawn from the sampler."""
    shares = probabilities / probabilities.sum()
    return log_z[rng.choice(len(probabilities), count, p=shares)]


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument(
        "--output", type=Path, required=True, help="CSV file with a row a lam and number of samples"
    )
    args = parser.parse_args()
    with job.running("gap trial", args):
        rng = np.random.default_rng(args.seed)
        pairs = [random_pair(rng) for _ in range(PROMPTS)]
        rows = []
        for lam in LAMS:
            rows += rows_at(lam, pairs, rng, args.seed)
        with job.atomic_path(args.output) as path:
            pd.DataFrame(rows).to_csv(path, index=False)


if __name__ == "__main__":
    main()
