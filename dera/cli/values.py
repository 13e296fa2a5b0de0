"""Numbers on the command line: checked, and named in the message when they are wrong."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

MOST_VALUES = 1000


def number(
    kind: type, least: float = -math.inf, most: float = math.inf, *, positive: bool = False
) -> Callable[[str], Any]:
    """A type for argparse: a finite `int` or `float` within limits."""

    def convert(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not {'an integer' if kind is int else 'a number'}"
            ) from None
        if not math.isfinite(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not finite")
        if not least <= value <= most or (positive and value <= 0):
            limits = "positive" if positive else f"at least {least:g}"
            raise argparse.ArgumentTypeError(
                f"{text} is not {limits}{f' and at most {most:g}' if most < math.inf else ''}"
            )
        return value

    return convert


def number_list(text: str) -> tuple[float, ...]:
    """`0,0.5,1` or `0:2:0.25` (start:stop:step, both ends included), or both: `0:1:0.25,2`; each value once."""
    if not all(item.strip() for item in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} has nothing between two commas, or beside one")
    values = [value for item in text.split(",") for value in _range(item)]
    return tuple(dict.fromkeys(float(value) + 0.0 for value in values))  # + 0.0: no negative zero


def join_numbers(argv: Sequence[str], options: Sequence[str]) -> list[str]:
    """Make one word of each of these options and the numbers that follow it: `--lam 0 -0.5 Hello` to `--lam=0,-0.5 Hello`.

    argparse by itself would take the prompt for a number, and `-0.5,0,1` for an option.
    """
    words: list[str] = []
    open_option = False
    for i, word in enumerate(argv):
        if word == "--":
            return [*words, *argv[i:]]
        if open_option and re.fullmatch(r"[-+]?\.?\d\S*", word):
            words[-1] += ("," if "=" in words[-1] else "=") + word
            continue
        words.append(word)
        open_option = word in options
    return words


def lams_of(
    lams: Sequence[float] | None, betas: Sequence[float] | None, aligned_beta: float | None
) -> tuple[float, ...]:
    """The mixing weights asked for, as such or as KL strengths.

    Raises:
        ValueError: if a strength is not positive, or the aligned model's is not known.
    """
    from dera.weights import lam_from_beta

    if betas is None:
        return tuple(lams or ())
    if aligned_beta is None:
        raise ValueError(
            "a beta needs the strength the aligned model was trained at: give --aligned-beta too, or --lam instead"
        )
    return tuple(dict.fromkeys(_rounded(lam_from_beta(beta, aligned_beta)) for beta in betas))


def beta_of(lam: float, aligned_beta: float | None) -> float | None:
    """The strength that lam stands for, if it is known and finite."""
    return _rounded(aligned_beta / lam) if aligned_beta is not None and lam > 0 else None


def _range(text: str) -> list[Decimal]:
    parts = [_decimal(part, text) for part in text.split(":")]
    if len(parts) == 1:
        return parts
    if len(parts) != 3:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor start:stop:step")
    start, stop, step = parts
    if step == 0 or (stop - start) / step < 0:
        raise argparse.ArgumentTypeError(
            f"{text!r}: a step of {step} does not lead from {start} to {stop}"
        )
    steps = int((stop - start) / step)
    if steps >= MOST_VALUES:
        raise argparse.ArgumentTypeError(
            f"{text!r} is {steps + 1} values, and more than {MOST_VALUES} are surely not meant"
        )
    return [start + i * step for i in range(steps + 1)]


def _decimal(text: str, whole: str) -> Decimal:
    """Decimal, so that 0:1:0.1 ends at 1 and contains 0.3 as the number written that way."""
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        raise argparse.ArgumentTypeError(
            f"{text!r} in {whole!r} is not a number"
            if text != whole
            else f"{text!r} is not a number"
        ) from None
    if not value.is_finite() or not math.isfinite(float(value)):
        raise argparse.ArgumentTypeError(f"{text!r} is not finite")
    return value


def _rounded(value: float) -> float:
    """0.1 / 0.2 / ... written with the digits that were given, not with those that division leaves."""
    return float(f"{value:.12g}")
