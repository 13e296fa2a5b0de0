"""The shared style of all figures: a policy has the same colour and marker in each of them.

Text in the PDFs stays text. `run` is the command line of every figure script.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter

from study import job

#: Width in inches of a page of two columns, which is the width of every figure.
PAGE = 6.9

#: How each policy is drawn. The colours are those of Okabe and Ito, and five more for baselines.
#: Readers with colour-blindness can tell them apart, and each policy also has its own marker.
POLICIES: dict[str, dict[str, Any]] = {
    "reference": dict(color="#777777", marker="D", label="reference"),
    "retrained": dict(color="#0072B2", marker="o", label="retrained"),
    "dera": dict(color="#D55E00", marker="s", label="DeRa"),
    "mixture": dict(color="#009E73", marker="^", label="exact mixture"),
    "optimum": dict(color="#000000", marker="x", label="true optimum"),
    "weights": dict(color="#33BBEE", marker="v", label="mixed weights (soup, ExPO)"),
    "probabilities": dict(color="#E7B800", marker="P", label="mixed probabilities"),
    "temperature": dict(color="#B2182B", marker="<", label="temperature"),
    "top-k": dict(color="#4B0092", marker="h", label="DeRa among the top k"),
    "best-of-n": dict(color="#5AAE61", marker="*", markersize=6, label="best of n"),
}
#: Characters in a line of a figure's title.
TITLE_WIDTH = 82
#: How kinds of policies are drawn that POLICIES does not know, such as a new baseline, in turn.
MORE_POLICIES: tuple[dict[str, Any], ...] = (
    dict(color="#CC79A7", marker="X"),
    dict(color="#8C510A", marker="p"),
    dict(color="#01665E", marker="d"),
    dict(color="#5E3C99", marker=">"),
)
#: How each measure is written along an axis.
QUANTITIES = {
    "reward": "mean reward",
    "gold": "mean gold judgement",
    "kl": "KL to the reference (nats)",
    "length": "length (tokens)",
    "broken": "share of broken completions",
    "fluency": "fluency (nats per token)",
    "repetition": "share of repeated trigrams",
    "gap": "approximation gap (nats)",
}
#: Colours of tasks: the muted colours of Tol, which no policy has.
TASK_COLORS = ("#332288", "#999933", "#CC6677", "#44AA99", "#661100", "#88CCEE")
#: Lines and markers of objectives, where a colour says something else.
OBJECTIVES: tuple[dict[str, Any], ...] = (
    dict(linestyle="-", marker="s"),
    dict(linestyle="--", marker="o"),
    dict(linestyle=":", marker="^"),
    dict(linestyle="-.", marker="v"),
    dict(linestyle=(0, (6, 1)), marker="D"),
    dict(linestyle=(0, (1, 1)), marker="P"),
)
#: The markers of lams in turn, in figures whose axes show something else.
LAM_MARKERS = ("o", "s", "^", "D", "v", "P")

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
    """Return the objective as figures write it: "rloo-judge" becomes "RLOO (judge)"."""
    loss, _, variant = name.partition("-")
    written = {"slic": "SLiC"}.get(loss, loss.upper())
    return f"{written} ({variant})" if variant else written


def policy_looks(kinds: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the look of each kind of policy; new kinds get those of MORE_POLICIES in turn."""
    unknown = [kind for kind in dict.fromkeys(kinds) if kind not in POLICIES]
    looks = dict(POLICIES)
    for number, kind in enumerate(unknown):
        looks[kind] = {**MORE_POLICIES[number % len(MORE_POLICIES)], "label": kind}
    return looks


