"""Results on disk are those of the config, with or without Snakemake's own notes."""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path

import pytest
import yaml

from study import on_disk, resolve, settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config() -> dict:
    """The smoke study with its first task alone."""
    smoke = yaml.safe_load((ROOT / "config/smoke.yaml").read_text(encoding="utf-8"))
    return copy.deepcopy(smoke | {"tasks": {"length": smoke["tasks"]["length"]}})


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture
def results(tmp_path, config) -> Path:
    """A few results of the study, recorded as the jobs record them."""
    plan = resolve.plan_of(config)
    task = plan.tasks["length"]
    folder = tmp_path / "length"
    reference = {"seed": 0, "settings": settings.of_task(task, "model", "sft")}
    write(folder / "models/reference/training.json", reference | {"stage": "sft"})
    for run in task.runs:
        record = {"objective": run.objective, "beta": run.beta, "seed": run.seed}
        write(
            folder / "models" / run.folder / "training.json",
            record | {"settings": settings.aligning(task, run)},
        )
    for name, decoding in task.decodings.items():
        record = {"seed": decoding.seed, "settings": settings.decoding(task, name)}
        write(folder / "samples" / name / "decoding.json", record)
    write(folder / "data/made_with.json", {"seed": 0, "settings": settings.of_task(task, "corpus")})
    (folder / "data/train.parquet").write_bytes(b"")
    (folder / "tables").mkdir()
    (folder / "tables/policies.csv").write_text("kind\n")
    write(folder / "logs/summarize_policies.settings.json", settings.judging(plan, task))
    write(tmp_path / "manifest.json", {"config": plan.config})
    return tmp_path


def otherwise(config: dict, results: Path) -> dict[str, str]:
    """What was made otherwise, by its path below the results."""
    found = on_disk.made_otherwise(resolve.plan_of(config), results)
    return {str(path.relative_to(results)): what for path, what in found.items()}


def test_what_the_config_describes_is_left_alone(config, results):
    assert otherwise(config, results) == {}


def test_another_seed_of_the_study_makes_everything_again_that_depends_on_it(config, results):
    config["seed"] = 1
    found = otherwise(config, results)
    assert found["length/models/reference"] == "seed 0, not 1"
    assert found["length/data/train.parquet"] == "seed 0, not 1"
    assert found["length/samples/reference"] == "seed 0, not 1"
    assert found["manifest.json"] == "other settings"
    assert "length/models/rloo/beta=1/seed=0" not in found  # its own seed is the same


def test_another_setting_makes_again_what_was_made_with_it_and_nothing_else(config, results):
    objectives = config["tasks"]["length"]["alignment"]["objectives"]
    objectives["dpo"] = objectives["dpo"] | {"steps": 7}
    assert otherwise(config, results) == {
        "length/models/dpo/beta=0.5/seed=0": "other settings",
        "length/models/dpo/beta=0.5/seed=1": "other settings",
        "manifest.json": "other settings",
    }


def test_a_model_in_the_place_of_another_is_made_again(config, results):
    models = results / "length/models/rloo"
    record = (models / "beta=0.25/seed=1/training.json").read_text()
    (models / "beta=1/seed=0/training.json").write_text(record)
    assert otherwise(config, results) == {
        "length/models/rloo/beta=1/seed=0": "beta 0.25, not 1",
    }


def test_a_table_whose_job_had_other_settings_is_made_again(config, results):
    config["statistics"] = {"bootstrap_resamples": 300}
    assert otherwise(config, results) == {
        "length/tables/policies.csv": "other settings",
        "manifest.json": "other settings",
    }


@pytest.mark.parametrize("record", ["", "{", "[]", "3", "{}"])
def test_of_a_record_that_says_nothing_nothing_is_known(config, results, record):
    (results / "length/models/reference/training.json").write_text(record)
    config["seed"] = 1
    assert "length/models/reference" not in otherwise(config, results)


def test_results_without_snakemakes_notes_stop_the_study(config, results, monkeypatch, capsys):
    monkeypatch.chdir(results)
    on_disk.check_or_exit(resolve.plan_of(config), Path())
    config["seed"] = 1
    with pytest.raises(SystemExit) as ended:
        on_disk.check_or_exit(resolve.plan_of(config), Path())
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: this config does not describe what is in .: ")
    assert "length/data/train.parquet was made with seed 0, not 1" in said
    assert said.count("\n") == 1


def test_what_snakemake_has_a_note_on_is_left_to_it(config, results, monkeypatch, capsys):
    monkeypatch.chdir(results)
    config["seed"] = 1
    plan = resolve.plan_of(config)
    for output in on_disk.made_otherwise(plan, Path()):
        note = on_disk.NOTES / base64.urlsafe_b64encode(str(output).encode()).decode()
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text("{}")
    on_disk.check_or_exit(plan, Path())
    note.unlink()
    with pytest.raises(SystemExit):
        on_disk.check_or_exit(plan, Path())
    assert f"{output} was made with" in capsys.readouterr().err
