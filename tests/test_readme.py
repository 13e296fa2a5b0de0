"""What the README and the pages of docs/ show works.

Their Python runs as printed, the parser takes their commands, their tables are the published ones,
and the README is short enough to be read.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from pathlib import Path

import pandas
import pytest

import dera
from bench.table import table, table_of_likes
from dera.cli import program
from tests.dera.architectures import tiny, tiny_adapter
from tests.dera.tokenizers import word_tokenizer

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
OWN_MODELS = ROOT / "docs/own-models.md"
#: Every page that a person wrote; the others are written by `make publish`.
WRITTEN = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MOST_WORDS = 1200
#: Of a row of the README's tables, links not counted.
MOST_WORDS_OF_A_CELL = 20
RULE = re.compile(r"^(?:rule|use rule \w+ as) (\w+)", re.MULTILINE)
RULES_OF_ONE_WORD = "align|decode|fetch|bench|memory|publish"


def blocks(page: Path, language: str) -> list[str]:
    """The blocks of code in this language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize("page", [README, OWN_MODELS], ids=lambda page: page.stem)
def test_the_python_examples_run_in_the_order_they_are_read(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = tiny("llama", 1)
    base.save_pretrained("sft-model")
    word_tokenizer().save_pretrained("sft-model")
    tiny_adapter(base, 2).save_pretrained("aligned-adapter")
    prompts = [f"w{2 + i % 11} w{2 + i % 7}" for i in range(24)]
    Path("prompts.txt").write_text("\n".join(prompts))
    names: dict = {}
    assert blocks(page, "python")
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), names)
    if page == OWN_MODELS:
        assert names["found"].lam in names["found"].curve.lams


def test_the_readme_can_be_read_in_five_minutes():
    text = re.sub(r"```.*?```", "", README.read_text(), flags=re.DOTALL)
    assert len(text.split()) <= MOST_WORDS
    for line in text.splitlines():
        for cell in line.split("|")[1:-1]:
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", cell).split()
            assert len(words) <= MOST_WORDS_OF_A_CELL, cell


def test_the_claims_table_is_that_of_the_published_runs():
    published = ROOT / "docs/laptop/replicates.md"
    if not published.exists():  # one run alone
        published = ROOT / "docs/laptop/claims.md"
    lines = published.read_text().split("\n\n")[1].splitlines()
    assert lines[0].startswith("| the paper claims | our verdicts |")
    linked = [re.sub(r"\]\((?:claims\.md)?#", "](docs/laptop/claims.md#", line) for line in lines]
    assert [line for line in linked if line not in README.read_text().splitlines()] == []


def test_the_claims_that_the_table_leaves_out_are_counted_below_it():
    """Claims that two runs do not decide alike are as open as those that no run decides."""
    verdicts = []
    for folder in ("laptop", "laptop-replicate=2"):
        claims = json.loads((ROOT / "docs" / folder / "claims.json").read_text())
        verdicts.append({c["id"]: c["verdict"] for c in claims if not c.get("about")})
        of_the_paper = [c for c in claims if c.get("about")]
    first, second = verdicts
    alike = [verdict for name, verdict in first.items() if second[name] == verdict]
    reproduced, failed = alike.count("reproduced"), alike.count("not reproduced")
    said = (
        f"The {len(of_the_paper)} claims counted here are the paper's. The other {len(first)} are "
        f"our own questions and checks: {reproduced} are reproduced, {failed} are not, and "
        f"{len(first) - reproduced - failed} are open. "
    )
    failing = [name for name in first if first[name] == second[name] == "not reproduced"]
    beaten = [name for name in failing if "-beats-" in name or "-compute-" in name]
    said += f"{len(beaten)} of the {failed} ask whether DeRa beats another use of the same models"
    assert said in " ".join(README.read_text().split())


def test_the_table_of_what_decoding_costs_is_that_of_the_published_benchmark():
    records = json.loads((ROOT / "docs/bench/decoding.json").read_text())
    tables = table(records), table_of_likes(records)
    assert "\n".join(tables) == (ROOT / "docs/bench/decoding.md").read_text()
    page = (ROOT / "docs/decoding-cost.md").read_text()
    assert all(written in page for written in tables)


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.stem)
def test_every_figure_and_page_linked_is_there(page):
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_map_of_the_workflow_has_every_rule():
    rules = set()
    for folder in ("training", "eval", "figures", "bench"):
        for path in (ROOT / folder).glob("*.smk"):
            rules |= set(RULE.findall(path.read_text()))
    (graph,) = blocks(ROOT / "docs/study.md", "mermaid")
    assert rules == set(re.findall("[a-z]+_[a-z_]+|" + RULES_OF_ONE_WORD, graph))


def test_every_public_name_is_explained():
    rows = re.findall(r"^\| `(\w+)` \|", OWN_MODELS.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(dera.__all__)


def test_the_commands_of_the_library_parse():
    lines = "".join(blocks(OWN_MODELS, "bash")).splitlines()
    commands = [shlex.split(line, comments=True) for line in lines if line.startswith("dera ")]
    for _program, *arguments in commands:
        with contextlib.redirect_stderr(None):
            program.parse(arguments)
    assert {command[1] for command in commands} == set(program.COMMANDS)


def test_the_tables_of_the_real_model_are_those_of_the_published_run():
    """Each row has shares in percent, each with half of its 95% interval, and the KL."""
    policies = pandas.read_csv(ROOT / "docs/real-mini/policies.csv")
    policies = policies[policies["seed"] == "mean"]
    columns = ["refused_harmful", "refused_alike", "refused_plain", "wellformed"]
    published = {}
    for kind, name in (("dera", "lam"), ("retrained", "beta")):
        for _, policy in policies[policies["kind"] == kind].iterrows():
            published[name, float(policy[name])] = policy
    for page in (README, ROOT / "docs/chat-model.md"):
        pattern = r"^\| (?:retrained at )?(lam|beta) = ([\d.]+)[^|]*\|(.*)\|$"
        rows = re.findall(pattern, page.read_text(), re.MULTILINE)
        assert len(rows) >= 5
        for name, value, cells in rows:
            *shares, kl = cells.split("|")
            policy = published[name, float(value)]
            for column, share in zip(columns, shares, strict=True):
                found = [float(number) for number in share.strip().rstrip("%").split("±")]
                half = (policy[f"{column}_high"] - policy[f"{column}_low"]) / 2
                assert found == pytest.approx([100 * policy[column], 100 * half], abs=0.51)
            assert float(kl) == pytest.approx(policy["kl"], abs=0.0051)
