"""Which rows of the tables a figure draws."""

from __future__ import annotations

import pandas as pd

MOST_LAM = 4  # beyond it KL and reward leave every readable axis; the figure `outside` goes on


def realigned(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the objectives (of a task, where the table names it) that DeRa starts from: others were trained to be compared with elsewhere."""
    kind, keys = (
        ("kind" if "kind" in table else "policy"),
        [key for key in ("task", "objective") if key in table],
    )
    return table.groupby(keys, sort=False).filter(lambda rows: (rows[kind] == "dera").any())


def of_default_anchor(policies: pd.DataFrame, objective: str, kind: str = "dera") -> pd.DataFrame:
    """Rows of DeRa (or the exact mixture), averaged over seeds, from the objective's anchor with most lam; ordered by lam."""
    mean = policies[(policies["objective"] == objective) & (policies["seed"].astype(str) == "mean")]
    anchors = mean[mean["kind"] == "dera"].groupby("anchor")["lam"].nunique()
    rows = mean[mean["kind"] == kind]
    return (
        rows[rows["anchor"] == anchors.idxmax()].sort_values("lam")
        if len(anchors)
        else rows.iloc[:0]
    )


def at_matching_lam(policies: pd.DataFrame, objective: str) -> dict[str, pd.DataFrame]:
    """DeRa from the grid anchor; the retrained models and the reference with the lam at which DeRa should be the same."""
    dera = of_default_anchor(policies, objective)
    mine = policies[(policies["objective"] == objective) & (policies["seed"].astype(str) == "mean")]
    retrained, reference = (mine[mine["kind"] == kind] for kind in ("retrained", "reference"))
    retrained = retrained.assign(lam=dera["anchor"].iloc[0] / retrained["beta"])
    return {"dera": dera, "retrained": retrained, "reference": reference.assign(lam=0.0)}


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """Without DeRa and mixtures at lam < 0, which have no strength, and above MOST_LAM."""
    return rows[rows["lam"].isna() | rows["lam"].between(0, MOST_LAM)]


def one_reward(policies: pd.DataFrame) -> bool:
    """Whether all objectives maximised the same reward, so that their panels may share an axis."""
    return policies[policies["kind"] == "reference"]["reward"].nunique() == 1


def supported(rows: pd.DataFrame) -> pd.DataFrame:
    """Without the policies whose reweighting left fewer than two effective samples a prompt, which say too little."""
    return rows[rows["ess"] >= 2]
