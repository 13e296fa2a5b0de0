"""A Python that has imported the libraries already, from which jobs of small workflows start.

A job of a tiny study works for a second or two, but it takes eight to import torch, transformers
and trl, and a study has fifty jobs or more. A server therefore imports these libraries once.
Whoever runs `python -m MODULE` through the client asks the server for a fork of itself, which runs
MODULE with the client's arguments, folder, environment and standard streams. The server imports
nothing of this project: each job imports the project's code from where any other process would.

    python -P warm_python.py serve SOCKET
        The server. It ends when its standard input is closed.
    python -I -S warm_python.py run SOCKET -m MODULE ARGUMENT ...
        The client. It ends with the exit status of the job.
    python -P warm_python.py with COMMAND ARGUMENT ...
        Run a command, such as snakemake, in which `python -m MODULE` is the client of a server.

A job dies when its client is killed, so killing what Snakemake has started has the usual effect.
"""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIBRARIES = (
    "torch",
    "transformers.models.llama.modeling_llama",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "peft",
    "trl.trainer.dpo_trainer",
    "trl.trainer.reward_trainer",
    "trl.trainer.rloo_trainer",
    "trl.trainer.sft_trainer",
    "datasets",
    "evaluate",
    "jsonschema",
    "markdown_it",
    "matplotlib.pyplot",
    "pandas",
    "pyarrow.parquet",
    "pydantic.dataclasses",
    "scipy.special",
    "scipy.stats",
)
STANDARD_STREAMS = (0, 1, 2)
KILLED = 128 + signal.SIGKILL


def serve(path: str) -> None:
    """Import the libraries, then answer each connection to `path` with a fork that runs one job."""
    import importlib
    import select

    for library in LIBRARIES:
        importlib.import_module(library)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system removes the jobs that have ended
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            os._exit(answer(connection))
        connection.close()


def answer(connection: socket.socket) -> int:
    """Run the job that the client asks for in this process, and tell the client its exit status."""
    import threading
    import traceback

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        module = take_over(connection)
        threading.Thread(target=die_with_client, args=(connection,), daemon=True).start()
        status = run_module(module)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(bytes([status]))
    return status


def take_over(connection: socket.socket) -> str:
    """Take the client's streams, folder, environment and arguments, and return its module."""
    length, streams, _, _ = socket.recv_fds(connection, 8, len(STANDARD_STREAMS))
    with connection.makefile("rb") as incoming:
        request = json.loads(incoming.read(int.from_bytes(length, "big")))
    for stream, standard in zip(streams, STANDARD_STREAMS, strict=True):
        os.dup2(stream, standard)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    on_path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [request["folder"], *filter(None, on_path)]
    module, *arguments = request["arguments"]
    sys.argv = [module, *arguments]  # the module's path takes the first place when it runs
    return module


def run_module(module: str) -> int:
    """Run a module as `python -m` does, and return its exit status."""
    import runpy

    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as stopped:
        if stopped.code is None or isinstance(stopped.code, int):
            return (stopped.code or 0) & 0xFF
        print(stopped.code, file=sys.stderr)
        return 1
    return 0


def die_with_client(connection: socket.socket) -> None:
    """Wait until the client has gone, then kill this process, whatever it is doing."""
    connection.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


def ask(path: str, arguments: list[str]) -> int:
    """Have the server at `path` run `-m MODULE ARGUMENT ...`, and return the job's exit status."""
    if arguments[:1] != ["-m"]:
        os.execv(sys.executable, [sys.executable, *arguments])
    request = {
        "arguments": arguments[1:],
        "folder": os.getcwd(),
        "environment": dict(os.environ),
    }
    text = json.dumps(request).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        socket.send_fds(connection, [len(text).to_bytes(8, "big")], STANDARD_STREAMS)
        connection.sendall(text)
        status = connection.recv(1)
    return status[0] if status else KILLED


@contextmanager
def warm_environment() -> Iterator[dict[str, str]]:
    """Start a server, and yield an environment in which `python` is its client."""
    this_file = shlex.quote(str(Path(__file__).resolve()))
    python = shlex.quote(sys.executable)
    with tempfile.TemporaryDirectory() as folder:  # its path is short, as that of a socket must be
        path = Path(folder) / "socket"
        client = Path(folder) / "python"
        client.write_text(f'#!/bin/sh\nexec {python} -I -S {this_file} run {path} "$@"\n')
        client.chmod(0o755)
        server = subprocess.Popen(
            [sys.executable, "-P", __file__, "serve", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},  # it is too late for a job to choose
        )
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            if server.stdout.readline() != "ready\n":
                raise RuntimeError("the server has ended before it was ready")
            paths = [folder, str(Path(sys.executable).parent), os.environ["PATH"]]
            yield {**os.environ, "PATH": os.pathsep.join(paths)}
        finally:
            server.stdin.close()
            server.wait()


def main() -> int:
    command, *rest = sys.argv[1:]
    if command == "serve":
        serve(rest[0])
        return 0
    if command == "run":
        return ask(rest[0], rest[1:])
    with warm_environment() as environment:
        return subprocess.run(rest, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
