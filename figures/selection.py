"""Which rows of the tables a figure draws."""

from __future__ import annotations

import numpy as np
import pandas as pd

#: Above this lam, KL and reward leave every readable axis; the figure `outside` shows larger lams.
MAX_READABLE_LAM = 4
#: With fewer effective samples per prompt than this, a reweighted estimate says too little.
MIN_EFFECTIVE_SAMPLES = 2


def with_dera(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the objectives that DeRa starts from.

    Other objectives were trained only to be compared with elsewhere, such as those on a weighted
    sum of rewards. Where the table names tasks, an objective is looked at in each task by itself.
    """
    keys = [key for key in ("task", "objective") if key in table]
    return table.groupby(keys, sort=False).filter(lambda rows: (rows["kind"] == "dera").any())


def mean_over_seeds(policies: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that average over seeds."""
    return policies[policies["seed"].astype(str) == "mean"]


def main_objective(policies: pd.DataFrame) -> str:
    """Return the task's main objective, which the column `main_objective` marks."""
    return policies.loc[policies["main_objective"], "objective"].iloc[0]


def default_anchor(table: pd.DataFrame, objective: str) -> float | None:
    """Return the default strength of an objective, which the column `default_beta` names.

    Returns:
        The strength, or None where the objective has none or is not in the table.
    """
    of_objective = table.loc[table["objective"] == objective, "default_beta"].dropna()
    return float(of_objective.iloc[0]) if len(of_objective) else None


def at_anchor(rows: pd.DataFrame, anchor: float | None) -> pd.DataFrame:
    """Return the rows of policies that start from this anchor; none where it is None."""
    return rows.iloc[:0] if anchor is None else rows[np.isclose(rows["anchor"], anchor)]


def of_default_anchor(policies: pd.DataFrame, objective: str, kind: str = "dera") -> pd.DataFrame:
    """Return DeRa (or the exact mixture) from the objective's default anchor, ordered by lam.

    The rows average over seeds.
    """
    mean = mean_over_seeds(policies)
    of_kind = mean[(mean["objective"] == objective) & (mean["kind"] == kind)]
    return at_anchor(of_kind, default_anchor(policies, objective)).sort_values("lam")


def from_reference_to_aligned(policies: pd.DataFrame) -> pd.DataFrame | None:
    """Return DeRa of the main objective, by lam; None where it lacks lam = 0 or lam = 1."""
    dera = of_default_anchor(policies, main_objective(policies)).set_index("lam")
    return dera if {0, 1} <= set(dera.index) else None


def at_matching_lam(policies: pd.DataFrame, objective: str) -> dict[str, pd.DataFrame]:
    """Return DeRa from the default anchor, and other policies at the lam that matches them.

    A model retrained at beta should be what DeRa is at lam = anchor / beta. The reference should be
    what DeRa is at lam = 0.
    """
    mean = mean_over_seeds(policies)
    of_objective = mean[mean["objective"] == objective]
    retrained = of_objective[of_objective["kind"] == "retrained"]
    reference = of_objective[of_objective["kind"] == "reference"]
    anchor = default_anchor(policies, objective)
    return {
        "dera": of_default_anchor(policies, objective),
        "retrained": retrained.assign(lam=anchor / retrained["beta"]),
        "reference": reference.assign(lam=0.0),
    }


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """Leave out DeRa and mixtures at lam < 0, which have no strength, and at large lam."""
    return rows[rows["lam"].isna() | rows["lam"].between(0, MAX_READABLE_LAM)]


def supported(rows: pd.DataFrame) -> pd.DataFrame:
    """Leave out the policies whose reweighting left too few effective samples a prompt."""
    return rows[rows["ess"] >= MIN_EFFECTIVE_SAMPLES]


def share_one_reward(policies: pd.DataFrame) -> bool:
    """Return whether all objectives maximised the same reward, so that panels may share an axis."""
    return policies[policies["kind"] == "reference"]["reward"].nunique() == 1
