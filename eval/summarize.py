"""Summarise a task's completions by policy, with 95% intervals over training seeds and prompts.

Writes three tables:

- policies.csv: every measure, KL to the reference, effective sample sizes, approximation gaps;
- lengths.csv: how long the completions of each policy are;
- win_rates.csv: how often one policy beats another by gold (see `eval.win_rates.matches`).

Settings: `eval.judging.Judging`.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd

from dera.estimators import Array
from eval import policies
from eval.judging import Judging
from eval.policies import Policy, as_numbers, passes, together
from eval.statistics import measure
from eval.win_rates import matches, win_rate
from study import job

#: What tells the policies in lengths.csv apart; seeds are pooled.
LENGTH_KEYS = ["kind", "objective", "anchor", "lam", "beta", "knob"]
STRENGTHS = ["anchor", "lam", "beta", "knob"]


def names_of(policy: Policy) -> dict[str, object]:
    """Return the columns that say what a policy is."""
    names: dict[str, object] = {"kind": policy.kind, "objective": policy.objective}
    return names | {name: number(getattr(policy, name)) for name in STRENGTHS}


def number(strength: Fraction | None) -> float | None:
    """Return an exact strength as a number for a table."""
    return None if strength is None else float(strength)


def row(policy: Policy, judging: Judging) -> dict[str, object]:
    """Return a policy's line of policies.csv.

    Means are over the prompts that a measure applies to.
    """
    line = names_of(policy)
    line["default_beta"] = number(judging.objectives[policy.objective].default_beta)
    line["main_objective"] = policy.objective == judging.main_objective
    line["passes"] = passes(policy)
    line["seed"] = policy.seed
    line["prompts"] = len(policy.per_prompt["reward"])
    line["completions"] = policy.completions
    line["ess"] = policy.ess
    for name in policy.per_prompt:
        (values,) = together(name, policy)
        line |= interval(name, values)
    if policy.gap is not None:
        gaps = [member.gap for member in policy.by_seed] or [policy.gap]
        line |= interval("gap", np.stack(gaps))
    return line


def interval(name: str, values: Array) -> dict[str, float | None]:
    """Return the columns of a measure: its mean and the ends of its 95% interval.

    Args:
        name: the name of the measure.
        values: shape (seeds, prompts), NaN where the measure does not apply to a prompt.
    """
    if (~np.isnan(values).any(axis=0)).sum() < 2:  # an interval needs two prompts
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    measured = measure(values)
    low, high = measured.interval()
    return {name: measured.value, f"{name}_low": low, f"{name}_high": high}


def win_rates(sampled: list[Policy], judging: Judging) -> Iterator[dict[str, object]]:
    """Yield the lines of win_rates.csv."""
    for name, objective in judging.objectives.items():
        for policy, opponent in matches(sampled, name, objective):
            measured = win_rate(policy, opponent)
            line = names_of(policy)
            for column, value in names_of(opponent).items():
                if column != "objective":
                    line[f"against_{column}"] = value
            line["win_rate"] = measured.value
            line["win_rate_low"], line["win_rate_high"] = measured.interval()
            line["prompts"] = len(policy.per_prompt["gold"])
            yield line


def length_distributions(table: pd.DataFrame) -> pd.DataFrame:
    """Return the share of completions of each length, and their mean gold, for each policy.

    Policies of several rewards are left out.
    """
    table = table[table["kind"] != "several_rewards"]
    groups = table.groupby([*LENGTH_KEYS, "length"], dropna=False)["gold"]
    counts = groups.agg(count="size", gold="mean").reset_index()
    totals = counts.groupby(LENGTH_KEYS, dropna=False)["count"].transform("sum")
    counts["share"] = counts["count"] / totals
    for column in STRENGTHS:
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
    judging = job.settings_of(args, Judging)
    with job.running(f"{args.task} summarize", args) as progress:
        table = pd.read_parquet(args.completions)
        compared = policies.from_completions(table, judging)
        rows = []
        for count, policy in enumerate(compared, start=1):
            rows.append(row(policy, judging))
            progress.update(count, len(compared), "policies")
        contents = {
            args.policies: pd.DataFrame(rows),
            args.lengths: length_distributions(table),
            args.win_rates: pd.DataFrame(win_rates(compared, judging)),
        }
        for path, content in contents.items():
            with job.atomic_path(path) as temporary:
                content.to_csv(temporary, index=False)


if __name__ == "__main__":
    main()
