"""The report's pages, read back by an HTML parser.

Every claim has its own figure, and every completion is as the model wrote it.
"""

import base64
import json
import sys
from html.parser import HTMLParser

import pandas as pd
import pytest

from eval import report_pages

CLAIM = {
    "id": "length-smooth",
    "about": "smooth",
    "claim": "It is smooth.",
    "source": "paper",
    "criterion": "no steps < 1",
    "verdict": "partly",
    "headline": "largest step 0.42",
    "evidence": {"rows": [{"lam": 0.5, "reward": -0.25}]},
    "task": "length",
    "figure": "length/lam_curve",
    "must_hold": False,
}
EXACT = {**CLAIM, "id": "exact", "task": None, "figure": None, "headline": "error 1e-15"}
WRITTEN = [" A cat.", "", " <b>bold</b> & more", " two\n\n# lines", " | cells |"]


class Reader(HTMLParser):
    """The text of each table's cells, row by row, and the sources of the images."""

    def __init__(self, page: str):
        super().__init__()
        self.rows = []
        self.images = []
        self.text = ""
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.inside = tag in ("td", "th")
        if tag == "img":
            self.images.append(dict(attrs)["src"])

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th", "tr", "table")

    def handle_data(self, data):
        self.text += data
        if self.inside:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    (folder / "figures" / "length").mkdir(parents=True)
    (folder / "figures" / "length" / "lam_curve.png").write_bytes(b"\x89PNG of lam_curve")
    (folder / "claims.json").write_text(json.dumps([EXACT, CLAIM]))
    pd.DataFrame(completions()).to_csv(folder / "samples.csv", index=False)
    arguments = {
        "--claims": folder / "claims.json",
        "--figures": folder / "figures",
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
    claims = {"claims/all/exact.html", "claims/length/length-smooth.html"}
    assert set(pages) == claims | {
        "completions/dera/length.html",
        "completions/retrained/length.html",
    }


def test_a_claims_page_has_its_own_figure_its_numbers_and_its_verdict(pages):
    page = pages["claims/length/length-smooth.html"]
    [image] = page.images
    assert base64.b64decode(image.removeprefix("data:image/png;base64,")) == b"\x89PNG of lam_curve"
    for text in ("largest step 0.42", "partly", "It is smooth.", "no steps < 1"):
        assert text in page.text
    assert page.rows == [["lam", "reward"], ["0.5", "-0.25"]]
    exact = pages["claims/all/exact.html"]
    assert "error 1e-15" in exact.text
    assert not exact.images


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
