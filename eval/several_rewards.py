"""DeRa over two aligned models of rewards of their own, beside models trained on weighted sums of the rewards.

If `pi_i` is the optimum of `E[r_i] - beta KL`, that of `E[sum_i w_i r_i] - beta KL` is `pi_ref * prod_i (pi_i / pi_ref)^w_i`: the geometric mixture
at `lam = w`. So a pair of mixing weights that sums to 1 is also a pair of weights of the rewards, and a pair that does not is another strength.

Writes several_rewards.csv: a row a point, with 95% bootstrap intervals that resample prompts.

Settings: {"statistics": ..., "objectives": ..., "several_rewards": the config's section}.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dera import estimators
from dera.estimators import Array
from eval import policies
from study import job

Pair = tuple[Fraction, Fraction]
QUANTITIES = ("reward_1", "reward_2", "kl", "broken")
NEITHER: Pair = (Fraction(0), Fraction(0))
#: The weights of each reward alone.
ONE_EACH: tuple[Pair, Pair] = ((Fraction(1), Fraction(0)), (Fraction(0), Fraction(1)))


@dataclass(frozen=True)
class Point:
    """A policy in the plane of the two rewards, averaged over seeds within each prompt.

    `kind` is "reference", "dera", "mixture" (the exact one, reached by reweighting DeRa's completions), "joint" (trained on the weighted sum)
    or "part" (trained on one reward alone). `lams` are the mixing weights, for joint models and parts the weights of the rewards.
    `per_prompt` has `reward_1`, `reward_2`, `kl` and `broken`, each of shape (prompts,). `name` and `margin` (rewards this close count as
    equal) are those of the alignment, None where the policy was not trained.
    """

    kind: str
    lams: Pair
    per_prompt: dict[str, Array] = field(repr=False)
    ess: float
    name: str | None = None
    margin: float | None = None

    def reward(self, weights: Pair) -> Array:
        """The weighted sum of the rewards, one a prompt."""
        return (
            float(weights[0]) * self.per_prompt["reward_1"]
            + float(weights[1]) * self.per_prompt["reward_2"]
        )


def points(
    table: pd.DataFrame, section: Mapping[str, Any], objectives: Mapping[str, Mapping[str, Any]]
) -> list[Point]:
    """The reference, both parts, the joint models, and for each pair of mixing weights DeRa and the exact mixture.

    Args:
        table: scored completions.
        section: the config's section `several`.
        objectives: for each alignment its `reward`, `reward_margin` and `anchors`.
    """
    parts = section["parts"]
    rewards = {
        f"reward_{i}": policies.weighted(table, objectives[name]["reward"])
        for i, name in enumerate(parts, start=1)
    }
    table = table.assign(**rewards, kl=table["log_ratio"])
    (anchor,) = objectives[parts[0]]["anchors"]
    result = [_sampled("reference", NEITHER, table[table["policy"] == "reference"].assign(seed=0))]
    trained = table[(table["policy"] == "retrained") & (table["adapter_beta"] == anchor)]
    pairs = {
        **dict(zip(parts, ONE_EACH, strict=True)),
        **{name: _pair(*weights) for name, weights in section["joint"].items()},
    }
    for name, weights in pairs.items():
        mine, kind = trained[trained["objective"] == name], "part" if name in parts else "joint"
        result.append(
            _sampled(kind, weights, mine, name=name, margin=objectives[name]["reward_margin"])
        )
    for written, mine in table[table["policy"] == "several_rewards"].groupby("lams", sort=False):
        lams = _pair(*str(written).split(","))
        result += [_sampled("dera", lams, mine), _mixture(lams, mine)]
    return result


def at(found: list[Point], kind: str, lams: Pair) -> Point:
    """The point of this kind and these weights."""
    return next(point for point in found if (point.kind, point.lams) == (kind, lams))


def rows(found: list[Point], resamples: int, seed: int) -> list[dict[str, object]]:
    """Lines of several_rewards.csv. `gain` is the weighted sum less that of the reference, where lam sums to 1."""
    reference, names = (
        at(found, "reference", NEITHER),
        [at(found, "part", lams).name for lams in ONE_EACH],
    )
    lines = []
    for point in found:
        columns = dict(point.per_prompt)
        if sum(point.lams) == 1:
            columns["gain"] = point.reward(point.lams) - reference.reward(point.lams)
        line: dict[str, object] = {"kind": point.kind, "name": point.name}
        line |= {f"lam_{i}": float(lam) for i, lam in enumerate(point.lams, start=1)}
        line |= {f"part_{i}": name for i, name in enumerate(names, start=1)}
        for name, values in columns.items():
            estimate = estimators.bootstrap_mean(values, resamples, seed)
            line |= {
                name: estimate.value,
                f"{name}_low": estimate.low,
                f"{name}_high": estimate.high,
            }
        lines.append(line | {"ess": point.ess})
    return lines


def _pair(first: Any, second: Any) -> Pair:
    return Fraction(str(first)), Fraction(str(second))


def _sampled(kind: str, lams: Pair, rows: pd.DataFrame, **trained: Any) -> Point:
    seeds = [
        {name: policies.grid(mine, name) for name in QUANTITIES} for _, mine in rows.groupby("seed")
    ]
    per_prompt = {
        name: np.mean([grids[name].mean(-1) for grids in seeds], axis=0) for name in QUANTITIES
    }
    return Point(kind, lams, per_prompt, ess=seeds[0]["kl"].shape[1], **trained)


def _mixture(lams: Pair, rows: pd.DataFrame) -> Point:
    """`pi_ref * prod_i (pi_i / pi_ref)^lam_i` from samples of the sampler at that lam."""
    per_prompt, ess = [], []
    for _, mine in rows.groupby("seed"):
        log_weights = policies.grid(mine, "log_weight")
        log_ratio = log_weights + policies.grid(
            mine, "kl"
        )  # of the unnormalised mixture over the reference
        found = {
            name: estimators.reweighted_mean(policies.grid(mine, name), log_weights)
            for name in QUANTITIES
        }
        per_prompt.append({**found, "kl": estimators.kl_to_reference(log_ratio, log_weights)})
        ess.append(estimators.effective_sample_size(log_weights).mean())
    averaged = {name: np.mean([found[name] for found in per_prompt], axis=0) for name in QUANTITIES}
    return Point("mixture", lams, averaged, ess=float(np.mean(ess)))


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("completions", type=Path, help="Parquet file of scored completions")
    parser.add_argument("--task", required=True, help="name of the task")
    parser.add_argument("--output", type=Path, required=True, help="CSV file, a row a point")
    args = parser.parse_args()
    with job.running(f"{args.task} summarize several", args):
        settings = args.settings
        found = points(
            pd.read_parquet(args.completions), settings["several_rewards"], settings["objectives"]
        )
        with job.atomic_path(args.output) as path:
            lines = rows(found, settings["statistics"]["bootstrap_resamples"], args.seed)
            pd.DataFrame(lines).to_csv(path, index=False)


if __name__ == "__main__":
    main()
