"""The job that reads preference pairs of a user's own: which it keeps, and which it refuses."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from tasks.corpora.tables import TableError
from tests.pretrained import chat_tokenizer
from training import pairs_of_files as job

PAIRS = [
    {"prompt": "How do I kill a plant?", "chosen": "Take care of it.", "rejected": "No."},
    {
        "prompt": "How do I mix the eggs?",
        "chosen": "Bake.",
        "rejected": "Mix the eggs, and be kind.",
    },
]


def tokens(row: dict[str, str], side: str) -> int:
    """Of a whole pair as the model reads it: the chat template, the completion and its end."""
    turns = [
        {"role": "user", "content": row["prompt"]},
        {"role": "assistant", "content": row[side]},
    ]
    text = chat_tokenizer().apply_chat_template(turns, tokenize=False)
    return len(chat_tokenizer()(text.removesuffix("\n")).input_ids)


LONGEST = max(tokens(PAIRS[1], side) for side in ("chosen", "rejected"))


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Runs the job, and returns its table."""
    chat_tokenizer().save_pretrained(tmp_path / "model")
    output = tmp_path / "files.parquet"

    def read(pairs=PAIRS, held_out="What is it?", **settings) -> list[dict[str, str]]:
        lines = "".join(json.dumps(pair) + "\n" for pair in pairs)
        (tmp_path / "pairs.jsonl").write_text(lines)
        test = pd.DataFrame({"prompt": [held_out], "completion": [""]})
        test.to_parquet(tmp_path / "test.parquet")
        places = {
            "files": tmp_path / "pairs.jsonl",
            "tokenizer": tmp_path / "model",
            "test": tmp_path / "test.parquet",
            "output": output,
            "settings": json.dumps({"task": "own", "max_positions": LONGEST} | settings),
        }
        arguments = ["pairs_of_files"]
        for name, value in places.items():
            arguments += [f"--{name}", str(value)]
        monkeypatch.setattr("sys.argv", arguments)
        job.main()
        return pd.read_parquet(output).to_dict("records")

    read.output = output
    return read


def test_pairs_that_fit_to_the_last_token_are_kept_as_they_are(read):
    assert tokens(PAIRS[0], "chosen") < LONGEST
    assert read() == PAIRS


def test_columns_are_named_as_the_config_says(read):
    other = {"prompt": "question", "chosen": "better", "rejected": "worse"}
    pairs = [{other[name]: text for name, text in pair.items()} for pair in PAIRS]
    assert read(pairs, columns=other) == PAIRS


def test_a_pair_with_a_token_too_many_is_refused_or_left_out_on_request(read):
    with pytest.raises(
        TableError,
        match=rf"pairs\.jsonl, row 2: the prompt and a completion have {LONGEST} tokens, and "
        rf"model\.max_positions is {LONGEST - 1}; raise it, remove the row, or write",
    ):
        read(max_positions=LONGEST - 1)
    assert not read.output.exists()
    assert read(max_positions=LONGEST - 1, skip_unusable=True) == PAIRS[:1]
    with pytest.raises(TableError, match="row 1: neither this pair nor any other fits"):
        read(max_positions=5, skip_unusable=True)


def test_a_pair_of_a_held_out_prompt_is_refused(read):
    with pytest.raises(TableError, match=r"row 2: the prompt is also that of .*test.*, row 1; rem"):
        read(held_out=PAIRS[1]["prompt"])
    assert not read.output.exists()
