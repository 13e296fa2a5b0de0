"""Draw what it costs to hold a pair in less memory: time, and how far its mixture goes astray."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.ways import HOLDINGS, ROUNDING, WHOLE, batches_of
from figures import style

NAMES = {name: way.label for name, way in HOLDINGS.items()}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw a row for each way of holding the pair.

    The panels show its peak memory, its time a token, its KL from two whole models, and how its
    texts are judged beside theirs. The last two have a mark with its 95% interval for each lam.
    """
    records = tables["memory"]
    lams = list(dict.fromkeys(records["lam"]))
    looks = style.lam_looks(lams)
    figure, (memory, time, kl, gold) = plt.subplots(
        1, 4, figsize=(style.PAGE, 2.6), sharey=True, width_ratios=[1, 1, 1.2, 1.2]
    )

    _draw_memory(memory, records)
    _draw_times(time, records)
    # A KL that is rounding is drawn as the largest that is.
    drawn = {name: records[name].clip(lower=ROUNDING) for name in ("kl", "kl_low", "kl_high")}
    _draw_by_lam(kl, records.assign(**drawn), "kl", looks)
    kl.set_xscale("log")
    kl.set_xlim(left=ROUNDING / 2)
    kl.set_xlabel(f"KL from two models, nats\n({ROUNDING:g} stands for less)")
    _draw_by_lam(gold, records, "gold_difference", looks)
    gold.axvline(0, color="#777777", linewidth=1, linestyle="--", zorder=0)
    gold.set_xlabel("gold, minus that\nof two models")

    labels = [NAMES[way] for way in _ways(records)]
    memory.set_yticks(range(len(labels)), labels)
    memory.invert_yaxis()
    handles = [*time.get_legend_handles_labels()[0], *style.lam_handles(looks)]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def finding(tables: dict[str, pd.DataFrame]) -> str:
    """Say what the way that takes least memory costs in time and in the mixture."""
    records = tables["memory"]
    whole = records[records["way"] == WHOLE].iloc[0]
    least = records.loc[records["peak_bytes"].idxmin(), "way"]
    of_least = records[records["way"] == least]
    share = of_least["peak_bytes"].iloc[0] / whole["peak_bytes"]
    smallest = min(batches_of(records.columns))
    time = of_least[f"batch {smallest}"].iloc[0]
    name = NAMES[least][0].upper() + NAMES[least][1:]
    return (
        f"{name}: {share:.0%} of the memory of two models, {time:.2g} times their time, and "
        f"{_astray(of_least['kl'])}"
    )


def _astray(kl: pd.Series) -> str:
    """Say how far a way's mixture is from that of two whole models."""
    if kl.max() < ROUNDING:
        return "the mixture is the same but for rounding"
    return f"the KL from their mixture is {kl.min():.2g} to {kl.max():.2g} nats a completion"


def _places(records: pd.DataFrame) -> pd.Series:
    """Return the row of the figure in which each record stands."""
    return records["way"].map({name: place for place, name in enumerate(_ways(records))})


def _ways(records: pd.DataFrame) -> list[str]:
    """Return the ways that were measured, in the order of the figure."""
    return [name for name in NAMES if name in set(records["way"])]


def _draw_memory(axes: Axes, records: pd.DataFrame) -> None:
    """Draw the peak bytes over those of two whole models, with its value beside each bar."""
    held = records.groupby("way")["peak_bytes"].first()
    ratios = [held[way] / held[WHOLE] for way in _ways(records)]
    bars = axes.barh(range(len(ratios)), ratios, height=0.6, color="#555555")
    axes.bar_label(bars, fmt="{:.2f}", padding=2, fontsize=6)
    axes.set_xlim(0, 1.3)
    axes.set_xlabel("peak memory, relative\nto two models")


def _draw_times(axes: Axes, records: pd.DataFrame) -> None:
    """Draw the time a token over that of two whole models, with a mark for each batch size."""
    first = records.drop_duplicates("way")
    batches = batches_of(records.columns)
    for number, batch in enumerate(batches):
        column = f"batch {batch}"
        height = _places(first) + 0.2 * (number - (len(batches) - 1) / 2)
        axes.errorbar(
            first[column],
            height,
            xerr=style.interval(first, column),
            linestyle="none",
            elinewidth=0.8,
            color="#555555",
            marker="ox*+"[number % 4],
            markersize=3.5,
            label=f"time, batch {batch}",
        )
    axes.axvline(1, color="#777777", linewidth=1, linestyle="--", zorder=0)
    axes.set_xscale("log")
    style.set_log_ticks(axes, (0.2, 0.5, 1, 2, 5, 10, 20))
    axes.set_xlabel("time, relative\nto two models")


def _draw_by_lam(
    axes: Axes, records: pd.DataFrame, column: str, looks: dict[float, dict[str, Any]]
) -> None:
    """Draw a column with its intervals, with a mark for each lam."""
    for number, (lam, look) in enumerate(looks.items()):
        rows = records[records["lam"] == lam]
        axes.errorbar(
            rows[column],
            _places(rows) + 0.16 * (number - (len(looks) - 1) / 2),
            xerr=style.interval(rows, column),
            linestyle="none",
            elinewidth=0.8,
            markersize=3,
            **look,
        )


if __name__ == "__main__":
    style.run(draw, __doc__ or "", ["memory"], finding)
