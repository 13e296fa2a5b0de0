"""Run a tiny study through Slurm, on a cluster that this machine alone makes up.

The script starts the real daemons of Slurm and munge, which talk over loopback. It runs the study
once without Slurm, and once through `profiles/slurm`. Meanwhile it kills a training that has
written a checkpoint, as a node's memory guard would, and lets Slurm requeue another job, as it does
with one that a more urgent job displaces. The study must end all the same, the training must have
resumed from its checkpoint, and the results must be those without Slurm, byte for byte.

    apt-get install --no-install-recommends slurmctld slurmd slurm-client munge
    pip install -r envs/clusters.txt
    python -m tests.slurm_trial        # as root; about a quarter of an hour on two cores
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil

from tests.fault_drill import checksums, config
from tests.workflow.conftest import Study
from tests.workflow.studies import ROOT
from training.callbacks import SecondsCallback

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
#: Where Debian's Slurm looks for its configuration. Snakemake takes SLURM_CONF from its jobs.
CONFIGURATION = Path("/etc/slurm/slurm.conf")
#: Without accounting, squeue is asked how jobs ended. The waits are short, because jobs are. What a
#: job says is kept, because it says whether it resumed.
OPTIONS = (
    *("--slurm-status-command", "squeue"),
    *("--slurm-init-seconds-before-status-checks", "2"),
    *("--seconds-between-status-checks", "2"),
    *("--latency-wait", "10"),
    "--slurm-keep-successful-logs",
)
#: Something that is waited for has come to pass after so many seconds, or never will.
LONGEST = 900
#: One node, which is this machine. It tracks processes without control groups, and is taken to have
#: the memory that jobs ask for.
CLUSTER = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdSpoolDir={folder}/spool
StateSaveLocation={folder}/state
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={processors} RealMemory={megabytes} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=UNLIMITED State=UP
"""

Found = TypeVar("Found")


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """Start the daemons of a cluster of one node, and stop them at the end."""
    # Write the key and the configuration. Each job asks for 8,000 MB.
    for name in ("spool", "state"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    processors = os.cpu_count() or 1
    host = socket.gethostname().split(".")[0]
    settings = CLUSTER.format(
        host=host, folder=folder, processors=processors, megabytes=8000 * processors
    )
    CONFIGURATION.parent.mkdir(exist_ok=True)
    CONFIGURATION.write_text(settings)

    # Start the daemons in the foreground, so that they end with this script.
    munge = ["munged", "--foreground", "--force", f"--key-file={key}"]
    munge += [f"--{kind}-file={folder}/munge.{kind}" for kind in ("pid", "log", "seed")]
    munge += [f"--socket={folder}/munge.socket"]
    daemons = []
    try:
        for command in (munge, ["slurmctld", "-D"], ["slurmd", "-D", "-N", host]):
            log = (folder / f"{command[0]}.out").open("w")
            daemons.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT))
            time.sleep(2)
        wait_for(lambda: "idle" in asked("sinfo", "--noheader"), "the node is idle")
        yield
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(timeout=30)
        CONFIGURATION.unlink()


def asked(*command: str) -> str:
    """Return what one of Slurm's commands says."""
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return run.stdout.strip()


def wait_for(look: Callable[[], Found], what: str) -> Found:
    """Look again and again until something is found, and return it.

    Raises:
        TimeoutError: if nothing is found in time.
    """
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    raise TimeoutError(f"after {LONGEST} s it is not so that {what}")


