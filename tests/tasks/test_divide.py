"""A table is divided by prompt, so that no prompt is learnt from and measured on."""

from __future__ import annotations

import json
import sys
from collections import Counter

import pytest

from tasks.corpora import columns, divide, tables
from tasks.corpora.tables import TableError

#: 30 prompts of one to three rows each; blanks around a prompt make no other prompt of it.
ROWS = [
    {"asked": f"Q{number}?" + " " * (number % 2), "good": f"yes {number}", "bad": f"no {number}"}
    for number in range(60)
]
for number, row in enumerate(ROWS):
    row["asked"] = f"Q{number % 25 if number < 50 else number}?" + " " * (number % 2)
OPTIONS = ["--columns", "prompt=asked", "chosen=good", "rejected=bad"]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "all.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def run(monkeypatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["divide", *map(str, arguments)])
    divide.main()


def read(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_row_is_kept_once_and_no_prompt_is_in_two_files(table, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run(monkeypatch, table, out, *OPTIONS, "--test", 8, "--validation", 5)
    splits = {name: read(out / f"{name}.jsonl") for name in ("train", "validation", "test")}
    prompts = {name: {row["asked"].strip() for row in rows} for name, rows in splits.items()}
    assert [len(prompts[name]) for name in ("train", "validation", "test")] == [22, 5, 8]
    assert sum(map(len, prompts.values())) == len(set.union(*prompts.values())) == 35

    # Of a held-out prompt there is one row, of any other there are all; no row is changed.
    assert len(splits["test"]) == 8
    everything = [json.dumps(row) for row in ROWS]
    for rows in splits.values():
        assert {json.dumps(row) for row in rows} <= set(everything)
    kept = Counter(row["asked"].strip() for row in splits["train"])
    there = Counter(row["asked"].strip() for row in ROWS)
    assert kept == Counter({prompt: there[prompt] for prompt in prompts["train"]})


def test_the_files_are_what_a_study_accepts(table, tmp_path, monkeypatch):
    run(monkeypatch, table, tmp_path / "out", *OPTIONS, "--test", 8, "--validation", 5)
    settings = {"columns": {"prompt": "asked", "chosen": "good", "rejected": "bad"}}
    files = [tmp_path / "out" / f"{name}.jsonl" for name in ("train", "validation", "test")]
    train, validation, test = (columns.texts(tables.read(path), settings) for path in files)
    columns.check_apart(train, test)
    columns.check_apart(train, validation)
    columns.check_apart(validation, test)


def test_another_seed_draws_other_prompts_and_the_same_seed_the_same():
    rows = [tables.Row(f"row {number}", row) for number, row in enumerate(ROWS)]
    settings = {"columns": {"prompt": "asked"}}

    def test_prompts(seed: int) -> set[str]:
        split = divide.divide(rows, settings, {"test": 10}, seed)["test"]
        return {row.values["asked"].strip() for row in split}

    assert test_prompts(0) == test_prompts(0)
    assert test_prompts(0) != test_prompts(1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--columns", "prompt=question"], "there is no column 'question'"),
        ([*OPTIONS, "--test", "30", "--validation", "5"], "there are 35 different prompts, and 35"),
        ([*OPTIONS, "--test", "0"], "must be at least 1"),
    ],
)
def test_what_cannot_be_divided_is_refused_and_nothing_is_written(
    table, tmp_path, monkeypatch, capsys, options, said
):
    with pytest.raises(SystemExit):
        run(monkeypatch, table, tmp_path / "out", *options)
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_files_that_are_there_are_not_overwritten(table, tmp_path, monkeypatch, capsys):
    (tmp_path / "train.jsonl").write_text("mine")
    with pytest.raises(SystemExit):
        run(monkeypatch, table, tmp_path, *OPTIONS, "--test", 8, "--validation", 5)
    assert "would be overwritten" in capsys.readouterr().err
    assert (tmp_path / "train.jsonl").read_text() == "mine"


def test_a_csv_file_is_read_by_its_header_with_line_breaks_and_quotes_in_cells(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(
        '\ufeffasked,good\n"Is it, ""wet""?"," Yes,\nvery."\nWhy?,é\n', encoding="utf-8"
    )
    rows = tables.read(path)
    assert [row.values for row in rows] == [
        {"asked": 'Is it, "wet"?', "good": " Yes,\nvery."},
        {"asked": "Why?", "good": "é"},
    ]
    assert rows[1].place.endswith("rows.csv, row 2")


@pytest.mark.parametrize("line", ["a", "a,b,c", '"a,b'])
def test_a_csv_row_with_other_cells_than_the_header_is_refused(tmp_path, line):
    path = tmp_path / "rows.csv"
    path.write_text(f"asked,good\nWhy?,x\n{line}\n")
    with pytest.raises(TableError, match=r"rows\.csv.* row"):
        tables.read(path)
