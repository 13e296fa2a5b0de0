"""What every job does the same way.

Every job has the same common arguments and typed settings, one log file whose first line repeats
the job, progress for the person who watches, and outputs that appear whole or not at all.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, TypeVar

import pydantic
import pydantic.dataclasses

from study import out_of_memory, outputs
from study.files import broken_file

ROOT = Path(__file__).resolve().parent.parent

#: What the job of this process has written so far, and how the names of files end that a job leaves
#: beside its log.
_WRITTEN: list[Path] = []
NOT_OUTPUTS = (".settings.json", outputs.ENDING)

REPEAT = """
To repeat one job of a study by hand, copy the command in the first line of its log
(results/STUDY/TASK/logs/...) and run it in the folder where the study ran. The settings
that the job was given lie beside the log, in a file that ends in .settings.json; edit a
copy of it to try others.
"""

#: Decorates the typed settings of a job: a frozen dataclass that refuses unknown keys.
settings_class = pydantic.dataclasses.dataclass(
    frozen=True, config=pydantic.ConfigDict(extra="forbid")
)
Settings = TypeVar("Settings")


def parser(description: str | None) -> argparse.ArgumentParser:
    """An argument parser with the options that every job has."""
    result = argparse.ArgumentParser(
        description=description,
        epilog=REPEAT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument(
        "--settings",
        type=read_settings,
        default={},
        metavar="JSON",
        help="the settings of this job, as JSON or as the path of a JSON file",
    )
    result.add_argument(
        "--seed", type=int, default=0, help="the seed of everything random in this job (default 0)"
    )
    result.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    result.add_argument(
        "--log", type=Path, help="write all output to this file; progress shows on the terminal"
    )
    return result


def add_log_of_command(parser: argparse.ArgumentParser) -> None:
    """Add the option `--log` of a command whose output the workflow sends to that file."""
    parser.add_argument(
        "--log", type=Path, help="the log; a record of the output is left beside it"
    )


def read_settings(value: str) -> Any:
    """Settings from JSON text, or from the file of that name.

    Raises:
        argparse.ArgumentTypeError: naming the file, or the place in the text, that cannot be read.
    """
    source = "the text given"
    try:
        if not value.lstrip().startswith(("{", "[")):
            source = value
            value = Path(value).read_text(encoding="utf-8")
        return json.loads(value)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{source} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{source} is not JSON: {error}") from error


def settings_of(args: argparse.Namespace, kind: type[Settings]) -> Settings:
    """The job's settings as an instance of `kind`, a class that `settings_class` decorates.

    Raises:
        ValueError: naming the key and the value that do not fit.
    """
    return pydantic.TypeAdapter(kind).validate_python(args.settings)


class Progress:
    """Prints how far a job is and how long it has left, at most once every few seconds."""

    def __init__(self, label: str, stream: TextIO, every_seconds: float = 15.0):
        self.label = label
        self.stream = stream
        self.every_seconds = every_seconds
        self.started = self.counted_from = self.printed = time.monotonic()
        self.first: int | None = None

    def update(self, done: int, total: int, unit: str, **numbers: float) -> None:
        """Report that `done` of `total` is finished; `numbers` are shown beside it."""
        now = time.monotonic()
        if self.first is None:  # after a resume, the rate counts only what this process did
            self.first = done
            self.counted_from = now
        if done < total and now - self.printed < self.every_seconds:
            return
        self.printed = now
        shown = "".join(f", {name} {value:.3g}" for name, value in numbers.items())
        remaining = ""
        if self.first < done < total:  # nothing is known of the rate at the first report
            seconds_left = (now - self.counted_from) * (total - done) / (done - self.first)
            remaining = f", about {seconds_left:.0f} s left"
        self.say(f"{done}/{total} {unit}{shown}{remaining}")

    def say(self, message: str) -> None:
        """Print one line under this job's label."""
        print(f"[{self.label}] {message}", file=self.stream, flush=True)


@contextmanager
def running(label: str, args: argparse.Namespace) -> Iterator[Progress]:
    """Run a job with its threads set and its output in its log; name a failure on the terminal."""
    terminal = os.fdopen(os.dup(2), "w")
    with recorded(args.log):
        if args.log:
            _send_output_to(args.log)
            settings_file = args.log.with_suffix(".settings.json")
            write_json(settings_file, args.settings)
            print(f"# To repeat this job: {repeating(sys.argv[1:], settings_file)}", flush=True)
        progress = Progress(label, terminal)
        progress.say("started" + (f", log in {args.log}" if args.log else ""))
        try:
            set_threads(args.threads)
            yield progress
        except Exception as error:
            helps = out_of_memory.remedy(error, args) + _full_disk(error) + _broken_inputs(args)
            said = _said(error)
            progress.say(f"failed: {said.rstrip('.') if helps else said}{helps}")
            raise
    progress.say(f"done in {time.monotonic() - progress.started:.0f} s")


