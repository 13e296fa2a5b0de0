"""`dera tune` and `dera diagnose` where the answer can be computed: completions of one token, whose mixture is known exactly."""

import json

import numpy as np
import pytest
import torch

import dera as library
from tests.dera import oracle
from tests.dera.architectures import tiny
from tests.dera.tokenizers import word_tokenizer

PROMPTS = ["w3 w4 w5", "w8", "w9 w2", "w4", "w6 w6", "w12 w3"]
LAMS = np.array([0, 0.5, 1, 1.5, 2])
ASK = [*PROMPTS, "--max-new-tokens", 1, "--quiet"]


@pytest.fixture(scope="module")
def truth():
    """Probabilities of the only token at each lam, shape (lams, prompts, vocabulary), and their KL to the reference, (lams,)."""
    parts = [tiny("llama", 1), tiny("llama", 2)]
    ids = [[int(word[1:]) for word in prompt.split()] for prompt in PROMPTS]
    logs = torch.stack(
        [
            torch.stack([oracle.next_logits(parts, [lam], i)[-1].log_softmax(-1) for i in ids])
            for lam in LAMS
        ]
    ).numpy()
    return np.exp(logs), (np.exp(logs) * (logs - logs[0])).sum(-1).mean(-1)


@pytest.fixture(scope="module")
def word(truth):
    """The word whose share is best at lam = 1 by the widest margin over the other lam, and its mean share at each lam."""
    shares = truth[0].mean(1)
    margin = np.array(
        [shares[2, v] - np.delete(shares[:, v], 2).max() for v in range(shares.shape[1])]
    )
    best = int(margin[2:].argmax()) + 2
    assert margin[best] > 0.01
    return best, shares[:, best]


@pytest.fixture
def metric(word, tmp_path):
    (tmp_path / "judge.py").write_text(
        f"def count(prompts, completions):\n    return [completion.split().count('w{word[0]}') for completion in completions]\n"
    )
    return f"{tmp_path / 'judge.py'}:count"


def tuned(dera, llamas, metric, output, *words):
    options = [
        "--lams",
        "0:2:0.5",
        "--sampled-lams",
        "0,1,2",
        "--samples",
        400,
        "--metric",
        metric,
        "--batch-size",
        2000,
    ]
    status, out, err = dera("tune", *llamas, *ASK, *options, "--output", output, *words)
    assert status == 0
    return json.loads(output.read_text()), out, err


def test_tuning_finds_the_best_lam(llamas, metric, truth, word, tmp_path, dera):
    found, out, _ = tuned(dera, llamas, metric, tmp_path / "tuning.json", "--aligned-beta", 0.1)
    assert (found["lam"], found["beta"]) == (1, 0.1)
    assert found["low"] <= 1 <= found["high"]
    assert [at["lam"] for at in found["curve"]] == LAMS.tolist()
    assert [at["metric"]["mean"] for at in found["curve"]] == pytest.approx(word[1], abs=0.03)
    assert [at["kl"]["mean"] for at in found["curve"]] == pytest.approx(truth[1], abs=0.1)
    assert "\nlam = 1 (95% interval of the choice" in out
    assert "worth retraining at beta = 0.1\n" in out
    chosen = [line for line in out.splitlines() if line.endswith("<- chosen")]
    assert len(chosen) == 1
    assert chosen[0].split()[0] == "1"


def test_tuning_keeps_to_the_limit(llamas, metric, truth, word, tmp_path, dera):
    _, kl = truth
    assert (np.diff(kl) > 0).all()
    limit = (kl[1] + kl[2]) / 2
    allowed = word[1][:2].argmax()
    found, out, _ = tuned(dera, llamas, metric, tmp_path / "tuning.json", "--max-kl", limit)
    assert found["lam"] == LAMS[allowed]
    assert found["kl"]["value"] <= limit == found["max_kl"]
    assert "once --aligned-beta is given" in out
    found, _, err = tuned(dera, llamas, metric, tmp_path / "tuning.json", "--max-kl", 0)
    assert found["lam"] == 0
    assert f"dera: warning: {found['warnings'][0]}" in err


def test_one_token_has_no_gap_and_the_known_divergence(llamas, truth, tmp_path, dera):
    output = tmp_path / "gaps.json"
    status, out, _ = dera(
        "diagnose",
        *llamas,
        *ASK,
        "--lams",
        "0:2:0.5",
        "--samples",
        400,
        "--output",
        output,
        "--batch-size",
        2000,
    )
    assert status == 0
    gaps = json.loads(output.read_text())
    assert [at["lam"] for at in gaps] == LAMS.tolist()
    assert [at["gap"]["value"] for at in gaps] == pytest.approx([0] * 5, abs=1e-4)
    assert [at["kl"]["value"] for at in gaps] == pytest.approx(truth[1], abs=0.1)
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["0", "0.5", "1", "1.5", "2"]
    assert all(line.endswith("400.0 of 400") for line in out.splitlines()[2:])


def test_diagnosis_is_the_library_s_with_its_warnings(llamas, tmp_path, dera):
    output = tmp_path / "gaps.json"
    words = [
        "--lams",
        "0.5,6",
        "--samples",
        8,
        "--max-new-tokens",
        8,
        "--seed",
        3,
        "--output",
        output,
        "--quiet",
    ]
    status, _, err = dera("diagnose", *llamas, *PROMPTS, *words)
    assert status == 0
    model = library.RealignedModel.from_pretrained(*llamas)
    gaps = library.diagnose(model, word_tokenizer(), PROMPTS, [0.5, 6], 8, samples=8, seed=3)
    found = json.loads(output.read_text())
    assert [at["gap"]["value"] for at in found] == pytest.approx([at.gap.value for at in gaps])
    assert gaps[1].warning
    assert f"dera: warning: {gaps[1].warning}\n" in err
