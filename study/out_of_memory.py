"""What a job says that has no memory left, and what is said of one that was killed for it.

`python -m study.out_of_memory STATUS` says the second. Bash calls it when a signal has ended a job.
The status is 137 where that was signal 9, which the system sends when the memory is full.
"""

from __future__ import annotations

import argparse
import signal

#: What needs less memory. A training has other keys for it than a job that samples.
FOR_TRAINING = (
    "lower `micro_batch_size` of this training in the config, or set `gradient_checkpointing: true`"
    " there; the steps stay the same"
)
FOR_SAMPLING = (
    "lower `batch_size` in the config, in the section `evaluation`, `preferences` or "
    "`demonstrations`, whichever this job reads"
)
FEWER_JOBS = "Or run fewer jobs at once, with `--cores 1`, or with `--resources gpu=1` on a GPU"

#: What stands before the command of a job in bash.
SAY_IF_KILLED = (
    "trap 'status=$?; [ $status -le 128 ] || python -m study.out_of_memory $status >&2' EXIT; "
)
#: Bash adds this to the number of the signal that ended a process.
BY_SIGNAL = 128


def remedy(error: Exception, args: argparse.Namespace) -> str:
    """Return what a job can do that has failed for want of memory, or an empty text.

    torch has a kind of error for a GPU. On a CPU it raises a RuntimeError.

    Args:
        error: what the job has raised.
        args: its arguments. Those of a training have a folder for checkpoints.
    """
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if not kinds & {"OutOfMemoryError", "MemoryError"} and "allocate memory" not in str(error):
        return ""
    knob = FOR_TRAINING if hasattr(args, "checkpoints") else FOR_SAMPLING
    return f". The memory is full: {knob}. {FEWER_JOBS}"


def killed(status: int) -> str:
    """Return what is said of a job that a signal has ended; nothing where a person stopped it.

    Args:
        status: what bash has as its exit status.
    """
    number = status - BY_SIGNAL
    if number == signal.SIGINT:
        return ""
    if number != signal.SIGKILL:
        name = signal.Signals(number).name if number in list(signal.Signals) else "unknown"
        return f"A job was ended by the signal {number} ({name})."
    return (
        "A job was killed, most likely because the memory was full. If it is a training, "
        f"{FOR_TRAINING}. If it is not, {FOR_SAMPLING}. {FEWER_JOBS}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("status", type=int, help="the exit status of the job")
    said = killed(parser.parse_args().status)
    if said:
        print(said)


if __name__ == "__main__":
    main()
