"""The report's pages, read back by an HTML parser, and its first page, read back by docutils.

Every claim is in its chapter, and every completion is as the model wrote it.
"""

import json
import sys
from html.parser import HTMLParser

import docutils.core
import pandas as pd
import pytest
from docutils import nodes

from eval import front_table, report_pages
from eval.claims import PAPER

CLAIM = {
    "id": "length-smooth",
    "about": "smooth",
    "part": "paper",
    "brief": "reward from 0 to 1",
    "claim": "It is smooth.",
    "source": "paper",
    "criterion": "no steps < 1",
    "verdict": "inconclusive",
    "headline": "largest step 0.42",
    "evidence": {"rows": [{"lam": 0.5, "reward": -0.25}]},
    "task": "length",
    "figure": "length/lam_curve",
    "must_hold": False,
}
EXACT = {
    **CLAIM,
    "id": "exact",
    "about": "exact",
    "task": None,
    "figure": None,
    "verdict": "reproduced",
    "headline": "error 1e-15",
    "brief": "error 1e-15",
}
OURS = {**CLAIM, "id": "length-outside", "about": None, "part": "limit"}
WRITTEN = [" A cat.", "", " <b>bold</b> & more", " two\n\n# lines", " | cells |"]


class Reader(HTMLParser):
    """The text of each table's cells, row by row."""

    def __init__(self, page: str):
        super().__init__()
        self.rows = []
        self.text = ""
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.inside = tag in ("td", "th")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th", "tr", "table")

    def handle_data(self, data):
        self.text += data
        if self.inside:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    (folder / "claims.json").write_text(json.dumps([EXACT, CLAIM, OURS]))
    pd.DataFrame(completions()).to_csv(folder / "samples.csv", index=False)
    arguments = {
        "--claims": folder / "claims.json",
        "--study": "mine",
        "--note": "It is too small.",
        "--first-page": folder / "report.rst",
        "--samples": folder / "samples.csv",
        "--tasks": "length",
        "--claim-pages": folder / "claims",
        "--completion-pages": folder / "completions",
    }
    argv = ["report_pages"]
    for option, value in arguments.items():
        argv += [option, str(value)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", argv)
        report_pages.main()
    read = {}
    for kind in ("claims", "completions"):
        for path in (folder / kind).rglob("*.html"):
            read[str(path.relative_to(folder))] = Reader(path.read_text())
    return read


def completions() -> list[dict]:
    """The completions of one prompt: by the reference, by DeRa at each lam, and retrained."""
    row = dict.fromkeys(["objective", "beta", "anchor", "lam"])
    row |= {"prompt_id": 0, "prompt": "Say <what>?"}
    reference = {"kind": "reference", "completion": " Reference.", "gold": 0.0}
    retrained = {"kind": "retrained", "objective": "rloo", "beta": 0.25}
    rows = [row | reference]
    for number, text in enumerate(WRITTEN):
        dera = {"kind": "dera", "objective": "rloo", "anchor": 0.25, "lam": number / 2}
        rows.append(row | dera | {"completion": text, "gold": -number / 4})
    rows.append(row | retrained | {"completion": " Retrained.", "gold": 1.0})
    return rows


def test_there_is_a_page_for_each_claim_and_for_each_task_and_kind_of_policy(pages):
    assert set(pages) == {
        "claims/1 geometric mixtures/all tasks/reproduced/exact.html",
        "claims/4 smooth change/length/inconclusive/length-smooth.html",
        "claims/Limits/length/inconclusive/length-outside.html",
        "completions/dera/length.html",
        "completions/retrained/length.html",
    }


def test_the_chapters_are_the_papers_claims_in_their_order():
    assert list(front_table.CHAPTERS) == list(PAPER)
    numbers = [title.split()[0] for title in front_table.CHAPTERS.values()]
    assert numbers == [str(number + 1) for number in range(len(PAPER))]


def test_a_claims_page_says_the_claim_its_numbers_its_verdict_and_its_figure(pages):
    page = pages["claims/4 smooth change/length/inconclusive/length-smooth.html"]
    texts = ("largest step 0.42", "inconclusive", "It is smooth.", "no steps < 1", "lam_curve")
    for text in texts:
        assert text in page.text
    assert page.rows == [["lam", "reward"], ["0.5", "-0.25"]]
    exact = pages["claims/1 geometric mixtures/all tasks/reproduced/exact.html"]
    assert "error 1e-15" in exact.text
    assert "figure" not in exact.text


@pytest.mark.parametrize("note", ["", "It is too small."])
def test_the_reports_first_page_has_the_rows_of_the_paper(note):
    written = front_table.for_report("mine", [EXACT, CLAIM, OURS], note)
    strict = {"report_level": 1, "halt_level": 1}
    page = docutils.core.publish_doctree(written, settings_overrides=strict)
    assert "mine" in page.astext()
    assert note in page.astext()
    rows = [[cell.astext() for cell in row.children] for row in page.findall(nodes.row)]
    assert rows[1:] == [
        [PAPER["exact"], "reproduced 1", "error 1e-15", "1 geometric mixtures"],
        [PAPER["smooth"], "inconclusive 1", "reward from 0 to 1", "4 smooth change"],
    ]


def test_completions_are_read_as_they_were_written_each_under_its_policy(pages):
    dera = pages["completions/dera/length.html"]
    retrained = pages["completions/retrained/length.html"]
    assert "Say <what>?" in dera.text
    assert dera.rows[:2] == [["policy", "gold", "completion"], ["reference", "0.00", " Reference."]]
    lams = ["0", "0.5", "1", "1.5", "2"]
    assert [row[0] for row in dera.rows[2:]] == [f"rloo, β = 0.25, λ = {lam}" for lam in lams]
    assert [row[2].rstrip("\n") for row in dera.rows[2:]] == WRITTEN
    assert [float(row[1]) for row in dera.rows[2:]] == [0, -0.25, -0.5, -0.75, -1]
    assert [row[0] for row in retrained.rows[1:]] == ["reference", "rloo, β = 0.25"]