def objective_looks(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return a line and a marker for each objective, in the order in which tables name them."""
    looks = {}
    for number, name in enumerate(dict.fromkeys(names)):
        looks[name] = OBJECTIVES[number % len(OBJECTIVES)]
    return looks


def beta_colors(betas: list[float]) -> dict[float, tuple]:
    """Return a colour for each strength, dark for weak regularisation."""
    colormap = plt.get_cmap("viridis")
    last = max(len(betas), 2)
    return {beta: colormap(place / last * 0.95) for place, beta in enumerate(sorted(betas))}


def lam_looks(lams: list[float]) -> dict[float, dict[str, Any]]:
    """Return a colour and a marker for each lam, for figures whose axes show something else."""
    colors = plt.get_cmap("viridis")
    return {
        lam: dict(color=colors(place / len(lams)), marker=LAM_MARKERS[place % len(LAM_MARKERS)])
        for place, lam in enumerate(lams)
    }


def lam_handles(looks: dict[float, dict[str, Any]]) -> list[Any]:
    """Return the entries of a legend for the looks of `lam_looks`."""
    return [
        Line2D([], [], linestyle="none", label=f"λ = {lam:g}", **look)
        for lam, look in looks.items()
    ]


def set_log_ticks(axes: Axes, ticks: Iterable[float]) -> None:
    """Set the ticks of a logarithmic horizontal axis, and leave out all smaller ones."""
    axes.xaxis.set_major_locator(FixedLocator(list(ticks)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(FixedLocator([]))


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
    """Draw the estimates of a policy with their 95% intervals.

    Args:
        rows: one row for each estimate, with the columns NAME, NAME_low and NAME_high.
        x, y: names of the columns along the two axes.
        kind: the kind of policy, whose look in POLICIES is used.
        line: whether a line joins the estimates.
        x_interval: whether the intervals along the horizontal axis are drawn, too.
        order: the column along which the line runs; without one it runs along `x`.
        look: options of matplotlib that replace those of the policy.
    """
    rows = rows.sort_values(order or x)
    drawn: dict[str, Any] = dict(
        yerr=interval(rows, y),
        xerr=interval(rows, x) if x_interval else None,
        linestyle="-" if line else "none",
        elinewidth=0.8,
        capsize=1.5,
        markerfacecolor="none" if kind in ("retrained", "mixture") else None,
    )
    return axes.errorbar(rows[x], rows[y], **(drawn | POLICIES.get(kind, {}) | look))


def interval(rows: pd.DataFrame, column: str) -> list[pd.Series]:
    """Return how far the interval reaches below and above the estimate."""
    below = (rows[column] - rows[f"{column}_low"]).clip(lower=0)
    above = (rows[f"{column}_high"] - rows[column]).clip(lower=0)
    return [below, above]


def entitle(figure: Figure, finding: str) -> None:
    """Write what a figure has found above its legend, or above its panels where it has no legend.

    Args:
        figure: the figure, which is drawn already.
        finding: one sentence; empty where there is nothing to say.
    """
    if not finding:
        return
    title = textwrap.fill(finding, TITLE_WIDTH)
    look: dict[str, Any] = dict(size=9, weight="bold")
    if not figure.legends:
        figure.suptitle(title, **look)
        return
    # A legend above the panels is given space for its own title, too. Legends that stand side by
    # side get as many empty lines, so that their entries stay below the title.
    first, *others = figure.legends
    first.set_title(title, prop=look)
    for legend in others:
        legend.set_title(re.sub(r"[^\n]+", " ", title), prop=look)


def run(
    draw: Callable[[dict[str, pd.DataFrame]], Figure],
    description: str,
    tables: list[str],
    finding: Callable[[dict[str, pd.DataFrame]], str] | None = None,
) -> None:
    """Read one CSV or JSON file for each table from the command line; write a PDF and a PNG.

    The job's log begins with the command that repeats the job, which is printed first.

    Args:
        draw: draws the figure from the tables.
        description: the help text of the command.
        tables: the names of the tables.
        finding: returns the figure's title, which says in a sentence what the tables show.
    """
    parser = argparse.ArgumentParser(description=description)
    for name in tables:
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"CSV or JSON file {name}")
    parser.add_argument("--pdf", type=Path, required=True, help="PDF file to write")
    parser.add_argument("--png", type=Path, required=True, help="PNG file to write")
    job.add_log_of_command(parser)
    args = parser.parse_args()
    module = sys.modules["__main__"].__spec__
    command = ["python", "-m", module.name if module else __name__, *sys.argv[1:]]
    print(f"# To repeat this job: {shlex.join(command)}", flush=True)

    read = {name: _read(getattr(args, name)) for name in tables}
    figure = draw(read)
    if finding is not None:
        entitle(figure, finding(read))

    # Without a date of creation the same tables give the same bytes.
    with job.recorded(args.log):
        for path, metadata in ((args.pdf, {"CreationDate": None}), (args.png, None)):
            with job.atomic_path(path) as temporary:
                figure.savefig(temporary, format=path.suffix[1:], metadata=metadata)


def _read(path: Path) -> pd.DataFrame:
    return pd.read_json(path) if path.suffix == ".json" else pd.read_csv(path)
