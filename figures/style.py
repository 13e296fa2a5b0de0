"""The shared style: the same policy has the same colour and marker in every figure; text in the PDFs stays text."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

COLUMN, PAGE = 3.3, 6.9  # widths in inches of one column and of two
MOST_COLUMNS = 3

# Okabe and Ito's colours, and five more for the baselines: distinct with colour-blindness; each policy also has its own marker.
POLICIES: dict[str, dict[str, Any]] = {
    "reference": dict(color="#777777", marker="D", label="reference"),
    "retrained": dict(color="#0072B2", marker="o", label="retrained"),
    "dera": dict(color="#D55E00", marker="s", label="DeRa"),
    "mixture": dict(color="#009E73", marker="^", label="exact mixture"),
    "optimum": dict(color="#000000", marker="x", label="true optimum"),
    "weights": dict(color="#33BBEE", marker="v", label="weights (soup, ExPO)"),
    "probabilities": dict(color="#E7B800", marker="P", label="probabilities"),
    "temperature": dict(color="#B2182B", marker="<", label="temperature"),
    "top-k": dict(color="#4B0092", marker="h", label="top-k"),
    "best-of-n": dict(color="#5AAE61", marker="*", markersize=6, label="best of n"),
}
QUANTITIES = {
    "reward": "mean reward",
    "gold": "mean gold judgement",
    "kl": "KL to reference (nats)",
    "length": "length (tokens)",
    "broken": "broken completions (share)",
    "fluency": "fluency (nats a token)",
    "repetition": "repeated trigrams (share)",
    "gap": "approximation gap (nats)",
}
TASKS = (
    "#332288",
    "#999933",
    "#CC6677",
    "#44AA99",
    "#661100",
    "#88CCEE",
)  # Tol's muted colours, of no policy
OBJECTIVES: tuple[dict[str, Any], ...] = (
    dict(linestyle="-", marker="s"),
    dict(linestyle="--", marker="o"),
    dict(linestyle=":", marker="^"),
    dict(linestyle="-.", marker="v"),
    dict(linestyle=(0, (6, 1)), marker="D"),
    dict(linestyle=(0, (1, 1)), marker="P"),
)

matplotlib.use("Agg")
plt.rcParams.update(
    {
        "pdf.fonttype": 42,
        "svg.fonttype": "none",
        "font.size": 8,
        "axes.titlesize": 8,
        "axes.labelsize": 8,
        "legend.fontsize": 7,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "grid.linewidth": 0.5,
        "lines.linewidth": 1.2,
        "lines.markersize": 4,
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
        "savefig.dpi": 200,
    }
)


def objective_name(name: str) -> str:
    """The objective as figures write it: "rloo-judge" becomes "RLOO (judge)"."""
    method, _, teacher = name.partition("-")
    written = {"slic": "SLiC"}.get(method, method.upper())
    return f"{written} ({teacher})" if teacher else written


def columns_of_panels(
    count: int, rows: int, height: float, **options: Any
) -> tuple[Figure, list[Any]]:
    """A figure of `count` columns of `rows` panels, `height` inches high; of more than MOST_COLUMNS, some stand below the others.

    Returns:
        The figure, and for each column the array of its axes, from above.
    """
    blocks = math.ceil(count / MOST_COLUMNS)
    across = math.ceil(count / blocks)
    figure, grid = plt.subplots(
        rows * blocks, across, figsize=(PAGE, height * blocks), squeeze=False, **options
    )
    places = [divmod(number, across) for number in range(blocks * across)]
    columns = [grid[block * rows : (block + 1) * rows, place] for block, place in places]
    for axes in (axes for column in columns[count:] for axes in column):
        axes.set_visible(False)
    return figure, columns[:count]


def label_rows(columns: list[Any], labels: list[str]) -> None:
    """Name the vertical axes of `columns_of_panels`, at the left of each row."""
    for column in columns:
        for axes, label in zip(column, labels, strict=True):
            if axes.get_subplotspec().is_first_col():
                axes.set_ylabel(label)


def lam_axis(axes: Axes) -> None:
    """An axis of mixing weights with ticks at whole numbers."""
    axes.set_xlabel("mixing weight λ")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def wide_lam_axis(axes: Axes) -> None:
    """Linear in [-1, 1], where the lam that match a strength lie close together, and logarithmic outside."""
    axes.set_xlabel("mixing weight λ")
    axes.set_xscale("symlog", base=2, linthresh=1, linscale=1.25)
    axes.xaxis.set_major_locator(FixedLocator([-8, -4, -2, -1, 0, 0.5, 1, 2, 4, 8, 16]))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()


def mark_ends(axes: Axes) -> None:
    """Dotted lines at lam = 0 (the reference) and lam = 1 (the anchor)."""
    for lam in (0, 1):
        axes.axvline(lam, color="#999999", linewidth=0.8, linestyle=":", zorder=0)


def beta_colors(betas: list[float]) -> dict[float, tuple]:
    """A colour for each strength, dark for weak regularisation."""
    ordered = sorted(betas)
    return {
        beta: plt.get_cmap("viridis")(i / max(len(ordered), 2) * 0.95)
        for i, beta in enumerate(ordered)
    }


def with_interval(
    axes: Axes,
    rows: pd.DataFrame,
    x: str,
    y: str,
    kind: str,
    line: bool = True,
    x_interval: bool = False,
    order: str | None = None,
    **look: Any,
) -> ErrorbarContainer:
    """Draw a policy's estimates with their 95% intervals, in its own style or `look`, from left to right or by `order`."""
    rows = rows.sort_values(order or x)
    hollow = "none" if kind in ("retrained", "mixture") else None
    own = POLICIES.get(kind, {})
    drawn: dict[str, Any] = dict(
        linestyle="-" if line else "none", elinewidth=0.8, capsize=1.5, markerfacecolor=hollow
    )
    errors: dict[str, Any] = {
        "yerr": _interval(rows, y),
        "xerr": _interval(rows, x) if x_interval else None,
    }
    return axes.errorbar(rows[x], rows[y], **errors, **(drawn | own | look))


