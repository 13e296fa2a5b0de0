"""Decide every claim of a task, and show what controls make of each verdict.

The job writes claims.json, costs.csv, agreement.csv, and controls.csv. Each control breaks the
evidence on purpose, and the claims are decided again (`eval.controls`). Its settings are
`eval.judging.Judging`. The exit status is 0 whatever the verdicts are: a claim that fails is a
result.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset

from eval import controls, other_references, policies, readings
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
    own_reference,
    safety,
    several_rewards,
    strength,
    transition,
)
from eval.judging import Judging
from eval.other_references import Mixtures
from eval.readings import Readings
from study import job

#: The modules that decide claims from tables, in the order in which the pages show these.
CLAIMS = (
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
    own_reference,
    cost,
)


def training_and_decoding(adapters: list[Path], samples: list[Path]) -> pd.DataFrame:
    """Return what a model of each objective and training seed takes to train and to decode.

    Returns:
        One row for each objective and seed, with `betas` (how many models were trained), and the
        mean seconds of a training (`training`), of decoding the held-out prompts once by a
        retrained model (`retrained`), and by DeRa at one lam (`dera`, NaN where there is none).
    """
    records = []
    for folder in adapters:
        record = job.read_json(folder / "training.json")
        key = {"objective": record["objective"], "seed": int(record["seed"])}
        records.append({**key, "kind": "training", "seconds": record["seconds"]})
    for folder in samples:
        for decoded in job.read_json(folder / "decoding.json")["policies"]:
            if decoded["kind"] in ("dera", "retrained"):
                key = {"objective": decoded["objective"], "seed": int(decoded["seed"])}
                seconds = decoded["decoding_seconds"] / decoded["lams"]
                records.append({**key, "kind": decoded["kind"], "seconds": seconds})
    table = pd.DataFrame(records)
    seconds = table.pivot_table(index=["objective", "seed"], columns="kind", values="seconds")
    trained = table[table["kind"] == "training"].groupby(["objective", "seed"]).size()
    kinds = ["training", "retrained", "dera"]
    return seconds.reindex(columns=kinds).assign(betas=trained).reset_index()


def seconds_saved(costs: pd.DataFrame) -> dict[str, list[float]]:
    """Return for each objective what `Evidence.seconds_saved` has, one number a training seed.

    Each of the other strengths takes a training and a decoding by retraining, and a decoding by
    DeRa. Objectives without another strength, or that DeRa does not start from, are left out.
    """
    compared = costs[(costs["betas"] > 1) & costs["dera"].notna()]
    logs = {}
    for objective, rows in compared.groupby("objective"):
        ratio = (rows["training"] + rows["retrained"]) / rows["dera"]
        logs[str(objective)] = np.log(ratio).tolist()
    return logs


def reward_spread(table: pd.DataFrame, judging: Judging) -> dict[str, float]:
    """Return the standard deviation of each objective's reward over the reference's completions."""
    reference = table[table["kind"] == "reference"]
    spreads = {}
    for name, objective in judging.objectives.items():
        spreads[name] = float(policies.weighted(reference, objective.reward).std())
    return spreads


def evidence_from(
    task: str,
    table: pd.DataFrame,
    read: Readings,
    judging: Judging,
    seed: int,
    mixtures: Mixtures | None = None,
) -> Evidence:
    """Return what the claims are decided from, as far as the tables have it.

    Args:
        table: scored completions.
        read: the readings of the retrained models.
        judging: the settings, with all objectives of the task.
        mixtures: the aligned models mixed with several references; None where there are none.
    """
    realigned = judging.with_anchors()
    points = several_rewards_table.points(table, judging) if judging.several_rewards else []
    return Evidence(
        task=task,
        policies=policies.from_completions(table, realigned),
        judging=realigned,
        readings=read,
        seed=seed,
        reward_spread=reward_spread(table, realigned),
        several_rewards=points,
        mixtures=mixtures or Mixtures(),
    )


def decide(evidence: Evidence) -> list[Claim]:
    """Return every claim that is decided from tables."""
    claims = []
    for module in CLAIMS:
        claims += module.decide(evidence)
    return claims


def verdicts(evidence: Evidence) -> dict[str, str]:
    """Return the verdicts that are decided from tables, by the claims' ids."""
    return {claim.id: claim.verdict for claim in decide(evidence)}


def under_controls(
    evidence: Evidence,
    table: pd.DataFrame,
    read: Readings,
    judging: Judging,
    mixtures: Mixtures,
    progress: job.Progress,
) -> pd.DataFrame:
    """Return what becomes of each verdict when each control breaks the evidence.

    Args:
        evidence: what `evidence_from` made of the tables.
        table, read, judging, mixtures: as for `evidence_from`.
        progress: is told what is done.
    """

    def verdicts_of(control: controls.Control) -> dict[str, str]:
        broken = evidence_from(
            evidence.task,
            control.completions(table, judging),
            control.readings(read, judging),
            judging,
            evidence.seed,
            control.mixtures(mixtures),
        )
        return verdicts(broken)

    return controls.table(evidence.task, verdicts(evidence), verdicts_of, progress)


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
        help="folder of the adapter on which the identities are checked",
    )
    parser.add_argument(
        "--samples", type=Path, nargs="+", required=True, help="folders of all decoded policies"
    )
    parser.add_argument(
        "--readings", type=Path, nargs="+", default=[], help="Parquet files that eval.read made"
    )
    parser.add_argument(
        "--reference-trials",
        type=Path,
        nargs="+",
        default=[],
        help="Parquet files that eval.reference_trial made",
    )
    parser.add_argument(
        "--prompts", type=Path, required=True, help="Parquet file with a column prompt"
    )
    parser.add_argument(
        "--agreement",
        type=Path,
        required=True,
        help="CSV file for the agreement of retrained models and DeRa at each beta",
    )
    parser.add_argument("--costs", type=Path, required=True, help="CSV file for the seconds taken")
    parser.add_argument(
        "--controls", type=Path, required=True, help="CSV file for the verdicts under controls"
    )
    parser.add_argument("--output", type=Path, required=True, help="claims.json")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    with job.running(f"{args.task} claims", args) as progress:
        judging = job.settings_of(args, Judging)
        table = pd.read_parquet(args.completions)
        read = readings.read_tables(args.readings)
        mixtures = other_references.read_tables(args.reference_trials)
        costs = training_and_decoding(args.adapters, args.samples)
        evidence = evidence_from(args.task, table, read, judging, args.seed, mixtures)
        with_models = dataclasses.replace(
            evidence,
            seconds_saved=seconds_saved(costs),
            reference=args.reference,
            checked_adapter=args.checked_adapter,
            prompts=list(Dataset.from_parquet(str(args.prompts))["prompt"]),
        )
        claims = identities.decide(with_models) + decide(with_models)
        for claim in claims:
            progress.say(f"{claim.id}: {claim.verdict}")

        controlled = under_controls(evidence, table, read, judging, mixtures, progress)

        # the claims come last, because a job that has written them is done
        tables = {
            args.agreement: agreement.table(evidence),
            args.controls: controlled,
            args.costs: costs,
        }
        for path, content in tables.items():
            with job.atomic_path(path) as temporary:
                content.to_csv(temporary, index=False)
        job.write_json(args.output, [dataclasses.asdict(claim) for claim in claims])


if __name__ == "__main__":
    main()
