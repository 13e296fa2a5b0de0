"""Decide every claim of a task, and tabulate what training and decoding cost.

The job writes claims.json, costs.csv and agreement.csv. Its settings are `eval.judging.Judging`.
The exit status is 0 whatever the verdicts are: a claim that fails is a result.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import defaultdict
from pathlib import Path

import pandas as pd
from datasets import Dataset
from torch import nn

from dera.model.realigned import RealignedModel
from eval import policies
from eval import several_rewards as several_rewards_table
from eval.claims import (
    Claim,
    Evidence,
    agreement,
    baselines,
    breakdown,
    convergence,
    cost,
    hacking,
    hallucination,
    identities,
    safety,
    several_rewards,
    strength,
    transition,
)
from eval.judging import Judging
from study import job

#: The modules that decide claims, in the order in which the pages show these.
CLAIMS = (
    identities,
    convergence,
    agreement,
    transition,
    strength,
    hacking,
    hallucination,
    safety,
    breakdown,
    baselines,
    several_rewards,
    cost,
)


def training_seconds(adapters: list[Path]) -> dict[str, dict[str, float]]:
    """Return for each objective the mean seconds of a training run, and the runs a seed needs."""
    records = pd.DataFrame([job.read_json(folder / "training.json") for folder in adapters])
    result = {}
    for objective, runs in records.groupby("objective"):
        result[objective] = {
            "seconds a run": float(runs["seconds"].mean()),
            "runs per seed": int(runs["beta"].nunique()),
        }
    return result


def sampling_seconds(samples: list[Path]) -> dict[str, dict[str, float]]:
    """Return for each objective how long it takes to decode the held-out prompts once, in seconds.

    The seconds are means for DeRa, over its lams, and for a retrained model alone.
    """
    times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for folder in samples:
        for decoded in job.read_json(folder / "decoding.json")["policies"]:
            if decoded["kind"] in ("dera", "retrained"):
                seconds = decoded["decoding_seconds"] / decoded["lams"]
                times[decoded["objective"]][decoded["kind"]].append(seconds)
    means: dict[str, dict[str, float]] = {}
    for objective, by_kind in times.items():
        means[objective] = {kind: sum(runs) / len(runs) for kind, runs in by_kind.items()}
    return means


def parameter_bytes(reference: Path, adapter: Path) -> dict[str, float]:
    """Return the bytes of one model's parameters, of the pair as decoded here, and of the adapter.

    The study decodes two whole models. The aligned model could also share the reference's
    weights, and add its adapter to them.
    """
    pair = RealignedModel.from_pretrained(reference, adapter, merge_adapter=True)
    shared = RealignedModel.from_pretrained(reference, adapter)
    model = _bytes(pair.aligned)
    return {
        "model bytes": model,
        "pair bytes": _bytes(pair),
        "adapter bytes": _bytes(shared) - model,
    }


def _bytes(model: nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def costs(
    training: dict[str, dict[str, float]], sampling: dict[str, dict[str, float]]
) -> pd.DataFrame:
    """Return a row for each objective, for the figure `cost`."""
    rows = []
    for objective, measured in sampling.items():
        rows.append({"objective": objective, **training[objective], **measured})
    return pd.DataFrame(rows)


def gather_evidence(args: argparse.Namespace, judging: Judging) -> Evidence:
    """Read the tables and records that the arguments name."""
    table = pd.read_parquet(args.completions)
    realigned = judging.with_anchors()

    # what decoding costs, for the objectives that DeRa starts from
    memory = parameter_bytes(args.reference, args.checked_adapter)
    sampling = {}
    for objective, seconds in sampling_seconds(args.samples).items():
        if objective in realigned.objectives:
            sampling[objective] = {**seconds, **memory}

    points = several_rewards_table.points(table, judging) if judging.several_rewards else []
    return Evidence(
        task=args.task,
        policies=policies.from_completions(table, realigned),
        judging=realigned,
        seed=args.seed,
        training_seconds=training_seconds(args.adapters),
        sampling_seconds=sampling,
        reference=args.reference,
        checked_adapter=args.checked_adapter,
        prompts=list(Dataset.from_parquet(str(args.prompts))["prompt"]),
        several_rewards=points,
    )


def decide(evidence: Evidence) -> list[Claim]:
    """Return every claim of the task."""
    claims = []
    for module in CLAIMS:
        claims += module.decide(evidence)
    return claims


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = job.parser(__doc__)
    parser.add_argument("completions", type=Path, help="Parquet file of scored completions")
    parser.add_argument("--task", required=True, help="name of the task")
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument(
        "--adapters", type=Path, nargs="+", required=True, help="folders of all adapters"
    )
    parser.add_argument(
        "--checked-adapter",
        type=Path,
        required=True,
        help="folder of the adapter on which the identities are checked and memory is measured",
    )
    parser.add_argument(
        "--samples", type=Path, nargs="+", required=True, help="folders of all decoded policies"
    )
    parser.add_argument(
        "--readings", type=Path, nargs="+", default=[], help="Parquet files that eval.read made"
    )
    parser.add_argument(
        "--prompts", type=Path, required=True, help="Parquet file with a column prompt"
    )
    parser.add_argument(
        "--agreement",
        type=Path,
        required=True,
        help="CSV file for the differences between retrained models and DeRa",
    )
    parser.add_argument("--costs", type=Path, required=True, help="CSV file for the costs")
    parser.add_argument("--output", type=Path, required=True, help="claims.json")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    with job.running(f"{args.task} claims", args) as progress:
        evidence = gather_evidence(args, job.settings_of(args, Judging))
        claims = decide(evidence)
        for claim in claims:
            progress.say(f"{claim.id}: {claim.verdict}")

        # the claims come last, because a job that has written them is done
        tables = {
            args.costs: costs(evidence.training_seconds, evidence.sampling_seconds),
            args.agreement: agreement.table(evidence),
        }
        for path, table in tables.items():
            with job.atomic_path(path) as temporary:
                table.to_csv(temporary, index=False)
        job.write_json(args.output, [dataclasses.asdict(claim) for claim in claims])


if __name__ == "__main__":
    main()