class OnSlurm:
    """A study that runs through `profiles/slurm`, in the background.

    Args:
        study: the study.
        said: the file for what Snakemake says.
    """

    def __init__(self, study: Study, said: Path):
        command = study.command(*OPTIONS)
        cores = command.index("--cores")
        del command[cores : cores + 2]
        command[command.index("--workflow-profile") + 1] = str(ROOT / "profiles/slurm")
        with said.open("w") as output:
            self.process = subprocess.Popen(
                command, env=study.environment, stdout=output, stderr=subprocess.STDOUT
            )

    def check_runs(self) -> None:
        """Check that it has not ended.

        Raises:
            RuntimeError: if it has.
        """
        if self.process.poll() is not None:
            raise RuntimeError(f"the study ended early, with status {self.process.returncode}")

    def kill_a_training(self) -> str:
        """Kill a training that has written a checkpoint, and return the folder of its model.

        The jobs run on this machine, so their processes are seen here.
        """

        def training() -> str:
            self.check_runs()
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error, ValueError):
                    command = process.cmdline()
                    if command[1:3] != ["-m", "training.align"]:
                        continue
                    checkpoints = Path(process.cwd(), _option(command, "--checkpoints"))
                    if list(checkpoints.glob(f"*/checkpoint-*/{SecondsCallback.FILE}")):
                        process.kill()
                        return _option(command, "--output")
            return ""

        return wait_for(training, "a training runs and has written a checkpoint")

    def requeue_a_job(self) -> str:
        """Let Slurm put a running job back into the queue, and return what squeue says of it.

        Raises:
            RuntimeError: if Slurm does not do so.
        """

        def running() -> str:
            self.check_runs()
            lines = asked("squeue", "--noheader", "--states=R", "--format=%i %k")
            decoding = [line for line in lines.splitlines() if "decode" in line]
            return decoding[0] if decoding else ""

        line = wait_for(running, "a job that decodes is running")
        number = line.split()[0]
        asked("scontrol", "requeue", number)
        if "Restarts=1" not in asked("scontrol", "show", "job", number):
            raise RuntimeError(f"Slurm has not requeued job {line}")
        return line


def _option(command: list[str], name: str) -> str:
    """Return what follows an option in a command."""
    return command[command.index(name) + 1]


def main() -> None:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        sys.exit(f"{', '.join(missing)} not found: the docstring of this script says what it needs")
    if CONFIGURATION.exists():
        sys.exit(f"{CONFIGURATION} exists: this machine belongs to a cluster, which is left alone")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("alone", "slurm", "cluster"):
            (folder / name).mkdir()

        # Run the study without Slurm.
        alone = Study(folder / "alone", config(), dict(os.environ))
        alone.finish()
        expected = checksums(alone.results)
        print(f"without Slurm the study ends, with {len(expected)} files to compare", flush=True)

        # Run it through Slurm, and disturb it.
        said = folder / "slurm.out"
        with cluster(folder / "cluster"):
            print(f"a cluster of one node:\n{asked('sinfo')}", flush=True)
            study = Study(folder / "slurm", config(), dict(os.environ))
            run = OnSlurm(study, said)
            try:
                print(f"kill -9 of the training of {run.kill_a_training()}", flush=True)
                print(f"scontrol requeue of job {run.requeue_a_job()}", flush=True)
                status = run.process.wait(timeout=4 * LONGEST)
            except (RuntimeError, TimeoutError, subprocess.TimeoutExpired) as error:
                sys.exit(f"{said.read_text()[-5000:]}\n{error}")
            finally:
                run.process.kill()
            jobs = asked("squeue", "--states=all", "--noheader", "--format=%T")
        print(f"how the jobs ended that Slurm remembers: {dict(Counter(jobs.split()))}")

        # It must have ended, resumed and come to the same results.
        logs = study.folder.glob(".snakemake/slurm_logs/rule_align/**/*.log")
        has_resumed = any("resuming from" in path.read_text() for path in logs)
        found = checksums(study.results)
        differing = [name for name in expected if found.get(name) != expected[name]]
        print(f"the study ended with status {status}")
        print(f"a training resumed from its checkpoint: {has_resumed}")
        print(f"files that differ from those without Slurm: {differing or 'none'}")
        if status or differing or not has_resumed:
            sys.exit(f"{said.read_text()[-5000:]}\nthe study did not survive on Slurm")


if __name__ == "__main__":
    main()
