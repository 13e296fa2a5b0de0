"""Drawing what a sweep or a tuning found: a metric and the KL to the reference over lam."""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dera.cli.output import check_output
from dera.estimators import Estimate

#: The kinds of files that are drawn.
_KINDS = (".png", ".pdf", ".svg")
_INCHES = 6.0, 2.6  # the width of a figure, and the height of each panel


@dataclass(frozen=True)
class Panel:
    """One quantity over lam.

    Attributes:
        name: the label of its axis.
        lams: shape (n,).
        estimates: the quantity at each lam; NaN where it is not known.
        is_band: whether the intervals are drawn as one band, or each as a bar.
    """

    name: str
    lams: Sequence[float]
    estimates: Sequence[Estimate]
    is_band: bool


def add_plot(parser: argparse.ArgumentParser) -> None:
    """Add a file for the figure."""
    parser.add_argument(
        "--plot",
        metavar="FILE.png",
        type=Path,
        help="Draw the table over lam into this file, a .png, .pdf or .svg (needs matplotlib).",
    )


def check_plot(args: argparse.Namespace) -> None:
    """Refuse a figure that cannot be drawn, before any work is done for it.

    Raises:
        ValueError: naming what is wrong with the file.
        ImportError: if matplotlib is not installed.
    """
    if args.plot is None:
        return
    if args.plot.suffix not in _KINDS:
        raise ValueError(f"--plot {args.plot}: its name must end in {', '.join(_KINDS)}")
    if args.output is not None and args.plot.resolve() == args.output.resolve():
        raise ValueError(f"--plot {args.plot} is also the --output: name another file")
    check_output(args.plot, "--plot")
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError("--plot draws with matplotlib: install it, or leave --plot out")


def panels_of_tuning(result: dict[str, Any]) -> list[Panel]:
    """Return the panels of a tuning.

    Args:
        result: what `dera tune --output` writes.
    """
    lams = [point["lam"] for point in result["curve"]]
    panels = []
    for key, name in (("metric", "metric"), ("kl", "KL to the reference\n(nats)")):
        estimates = [_estimate(point[key]) for point in result["curve"]]
        panels.append(Panel(name, lams, estimates, is_band=True))
    return panels


def draw_tuning(path: Path, result: dict[str, Any]) -> None:
    """Draw the curves of a tuning, its choice, and the limit on the KL if there is one."""
    with _figure(path, panels_of_tuning(result)) as axes:
        for axis in axes:
            axis.axvspan(result["low"], result["high"], color="0.9", zorder=0)
            axis.axvline(result["lam"], color="black", linewidth=1)
        axes[0].set_title(
            f"lam = {result['lam']:g} is chosen (95% interval, grey: {result['low']:g} to "
            f"{result['high']:g})",
            fontsize=10,
        )
        if result["max_kl"] is not None:
            axes[1].axhline(result["max_kl"], color="black", linestyle="--", linewidth=1)
            axes[1].annotate("the limit", (0.01, result["max_kl"]), **_BESIDE)


def draw_sweep(path: Path, columns: dict[str, list[Estimate]], lams: Sequence[float]) -> None:
    """Draw each column of a sweep's table over lam.

    Args:
        path: the file.
        columns: for each column, by its heading, its estimate at each lam.
        lams: the lams, in any order.
    """
    order = sorted(range(len(lams)), key=lambda index: lams[index])
    in_order = [lams[index] for index in order]
    panels = []
    for name, estimates in columns.items():
        panels.append(Panel(name, in_order, [estimates[index] for index in order], is_band=False))
    with _figure(path, panels) as axes:
        axes[0].set_title("Means over prompts, with 95% intervals", fontsize=10)


#: How a word stands just above the left end of a horizontal line.
_BESIDE: dict[str, Any] = {
    "xycoords": ("axes fraction", "data"),
    "textcoords": "offset points",
    "xytext": (0, 2),
    "fontsize": 8,
}


class _figure:
    """A figure with a panel above the other, which is saved when its block ends without an error.

    Args:
        path: where it is saved, all or nothing.
        panels: from the top down.
    """

    def __init__(self, path: Path, panels: Sequence[Panel]):
        self._path = path
        self._panels = panels

    def __enter__(self) -> list[Any]:
        from matplotlib.figure import Figure

        width, height = _INCHES
        self._drawn = Figure((width, height * len(self._panels)), layout="constrained")
        axes = list(self._drawn.subplots(len(self._panels), sharex=True, squeeze=False)[:, 0])
        for axis, panel in zip(axes, self._panels, strict=True):
            _draw(axis, panel)
        axes[-1].set_xlabel("lam (0: the reference, 1: the aligned model)")
        return axes

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is not None:
            return
        temporary = self._path.with_name(f".{self._path.stem}.tmp{self._path.suffix}")
        try:
            self._drawn.savefig(temporary, dpi=150)
            os.replace(temporary, self._path)
        finally:
            temporary.unlink(missing_ok=True)


def _draw(axis: Any, panel: Panel) -> None:
    """Draw one panel."""
    means = [estimate.value for estimate in panel.estimates]
    lows = [estimate.low for estimate in panel.estimates]
    highs = [estimate.high for estimate in panel.estimates]
    (line,) = axis.plot(panel.lams, means, marker="o", markersize=3)
    if panel.is_band:
        axis.fill_between(panel.lams, lows, highs, color=line.get_color(), alpha=0.2, linewidth=0)
    else:
        axis.vlines(panel.lams, lows, highs, color=line.get_color(), linewidth=1)
    axis.set_ylabel(panel.name)
    axis.grid(alpha=0.3)


def _estimate(band: dict[str, float | None]) -> Estimate:
    """Return an estimate of what JSON has: null stands for what is not known."""

    def known(name: str) -> float:
        value = band[name]
        return math.nan if value is None else value

    return Estimate(known("mean"), known("low"), known("high"))
