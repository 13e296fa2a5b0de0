"""Every open question is answered by the claims that bear on it, or said to be open."""

from eval.claims import REPRODUCED, UNTESTED
from eval.gather_claims import as_html
from eval.questions import QUESTIONS, page


def claim(name: str, verdict: str = REPRODUCED, headline: str = "0.25 nats") -> dict:
    return {
        "id": name,
        "verdict": verdict,
        "headline": headline,
        "claim": f"What {name} claims.",
        "figure": "length/outside",
        "task": "length",
    }


def section(text: str, asked: str) -> str:
    return text.split(f"## {asked}\n")[1].split("\n## ")[0]


OUTSIDE, SEVERAL = (
    next(q.asked for q in QUESTIONS if word in q.asked) for word in ("outside", "several rewards")
)


def test_a_question_is_answered_with_verdict_numbers_link_and_figure():
    own = section(page("paper", [claim("length-breakdown-rloo-0.25")]), OUTSIDE)
    assert "- length, **reproduced**: What length-breakdown-rloo-0.25 claims. 0.25 nats" in own
    assert "(claims.md#length-breakdown-rloo-025)" in own
    assert "(figures/length/outside.png)" in own


def test_what_no_claim_bears_on_or_was_tested_is_not_answered_and_why():
    text = page(
        "paper", [claim("length-breakdown-rloo", UNTESTED, "the grid does not leave [0, 1]")]
    )
    assert "Not answered, because the grid does not leave [0, 1]." in section(text, OUTSIDE)
    assert "Not answered, because no task or alignment of this study bears on it." in section(
        text, SEVERAL
    )


def test_other_objectives_are_those_that_the_paper_did_not_use():
    text = page("paper", [claim("length-agreement-rloo-1"), claim("length-agreement-ipo-1")])
    known, other = (
        next(q.asked for q in QUESTIONS if word in q.asked) for word in ("go with those", "IPO")
    )
    assert "rloo" in section(text, known)
    assert "rloo" not in section(text, other)
    assert "ipo" in section(text, other)


def test_the_page_for_the_report_links_to_no_file():
    html = as_html("questions", page("paper", [claim("length-breakdown-rloo")]))
    assert "href" not in html
    assert "length-breakdown-rloo" in html
