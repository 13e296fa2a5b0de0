"""The ways in which controls break completions, readings and mixtures with other references."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pandas as pd
from scipy.interpolate import CubicHermiteSpline

from eval import policies
from eval.columns import as_numbers, effective_beta
from eval.judging import Judging
from eval.other_references import Mixtures
from eval.readings import Readings
from study.other_references import OWN

Completions = pd.DataFrame
#: A decoder that writes one completion again and again is off by at least so many nats.
COLLAPSE = 1.0
#: The seed of the noise.
SEED = 0


def scaled_completions(scale: float) -> Callable[[Completions, Judging], Completions]:
    """Return a control that gives each lam the completions of the lam nearest to a multiple of it.

    Args:
        scale: the factor of lam.
    """
    return lambda table, _: _relabelled(table, lambda lam, _: lam * scale)


def completions_at_one(table: Completions, _: Judging) -> Completions:
    """Give every lam the completions of lam = 1."""
    return _relabelled(table, lambda lam, _: 1.0)


def completions_of_other_lams(table: Completions, _: Judging) -> Completions:
    """Give each lam the completions of another lam, half a grid away."""

    def other(lam: float, grid: list[float]) -> float:
        return grid[(grid.index(lam) + len(grid) // 2) % len(grid)]

    return _relabelled(table, other)


def completions_reversed(table: Completions, _: Judging) -> Completions:
    """Give each lam in [0, 1] the completions of 1 - lam."""
    return _relabelled(table, lambda lam, _: 1 - lam if 0 <= lam <= 1 else lam)


def broken_completions(table: Completions, _: Judging) -> Completions:
    """Give each lam above 1 the completions of the largest lam, and call them all broken."""
    moved = _relabelled(table, lambda lam, grid: max(grid) if lam > 1 else lam)
    is_beyond = (moved["kind"] == "dera") & (np.array(as_numbers(moved["lam"]), float) > 1)
    return moved.assign(broken=moved["broken"].mask(is_beyond, 1.0))


def _relabelled(
    table: Completions, decoded_at: Callable[[float, list[float]], float]
) -> Completions:
    """Return the table with the completions that DeRa would have if it decoded at another lam.

    Args:
        decoded_at: a function of the lam that is asked for and of the lams of that anchor. The
            nearest lam that was decoded is taken.
    """
    is_dera = table["kind"] == "dera"
    kept = [table[~is_dera]]
    for _, of_anchor in table[is_dera].groupby(["objective", "anchor", "seed"], sort=False):
        by_lam = {float(Fraction(lam)): rows for lam, rows in of_anchor.groupby("lam", sort=False)}
        written = {float(Fraction(lam)): lam for lam in of_anchor["lam"].unique()}
        grid = sorted(by_lam)
        anchor = Fraction(of_anchor["anchor"].iloc[0])
        for lam in grid:
            wanted = decoded_at(lam, grid)
            nearest = min(grid, key=lambda candidate: abs(candidate - wanted))
            beta = effective_beta(anchor, Fraction(written[lam]))
            labels = {"lam": written[lam], "beta": None if beta is None else str(beta)}
            kept.append(by_lam[nearest].assign(**labels))
    return pd.concat(kept, ignore_index=True)


def retrained_of_other_betas(table: Completions, _: Judging) -> Completions:
    """Give each retrained model the label of the next beta."""
    is_retrained = table["kind"] == "retrained"
    parts = [table[~is_retrained]]
    for _, of_objective in table[is_retrained].groupby("objective", sort=False):
        following = _following(of_objective["beta"].unique())
        parts.append(of_objective.assign(beta=of_objective["beta"].map(following)))
    return pd.concat(parts, ignore_index=True)


def retrained_is_reference(table: Completions, _: Judging) -> Completions:
    """Put completions of the reference in the place of those of every retrained model."""
    is_retrained = table["kind"] == "retrained"
    reference = table[table["kind"] == "reference"]
    parts = [table[~is_retrained]]
    labels = ["kind", "objective", "beta", "seed"]
    for values, rows in table[is_retrained].groupby(labels, sort=False):
        samples = rows["sample_id"].nunique()
        instead = reference[reference["sample_id"] < samples]
        parts.append(instead.assign(**dict(zip(labels, values, strict=True))))
    return pd.concat(parts, ignore_index=True)


def collapsed_completions(table: Completions, _: Judging) -> Completions:
    """Replace each DeRa completion by the first of the same prompt, lam and gold."""
    dera = table[table["kind"] == "dera"]
    same = ["objective", "anchor", "seed", "lam", "prompt_id", "gold"]
    measured = [name for name in table.columns if name not in (*same, "sample_id")]
    collapsed = dera.copy()
    collapsed[measured] = dera.groupby(same, dropna=False)[measured].transform("first")
    return pd.concat([table[table["kind"] != "dera"], collapsed], ignore_index=True)


def noisy_completions(table: Completions, judging: Judging) -> Completions:
    """Move every measure of every aligned policy and seed by an error of its own.

    The standard deviation of the errors is the difference between the retrained models and the
    reference in that measure.
    """
    rng = np.random.default_rng(SEED)
    measured = [*policies.measures(table), "log_ratio"]
    is_reference = table["kind"] == "reference"
    retrained = table[table["kind"] == "retrained"]
    size = (retrained[measured].mean() - table.loc[is_reference, measured].mean()).abs()
    noisy = table.copy()
    labels = ["kind", "objective", "beta", "anchor", "lam", "knob", "seed"]
    for _, rows in table[~is_reference].groupby(labels, dropna=False, sort=False):
        error = rng.normal(size=len(measured)) * size.fillna(0).to_numpy()
        noisy.loc[rows.index, measured] += error
    return noisy


def untouched_completions(table: Completions, _: Judging) -> Completions:
    """Leave the completions as they are."""
    return table


def untouched_mixtures(mixtures: Mixtures) -> Mixtures:
    """Leave the mixtures with several references as they are."""
    return mixtures


def mixtures_of_own_reference(mixtures: Mixtures) -> Mixtures:
    """Put mixtures with the own reference in the place of those with every other one."""
    own = mixtures.table[mixtures.table["reference"] == OWN]
    instead = [own.assign(reference=name) for name in mixtures.others]
    return Mixtures(pd.concat([own, *instead], ignore_index=True))


def untouched_readings(readings: Readings, _: Judging) -> Readings:
    """Leave the readings as they are."""
    return readings


def scaled_readings(scale: float) -> Callable[[Readings, Judging], Readings]:
    """Return a control that reads DeRa at a multiple of the lam that is asked for."""
    return lambda readings, _: _at_other_factors(readings, lambda factor, _: factor * scale)


def readings_at_one(readings: Readings, _: Judging) -> Readings:
    """Read DeRa at lam = 1, whatever lam is asked for."""

    def at_one(factor: np.ndarray, row: pd.Series) -> np.ndarray:
        return np.full_like(factor, row["factor"] / row["lam"])

    return _at_other_factors(readings, at_one)


def readings_of_other_lams(readings: Readings, _: Judging) -> Readings:
    """Read DeRa at another lam of the grid, half a grid away."""
    return _at_other_factors(readings, lambda factor, _: np.roll(factor, len(factor) // 2))


def largest_lam_readings(readings: Readings, _: Judging) -> Readings:
    """Read DeRa at the largest lam wherever a lam above 1 is asked for."""

    def largest(factor: np.ndarray, row: pd.Series) -> np.ndarray:
        lam = factor * row["lam"] / row["factor"]
        return np.where(lam > 1, factor.max(), factor)

    return _at_other_factors(readings, largest)


def readings_of_other_betas(readings: Readings, _: Judging) -> Readings:
    """Give each retrained model's readings the label of the next beta.

    DeRa's lam stays, so that its factor, which is lam over the matched lam, changes.
    """
    parts = []
    for _, of_objective in readings.table.groupby("objective", sort=False):
        following = _following(of_objective["beta"].unique())
        moved = of_objective.assign(beta=of_objective["beta"].map(following))
        ratio = of_objective["beta"].astype(float) / moved["beta"].astype(float)
        parts.append(moved.assign(ratio=ratio.to_numpy()))
    if not parts:
        return readings
    relabelled = pd.concat(parts, ignore_index=True)

    def of_label(factor: np.ndarray, row: pd.Series) -> np.ndarray:
        return factor * row["ratio"]

    moved = _at_other_factors(Readings(relabelled), of_label).table
    is_dera = moved["reader"] == "dera"
    moved.loc[is_dera, "lam"] *= moved.loc[is_dera, "ratio"]
    moved.loc[is_dera, "slope"] /= moved.loc[is_dera, "ratio"]
    return Readings(moved.drop(columns="ratio"))


def readings_of_reference(readings: Readings, _: Judging) -> Readings:
    """Read texts of the reference in place of those of retrained models.

    The KL to the reference is then 0. To DeRa it is a parabola in lam, which has at lam = 1 the KL
    from the retrained model to the reference.
    """
    table = readings.table.copy()
    kl = _to_reference(table)
    is_dera = (table["reader"] == "dera").to_numpy()
    lam = table["lam"].fillna(1.0).to_numpy(float)
    table["kl"] = np.where(table["reader"] == "reference", 0.0, kl)
    table.loc[is_dera, "kl"] = (kl * lam**2)[is_dera]
    table.loc[is_dera, "slope"] = (2 * kl * lam)[is_dera]
    return Readings(table)


def collapsed_readings(readings: Readings, _: Judging) -> Readings:
    """Add to the KL to DeRa what a decoder without diversity is off by.

    It is no closer to the retrained model than the reference is.
    """
    table = readings.table.copy()
    is_dera = (table["reader"] == "dera").to_numpy()
    added = np.maximum(_to_reference(table), COLLAPSE)
    table.loc[is_dera, "kl"] += added[is_dera]
    return Readings(table)


def noisy_readings(readings: Readings, _: Judging) -> Readings:
    """Move the KL of each reading model, and its slope, by an error of their own."""
    rng = np.random.default_rng(SEED)
    table = readings.table.copy()
    for _, rows in table.groupby(["objective", "beta", "reader"], sort=False):
        for column in ("kl", "slope"):
            size = rows[column].abs().mean()
            for _, of_seed in rows.groupby(
                ["seed", "reader_seed", "anchor", "factor"], dropna=False
            ):
                if size > 0:
                    table.loc[of_seed.index, column] += rng.normal() * size
    return Readings(table)


def _at_other_factors(
    readings: Readings, read_at: Callable[[np.ndarray, pd.Series], np.ndarray]
) -> Readings:
    """Return the readings that there would be if DeRa decoded at another factor.

    A curve is interpolated through its values and slopes. Beyond its ends it goes on along the
    tangent, below which a convex curve cannot lie.

    Args:
        read_at: a function of the factors of the curves, shape (factors,), ascending, and of one
            row of them. It returns the factor at which DeRa decodes instead, for each factor.
    """
    table = readings.table
    is_dera = table["reader"] == "dera"
    parts = [table[~is_dera]]
    ordered = table[is_dera].sort_values(["factor", "seed", "reader_seed", "prompt_id"])

    # The curves of one retrained beta and one anchor have the same factors and lams.
    for _, rows in ordered.groupby(["objective", "beta", "anchor"], sort=False):
        factor = rows["factor"].unique()
        shape = (len(factor), len(rows) // len(factor))
        matched_lam = rows["lam"].iloc[-1] / factor[-1]
        kl = rows["kl"].to_numpy(float).reshape(shape)
        by_factor = rows["slope"].to_numpy(float).reshape(shape) * matched_lam
        curves = CubicHermiteSpline(factor, kl, by_factor)

        at = np.asarray(read_at(factor, rows.iloc[-1]), float)
        inside = np.clip(at, factor[0], factor[-1])
        tangent = curves(inside, 1)
        moved = curves(inside) + tangent * (at - inside)[:, None]
        # how far the decoded factor moves with the factor that is asked for
        change = np.gradient(at, factor) if len(factor) > 1 else np.ones_like(at)
        slope = tangent * change[:, None] / matched_lam
        parts.append(rows.assign(kl=moved.ravel(), slope=slope.ravel()))
    return Readings(pd.concat(parts, ignore_index=True))


def _to_reference(table: pd.DataFrame) -> np.ndarray:
    """Return in each row the KL from the retrained model to the reference on the row's prompt."""
    key = ["objective", "beta", "seed", "prompt_id"]
    of_reference = table.loc[table["reader"] == "reference", [*key, "kl"]]
    return table[key].merge(of_reference, on=key, how="left")["kl"].to_numpy(float)


def _following(betas: np.ndarray) -> dict[str, str]:
    """Return for each beta the next one; the last is followed by the first."""
    ordered = sorted(betas, key=Fraction)
    return dict(zip(ordered, [*ordered[1:], ordered[0]], strict=True))