def _interval(rows: pd.DataFrame, column: str) -> list[pd.Series]:
    return [
        (rows[column] - rows[f"{column}_low"]).clip(lower=0),
        (rows[f"{column}_high"] - rows[column]).clip(lower=0),
    ]


def objective_looks(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """A line and a marker for each objective, in the order in which tables name them."""
    return {
        name: OBJECTIVES[number % len(OBJECTIVES)]
        for number, name in enumerate(dict.fromkeys(names))
    }


def beta_axis(axes: Axes, betas: list[float]) -> None:
    """A logarithmic axis of strengths with ticks at these."""
    axes.set_xscale("log")
    axes.set_xticks(betas, [f"{beta:g}" for beta in betas])
    axes.minorticks_off()


def run(
    draw: Callable[[dict[str, pd.DataFrame]], Figure], description: str, tables: list[str]
) -> None:
    """Command line of a figure script: one CSV or JSON file a table in, a PDF and a PNG out."""
    parser = argparse.ArgumentParser(description=description)
    for table in tables:
        parser.add_argument(
            f"--{table}", type=Path, required=True, help=f"CSV or JSON file {table}"
        )
    parser.add_argument("--pdf", type=Path, required=True)
    parser.add_argument("--png", type=Path, required=True)
    args = parser.parse_args()
    paths = {table: getattr(args, table) for table in tables}
    figure = draw(
        {
            table: (pd.read_json if path.suffix == ".json" else pd.read_csv)(path)
            for table, path in paths.items()
        }
    )
    for path in (args.pdf, args.png):
        path.parent.mkdir(parents=True, exist_ok=True)
        # no creation date, so that the same tables give the same bytes
        figure.savefig(path, metadata={"CreationDate": None} if path.suffix == ".pdf" else None)
