"""Decide every claim of a task: claims.json, what training and decoding cost: costs.csv, and agreement.csv.

Settings: {"statistics": ..., "objectives": {name: {"reward", "reward_margin", "optimum", "betas", "anchors", "default_beta", "seeds"}},
"several_rewards": the config's section, if there is one}. The exit status is 0 whatever the verdicts are: a claim that fails is a result.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
from datasets import Dataset
from torch import nn

from dera.model.realigned import RealignedModel
from eval import policies
from eval import several_rewards as several_rewards_table
from eval.claims import (
    Evidence,
    agreement,
    baselines,
    breakdown,
    cost,
    hacking,
    hallucination,
    identities,
    safety,
    several_rewards,
    strength,
    transition,
)
from study import job

CLAIMS = (
    identities,
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
    """For each objective: mean seconds of a training run, and how many runs a seed needs."""
    records = pd.DataFrame([job.read_json(folder / "training.json") for folder in adapters])
    return {
        objective: {
            "seconds a run": float(runs["seconds"].mean()),
            "runs per seed": int(runs["beta"].nunique()),
        }
        for objective, runs in records.groupby("objective")
    }


def sampling_seconds(samples: list[Path]) -> dict[str, dict[str, float]]:
    """For each objective: mean seconds to decode the held-out prompts once by DeRa and by an adapter alone."""
    found: dict[str, dict[str, list[float]]] = {}
    for folder in samples:
        record = job.read_json(folder / "sampling.json")
        for decoded in record["policies"]:
            if decoded["policy"] != "reference":
                seconds = decoded["decoding_seconds"] / decoded["lams"]
                found.setdefault(record["labels"]["objective"], {}).setdefault(
                    decoded["policy"], []
                ).append(seconds)
    return {
        objective: {kind: sum(s) / len(s) for kind, s in kinds.items()}
        for objective, kinds in found.items()
    }


def parameter_bytes(reference: Path, adapter: Path) -> dict[str, float]:
    """Bytes of the parameters of one model, of the pair as it is decoded here, and of the adapter kept apart."""
    pair = RealignedModel.from_pretrained(reference, adapter, merge_adapter=True)
    shared = RealignedModel.from_pretrained(reference, adapter)
    one = _bytes(pair.aligned)
    return {"model bytes": one, "pair bytes": _bytes(pair), "adapter bytes": _bytes(shared) - one}


def _bytes(model: nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def costs(
    training: dict[str, dict[str, float]], sampling: dict[str, dict[str, float]]
) -> pd.DataFrame:
    """One row an objective, for the figure."""
    return pd.DataFrame(
        [{"objective": name, **training[name], **per_lam} for name, per_lam in sampling.items()]
    )


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("completions", type=Path, help="Parquet file of scored completions")
    parser.add_argument("--task", required=True, help="name of the task")
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument(
        "--adapters",
        type=Path,
        nargs="+",
        required=True,
        help="folders of all adapters; the first is the anchor checked",
    )
    parser.add_argument(
        "--samples", type=Path, nargs="+", required=True, help="folders of all decoded policies"
    )
    parser.add_argument(
        "--prompts", type=Path, required=True, help="Parquet file with a column prompt"
    )
    parser.add_argument(
        "--agreement",
        type=Path,
        required=True,
        help="CSV file for the differences between retrained and DeRa",
    )
    parser.add_argument("--costs", type=Path, required=True, help="CSV file for the costs")
    parser.add_argument("--output", type=Path, required=True, help="claims.json")
    args = parser.parse_args()
    with job.running(f"{args.task} claims", args) as progress:
        objectives = {
            name: settings
            for name, settings in args.settings["objectives"].items()
            if settings["anchors"]
        }
        training, sampling = training_seconds(args.adapters), sampling_seconds(args.samples)
        memory = parameter_bytes(args.reference, args.adapters[0])
        sampling = {
            name: {**seconds, **memory} for name, seconds in sampling.items() if name in objectives
        }
        table, section = pd.read_parquet(args.completions), args.settings.get("several_rewards")
        evidence = Evidence(
            task=args.task,
            policies=policies.from_completions(table, objectives),
            objectives=objectives,
            statistics=args.settings["statistics"],
            seed=args.seed,
            training_seconds=training,
            sampling_seconds=sampling,
            reference=args.reference,
            anchor=args.adapters[0],
            prompts=list(Dataset.from_parquet(str(args.prompts))["prompt"]),
            several_rewards=several_rewards_table.points(
                table, section, args.settings["objectives"]
            )
            if section
            else [],
        )
        claims = [claim for module in CLAIMS for claim in module.decide(evidence)]
        for claim in claims:
            progress.say(f"{claim.id}: {claim.verdict}")
        with job.atomic_path(args.costs) as path:
            costs(training, sampling).to_csv(path, index=False)
        with job.atomic_path(args.agreement) as path:
            agreement.table(evidence).to_csv(path, index=False)
        job.write_json(args.output, [dataclasses.asdict(claim) for claim in claims])


if __name__ == "__main__":
    main()
