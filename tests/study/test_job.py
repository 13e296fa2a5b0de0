"""A job's outputs appear whole or not at all, and its progress says how much time is left."""

import argparse
import errno
import io
import subprocess

import pytest
import torch

from study import job, out_of_memory


def test_an_output_is_not_touched_until_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "result.json"
    job.write_json(path, {"a": 1})

    def fail_half_way():
        with job.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert job.read_json(path) == {"a": 1}
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    for content in ("old", "new"):
        with job.atomic_path(tmp_path / "model") as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["new"]


def test_progress_counts_only_what_this_process_did(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(job.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    progress = job.Progress("align", stream)
    for done in (51, 52, 60):  # resumed at step 50; one step a second from there
        now[0] = float(done - 51) + 20 * (done > 51)
        progress.update(done, 100, "steps", reward=-0.5)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "[align] 52/100 steps, reward -0.5, about 1008 s left"
    progress.update(100, 100, "steps")
    assert stream.getvalue().splitlines()[-1] == "[align] 100/100 steps"


def test_nothing_is_said_of_the_time_left_before_a_second_report(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(job.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    progress = job.Progress("decode", stream)
    now[0] = 40.0
    progress.update(80, 800, "completions")
    assert stream.getvalue() == "[decode] 80/800 completions\n"


def test_a_job_says_how_long_it_took_from_its_start(monkeypatch, capfd):
    """And not from its first report, before which models are loaded."""
    now = [0.0]
    monkeypatch.setattr(job.time, "monotonic", lambda: now[0])
    args = argparse.Namespace(log=None, threads=1, settings={})
    with job.running("decode", args) as progress:
        for done in (1, 2):
            now[0] += 30.0
            progress.update(done, 2, "batches")
    assert "[decode] done in 60 s" in capfd.readouterr().err


def said_of(error: Exception, capfd, **options) -> str:
    """What a job says on the terminal that ends with this error."""
    args = argparse.Namespace(log=None, threads=1, settings={}, **options)
    with pytest.raises(type(error)), job.running("align", args):
        raise error
    return capfd.readouterr().err


def test_a_job_without_memory_names_the_key_that_helps(capfd, tmp_path):
    on_gpu = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    said = said_of(on_gpu, capfd, checkpoints=tmp_path)
    begun = (
        "failed: OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. The memory is"
    )
    assert begun in said
    assert "micro_batch_size" in said
    assert "gradient_checkpointing: true" in said

    said = said_of(on_gpu, capfd)  # a job that trains nothing
    assert "`batch_size` in the config, in the section `evaluation`" in said
    assert "micro_batch_size" not in said


def test_a_full_memory_without_a_gpu_is_told_alike(capfd):
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)  # more than any machine has
    assert "The memory is full" in said_of(caught.value, capfd)
    assert "The memory is full" in said_of(MemoryError(), capfd)
    assert "The memory is full" not in said_of(ValueError("a wrong value"), capfd)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "x.parquet"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("Error while serializing: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_said_to_be_full(error, capfd):
    said = said_of(error, capfd)
    assert "The disk is full: free some space and run the study again" in said
    wrapped = RuntimeError("cannot write")
    wrapped.__cause__ = error
    assert "The disk is full" in said_of(wrapped, capfd)
    assert "The disk is full" not in said_of(OSError(errno.EACCES, "Permission denied"), capfd)


@pytest.mark.parametrize(
    ("name", "said"), [("SEGV", "ended by the signal 11 (SIGSEGV)"), ("INT", ""), ("TERM", "15")]
)
def test_of_a_job_that_another_signal_ends_the_shell_names_it(name, said):
    script = f"{out_of_memory.SAY_IF_KILLED} sh -c 'kill -{name} $$'"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert said in result.stderr
    assert "micro_batch_size" not in result.stderr


@pytest.mark.parametrize(("command", "told"), [("kill -9 $$", True), ("exit 1", False)])
def test_of_a_job_that_the_system_kills_the_shell_says_what_helps(command, told):
    """Snakemake runs a job like this, as one command in bash."""
    script = f"{out_of_memory.SAY_IF_KILLED} sh -c {command!r}"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert result.returncode == (137 if told else 1)
    assert ("gradient_checkpointing" in result.stderr) == told
    assert ("section `evaluation`" in result.stderr) == told
