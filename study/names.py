"""What studies, tasks, objectives and metrics may be called.

Their names become folders, columns and words on a command line. So one strict pattern holds for
all of them, and a name that the study needs for itself is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from study.schema import ConfigError

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?")
MEANING = (
    "must be 1 to 64 letters, digits, '-' and '_', and begin and end with a letter or a digit, "
    "because it names folders"
)

#: Names that other folders have already, beside the folders of studies, tasks or objectives.
RESERVED = {
    "study": {"bench", "criteria", "downloads", "examples"},
    "task": {"all", "benchmarks", "figures", "logs", "pages", "tables"},
    "objective": {
        "baselines",
        "mean",
        "new",
        "other_reference",
        "pretrained",
        "reference",
        "reward",
        "several_rewards",
    },
    "metric": set(),
}


def check(where: str, name: object, kind: str) -> None:
    """Check the name of a study, a task, an objective or a metric.

    Args:
        where: the key of the config where the name stands, for the message.
        name: what was written there.
        kind: a key of `RESERVED`.

    Raises:
        ConfigError: if the name does not fit the pattern, or is reserved.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(f"{where}: the name {str(name)[:80]!r} cannot be used: it {MEANING}")
    if name.lower() in RESERVED[kind]:
        reserved = ", ".join(sorted(RESERVED[kind]))
        raise ConfigError(
            f"{where}: the name {name!r} is taken by the study itself (as are {reserved}); "
            f"choose another name for this {kind}"
        )


def check_all(where: str, names: Iterable[object], kind: str) -> None:
    """Check every name, and that no two differ in nothing but capitals.

    Raises:
        ConfigError: naming the first name that cannot be used.
    """
    by_lower: dict[str, str] = {}
    for name in names:
        check(where, name, kind)
        name = str(name)
        if name.lower() in by_lower:
            raise ConfigError(
                f"{where}: {by_lower[name.lower()]!r} and {name!r} differ in capitals alone, and "
                "some file systems cannot tell them apart; rename one"
            )
        by_lower[name.lower()] = name
