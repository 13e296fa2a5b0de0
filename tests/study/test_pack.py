"""A pack holds what its study needs, in the same bytes each time. An altered one is refused."""

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from study import pack, packed
from study.pack import PackError
from study.packed import unpack

SETTINGS = {
    "main_objective": "rloo",
    "objectives": {
        "rloo": {"betas": ["0.5", "1"], "seeds": [3, 4], "default_beta": "0.5"},
        "dpo": {"betas": ["2"], "seeds": [3], "default_beta": None},
    },
}
MODELS = ("rloo/beta=0.5/seed=3", "rloo/beta=1/seed=4", "dpo/beta=2/seed=3")
#: What must be packed, written down by hand.
STUDY = {"manifest.json", "claims.json", "claims.md", "questions.md", "tables/timings.csv"}
STUDY |= {"tables/gap_trial.csv", "logs/gap_trial.settings.json"}
TASK = {"claims.json", "data/test.parquet", "tables/completions.parquet", "tables/policies.csv"}
TASK |= {"tables/win_rates.csv", "tables/agreement.csv", "tables/costs.csv", "tables/controls.csv"}
TASK |= {"tables/lengths.csv", "logs/decide_claims.settings.json", "logs/align/a.settings.json"}
TASK |= {"readings/rloo-seed=4.parquet", "reference_trials/seed=3.parquet"}
TASK |= {"curves/rloo/0.5/seed=3.csv", "models/reference/training.json"}
TASK |= {f"models/{model}/training.json" for model in MODELS}
TASK |= {"samples/reference/decoding.json", "samples/rloo-beta=1-seed=4/decoding.json"}
TASK |= {"samples/baselines-seed=3/decoding.json"}
#: What lies beside it: models, pages, logs, and what an earlier config has left.
LEFT_OUT = {"index.html", "logs/gap_trial.log", "figures/cost.png"}
LEFT_OUT |= {"length/data/train.parquet", "length/models/reference/model.safetensors"}
LEFT_OUT |= {"length/samples/reference/completions.parquet"}
LEFT_OUT |= {"length/models/rloo/beta=4/seed=3/training.json"}
LEFT_OUT |= {"length/samples/rloo-beta=4-seed=3/decoding.json"}
LEFT_OUT |= {"length/readings/rloo-seed=9.parquet"}
ADAPTERS = set()
for model in MODELS:
    ADAPTERS.add(f"length/models/{model}/adapter_config.json")
    ADAPTERS.add(f"length/models/{model}/adapter_model.safetensors")
EXPECTED = STUDY | {f"length/{name}" for name in TASK}


