"""Outputs never destroy inputs, one process writes a file, and a complete file has been counted."""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dera.cli import main
from dera.cli.output import write_atomically
from dera.cli.sweep_table import sweep_table
from tests.dera.cli.rows import read_rows

ROOT = Path(__file__).parents[3]
PROMPTS = ["w3 w4 w5", "w8", "w9 w2"]
OPTIONS = ["--samples", "2", "--batch-size", "4", "--max-new-tokens", "4", "--quiet"]
SWEEP = ["--lams", "0,0.5,2", *OPTIONS]
#: What such a sweep has, by hand: prompt_id, lam and sample of each row.
PLAN = list(itertools.product(range(3), (0, 0.5, 2), range(2)))


@pytest.fixture(scope="module")
def finished(llamas, tmp_path_factory):
    """The folder of a complete sweep, in the file sweep.jsonl."""
    folder = tmp_path_factory.mktemp("finished")
    words = ["sweep", *llamas, *PROMPTS, *SWEEP, "--output", str(folder / "sweep.jsonl")]
    assert main(words) == 0
    return folder


@pytest.fixture
def place(llamas, tmp_path):
    """A folder with two models, an adapter, prompts and a metric, and links to some of them."""
    for name, folder in zip(("reference", "aligned"), llamas, strict=True):
        shutil.copytree(folder, tmp_path / name)
    (tmp_path / "adapter").mkdir()
    settings = {"base_model_name_or_path": str(tmp_path / "reference")}
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(settings))
    (tmp_path / "p.jsonl").write_text('{"prompt": "w3 w4"}\n{"prompt": "w5"}\n')
    (tmp_path / "p.txt").write_text("w3 w4\nw5\n")
    (tmp_path / "judge.py").write_text(
        "def count(prompts, texts):\n    return [len(t) for t in texts]\n"
    )
    (tmp_path / "soft.jsonl").symlink_to(tmp_path / "p.jsonl")
    (tmp_path / "hard.jsonl").hardlink_to(tmp_path / "p.jsonl")
    (tmp_path / "folder").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "weights.json").hardlink_to(tmp_path / "aligned" / "model.safetensors")
    (tmp_path / "out").mkdir()
    return tmp_path


