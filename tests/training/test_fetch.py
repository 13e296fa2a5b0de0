"""A published file or model is fetched whole and checked, or one message says what to do.

pip is given a folder of wheels that the tests write, and the Hub's client a server of this process.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from study import sources
from study.modules import ROOT
from study.sources import HubModel, HubTable, WheelFile
from tasks.corpora import columns, tables
from training import fetch
from training.fetch import FetchError

CONTENT = b"How do I bake bread?\n" * 500
SUM = hashlib.sha256(CONTENT).hexdigest()
FILE = "tiny/data/prompts.txt"
SOURCE = WheelFile("tiny", "1.0", FILE, SUM)
COMMIT = "0123456789" * 4
MODEL = HubModel("owner/model", "main")
TABLE = HubTable("owner/model", "main", "data/train-*.jsonl")


def write_wheel(folder: Path, **more: bytes) -> Path:
    """Write a wheel that pip accepts: the file, its metadata, and `more` members."""
    members = {
        FILE: CONTENT,
        "tiny/data/prompts-2.txt": b"",
        "tiny/__init__.py": b"raise SystemExit('a file of the wheel was run')",
        "tiny-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "tiny-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n",
        "tiny-1.0.dist-info/RECORD": b"",
    }
    path = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (members | more).items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A folder with one wheel, which is all that pip sees."""
    folder = tmp_path / "index"
    folder.mkdir()
    write_wheel(folder)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """Servers of this process are reached directly, whatever proxy the machine has."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def output(tmp_path) -> Path:
    return tmp_path / "results" / "downloads" / "here"


def failure(source: WheelFile | HubModel | HubTable, output: Path) -> str:
    """What is said where a source cannot be fetched. Nothing of it is kept."""
    with pytest.raises(FetchError) as caught:
        fetch.fetch(source, output)
    assert [path.name for path in output.parent.iterdir()] == [".here.lock"]
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_one_file_of_a_wheel_is_kept_and_nothing_of_it_is_run(index, output):
    assert fetch.fetch(SOURCE, output)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == {"prompts.txt": CONTENT}


def test_a_file_with_another_checksum_is_not_kept(index, output):
    said = failure(WheelFile("tiny", "1.0", FILE, "0" * 64), output)
    assert f"expects sha256 = {'0' * 64}, and the file has {SUM}" in said


def test_similar_files_are_named_where_the_wheel_has_no_such_file(index, output):
    said = failure(WheelFile("tiny", "1.0", "tiny/prompts.txt", SUM), output)
    assert said.startswith(
        "there is no file tiny/prompts.txt in the wheel tiny 1.0. Correct `file`"
    )
    assert f": {FILE}, tiny/data/prompts-2.txt" in said


def test_a_version_that_the_index_lacks_is_named_with_a_way_to_do_without_it(index, output):
    said = failure(WheelFile("tiny", "2.0", FILE, SUM), output)
    assert f"{FILE} in the wheel tiny 2.0 could not be downloaded. pip says: No matching" in said
    assert "run `pip download --no-deps tiny==2.0` on a machine that can" in said
    assert "as `path`, instead of `wheel`, `version` and `file`" in said


@pytest.mark.parametrize("bytes_kept", [300, -40])
def test_a_cut_wheel_is_called_cut(bytes_kept, index, output):
    wheel = next(index.iterdir())
    wheel.write_bytes(wheel.read_bytes()[:bytes_kept])
    said = failure(SOURCE, output)
    assert "the wheel is cut or damaged. Remove pip's copy with " in said


def test_a_wheel_whose_file_is_damaged_is_called_damaged(index, output):
    wheel = next(index.iterdir())
    content = bytearray(wheel.read_bytes())
    content[60] ^= 255  # in the compressed bytes of the first member
    wheel.write_bytes(content)
    assert "the wheel is cut or damaged" in failure(SOURCE, output)


def test_a_member_above_the_wheel_is_written_nowhere_but_in_the_folder(index, output):
    write_wheel(index, **{"../evil": b"evil", "/evil": b"evil"})
    fetch.fetch(SOURCE, output)
    assert [path.name for path in output.iterdir()] == ["prompts.txt"]
    evil = WheelFile("tiny", "1.0", "../evil", hashlib.sha256(b"evil").hexdigest())
    fetch.fetch(evil, output.with_name("evil-folder"))  # the schema of a config refuses this name
    found = sorted(str(path.relative_to(output.parent)) for path in output.parent.rglob("evil*"))
    assert found == ["evil-folder", "evil-folder/evil"]


def test_a_python_without_pip_is_told_how_to_get_it(index, output, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    said = failure(SOURCE, output)
    assert "this Python has no pip" in said
    assert "-m ensurepip`" in said
    assert "`path`" in said


def test_what_pip_says_is_in_the_log_and_no_password_is_anywhere(
    index, output, monkeypatch, capfd, serve
):
    address = serve({}).removeprefix("http://")
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://someone:secret@{address}/simple")
    said = failure(WheelFile("tiny", "2.0", FILE, SUM), output)
    log = "".join(capfd.readouterr())
    assert "ERROR: No matching distribution found for tiny==2.0" in log
    assert "secret" not in said + log


@pytest.mark.parametrize("text", ["x//a:b@c/d y", "x//a@c/d y", "x//a:b@b@c/d y", "x//c/d y"])
def test_the_password_is_taken_out_of_an_address(text):
    assert fetch.without_credentials(text) == "x//c/d y"


def test_a_folder_that_another_process_has_fetched_meanwhile_is_kept(output):
    results = []
    waiting = threading.Thread(target=lambda: results.append(fetch.fetch(SOURCE, output)))
    with fetch._alone(output):
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        output.mkdir()
        (output / "prompts.txt").write_bytes(CONTENT)
    waiting.join(10)
    assert results == [False]


def test_a_file_that_has_changed_since_is_fetched_again(index, output):
    output.mkdir(parents=True)
    (output / "prompts.txt").write_bytes(CONTENT[:-1])
    assert fetch.fetch(SOURCE, output)
    assert (output / "prompts.txt").read_bytes() == CONTENT


def test_a_path_on_this_machine_is_not_fetched(output):
    with pytest.raises(ValueError, match="is not fetched"):
        fetch.fetch(sources.OwnPath("x"), output)


# The Hub


@pytest.fixture
def serve() -> Iterator:
    """Start a server that answers a path with a status, headers and a body; 404 otherwise."""
    servers = []

    def start(answers: dict[str, tuple[int, dict[str, str], bytes]]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                path = self.path.split("?")[0]
                self.server.asked.append(path)
                status, headers, body = answers.get(path, (404, {}, b""))
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.asked = []
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    start.servers = servers
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def repository(
    files: dict[str, bytes], kind: str = "models"
) -> dict[str, tuple[int, dict[str, str], bytes]]:
    """The answers of a Hub that has one repository, `owner/model`, with a branch `main`.

    Its kind is "models" or "datasets".
    """
    api = f"/api/{kind}/{MODEL.hub}"
    place = MODEL.hub if kind == "models" else f"{kind}/{MODEL.hub}"
    siblings = [{"rfilename": name} for name in files]
    about = json.dumps({"id": MODEL.hub, "sha": COMMIT, "siblings": siblings}).encode()
    tree = []
    for name, content in files.items():
        digest = hashlib.sha1(content).hexdigest()
        tree.append({"type": "file", "path": name, "size": len(content), "oid": digest})
    is_json = {"Content-Type": "application/json"}
    answers = {f"{api}/revision/{name}": (200, is_json, about) for name in ("main", COMMIT)}
    answers[f"{api}/tree/{COMMIT}"] = (200, is_json, json.dumps(tree).encode())
    for name, content in files.items():
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        answers[f"/{place}/resolve/{COMMIT}/{name}"] = (200, headers, content)
    return answers


WANTED = {
    "config.json": b"{}",
    "model.safetensors": b"\x02\0\0\0\0\0\0\0{}",
    "tokenizer.json": b"{}",
    "tokenizer.model": b"x",
    "chat_template.jinja": b"x",
    "merges.txt": b"x",
}
UNWANTED = {
    "README.md": b"x",
    "modeling_model.py": b"raise SystemExit",
    "pytorch_model.bin": b"x",
    "onnx/model.json": b"{}",
}


def use_hub(monkeypatch, address: str) -> None:
    """Let the Hub's client, which is imported already, talk to this address."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", address)


