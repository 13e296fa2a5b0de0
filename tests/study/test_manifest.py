"""The checksums of the manifest are those of the bytes, and its commit is that of the source."""

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from study import manifest, modules


def test_a_checksum_is_the_sha256_of_the_bytes_and_changes_with_one(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(bytes(range(256)) * 10)
    before = manifest.checksum(path)
    assert before == hashlib.sha256(bytes(range(256)) * 10).hexdigest()
    path.write_bytes(bytes(range(256)) * 9 + bytes(range(255)) + b"\0")
    assert manifest.checksum(path) != before


def test_a_model_is_its_safetensors(tmp_path):
    (tmp_path / "b.safetensors").write_bytes(b"second")
    (tmp_path / "a.safetensors").write_bytes(b"first")
    (tmp_path / "training.json").write_text('{"seconds": 3.2}')
    before = manifest.checksum(tmp_path)
    assert before == hashlib.sha256(b"firstsecond").hexdigest()
    (tmp_path / "training.json").write_text('{"seconds": 3.3}')
    assert manifest.checksum(tmp_path) == before
    (tmp_path / "b.safetensors").write_bytes(b"sekond")
    assert manifest.checksum(tmp_path) != before


def git(folder: Path, *arguments: str) -> str:
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", "-C", folder, *author, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_and_the_files_that_differ_from_it(tmp_path, monkeypatch):
    monkeypatch.setattr(modules, "ROOT", tmp_path)
    git(tmp_path, "init", "--quiet")
    (tmp_path / "code.py").write_text("1")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    assert manifest.commit() == {"commit": git(tmp_path, "rev-parse", "HEAD"), "changed": []}
    (tmp_path / "code.py").write_text("2")
    (tmp_path / "a new file").write_text("3")
    assert manifest.commit()["changed"] == ["M code.py", '?? "a new file"']


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(modules, "ROOT", tmp_path)  # no repository
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert manifest.commit() == {"commit": None, "changed": None}
    monkeypatch.setenv("PATH", str(tmp_path))  # no Git at all
    assert manifest.commit() == {"commit": None, "changed": None}


def test_the_manifest_has_config_versions_and_a_checksum_of_each_file(tmp_path, monkeypatch):
    data = tmp_path / "train.parquet"
    data.write_text("the data")
    claims = tmp_path / "claims.json"
    claims.write_text("the claims")
    output = tmp_path / "manifest.json"
    settings = {"study": "tiny", "seed": 3}
    arguments = ["--settings", json.dumps(settings), "--inputs", data, "--outputs", claims]
    arguments += ["--criteria", tmp_path / "criteria.json"]
    monkeypatch.setattr(sys, "argv", ["manifest", *map(str, arguments), "--output", str(output)])
    before = datetime.now(UTC).replace(microsecond=0)  # it is written in whole seconds
    manifest.main()
    written = json.loads(output.read_text())
    assert written["config"] == settings
    assert written["versions"]["torch"]
    assert before <= datetime.fromisoformat(written["written"]) <= datetime.now(UTC)
    assert written["machine"]["cores"] == os.cpu_count()
    assert written["inputs"] == {str(data): hashlib.sha256(b"the data").hexdigest()}
    assert written["outputs"] == {str(claims): hashlib.sha256(b"the claims").hexdigest()}


def test_a_file_that_is_missing_is_an_error_and_not_a_checksum(tmp_path):
    with pytest.raises(FileNotFoundError):
        manifest.checksum(tmp_path / "nothing.csv")


def test_the_image_is_the_one_that_whoever_started_the_container_named(monkeypatch):
    monkeypatch.delenv("DERA_IMAGE", raising=False)
    assert manifest.machine()["image"] is None
    monkeypatch.setenv("DERA_IMAGE", "sha256:12ab")
    assert manifest.machine()["image"] == "sha256:12ab"
