"""A user's own data are read when a study is planned, and the examples of the guide are right."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from datasets import Dataset, DatasetDict

from study import own_data, resolve, sources
from study.modules import ROOT
from tasks.corpora.tables import TableError

SIZES = {"train": 3, "validation": 2, "test": 4}


def shipped() -> dict:
    """The shipped study of the user's own pairs, with few prompts to evaluate on."""
    config = yaml.safe_load((ROOT / "config/own-pairs.yaml").read_text())
    config["tasks"]["own_text"]["evaluation"]["prompts"] = 4
    return config


def rows(split: str, **names: str) -> list[dict[str, str]]:
    """Pairs of a split, in columns of these names."""
    pairs = []
    for number in range(SIZES[split]):
        texts = {"prompt": f"Why {split} {number}?", "chosen": " Yes.", "rejected": " No."}
        pairs.append({names.get(name, name): text for name, text in texts.items()})
    return pairs


def write(path: Path, pairs: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder with the files that the shipped study names."""
    monkeypatch.chdir(tmp_path)
    for split in SIZES:
        write(tmp_path / "my-data" / f"{split}.jsonl", rows(split))
    return tmp_path


def check(config: dict) -> None:
    for task in resolve.plan_or_exit(config).tasks.values():
        own_data.check(task)


def refusal(config: dict) -> str:
    with pytest.raises(TableError) as caught:
        check(config)
    return str(caught.value)


def test_the_shipped_study_reads_the_files_that_it_names(here):
    check(shipped())


def test_a_mistake_ends_in_one_line(here, capsys):
    write(here / "my-data/train.jsonl", [{"prompt": "Why?", "chosen": "a"}])
    with pytest.raises(SystemExit, match="1"):
        own_data.check_or_exit(resolve.plan_or_exit(shipped()))
    assert capsys.readouterr().err == (
        "config error: tasks.own_text.preferences: my-data/train.jsonl: there is no column "
        "'rejected' for columns.rejected; there are chosen, prompt\n"
    )


def test_a_test_prompt_among_the_pairs_is_refused(here):
    config = shipped()
    config["tasks"]["own_text"]["corpus"]["files"]["train"] = "prompts.jsonl"
    write(here / "my-data/prompts.jsonl", rows("train"))
    check(config)
    write(here / "my-data/train.jsonl", [*rows("train"), rows("test")[2]])
    assert refusal(config).startswith(
        "tasks.own_text.preferences: my-data/train.jsonl, row 4: the prompt is also that of "
        "my-data/test.jsonl, row 3; remove it"
    )


def test_a_prompt_in_two_splits_is_refused(here):
    write(here / "my-data/train.jsonl", [*rows("train"), rows("test")[2], rows("test")[0]])
    assert refusal(shipped()).startswith(
        "tasks.own_text.corpus: my-data/train.jsonl, row 4: the prompt is also that of "
        "my-data/test.jsonl, row 3 (2 such rows); remove it"
    )


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_prompt_of_more_words_than_there_is_room_for_is_refused(here, split):
    config = shipped()
    model = config["tasks"]["own_text"]["model"]
    model |= {"max_positions": 80, "max_new_tokens": 60}
    pairs = rows(split)
    write(here / f"my-data/{split}.jsonl", [pairs[0], pairs[1] | {"prompt": "a " * 20}, *pairs[2:]])
    check(config)
    write(here / f"my-data/{split}.jsonl", [pairs[0], pairs[1] | {"prompt": "a " * 21}, *pairs[2:]])
    assert f"my-data/{split}.jsonl, row 2: the prompt has 21 words, and" in refusal(config)
    config["tasks"]["own_text"]["corpus"]["max_prompt_words"] = 20
    check(config)


def test_long_prompts_of_pairs_are_left_to_the_job_where_they_may_be_left_out(here):
    config = shipped()
    section = config["tasks"]["own_text"]
    section["corpus"]["files"]["train"] = "prompts.jsonl"
    write(here / "my-data/prompts.jsonl", rows("train"))
    write(here / "my-data/train.jsonl", [rows("train")[0] | {"prompt": "a " * 500}])
    assert "my-data/train.jsonl, row 1: the prompt has 500 words, and" in refusal(config)
    section["preferences"]["skip_unusable"] = True
    check(config)


def test_more_prompts_than_the_file_has_are_refused(here):
    config = shipped()
    config["tasks"]["own_text"]["evaluation"]["prompts"] = 5
    assert "the test split has 4 prompts, and evaluation.prompts is 5; lower" in refusal(config)


def test_a_table_on_the_hub_is_read_once_it_is_fetched(here):
    config = shipped()
    section = config["tasks"]["own_text"]
    table = {"hub": "owner/name", "revision": "main", "file": "data/train-*.jsonl"}
    section["preferences"]["files"] = table
    check(config)
    source = sources.of("here", table, "table")
    write(
        here / sources.input_of(source) / "data/train-1.jsonl", [rows("train")[0] | {"chosen": 3}]
    )
    assert "data/train-1.jsonl, row 1: the column 'chosen' is of type int" in refusal(config)


# The guide


def examples() -> list[dict]:
    """The sections of the config that the guide shows."""
    guide = (ROOT / "docs/own-data.md").read_text()
    return [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)]


def write_examples(folder: Path) -> None:
    """Write the tables that the examples name, apart from the one on the Hub."""
    named = {"prompt": "question", "chosen": "better", "rejected": "worse"}
    saved = {}
    for split in SIZES:
        pairs = rows(split)
        both = [pair | row for pair, row in zip(pairs, rows(split, **named), strict=True)]
        write(folder / "my-data" / f"{split}.jsonl", both)
        chats = []
        for pair in pairs:
            turns = [{"role": "user", "content": pair["prompt"]}]
            answers = {"chosen": pair["chosen"], "rejected": pair["rejected"]}
            chat = {
                name: [*turns, {"role": "assistant", "content": text}]
                for name, text in answers.items()
            }
            chats.append(chat)
        chats.append({"chosen": chats[0]["chosen"], "rejected": chats[0]["chosen"]})  # left out
        saved[split] = Dataset.from_list(chats)
    DatasetDict(saved).save_to_disk(str(folder / "saved"))


@pytest.mark.parametrize("number", range(3))
def test_the_examples_of_the_guide_are_right(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_examples(tmp_path)
    config = shipped()
    example = examples()[number]
    assert set(example) == {"corpus", "preferences"}
    config["tasks"]["own_text"] |= example
    check(config)


def test_the_judge_of_the_guide_judges(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    guide = (ROOT / "docs/own-data.md").read_text()
    code, _ = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    (tmp_path / "polite.py").write_text(code)
    write_examples(tmp_path)
    config = shipped()
    config["tasks"]["polite"] = config["tasks"].pop("own_text") | {"module": "polite.py"}
    check(config)
    names: dict = {}
    exec(compile(code, "polite.py", "exec"), names)
    task = names["create"]({"min_tokens": 1, "max_tokens": 2})
    assert task.judge(["a", "b"], ["Yes, please.", "Yes."], [[1], [2]]) == {"gold": [1.0, 0.0]}
