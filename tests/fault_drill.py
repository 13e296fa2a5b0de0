"""Interrupt and damage a small study, and see whether it still ends with the same tables.

Whatever a machine or a careless user does to a study, no work may be lost that was finished, and no
number may be silently wrong. This script first runs a tiny study to its end without disturbance,
and once more in another folder, which must give the same tables. Then it runs the study again and
again. Each time it does one thing to it at a random moment, and goes on as the README says: run
the same command again, `snakemake --unlock` if the message asks for it, and delete a file that the
message says to delete. The tables, the completions, the adapters and some figures must then be
those of the undisturbed run, byte for byte. Seconds are left out of the comparison.

    python -m tests.fault_drill                # 26 faults: about half an hour on two cores
    python -m tests.fault_drill --only "a full disk" --faults 3 --seed 3

It prints a table with a row for each fault, and ends with an error if a result differs. Run it
before a release. Each study gets a small file system of its own, so that its disk can be filled, if
the script may mount one, as root mostly may.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.workflow.conftest import Study
from tests.workflow.studies import tiny_study, with_rloo
from tests.workflow.warm_python import warm_environment

#: What must come out the same, as patterns in the folder of results. Other tables hold seconds.
COMPARED = (
    "*/data/*.parquet",
    "*/models/**/*.safetensors",
    "*/samples/*/completions.parquet",
    "*/readings/*.parquet",
    "*/tables/completions.parquet",
    "*/tables/policies.csv",
    "*/tables/agreement.csv",
    "*/tables/kl_by_lam.csv",
    "figures/*/kl_by_lam.p*",
    "figures/*/reward_kl_by_beta.p*",
)
#: How often a study is run again after one fault. Each message may ask for one thing.
MOST_RUNS = 6
#: No run of the tiny study takes longer than this, in seconds.
LONGEST = 900
#: The size of a study's own file system.
DISK = "1g"
#: The file or folder of the results that a message asks to delete.
TO_DELETE = re.compile(r"[Dd]elete (results/\w+/[\w/=.-]*\w)")


def config() -> dict:
    """The tiny study: one task whose models RLOO trains, with checkpoints to resume from."""
    section = with_rloo("length")
    section["alignment"]["objectives"]["rloo"] |= {"steps": 12, "save_every": 2}
    return tiny_study(length=section)


def checksums(results: Path) -> dict[str, str]:
    """SHA-256 of every file that is compared, by its path in the folder of results."""
    files = sorted({path for pattern in COMPARED for path in results.glob(pattern)})
    return {
        str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


class Running:
    """A run of the study that goes on in the background, in a process group of its own."""

    def __init__(self, study: Study):
        self.process = subprocess.Popen(
            study.command(),
            env=study.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def jobs(self) -> list[psutil.Process]:
        """The processes that run jobs, which the scheduler has started."""
        try:
            children = psutil.Process(self.process.pid).children(recursive=True)
            return [child for child in children if "-m" in child.cmdline()]
        except psutil.Error:  # it has just ended
            return []

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to the scheduler and all its jobs, as a terminal does for Ctrl-C."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def wait(self) -> None:
        """Wait for the end."""
        self.process.wait(timeout=LONGEST)


@dataclass(frozen=True)
class Fault:
    """Something that happens to a study.

    Attributes:
        name: what it is.
        strike: does it to a running study, and returns what exactly was done.
        leaves_jobs: whether jobs may run on afterwards, beside the next run.
    """

    name: str
    strike: Callable[[Running, Study, random.Random], str]
    leaves_jobs: bool = False


def kill_everything(running: Running, study: Study, rng: random.Random) -> str:
    running.signal_all(signal.SIGKILL)
    return "the scheduler and its jobs"


def kill_the_scheduler(running: Running, study: Study, rng: random.Random) -> str:
    running.process.kill()
    return "the scheduler; its jobs run on"


def kill_one_job(running: Running, study: Study, rng: random.Random) -> str:
    while running.process.poll() is None:
        with contextlib.suppress(psutil.Error, ValueError, IndexError):  # the job has just ended
            job = rng.choice(running.jobs())
            name = job.cmdline()[job.cmdline().index("-m") + 1]
            job.kill()
            return name
        time.sleep(0.1)
    return "nothing, because the run had just ended"


def interrupt(running: Running, study: Study, rng: random.Random) -> str:
    running.signal_all(signal.SIGINT)
    return "Ctrl-C"


def interrupt_twice(running: Running, study: Study, rng: random.Random) -> str:
    running.signal_all(signal.SIGINT)
    time.sleep(rng.uniform(0, 2))
    running.signal_all(signal.SIGINT)
    return "Ctrl-C, and again"


def terminate(running: Running, study: Study, rng: random.Random) -> str:
    running.process.terminate()
    return "the scheduler, by SIGTERM"


def start_a_second_run(running: Running, study: Study, rng: random.Random) -> str:
    second = study.run()
    return f"the second run ended with status {second.returncode}"


def fill_the_disk(running: Running, study: Study, rng: random.Random) -> str:
    if not study.folder.is_mount():
        return "nothing, because the study has no disk of its own"
    # Jobs write and remove files meanwhile, so the disk is filled again and again. Nothing is
    # buffered, because a buffer that does not fit would be written once more on closing.
    filler = study.folder / "filler"
    with filler.open("wb", buffering=0) as file:
        while running.process.poll() is None:
            with contextlib.suppress(OSError):
                while file.write(bytes(2**16)):
                    pass
            time.sleep(0.1)
    filler.unlink()
    return f"full until the run ended, with status {running.process.returncode}"


def _some_file(study: Study, rng: random.Random) -> Path | None:
    """Choose a file of the results that is there, and no log."""
    files = [
        path
        for path in sorted(study.results.rglob("*"))
        if path.is_file() and path.stat().st_size and not {"logs", "benchmarks"} & {*path.parts}
    ]
    return rng.choice(files) if files else None


def _on_a_file(change: Callable[[Path], None]) -> Callable[[Running, Study, random.Random], str]:
    """Return a fault that kills the run once it has a file, and changes one of its files."""

    def strike(running: Running, study: Study, rng: random.Random) -> str:
        while running.process.poll() is None and _some_file(study, rng) is None:
            time.sleep(0.1)
        running.signal_all(signal.SIGKILL)
        running.wait()
        file = _some_file(study, rng)
        if file is None:
            return "nothing, because there was no file"
        change(file)
        return str(file.relative_to(study.results))

    return strike


def _cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _empty(file: Path) -> None:
    os.truncate(file, 0)


def _set_back(file: Path) -> None:
    """Set the time of a file back by a day, as a clock that was wrong would have."""
    day_before = file.stat().st_mtime - 24 * 3600
    os.utime(file, (day_before, day_before))


FAULTS = (
    Fault("kill -9 of everything", kill_everything),
    Fault("kill -9 of one job", kill_one_job),
    Fault("kill -9 of the scheduler", kill_the_scheduler, leaves_jobs=True),
    Fault("one Ctrl-C", interrupt),
    Fault("two Ctrl-C", interrupt_twice),
    Fault("SIGTERM", terminate),
    Fault("a second run at once", start_a_second_run),
    Fault("a full disk", fill_the_disk),
    Fault("a file cut in half", _on_a_file(_cut)),
    Fault("a file emptied", _on_a_file(_empty)),
    Fault("a file deleted", _on_a_file(Path.unlink)),
    Fault("a file read-only", _on_a_file(lambda file: file.chmod(0o444))),
    Fault("a file's time a day back", _on_a_file(_set_back)),
)


def finish(study: Study) -> tuple[int, list[str]]:
    """Run the study to its end, doing what its messages ask for.

    Returns:
        How many runs it took, and what was done between them.

    Raises:
        RuntimeError: if it does not end, with what it said last.
    """
    done: list[str] = []
    said = ""
    for run in range(1, MOST_RUNS + 1):
        result = study.run()
        if result.returncode == 0:
            return run, done
        said = result.stdout + result.stderr
        if "--unlock" in said or "LockException" in said:
            study.run("--unlock")
            done.append("unlocked")
        for name in sorted(set(TO_DELETE.findall(said))):
            path = study.folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            done.append(f"deleted {path.relative_to(study.results)}")
    raise RuntimeError(f"the study does not end after {MOST_RUNS} runs:\n{said[-3000:]}")


def drill(
    fault: Fault, folder: Path, environment: dict[str, str], seconds: float, rng: random.Random
) -> tuple[str, dict[str, str]]:
    """Run the study in an empty folder, let the fault strike, and run it to its end.

    Args:
        fault: what happens.
        folder: the folder.
        environment: the environment of the run.
        seconds: how long the run goes on before.
        rng: chooses files and jobs.

    Returns:
        What was done in words, and the checksums of the results.
    """
    study = Study(folder, config(), environment)
    running = Running(study)
    with contextlib.suppress(subprocess.TimeoutExpired):
        running.process.wait(timeout=seconds)
    struck = fault.strike(running, study, rng)
    if not fault.leaves_jobs:
        running.wait()
    runs, done = finish(study)
    between = f"; {', '.join(done)}" if done else ""
    return f"{struck}; {runs} more runs{between}", checksums(study.results)


def undisturbed(folder: Path, environment: dict[str, str]) -> tuple[float, dict[str, str]]:
    """Run the study to its end, and return how many seconds that took and the checksums."""
    study = Study(folder, config(), environment)
    before = time.monotonic()
    study.finish()
    return time.monotonic() - before, checksums(study.results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=26, help="how many faults (default 26)")
    parser.add_argument(
        "--seed", type=int, default=0, help="chooses faults and moments (default 0)"
    )
    parser.add_argument(
        "--only", choices=[fault.name for fault in FAULTS], help="one fault, again and again"
    )
    args = parser.parse_args()
    faults = [fault for fault in FAULTS if args.only in (None, fault.name)]
    rng = random.Random(args.seed)
    wrong = 0
    with warm_environment() as environment, tempfile.TemporaryDirectory() as folder:
        # Two undisturbed runs in two folders must give the same tables.
        seconds, expected = undisturbed(_made(folder, "undisturbed"), environment)
        print(f"an undisturbed run takes {seconds:.0f} s and has {len(expected)} files to compare")
        _, again = undisturbed(_made(folder, "again"), environment)
        print(f"a second run gives {'the same' if again == expected else 'OTHER'} files\n")
        wrong += again != expected

        # Every fault strikes once before one strikes again.
        print("| fault | after | what happened | the results are |\n| --- | --- | --- | --- |")
        for number in range(args.faults):
            fault = faults[number % len(faults)]
            moment = rng.uniform(0.05, 0.95) * seconds
            place = _made(folder, f"fault-{number}")
            try:
                with _disk_of_its_own(place):
                    what, found = drill(fault, place, environment, moment, rng)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                what, found = str(error), {}
            differing = [name for name in expected if found.get(name) != expected[name]]
            wrong += bool(differing)
            verdict = f"**not the same**: {', '.join(differing[:3])}" if differing else "the same"
            print(f"| {fault.name} | {moment:.0f} s | {what} | {verdict} |", flush=True)
            shutil.rmtree(place, ignore_errors=True)
    if wrong:
        sys.exit(f"{wrong} runs did not end with the tables of an undisturbed run")


@contextlib.contextmanager
def _disk_of_its_own(folder: Path) -> Iterator[None]:
    """Mount a small file system in a folder for a while, if that is allowed."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    is_mounted = subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode == 0
    try:
        yield
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _made(folder: str, name: str) -> Path:
    path = Path(folder) / name
    path.mkdir()
    return path


if __name__ == "__main__":
    main()
