"""The front page, read back by a parser: it has every claim, loads nothing, and runs no text."""

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from eval.claims import PAPER, VERDICTS
from report.page import explorer, write
from report.page.explorer import TaskTables
from tests.report import made
from tests.report.reading import Page, words

ROOT = Path(__file__).parents[2]
#: The published runs of the default study; claims of older studies lack what pages are made of.
PUBLISHED = sorted(path.parent for path in ROOT.glob("docs/laptop*/claims.json"))
NO_CONTROLS = pd.DataFrame(
    columns=["control", "what is broken", "claim", "aimed", "before", "under the control"]
)


def controlled(claim: str) -> pd.DataFrame:
    """Two controls, of which one aims at the claim."""
    rows = [
        ["lam ignored", "DeRa ignores lam.", claim, True, "reproduced", "inconclusive"],
        ["noise", "Noise is added.", claim, False, "reproduced", "reproduced"],
    ]
    return pd.DataFrame(rows, columns=NO_CONTROLS.columns)


def tables() -> TaskTables:
    return TaskTables("length", made.completions(), made.policies(), made.PROMPTS)


def figure(path: Path) -> Path:
    """Draw a figure of three colours, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((20, 30, 3), 255, dtype=np.uint8)
    pixels[5:9, 3:20] = [213, 94, 0]
    pixels[12, :] = [0, 114, 178]
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The files of the study that is made by hand, and its front page, made as the job makes it."""
    folder = tmp_path_factory.mktemp("study")
    claims = [
        made.claim("length-smooth-0.5", figure="length/lam_curve"),
        made.claim("length-jumps", "not reproduced", figure="length/lam_curve"),
        made.claim("ours", "inconclusive", part="limit", about=None, claim=made.HOSTILE),
    ]
    (folder / "claims.json").write_text(json.dumps(claims))
    (folder / "manifest.json").write_text(json.dumps(made.manifest()))
    figure(folder / "figures/length/lam_curve.png")
    made.completions().to_parquet(folder / "completions.parquet")
    made.policies().to_csv(folder / "policies.csv", index=False)
    controlled("length-smooth-0.5").to_csv(folder / "controls.csv", index=False)
    pd.DataFrame({"prompt": made.PROMPTS}).to_parquet(folder / "test.parquet")
    settings = {
        "too_small": f"It is too small. {made.HOSTILE}",
        "captions": {"length/lam_curve": f"A ``curve``. {made.HOSTILE}"},
    }
    arguments = {
        "--settings": json.dumps(settings),
        "--claims": folder / "claims.json",
        "--manifest": folder / "manifest.json",
        "--figures": folder / "figures",
        "--tasks": "length",
        "--completions": folder / "completions.parquet",
        "--policies": folder / "policies.csv",
        "--controls": folder / "controls.csv",
        "--prompts": folder / "test.parquet",
        "--output": folder / "index.html",
    }
    argv = ["write"]
    for option, value in arguments.items():
        argv += [option, str(value)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", argv)
        write.main()
    return folder


@pytest.fixture(scope="module")
def text(folder) -> str:
    return (folder / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text) -> Page:
    return Page(text)


def data_of(page: Page) -> dict:
    """The JSON of the explorer."""
    [content] = [content for attributes, content in page.scripts if "type" in attributes]
    return json.loads(content)


def published_page(study: Path) -> str:
    """The page of a published study, whose completions are made by hand."""
    claims = json.loads((study / "claims.json").read_text())
    captions = {claim["figure"]: "A caption." for claim in claims if claim["figure"]}
    if (study / "figures/agreement.png").exists():
        captions["agreement"] = "At a glance."
    settings = write.Settings(too_small="", captions=captions)
    return write.page(claims, made.manifest(), NO_CONTROLS, [tables()], study / "figures", settings)


@pytest.mark.parametrize("study", PUBLISHED, ids=lambda path: path.name)
def test_every_published_claim_stands_on_the_page_with_its_verdict_and_figure(study):
    page = Page(published_page(study))
    assert page.mistakes == []
    claims = json.loads((study / "claims.json").read_text())
    articles = [element["id"] for element in page.all("article")]
    assert len(articles) == len(set(articles)) == len(claims)
    pictures = [attributes["id"] for attributes in page.all("figure")]
    assert len(pictures) == len(set(pictures))
    for claim in claims:
        shown = words(page.texts[claim["id"].replace(".", "")])
        assert shown.startswith(words(claim["claim"]))
        assert f" {claim['verdict']} {words(claim['headline'])}" in shown
        assert f"Criterion. {words(claim['criterion'])}" in shown
        if claim["figure"]:
            assert claim["figure"] in shown
            assert f"figure-{claim['figure'].replace('/', '-')}" in pictures


def test_the_page_is_whole_html_whose_links_lead_somewhere(page):
    assert page.mistakes == []
    ids = page.ids()
    assert len(ids) == len(set(ids))
    for attributes in page.all("a"):
        target = attributes["href"]
        assert target.removeprefix("#") in ids or target in (
            "claims.md",
            "questions.md",
            "manifest.json",
        )
    for _, attributes in page.elements:
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in ids
    for landmark in ("header", "nav", "main", "footer", "h1"):
        assert len(page.all(landmark)) == 1


def test_the_page_loads_nothing_and_allows_its_own_script_only(text, page):
    for tag, attributes in page.elements:
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        for name in ("src", "srcset", "poster", "data", "action", "formaction"):
            assert attributes.get(name, "data:").startswith("data:")
    assert not page.all("link")
    assert not page.all("iframe")
    assert "@import" not in text
    assert "url(" not in text
    [script] = [content for attributes, content in page.scripts if not attributes]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [policy] = [item["content"] for item in page.all("meta") if "http-equiv" in item]
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_hostile_text_is_shown_and_does_nothing(page):
    assert len(page.scripts) == 2
    [image] = page.all("img")
    assert image["src"].startswith("data:image/png;base64,")
    # the claim, the caption, and the sentence at the top
    assert page.texts["ours"].strip().startswith(made.HOSTILE)
    assert made.HOSTILE in page.texts["figure-length-lam_curve"]
    assert f"It is too small. {made.HOSTILE}" in page.text
    # a prompt and a completion
    data = data_of(page)
    [task] = data["tasks"]
    assert task["prompts"][0]["text"] == made.PROMPTS[0]
    assert task["reference"][1]["text"] == f"kind reference, prompt 1, sample 0. {made.HOSTILE}"


def test_the_first_table_counts_verdicts_and_leads_to_the_claim_that_fared_worst(page):
    cells = [attributes for _, attributes in page.elements if attributes.get("role") == "cell"]
    assert len(cells) == 3
    top = words(page.text.split("A verdict is counted")[0])
    assert f"{PAPER['smooth']} reproduced 1 not reproduced 1 brief of length-jumps" in top
    hrefs = [attributes["href"] for attributes in page.all("a")]
    assert hrefs.index("#length-jumps") < hrefs.index("#figure-length-lam_curve")


def test_a_claim_has_its_interval_and_the_control_that_breaks_it(page):
    shown = words(page.texts["length-smooth-05"])
    assert "it 0.5 0.25 to 0.75 0 holds" in shown
    assert "DeRa ignores lam. The claim is then inconclusive." in shown
    assert "Noise" not in shown
    assert "on purpose" not in page.texts["length-jumps"]


def test_a_figure_is_embedded_once_as_it_was_drawn(folder, page):
    [image] = page.all("img")
    content = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
    with (
        Image.open(io.BytesIO(content)) as embedded,
        Image.open(folder / "figures/length/lam_curve.png") as drawn,
    ):
        assert np.array_equal(np.asarray(embedded.convert("RGB")), np.asarray(drawn))
    assert "#figure-length-lam_curve" in [item["href"] for item in page.all("a")]


def test_the_sentence_says_what_was_run(page):
    assert words(page.texts["made-by"]) == (
        "This is the study toy, replicate 2, finished on 2026-11-27, at commit 01234567, with "
        "training seeds 3, 4, on Linux x86_64 with 2 cores and no GPU, with torch 2.13.0 and trl "
        "1.16.0."
    )


def test_the_explorer_has_the_numbers_of_the_tables(page):
    [task] = data_of(page)["tasks"]
    [aligned] = task["aligned"]
    assert (aligned["objective"], aligned["anchor"]) == ("dpo", 0.5)
    assert aligned["lams"] == [0, 0.5, 1]
    assert aligned["betas"] == [None, 1, 0.5]
    assert aligned["seeds"] == list(made.SEEDS)
    table = made.policies()
    mean = table[table["seed"] == "mean"]
    for name in ("reward", "kl"):
        columns = [name, f"{name}_low", f"{name}_high"]
        dera = mean[mean["kind"] == "dera"].set_index("lam")[columns]
        assert aligned["curves"][name] == [list(dera.loc[lam]) for lam in (0, 0.5, 1)]
        retrained = mean[mean["kind"] == "retrained"].set_index("beta")[columns]
        expected = [None, list(retrained.loc[1.0]), list(retrained.loc[0.5])]
        assert aligned["retrained_curves"][name] == expected


def test_the_explorer_has_the_first_text_of_each_policy_and_the_model_of_the_matching_beta(page):
    [task] = data_of(page)["tasks"]
    [aligned] = task["aligned"]
    table = made.completions().set_index("completion")["gold"]
    matching = [None, "beta 1,", "beta 0.5,"]
    for seed, prompt in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        ending = f"prompt {prompt}, sample 0. {made.HOSTILE}"
        of_seed = f"objective dpo, seed {made.SEEDS[seed]}.0, "
        for place, lam in enumerate(made.LAMS):
            entry = aligned["dera"][seed][prompt][place]
            assert entry["text"] == f"kind dera, {of_seed}anchor 0.5, lam {lam}, {ending}"
            assert entry["gold"] == table[f" {entry['text']}"]
            model = aligned["retrained"][seed][prompt][place]
            if matching[place] is None:
                assert model is None
            else:
                assert model["text"] == f"kind retrained, {of_seed}{matching[place]} {ending}"
                assert model["gold"] == table[f" {model['text']}"]


def test_the_default_anchor_comes_first():
    other = made.completions()
    other = other[other["kind"] == "dera"].assign(anchor="0.25")
    both = pd.concat([other, made.completions()])
    task = explorer.of_task(TaskTables("length", both, made.policies(), made.PROMPTS), 12)
    assert [aligned["anchor"] for aligned in task["aligned"]] == [0.5, 0.25]


def test_fewer_prompts_are_shown_where_all_do_not_fit():
    both = explorer.gather([tables()])
    assert len(both["tasks"][0]["prompts"]) == 2
    size = len(json.dumps(both))
    assert explorer.gather([tables()], max_bytes=size) == both
    fewer = explorer.gather([tables()], max_bytes=size - 1)
    assert [prompt["text"] for prompt in fewer["tasks"][0]["prompts"]] == made.PROMPTS[:1]


def test_every_verdict_has_a_colour_of_its_own_in_the_style(text):
    for verdict in VERDICTS:
        assert re.search(rf"^\.{verdict.replace(' ', '-')} {{ color:", text, re.MULTILINE)


@pytest.mark.skipif(not shutil.which("node"), reason="there is no node to read the script")
def test_the_script_can_be_read():
    script = ROOT / "report/page/assets/explorer.js"
    subprocess.run(["node", "--check", script], check=True, timeout=60)


@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no browser")
def test_a_browser_shows_the_texts_of_the_position_of_the_slider(folder):
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    address = (folder / "index.html").as_uri()
    done = subprocess.run(
        [*command, address], check=True, capture_output=True, text=True, timeout=300
    )
    shown = Page(done.stdout)
    # the slider begins at lam = 0.5, whose effective strength is 1
    assert shown.texts["lam-label"] == "λ = 0.5, effective strength β₀/λ = 1"
    assert shown.texts["prompt-text"] == made.PROMPTS[0]
    labels = "objective dpo, seed 3.0"
    ending = f"prompt 0, sample 0. {made.HOSTILE}"
    assert shown.texts["dera-text"] == f"kind dera, {labels}, anchor 0.5, lam 1/2, {ending}"
    assert shown.texts["retrained-text"] == f"kind retrained, {labels}, beta 1, {ending}"
    assert shown.texts["reference-text"] == f"kind reference, {ending}"
    assert len(shown.all("svg")) == 2
    assert len(shown.all("img")) == 1
