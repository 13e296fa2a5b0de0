"""Controls break what they say, leave the rest alone, and keep claims from staying reproduced."""

import functools
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from eval import controls
from eval.claims import FAILED, REPRODUCED
from eval.controls import breaking
from eval.decide import decide, evidence_from
from eval.other_references import Mixtures
from tests.eval import synthetic
from tests.eval.claims.wrong import too_far

LAMS = ("-1", "0", "1/4", "1/2", "3/4", "1", "2", "4")
BETAS = ("0.25", "0.5", "1")
WORLDS = {
    "length": (synthetic.LENGTH,),
    "inventing": (synthetic.INVENTING,),
    "requests": tuple(synthetic.requests("harmful")),
}


@functools.cache
def study(world: str):
    return synthetic.study(BETAS, "0.5", LAMS, prompts=90, worlds=WORLDS[world])


@functools.cache
def mixtures(world: str) -> Mixtures:
    """One world also has mixtures with another reference, which prefers other completions."""
    if world != "length":
        return Mixtures()
    return synthetic.mixtures(BETAS, "0.5", {"other": synthetic.REFERENCE[::-1]}, prompts=90)


def verdicts(table, readings, judging, mixed) -> dict[str, str]:
    claims = decide(evidence_from("paper", table, readings, judging, 0, mixed))
    return {claim.id: claim.verdict for claim in claims}


def under(control: controls.Control, world: str) -> dict[str, str]:
    """The verdicts from the evidence that a control has broken."""
    table, readings, judging = study(world)
    return verdicts(
        control.completions(table, judging),
        control.readings(readings, judging),
        judging,
        control.mixtures(mixtures(world)),
    )


@functools.cache
def before(world: str) -> dict[str, str]:
    return verdicts(*study(world), mixtures(world))


def aimed_at(control: controls.Control, world: str) -> list[str]:
    """The claims that a control aims at and that a perfect DeRa is known to reproduce."""
    reproduced = [claim for claim, verdict in before(world).items() if verdict == REPRODUCED]
    return [claim for claim in reproduced if control.aims("paper", claim)]


@pytest.mark.parametrize(
    ("claim", "aimed"),
    [
        ("hallucination-hallucination-rloo", True),
        ("hallucination-smooth-rloo", True),
        ("hallucination-own-model-rloo-0.5", False),  # at lam = 1 that is so whatever lam does
        ("hallucination-whole-below-0-rloo", False),
    ],
)
def test_a_task_that_is_called_like_a_kind_of_claims_is_no_such_kind(claim, aimed):
    (ignored,) = [control for control in controls.CONTROLS if control.name == "lam ignored"]
    assert ignored.aims("hallucination", claim) is aimed


@pytest.mark.parametrize("world", ["length", "inventing", "requests"])
@pytest.mark.parametrize("control", controls.CONTROLS, ids=lambda control: control.name)
def test_no_claim_that_a_control_aims_at_survives_it(control, world):
    aimed = aimed_at(control, world)
    after = under(control, world)
    assert [claim for claim in aimed if after[claim] == REPRODUCED] == []


def test_a_perfect_dera_gives_every_control_something_to_aim_at():
    """The strength claim needs an imperfect reward, which these worlds do not have."""
    for control in controls.CONTROLS:
        assert any(aimed_at(control, world) for world in ("length", "inventing", "requests"))


def test_heavy_noise_leaves_claims_open_and_refutes_few():
    """Each test for "fails" has level 5% over a claim's conditions."""
    (noise,) = [control for control in controls.CONTROLS if control.name == "heavy noise"]
    refuted = 0
    aimed = 0
    for world in ("length", "inventing", "requests"):
        after = under(noise, world)
        aimed += len(aimed_at(noise, world))
        refuted += sum(after[claim] == FAILED for claim in aimed_at(noise, world))
    assert aimed >= 6
    assert refuted <= 2


def test_a_scaled_lam_is_read_as_the_decoder_at_that_lam_is_read():
    """Interpolation between neighbouring factors is off by less than a thousandth of a nat."""
    options = dict(prompts=8, noise=0.0, spread=0.0)
    exact = synthetic.readings(["0.5", "1"], ["0.5"], sampler=too_far(1.3), **options)
    plain = synthetic.readings(["0.5", "1"], ["0.5"], **options)
    _, _, judging = study("length")
    scaled = breaking.scaled_readings(1.3)(plain, judging)
    for beta in (Fraction("0.5"), Fraction(1)):
        for column, tolerance in (("kl", 1e-3), ("slope", 2e-2)):
            factors, truth = exact.dera("rloo", beta, Fraction("0.5"), True, column)
            _, moved = scaled.dera("rloo", beta, Fraction("0.5"), True, column)
            inside = factors * 1.3 <= factors.max()
            np.testing.assert_allclose(moved[..., inside], truth[..., inside], atol=tolerance)


def test_shuffled_betas_keep_the_lam_that_dera_decodes_at():
    _, readings, judging = study("length")
    moved = breaking.readings_of_other_betas(readings, judging).table
    dera = moved[moved["reader"] == "dera"]
    matched = dera["anchor"].astype(float) / dera["beta"].astype(float)
    np.testing.assert_allclose(dera["lam"], dera["factor"] * matched)


@pytest.mark.parametrize("control", controls.CONTROLS, ids=lambda control: control.name)
def test_a_control_changes_no_table_in_place_and_keeps_its_shape(control):
    table, readings, judging = study("length")
    kept = table.copy()
    kept_readings = readings.table.copy()
    kept_mixtures = mixtures("length").table.copy()
    broken = control.completions(table, judging)
    control.readings(readings, judging)
    mixed = control.mixtures(mixtures("length"))
    pd.testing.assert_frame_equal(table, kept)
    pd.testing.assert_frame_equal(readings.table, kept_readings)
    pd.testing.assert_frame_equal(mixtures("length").table, kept_mixtures)
    assert len(broken) == len(table)
    assert len(mixed.table) == len(kept_mixtures)
    reference = broken[broken["kind"] == "reference"].reset_index(drop=True)
    original = table[table["kind"] == "reference"].reset_index(drop=True)
    pd.testing.assert_frame_equal(reference, original, check_dtype=False)


def test_the_summary_counts_survivors():
    table = pd.DataFrame(
        {
            "control": ["lam ignored"] * 3,
            "what is broken": ["x"] * 3,
            "claim": ["a", "b", "c"],
            "aimed": [True, True, False],
            "before": [REPRODUCED, REPRODUCED, REPRODUCED],
            "under the control": [FAILED, REPRODUCED, REPRODUCED],
        }
    )
    (row,) = controls.summary(table).to_dict("records")
    assert row["reproduced before"] == 2
    assert row["still reproduced"] == 1
    assert row["survivors"] == "b"
