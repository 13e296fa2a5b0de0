"""`dera tune` and `dera diagnose` where the answer can be computed: completions of one token.

The mixture of such completions is known exactly.
"""

import json

import numpy as np
import pytest
import torch

import dera as library
from tests.dera import oracle
from tests.dera.architectures import tiny
from tests.dera.cli.rows import token_ids
from tests.dera.tokenizers import word_tokenizer

PROMPTS = ["w3 w4 w5", "w8", "w9 w2", "w4", "w6 w6", "w12 w3"]
LAMS = np.array([0, 0.5, 1, 1.5, 2])
ASK = [*PROMPTS, "--max-new-tokens", 1, "--quiet"]


@pytest.fixture(scope="module")
def probabilities():
    """Probabilities of the only token at each lam, shape (lams, prompts, vocabulary)."""
    models = [tiny("llama", 1), tiny("llama", 2)]

    def next_token(lam, prompt):
        return oracle.next_logits(models, [lam], token_ids(prompt))[-1].softmax(-1)

    at_lams = [torch.stack([next_token(lam, prompt) for prompt in PROMPTS]) for lam in LAMS]
    return torch.stack(at_lams).numpy()


@pytest.fixture(scope="module")
def kl(probabilities):
    """KL to the reference at each lam, mean over prompts."""
    log_ratio = np.log(probabilities) - np.log(probabilities[0])
    return (probabilities * log_ratio).sum(-1).mean(-1)


@pytest.fixture(scope="module")
def best_word(probabilities):
    """The word whose share is best at lam = 1 by the widest margin over the other lams."""
    shares = probabilities.mean(1)
    margin = shares[2] - np.delete(shares, 2, axis=0).max(0)
    word = int(margin[2:].argmax()) + 2  # the first two are special tokens
    assert margin[word] > 0.01
    return word


@pytest.fixture(scope="module")
def shares(probabilities, best_word):
    """The mean share of that word at each lam."""
    return probabilities.mean(1)[:, best_word]


@pytest.fixture
def metric(best_word, tmp_path):
    """A judge that counts that word."""
    (tmp_path / "judge.py").write_text(
        "def count(prompts, completions):\n"
        f"    return [completion.split().count('w{best_word}') for completion in completions]\n"
    )
    return f"{tmp_path / 'judge.py'}:count"


@pytest.fixture
def tuned(dera, llamas, metric, tmp_path):
    """Run `dera tune`; returns what it wrote, printed and said on standard error."""

    def run(*words):
        output = tmp_path / "tuning.json"
        lams = ["--lams", "0:2:0.5", "--sampled-lams", "0,1,2"]
        options = ["--samples", 400, "--batch-size", 2000, "--metric", metric, "--output", output]
        status, out, err = dera("tune", *llamas, *ASK, *lams, *options, *words)
        assert status == 0, err
        return json.loads(output.read_text()), out, err

    return run


def test_tuning_finds_the_best_lam(tuned, kl, shares):
    result, out, _ = tuned("--aligned-beta", 0.1)
    assert (result["lam"], result["beta"]) == (1, 0.1)
    assert result["low"] <= 1 <= result["high"]
    assert [at["lam"] for at in result["curve"]] == LAMS.tolist()
    assert [at["metric"]["mean"] for at in result["curve"]] == pytest.approx(shares, abs=0.03)
    assert [at["kl"]["mean"] for at in result["curve"]] == pytest.approx(kl, abs=0.1)
    assert "\nlam = 1 (95% interval of the choice" in out
    assert "worth retraining at beta = 0.1\n" in out
    chosen = [line for line in out.splitlines() if line.endswith("<- chosen")]
    assert len(chosen) == 1
    assert chosen[0].split()[0] == "1"


def test_tuning_keeps_to_the_limit_on_the_kl(tuned, kl, shares):
    assert (np.diff(kl) > 0).all()
    limit = (kl[1] + kl[2]) / 2
    best_allowed = shares[:2].argmax()
    result, out, _ = tuned("--max-kl", limit)
    assert result["lam"] == LAMS[best_allowed]
    assert result["kl"]["value"] <= limit == result["max_kl"]
    assert "once --aligned-beta is given" in out
    assert result["without_limit"] == 1
    assert "the limit on the KL decided: without it lam = 1 would have been chosen" in out
    result, _, err = tuned("--max-kl", 0)
    assert result["lam"] == 0
    assert f"dera: warning: {result['warnings'][0]}" in err


def test_one_token_has_no_gap_and_the_known_divergence(llamas, kl, tmp_path, dera):
    output = tmp_path / "gaps.json"
    options = ["--lams", "0:2:0.5", "--samples", 200, "--batch-size", 2000, "--output", output]
    status, out, _ = dera("diagnose", *llamas, *ASK, *options)
    assert status == 0
    gaps = json.loads(output.read_text())
    assert [at["lam"] for at in gaps] == LAMS.tolist()
    assert [at["gap"]["value"] for at in gaps] == pytest.approx([0] * 5, abs=1e-4)
    assert [at["kl"]["value"] for at in gaps] == pytest.approx(kl, abs=0.1)
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["0", "0.5", "1", "1.5", "2"]
    assert all(line.endswith("200.0 of 200") for line in out.splitlines()[2:])


def test_diagnosis_is_the_library_s_with_its_warnings(llamas, tmp_path, dera):
    output = tmp_path / "gaps.json"
    options = ["--lams", "0.5,6", "--samples", 8, "--max-new-tokens", 8, "--seed", 3, "--quiet"]
    status, _, err = dera("diagnose", *llamas, *PROMPTS, *options, "--output", output)
    assert status == 0
    model = library.RealignedModel.from_pretrained(*llamas)
    gaps = library.diagnose(model, word_tokenizer(), PROMPTS, [0.5, 6], 8, samples=8, seed=3)
    written = json.loads(output.read_text())
    values = [gap.gap.value for gap in gaps]
    assert [at["gap"]["value"] for at in written] == pytest.approx(values)
    assert gaps[1].warning
    assert f"dera: warning: {gaps[1].warning}\n" in err