def test_a_model_comes_as_safetensors_without_code_or_pickles(output, monkeypatch, serve):
    use_hub(monkeypatch, serve(repository(WANTED | UNWANTED)))
    fetch.fetch(MODEL, output)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == WANTED
    use_hub(monkeypatch, "http://127.0.0.1:9")
    assert not fetch.fetch(MODEL, output)  # it is there


def test_a_repository_with_pickles_alone_is_refused_before_they_are_downloaded(
    output, monkeypatch, serve
):
    use_hub(monkeypatch, serve(repository(UNWANTED | {"onnx/x.safetensors": b"x"})))
    said = failure(MODEL, output)
    assert "has no file *.safetensors but pickled weights (pytorch_model.bin), and nothing" in said
    assert not [path for path in serve.servers[0].asked if "resolve" in path]


PAIRS = {
    "data/train-1.jsonl": b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n',
    "data/train-2.jsonl": b'{"prompt": "d", "chosen": "e", "rejected": "f"}\n',
}
NOT_ASKED_FOR = {"README.md": b"x", "data/test-1.jsonl": b"x", "build.py": b"raise SystemExit"}


def test_of_a_data_set_only_the_named_files_come_and_they_are_one_table(output, monkeypatch, serve):
    use_hub(monkeypatch, serve(repository(PAIRS | NOT_ASKED_FOR, "datasets")))
    assert fetch.fetch(TABLE, output)
    files = [path for path in output.rglob("*") if path.is_file()]
    assert {str(path.relative_to(output)): path.read_bytes() for path in files} == PAIRS
    found = columns.texts(tables.read(output / TABLE.file), {})
    assert found.columns == {
        "prompt": ["a", "d"],
        "chosen": ["b", "e"],
        "rejected": ["c", "f"],
    }
    use_hub(monkeypatch, "http://127.0.0.1:9")
    assert not fetch.fetch(TABLE, output)  # it is there


