"""Files that were left empty or cut are found, and named when the job that reads them fails."""

import argparse
import json

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from study import job
from study.files import broken_file


def write(path) -> None:
    """Write a whole file of the kind that its name says."""
    if path.suffix == ".json":
        path.write_text(json.dumps({"a": list(range(50))}))
    elif path.suffix == ".safetensors":
        save_file({"a": torch.zeros(100)}, path)
    elif path.suffix == ".parquet":
        pd.DataFrame({"a": range(50)}).to_parquet(path)
    elif path.suffix == ".csv":
        pd.DataFrame({"a": range(50)}).to_csv(path)
    else:
        torch.save({"a": torch.zeros(100)}, path)


KINDS = ["x.json", "x.safetensors", "x.parquet", "x.pt"]


@pytest.mark.parametrize("name", [*KINDS, "x.csv"])
def test_a_whole_file_is_not_broken_and_an_empty_one_is(tmp_path, name):
    write(tmp_path / name)
    assert broken_file(tmp_path) is None
    (tmp_path / name).write_bytes(b"")
    assert broken_file(tmp_path) == broken_file(tmp_path / name) == tmp_path / name


@pytest.mark.parametrize("name", KINDS)
def test_a_cut_file_is_broken(tmp_path, name):
    write(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    assert broken_file(tmp_path) == tmp_path / name


def test_what_does_not_exist_is_not_broken(tmp_path):
    assert broken_file(tmp_path / "none") is None


def failing(args, error, capfd) -> str:
    """What the terminal says when a job fails with that error."""
    with pytest.raises(type(error)), job.running("sft", args):
        raise error
    return capfd.readouterr().err.splitlines()[-1]


def test_a_failed_job_names_the_input_that_is_broken(tmp_path, capfd):
    model = tmp_path / "results" / "model"
    model.mkdir(parents=True)
    write(model / "x.safetensors")
    args = argparse.Namespace(reference=model, tables=[tmp_path / "none"], log=None, threads=1)
    error = KeyError("a")
    assert failing(args, error, capfd) == "[sft] failed: KeyError: 'a'"
    (model / "x.safetensors").write_bytes(b"")
    assert failing(args, error, capfd) == (
        f"[sft] failed: KeyError: 'a'. {model / 'x.safetensors'} is empty or cut; delete {model} "
        "and run the study again, which makes it anew"
    )


def test_of_a_file_that_no_study_made_it_is_not_said_that_a_study_makes_it_anew(tmp_path, capfd):
    prompts = tmp_path / "prompts.parquet"
    prompts.write_bytes(b"")
    args = argparse.Namespace(prompts=prompts, log=None, threads=1)
    said = failing(args, KeyError("a"), capfd)
    assert said == f"[sft] failed: KeyError: 'a'. {prompts} is empty or cut"


def test_an_error_of_ours_is_not_headed_by_its_kind(capfd):
    from tasks import TaskError

    args = argparse.Namespace(log=None, threads=1)
    assert failing(args, TaskError("task x: no"), capfd) == "[sft] failed: task x: no"
