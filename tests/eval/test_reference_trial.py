"""One aligned model mixed with several references: every number against a slow truth in float64."""

import json
import re
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset

from dera import RealignedModel
from eval import decode, reference_trial
from eval.other_references import COLUMNS
from tests.dera.architectures import EOS, tiny, tiny_adapter
from tests.dera.oracle import next_logits, part_logits
from tests.dera.tokenizers import word_tokenizer

PROMPTS = ["w3 w4 w5", "w6", "w7 w2"]
BETAS = ("0.25", "0.5", "1")
REFERENCES = ("own", "pretrained", "other")
SETTINGS = {
    "task": {
        "name": "length",
        "settings": {"min_tokens": 2, "max_tokens": 4},
    },
    "objective": "rloo",
    "anchor": "0.25",
    "betas": BETAS,
    "seed": 3,
    "references": REFERENCES,
    "lams": ["0", "1/4", "1/2", "1"],
    "prompts": 3,
    "samples": 2,
    "batch_size": 4,
    "max_new_tokens": 6,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three references of one tokenizer, adapters on the first, and completions of the models."""
    path = tmp_path_factory.mktemp("models")
    for number, name in enumerate(REFERENCES, start=1):
        word_tokenizer().save_pretrained(path / name)
        tiny("llama", number).save_pretrained(path / name)
    Dataset.from_dict({"prompt": PROMPTS}).to_parquet(str(path / "prompts.parquet"))
    for place, beta in enumerate(BETAS):
        adapter = tiny_adapter(tiny("llama", 1), 10 + place)
        adapter.peft_config["default"].base_model_name_or_path = str(path / "own")
        adapter.save_pretrained(path / "adapters" / beta)
        draw(path, beta)
    return path


def draw(folder, beta: str) -> None:
    """Let the decoding job draw three completions of each prompt by a retrained model."""
    settings = {
        "task": "length",
        "prompts": 3,
        "samples": 3,
        "reference_samples": 2,
        "batch_size": 9,
        "max_new_tokens": 6,
        "policies": [{"kind": "retrained", "objective": "rloo", "beta": beta, "seed": 3}],
    }
    arguments = ["--reference", folder / "own", "--adapters", folder / "adapters" / beta]
    arguments += ["--prompts", folder / "prompts.parquet", "--settings", json.dumps(settings)]
    run(decode, [*arguments, "--output", folder / "samples" / beta])


def run(module, arguments: list) -> None:
    """Run a job's `main` as the command line would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["job", *map(str, arguments)])
        module.main()


def run_trial(folder, given=REFERENCES, **changes) -> pd.DataFrame:
    """Run the job with these folders as references, and return its table."""
    settings = SETTINGS | changes
    arguments = ["--references", *(folder / name for name in given)]
    arguments += ["--adapters", *(folder / "adapters" / beta for beta in BETAS)]
    arguments += ["--samples", *(folder / "samples" / beta for beta in BETAS)]
    arguments += ["--prompts", folder / "prompts.parquet", "--output", folder / "trial.parquet"]
    run(reference_trial, [*arguments, "--seed", "1", "--settings", json.dumps(settings)])
    return pd.read_parquet(folder / "trial.parquet")


@pytest.fixture(scope="module")
def table(folder) -> pd.DataFrame:
    return run_trial(folder)


def merged(folder, beta: str):
    """The own reference with the adapter of a beta, as one model."""
    adapter = folder / "adapters" / beta
    return RealignedModel.from_pretrained(folder / "own", adapter, merge_adapter=True).aligned


def tokens(row) -> tuple[list[int], list[int]]:
    """The prompt's tokens, and those of the completion with the one that ended it."""
    prompt = word_tokenizer()(PROMPTS[row.prompt_id])["input_ids"]
    return prompt, [*row.token_ids, *([EOS] if row.finished else [])]


def divergence(own: torch.Tensor, other: torch.Tensor, start: int) -> float:
    """The KL between next-token distributions, summed over the tokens from `start` on."""
    log_q, log_p = own.log_softmax(-1), other.log_softmax(-1)
    kl = (log_q.exp() * (log_q - log_p)).sum(-1)
    return kl[start - 1 : -1].sum().item()


def test_every_reference_is_mixed_at_every_lam_for_every_prompt_once(table):
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 3 * 4 * 3
    assert not table.duplicated(["reference", "lam", "prompt_id"]).any()
    assert set(table["reference"]) == set(REFERENCES)
    # The matched lams of 0.5 and 1 from the anchor 0.25; the anchor's own beta is not read.
    matched = table.dropna(subset="beta").groupby("lam")["beta"].unique().map(list).to_dict()
    assert matched == {"1/2": ["0.5"], "1/4": ["1"]}
    assert table["kl_retrained"].notna().equals(table["beta"].notna())


@pytest.mark.parametrize("beta", ["0.5", "1"])
def test_the_divergences_are_those_of_a_reader_without_a_cache(table, folder, beta):
    """Each completion alone, each model by itself, and the logits mixed in float64."""
    lam = float(SETTINGS["anchor"]) / float(beta)
    aligned, retrained = merged(folder, SETTINGS["anchor"]), merged(folder, beta)
    drawn = pd.read_parquet(folder / "samples" / beta / "completions.parquet")
    drawn = drawn[drawn["sample_id"] < 2]
    for number, name in enumerate(REFERENCES, start=1):
        reference = tiny("llama", number)
        found = {"kl_retrained": [], "kl_reference": []}
        for row in drawn.itertuples():
            prompt, completion = tokens(row)
            ids = [*prompt, *completion]
            own = part_logits(retrained, ids)
            mixture = next_logits([reference, aligned], [lam], ids)
            found["kl_retrained"].append(divergence(own, mixture, len(prompt)))
            found["kl_reference"].append(divergence(own, part_logits(reference, ids), len(prompt)))
        rows = table[(table["reference"] == name) & (table["beta"] == beta)]
        for column, values in found.items():
            expected = np.reshape(values, (3, 2)).mean(1)
            measured = rows.sort_values("prompt_id")[column]
            np.testing.assert_allclose(measured, expected, atol=1e-4, rtol=1e-4)


def test_mixtures_write_what_they_should_by_enumeration(folder):
    """With one token to write, the mean over many completions is known from the distribution.

    Gold is 0 for one token and -1 for none, and a completion is whole only if it ends at once.
    """
    many = {"samples": 500, "batch_size": 250, "max_new_tokens": 1, "betas": ("0.25",)}
    settings = SETTINGS | many
    settings["task"] = {"name": "length", "settings": {"min_tokens": 1, "max_tokens": 1}}
    arguments = ["--adapters", folder / "adapters" / "0.25", "--samples", folder / "samples/0.25"]
    arguments += ["--references", *(folder / name for name in REFERENCES)]
    arguments += ["--prompts", folder / "prompts.parquet", "--output", folder / "many.parquet"]
    run(reference_trial, [*arguments, "--seed", "1", "--settings", json.dumps(settings)])
    table = pd.read_parquet(folder / "many.parquet")
    assert table["kl_retrained"].isna().all()

    aligned, own = merged(folder, "0.25"), tiny("llama", 1)
    for number, name in enumerate(REFERENCES, start=1):
        reference = tiny("llama", number)
        for lam, written in ((0.0, "0"), (0.5, "1/2"), (1.0, "1")):
            for prompt_id, text in enumerate(PROMPTS):
                ids = word_tokenizer()(text)["input_ids"]
                log_p = next_logits([reference, aligned], [lam], ids)[-1].log_softmax(-1)
                log_own = part_logits(own, ids)[-1].log_softmax(-1)
                p, ratio = log_p.exp(), log_p - log_own
                kl = (p * ratio).sum().item()
                error = ((p * ratio**2).sum().item() - kl**2) ** 0.5 / 500**0.5
                ends = p[EOS].item()
                row = table[table["reference"].eq(name) & table["lam"].eq(written)]
                row = row[row["prompt_id"] == prompt_id].iloc[0]
                assert abs(row["kl"] - kl) < 4.5 * error + 1e-3
                tolerance = 4.5 * (ends * (1 - ends) / 500) ** 0.5 + 1e-3
                assert abs(row["gold"] + ends) < tolerance
                assert abs(row["whole"] - ends) < tolerance


def test_the_size_of_a_batch_changes_no_reading(table, folder):
    again = run_trial(folder, batch_size=100)
    columns = ["kl_retrained", "kl_reference"]
    pd.testing.assert_frame_equal(again[columns], table[columns], atol=1e-4, rtol=1e-4)


def test_the_own_reference_in_the_place_of_another_reads_as_the_own_one(folder):
    again = run_trial(folder, given=("own", "own", "other"))
    kl = again.pivot(index=["lam", "prompt_id"], columns="reference", values="kl_retrained")
    np.testing.assert_allclose(kl["pretrained"], kl["own"], atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"references": ["other", "own", "pretrained"]}, "must begin with 'own'"),
        ({"anchor": "2"}, "anchor = 2: must be one of the betas 0.25, 0.5, 1"),
        ({"lams": ["0", "1/4"]}, "must have 1/2, which matches the beta 0.5"),
    ],
)
def test_settings_that_do_not_fit_are_refused(folder, changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        run_trial(folder, **changes)


def test_a_missing_folder_is_refused(folder, capsys):
    with pytest.raises(SystemExit):
        run_trial(folder, given=("own", "other"))
    assert "these settings need 3 --references, got 2" in capsys.readouterr().err


def test_a_reference_of_another_tokenizer_is_refused(folder):
    tokenizer = word_tokenizer()
    tokenizer.add_tokens(["w99"])
    tokenizer.save_pretrained(folder / "stranger")
    tiny("llama", 5).save_pretrained(folder / "stranger")
    with pytest.raises(ValueError, match="have different tokenizers"):
        run_trial(folder, given=("own", "pretrained", "stranger"))
