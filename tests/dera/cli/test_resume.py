"""`dera tune` and `dera diagnose` go on where they were interrupted, and give the same file."""

import os
import shutil

import pytest

from dera.cli import main
from dera.curve import sampling

PROMPTS = ["w3 w4 w5", "w8", "w9 w2", "w4", "w6 w6"]
OPTIONS = ["--samples", "4", "--batch-size", "7", "--max-new-tokens", "5", "--seed", "3", "--quiet"]
EXTRA = {
    "diagnose": ["--lams", "0.5,2"],
    # Three of five prompts choose. Two sampled lams do not suffice, so others are added.
    "tune": ["--held-out", "0.4", "--sampled-lams", "0,6", "--lams", "0:6:1"],
}


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """A metric's file."""
    path = tmp_path_factory.mktemp("judge") / "judge.py"
    path.write_text(
        "def count(prompts, texts):\n    return [len(text.split()) for text in texts]\n"
    )
    return path


@pytest.fixture(scope="module", params=EXTRA)
def finished(request, llamas, judge, tmp_path_factory):
    """A command's words without its output, and the folder of its complete result, x.json."""
    folder = tmp_path_factory.mktemp("finished")
    words = [request.param, *llamas, *PROMPTS, *OPTIONS, *EXTRA[request.param]]
    if request.param == "tune":
        words += ["--metric", f"{judge}:count"]
    assert main([*words, "--output", str(folder / "x.json")]) == 0
    return words, folder


@pytest.fixture
def batches(monkeypatch):
    """The rows of each decoded batch; at batch number `.stop` the command is interrupted."""

    class Batches(list):
        stop = None

    decoded = Batches()
    original = sampling.sample_completions

    def counting(model, tokenizer, prompts, *rest, **options):
        if len(decoded) == decoded.stop:
            raise KeyboardInterrupt
        decoded.append(len(prompts))
        return original(model, tokenizer, prompts, *rest, **options)

    monkeypatch.setattr(sampling, "sample_completions", counting)
    return decoded


def test_wherever_it_is_interrupted_the_result_is_the_same(finished, tmp_path, dera, batches):
    words, folder = finished
    whole = (folder / "x.json").read_bytes()
    output = tmp_path / "x.json"
    status, shown, _ = dera(*words, "--output", output)
    assert status == 0
    total = len(batches)
    assert total > 4
    assert output.read_bytes() == whole
    # The trial of the metric is decoded anew each time, and no batch is decoded twice.
    trial = 1 if words[0] == "tune" else 0
    for stop in (trial + 1, total - 1):
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        batches.clear()
        batches.stop = stop
        status, out, err = dera(*words, "--output", output)
        assert (status, out) == (130, "")
        assert f"what was decoded is in {output}.partial: the same command goes on" in err
        with (tmp_path / "x.json.partial").open("a") as file:
            file.write('{"lams": [')  # as if it had been cut off while writing
        batches.clear()
        batches.stop = None
        status, out, err = dera(*words, "--output", output)
        assert (status, out) == (0, shown)
        assert f"going on with {output}.partial: {stop - trial} batches are there" in err
        assert len(batches) == total - stop + trial
        assert output.read_bytes() == whole
        assert sorted(os.listdir(tmp_path)) == ["x.json", "x.json.meta.json"]


@pytest.mark.usefixtures("no_model")
def test_a_complete_result_is_shown_again_and_a_changed_one_is_refused(finished, tmp_path, dera):
    words, folder = finished
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    output = tmp_path / "x.json"
    status, out, err = dera(*words, "--output", output)
    assert status == 0
    assert f"{output} is complete already: nothing was decoded" in err
    assert out.startswith(("lam  ", "  lam"))
    assert err.count("dera: warning") >= 1  # of few prompts
    output.write_text(output.read_text().replace("0", "1"))
    status, _, err = dera(*words, "--output", output)
    assert status == 2
    assert f"{output} was changed since this command wrote it: delete it to start over" in err


def test_other_settings_are_refused_until_the_partial_file_is_deleted(
    finished, tmp_path, dera, batches
):
    words, _ = finished
    output = tmp_path / "x.json"
    batches.stop = 2
    assert dera(*words, "--output", output)[0] == 130
    partial = tmp_path / "x.json.partial"
    before = partial.read_bytes()
    changes = {
        "seed was 3 and is now 4": ["--seed", "4"],
        "batch_size was 7 and is now 8": ["--batch-size", "8"],
        "prompts was 5 prompts": ["w7"],
    }
    batches.stop = 0
    for message, more in changes.items():
        status, _, err = dera(*words, *more, "--output", output)
        assert status == 2
        assert message in err
        assert f"delete {partial} to start over, or name another file with --output" in err
    assert partial.read_bytes() == before
    partial.unlink()
    batches.clear()
    batches.stop = None
    assert dera(*words, "--seed", "4", "--output", output)[0] == 0


def test_a_metric_that_failed_may_be_mended(llamas, judge, tmp_path, dera, batches):
    """The completions do not depend on it, so none is decoded twice."""
    output = tmp_path / "x.json"
    broken = tmp_path / "broken.py"
    broken.write_text(
        "def count(prompts, texts):\n    return [0, 0] if len(texts) == 2 else None\n"
    )
    words = ["tune", *llamas, *PROMPTS, *OPTIONS, *EXTRA["tune"], "--output", output, "--metric"]
    status, _, err = dera(*words, f"{broken}:count")
    assert status == 2
    assert f"the metric {broken}:count failed" in err
    assert f"what was decoded is in {output}.partial" in err
    decoded = len(batches)
    # Only the trial of the metric, and the prompts held out, are decoded after that.
    assert dera(*words, f"{judge}:count", "--max-kl", 50)[0] == 0
    assert sum(batches[decoded:]) == 2 + 2 * 4


def test_commands_do_not_take_up_each_other_s_files(llamas, tmp_path, dera, batches):
    output = tmp_path / "x.json"
    words = [*llamas, *PROMPTS, *OPTIONS, "--lams", "0.5,2", "--output", output]
    batches.stop = 2
    assert dera("diagnose", *words)[0] == 130
    status, _, err = dera("sweep", *words)
    assert status == 2
    assert "command was diagnose and is now sweep" in err


def test_batches_keep_every_bit(finished, tmp_path, dera, batches):
    """What is kept of a batch is what the library's own loop would go on with."""
    import torch

    from dera.cli.resultfile import ResultFile

    generator = torch.Generator().manual_seed(1)
    generator_state = generator.get_state()
    scores = torch.tensor([[0.1, -float("inf")], [1e-300, float("nan")]], dtype=torch.double)
    kept = sampling.Batch([[3, 4], []], [3, 1], scores, generator_state)
    file = ResultFile(tmp_path / "x.json", {"versions": {}})
    file.begin()
    for start in (0, 2):
        file.keep((0.5, 1.0), start, kept)
    again = ResultFile(tmp_path / "x.json", {"command": "sweep", "versions": {}})
    for start in (0, 2):
        batch = again.recall((0.5, 1.0), start)
        assert (batch.token_ids, batch.lengths) == (kept.token_ids, kept.lengths)
        assert torch.equal(batch.scores.view(torch.long), scores.view(torch.long))
        assert torch.equal(batch.generator, generator_state)
    assert again.recall((0.5, 1.0), 4) is None
    third = ResultFile(tmp_path / "x.json", {"command": "sweep", "versions": {}})
    with pytest.raises(ValueError, match="line 1: the batch is not the one that belongs here"):
        third.recall((0.25,), 0)
