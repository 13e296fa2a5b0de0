"""A miniature of the study on text that people wrote.

It is skipped where DERA_CORPUS does not name the folder with the files of config/local-text.yaml.
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.workflow.conftest import Study
from tests.workflow.studies import ROOT, tiny_study, with_rloo

pytestmark = pytest.mark.workflow


@pytest.mark.skipif(
    "DERA_CORPUS" not in os.environ, reason="DERA_CORPUS does not name a folder with the files"
)
def test_the_study_runs_on_human_text(warm_environment, tmp_path):
    shipped = yaml.safe_load((ROOT / "config/local-text.yaml").read_text())
    corpus = shipped["tasks"]["length"]["corpus"]
    study = Study(tmp_path, tiny_study(length=with_rloo("length")), warm_environment)
    study.section("length")["corpus"] = corpus
    study.finish("results/tiny/claims.json", "results/tiny/length/tables/policies.csv")
    prompts = pd.read_parquet(study.results / "length/data/test.parquet")["prompt"]
    assert prompts.str.endswith("\nSummary:").all()
    assert prompts.str.split().str.len().max() <= corpus["max_prompt_words"] + 1
    with gzip.open(Path(os.environ["DERA_CORPUS"]) / corpus["files"]["test"], "rt") as lines:
        assert len(prompts) == sum(1 for _ in lines)
    assert len(pd.read_csv(study.results / "length/tables/policies.csv")) > 5