def test_a_data_set_without_the_file_is_refused_before_anything_is_downloaded(
    output, monkeypatch, serve
):
    use_hub(monkeypatch, serve(repository(PAIRS | NOT_ASKED_FOR, "datasets")))
    said = failure(HubTable("owner/model", "main", "train-1.jsonl"), output)
    assert said.startswith(
        "there is no file train-1.jsonl in the data set owner/model at the revision main. "
        "Correct `file` in the config: of its 5 files these are the most similar: data/t"
    )
    assert not [path for path in serve.servers[0].asked if "resolve" in path]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://127.0.0.1:9", "the Hub cannot be reached from here (ConnectError)"),
        (None, "the Hub has no such data set, or it is private. Correct `hub`, or run `hf auth"),
    ],
)
def test_why_the_hub_gives_no_table_is_said_with_a_remedy(
    address, reason, output, monkeypatch, serve
):
    not_found = (404, {"X-Error-Code": "RepoNotFound"}, b"")
    server = serve({f"/api/datasets/{TABLE.hub}/revision/main": not_found})
    use_hub(monkeypatch, address or server)
    said = failure(TABLE, output)
    assert f"{TABLE.file} of the data set owner/model at the revision main could not be" in said
    assert reason in said
    assert (
        "`hf download owner/model --repo-type dataset --revision main "
        "--include 'data/train-*.jsonl' --local-dir FOLDER`"
    ) in said
    assert "as `path`, instead of `hub`, `revision` and `file`" in said


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (404, "RepoNotFound", "the Hub has no such model, or it is private. Correct `hub`, or run"),
        (404, "RevisionNotFound", "owner/model has no such revision. Correct `revision`"),
        (403, "GatedRepo", "it is gated. Ask for access on its page, and then run `hf auth login`"),
        (418, "", "the Hub answers with the status 418"),
    ],
)
def test_why_the_hub_gives_no_model_is_said_with_a_remedy(
    status, code, reason, output, monkeypatch, serve
):
    answer = (status, {"X-Error-Code": code}, b"")
    use_hub(monkeypatch, serve({f"/api/models/{MODEL.hub}/revision/main": answer}))
    said = failure(MODEL, output)
    assert f"owner/model at the revision main could not be fetched: {reason}" in said
    assert "`hf download owner/model --revision main --local-dir FOLDER`" in said
    assert "as `path`, instead of `hub` and `revision`" in said


def test_weights_of_a_gated_model_are_refused_after_its_files_were_listed(
    output, monkeypatch, serve
):
    answers = repository(WANTED)
    for path in answers:
        if "resolve" in path:
            answers[path] = (403, {"X-Error-Code": "GatedRepo"}, b"")
    use_hub(monkeypatch, serve(answers))
    assert "it is gated" in failure(MODEL, output)


def test_a_hub_that_cannot_be_reached_is_named_as_such(output, monkeypatch, serve):
    use_hub(monkeypatch, "http://127.0.0.1:9")
    assert "the Hub cannot be reached from here (ConnectError)" in failure(MODEL, output)


def test_an_offline_client_is_named_as_such(output, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    try:
        assert "HF_HUB_OFFLINE is set. Unset it" in failure(MODEL, output)
    finally:
        huggingface_hub.close_session()


# The rule

SNAKEFILE = """
import json
import re
from study import sources

SOURCES = json.loads(config["sources"])
shell.prefix("export PYTHONPATH=" + config["root"] + "; ")


def text(value):
    return json.dumps(value, sort_keys=True)


def either(names):
    return "|".join(map(re.escape, names))


rule all:
    input: "read.txt"

include: config["root"] + "/training/fetch.smk"

rule read:
    input: ancient(config["input"])
    output: "read.txt"
    params: file=config["file"]
    shell: "cp {params.file:q} {output:q}"
"""


def test_a_rule_that_needs_a_file_has_it_fetched_first(index, tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    config = {
        "root": str(ROOT),
        "sources": json.dumps(sources.to_fetch([SOURCE])),
        "input": sources.input_of(SOURCE),
        "file": sources.where(SOURCE),
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", "config.json"]
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": paths}

    def run(*more: str) -> str:
        options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
        done = subprocess.run([*command, *more], **options)
        assert done.returncode == 0, done.stderr
        return done.stderr

    said = run()
    assert (tmp_path / "read.txt").read_bytes() == CONTENT
    assert f"[fetch] {SOURCE} is in {sources.input_of(SOURCE)}" in said
    log = (tmp_path / f"{sources.input_of(SOURCE)}.log").read_text()
    assert log.startswith("# To repeat this job: ")
    assert "Saved ./results/downloads" in log

    # It is there for good: not even `--forceall` needs the index again.
    next(index.iterdir()).unlink()
    assert f"[fetch] {SOURCE} was there already" in run("--forceall")
