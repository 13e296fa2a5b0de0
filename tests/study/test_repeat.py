"""A job can be repeated by hand: its log begins with the command; its settings lie beside it."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from study import job

ROOT = Path(__file__).parents[2]


def run(command: str, folder: Path) -> subprocess.CompletedProcess:
    """Run a command as somebody would who copied it into a shell."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=environment | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_first_line_of_a_log_repeats_the_job_with_the_settings_beside_it(tmp_path):
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    (folder / "data.csv").write_text("a,b\n")
    settings = {"study": "it's", "lams": [0, 0.5]}
    arguments = (
        "--inputs data.csv --outputs data.csv --criteria none.json --output out/manifest.json "
        "--log logs/a.log"
    )
    given = f"--settings {shlex.quote(json.dumps(settings))} {arguments}"
    first = run(f"PYTHONPATH={shlex.quote(str(ROOT))} python -m study.manifest {given}", folder)
    assert first.returncode == 0, first.stderr
    manifest = json.loads((folder / "out/manifest.json").read_text())

    line = (folder / "logs/a.log").read_text().splitlines()[0]
    assert line.startswith("# To repeat this job: ")
    (folder / "out/manifest.json").unlink()
    again = run(line.removeprefix("# To repeat this job: "), folder)
    assert again.returncode == 0, again.stderr
    repeated = json.loads((folder / "out/manifest.json").read_text())
    assert repeated | {"written": manifest["written"]} == manifest
    beside = json.loads((folder / "logs/a.settings.json").read_text())
    assert beside == manifest["config"]


def test_settings_are_json_text_or_a_file_of_it(tmp_path):
    file = tmp_path / "settings.json"
    file.write_text('{"steps": 3}')
    parser = job.parser("")
    assert parser.parse_args(["--settings", '{"steps": 3}']).settings == {"steps": 3}
    assert parser.parse_args(["--settings", str(file)]).settings == {"steps": 3}


@pytest.mark.parametrize(
    ("value", "message"),
    [("{nonsense", "is not JSON"), ("nowhere.json", "nowhere.json cannot be read: No such file")],
)
def test_settings_that_cannot_be_read_are_refused_by_name(value, message, capsys):
    with pytest.raises(SystemExit):
        job.parser("").parse_args(["--settings", value])
    assert message in capsys.readouterr().err


def test_settings_that_do_not_fit_are_refused_by_key_and_value():
    @job.settings_class
    class Settings:
        steps: int

    args = job.parser("").parse_args(["--settings", '{"steps": "many", "stepz": 3}'])
    with pytest.raises(ValueError, match="steps") as refused:
        job.settings_of(args, Settings)
    assert "many" in str(refused.value)
    assert "stepz" in str(refused.value)


def test_the_help_of_every_job_says_how_to_repeat_one():
    assert "first line of its log" in job.parser("").format_help()
