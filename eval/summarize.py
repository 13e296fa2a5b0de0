"""Summarise a task's completions: one row a policy, with 95% bootstrap intervals that resample prompts.

Writes policies.csv (every measure, KL, effective sample sizes, approximation gaps), lengths.csv (distributions), and
win_rates.csv (by gold: every policy against the reference and against the default strength; DeRa at every lam against every other).

Settings: {"statistics": ..., "objectives": {name: {"reward", "betas", "default_beta"}}}.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd

from dera import estimators
from eval import policies
from eval.policies import Policy, as_numbers, find
from eval.win_rates import win_rate
from study import job

POLICY_KEYS = ["policy", "objective", "adapter_beta", "lam", "method", "knob"]


def row(policy: Policy, resamples: int, seed: int) -> dict[str, object]:
    """One line of policies.csv; means are over the prompts that a measure applies to."""
    result: dict[str, object] = {
        **names_of(policy),
        "seed": policy.seed,
        "prompts": len(policy.per_prompt["reward"]),
        "completions": policy.completions,
        "ess": policy.ess,
    }
    columns = (
        dict(policy.per_prompt) if policy.gap is None else {**policy.per_prompt, "gap": policy.gap}
    )
    for name, values in columns.items():
        asked = policies.applicable(values)
        if len(asked) < 2:  # an interval needs two prompts that the measure applies to
            result |= dict.fromkeys((name, f"{name}_low", f"{name}_high"))
            continue
        estimate = estimators.bootstrap_mean(asked, resamples, seed)
        result |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return result


def names_of(policy: Policy) -> dict[str, object]:
    """What a policy is, for tables."""
    strengths = {name: getattr(policy, name) for name in ("anchor", "lam", "beta", "knob")}
    numbers = {name: None if value is None else float(value) for name, value in strengths.items()}
    return {"kind": policy.kind, "objective": policy.objective, **numbers}


def win_rates(
    found: list[Policy], objectives: dict[str, Any], resamples: int, seed: int
) -> Iterator[dict[str, object]]:
    """Every policy against the reference and the default strength; DeRa from the default strength's anchor, lam against lam."""
    for name, settings in objectives.items():
        default = Fraction(settings["default_beta"])
        opponents = find(found, "reference", objective=name) + find(
            found, "retrained", objective=name, beta=default
        )
        grid = find(found, "dera", objective=name, anchor=default)
        sampled = [
            *find(found, "reference", objective=name),
            *find(found, "retrained", objective=name),
        ]
        pairs = [
            (policy, opponent)
            for policy in sampled + find(found, "dera", objective=name)
            for opponent in opponents
        ]
        pairs += [(first, second) for first in grid for second in grid]
        for first, second in pairs:
            estimate = win_rate(first, second, resamples, seed)
            opponent = {
                f"against_{key}": value
                for key, value in names_of(second).items()
                if key != "objective"
            }
            values = {
                "win_rate": estimate.value,
                "win_rate_low": estimate.low,
                "win_rate_high": estimate.high,
            }
            yield {
                **names_of(first),
                **opponent,
                **values,
                "prompts": len(first.per_prompt["gold"]),
            }


def length_distributions(table: pd.DataFrame) -> pd.DataFrame:
    """Share of completions of each length, and their mean gold, for each policy of one aligned model at most, seeds pooled."""
    table = table[table["policy"] != "several_rewards"]
    keys = [
        key for key in POLICY_KEYS if key in table
    ]  # without baselines there is no method and no knob
    groups = table.groupby([*keys, "length"], dropna=False)["gold"]
    counts = groups.agg(count="size", gold="mean").reset_index()
    counts["share"] = counts["count"] / counts.groupby(keys, dropna=False)["count"].transform("sum")
    for column in {"adapter_beta", "lam", "knob"}.intersection(keys):
        counts[column] = as_numbers(counts[column])
    return counts


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("completions", type=Path, help="Parquet file of scored completions")
    parser.add_argument("--task", required=True, help="name of the task")
    parser.add_argument("--policies", type=Path, required=True, help="CSV file for the policies")
    parser.add_argument(
        "--lengths", type=Path, required=True, help="CSV file for the length distributions"
    )
    parser.add_argument("--win-rates", type=Path, required=True, help="CSV file for the win rates")
    args = parser.parse_args()
    with job.running(f"{args.task} summarize", args) as progress:
        table = pd.read_parquet(args.completions)
        objectives = args.settings["objectives"]
        found = policies.from_completions(table, objectives)
        resamples, rows = args.settings["statistics"]["bootstrap_resamples"], []
        for number, policy in enumerate(found, start=1):
            rows.append(row(policy, resamples, args.seed))
            progress.update(number, len(found), "policies")
        contents = {
            args.policies: pd.DataFrame(rows),
            args.lengths: length_distributions(table),
            args.win_rates: pd.DataFrame(win_rates(found, objectives, resamples, args.seed)),
        }
        for path, content in contents.items():
            with job.atomic_path(path) as temporary:
                content.to_csv(temporary, index=False)


if __name__ == "__main__":
    main()