def contents(folder):
    """Return the bytes of every file below a folder, by path; links are not followed."""
    return {
        path: path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


COMMANDS = {
    "generate": ["--lam", "1", "--prompts", "p.jsonl"],
    "sweep": ["--lams", "1", "--prompts", "p.jsonl", "--metric", "judge.py:count"],
    "tune": ["--prompts", "p.jsonl", "--metric", "judge:count"],
    "diagnose": ["--prompts", "p.jsonl"],
}
PROMPTS_LOST = "would destroy the input --prompts p.jsonl"
LOSSES = [
    *((command, "p.jsonl", PROMPTS_LOST) for command in COMMANDS),
    ("generate", "./out/../p.jsonl", PROMPTS_LOST),
    ("generate", "soft.jsonl", PROMPTS_LOST),
    ("sweep", "hard.jsonl", PROMPTS_LOST),
    ("diagnose", "folder/p.jsonl", PROMPTS_LOST),
    ("sweep", "judge.py", "would destroy the metric's file judge.py"),
    ("tune", "judge.py", "would destroy the metric's file judge.py"),
    ("diagnose", "aligned/config.json", "is among the files of the aligned model aligned"),
    ("tune", "reference/new.json", "is among the files of the reference model reference"),
    ("sweep", "folder/reference/new.json", "is among the files of the reference model"),
    ("diagnose", "weights.json", "is among the files of the aligned model aligned"),
]


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(("command", "output", "message"), LOSSES)
def test_an_output_that_is_an_input_is_refused_and_nothing_is_touched(
    command, output, message, place, dera, monkeypatch
):
    monkeypatch.chdir(place)
    before = contents(place)
    words = [*COMMANDS[command], *OPTIONS, "--output", output]
    status, out, err = dera(command, "reference", "aligned", *words)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert contents(place) == before


@pytest.mark.usefixtures("no_model")
def test_the_base_of_an_adapter_and_what_is_written_beside_an_output_count_too(
    place, dera, monkeypatch
):
    monkeypatch.chdir(place)
    words = ["w3", "--lam", 1, "--output", "reference/x.jsonl"]
    assert "the base of the aligned model" in dera("generate", "aligned", "adapter", *words)[2]
    (place / "x.meta.json").hardlink_to(place / "p.jsonl")
    words = ["--lam", 1, "--prompts", "p.jsonl", "--output", "x"]
    assert "where x.meta.json is written too" in dera("generate", "reference", "aligned", *words)[2]


def test_naming_another_file_helps_and_a_link_is_written_through(place, dera, monkeypatch):
    monkeypatch.chdir(place)
    before = contents(place)
    (place / "link.jsonl").symlink_to(place / "out" / "real.jsonl")
    words = [*COMMANDS["generate"], *OPTIONS, "--output", "link.jsonl"]
    assert dera("generate", "reference", "aligned", *words)[0] == 0
    assert (place / "link.jsonl").is_symlink()
    assert len(read_rows(place / "out" / "real.jsonl")) == 4
    added = set(contents(place)) - set(before)
    assert added == {place / "out" / "real.jsonl"}
    assert {path: contents(place)[path] for path in before} == before


@pytest.mark.usefixtures("no_model")
def test_what_is_no_file_cannot_be_an_output(tmp_path, llamas, dera):
    (tmp_path / "round").symlink_to(tmp_path / "round")
    os.mkfifo(tmp_path / "pipe")
    refused = {
        "round": "is a link that leads nowhere",
        "pipe": "is a device or a pipe",
        "x" * 250: "its name is too long",
    }
    for name, message in refused.items():
        words = ["w3", "--lam", 1, "--output", tmp_path / name]
        status, _, err = dera("generate", *llamas, *words)
        assert status == 2
        assert message in err
    assert sorted(os.listdir(tmp_path)) == ["pipe", "round"]


@pytest.mark.parametrize(("stream", "name"), [("stdin", "input"), ("stdout", "output")])
def test_a_stream_that_is_the_output_is_refused(stream, name, tmp_path, llamas):
    path = tmp_path / "p.txt"
    path.write_text("w3\nw4\n")
    words = ["generate", *llamas, "--lam", "1", "--output", str(path)]
    if stream == "stdout":
        words.append("w3")
    with path.open("r+") as file:
        result = process(words, **{stream: file}).communicate()
    assert f"would destroy the file of standard {name}" in result[1]
    assert path.read_text() == "w3\nw4\n"


def process(words, **options):
    """Start the command as a process of its own."""
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen([sys.executable, "-m", "dera", *words], cwd=ROOT, **pipes | options)


@pytest.fixture
def waiting(llamas, tmp_path):
    """A sweep in a process of its own that waits in its first batch, its words and its output."""
    (tmp_path / "judge.py").write_text(
        "import os, sys\n"
        "def count(prompts, texts):\n"
        "    if 'JUDGE_WAITS' in os.environ:\n"
        "        print('judging', flush=True)\n"
        "        sys.stdin.readline()\n"
        "    return [len(text) for text in texts]\n"
    )
    output = tmp_path / "two.jsonl"
    metric = ["--metric", f"{tmp_path / 'judge.py'}:count", "--output", str(output)]
    words = ["sweep", *llamas, *PROMPTS, *SWEEP, *metric]
    first = process(words, env=os.environ | {"JUDGE_WAITS": "1"})
    assert first.stdout.readline() == "judging\n", first.communicate()
    yield first, words, output
    first.kill()
    first.communicate()


def test_of_two_sweeps_to_one_file_one_is_refused_and_the_other_is_complete(waiting):
    first, words, output = waiting
    second = process(words)
    _, err = second.communicate()
    assert second.returncode == 2
    assert f"another process writes {output} already: process {first.pid} on" in err
    assert err.count("\n") == 1
    # The remedy: wait until it has ended.
    out, err = first.communicate("\n" * 10)
    assert first.returncode == 0, err
    assert [(r["prompt_id"], r["lam"], r["sample"]) for r in read_rows(output)] == PLAN
    table = sweep_table(read_rows(output))
    assert out.endswith(table + "\n")
    assert main(words) == 0
    assert not list(output.parent.glob(".*"))


def test_the_lock_of_a_killed_process_locks_nothing(llamas, tmp_path, dera):
    """A holder that does not clean up leaves its file behind, and that file does no harm."""
    output = tmp_path / "x.jsonl"
    program = (
        "import sys, pathlib\n"
        "from dera.cli.lock import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n"
        "    print('locked', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    command = [sys.executable, "-c", program, str(output)]
    words = ["generate", *llamas, "w3", "--lam", 1, *OPTIONS, "--output", output]
    with subprocess.Popen(command, cwd=ROOT, **pipes) as holder:
        assert holder.stdout.readline() == "locked\n"
        status, _, err = dera(*words)
        assert status == 2
        assert f"another process writes {output} already: process {holder.pid} on" in err
        assert dera(*words[:-1], tmp_path / "other.jsonl")[0] == 0  # one of the two remedies
        holder.send_signal(signal.SIGKILL)
    lock = tmp_path / ".x.jsonl.lock"
    assert json.loads(lock.read_text())["pid"] == holder.pid
    assert dera(*words)[0] == 0
    assert len(read_rows(output)) == 2
    assert not lock.exists()


def without(lines, number):
    return [line for place, line in enumerate(lines) if place != number]


def changed(lines, number, **values):
    """Return the lines with other values in one row; a value of ... takes the column away."""
    row = json.loads(lines[number]) | values
    row = {name: value for name, value in row.items() if value is not ...}
    return [*lines[:number], json.dumps(row).encode() + b"\n", *lines[number + 1 :]]


WRONG = {
    "too few": (
        lambda lines: lines[:7],
        "has 7 of 18 rows: the first that is missing has prompt_id 1",
    ),
    "none": (lambda lines: [], "has 0 of 18 rows"),
    "a hole": (lambda lines: without(lines, 9), "has prompt_id 1, lam 0.5 and sample 1"),
    "a double": (lambda lines: [*lines, lines[4]], "line 19: the row is there twice"),
    "a double for another": (lambda lines: changed(lines, 0, sample=1), "the row is there twice"),
    "another lam": (lambda lines: changed(lines, 3, lam=0.25), "line 4: the row is not one of"),
    "another prompt": (
        lambda lines: changed(lines, 0, prompt="w4"),
        "line 1: the row is not one of",
    ),
    "a list": (lambda lines: changed(lines, 2, lam=[0]), "line 3: the row is not one of"),
    "no number": (lambda lines: changed(lines, 2, tokens="x"), "line 3: the row is not one of"),
    "no column": (lambda lines: changed(lines, 2, log_weight=...), "line 3: the row is not one of"),
    "not JSON": (
        lambda lines: [*lines[:5], b"\x00\xff\n", *lines[6:]],
        "line 6: the row is not one",
    ),
    "deep": (lambda lines: [*lines, b"[" * 100_000], "line 19: the row is not one of"),
    "cut off": (lambda lines: [*lines[:17], lines[17][:20]], "line 18: the row is not one of"),
}


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize("wrong", WRONG)
def test_a_complete_file_without_a_row_for_each_request_is_refused(
    wrong, llamas, finished, tmp_path, dera
):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    output = tmp_path / "sweep.jsonl"
    change, message = WRONG[wrong]
    output.write_bytes(b"".join(change(output.read_bytes().splitlines(keepends=True))))
    before = contents(tmp_path)
    status, out, err = dera("sweep", *llamas, *PROMPTS, *SWEEP, "--output", output)
    assert (status, out) == (2, "")
    assert message in err
    assert f"Delete {output} to start over, or name another file with --output" in err
    assert contents(tmp_path) == before


def test_deleting_the_file_helps(llamas, finished, tmp_path, dera):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    output = tmp_path / "sweep.jsonl"
    whole = output.read_bytes()
    output.unlink()
    assert dera("sweep", *llamas, *PROMPTS, *SWEEP, "--output", output)[0] == 0
    assert output.read_bytes() == whole


@pytest.mark.usefixtures("no_model")
def test_the_order_of_the_rows_is_free(llamas, finished, tmp_path, dera):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    output = tmp_path / "sweep.jsonl"
    table = sweep_table(read_rows(output))
    lines = output.read_text().splitlines()
    random.Random(0).shuffle(lines)
    output.write_text("\n".join(lines))  # without a last end of line, as editors leave it
    status, out, err = dera("sweep", *llamas, *PROMPTS, *SWEEP, "--output", output)
    assert (status, out) == (0, table + "\n"), err


@pytest.mark.parametrize("wrong", ["a hole", "another lam", "a double for another", "no column"])
def test_wrong_rows_of_an_unfinished_sweep_are_decoded_again(
    wrong, llamas, finished, tmp_path, dera
):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    output = tmp_path / "sweep.jsonl"
    whole = output.read_bytes()
    change, _ = WRONG[wrong]
    lines = change(whole.splitlines(keepends=True))
    (tmp_path / "sweep.jsonl.partial").write_bytes(b"".join(lines))
    output.unlink()
    status, _, err = dera("sweep", *llamas, *PROMPTS, *SWEEP, "--output", output)
    assert status == 0
    assert "this is not the row that belongs here" in err
    assert output.read_bytes() == whole


@pytest.mark.usefixtures("no_model")
def test_a_file_that_is_not_the_sweep_s_is_not_replaced_by_its_settings(tmp_path, llamas, dera):
    """The settings of `x` stand in `x.meta.json`, which may be a file of the user."""
    mine = tmp_path / "x.meta.json"
    mine.write_text('{"mine": 1}\n')
    for command, words in (("sweep", ["--lams", 1]), ("diagnose", [])):
        arguments = [*PROMPTS, *words, "--output", tmp_path / "x"]
        status, _, err = dera(command, *llamas, *arguments)
        assert status == 2
        assert f"the settings are to be kept in {mine}, which holds something else" in err
    assert mine.read_text() == '{"mine": 1}\n'


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "half an emoji: \ud83d")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.json"]
