"""Numbers and JSON on the command line. They are checked, and messages name the wrong ones."""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

#: A range of more values than this is taken for a mistake.
MAX_VALUES = 1000
#: The largest lam, in size. Beyond it the rounding errors of float32 logits decide.
MAX_LAM = 1000
#: The largest count of anything. More is taken for a mistake.
MAX_COUNT = 1_000_000
#: Seeds have 32 bits.
MAX_SEED = 2**32 - 1
#: The largest KL strength.
MAX_BETA = 1e9
#: How much of a word a message shows.
_SHOWN = 60
#: Smaller numbers are read as zero.
_SMALLEST = Decimal("1e-300")


def number(
    kind: type, minimum: float = -math.inf, maximum: float = math.inf, *, positive: bool = False
) -> Callable[[str], Any]:
    """Return a type for argparse: a finite `int` or `float` within limits."""
    limits = "positive" if positive else f"at least {minimum:.10g}"
    if maximum < math.inf:
        limits += f" and at most {maximum:.10g}"

    def convert(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            if text.isdecimal():  # Python reads no more than a few thousand digits
                raise argparse.ArgumentTypeError(f"{_cut(text)} is not {limits}") from None
            name = "an integer" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{_cut(text)!r} is not {name}") from None
        if kind is float and not math.isfinite(value):
            raise argparse.ArgumentTypeError(f"{_cut(text)!r} is not finite: give a finite number")
        if not minimum <= value <= maximum or (positive and value <= 0):
            raise argparse.ArgumentTypeError(f"{_cut(text)} is not {limits}")
        return value

    return convert


def number_list(text: str) -> tuple[float, ...]:
    """Read `0,0.5,1`, or `0:2:0.25` (start:stop:step, both ends included), or both: `0:1:0.25,2`.

    A value that occurs more than once is kept once.
    """
    items = text.split(",")
    if not all(item.strip() for item in items):
        raise argparse.ArgumentTypeError(
            f"{text!r} has nothing between two commas, or beside one: write 0,0.5,1"
        )
    values = [value for item in items for value in _range(item)]
    # Adding 0.0 turns a negative zero into zero.
    return tuple(dict.fromkeys(float(value) + 0.0 for value in values))


def lam_list(text: str) -> tuple[float, ...]:
    """Read a list of mixing weights, as `number_list` does."""
    lams = number_list(text)
    for lam in lams:
        if abs(lam) > MAX_LAM:
            raise argparse.ArgumentTypeError(
                f"lam {lam:g} is too large: give one between -{MAX_LAM} and {MAX_LAM}"
            )
    return lams


def json_object(text: str) -> dict[str, Any]:
    """Read a JSON object, such as `{"enable_thinking": false}`."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a JSON object: write names in double quotes, as in "
            '{"enable_thinking": false}'
        )
    return value


def join_numbers(argv: Sequence[str], options: Sequence[str]) -> list[str]:
    """Join each of these options and the numbers that follow it into one word.

    `--lam 0 -0.5 Hello` becomes `--lam=0,-0.5 Hello`. Without this, argparse would take the prompt
    for a number, and `-0.5,0,1` for an option.
    """
    words: list[str] = []
    takes_numbers = False
    for position, word in enumerate(argv):
        if word == "--":
            return [*words, *argv[position:]]
        if takes_numbers and re.fullmatch(r"[-+]?\.?\d\S*", word):
            separator = "," if "=" in words[-1] else "="
            words[-1] += separator + word
            continue
        words.append(word)
        takes_numbers = word in options
    return words


def lams_of(
    lams: Sequence[float] | None, betas: Sequence[float] | None, aligned_beta: float | None
) -> tuple[float, ...]:
    """Return the mixing weights that were asked for, which may be given as KL strengths.

    Raises:
        ValueError: if a strength is not positive, or the aligned model's strength is not known.
    """
    from dera.weights import lam_from_beta

    if betas is None:
        return tuple(lams or ())
    if aligned_beta is None:
        raise ValueError(
            "a beta needs the strength the aligned model was trained at: "
            "give --aligned-beta too, or give lam instead of beta"
        )
    asked = {_rounded(lam_from_beta(beta, aligned_beta)): beta for beta in betas}
    for lam, beta in asked.items():
        if lam > MAX_LAM:
            raise ValueError(
                f"beta {beta:g} with --aligned-beta {aligned_beta:g} is lam {lam:g}, and at most "
                f"{MAX_LAM} is allowed: give a beta of at least {aligned_beta / MAX_LAM:g}"
            )
    return tuple(asked)


def beta_of(lam: float, aligned_beta: float | None) -> float | None:
    """Return the strength that lam stands for, or None if it is not known or not finite."""
    if aligned_beta is None or lam <= 0:
        return None
    beta = _rounded(aligned_beta / lam)
    return beta if math.isfinite(beta) else None


def _range(text: str) -> list[Decimal]:
    """Read one number, or start:stop:step."""
    numbers = [_decimal(item, text) for item in text.split(":")]
    if len(numbers) == 1:
        return numbers
    if len(numbers) != 3:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a number nor start:stop:step: write 0.5, or 0:2:0.25 for a range"
        )
    start, stop, step = numbers
    if step == 0 or (stop - start) / step < 0:
        raise argparse.ArgumentTypeError(
            f"{text!r}: a step of {step} does not lead from {start} to {stop}: "
            "give a step that does"
        )
    steps = (stop - start) / step
    if steps >= MAX_VALUES:
        count = f"{int(steps) + 1}" if steps < 10**15 else f"{steps:.3g}"
        raise argparse.ArgumentTypeError(
            f"{text!r} is {count} values, and at most {MAX_VALUES} are allowed: give a larger step"
        )
    return [start + i * step for i in range(int(steps) + 1)]


def _decimal(text: str, whole: str) -> Decimal:
    """Read a decimal number, so that 0:1:0.1 ends at 1 and contains exactly what 0.3 means."""
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        place = "" if text == whole else f" in {whole!r}"
        raise argparse.ArgumentTypeError(
            f"{text!r}{place} is not a number: write 0.5, or 0:2:0.25 for a range"
        ) from None
    if not value.is_finite() or not math.isfinite(float(value)):
        raise argparse.ArgumentTypeError(f"{_cut(text)!r} is not finite: give a finite number")
    if abs(value) > MAX_BETA:
        raise argparse.ArgumentTypeError(f"{_cut(text)!r} is too large: give a smaller number")
    # A number this small is a zero to a float, and would overflow the arithmetic of ranges.
    return value if abs(value) > _SMALLEST else Decimal(0)


def _cut(text: str) -> str:
    """Return a word as messages show it, cut where it is long."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _rounded(value: float) -> float:
    """Drop the digits that only division by floating-point numbers leaves, as in 0.1 / 0.3."""
    return float(f"{value:.12g}")
