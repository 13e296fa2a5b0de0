"""`dera sweep`: its numbers against one row at a time, and its file against interruptions."""

import itertools
import os
import shutil

import numpy as np
import pytest

import dera as library
from dera.cli import main
from dera.cli.output import table
from dera.cli.sweep_table import sweep_table
from tests.dera import oracle
from tests.dera.architectures import EOS, PAD, tiny
from tests.dera.cli.conftest import save
from tests.dera.cli.rows import read_rows, token_ids

PROMPTS = ["w3 w4 w5", "w8", "w9 w2"]
SETTINGS = {
    "--lams": "0,0.5,2",
    "--samples": 2,
    "--batch-size": 4,
    "--max-new-tokens": 6,
    "--seed": 5,
}


def words(output, **changes):
    """Return the words of a sweep of 18 rows in batches of 4, with changes to its options."""
    changed = {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    settings = SETTINGS | changed
    return [*PROMPTS, "--output", output, "--quiet", *itertools.chain(*settings.items())]


def log_prob(models, lam, prompt, tokens, source=None):
    """Return the log-probability of tokens after a prompt, from the oracle's logits."""
    logits = oracle.next_logits(models, lam, prompt + tokens, source).log_softmax(-1)
    return sum(logits[len(prompt) - 1 + t, token].item() for t, token in enumerate(tokens))


@pytest.fixture(scope="module")
def finished(llamas, tmp_path_factory):
    """The folder of a sweep that was never interrupted, in the file sweep.jsonl."""
    folder = tmp_path_factory.mktemp("finished")
    assert main([str(word) for word in ["sweep", *llamas, *words(folder / "sweep.jsonl")]]) == 0
    return folder


@pytest.fixture(scope="module")
def whole(finished):
    """What an uninterrupted sweep writes."""
    return (finished / "sweep.jsonl").read_bytes()


@pytest.mark.parametrize(("pair", "architecture"), [("llamas", "llama"), ("t5s", "t5")])
def test_log_probabilities_equal_one_row_at_a_time(pair, architecture, request, tmp_path, dera):
    output = tmp_path / "sweep.jsonl"
    judge = tmp_path / "judge.py"
    judge.write_text(
        "def words(prompts, completions):\n"
        "    return [len(c.split()) + len(p) for p, c in zip(prompts, completions)]\n"
    )
    folders = request.getfixturevalue(pair)
    changes = {"aligned_beta": 0.1, "metric": f"{judge}:words"}
    assert dera("sweep", *folders, *words(output, **changes))[0] == 0
    models = [tiny(architecture, 1), tiny(architecture, 2)]
    rows = read_rows(output)
    plan = list(itertools.product(range(3), (0, 0.5, 2), range(2)))
    assert [(row["prompt_id"], row["lam"], row["sample"]) for row in rows] == plan
    assert {row["lam"]: row["beta"] for row in rows} == {0: None, 0.5: 0.2, 2: 0.05}

    compared = 0
    for row in rows:
        assert row["prompt"] == PROMPTS[row["prompt_id"]]
        assert row["metric"] == len(row["completion"].split()) + len(row["prompt"])
        tokens = token_ids(row["completion"]) + [EOS] * row["finished"]
        if len(tokens) < row["tokens"]:
            continue  # a padding token was sampled, which the text does not show
        compared += 1
        prompt = token_ids(row["prompt"])
        context = {"prompt": [PAD], "source": prompt} if pair == "t5s" else {"prompt": prompt}
        reference, aligned, sampler = (
            log_prob(models, [lam], tokens=tokens, **context) for lam in (0, 1, row["lam"])
        )
        assert row["logp_reference"] == pytest.approx(reference, abs=1e-4)
        assert row["logp_aligned"] == pytest.approx(aligned, abs=1e-4)
        assert row["logp_sampler"] == pytest.approx(sampler, abs=1e-4)
        mixture = (1 - row["lam"]) * reference + row["lam"] * aligned
        assert row["log_weight"] == pytest.approx(mixture - sampler, abs=1e-3)
    assert compared > len(rows) / 2


def test_the_table_is_that_of_the_rows(llamas, tmp_path, dera):
    output = tmp_path / "sweep.jsonl"
    _, out, _ = dera("sweep", *llamas, *words(output))
    rows = read_rows(output)
    assert out == sweep_table(rows) + "\n"
    header, _, *lines = out.splitlines()
    assert " ".join(header.split()) == "lam n tokens KL to reference (nats) gap (nats)"
    assert [line.split()[:2] for line in lines] == [["0", "6"], ["0.5", "6"], ["2", "6"]]
    at_two = [row for row in rows if row["lam"] == 2]
    length = np.mean([row["tokens"] for row in at_two])
    kl = np.mean([row["logp_sampler"] - row["logp_reference"] for row in at_two])
    assert f" {length:.1f} [" in lines[2]
    assert f" {kl:.3f} [" in lines[2]


def test_the_table_of_one_prompt_and_one_sample_has_no_intervals_and_no_gap(llamas, tmp_path, dera):
    output = tmp_path / "sweep.jsonl"
    options = ["--lams", "0,1", "--output", output, "--samples", 1, "--quiet"]
    status, out, _ = dera("sweep", *llamas, "w3", *options)
    assert status == 0
    assert [line.split()[-1] for line in out.splitlines()[2:]] == ["-", "-"]
    assert "[" not in out
    # Null stands for a log-probability of minus infinity.
    impossible = [{**row, "logp_reference": None} for row in read_rows(output)]
    assert [line.split()[3] for line in sweep_table(impossible).splitlines()[2:]] == ["-", "-"]
    assert table(["a", "bb"], [["1", ""]]) == "a  bb\n-----\n1"


@pytest.fixture
def batches(monkeypatch):
    """How many rows each decoded batch has; at batch number `.stop` the sweep is interrupted."""

    class Batches(list):
        stop = None

    decoded = Batches()
    original = library.sample_and_score

    def counting(model, tokenizer, prompts, *rest):
        if len(decoded) == decoded.stop:
            raise KeyboardInterrupt
        decoded.append(len(prompts))
        return original(model, tokenizer, prompts, *rest)

    monkeypatch.setattr(library, "sample_and_score", counting)
    return decoded


def test_an_interrupted_sweep_goes_on_and_gives_the_same_file(
    llamas, tmp_path, dera, whole, batches
):
    output = tmp_path / "sweep.jsonl"
    partial = tmp_path / "sweep.jsonl.partial"
    batches.stop = 2
    status, out, err = dera("sweep", *llamas, *words(output))
    assert (status, out) == (130, "")
    assert "8 of 18 completions" in err
    assert not output.exists()
    assert whole.startswith(partial.read_bytes())
    with partial.open("a") as file:
        file.write('{"prompt_id": 1, "pro')
    batches.stop = None
    status, _, err = dera("sweep", *llamas, *words(output))
    assert status == 0
    assert "8 of 18 completions are there" in err
    assert batches == [4, 4, 4, 4, 2]
    assert output.read_bytes() == whole
    assert sorted(os.listdir(tmp_path)) == ["sweep.jsonl", "sweep.jsonl.meta.json"]


@pytest.mark.parametrize(
    ("kept", "decoded"), [(0.0, [4, 4, 4, 4, 2]), (0.4, [4, 4, 4, 2]), (0.999, [2]), (1.0, [])]
)
def test_wherever_the_file_was_cut_off_the_sweep_gives_the_same_file(
    kept, decoded, llamas, tmp_path, dera, whole, batches
):
    """A machine that stops may leave any first part of the file."""
    output = tmp_path / "sweep.jsonl"
    partial = tmp_path / "sweep.jsonl.partial"
    batches.stop = 0
    assert dera("sweep", *llamas, *words(output))[0] == 130
    partial.write_bytes(whole[: int(kept * len(whole))])
    batches.stop = None
    assert dera("sweep", *llamas, *words(output))[0] == 0
    assert batches == decoded
    assert output.read_bytes() == whole


def test_a_line_that_is_not_json_is_dropped_with_what_follows(
    llamas, tmp_path, dera, whole, batches
):
    output = tmp_path / "sweep.jsonl"
    partial = tmp_path / "sweep.jsonl.partial"
    batches.stop = 0
    assert dera("sweep", *llamas, *words(output))[0] == 130
    lines = whole.splitlines(keepends=True)
    partial.write_bytes(b"".join([*lines[:6], b"\x00\x00\n", *lines[7:]]))
    batches.stop = None
    assert dera("sweep", *llamas, *words(output))[0] == 0
    assert output.read_bytes() == whole


@pytest.mark.usefixtures("no_model")
def test_a_finished_sweep_is_shown_again_without_a_model(llamas, tmp_path, dera, finished):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    output = tmp_path / "sweep.jsonl"
    status, out, err = dera("sweep", *llamas, *words(output))
    assert (status, out) == (0, sweep_table(read_rows(output)) + "\n")
    assert "is complete already" in err


@pytest.mark.parametrize("complete", [True, False])
def test_other_settings_are_refused_and_named(
    complete, llamas, tmp_path, dera, finished, batches, request
):
    output = tmp_path / "sweep.jsonl"
    if complete:
        shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
        begun = output
    else:
        batches.stop = 1
        assert dera("sweep", *llamas, *words(output))[0] == 130
        begun = tmp_path / "sweep.jsonl.partial"
    before = begun.read_bytes()
    another_aligned = save(tmp_path / "aligned", tiny("llama", 3))
    request.getfixturevalue("no_model")
    changes = {
        "seed was 5 and is now 6": [*llamas, *words(output, seed=6)],
        "samples was 2 and is now 3": [*llamas, *words(output, samples=3)],
        "lams was [0.0, 0.5, 2.0] and is now [0.0, 0.5]": [*llamas, *words(output, lams="0,0.5")],
        "max_new_tokens was 6 and is now 7": [*llamas, *words(output, max_new_tokens=7)],
        "batch_size was 4 and is now 5": [*llamas, *words(output, batch_size=5)],
        "prompts was 3 prompts": [*llamas, *words(output), "w7"],
        "aligned was aligned": [llamas[0], another_aligned, *words(output)],
    }
    for message, arguments in changes.items():
        status, out, err = dera("sweep", *arguments)
        assert (status, out) == (2, "")
        assert message in err
        assert f"delete {begun} to start over, or name another file with --output" in err
    (tmp_path / "sweep.jsonl.meta.json").unlink()
    status, _, err = dera("sweep", *llamas, *words(output))
    assert status == 2
    assert "its settings cannot be read" in err
    assert begun.read_bytes() == before


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "[1.0]",
            "must return one number for each of the 4 completions, not an array of shape (1,)",
        ),
        ("[float('nan')] * len(completions)", "is nan for the completion"),
        ("prompts['x']", "failed: TypeError"),
    ],
)
def test_a_metric_that_misbehaves_is_named(body, message, llamas, tmp_path, dera):
    (tmp_path / "judge.py").write_text(f"def score(prompts, completions):\n    return {body}\n")
    metric = f"{tmp_path / 'judge.py'}:score"
    status, _, err = dera("sweep", *llamas, *words(tmp_path / "sweep.jsonl", metric=metric))
    assert status == 2
    assert f"dera: error: the metric {metric} {message}" in err
    assert "Traceback" not in err


def test_a_metric_may_be_of_a_module_in_the_current_folder(llamas, tmp_path, dera, monkeypatch):
    (tmp_path / "judges_of_this_test.py").write_text(
        "def one(prompts, completions):\n    return [1] * len(prompts)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert dera("sweep", *llamas, *words("sweep.jsonl", metric="judges_of_this_test:one"))[0] == 0
    assert {row["metric"] for row in read_rows(tmp_path / "sweep.jsonl")} == {1}


def test_the_models_see_the_chat_and_the_rows_have_the_prompt(chats, tmp_path, dera):
    output = tmp_path / "sweep.jsonl"
    assert dera("sweep", *chats, *words(output, lams=1), "--chat")[0] == 0
    aligned = tiny("llama", 2)
    for row in read_rows(output):
        tokens = token_ids(row["completion"]) + [EOS] * row["finished"]
        chat = [2, 11, *token_ids(row["prompt"]), 12]
        if len(tokens) == row["tokens"]:
            expected = log_prob([aligned], [], chat, tokens)
            assert row["logp_aligned"] == pytest.approx(expected, abs=1e-4)
