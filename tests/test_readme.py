"""What the README shows works.

Its Python runs as printed, the parser takes its commands, and its tables are the published ones.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from pathlib import Path

from bench.table import table
from dera.cli import program
from tests.dera.architectures import tiny, tiny_adapter
from tests.dera.tokenizers import word_tokenizer

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
RULE = re.compile(r"^(?:rule|use rule \w+ as) (\w+)", re.MULTILINE)
RULES_OF_ONE_WORD = "align|decode|bench|publish"


def blocks(language: str) -> list[str]:
    """The blocks of code in this language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_examples_run_in_the_order_they_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = tiny("llama", 1)
    base.save_pretrained("sft-model")
    word_tokenizer().save_pretrained("sft-model")
    tiny_adapter(base, 2).save_pretrained("aligned-adapter")
    prompts = [f"w{2 + i % 11} w{2 + i % 7}" for i in range(24)]
    Path("prompts.txt").write_text("\n".join(prompts))
    names: dict = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert names["found"].lam in names["found"].curve.lams
    assert len(blocks("python")) >= 3


def test_the_claims_table_is_that_of_the_published_front_page():
    front_page = (ROOT / "docs/laptop/claims.md").read_text()
    _title, _blank, *published = front_page.split("## Every claim")[0].splitlines()
    assert "| claimed | our verdicts | our numbers |" in published
    assert [line for line in published if line and line not in README.splitlines()] == []


def test_the_table_of_what_decoding_costs_is_that_of_the_published_benchmark():
    records = json.loads((ROOT / "docs/bench/decoding.json").read_text())
    assert table(records) == (ROOT / "docs/bench/decoding.md").read_text()
    assert table(records) in README


def test_every_figure_and_page_linked_is_there():
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
    assert sum(link.endswith(".png") for link in links) >= 4


def test_the_map_of_the_workflow_has_every_rule():
    rules = set()
    for folder in ("training", "eval", "figures", "bench"):
        for path in (ROOT / folder).glob("*.smk"):
            rules |= set(RULE.findall(path.read_text()))
    (graph,) = blocks("mermaid")
    assert rules == set(re.findall("[a-z]+_[a-z_]+|" + RULES_OF_ONE_WORD, graph))


def test_the_commands_of_the_library_parse():
    lines = "".join(blocks("bash")).splitlines()
    commands = [shlex.split(line) for line in lines if line.startswith("dera ")]
    for _program, *arguments in commands:
        with contextlib.redirect_stderr(None):
            program.parse(arguments)
    assert {command[1] for command in commands} == {"generate", "sweep", "tune", "diagnose"}