@contextmanager
def recorded(log: Path | None) -> Iterator[None]:
    """Leave a record of what is written meanwhile beside a log; without a log, none.

    What fails or is killed leaves none, and none of an earlier job either.
    """
    _WRITTEN.clear()
    if log:
        outputs.record_of(log).unlink(missing_ok=True)
    yield
    if log:
        write_json(outputs.record_of(log), outputs.describe(list(_WRITTEN)))


def _said(error: Exception) -> str:
    """Return what an error says; one of a library's is headed by its kind.

    Our own errors say all in their message. A library's may be a bare number, or empty.
    """
    package = type(error).__module__.split(".")[0]
    ours = package == "__main__" or (ROOT / package).is_dir()
    return str(error) if ours else f"{type(error).__name__}: {error}"


def _full_disk(error: BaseException | None) -> str:
    """Return what to do about a full disk, or an empty text where that is not what failed.

    Libraries wrap the system's error in one of their own, or quote its text.
    """
    while error is not None:
        number = getattr(error, "errno", None)
        if number in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error):
            return ". The disk is full: free some space and run the study again, which goes on here"
        error = error.__cause__ or error.__context__
    return ""


def _broken_inputs(args: argparse.Namespace) -> str:
    """Return which inputs of a job are empty or cut, in a sentence each, or an empty text."""
    said = []
    for value in vars(args).values():
        for path in value if isinstance(value, list) else [value]:
            broken = broken_file(path) if isinstance(path, Path) else None
            if broken is not None:
                said.append(f". {broken} is empty or cut")
                if "results" in path.parts:  # and not a file of the user's
                    said.append(f"; delete {path} and run the study again, which makes it anew")
    return "".join(said)


def repeating(arguments: list[str], settings_file: Path) -> str:
    """The command that repeats this process, with its settings read from a file."""
    module = sys.modules["__main__"].__spec__
    command = ["python", "-m", module.name] if module else ["python", sys.argv[0]]
    arguments = list(arguments)
    for place, argument in enumerate(arguments):
        if argument == "--settings" and place + 1 < len(arguments):
            arguments[place + 1] = str(settings_file)
    text = shlex.join(command + arguments)
    if Path.cwd() != ROOT:  # elsewhere Python would not find the project's modules
        text = f"PYTHONPATH={shlex.quote(str(ROOT))} {text}"
    return text


def _send_output_to(log: Path) -> None:
    """From here on, whatever this process prints goes to the log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)


def set_threads(count: int) -> None:
    """Limit torch to `count` threads: two jobs of one thread beat one job of two threads."""
    import torch  # here, so that jobs that need no torch do not pay for importing it

    torch.set_num_threads(count)


def device() -> str:
    """Where models run: the GPU if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def gpu_present() -> bool:
    """Whether this machine has an NVIDIA GPU, asked without importing torch."""
    return Path("/dev/nvidia0").exists()


def gpus_of_a_job() -> int:
    """Return how many GPUs a job asks for that can use one: 1 or 0.

    It is 1 where this machine has a GPU. On a cluster other machines run the jobs, and the
    environment variable DERA_GPU says what they have. It is set here if it is not set, because each
    job on the cluster asks again, and must be told the same.

    Raises:
        SystemExit: if the variable is neither 0 nor 1.
    """
    said = os.environ.get("DERA_GPU", "")
    if said not in ("", "0", "1"):
        raise SystemExit(
            f"DERA_GPU = {said!r}: must be 1 where the jobs run on machines with a GPU and 0 where "
            "they do not; unset it to ask this machine"
        )
    os.environ["DERA_GPU"] = said or str(int(gpu_present()))
    return int(os.environ["DERA_GPU"])


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path; what was written there replaces `path` if all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # There is one temporary name, so that the next job removes what a killed job left.
    temporary = path.with_name(f".{path.name}.tmp")
    _remove(temporary)
    try:
        yield temporary
    except BaseException:
        _remove(temporary)
        raise
    if path.is_dir():
        shutil.rmtree(path)
    os.replace(temporary, path)
    if not path.name.endswith(NOT_OUTPUTS):
        _WRITTEN.append(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic_path(path) as temporary:
        text = json.dumps(value, indent=2, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
