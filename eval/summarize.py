"""Summarise the completions: one row a policy, with 95% bootstrap intervals that resample prompts.

Writes policies.csv (rewards, KL, lengths, effective sample sizes, approximation gaps) and lengths.csv (distributions).

Settings: {"statistics": ..., "betas": [...]}; `betas` are the strengths to give the true optimum at.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pandas as pd

from dera import estimators
from eval import policies
from study import job

POLICY_KEYS = ["policy", "objective", "adapter_beta", "seed", "lam"]


def row(policy: policies.Policy, resamples: int, seed: int) -> dict[str, object]:
    """One line of policies.csv."""
    result: dict[str, object] = {
        "kind": policy.kind,
        "objective": policy.objective,
        "anchor": _number(policy.anchor),
        "lam": _number(policy.lam),
        "beta": _number(policy.beta),
        "seed": policy.seed,
        "prompts": len(policy.per_prompt["reward"]),
        "completions": policy.completions,
        "ess": policy.ess,
    }
    columns = dict(policy.per_prompt) if policy.gap is None else {**policy.per_prompt, "gap": policy.gap}
    for name, values in columns.items():
        estimate = estimators.bootstrap_mean(values, resamples, seed)
        result |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return result


def length_distributions(table: pd.DataFrame) -> pd.DataFrame:
    """Share of completions of each length, and their mean reward, for each policy, seeds pooled."""
    keys = [key for key in POLICY_KEYS if key != "seed"]
    groups = table.groupby([*keys, "length"], dropna=False)["reward"]
    counts = groups.agg(count="size", reward="mean").reset_index()
    counts["share"] = counts["count"] / counts.groupby(keys, dropna=False)["count"].transform("sum")
    for column in ("adapter_beta", "lam"):
        counts[column] = [None if pd.isna(value) else float(Fraction(value)) for value in counts[column]]
    return counts


def _number(value: Fraction | None) -> float | None:
    return None if value is None else float(value)


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("completions", type=Path, help="Parquet file of scored completions")
    parser.add_argument("--policies", type=Path, required=True, help="CSV file for the policies")
    parser.add_argument("--lengths", type=Path, required=True, help="CSV file for the length distributions")
    args = parser.parse_args()
    with job.running("summarize", args) as progress:
        table = pd.read_parquet(args.completions)
        found = policies.from_completions(table, map(Fraction, args.settings["betas"]))
        resamples, rows = args.settings["statistics"]["bootstrap_resamples"], []
        for number, policy in enumerate(found, start=1):
            rows.append(row(policy, resamples, args.seed))
            progress.update(number, len(found), "policies")
        for path, content in ((args.policies, pd.DataFrame(rows)), (args.lengths, length_distributions(table))):
            with job.atomic_path(path) as temporary:
                content.to_csv(temporary, index=False)


if __name__ == "__main__":
    main()
