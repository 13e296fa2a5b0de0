"""A miniature of the study on text that people wrote; skipped where DERA_CORPUS does not name the files of config/local-text.yaml."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.workflow.conftest import ROOT, Study

pytestmark = pytest.mark.workflow


@pytest.mark.skipif(
    "DERA_CORPUS" not in os.environ, reason="DERA_CORPUS does not name a folder with the files"
)
def test_the_study_runs_on_human_text(tiny_config, tmp_path):
    shipped = yaml.safe_load((ROOT / "config" / "local-text.yaml").read_text())
    corpus = shipped["tasks"]["length"]["corpus"]
    study = Study(tmp_path, tiny_config | {"study": "human"})
    study.settings["corpus"] = corpus
    result = study.run()
    assert result.returncode == 0, result.stderr[-3000:]
    prompts = pd.read_parquet(study.of_task / "data/test.parquet")["prompt"]
    assert prompts.str.endswith("\nSummary:").all()
    assert prompts.str.split().str.len().max() <= corpus["max_prompt_words"] + 1
    assert len(prompts) == sum(
        1 for _ in _lines(Path(os.environ["DERA_CORPUS"]) / corpus["files"]["test"])
    )
    assert len(pd.read_csv(study.of_task / "tables/policies.csv")) > 5


def _lines(path: Path):
    import gzip

    with gzip.open(path, "rt") as file:
        yield from file
