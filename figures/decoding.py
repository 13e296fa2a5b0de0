"""What decoding the mixture costs: time a token beside one model's, for each way of doing it, and the memory it takes."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullFormatter

from figures import style

NAMES = {
    "generate": "one model, generate",
    "loop": "one model, our loop",
    "two caches": "two models, obvious loop",
    "processor": "logits processor (authors)",
    "no cache": "wrapper, no cache (TRL)",
    "plain": "ours: two models",
    "one pass": "ours: adapter, one pass",
    "speculative": "ours: two, speculative",
}
MARKERS = ("o", "s", "^", "D", "v", "P")
TICKS = {
    4: (0.5, 1, 1.5, 2, 3),
    1000: (0.5, 1, 2, 5, 10, 20, 50, 100),
}  # by the largest number shown


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A row of panels a pair: time at each batch, a mark a lam with its quartiles, and the memory of one batch of each size."""
    records = tables["decoding"]
    pairs, batches, lams = (list(dict.fromkeys(records[name])) for name in ("pair", "batch", "lam"))
    figure, grid = plt.subplots(
        len(pairs),
        len(batches) + 1,
        figsize=(style.PAGE, 0.7 + 1.75 * len(pairs)),
        squeeze=False,
        sharey=True,
        width_ratios=[*[1.0] * len(batches), 0.8],
    )
    looks = {
        lam: dict(color=plt.get_cmap("viridis")(i / len(lams)), marker=MARKERS[i])
        for i, lam in enumerate(lams)
    }
    for row, pair in zip(grid, pairs, strict=True):
        of_pair = records[records["pair"] == pair]
        for axes, batch in zip(row, batches, strict=False):
            _times(axes, of_pair[of_pair["batch"] == batch], looks)
            axes.set_title(f"{pair}, batch {batch}")
        _memory(row[-1], of_pair, batches)
        row[0].set_yticks(range(len(NAMES)), list(NAMES.values()))
    grid[0, 0].invert_yaxis()
    for axes in grid[-1, :-1]:
        axes.set_xlabel("time / our loop's")
    grid[-1, -1].set_xlabel("memory / one model's")
    handles: list[Any] = [
        Line2D([], [], linestyle="none", label=f"λ = {lam:g}", **look)
        for lam, look in looks.items()
    ]
    handles += [
        Patch(**shade, label=f"memory, batch {batch}") for batch, shade in _shades(batches).items()
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=max(len(looks), 4))
    return figure


def _times(axes: Axes, records: pd.DataFrame, looks: dict[float, dict]) -> None:
    """Ratios to one model in our loop; methods stand in rows."""
    places = {method: i for i, method in enumerate(NAMES)}
    for number, (lam, look) in enumerate(looks.items()):
        rows = records[records["lam"] == lam]
        at = rows["method"].map(places) + 0.16 * (number - (len(looks) - 1) / 2)
        middle = rows["ratio_to_loop"]
        spread = [
            (middle - rows["ratio_to_loop_low"]).clip(lower=0),
            (rows["ratio_to_loop_high"] - middle).clip(lower=0),
        ]
        axes.errorbar(
            middle, at, xerr=spread, linestyle="none", markersize=2.5, elinewidth=0.8, **look
        )
    axes.set_xscale("log")
    _ticks(axes)
    axes.axvline(
        1, color=style.POLICIES["retrained"]["color"], linewidth=1, linestyle="--", zorder=0
    )


def _memory(axes: Axes, records: pd.DataFrame, batches: list[int]) -> None:
    """Peak bytes at each batch, a bar each, over those of one model in our loop."""
    height = 0.8 / len(batches)
    for number, batch in enumerate(batches):
        held = records[records["batch"] == batch].groupby("method")["peak_bytes"].first()
        shift = (number - (len(batches) - 1) / 2) * height
        known = [method for method in NAMES if method in held]
        places = [list(NAMES).index(method) + shift for method in known]
        axes.barh(
            places, held[known] / held["loop"], height=0.9 * height, **_shades(batches)[batch]
        )
    axes.axvline(
        1, color=style.POLICIES["retrained"]["color"], linewidth=1, linestyle="--", zorder=0
    )
    axes.set_title("peak memory")


def _shades(batches: list[int]) -> dict[int, dict[str, Any]]:
    """Darker for larger batches."""
    return {
        batch: dict(color="#555555", alpha=0.25 + 0.75 * i / max(len(batches) - 1, 1))
        for i, batch in enumerate(batches)
    }


def _ticks(axes: Axes) -> None:
    axes.xaxis.set_major_locator(
        FixedLocator(next(ticks for most, ticks in TICKS.items() if axes.get_xlim()[1] < most))
    )
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(FixedLocator([]))


if __name__ == "__main__":
    style.run(draw, __doc__ or "", ["decoding"])
