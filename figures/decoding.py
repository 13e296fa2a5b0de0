"""Draw what decoding the mixture costs: time and memory of each way, relative to one model."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bench.ways import LIKE, WAYS
from figures import style

#: The ways of decoding stand in rows in this order, by the names that records give them.
NAMES = {name: way.label for name, way in WAYS.items()}

#: Ticks of the time axis, by how many times as large its end is as its beginning. The first whose
#: number is not exceeded are used.
TICKS = {
    10: (0.5, 1, 1.5, 2, 3, 5),
    60: (0.5, 1, 2, 5, 10, 20),
    float("inf"): (0.01, 0.1, 1, 10, 100),
}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw a row of panels for each pair of models: the time at each batch size, and the memory.

    A panel of time has a mark with its quartiles for each lam.
    """
    records = tables["decoding"]
    pairs = list(dict.fromkeys(records["pair"]))
    batches = sorted(set(records["batch"]))
    lams = list(dict.fromkeys(records["lam"]))
    names = [name for name in NAMES if name in set(records["method"])]
    figure, all_axes = plt.subplots(
        len(pairs),
        len(batches) + 1,
        figsize=(style.PAGE, 1.0 + 0.18 * len(names) * len(pairs)),
        squeeze=False,
        sharey=True,
        width_ratios=[*[1.0] * len(batches), 0.8],
    )

    # One row of panels for each pair.
    looks = style.lam_looks(lams)
    for row, pair in zip(all_axes, pairs, strict=True):
        of_pair = records[records["pair"] == pair]
        for axes, batch in zip(row, batches, strict=False):
            at_batch = of_pair[of_pair["batch"] == batch]
            if at_batch.empty:  # a larger batch than this pair is timed at
                axes.set_axis_off()
                continue
            _draw_times(axes, at_batch, names, looks)
            axes.set_title(f"{pair}, batch {batch}")
        _draw_memory(row[-1], of_pair, names, batches)
        row[0].set_yticks(range(len(names)), [NAMES[name] for name in names])

    # Axes are named below the last row, and looks are explained above the first.
    all_axes[0, 0].invert_yaxis()
    for axes in all_axes[-1, :-1]:
        axes.set_xlabel("time, relative to\none model, our loop")
    all_axes[-1, -1].set_xlabel("memory, relative\nto one model")
    figure.legend(
        handles=_handles(looks, batches),
        loc="outside upper center",
        ncols=max(len(looks), 4),
    )
    return figure


def finding(tables: dict[str, pd.DataFrame]) -> str:
    """Say what the fastest of our ways costs, over all pairs and sizes of batches."""
    records = tables["decoding"]
    ours = records[records["method"].isin(LIKE)]
    fastest = ours.groupby(["pair", "batch", "lam"])["ratio_to_loop"].min()
    return (
        f"The fastest of our ways to decode the mixture takes {fastest.min():.1f} to "
        f"{fastest.max():.1f} times as long as one model in our loop"
    )


def _handles(looks: dict[float, dict[str, Any]], batches: list[int]) -> list[Any]:
    """Return what the legend shows: the lams, and the batches whose memory is drawn."""
    handles = style.lam_handles(looks)
    for batch, shade in _shades(batches).items():
        handles.append(Patch(**shade, label=f"memory, batch {batch}"))
    return handles


def _draw_times(
    axes: Axes, records: pd.DataFrame, names: list[str], looks: dict[float, dict]
) -> None:
    """Draw the ratios to one model in our loop, with a row for each way of decoding."""
    places = {name: i for i, name in enumerate(names)}
    for number, (lam, look) in enumerate(looks.items()):
        rows = records[records["lam"] == lam]
        height = rows["method"].map(places) + 0.16 * (number - (len(looks) - 1) / 2)
        axes.errorbar(
            rows["ratio_to_loop"],
            height,
            xerr=style.interval(rows, "ratio_to_loop"),
            linestyle="none",
            markersize=2.5,
            elinewidth=0.8,
            **look,
        )
    axes.set_xscale("log")
    _set_ticks(axes)
    _mark_one_model(axes)


def _draw_memory(axes: Axes, records: pd.DataFrame, names: list[str], batches: list[int]) -> None:
    """Draw the peak bytes over those of one model in our loop, with a bar for each batch.

    The memory of some ways is not counted on a CPU.
    """
    height = 0.8 / len(batches)
    counted = records.dropna(subset="peak_bytes")
    for number, batch in enumerate(batches):
        held = counted[counted["batch"] == batch].groupby("method")["peak_bytes"].first()
        if held.empty:  # a larger batch than this pair is timed at
            continue
        shift = (number - (len(batches) - 1) / 2) * height
        known = [name for name in names if name in held]
        places = [names.index(name) + shift for name in known]
        shade = _shades(batches)[batch]
        axes.barh(places, held[known] / held["loop"], height=0.9 * height, **shade)
    for place, name in enumerate(names):
        if name in {*LIKE, *LIKE.values()} and name not in set(counted["method"]):
            axes.text(0.06, place, "not counted", va="center", fontsize=6, color="#555555")
    _mark_one_model(axes)
    axes.set_title("peak memory")


def _mark_one_model(axes: Axes) -> None:
    """Draw a line where a way costs as much as one model in our loop."""
    color = style.POLICIES["retrained"]["color"]
    axes.axvline(1, color=color, linewidth=1, linestyle="--", zorder=0)


def _shades(batches: list[int]) -> dict[int, dict[str, Any]]:
    """Return a shade of grey for each batch, darker for larger ones."""
    last = max(len(batches) - 1, 1)
    return {
        batch: dict(color="#555555", alpha=0.25 + 0.75 * i / last)
        for i, batch in enumerate(batches)
    }


def _set_ticks(axes: Axes) -> None:
    """Set ticks that suit the range of a logarithmic axis."""
    left, right = axes.get_xlim()
    ticks = next(ticks for span, ticks in TICKS.items() if right / left <= span)
    style.set_log_ticks(axes, ticks)


if __name__ == "__main__":
    style.run(draw, __doc__ or "", ["decoding"], finding)
