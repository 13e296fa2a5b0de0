"""Read a task's table of scored completions, which has a row for each completion."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from dera.estimators import Array
from eval.columns import POLICY_COLUMNS

#: Columns of the table that do not measure a completion.
LABELS = {
    *POLICY_COLUMNS,
    "prompt_id",
    "sample_id",
    "completion",
    "finished",
    "logp_policy",
    "logp_reference",
    "logp_aligned",
    "log_weight",
}


def measures(table: pd.DataFrame) -> list[str]:
    """Return the names of the columns that measure a completion."""
    return [name for name in table.columns if name not in LABELS and name != "log_ratio"]


def weighted(table: pd.DataFrame, reward: str | Mapping[str, float]) -> pd.Series:
    """Return the column that a reward names, or the weighted sum of several columns."""
    if isinstance(reward, str):
        return table[reward]
    total = pd.Series(0.0, table.index)
    for name, weight in reward.items():
        total = total + weight * table[name]
    return total


def grid(rows: pd.DataFrame, column: str) -> Array:
    """Return a column as an array of shape (prompts, samples)."""
    prompts = rows["prompt_id"].to_numpy()
    samples = rows["sample_id"].to_numpy()
    shape = (len(np.unique(prompts)), len(np.unique(samples)))
    if len(rows) != shape[0] * shape[1]:
        return rows.pivot(index="prompt_id", columns="sample_id", values=column).to_numpy(float)
    in_order = np.lexsort((samples, prompts))
    return rows[column].to_numpy(float)[in_order].reshape(shape)


def applicable(values: Array) -> Array:
    """Return the numbers of the prompts that a measure applies to: all that are not NaN."""
    return values[~np.isnan(values)]
