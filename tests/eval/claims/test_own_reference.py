"""The claim about the reference: true, false, undecided, and not tested."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from eval.claims import FAILED, INCONCLUSIVE, REPRODUCED, UNTESTED, own_reference
from eval.controls import breaking
from eval.other_references import Mixtures, rows
from tests.eval import synthetic
from tests.eval.claims.wrong import by_kind

BETAS = ("0.25", "0.5", "1")
ANCHOR = "0.5"
OTHER = synthetic.REFERENCE[::-1]
#: The probabilities of another reference at which the claim is true, by its name.
FAR = {"pretrained": np.full(5, 0.2), "other": OTHER}


def decided(mixtures: Mixtures, betas=BETAS, seeds: int = 5):
    known = synthetic.evidence(betas, ANCHOR, seeds=seeds)
    known = dataclasses.replace(known, mixtures=mixtures)
    (claim,) = own_reference.decide(known)
    return claim


def mixed(others=FAR, betas=BETAS, **more) -> Mixtures:
    return synthetic.mixtures(betas, ANCHOR, others, **more)


def test_another_reference_leads_away_from_retrained_models():
    claim = decided(mixed())
    assert claim.verdict == REPRODUCED
    assert claim.id == "paper-own-reference-rloo"
    assert len(claim.evidence["conditions"]) == 4  # two references at two betas
    # At beta = 1 the exact mixture with the own reference is the retrained model; from any other
    # reference it is off by the exact KL.
    aligned = synthetic.optimum(0.5)
    off = synthetic.normalised(np.sqrt(OTHER * aligned))
    expected = synthetic.kl(synthetic.optimum(1.0), off)
    (line,) = [
        line
        for line in claim.evidence["by beta"]
        if line["beta"] == 1 and line["reference"] == "other"
    ]
    assert line["more than with the own reference"]["value"] == pytest.approx(expected, rel=0.1)


def test_three_seeds_are_enough_and_two_are_not():
    assert decided(mixed(seeds=3), seeds=3).verdict == REPRODUCED
    assert decided(mixed(seeds=2), seeds=2).verdict == UNTESTED


def test_the_own_reference_in_the_place_of_the_others_does_not_reproduce_the_claim():
    """It is the same to the last digit, so that nothing can be told."""
    same = breaking.mixtures_of_own_reference(mixed())
    assert same.others == ["pretrained", "other"]
    assert decided(same).verdict == INCONCLUSIVE


def test_a_reference_that_is_as_good_leaves_the_claim_open():
    """The other reference has the own one's probabilities, and completions of its own."""
    mixtures = mixed({"other": OTHER})
    own = mixed({"other": synthetic.REFERENCE}, noise=0.05)
    rng = np.random.default_rng(0)
    table = own.table.copy()
    table["kl_retrained"] *= 1 + 0.5 * rng.normal(size=len(table))
    assert decided(mixtures).verdict == REPRODUCED
    assert decided(Mixtures(table)).verdict != REPRODUCED


def test_a_better_reference_refutes_the_claim():
    """What is called the own reference is far, and the other one is the own one."""
    swapped = {"own": "other", "other": "own"}
    table = mixed({"other": OTHER}).table
    claim = decided(Mixtures(table.assign(reference=table["reference"].map(swapped))))
    assert claim.verdict == FAILED


def test_one_better_reference_of_two_refutes_the_claim():
    table = mixed().table
    better = table["reference"].eq("other")
    table.loc[better, "kl_retrained"] = 0.0
    own = table["reference"].eq("own") & table["beta"].notna()
    table.loc[own, "kl_retrained"] += 0.1
    assert decided(Mixtures(table)).verdict == FAILED


def test_a_beta_that_says_nothing_does_not_count():
    """Where training hardly moves the model, other seeds move it as far."""
    betas = ("0.5", "200")
    known = dataclasses.replace(
        synthetic.evidence(betas, ANCHOR, noise=0.2), mixtures=mixed(betas=betas)
    )
    (claim,) = own_reference.decide(known)
    assert claim.verdict == UNTESTED
    assert "No other beta is informative (200)" in claim.headline


def test_a_task_without_mixtures_or_without_another_beta_has_nothing_to_test():
    assert own_reference.decide(synthetic.evidence(BETAS, ANCHOR)) == []
    claim = decided(mixed(betas=("0.5",)), betas=("0.5",))
    assert claim.verdict == UNTESTED
    assert "There is no other beta" in claim.headline


def test_the_claim_is_one_of_those_that_are_decided():
    from eval.decide import decide

    known = dataclasses.replace(synthetic.evidence(BETAS, ANCHOR), mixtures=mixed())
    assert by_kind(decide(known), "own-reference").verdict == REPRODUCED


def test_the_table_has_a_row_for_each_reference_and_lam():
    mixtures = mixed()
    table = pd.DataFrame(rows(mixtures))
    assert table["reference"].tolist() == [*["own"] * 3, *["pretrained"] * 3, *["other"] * 3]
    assert table["lam"].tolist() == [0.5, 1, 2] * 3
    assert table["beta"].fillna(0).tolist() == [1, 0, 0.25] * 3
    of_other = table[table["reference"].eq("other") & table["beta"].eq(1)].iloc[0]
    raw = mixtures.table[mixtures.table["beta"].eq("1")].groupby("reference")["kl_retrained"].mean()
    assert of_other["kl_retrained"] == pytest.approx(raw["other"])
    assert of_other["excess"] == pytest.approx(raw["other"] - raw["own"])
    assert of_other["excess_low"] < of_other["excess"] < of_other["excess_high"]
    assert table.loc[table["reference"] == "own", "excess"].isna().all()
