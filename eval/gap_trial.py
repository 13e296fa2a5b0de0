"""The approximation gap where it can be enumerated, beside its estimate from samples.

Each pretended prompt has a random reference over short sequences and its exact optimum for random rewards. Every sequence is listed, so
KL(sampler || exact mixture) is known; the estimate sees nothing but sampled completions and their per-token normalisers.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from dera import estimators
from dera.estimators import Array
from study import job

VOCABULARY, LENGTH, PROMPTS = 3, 5, 128
BETA = 0.5
LAMS = (-2.0, -1.0, -0.5, 0.25, 0.5, 0.75, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
SAMPLES = (4, 32)
SEQUENCES = np.array(list(itertools.product(range(VOCABULARY), repeat=LENGTH)))


def random_pair(rng: np.random.Generator) -> tuple[Array, Array]:
    """Probabilities of every sequence under a random reference and under its optimum at BETA for uniform rewards."""
    prefixes = [
        prefix for n in range(LENGTH) for prefix in itertools.product(range(VOCABULARY), repeat=n)
    ]
    next_token = {prefix: rng.dirichlet(np.ones(VOCABULARY)) for prefix in prefixes}
    steps = [[next_token[tuple(s[:t])][s[t]] for t in range(LENGTH)] for s in SEQUENCES]
    reference = np.prod(steps, axis=1)
    aligned = reference * np.exp(rng.uniform(-1, 1, len(reference)) / BETA)
    return reference, aligned / aligned.sum()


def sampler(reference: Array, aligned: Array, lam: float) -> tuple[Array, Array]:
    """Probability of every sequence under DeRa, and its `sum_t log Z_t` (paper, Proposition 2), from the two models' probabilities."""
    log_mixed, log_z = np.zeros(len(reference)), np.zeros(len(reference))
    for t in range(LENGTH):
        branches = [_conditional(model, t) for model in (reference, aligned)]
        scores = (1 - lam) * np.log(branches[0]) + lam * np.log(branches[1])
        normaliser = np.log(np.exp(scores).sum(-1))
        log_z += normaliser
        log_mixed += scores[np.arange(len(scores)), SEQUENCES[:, t]] - normaliser
    return np.exp(log_mixed), log_z


def _conditional(model: Array, t: int) -> Array:
    """p(next token | the first t tokens) on each sequence's path, shape (sequences, vocabulary)."""
    tree = model.reshape((VOCABULARY,) * LENGTH)
    mass = tree.sum(tuple(range(t + 1, LENGTH)))  # of each prefix of t + 1 tokens
    rows = (
        mass[tuple(SEQUENCES[:, i] for i in range(t))]
        if t
        else np.broadcast_to(mass, (len(SEQUENCES), VOCABULARY))
    )
    return rows / rows.sum(-1, keepdims=True)


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument(
        "--output", type=Path, required=True, help="CSV file, a row a lam and number of samples"
    )
    args = parser.parse_args()
    with job.running("gap trial", args):
        rng = np.random.default_rng(args.seed)
        pairs = [random_pair(rng) for _ in range(PROMPTS)]
        rows = []
        for lam in LAMS:
            drawn = [sampler(*pair, lam) for pair in pairs]
            mixtures = [reference ** (1 - lam) * aligned**lam for reference, aligned in pairs]
            true = [
                (p * np.log(p / m * m.sum())).sum()
                for (p, _), m in zip(drawn, mixtures, strict=True)
            ]
            for count in SAMPLES:
                log_z = np.array([z[rng.choice(len(p), count, p=p / p.sum())] for p, z in drawn])
                found = estimators.bootstrap_mean(
                    estimators.approximation_gap(log_z), 1000, args.seed
                )
                row = {
                    "lam": lam,
                    "samples": count,
                    "prompts": PROMPTS,
                    "enumerated": np.mean(true),
                }
                rows.append(
                    {
                        **row,
                        "estimated": found.value,
                        "estimated_low": found.low,
                        "estimated_high": found.high,
                    }
                )
        with job.atomic_path(args.output) as path:
            pd.DataFrame(rows).to_csv(path, index=False)


if __name__ == "__main__":
    main()
