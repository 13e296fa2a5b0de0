"""Which preference pairs each training learns from."""

from __future__ import annotations

import pytest

from tests.workflow.conftest import Study
from tests.workflow.studies import smoke_section, tiny_study

pytestmark = pytest.mark.workflow


def test_each_seed_learns_from_pairs_of_its_own_and_one_reward_model_serves_all(
    tmp_path, warm_environment
):
    section = smoke_section("summarization")
    section["alignment"]["seeds"] = [0, 3]
    study = Study(tmp_path, tiny_study(summarization=section), warm_environment)
    models = "results/tiny/summarization/models"
    beta = section["alignment"]["objectives"]["dpo"]["betas"][0]
    planned = study.planned(f"{models}/dpo/beta={beta}/seed=3")
    assert {job for job in planned if "draw" in job} == {
        "draw_preferences task=summarization, learner=seed=3"
    }
    beta = section["alignment"]["objectives"]["rloo"]["betas"][0]
    planned = study.planned(
        f"{models}/rloo/beta={beta}/seed=0", f"{models}/rloo/beta={beta}/seed=3"
    )
    assert {job for job in planned if "draw" in job or "reward" in job} == {
        "draw_preferences task=summarization, learner=reward_model",
        "train_reward_model task=summarization",
    }
