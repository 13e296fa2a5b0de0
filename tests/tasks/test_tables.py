"""Tables of every form give the same rows, and the first thing that is wrong is said in one line.

The files of public data sets are read too, where DERA_PUBLIC_DATA names the folder that holds
`tldr_preferences/judged.jsonl.gz` and `hh_preferences/harmless-base.jsonl.gz`.
"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pandas as pd
import pytest
from datasets import Dataset, DatasetDict

from tasks.corpora import columns, tables
from tasks.corpora.tables import TableError

PLAIN = [
    {"asked": "Is it wet?", "good": " Yes.", "bad": " No.", "votes": 3},
    {"asked": "Ist es naß?", "good": " Ja,\nsehr.", "bad": " Nein.", "votes": 1},
]
COLUMNS = {"prompt": "asked", "chosen": "good", "rejected": "bad"}
AS_TEXTS = {
    "prompt": ["Is it wet?", "Ist es naß?"],
    "chosen": [" Yes.", " Ja,\nsehr."],
    "rejected": [" No.", " Nein."],
}


def turn(role: str, content: object) -> dict:
    return {"role": role, "content": content}


#: The same pairs as chats.
CHAT = [
    {
        "asked": [turn("user", row["asked"])],
        "good": [turn("assistant", row["good"])],
        "bad": [turn("assistant", row["bad"])],
    }
    for row in PLAIN
]
#: The same pairs as chats whose completions begin with the prompt.
IMPLICIT = [{"good": row["asked"] + row["good"], "bad": row["asked"] + row["bad"]} for row in CHAT]

FORMS = ["jsonl", "jsonl.gz", "parquet", "saved", "split"]


def write(folder: Path, rows: list[dict], form: str = "jsonl") -> Path:
    """Write rows as a table of this form, and return its path."""
    path = folder / f"rows.{form}"
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if form == "jsonl":
        path.write_bytes(lines)
    elif form == "jsonl.gz":
        path.write_bytes(gzip.compress(lines))
    elif form == "parquet":
        pd.DataFrame(rows).to_parquet(path)
    elif form == "saved":
        Dataset.from_list(rows).save_to_disk(str(path))
    else:
        both = DatasetDict({"train": Dataset.from_list(rows), "test": Dataset.from_list(rows[:1])})
        both.save_to_disk(str(path))
        path = path / "train"
    return path


def texts(path: Path, **settings) -> columns.Texts:
    return columns.texts(tables.read(path), {"columns": COLUMNS} | settings)


def refusal(path: Path, **settings) -> str:
    """What is said of a table, without the folder that it is in."""
    with pytest.raises(TableError) as caught:
        texts(path, **settings)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{path.parent}/", "")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("rows", "named"),
    [(PLAIN, COLUMNS), (CHAT, COLUMNS), (IMPLICIT, {"chosen": "good", "rejected": "bad"})],
    ids=["plain", "chat", "implicit"],
)
def test_every_form_of_file_and_of_value_gives_the_same_texts(tmp_path, rows, named, form):
    found = texts(write(tmp_path, rows, form), columns=named)
    assert found.columns == AS_TEXTS
    assert found.left_out == 0


def test_several_files_are_one_table_in_the_order_of_their_names(tmp_path):
    for number in (2, 1):
        (tmp_path / f"part-{number}.jsonl").write_text(json.dumps(PLAIN[number - 1]) + "\n")
    found = texts(tmp_path / "part-*.jsonl")
    assert found.columns == AS_TEXTS
    assert [Path(place).name for place in found.places] == [
        "part-1.jsonl, row 1",
        "part-2.jsonl, row 1",
    ]


def test_a_prompt_in_both_texts_ends_where_the_config_says(tmp_path):
    """The completions share their first words, which are no part of the prompt."""
    begun = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Why?\n\nAssistant:"
    row = {"good": begun + " I am sure.", "bad": begun + " I am not.\n\nAssistant: x"}
    path = write(tmp_path, [row])
    named = {"chosen": "good", "rejected": "bad"}
    found = texts(path, columns=named, prompt_ends_with="\n\nAssistant:")
    assert found.columns == {
        "prompt": [begun],
        "chosen": [" I am sure."],
        "rejected": [" I am not.\n\nAssistant: x"],
    }
    assert "name the column of the prompt as columns.prompt, or say" in refusal(path, columns=named)
    said = refusal(path, columns=named, prompt_ends_with="\n\nBot:")
    assert said.startswith("rows.jsonl, row 1: the column 'good' shares no beginning")


LONG_CHAT = [turn("user", "a"), turn("assistant", "b"), turn("user", "c")]
# What is changed in the second row, and what is said of it.
BROKEN = {
    "missing": ({"good": None}, "the column 'good' is empty; fill it, or write `skip_unusable"),
    "blank": ({"good": " \n"}, "the column 'good' is empty; fill it, or write `skip_unusable"),
    "no turn": ({"asked": []}, "the column 'asked' is empty"),
    "nothing said": ({"asked": [turn("user", "")]}, "the column 'asked' is empty"),
    "number": ({"bad": 3}, "the column 'bad' is of type int, and must be text or a list of turns"),
    "turn of a number": ({"bad": [turn("assistant", 3)]}, "the column 'bad' is of type int"),
    "no turns": ({"bad": ["x"]}, "the column 'bad' has a turn without `role` and `content`: 'x'"),
    "long chat": (
        {"asked": LONG_CHAT},
        "the column 'asked' has the turns [user, assistant, user], and can only be one turn of the "
        "user; remove rows with longer chats",
    ),
    "system": (
        {"asked": [turn("system", "Be kind."), turn("user", "a")]},
        "the column 'asked' has the turns [system, user]",
    ),
    "wrong role": ({"good": [turn("user", "a")]}, "the column 'good' has the turns [user]"),
    "equal": ({"bad": PLAIN[1]["good"]}, "the column 'good' equals 'bad'; remove the row, or"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_a_row_is_said_with_its_file_row_and_column(tmp_path, name):
    change, said = BROKEN[name]
    path = write(tmp_path, [PLAIN[0], PLAIN[1] | change])
    assert refusal(path).startswith(f"rows.jsonl, row 2: {said}")


@pytest.mark.parametrize("name", ["missing", "blank", "no turn", "nothing said", "equal"])
def test_rows_that_nothing_can_learn_from_are_left_out_and_counted_on_request(tmp_path, name):
    rows = [PLAIN[1] | BROKEN[name][0], PLAIN[0]]
    found = texts(write(tmp_path, rows), skip_unusable=True)
    assert found.columns == {key: values[:1] for key, values in AS_TEXTS.items()}
    assert found.left_out == 1
    assert found.places[0].endswith("row 2")
    said = refusal(write(tmp_path, rows[:1]), skip_unusable=True)
    assert "neither this row nor any other can be used" in said


@pytest.mark.parametrize("name", ["number", "long chat", "wrong role"])
def test_rows_of_another_form_are_refused_even_where_unusable_ones_are_left_out(tmp_path, name):
    path = write(tmp_path, [PLAIN[0], PLAIN[1] | BROKEN[name][0]])
    assert "row 2: the column" in refusal(path, skip_unusable=True)


def test_implicit_prompts_of_several_turns_are_refused(tmp_path):
    row = {"good": [*LONG_CHAT, turn("assistant", "d")], "bad": [*LONG_CHAT, turn("assistant", "")]}
    said = refusal(write(tmp_path, [row]), columns={"chosen": "good", "rejected": "bad"})
    assert "'good' begins with a prompt that has the turns [user, assistant, user], and" in said


def test_a_column_that_is_missing_is_named_with_those_there_are(tmp_path):
    said = refusal(write(tmp_path, PLAIN), columns=COLUMNS | {"prompt": "question"})
    assert said == (
        "rows.jsonl: there is no column 'question' for columns.prompt; "
        "there are asked, bad, good, votes"
    )


def test_a_value_that_only_some_rows_of_json_have_is_empty_in_the_others(tmp_path):
    path = write(tmp_path, [PLAIN[0], {"asked": "a", "good": "b"}])
    assert refusal(path).startswith("rows.jsonl, row 2: the column 'bad' is empty")


def broken_file(folder: Path, name: str) -> Path:
    """Write a file of which something is wrong."""
    path = folder / name
    if name == "cut.jsonl.gz":
        path.write_bytes(write(folder, PLAIN * 400, "jsonl.gz").read_bytes()[:-20])
    elif name == "cut.parquet":
        path.write_bytes(write(folder, PLAIN, "parquet").read_bytes()[:-20])
    elif name == "not.jsonl.gz":
        path.write_bytes(b"plain text")
    elif name == "latin.jsonl":
        path.write_bytes('{"asked": "naß"}\n'.encode("latin-1"))
    elif name == "array.jsonl":
        path.write_text(json.dumps(PLAIN))
    elif name == "text.jsonl":
        path.write_text(json.dumps(PLAIN[0]) + "\n\nIs it wet?\n")
    elif name == "empty.jsonl":
        path.write_text("\n")
    elif name == "rows.xlsx":
        path.write_text("asked,good,bad\n")
    elif name == "splits":
        path = write(folder, PLAIN, "split").parent
    elif name == "folder":
        path.mkdir()
    elif name == "damaged":
        path = write(folder, PLAIN, "saved")
        next(path.glob("*.arrow")).write_bytes(b"")
    return path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cut.jsonl.gz", "cut.jsonl.gz: cannot be read after row "),
        ("cut.parquet", "cut.parquet: is no whole Parquet file"),
        ("not.jsonl.gz", "not.jsonl.gz: cannot be read after row 0"),
        ("latin.jsonl", "latin.jsonl: cannot be read after row 0"),
        ("array.jsonl", "array.jsonl, row 1: is no JSON object such as {...}"),
        ("text.jsonl", "text.jsonl, row 3: is not JSON"),
        ("empty.jsonl", "empty.jsonl: there is no row in it"),
        ("rows.xlsx", "rows.xlsx: a table is a file that ends in .jsonl, .jsonl.gz, .csv or"),
        ("absent.jsonl", "absent.jsonl: there is no such file or folder"),
        ("splits", "rows.split: has the splits test, train; name one of them, such as rows.split/"),
        ("folder", "folder: this folder was not written by Dataset.save_to_disk"),
        ("damaged", "rows.saved: cannot be read: "),
    ],
)
def test_a_file_that_is_no_table_is_refused_by_its_name(tmp_path, name, said):
    assert refusal(broken_file(tmp_path, name)).startswith(said)


def test_the_remedy_for_another_kind_of_file_works(tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps(PLAIN))
    assert "convert it" in refusal(tmp_path / "rows.json")
    pd.read_json(tmp_path / "rows.json").to_parquet(tmp_path / "rows.parquet")
    assert texts(tmp_path / "rows.parquet").columns == AS_TEXTS


def test_a_prompt_in_two_tables_is_said_with_both_rows(tmp_path):
    some = texts(write(tmp_path, PLAIN))
    again = PLAIN[1] | {"asked": f"{PLAIN[1]['asked']} "}  # a space at the end makes no new prompt
    others = texts(write(tmp_path, [PLAIN[0] | {"asked": "What?"}, again], "parquet"))
    with pytest.raises(TableError) as caught:
        columns.check_apart(some, others)
    said = str(caught.value).replace(f"{tmp_path}/", "")
    assert said.startswith("rows.jsonl, row 2: the prompt is also that of rows.parquet, row 2;")
    columns.check_apart(some, texts(write(tmp_path, [PLAIN[0] | {"asked": "What?"}], "jsonl.gz")))


public = pytest.mark.skipif(
    "DERA_PUBLIC_DATA" not in os.environ, reason="DERA_PUBLIC_DATA names no folder of data sets"
)


@public
def test_public_pairs_with_a_column_of_prompts_are_read_as_they_are():
    path = Path(os.environ["DERA_PUBLIC_DATA"]) / "tldr_preferences/judged.jsonl.gz"
    with gzip.open(path, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    found = columns.texts(tables.read(path), {})
    assert found.columns == {
        name: [row[name] for row in rows] for name in ("prompt", "chosen", "rejected")
    }


@public
def test_public_pairs_whose_texts_begin_with_the_prompt_are_cut_at_its_end():
    path = Path(os.environ["DERA_PUBLIC_DATA"]) / "hh_preferences/harmless-base.jsonl.gz"
    with gzip.open(path, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    settings = {
        "columns": {"chosen": "chosen", "rejected": "rejected"},
        "prompt_ends_with": "\n\nAssistant:",
    }
    with pytest.raises(TableError, match=r"row 87: the column '(chosen|rejected)' is empty; "):
        columns.texts(tables.read(path), settings)
    found = columns.texts(tables.read(path), settings | {"skip_unusable": True})
    assert found.left_out == 4  # counted in the file by hand
    assert len(found.places) == len(rows) - 4
    for place, *text in zip(found.places, *found.columns.values(), strict=True):
        row = rows[int(place.rpartition(" ")[2]) - 1]
        by_name = dict(zip(found.columns, text, strict=True))
        assert by_name["prompt"].endswith("\n\nAssistant:")
        assert by_name["prompt"] + by_name["chosen"] == row["chosen"]
        assert by_name["prompt"] + by_name["rejected"] == row["rejected"]
