"""A table that is not what its job wrote stops the study by its name."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from matplotlib import pyplot as plt

from figures import style
from study import job, outputs


@pytest.fixture
def results(tmp_path, monkeypatch) -> Path:
    """The results of a job that wrote a table and a folder with another one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(job, "_send_output_to", lambda log: log.parent.mkdir(parents=True))
    monkeypatch.setattr(job.sys, "argv", ["job"])
    folder = Path("results/toy")
    args = argparse.Namespace(log=folder / "logs/make.log", threads=1, settings={})
    with job.running("make", args):
        with job.atomic_path(folder / "policies.csv") as path:
            pd.DataFrame({"kind": ["reference", "dera"], "lam": [0, 1]}).to_csv(path, index=False)
        with job.atomic_path(folder / "samples") as path:
            path.mkdir()
            pd.DataFrame({"prompt_id": range(9)}).to_parquet(path / "completions.parquet")
            job.write_json(path / "decoding.json", {"seed": 0})
    return folder


def said(results: Path, capsys) -> str:
    """What is said of the results by the workflow, which then exits."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        outputs.check_or_exit(results)
    assert ended.value.code == 1
    return capsys.readouterr().err


def test_what_a_job_wrote_passes_wherever_and_whenever_it_is_copied(results):
    for file in results.rglob("*.csv"):
        os.utime(file, (0, 0))
    outputs.check_or_exit(results)
    outputs.check_or_exit(results.with_name("none"))


def test_a_table_without_one_policy_is_named(results, capsys):
    table = results / "policies.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    assert said(results, capsys).startswith(
        f"error: {table} is not what its job wrote: it has 21 bytes, and had 28. Delete {table} and"
    )


def test_an_empty_table_is_named(results, capsys):
    (results / "policies.csv").write_text("")
    assert "policies.csv is not what its job wrote: it is empty, and had" in said(results, capsys)


def test_a_value_that_was_edited_is_noticed(results, capsys):
    table = results / "policies.csv"
    table.write_text(table.read_text().replace("dera,1", "dera,2"))
    os.utime(table, (0, 0))
    assert "policies.csv is not what its job wrote: its content has changed" in said(
        results, capsys
    )


@pytest.mark.parametrize("name", ["completions.parquet", "decoding.json"])
def test_of_a_folder_the_file_is_named_and_the_folder_is_to_be_deleted(results, capsys, name):
    (results / "samples" / name).write_bytes(b"")
    message = said(results, capsys)
    assert message.startswith(f"error: {results / 'samples' / name} is not")
    assert f"Delete {results / 'samples'} and run" in message


def test_what_is_deleted_as_the_message_says_stops_nothing(results):
    (results / "policies.csv").unlink()
    outputs.check_or_exit(results)


def test_a_file_that_is_gone_from_a_folder_is_named(results, capsys):
    (results / "samples/completions.parquet").unlink()
    assert "completions.parquet is not what its job wrote: it is gone. Delete" in said(
        results, capsys
    )


def test_a_folder_that_is_deleted_stops_nothing(results):
    shutil.rmtree(results / "samples")
    outputs.check_or_exit(results)


@pytest.mark.parametrize("kind", ["pdf", "png"])
def test_a_figure_that_was_cut_is_named(results, capsys, monkeypatch, kind):
    folder = results / "figures"
    folder.mkdir()
    pd.DataFrame({"lam": [0, 1]}).to_csv(folder / "table.csv")
    paths = {name: str(folder / f"drawn.{name}") for name in ("pdf", "png")}
    options = ["--table", str(folder / "table.csv"), "--log", str(folder / "drawn.log")]
    options += ["--pdf", paths["pdf"], "--png", paths["png"]]
    monkeypatch.setattr(style.sys, "argv", ["draw", *options])
    style.run(lambda tables: plt.figure(), "", ["table"])
    outputs.check_or_exit(results)
    os.truncate(paths[kind], 100)
    assert f"drawn.{kind} is not what its job wrote: it has 100 bytes" in said(results, capsys)


def test_a_job_that_is_killed_leaves_no_record_of_an_earlier_one(results, monkeypatch):
    args = argparse.Namespace(log=results / "logs/make.log", threads=1, settings={})
    monkeypatch.setattr(job, "_send_output_to", lambda log: None)

    class Killed(BaseException):
        """What no job catches, as no job catches a signal."""

    def half_a_job():
        with job.running("make", args):
            with job.atomic_path(results / "policies.csv") as path:
                path.write_text("kind,lam\nreference,0\n")
            raise Killed

    with pytest.raises(Killed):
        half_a_job()
    outputs.check_or_exit(results)
