"""Where each checkpoint comes from: a folder, or a Hub id with its revision, and a subfolder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peft.utils import CONFIG_NAME as ADAPTER_CONFIG
from transformers.utils import cached_file

#: The arguments that say where on the Hub to look, and as whom. Tokenizers, configurations and
#: adapters need them as models do.
HUB_ARGUMENTS = ("token", "cache_dir", "local_files_only", "force_download", "proxies")
#: The name of an adapter's weights, which are read from safetensors only.
ADAPTER_WEIGHTS = "adapter_model.safetensors"
#: What a revision or a subfolder may be: one for all models, or one for each by name.
PerModel = str | Mapping[str, str | None] | None


@dataclass(frozen=True)
class Source:
    """A checkpoint: a folder, or a repository on the Hub.

    Attributes:
        path: a folder or a Hub id, as the user wrote it.
        revision: the branch, tag or commit on the Hub; None for the newest.
        subfolder: the folder inside `path` that holds the checkpoint; None for `path` itself.
        hub: arguments of `HUB_ARGUMENTS`.
    """

    path: str
    revision: str | None = None
    subfolder: str | None = None
    hub: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return what messages call the checkpoint."""
        if self.is_local:
            return self.place
        revision = "" if self.revision is None else f" at revision {self.revision}"
        subfolder = "" if self.subfolder is None else f", subfolder {self.subfolder}"
        return f"{self.path}{revision}{subfolder}"

    @property
    def is_local(self) -> bool:
        """Whether the checkpoint is on this machine, and not on the Hub."""
        return Path(self.path).exists()

    @property
    def place(self) -> str:
        """What transformers' `from_pretrained` gets: the checkpoint's folder, or the Hub id."""
        if self.is_local and self.subfolder:
            return str(Path(self.path) / self.subfolder)
        return self.path

    @property
    def arguments(self) -> dict[str, Any]:
        """What transformers' `from_pretrained` gets beside the place."""
        if self.is_local:
            return dict(self.hub)
        given = {"revision": self.revision, "subfolder": self.subfolder}
        return self.hub | {name: value for name, value in given.items() if value is not None}

    def without_subfolder(self) -> Source:
        """Return the source that holds the subfolder."""
        return Source(self.path, self.revision, None, self.hub)

    def file(self, name: str) -> Path | None:
        """Return the path of one of the checkpoint's files, fetched if need be.

        Returns:
            None if there is no such file, or if the Hub cannot be reached.
        """
        if self.is_local:
            path = Path(self.place) / name
            return path if path.is_file() else None
        found = cached_file(
            self.path,
            name,
            _raise_exceptions_for_gated_repo=False,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            **self.arguments,
        )
        return None if found is None else Path(found)

    def adapter_folder(self) -> str | None:
        """Return the folder of an adapter, fetched from the Hub if need be; None for a whole model.

        Raises:
            ValueError: if the adapter's weights are not in safetensors.
        """
        config = self.file(ADAPTER_CONFIG)
        if config is None:
            return None
        if self.file(ADAPTER_WEIGHTS) is None:
            raise ValueError(
                f"{self} has no {ADAPTER_WEIGHTS}, and pickled weights may run code: "
                "save the adapter with PEFT again"
            )
        return str(config.parent)


def sources_of(
    paths: Mapping[str, str], revision: PerModel, subfolder: PerModel, hub: dict[str, Any]
) -> dict[str, Source]:
    """Return where the models come from, by name.

    Args:
        paths: a folder or a Hub id for each model.
        revision: one for all of the models that are on the Hub, or one for each by name.
        subfolder: one for all of the models, or one for each by name. An empty one is none.
        hub: arguments of `HUB_ARGUMENTS`.

    Raises:
        FileNotFoundError: if a local path or a subfolder of one does not exist.
        ValueError: if a revision or a subfolder is given for a model that does not exist, or a
            revision for a folder.
    """
    revisions = _by_model("revision", revision, list(paths))
    subfolders = _by_model("subfolder", subfolder, list(paths))
    sources = {}
    for name, path in paths.items():
        must_exist(path)
        sources[name] = Source(path, revisions[name], subfolders[name], hub)
    _check_revisions(sources, revision)
    _check_subfolders(sources)
    return sources


def must_exist(path: str) -> None:
    """Check that a local path exists, without asking the Hub.

    Hub ids are `name` or `owner/name`. Anything else is a path.

    Raises:
        FileNotFoundError: if it does not exist.
    """
    is_path = path.startswith((".", "~", os.sep)) or path.count("/") > 1
    if is_path and not Path(path).exists():
        raise FileNotFoundError(
            f"{path}: no such folder (a Hub id would be `name` or `owner/name`)"
        )


def _by_model(argument: str, given: PerModel, names: Sequence[str]) -> dict[str, str | None]:
    """Return one value for each model."""
    if not isinstance(given, Mapping):
        # The base of a reference that is an adapter is another repository than the models.
        return {name: None if name == "base" else given or None for name in names}
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ValueError(
            f"{argument}= names {unknown}, but the models are {list(names)}: use these names"
        )
    return {name: given.get(name) or None for name in names}


def _check_revisions(sources: dict[str, Source], given: PerModel) -> None:
    """Refuse revisions that would do nothing, because folders have none."""
    local = [name for name, source in sources.items() if source.revision and source.is_local]
    on_hub = [name for name, source in sources.items() if source.revision and not source.is_local]
    if local and (isinstance(given, Mapping) or not on_hub):
        source = sources[local[0]]
        raise ValueError(
            f"revision {source.revision!r} is for a model on the Hub, and {source.path} is a "
            "folder, which has no revisions: leave it out"
        )


def _check_subfolders(sources: dict[str, Source]) -> None:
    for name, source in sources.items():
        if source.subfolder and source.is_local and not Path(source.place).is_dir():
            raise FileNotFoundError(
                f"{source.path} has no subfolder {source.subfolder!r}. If only another model has "
                f"it, name the subfolder of each model by itself: subfolder={{{name!r}: ''}} means "
                "none (on the command line give --aligned-subfolder alone)"
            )
