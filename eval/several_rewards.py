"""DeRa over two aligned models, each trained on one reward, beside models trained on both rewards.

If `pi_i` is the optimum of `E[r_i] - beta KL`, then the optimum of `E[sum_i w_i r_i] - beta KL` is
`pi_ref * prod_i (pi_i / pi_ref)^w_i`: the geometric mixture at `lam = w`. So a pair of mixing
weights that sums to 1 is also a pair of weights of the rewards. A pair that does not sum to 1 is
another strength.

The job writes several_rewards.csv with a row for each point, and with 95% intervals over seeds and
prompts. Its settings are `eval.judging.Judging`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd

from dera import estimators
from dera.estimators import Array
from eval import policies
from eval.judging import Judging
from eval.statistics import measure
from study import job

Pair = tuple[Fraction, Fraction]
QUANTITIES = ("reward_1", "reward_2", "kl", "broken")
NEITHER: Pair = (Fraction(0), Fraction(0))
#: The weights of each reward alone.
ONE_EACH: tuple[Pair, Pair] = ((Fraction(1), Fraction(0)), (Fraction(0), Fraction(1)))


@dataclass(frozen=True)
class Point:
    """A policy in the plane of the two rewards.

    `kind` is "reference", "dera", "mixture" (the exact one, reached by reweighting DeRa's
    completions), "single" (trained on one reward alone) or "joint" (trained on the weighted sum).
    `lams` are the mixing weights; for trained models they are the weights of the rewards.
    `values` has an array of shape (seeds, prompts) for each of `QUANTITIES`, or of shape
    (1, prompts) for the reference. `name` is the objective that a model was trained for, and None
    where the policy was not trained.
    """

    kind: str
    lams: Pair
    values: dict[str, Array] = field(repr=False)
    ess: float
    name: str | None = None

    def reward(self, weights: Pair) -> Array:
        """Return the weighted sum of the rewards, shape (seeds, prompts)."""
        first, second = weights
        return float(first) * self.values["reward_1"] + float(second) * self.values["reward_2"]


def points(table: pd.DataFrame, judging: Judging) -> list[Point]:
    """Return every policy of a task with several rewards as a point.

    These are the reference, the two models trained on one reward alone, the joint models, and for
    each pair of mixing weights DeRa and the exact mixture.

    Args:
        table: scored completions.
        judging: settings with a section `several_rewards`.
    """
    section = judging.several_rewards
    first, second = section.objectives
    table = table.assign(
        reward_1=policies.weighted(table, judging.objectives[first].reward),
        reward_2=policies.weighted(table, judging.objectives[second].reward),
        kl=table["log_ratio"],
    )
    reference = table[table["kind"] == "reference"].assign(seed=0)
    result = [_sampled("reference", NEITHER, reference)]

    # what was trained, at the strength of the two models that are mixed
    beta = judging.objectives[first].default_beta
    retrained = table[table["kind"] == "retrained"]
    retrained = retrained[retrained["beta"].map(Fraction) == beta]
    for name, weights in zip(section.objectives, ONE_EACH, strict=True):
        result.append(_trained("single", weights, retrained, name))
    for name, weights in section.joint.items():
        result.append(_trained("joint", weights, retrained, name))

    # what was decoded from the two
    decoded = table[table["kind"] == "several_rewards"]
    for written, rows_of_pair in decoded.groupby("lams", sort=False):
        lams = _pair(str(written))
        result.append(_sampled("dera", lams, rows_of_pair))
        result.append(_mixture(lams, rows_of_pair))
    return result


def at(all_points: list[Point], kind: str, lams: Pair) -> Point:
    """Return the point of this kind and these weights."""
    return next(point for point in all_points if (point.kind, point.lams) == (kind, lams))


def rows(all_points: list[Point]) -> list[dict[str, object]]:
    """Return the lines of several_rewards.csv.

    Where the two weights sum to 1, `gain` is the weighted reward minus that of the reference.
    """
    reference = at(all_points, "reference", NEITHER)
    first, second = (at(all_points, "single", weights).name for weights in ONE_EACH)
    lines = []
    for point in all_points:
        line: dict[str, object] = {
            "kind": point.kind,
            "name": point.name,
            "lam_1": float(point.lams[0]),
            "lam_2": float(point.lams[1]),
            "objective_1": first,
            "objective_2": second,
        }
        columns = dict(point.values)
        if sum(point.lams) == 1:
            columns["gain"] = point.reward(point.lams) - reference.reward(point.lams)
        for name, values in columns.items():
            measured = measure(values)
            line[name] = measured.value
            line[f"{name}_low"], line[f"{name}_high"] = measured.interval()
        lines.append(line | {"ess": point.ess})
    return lines


def _pair(written: str) -> Pair:
    """Return the mixing weights that a table writes as "0.75,0.25"."""
    first, second = written.split(",")
    return Fraction(first), Fraction(second)


def _trained(kind: str, weights: Pair, retrained: pd.DataFrame, name: str) -> Point:
    completions = retrained[retrained["objective"] == name]
    return _sampled(kind, weights, completions, name=name)


def _sampled(kind: str, lams: Pair, completions: pd.DataFrame, name: str | None = None) -> Point:
    """Return the point of a policy that drew these completions."""

    def of_seed(rows_of_seed: pd.DataFrame) -> dict[str, Array]:
        return {name: policies.grid(rows_of_seed, name).mean(-1) for name in QUANTITIES}

    _, first_seed = next(iter(completions.groupby("seed")))
    samples = policies.grid(first_seed, "kl").shape[1]
    return Point(kind, lams, _by_seed(completions, of_seed), ess=samples, name=name)


def _mixture(lams: Pair, completions: pd.DataFrame) -> Point:
    """Return the exact mixture `pi_ref * prod_i (pi_i / pi_ref)^lam_i`, from DeRa's completions."""

    def of_seed(rows_of_seed: pd.DataFrame) -> dict[str, Array]:
        log_weights = policies.grid(rows_of_seed, "log_weight")
        quantities = {}
        for name in QUANTITIES:
            values = policies.grid(rows_of_seed, name)
            quantities[name] = estimators.reweighted_mean(values, log_weights)
        # of the unnormalised mixture to the reference; `kl` is that of the sampler
        log_ratio = log_weights + policies.grid(rows_of_seed, "kl")
        quantities["kl"] = estimators.kl_to_reference(log_ratio, log_weights)
        return quantities

    effective = []
    for _, rows_of_seed in completions.groupby("seed"):
        log_weights = policies.grid(rows_of_seed, "log_weight")
        effective.append(estimators.effective_sample_size(log_weights).mean())
    values = _by_seed(completions, of_seed)
    return Point("mixture", lams, values, ess=float(np.mean(effective)))


def _by_seed(
    completions: pd.DataFrame, of_seed: Callable[[pd.DataFrame], dict[str, Array]]
) -> dict[str, Array]:
    """Return each quantity, shape (seeds, prompts)."""
    by_seed = [of_seed(rows_of_seed) for _, rows_of_seed in completions.groupby("seed")]
    stacked = {}
    for name in QUANTITIES:
        stacked[name] = np.stack([quantities[name] for quantities in by_seed])
    return stacked


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("completions", type=Path, help="Parquet file of scored completions")
    parser.add_argument("--task", required=True, help="name of the task")
    parser.add_argument(
        "--output", type=Path, required=True, help="CSV file with a row for each point"
    )
    args = parser.parse_args()
    with job.running(f"{args.task} summarize several rewards", args):
        judging = job.settings_of(args, Judging)
        all_points = points(pd.read_parquet(args.completions), judging)
        lines = rows(all_points)
        with job.atomic_path(args.output) as path:
            pd.DataFrame(lines).to_csv(path, index=False)


if __name__ == "__main__":
    main()
