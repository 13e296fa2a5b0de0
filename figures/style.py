"""The shared style: the same policy has the same colour and marker in every figure; text in the PDFs stays text."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLUMN, PAGE = 3.3, 6.9  # widths in inches of one column and of two

# Okabe and Ito's colours, which remain distinct with colour-blindness; each policy also has its own marker.
POLICIES = {
    "reference": dict(color="#777777", marker="D", label="reference"),
    "retrained": dict(color="#0072B2", marker="o", label="retrained"),
    "dera": dict(color="#D55E00", marker="s", label="DeRa"),
    "mixture": dict(color="#009E73", marker="^", label="exact mixture"),
    "optimum": dict(color="#000000", marker="x", label="true optimum"),
}
QUANTITIES = {"reward": "mean reward", "kl": "KL to reference (nats)", "length": "length (tokens)"}

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


def beta_colors(betas: list[float]) -> dict[float, tuple]:
    """A colour for each strength, dark for weak regularisation."""
    ordered = sorted(betas)
    return {beta: plt.get_cmap("viridis")(i / max(len(ordered), 2) * 0.95) for i, beta in enumerate(ordered)}


def with_interval(axes: Axes, rows: pd.DataFrame, x: str, y: str, kind: str, line: bool = True, x_interval: bool = False) -> None:
    """Draw a policy's estimates with their 95% intervals, in the policy's own style."""
    rows = rows.sort_values(x)
    errors = {"yerr": _interval(rows, y)}
    if x_interval:
        errors["xerr"] = _interval(rows, x)
    look = POLICIES[kind]
    axes.errorbar(
        rows[x],
        rows[y],
        **errors,
        color=look["color"],
        marker=look["marker"],
        label=look["label"],
        linestyle="-" if line else "none",
        elinewidth=0.8,
        capsize=1.5,
        markerfacecolor="none" if kind in ("retrained", "mixture") else look["color"],
    )


def _interval(rows: pd.DataFrame, column: str) -> list[pd.Series]:
    return [(rows[column] - rows[f"{column}_low"]).clip(lower=0), (rows[f"{column}_high"] - rows[column]).clip(lower=0)]


def supported(rows: pd.DataFrame) -> pd.DataFrame:
    """Without the policies whose reweighting left fewer than two effective samples a prompt: they say too little to be drawn."""
    return rows[rows["ess"] >= 2]


def beta_axis(axes: Axes, betas: list[float]) -> None:
    """A logarithmic axis of strengths with ticks at these."""
    axes.set_xscale("log")
    axes.set_xticks(betas, [f"{beta:g}" for beta in betas])
    axes.minorticks_off()


def run(draw: Callable[[dict[str, pd.DataFrame]], Figure], description: str, tables: list[str]) -> None:
    """Command line of a figure script: one CSV file a table in, a PDF and a PNG out."""
    parser = argparse.ArgumentParser(description=description)
    for table in tables:
        parser.add_argument(f"--{table}", type=Path, required=True, help=f"CSV file {table}")
    parser.add_argument("--pdf", type=Path, required=True)
    parser.add_argument("--png", type=Path, required=True)
    args = parser.parse_args()
    figure = draw({table: pd.read_csv(getattr(args, table)) for table in tables})
    for path in (args.pdf, args.png):
        path.parent.mkdir(parents=True, exist_ok=True)
        # no creation date, so that the same tables give the same bytes
        figure.savefig(path, metadata={"CreationDate": None} if path.suffix == ".pdf" else None)
