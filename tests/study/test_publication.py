"""Results are published only if they are the study's and are what the manifest says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from study.manifest import checksum
from study.publication import PublicationError, check, check_comparison


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
