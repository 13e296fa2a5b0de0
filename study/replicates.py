"""Replicates: a study run again with other seeds for everything, to see which verdicts stay.

A replicate has a number. It is added to every seed of the config, a thousand times, so that no two
replicates share a seed. Some replicates are there to tune hyper-parameters on, and others to
publish: numbers that were tuned on a seed do not show how the method does on it.

As a program, it prints the published replicates of a config, which `make replicate` runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from study import schema
from study.schema import ConfigError

#: How far the seeds of two successive replicates are apart.
SEEDS_APART = 1000


@dataclass(frozen=True)
class Replicate:
    """The replicate that a config asks for, and what each replicate is there for.

    Attributes:
        number: the config's `replicate`.
        tuning: the replicates that hyper-parameters are tuned on; empty where the study has no
            replicates.
        published: the replicates whose tables are published, likewise.
    """

    number: int = 0
    tuning: tuple[int, ...] = ()
    published: tuple[int, ...] = ()

    def shifted(self, key: str, seeds: Sequence[int]) -> tuple[int, ...]:
        """Return this replicate's seeds for the seeds that stand at `key` of the config.

        Raises:
            ConfigError: if the study has replicates, and a seed could be that of another one.
        """
        for seed in seeds:
            if self.published and seed >= SEEDS_APART:
                raise ConfigError(
                    f"{key} = {seed}: must be less than {SEEDS_APART}, because replicates have "
                    f"seeds that are {SEEDS_APART} apart"
                )
        return tuple(seed + SEEDS_APART * self.number for seed in seeds)

    def folder(self, study: str) -> str:
        """Return the folder of the study's results, below results/.

        The first published replicate has the study's own name.
        """
        if not self.published or self.number == self.published[0]:
            return study
        return f"{study}-replicate={self.number}"

    def check_published_or_exit(self) -> None:
        """Check that this replicate is published; if it is tuned on, the process ends with a line.

        The line says why, and what to publish instead.
        """
        if self.number in self.tuning:
            print(
                f"config error: replicate = {self.number}: cannot be published, because "
                "hyper-parameters are tuned on it (replicates.tuning) and its numbers flatter "
                f"them; publish another one, with --config replicate={self.published[0]}",
                file=sys.stderr,
            )
            sys.exit(1)

    def check_tuned_on_or_exit(self) -> None:
        """Check that this replicate is tuned on; otherwise the process ends with a line."""
        if self.published and self.number not in self.tuning:
            print(
                f"config error: replicate = {self.number}: criteria are written from a pilot, "
                "which is a replicate that hyper-parameters are tuned on; add --config "
                f"replicate={self.tuning[0] if self.tuning else 0}",
                file=sys.stderr,
            )
            sys.exit(1)


def of(config: Mapping[str, Any]) -> Replicate:
    """Read the replicate of a config that has passed the schema.

    Raises:
        ConfigError: if it is not one of the study's, or is there for two purposes.
    """
    number = config.get("replicate", 0)
    if "replicates" not in config:
        if number:
            raise ConfigError(
                f"replicate = {number}: the config has no section `replicates`, which says which "
                "ones are tuned on and which are published; add it, for example "
                f"replicates: {{tuning: [0], published: [{number}]}}"
            )
        return Replicate()
    tuning = tuple(config["replicates"]["tuning"])
    published = tuple(config["replicates"]["published"])
    for both in sorted(set(tuning) & set(published)):
        raise ConfigError(
            f"replicates.published = {list(published)}: {both} is in replicates.tuning too, and "
            "what is published must not have been tuned on; remove it from one of them"
        )
    if number not in tuning + published:
        raise ConfigError(
            f"replicate = {number}: must be one of replicates.tuning = {list(tuning)} or "
            f"replicates.published = {list(published)}"
        )
    return Replicate(number, tuning, published)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, help="the study's config")
    parser.add_argument(
        "--claims", action="store_true", help="print the path of each one's claims.json instead"
    )
    args = parser.parse_args()
    config = yaml.safe_load(args.config.read_text(encoding="utf-8"))
    try:
        schema.check(config)
        replicate = of(config)
    except ConfigError as error:
        print(f"config error: {error}", file=sys.stderr)
        sys.exit(1)
    for number in replicate.published or (replicate.number,):
        folder = dataclasses.replace(replicate, number=number).folder(config["study"])
        print(f"results/{folder}/claims.json" if args.claims else number)


if __name__ == "__main__":
    main()
