"""Results are published only if they are the study's and are what the manifest says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from study.manifest import checksum
from study.publication import (
    PublicationError,
    check,
    check_comparison,
    check_config,
    check_folder,
    check_named,
)


@pytest.fixture
def manifest(tmp_path, monkeypatch) -> Path:
    """The manifest of a study of one input and two outputs, one of which is a model."""
    monkeypatch.chdir(tmp_path)
    Path("data.parquet").write_bytes(b"data")
    Path("claims.json").write_text("[]")
    Path("model").mkdir()
    Path("model/model.safetensors").write_bytes(b"weights")
    content = {
        "config": {"study": "toy", "replicate": 1},
        "inputs": {"data.parquet": checksum(Path("data.parquet"))},
        "outputs": {name: checksum(Path(name)) for name in ("claims.json", "model")},
    }
    path = Path("manifest.json")
    path.write_text(json.dumps(content))
    return path


def test_whole_results_of_the_study_are_accepted(manifest):
    check(manifest, "toy", 1)


@pytest.mark.parametrize(("study", "replicate"), [("laptop", 1), ("toy", 0), ("toy", 2)])
def test_results_of_another_study_or_replicate_are_refused(manifest, study, replicate):
    with pytest.raises(PublicationError, match="is of the study 'toy', replicate 1, but"):
        check(manifest, study, replicate)


@pytest.mark.parametrize("name", ["data.parquet", "claims.json", "model/model.safetensors"])
def test_a_file_that_has_changed_is_named(manifest, name):
    Path(name).write_bytes(b"else")
    with pytest.raises(PublicationError, match=f"{name.split('/')[0]} is not what it was"):
        check(manifest, "toy", 1)


def test_a_file_that_is_missing_is_named(manifest):
    Path("claims.json").unlink()
    with pytest.raises(PublicationError, match=r"claims\.json is in manifest\.json but is missing"):
        check(manifest, "toy", 1)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"config": {}, "inputs": {}, "outputs": {}}']
)
def test_a_manifest_that_is_not_whole_is_refused(manifest, text):
    manifest.write_text(text)
    with pytest.raises(PublicationError, match="is not a whole manifest"):
        check(manifest, "toy", 1)


def test_a_comparison_of_other_claims_is_refused(manifest):
    page, claims = Path("replicates.md"), Path("claims.json")
    page.write_text(f"SHA-256 of the claims: `{checksum(claims)}`.")
    check_comparison(page, claims)
    claims.write_text("[1]")
    with pytest.raises(PublicationError, match="was not made from claims.json as it is now"):
        check_comparison(page, claims)


def test_the_command_says_so_in_one_line(manifest):
    command = [sys.executable, "-m", "study.publication", "manifest.json", "--study", "laptop"]
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert done.stderr.startswith("error: manifest.json is of the study 'toy'")
    assert done.stderr.count("\n") == 1


def test_results_of_the_config_at_hand_are_accepted_and_of_another_are_not(manifest):
    check_config(manifest, {"study": "toy", "replicate": 1})
    with pytest.raises(PublicationError, match=r"config than the one at hand: seed differs"):
        check_config(manifest, {"study": "toy", "replicate": 1, "seed": 1})


def test_the_folder_of_a_study_in_config_is_for_that_config_alone(tmp_path):
    """A study that calls itself `laptop` must not overwrite the published `laptop`."""
    own = tmp_path / "laptop.yaml"
    own.write_text("study: laptop\ntasks: {length: {betas: [1, 2]}}\n")
    whole = {"study": "laptop", "tasks": {"length": {"betas": [1, 2]}}}
    check_folder(tmp_path / "docs", whole | {"replicate": 2}, own)
    other = {"study": "laptop", "tasks": {"length": {"betas": [1, 3]}}}
    with pytest.raises(PublicationError, match=r"is not for this study: tasks\.length\.betas"):
        check_folder(tmp_path / "docs", other, own)
    # the remedy: another name
    check_folder(tmp_path / "docs", other | {"study": "mine"}, tmp_path / "mine.yaml")


def test_a_folder_that_another_study_was_published_in_is_kept(manifest, tmp_path):
    folder = manifest.parent
    missing = tmp_path / "toy.yaml"
    check_folder(folder, {"study": "toy", "replicate": 2}, missing)
    other = {"study": "toy", "seed": 3}
    with pytest.raises(PublicationError, match=r"seed differs from the study that is published"):
        check_folder(folder, other, missing)
    # the remedy: to delete what was published
    manifest.unlink()
    check_folder(folder, other, missing)


def test_a_file_that_the_manifest_does_not_know_is_named(manifest):
    check_named(manifest, [Path("claims.json")])
    with pytest.raises(PublicationError, match=r"policies\.csv is not in manifest\.json"):
        check_named(manifest, [Path("claims.json"), Path("policies.csv")])
