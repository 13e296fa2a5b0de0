"""Draw DeRa beside the baselines, which are other ways to use the same two models.

Policies are compared by reward at the same distance from the reference, and at the same cost.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import selection, style

SCOPE = "task"
WHEN = "has_baselines"
READS = ["policies"]
CAPTION = """
DeRa beside its baselines, which are other ways to use a reference and one aligned model. All of
them start from the same aligned model, of one training seed. Left: mean reward against the KL to
the reference. Each line follows one policy while its knob is turned. DeRa is drawn for λ in [0,
4]. The baselines that this project has are these. Mixed weights: the knob is the share of the
aligned model in the mean of the weights, and more than 1 extrapolates. Mixed probabilities: the
knob is the share of the aligned model in the mean of the next-token probabilities. Temperature:
the knob is the temperature at which the aligned model is sampled. DeRa among the top k: the knob
is λ, and only the k most probable tokens of the reference may be sampled. Best of n: the knob is
the number n of completions of the reference, of which the one with the highest reward is kept.
Right: the highest reward that each policy reaches with a KL no larger than that of the aligned
model (the upper end of its interval), against the number of model passes that each token costs.
Marks with the same number of passes stand side by side. The highest of several noisy rewards is a
little too high, so a policy with many knobs is flattered.
"""

#: Doublings between marks that stand side by side because they have the same number of passes.
ASIDE = 0.13


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw the objective that has baselines: reward against KL, and reward against passes."""
    shown = contents(tables["policies"])
    looks = style.policy_looks(shown)
    # The aligned model is the model retrained at the anchor.
    aligned = f"aligned, β₀ = {shown['retrained']['beta'].iloc[0]:g}"
    looks["retrained"] = {**looks["retrained"], "label": aligned}
    figure, (by_kl, by_passes) = plt.subplots(
        1, 2, figsize=(style.PAGE, 3.6), sharey=True, width_ratios=(1.25, 1)
    )
    _reward_by_kl(by_kl, shown, looks)
    by_kl.set_title(style.objective_name(shown["reference"]["objective"].iloc[0]))
    _reward_by_passes(by_passes, shown, looks)
    figure.legend(*by_kl.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def contents(policies: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each kind: DeRa, the baselines, the aligned model and the reference.

    A baseline is a kind with a knob. The rows of all kinds are of the seed of the baselines. Rows
    that average over seeds take their place in two cases: where a kind has no such seed, because it
    needs the reference alone, and where no baseline has a seed.
    """
    # Which objective has baselines, and of which seed they are.
    seeds = policies["seed"].astype(str)
    baselines = policies[policies["knob"].notna()]
    objective = baselines["objective"].iloc[0]
    of_objective = policies[policies["objective"] == objective]
    decoded = [seed for seed in seeds[baselines.index] if seed != "mean"]
    seed = decoded[0] if decoded else "mean"

    # The rows of each kind; baselines in the order of the style.
    anchor = selection.default_anchor(policies, objective)
    looks = style.policy_looks(baselines["kind"])
    kinds = [kind for kind in looks if kind in set(baselines["kind"])]
    drawn = {}
    for kind in ["dera", *kinds, "retrained", "reference"]:
        rows = of_objective[of_objective["kind"] == kind]
        of_seed = rows[seeds[rows.index] == seed]
        drawn[kind] = of_seed if len(of_seed) else rows[seeds[rows.index] == "mean"]
    drawn["dera"] = selection.readable(selection.at_anchor(drawn["dera"], anchor))
    drawn["retrained"] = drawn["retrained"][np.isclose(drawn["retrained"]["beta"], anchor)]
    return {kind: rows for kind, rows in drawn.items() if len(rows)}


def finding(tables: dict[str, pd.DataFrame]) -> str:
    """Return which policy has the highest reward within the aligned model's distance."""
    shown = contents(tables["policies"])
    max_kl = shown["retrained"]["kl_high"].iloc[0]
    looks = style.policy_looks(shown)
    rewards = {}
    for kind, rows in shown.items():
        within = rows[rows["kl"] <= max_kl]
        if kind != "retrained" and len(within):
            rewards[kind] = within["reward"].max()
    best = max(rewards, key=lambda kind: rewards[kind])
    if best == "dera" or "dera" not in rewards:
        return ""
    return (
        f"With a KL no larger than the aligned model's, {looks[best]['label']} reaches the highest "
        f"mean reward, {rewards[best]:.2f}, and DeRa reaches {rewards['dera']:.2f}."
    )


def best_for_each_cost(rows: pd.DataFrame, max_kl: float) -> pd.DataFrame:
    """Return the policies of one kind that are drawn against passes.

    A kind that starts from the aligned model is drawn where its reward is highest with a KL of at
    most `max_kl`. A baseline that needs the reference alone is drawn at each of its costs.
    """
    starts_from_reference = rows["knob"].notna() & rows["anchor"].isna()
    if starts_from_reference.all():
        return rows.sort_values("reward").drop_duplicates("passes", keep="last")
    return rows[rows["kl"] <= max_kl].nlargest(1, "reward")


def _reward_by_kl(
    axes: Axes, shown: dict[str, pd.DataFrame], looks: dict[str, dict[str, Any]]
) -> None:
    """Draw the reward that each policy brings for its distance from the reference."""
    for kind, rows in shown.items():
        order = "lam" if kind == "dera" else "knob"
        style.with_interval(
            axes, rows, "kl", "reward", kind, x_interval=True, order=order, **looks[kind]
        )
    axes.set_xscale("symlog", linthresh=0.1)
    axes.set_xlim(left=-0.02)
    axes.set_xlabel(style.QUANTITIES["kl"])
    axes.set_ylabel(style.QUANTITIES["reward"])


def _reward_by_passes(
    axes: Axes, shown: dict[str, pd.DataFrame], looks: dict[str, dict[str, Any]]
) -> None:
    """Draw the highest reward that each policy reaches within the aligned model's distance."""
    # A policy as far away as the aligned model may seem a little further away, because of noise.
    max_kl = shown["retrained"]["kl_high"].iloc[0]
    points = pd.concat([best_for_each_cost(rows, max_kl) for rows in shown.values()])

    # Marks with the same number of passes stand side by side, around that number.
    with_equal_cost = points.groupby("passes")["kind"]
    place = with_equal_cost.cumcount() - (with_equal_cost.transform("size") - 1) / 2
    ticks = sorted(points["passes"].unique())
    beside = points.assign(passes=points["passes"] * 2 ** (ASIDE * place))
    for kind, rows in beside.groupby("kind", sort=False):
        style.with_interval(axes, rows, "passes", "reward", kind, line=False, **looks[kind])

    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("model passes per token")
    axes.set_title("at the same number of passes")


if __name__ == "__main__":
    style.run(draw, __doc__ or "", READS, finding)
