"""Decide every claim of the study and write claims.json and claims.md.

Settings: {"statistics": ..., "betas": [...]}. The exit status is 0 whatever the verdicts are: a claim that fails is a result.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import Dataset

from eval import policies
from eval.claims import Claim, Evidence, agreement, cost, identities, transition
from study import job


def training_seconds(adapters: list[Path]) -> dict[str, dict[str, float]]:
    """For each objective: mean seconds of a training run, and how many runs a seed needs."""
    records = pd.DataFrame([job.read_json(folder / "training.json") for folder in adapters])
    return {
        objective: {"seconds a run": float(runs["seconds"].mean()), "runs per seed": int(runs["beta"].nunique())}
        for objective, runs in records.groupby("objective")
    }


def sampling_seconds(samples: list[Path]) -> dict[str, dict[str, float]]:
    """For each objective: mean seconds to decode the held-out prompts once by DeRa and by an adapter alone."""
    found: dict[str, dict[str, list[float]]] = {}
    for folder in samples:
        record = job.read_json(folder / "sampling.json")
        if record["policy"] != "reference":
            seconds = record["decoding_seconds"] / record["lams"]
            found.setdefault(record["labels"]["objective"], {}).setdefault(record["policy"], []).append(seconds)
    return {objective: {kind: sum(s) / len(s) for kind, s in kinds.items()} for objective, kinds in found.items()}


def front_page(study: str, claims: list[Claim]) -> str:
    """The claims as a Markdown table, then the evidence of each."""
    lines = [f"# Claims of the study `{study}`", "", "| claim | source | verdict | criterion |", "| --- | --- | --- | --- |"]
    lines += [f"| {c.claim} (`{c.id}`) | {c.source} | **{c.verdict}** | {c.criterion} |" for c in claims]
    for claim in claims:
        lines += ["", f"## {claim.id}: {claim.verdict}", ""]
        lines += [f"- {name}: {_shown(value)}" for name, value in claim.evidence.items() if not _is_table(value)]
        for value in filter(_is_table, claim.evidence.values()):
            lines += ["", *_table(value)]
        if claim.figure:
            lines += ["", f"Figure: `figures/{claim.figure}.png`"]
    return "\n".join(lines) + "\n"


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    names = list(rows[0])
    body = [f"| {' | '.join(_shown(row[name]) for name in names)} |" for row in rows]
    return [f"| {' | '.join(names)} |", "|" + " --- |" * len(names), *body]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict) and set(value) == {"value", "low", "high"}:
        return "{value:+.3f} [{low:+.3f}, {high:+.3f}]".format(**value)
    if isinstance(value, list | tuple):
        return ", ".join(_shown(v) for v in value)
    if isinstance(value, dict):
        return "; ".join(f"{name} {_shown(v)}" for name, v in value.items())
    return str(value)


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("completions", type=Path, help="Parquet file of scored completions")
    parser.add_argument("--study", required=True, help="name of the study")
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument(
        "--adapters", type=Path, nargs="+", required=True, help="folders of all adapters; the first is the anchor checked"
    )
    parser.add_argument("--samples", type=Path, nargs="+", required=True, help="folders of all decoded policies")
    parser.add_argument("--prompts", type=Path, required=True, help="Parquet file with a column prompt")
    parser.add_argument("--output", type=Path, required=True, help="claims.json; claims.md is written beside it")
    args = parser.parse_args()
    with job.running("claims", args) as progress:
        table = pd.read_parquet(args.completions)
        evidence = Evidence(
            policies=policies.from_completions(table, map(Fraction, args.settings["betas"])),
            statistics=args.settings["statistics"],
            seed=args.seed,
            training_seconds=training_seconds(args.adapters),
            sampling_seconds=sampling_seconds(args.samples),
            reference=args.reference,
            anchor=args.adapters[0],
            prompts=Dataset.from_parquet(str(args.prompts))["prompt"],
        )
        claims = [claim for module in (identities, agreement, transition, cost) for claim in module.decide(evidence)]
        for claim in claims:
            progress.say(f"{claim.id}: {claim.verdict}")
        with job.atomic_path(args.output.with_suffix(".md")) as path:
            path.write_text(front_page(args.study, claims))
        job.write_json(args.output, [dataclasses.asdict(claim) for claim in claims])


if __name__ == "__main__":
    main()
