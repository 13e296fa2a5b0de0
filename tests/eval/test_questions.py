"""Every open question is answered by the claims that say so, or is said to be open."""

import dataclasses

from eval.claims import (
    FAILED,
    INCONCLUSIVE,
    REPRODUCED,
    UNTESTED,
    agreement,
    identities,
    own_reference,
    several_rewards,
)
from eval.decide import CLAIMS
from eval.gather_claims import as_html
from eval.questions import QUESTIONS, page
from eval.readings import Readings
from tests.eval import synthetic, two_rewards


def claim(
    name: str, answers: str, verdict: str = REPRODUCED, headline: str = "It is 0.25 nats."
) -> dict:
    return {
        "id": name,
        "answers": [answers],
        "verdict": verdict,
        "headline": headline,
        "claim": f"What {name} claims.",
        "figure": "length/outside",
        "task": "length",
    }


def section(text: str, asked: str) -> str:
    return text.split(f"## {asked}\n")[1].split("\n## ")[0]


ASKED = {question.key: question.asked for question in QUESTIONS}


def test_a_question_is_answered_with_verdict_numbers_and_link():
    text = page("paper", [claim("length-breakdown-rloo-0.25", "outside")])
    own = section(text, ASKED["outside"])
    assert own.strip().startswith("Text stays whole at every lam that was tried.")
    assert "On `length`: It is 0.25 nats." in own
    assert "(claims.md#length-breakdown-rloo-025)" in own


def test_an_answer_says_yes_no_in_part_or_that_it_cannot_be_told():
    """The first sentence follows from the verdicts, and their numbers are shown."""
    verdicts = {
        "Yes.": [REPRODUCED, REPRODUCED],
        "No.": [FAILED, INCONCLUSIVE],
        "In part.": [REPRODUCED, FAILED],
        "We cannot tell yet.": [INCONCLUSIVE, REPRODUCED],
    }
    for first, given in verdicts.items():
        claims = [claim(f"c{i}", "strength", verdict) for i, verdict in enumerate(given)]
        answer = section(page("paper", claims), ASKED["strength"]).strip()
        assert answer.startswith(first)
        for verdict in given:
            assert f"{given.count(verdict)} {verdict}" in answer


def test_another_study_answers_what_this_one_leaves_open():
    elsewhere = {"other": [claim("length-c", "strength")]}
    untested = claim("length-d", "strength", UNTESTED, "There is one seed.")
    answer = section(page("paper", [untested], elsewhere), ASKED["strength"])
    assert "The study `other` answers. Yes." in answer
    assert "(../other/claims.md#length-c)" in answer
    own = section(page("paper", [claim("length-e", "strength")], elsewhere), ASKED["strength"])
    assert "other" not in own


def test_what_no_claim_bears_on_or_was_tested_is_not_answered_and_why():
    why = "The grid of lam does not leave [0, 1]."
    text = page("paper", [claim("length-breakdown-rloo", "outside", UNTESTED, why)])
    assert f"This question is not answered. {why}" in section(text, ASKED["outside"])
    several = section(text, ASKED["several-rewards"])
    assert (
        "This question is not answered. No task or objective of this study bears on it." in several
    )


def test_other_objectives_are_those_that_the_paper_did_not_use():
    claims = []
    for objective in ("rloo", "ipo"):
        known = synthetic.evidence(["0.25", "1"], "1", prompts=8)
        renamed = [dataclasses.replace(p, objective=objective) for p in known.policies]
        read = Readings(known.readings.table.assign(objective=objective))
        settings = {objective: known.objectives["rloo"]}
        judging = dataclasses.replace(known.judging, objectives=settings, main_objective=objective)
        known = dataclasses.replace(
            known, task="length", policies=renamed, judging=judging, readings=read
        )
        claims += [dataclasses.asdict(decided) for decided in agreement.decide(known)]
    for decided in claims:
        decided["verdict"] = REPRODUCED  # whatever it is, so that it is shown
    text = page("paper", claims)
    of_paper = section(text, ASKED["agreement"])
    others = section(text, ASKED["other-objectives"])
    assert "rloo" in of_paper
    assert "ipo" not in of_paper
    assert "rloo" not in others
    assert "ipo" in others


def test_a_claim_answers_questions_whatever_the_name_of_its_task():
    """A task may be called like a claim: hallucination is both."""
    text = page("paper", [claim("hallucination-per-token-identity", "identity")])
    assert "hallucination-per-token-identity" in section(text, ASKED["identity"])
    assert "hallucination-per-token-identity" not in section(text, ASKED["coherence"])


def test_every_claim_answers_questions_that_are_asked():
    worlds = {
        "length": [synthetic.LENGTH],
        "summarization": [synthetic.HACKED],
        "hallucination": [synthetic.INVENTING],
        "safety": synthetic.requests("harmful"),
    }
    answered = set(identities.exact(0).answers)
    for of_task in worlds.values():
        known = synthetic.evidence(
            ["0.25", "0.5", "1"],
            "0.5",
            prompts=12,
            worlds=of_task,
            reweighted={"best_of_n": [2]},
        )
        known = dataclasses.replace(known, seconds_saved={"rloo": [1.0, 1.1]})
        for module in CLAIMS:
            for decided in module.decide(known):
                answered |= set(decided.answers)
    for decided in several_rewards.decide(two_rewards.evidence(two_rewards.CONFLICT)):
        answered |= set(decided.answers)
    mixtures = synthetic.mixtures(["0.5", "1"], "0.5", {"other": synthetic.REFERENCE[::-1]})
    known = dataclasses.replace(synthetic.evidence(["0.5", "1"], "0.5"), mixtures=mixtures)
    for decided in own_reference.decide(known):
        answered |= set(decided.answers)
    # no synthetic objective is one that the paper did not use
    assert answered == set(ASKED) - {None, "other-objectives"}


def test_the_page_for_the_report_links_to_no_file():
    html = as_html("questions", page("paper", [claim("length-breakdown-rloo", "outside")]))
    assert "href" not in html
    assert "length-breakdown-rloo" in html
