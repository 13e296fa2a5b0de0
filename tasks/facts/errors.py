"""How often the rule is wrong about sentences that people wrote.

The rule was written while looking at the texts of one half of the sets of facts (`is_held_out`
tells the halves apart). This prints what it finds in the other half:

    python -m tasks.facts.errors train.jsonl.gz test.jsonl.gz

People should state what they are given. What the rule reports of their texts is an error of the
rule, or a fault of the text or of its facts. `--show 60` prints texts to tell them apart by
hand. Then facts are changed, dropped and added, one at a time, and the rule must find it.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks import facts as facts_module
from tasks.facts import KINDS, Facts, names
from tasks.facts.levels import OF_VALUE
from tasks.facts.rule import Verdict, check
from tasks.text.rates import Rate

#: The columns of a file.
FACTS, TEXT = "meaning_representation", "text"

#: The values that facts are changed to.
VALUES = {"name": names.KNOWN, **facts_module.VALUES, "near": names.KNOWN}
CHANGES = ("changed", "dropped", "added")


@dataclass(frozen=True)
class Row:
    """A text, and the facts that it should state, as the data write them and as they are read."""

    meaning: str
    facts: Facts
    text: str


@dataclass(frozen=True)
class Mean:
    """A mean number of faults a text, with a 95% interval over sets of facts."""

    value: float
    half_width: float

    def __str__(self) -> str:
        low, high = self.value - self.half_width, self.value + self.half_width
        return f"{self.value:.4f} [{low:.4f}, {high:.4f}]"


def is_held_out(meaning: str) -> bool:
    """Return whether a set of facts is in the half that the rule was not written on."""
    return hashlib.sha256(meaning.encode()).digest()[0] % 2 == 1


def read(paths: Iterable[Path], held_out: bool = True) -> tuple[list[Row], int]:
    """Read the rows of a half, and count those that contradict themselves and are left out.

    Raises:
        ValueError: if a file lacks a column, if its facts have another form, or if the half is
            empty.
    """
    rows: list[Row] = []
    contradictions = 0
    for path in paths:
        for meaning, text in _lines(path):
            if is_held_out(meaning) != held_out:
                continue
            try:
                rows.append(Row(meaning, facts_module.parse(meaning), text))
            except facts_module.ContradictionError:
                contradictions += 1
    if not rows:
        raise ValueError("the files have no text in this half; name more files")
    return rows, contradictions


def means(rows: Iterable[Row]) -> tuple[Mean, Mean]:
    """Return how many facts a text the rule calls missing, and how many invented."""
    missing: dict[str, list[int]] = {}
    invented: dict[str, list[int]] = {}
    for row in rows:
        verdict = check(row.facts, row.text)
        missing.setdefault(row.meaning, []).append(len(verdict.missing))
        invented.setdefault(row.meaning, []).append(len(verdict.invented))
    return _mean(missing.values()), _mean(invented.values())


def missed(rows: Iterable[Row], change: str) -> dict[str, Rate]:
    """Return for each kind of fact how often the rule does not see that it was changed.

    Args:
        rows: texts with their facts.
        change: "changed" gives a fact another value; the rule must call it missing and invented.
            "dropped" takes it away; the rule must call it invented. "added" gives a fact of a kind
            that was not given; the rule must call it missing.
    """
    unseen = dict.fromkeys(KINDS, 0)
    made = dict.fromkeys(KINDS, 0)
    for row in rows:
        rng = random.Random(f"{change} {row.meaning} {row.text}")
        for kind in KINDS:
            spoilt = spoil(row.facts, kind, change, rng)
            if spoilt is None:
                continue
            made[kind] += 1
            unseen[kind] += not _sees(check(spoilt, row.text), kind, change)
    return {kind: Rate(unseen[kind], made[kind]) for kind in KINDS if made[kind]}


def spoil(facts: Facts, kind: str, change: str, rng: random.Random) -> Facts | None:
    """Change, drop or add one fact, if its kind allows it.

    A price or a rating is changed to another level, and no name to one that is given already.
    """
    if (change == "added") == (kind in facts):
        return None
    others = {name: value for name, value in facts.items() if name != kind}
    if change == "dropped":
        return others or None
    given = set(facts.values())
    level = OF_VALUE.get(facts.get(kind, ""))
    allowed = [
        value
        for value in VALUES[kind]
        if value not in given and (level is None or OF_VALUE.get(value) != level)
    ]
    return {**others, kind: rng.choice(allowed)}


def _sees(verdict: Verdict, kind: str, change: str) -> bool:
    """Whether the rule has found the change. An invented name counts as a place near."""
    called = "near" if kind == "name" else kind
    missing = kind in verdict.missing or change == "dropped"
    invented = called in verdict.invented or change == "added"
    return missing and invented


def _mean(clusters: Iterable[list[int]]) -> Mean:
    """The mean of all numbers, with the normal interval of a mean over clusters."""
    counted = list(clusters)
    total = sum(map(len, counted))
    value = sum(map(sum, counted)) / total
    residuals = [sum(numbers) - value * len(numbers) for numbers in counted]
    spread = sum(residual**2 for residual in residuals) / max(len(counted) - 1, 1)
    return Mean(value, 1.96 * math.sqrt(spread * len(counted)) / total)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the facts and the text of each line of a JSONL file, gzipped or not."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            lacking = {FACTS, TEXT} - set(row)
            if lacking:
                raise ValueError(f"{path} has no column {', '.join(sorted(lacking))}")
            yield row[FACTS], row[TEXT]


def _shown(rows: list[Row], count: int) -> Iterator[str]:
    """Yield a fixed random sample of the texts with their verdicts, to be read by hand."""
    for row in random.Random("texts to label by hand").sample(rows, min(count, len(rows))):
        verdict = check(row.facts, row.text)
        yield f"{row.meaning}\n  {row.text}"
        yield f"  missing: {sorted(verdict.missing)}, invented: {sorted(verdict.invented)}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Print what the rule finds in texts that people wrote, and what it overlooks."
    )
    parser.add_argument(
        "files", type=Path, nargs="+", help=f"JSONL or JSONL.gz with columns {FACTS} and {TEXT}"
    )
    parser.add_argument(
        "--show", type=int, default=0, help="how many texts to print with their verdicts"
    )
    parser.add_argument(
        "--seen", action="store_true", help="use the half that the rule was written on"
    )
    args = parser.parse_args()
    rows, contradictions = read(args.files, held_out=not args.seen)
    for line in _shown(rows, args.show):
        print(line)
    missing, invented = means(rows)
    print(
        f"{len(rows)} texts; {contradictions} more were left out, whose facts contradict themselves"
    )
    print(f"missing facts a text: {missing}")
    print(f"invented facts a text: {invented}")
    for change in CHANGES:
        rates = missed(rows, change)
        together = Rate(
            sum(rate.wrong for rate in rates.values()),
            sum(rate.labelled for rate in rates.values()),
        )
        print(f"facts {change}, and not found: {together}")
        for kind, rate in rates.items():
            print(f"  {kind}: {rate}")


if __name__ == "__main__":
    main()
