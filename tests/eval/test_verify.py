"""What follows from a packed study is compared with what the study says, to the last number."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from eval import comparing, controls, redraw, verify
from eval.difference import in_tables, in_values
from eval.rederive import Derived
from study import pack, packed
from study.job import Progress
from tests.eval import packed_study

QUIET = Progress("test", sys.stderr)
#: The tables of a task of which a cell is altered, and in which column.
COLUMNS = {"policies": "kl", "win_rates": "win_rate", "lengths": "share", "kl_by_lam": "kl"}
COLUMNS |= {"training": "value", "costs": "dera", "controls": "under the control"}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The folder of a study made on paper, as the jobs of the workflow left it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        # one control, because all of them take long
        chosen = [control for control in controls.CONTROLS if control.name == "lam ignored"]
        monkeypatch.setattr(controls, "CONTROLS", tuple(chosen))
        yield packed_study.make(tmp_path_factory.mktemp("made") / "results", monkeypatch)


@pytest.fixture(scope="module")
def whole(study) -> Path:
    """The pack of the study."""
    path = study.parent.parent / "paper.tar.gz"
    pack.pack(study, path)
    return path


@pytest.fixture(scope="module")
def derived(study, whole) -> Derived:
    """What follows from the tables of the pack."""
    with packed.unpacked(whole) as folder:
        return verify.derive(folder, [packed_study.TASK], 0, QUIET)


@pytest.fixture
def copy(study, tmp_path) -> Path:
    """A copy of the study that a test may alter."""
    return shutil.copytree(study, tmp_path / "paper")


@pytest.fixture
def check(derived, monkeypatch, capsys):
    """Pack a folder as it is, verify the pack, and return the exit status and the lines said.

    What follows from the tables is known, unless the pack says that they were altered.
    """

    def checked(folder: Path, *options, tables_altered: bool = False) -> tuple[int, list[str]]:
        if not tables_altered:
            monkeypatch.setattr(verify, "derive", lambda *arguments: derived)
        monkeypatch.setattr(pack, "changed_since", lambda *arguments: [])
        archive = folder.parent / "altered.tar.gz"
        pack.pack(folder, archive)
        monkeypatch.setattr(sys, "argv", ["verify", str(archive), *map(str, options)])
        with pytest.raises(SystemExit) as ended:
            verify.main()
        return ended.value.code, capsys.readouterr().out.splitlines()

    return checked


def test_every_number_of_a_whole_pack_is_derived_again(study, whole, derived):
    written = json.loads((study / "claims.json").read_text())
    ids = [claim["id"] for claim in written if not claim["id"].endswith("per-token-identity")]
    assert [claim["id"] for claim in derived.claims] == ids
    compared = comparing.claims(written, derived, "claims.json")
    assert (compared.count, compared.differences) == (len(written) - 1, [])
    of_tables = comparing.tables(study, derived)
    files = {path.relative_to(study).as_posix() for path in study.rglob("*.csv")}
    of_pack = {name for name in files if "/curves/" not in name} - {"tables/timings.csv"}
    assert of_pack <= set(derived.tables)
    assert (of_tables.count, of_tables.differences) == (len(of_pack), [])


def test_the_summary_counts_claims_and_those_that_need_models(check, copy):
    status, lines = check(copy)
    count = len(json.loads((copy / "claims.json").read_text())) - 1
    assert status == 0
    assert lines[0] == (
        f"{count} claims re-derived, {count} equal; 1 needs the models and was not re-derived "
        "(length-per-token-identity)."
    )
    assert lines[1].endswith("; 1 was taken as packed (tables/timings.csv).")
    assert len(lines) == 3


def test_altered_completions_and_readings_are_reported_by_claims_and_tables(check, copy):
    # one completion of DeRa at lam = 1/2 is judged otherwise
    path = copy / "length/tables/completions.parquet"
    table = pd.read_parquet(path)
    row = table.index[(table["kind"] == "dera") & (table["lam"] == "1/2")][0]
    table.loc[row, "gold"] = -1.0 - table.loc[row, "gold"]
    table.to_parquet(path)
    # and the retrained models read as if they were far from DeRa
    for path in (copy / "length/readings").iterdir():
        table = pd.read_parquet(path)
        table.loc[table["reader"] == "dera", "kl"] *= 100
        table.to_parquet(path)

    status, lines = check(copy, tables_altered=True)
    assert status == 1
    assert any(line.startswith("gold in row ") for line in lines)
    (smooth,) = [line for line in lines if line.startswith("length-smooth-rloo: ")]
    assert "in claims.json, but the tables of the pack give" in smooth
    (read,) = [line for line in lines if line.startswith("length-interpolation-rloo-0.25: ")]
    assert "evidence.by beta[0].KL to DeRa" in read
    assert "length/tables/completions.parquet is not what the manifest says" in lines


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("verdict", "not reproduced"),
        ("headline", "It is 7."),
        ("criterion", "None."),
        ("task", "x"),
    ],
)
def test_an_altered_claim_is_one_line(check, copy, key, value):
    claims = json.loads((copy / "claims.json").read_text())
    (claim,) = [claim for claim in claims if claim["id"] == "decoding-time"]
    before, claim[key] = claim[key], value
    (copy / "claims.json").write_text(json.dumps(claims))
    status, lines = check(copy)
    assert status == 1
    (line,) = [line for line in lines if line.startswith("decoding-time: ")]
    assert line.startswith(f"decoding-time: {key} is {value!r} in claims.json, but the tables of")
    assert str(before)[:20] in line


def test_a_number_of_the_evidence_may_be_rounded_but_not_altered(check, copy):
    def with_factor(factor: float) -> list[str]:
        claims = json.loads((copy / "claims.json").read_text())
        (claim,) = [claim for claim in claims if claim["id"] == "length-no-retraining-rloo"]
        claim["evidence"]["conditions"][0]["value"] *= factor
        (copy / "claims.json").write_text(json.dumps(claims))
        (copy / "length/claims.json").write_text(json.dumps([c for c in claims if c["task"]]))
        return [line for line in check(copy)[1] if line.startswith("length-no-retraining-rloo: ")]

    assert with_factor(1 + 1e-8) == []
    (line,) = with_factor(1 + 1e-4)
    assert line.startswith("length-no-retraining-rloo: evidence.conditions[0].value is ")


def test_claims_that_are_missing_invented_or_said_twice_are_reported(check, copy):
    claims = json.loads((copy / "claims.json").read_text())
    gone, twice = claims[1], claims[2]
    invented = twice | {"id": "invented"}
    kept = [claim for claim in claims[2:] if not claim["id"].endswith("per-token-identity")]
    (copy / "claims.json").write_text(json.dumps([claims[0], twice, invented, *kept]))
    status, lines = check(copy)
    assert status == 1
    assert f"{gone['id']}: it follows from the tables but is not in claims.json" in lines
    assert "invented: it is in claims.json but follows from no table" in lines
    assert f"{twice['id']}: it is in claims.json 2 times" in lines
    identity = "length-per-token-identity"
    assert f"{identity}: it is not in claims.json, but every task has it" in lines


def test_a_page_and_claims_of_a_task_that_say_something_else_are_reported(check, copy):
    page = (copy / "claims.md").read_text()
    (copy / "claims.md").write_text(page.replace("**reproduced**", "**proved**"))
    of_task = json.loads((copy / "length/claims.json").read_text())
    (copy / "length/claims.json").write_text(json.dumps(of_task[:-1]))
    status, lines = check(copy)
    assert status == 1
    assert "length/claims.json has other claims than claims.json" in lines
    (line,) = [line for line in lines if line.startswith("claims.md: its line ")]
    assert "proved" in line


@pytest.mark.parametrize("name", COLUMNS)
def test_a_table_of_which_one_cell_was_altered_is_reported(check, copy, name):
    path = copy / f"length/tables/{name}.csv"
    table = pd.read_csv(path)
    column = COLUMNS[name]
    last = table.index[-1]
    table.loc[last, column] = "altered" if name == "controls" else table.loc[last, column] + 0.01
    table.to_csv(path, index=False)
    status, lines = check(copy)
    assert status == 1
    (line,) = [line for line in lines if f" in length/tables/{name}.csv, but" in line]
    assert line.startswith(f"{column} in row ")


def test_settings_that_are_not_those_of_the_config_are_reported(check, copy):
    path = copy / "length/logs/decide_claims.settings.json"
    settings = json.loads(path.read_text())
    settings["objectives"]["rloo"]["optimum"] = "unknown"
    path.write_text(json.dumps(settings))
    status, lines = check(copy)
    assert status == 1
    assert lines[0] == (
        "length/logs/decide_claims.settings.json: objectives.rloo.optimum is 'unknown', but the "
        "config gives 'known'"
    )


def test_without_the_files_of_a_config_the_rest_is_compared(check, copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["config"]["tasks"]["length"]["module"] = "not_here.py"
    (copy / "manifest.json").write_text(json.dumps(manifest))
    status, lines = check(copy)
    assert status == 0
    assert lines[0].startswith("note: the settings are taken as the pack has them")
    assert "not_here.py" in lines[0]
    assert not any("settings of judging jobs" in line for line in lines)


def test_a_file_that_the_manifest_does_not_know_so_is_reported(whole, tmp_path):
    with packed.unpacked(whole) as folder:
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["outputs"]["results/paper/claims.md"] = "0" * 64
        assert pack.changed_since(manifest, packed.read_sums(folder)) == ["claims.md"]


def test_a_published_folder_is_compared_claim_by_claim(check, copy, tmp_path):
    docs = tmp_path / "docs/paper"
    docs.mkdir(parents=True)
    for name in ("claims.json", "claims.md", "manifest.json", "questions.md"):
        shutil.copyfile(copy / name, docs / name)
    for name in ("policies.csv", "agreement.csv"):
        shutil.copyfile(copy / "tables" / name, docs / name)
    status, lines = check(copy, "--against", docs)
    assert status == 0
    assert f"{docs}: 2 tables compared, 2 equal." in lines
    assert f"{docs}: 3 files compared, 3 equal." in lines

    claims = json.loads((docs / "claims.json").read_text())
    claims[-1]["verdict"] = "proved"
    (docs / "claims.json").write_text(json.dumps(claims))
    (docs / "manifest.json").write_text("{}")
    status, lines = check(copy, "--against", docs)
    assert status == 1
    said = f"{claims[-1]['id']}: verdict is 'proved' in {docs}/claims.json, but the tables"
    assert any(line.startswith(said) for line in lines)
    assert f"{docs}/manifest.json is not the manifest.json of the pack" in lines


def test_what_is_refused_ends_with_status_2_and_one_line(whole, tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    for options, said in (
        ([cut], "cannot be read as a pack"),
        ([whole, "--against", tmp_path / "empty"], "claims.json is missing; name the folder of a"),
        ([whole, "--max-gigabytes", "0.000001"], "add --max-gigabytes"),
    ):
        monkeypatch.setattr(sys, "argv", ["verify", *map(str, options)])
        with pytest.raises(SystemExit) as ended:
            verify.main()
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert said in error
        assert error.count("\n") == 1


def test_figures_are_drawn_from_the_derived_tables(whole, derived, tmp_path, monkeypatch):
    """Only the commands are looked at; tests/figures/ draws figures."""
    commands = []

    def run(command, **options):
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(redraw.subprocess, "run", run)
    plan = verify._plan({"config": packed_study.config_of_study()})
    with packed.unpacked(whole) as folder:
        count = redraw.draw(folder, derived, plan, tmp_path, QUIET)
        tables = [word for command in commands for word in command if word.endswith(".csv")]
        drawn = {command[-1] for command in commands}
        assert all(str(folder) in table for table in tables)
    assert count == len(commands) == len(drawn)
    assert str(tmp_path / "length/reward_kl_by_beta.png") in drawn
    assert str(tmp_path / "agreement.png") in drawn


@pytest.mark.parametrize(
    ("written", "derived", "places"),
    [
        (1.0, 1.0 + 5e-7, []),
        (1.0, 1.0 + 5e-6, [""]),
        (0.0, 5e-10, []),
        (0.0, 5e-9, [""]),
        (1, True, [""]),
        (None, 0.0, [""]),
        (float("nan"), float("nan"), []),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, ["a[1].b"]),
        ({"a": 1}, {"b": 1}, ["a", "b"]),
        ([1, 2], [1], [""]),
        ("There are 5 seeds.", "There are 6 seeds.", [""]),
        ("It is 0.12 nats.", "It is 0.13 nats.", []),  # 0.125, rounded up or down
        ("It is 0.12 nats.", "It is 0.14 nats.", [""]),
        ("It is 0.12 nats.", "It is 0.12 bits.", [""]),
        ("It is -0.12.", "It is +0.12.", [""]),
        ("The largest is 1e-07.", "The largest is 2e-07.", []),
        ("The largest is 1e-07.", "The largest is 1e-06.", [""]),
    ],
)
def test_values_are_equal_up_to_rounding(written, derived, places):
    assert [found.place for found in in_values(written, derived)] == places


def test_tables_are_equal_up_to_rounding_and_where_it_is_allowed_to_order():
    columns = {"name": ["a", None, "b"], "value": [1.0, 2.0, None], "is": [True, False, True]}
    table = pd.DataFrame(columns)
    assert not list(in_tables(table, table.assign(value=[1.0 + 5e-7, 2.0, None])))
    (found,) = in_tables(table, table.assign(value=[1.0, None, None]))
    assert found.place == "value in row 2 (1 rows differ)"
    (found,) = in_tables(table, table.assign(**{"is": [True, True, True]}))
    assert found.place == "is in row 2 (1 rows differ)"
    assert list(in_tables(table, table[::-1]))
    assert not list(in_tables(table, table[::-1], ["name"]))
    (found,) = in_tables(table, table[:2])
    assert found.place == "the number of rows"
    (found,) = in_tables(table, table[["name", "value"]])
    assert found.place == "the header"
    carriage = pd.DataFrame({"text": ['a\rb "c"', "d\ne"]})
    assert not list(in_tables(carriage, carriage))