@pytest.fixture
def study(tmp_path) -> Path:
    """The folder of a finished study, whose files each hold their own names."""
    folder = tmp_path / "toy"
    for name in EXPECTED | LEFT_OUT | ADAPTERS:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (folder / "length/logs/decide_claims.settings.json").write_text(json.dumps(SETTINGS))
    table = "length/tables/completions.parquet"
    model = "length/models/rloo/beta=1/seed=4"
    manifest = {
        "config": {"study": "toy", "seed": 0, "tasks": {"length": {}}},
        "inputs": {"results/toy/length/data/test.parquet": sha256(b"length/data/test.parquet")},
        "outputs": {
            f"results/toy/{table}": sha256(table.encode()),
            f"results/toy/{model}": sha256(f"{model}/adapter_model.safetensors".encode()),
        },
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read(archive: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    """Every member of an archive, with its content."""
    with tarfile.open(archive) as members:
        return [(member, members.extractfile(member).read()) for member in members]


def write(archive: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(archive, "w:gz") as file:
        for member, content in members:
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return archive


def packed_members(study: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    archive = study.parent / "whole.tar.gz"
    pack.pack(study, archive)
    return read(archive)


def with_sums(members: list[tuple[tarfile.TarInfo, bytes]]) -> list[tuple[tarfile.TarInfo, bytes]]:
    """The same members with checksums made anew, as whoever alters a pack can make them."""
    lines = []
    for member, content in members[1:]:
        name = member.name.removeprefix("toy/")
        lines.append(f"{sha256(content)}  {name}\n")
    return [(members[0][0], "".join(lines).encode()), *members[1:]]


@pytest.mark.parametrize("adapters", [False, True])
def test_a_pack_holds_what_the_study_needs_and_nothing_else(study, adapters):
    archive = study.parent / "toy.tar.gz"
    count = pack.pack(study, archive, adapters)
    members = {member.name: content for member, content in read(archive)}
    wanted = EXPECTED | ADAPTERS if adapters else EXPECTED
    assert set(members) == {f"toy/{name}" for name in wanted | {"SHA256SUMS"}}
    assert count == len(wanted)
    lines = members.pop("toy/SHA256SUMS").decode().splitlines()
    sums = {f"toy/{line[66:]}": line[:64] for line in lines}
    assert sums == {name: sha256(content) for name, content in members.items()}
    for name, content in members.items():
        assert content == (study.parent / name).read_bytes()


def test_the_criteria_are_packed_where_there_are_some(study, monkeypatch):
    monkeypatch.chdir(study.parent)
    assert pack.criteria_of(study) is None
    path = Path("docs/criteria/toy.json")
    path.parent.mkdir(parents=True)
    path.write_text("[1]")
    pack.pack(study, study.parent / "toy.tar.gz", criteria=pack.criteria_of(study))
    members = {member.name: content for member, content in read(study.parent / "toy.tar.gz")}
    assert members["toy/criteria.json"] == b"[1]"


def test_the_same_study_gives_the_same_bytes_elsewhere_and_later(study):
    first, second = study.parent / "first.tar.gz", study.parent / "second.tar.gz"
    pack.pack(study, first)
    copy = study.parent / "elsewhere/toy"
    for path in sorted(study.rglob("*"), reverse=True):  # written in another order
        if path.is_file():
            target = copy / path.relative_to(study)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            os.utime(target, (1, 1))
            target.chmod(0o600)
    pack.pack(copy, second)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    "name", ["claims.md", "tables/timings.csv", "length/tables/completions.parquet"]
)
def test_a_study_that_is_not_finished_is_refused_by_the_missing_file(study, name):
    (study / name).unlink()
    with pytest.raises(PackError, match=f"{name} is missing, so this is no finished study"):
        pack.pack(study, study.parent / "toy.tar.gz")
    assert not (study.parent / "toy.tar.gz").exists()


@pytest.mark.parametrize(
    "text", [None, "", "[]", "{}", '{"config": {"tasks": {"../x": {}}}, "inputs": {"a": "b"}}']
)
def test_a_folder_without_a_whole_manifest_is_refused(study, text):
    (study / "manifest.json").unlink()
    if text is not None:
        (study / "manifest.json").write_text(text)
    with pytest.raises(PackError, match=r"manifest\.json is not the manifest of a finished study"):
        pack.pack(study, study.parent / "toy.tar.gz")


def test_a_file_that_changed_after_the_manifest_is_refused_by_name(study):
    (study / "length/data/test.parquet").write_text("others")
    with pytest.raises(PackError, match=r"length/data/test\.parquet is not what it was"):
        pack.pack(study, study.parent / "toy.tar.gz")


def test_an_adapter_that_changed_is_refused_only_where_adapters_are_packed(study):
    (study / "length/models/rloo/beta=1/seed=4/adapter_model.safetensors").write_text("others")
    pack.pack(study, study.parent / "toy.tar.gz")
    with pytest.raises(PackError, match=r"seed=4/adapter_model\.safetensors is not what it was"):
        pack.pack(study, study.parent / "toy.tar.gz", adapters=True)


def test_what_was_packed_is_unpacked(study, tmp_path):
    pack.pack(study, tmp_path / "toy.tar.gz")
    with packed.unpacked(tmp_path / "toy.tar.gz") as folder:
        assert folder.name == "toy"
        files = [path for path in folder.rglob("*") if path.is_file()]
        found = {path.relative_to(folder).as_posix() for path in files}
        assert found == EXPECTED | {"SHA256SUMS"}
        for name in EXPECTED:
            assert (folder / name).read_bytes() == (study / name).read_bytes()
    assert not folder.exists()


@pytest.mark.parametrize("name", ["toy/claims.json", "toy/length/tables/completions.parquet"])
def test_an_altered_file_is_refused_by_its_name(study, tmp_path, name):
    members = []
    for member, content in packed_members(study):
        members.append((member, content + b" " if member.name == name else content))
    archive = write(tmp_path / "altered.tar.gz", members)
    with pytest.raises(PackError, match=f"^{name.removeprefix('toy/')} was altered"):
        unpack(archive, tmp_path / "into")


def link(kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo("toy/link")
    member.type, member.linkname = kind, "/etc/hostname"
    return member


HOSTILE = {
    "above": (tarfile.TarInfo("toy/../../escaped"), "'toy/../../escaped' is outside"),
    "beside": (tarfile.TarInfo("escaped"), "'escaped' is outside"),
    "absolute": (tarfile.TarInfo("/tmp/escaped"), "'/tmp/escaped' is outside"),
    "of windows": (tarfile.TarInfo("toy/..\\escaped"), "is outside"),
    "a drive": (tarfile.TarInfo("c:/escaped"), "'c:/escaped' is outside"),
    "another folder": (tarfile.TarInfo("other/file"), "must hold one folder, and holds 2"),
    "twice": (tarfile.TarInfo("toy/claims.md"), "'toy/claims.md' is in the pack twice"),
    "a file as a folder": (tarfile.TarInfo("toy/claims.md/x"), "is in the pack twice"),
    "a symbolic link": (link(tarfile.SYMTYPE), "'toy/link' is no plain file"),
    "a hard link": (link(tarfile.LNKTYPE), "'toy/link' is no plain file"),
    "a device": (link(tarfile.CHRTYPE), "'toy/link' is no plain file"),
    "a folder": (link(tarfile.DIRTYPE), "'toy/link' is no plain file"),
    "unknown": (tarfile.TarInfo("toy/more.csv"), "more.csv is in the pack but not in its SHA256"),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("first", [False, True])
def test_a_member_that_a_pack_must_not_have_is_refused_and_nothing_is_written_outside(
    study, tmp_path, kind, first
):
    member, said = HOSTILE[kind]
    members = packed_members(study)
    hostile = [(member, b"")]
    members = hostile + members if first else members + hostile
    archive = write(tmp_path / "hostile.tar.gz", members)
    (tmp_path / "a/b").mkdir(parents=True)
    before = {path for path in tmp_path.rglob("*") if path != tmp_path / "a/b"}
    if kind in ("twice", "a file as a folder") and first:
        said = "twice"  # said of the one that comes second
    with pytest.raises(PackError, match=said):
        unpack(archive, tmp_path / "a/b")
    after = {path for path in tmp_path.rglob("*") if tmp_path / "a/b" not in path.parents}
    assert after - {tmp_path / "a/b"} == before


def test_a_missing_member_and_missing_checksums_are_refused(study, tmp_path):
    members = packed_members(study)
    gone = [item for item in members if item[0].name != "toy/claims.md"]
    with pytest.raises(PackError, match=r"^claims\.md is in SHA256SUMS but not in the pack"):
        unpack(write(tmp_path / "gone.tar.gz", gone), tmp_path / "gone")
    with pytest.raises(PackError, match="the pack has no SHA256SUMS"):
        unpack(write(tmp_path / "unsigned.tar.gz", members[1:]), tmp_path / "unsigned")
    nonsense = [(members[0][0], b"no sum\n"), *members[1:]]
    with pytest.raises(PackError, match="SHA256SUMS has the line 'no sum'"):
        unpack(write(tmp_path / "nonsense.tar.gz", nonsense), tmp_path / "nonsense")


def test_a_pack_that_unpacks_to_too_much_is_refused_unless_it_is_asked_for(study, tmp_path):
    members = packed_members(study)
    members.append((tarfile.TarInfo("toy/zeros"), bytes(10**6)))
    archive = write(tmp_path / "bomb.tar.gz", with_sums(members))
    assert archive.stat().st_size < 20_000
    with pytest.raises(PackError, match=r"more than 0\.0005 GB; .* add --max-gigabytes 0\.002"):
        unpack(archive, tmp_path / "refused", max_bytes=500_000)
    assert (unpack(archive, tmp_path / "taken", max_bytes=2_000_000) / "zeros").exists()


def test_what_is_no_archive_or_is_cut_is_refused(study, tmp_path):
    pack.pack(study, tmp_path / "toy.tar.gz")
    whole = (tmp_path / "toy.tar.gz").read_bytes()
    contents = [b"", b"text", whole[: len(whole) // 2], gzip.compress(b"no archive" * 200)]
    for number, content in enumerate(contents):
        path = tmp_path / f"{number}.tar.gz"
        path.write_bytes(content)
        with pytest.raises(PackError, match=r"cannot be read as a pack|must hold one folder"):
            unpack(path, tmp_path / str(number))
    with pytest.raises(PackError, match="cannot be read as a pack"):
        unpack(tmp_path / "nothing.tar.gz", tmp_path / "nothing")
    with pytest.raises(PackError, match="toy is a folder; pack it first: python -m study.pack"):
        unpack(study, tmp_path / "folder")


def test_the_command_tells_the_size_and_an_error_in_one_line(study, tmp_path):
    command = [sys.executable, "-m", "study.pack", str(study), "--output", "toy.tar.gz"]
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    options = dict(capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    done = subprocess.run(command, **options)
    megabytes = (tmp_path / "toy.tar.gz").stat().st_size / 1e6
    assert done.stdout == (
        f"toy.tar.gz has {len(EXPECTED)} files of {study} and takes {megabytes:.1f} MB\n"
    )
    (study / "claims.md").unlink()
    done = subprocess.run(command, **options)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {study}/claims.md is missing")
    assert done.stderr.count("\n") == 1
