"""`dera generate` against decoding by hand."""

import json

import pytest
import torch
from transformers import GenerationConfig

from dera import RealignedModel
from tests.dera import oracle
from tests.dera.architectures import EOS, PAD, tiny, tiny_adapter
from tests.dera.cli.conftest import save
from tests.dera.tokenizers import word_tokenizer

PROMPTS = ["w3 w4 w5 w6 w7", "w8 w2", "w9"]
LAMS = [-0.5, 0, 0.4, 1, 2.5]


def ids(text):
    return [int(word[1:]) for word in text.split()]


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def truth(pair):
    """Models made again from their seeds, and how the oracle starts on a prompt."""
    if pair == "t5s":
        return [tiny("t5", 1), tiny("t5", 2)], lambda prompt: {"ids": [PAD], "source": ids(prompt)}
    aligned = tiny("llama", 2) if pair == "llamas" else tiny_adapter(tiny("llama", 1), 2)
    return [tiny("llama", 1), aligned], lambda prompt: {"ids": ids(prompt)}


@pytest.mark.parametrize("options", [[], ["--adapter-merge", "--batch-size", 4]])
@pytest.mark.parametrize("pair", ["llamas", "adapted", "t5s"])
def test_greedy_decoding_equals_the_oracle(pair, options, request, tmp_path, dera):
    output = tmp_path / "out.jsonl"
    words = [
        "--greedy",
        "--max-new-tokens",
        8,
        "--output",
        output,
        "--lam",
        *LAMS,
        "--dtype",
        "float32",
    ]
    status, out, _ = dera("generate", *request.getfixturevalue(pair), *PROMPTS, *words, *options)
    assert (status, out) == (0, "")
    rows = read(output)
    assert [(row["prompt_id"], row["prompt"], row["lam"]) for row in rows] == [
        (p, prompt, lam) for p, prompt in enumerate(PROMPTS) for lam in LAMS
    ]
    parts, start = truth(pair)
    whole = 0
    for row in rows:
        expected = oracle.greedy(parts, [row["lam"]], steps=8, eos=EOS, **start(row["prompt"]))
        got = ids(row["completion"].replace("<pad>", f"w{PAD}")) + [EOS] * row["finished"]
        kept = [
            token for token in expected if token != PAD
        ]  # the tokenizer leaves out special tokens
        assert got[: len(kept)] == kept
        whole += len(expected) == row["tokens"]
        assert row["finished"] == (EOS in expected) or len(expected) < row["tokens"]
    assert whole > len(rows) / 2


def test_printing_and_strengths_as_beta(llamas, tmp_path, dera):
    output = tmp_path / "out.jsonl"
    ask = ["generate", *llamas, *PROMPTS, "--greedy", "--max-new-tokens", 5, "--quiet"]
    assert dera(*ask, "--lam", 2, "--output", output)[0] == 0
    status, out, err = dera(*ask, "--beta", 0.05, "--aligned-beta", 0.1, "--batch-size", 2)
    assert status == 0
    cut = ["" if row["finished"] else " (cut)" for row in read(output)]
    assert out == "".join(
        f"=== prompt {row['prompt_id'] + 1}: {row['prompt']}\n--- lam 2, beta 0.05{end}\n{row['completion']}\n"
        for row, end in zip(read(output), cut, strict=True)
    )
    assert "%" not in err  # no progress bars
    assert dera(*ask, "--lam", 2, "--speculative", "--output", tmp_path / "again.jsonl")[0] == 0
    assert read(tmp_path / "again.jsonl") == read(output)


def test_sampling_cuts_nothing_off_whatever_the_checkpoint_says(llamas, tmp_path, dera):
    """The aligned model's own settings would make it greedy; frequencies of the first token follow the mixture all the same."""
    aligned = tiny("llama", 2)
    aligned.generation_config = GenerationConfig(
        eos_token_id=EOS, pad_token_id=PAD, top_k=1, repetition_penalty=5.0, do_sample=True
    )
    strict = save(tmp_path / "strict", aligned)
    files = [tmp_path / "plain.jsonl", tmp_path / "strict.jsonl"]
    for folder, file in zip([llamas[1], strict], files, strict=True):
        words = [
            "--lam",
            0.5,
            "--samples",
            2000,
            "--max-new-tokens",
            1,
            "--batch-size",
            500,
            "--output",
            file,
            "--quiet",
        ]
        assert dera("generate", llamas[0], folder, "w3 w4", *words)[0] == 0
    assert files[0].read_text() == files[1].read_text()
    assert _distance(read(files[0]), 0.5) < 0.05


def test_samples_of_the_exact_mixture(llamas, tmp_path, dera):
    """Of completions of one token the mixture is the per-token one."""
    output = tmp_path / "out.jsonl"
    words = [
        "--lam",
        1.5,
        "--samples",
        800,
        "--exact",
        4,
        "--max-new-tokens",
        1,
        "--batch-size",
        800,
        "--output",
        output,
        "--quiet",
    ]
    assert dera("generate", *llamas, "w3 w4", *words)[0] == 0
    assert len(read(output)) == 800
    assert _distance(read(output), 1.5) < 0.07


def _distance(rows, lam):
    """Total variation between the first tokens and the mixture after w3 w4."""
    expected = oracle.next_logits([tiny("llama", 1), tiny("llama", 2)], [lam], [3, 4])[-1].softmax(
        -1
    )
    tokens = [EOS if row["finished"] else (ids(row["completion"]) or [PAD])[0] for row in rows]
    observed = torch.bincount(torch.tensor(tokens), minlength=len(expected)).double() / len(rows)
    return (observed - expected).abs().sum().item() / 2


def test_the_most_probable_token_alone_is_greedy(llamas, tmp_path, dera):
    texts = []
    for i, way in enumerate(
        [["--greedy"], ["--top-k", 1], ["--top-p", 1e-6], ["--temperature", 1e-4]]
    ):
        output = tmp_path / f"{i}.jsonl"
        assert (
            dera(
                "generate",
                *llamas,
                *PROMPTS,
                "--lam",
                0.4,
                *way,
                "--max-new-tokens",
                6,
                "--output",
                output,
                "--quiet",
            )[0]
            == 0
        )
        texts.append(output.read_text())
    assert len(set(texts)) == 1


def test_the_seed_decides(llamas, tmp_path, dera):
    texts = []
    for i, seed in enumerate([1, 1, 2]):
        output = tmp_path / f"{i}.jsonl"
        words = [
            "--lam",
            0.4,
            "--samples",
            8,
            "--seed",
            seed,
            "--max-new-tokens",
            6,
            "--output",
            output,
            "--quiet",
        ]
        assert dera("generate", *llamas, *PROMPTS, *words)[0] == 0
        texts.append(output.read_text())
    assert texts[0] == texts[1] != texts[2]


def test_batches_are_drawn_apart(llamas, tmp_path, dera):
    for command, strength in (("generate", "--lam"), ("sweep", "--lams")):
        output = tmp_path / f"{command}.jsonl"
        words = [
            strength,
            0.5,
            "--samples",
            8,
            "--batch-size",
            4,
            "--max-new-tokens",
            12,
            "--output",
            output,
            "--quiet",
        ]
        assert dera(command, *llamas, "w3 w4", *words)[0] == 0
        texts = [row["completion"] for row in read(output)]
        assert texts[:4] != texts[4:]


def test_what_reaches_the_model(adapted, dera, monkeypatch):
    """What tiny models cannot show: transformers' own top_k of 50 is off, and the adapter is merged when asked."""
    models, original = [], RealignedModel.generate
    monkeypatch.setattr(
        RealignedModel,
        "generate",
        lambda self, **given: models.append(self) or original(self, **given),
    )
    for options in ([], ["--adapter-merge", "--dtype", "bfloat16", "--top-k", 7]):
        assert dera("generate", *adapted, "w3", "--lam", 1, "--quiet", *options)[0] == 0
    assert [model.generation_config.top_k for model in models] == [0, 7]
    assert [model.reference is model.aligned for model in models] == [True, False]
    assert [model.dtype for model in models] == [torch.float32, torch.bfloat16]


def test_a_tokenizer_without_padding(llamas, tmp_path, dera):
    bare = word_tokenizer()
    bare.pad_token = None
    pair = [
        save(tmp_path / "reference", tiny("llama", 1), bare),
        save(tmp_path / "aligned", tiny("llama", 2), bare),
    ]
    texts = []
    for folders in (llamas, pair):
        output = tmp_path / "out.jsonl"
        assert (
            dera(
                "generate",
                *folders,
                *PROMPTS,
                "--lam",
                0,
                2.5,
                "--greedy",
                "--output",
                output,
                "--quiet",
            )[0]
            == 0
        )
        texts.append(
            [
                {**row, "completion": ids(row["completion"].replace("<pad>", ""))}
                for row in read(output)
            ]
        )
    assert texts[0] == texts[1]


def test_a_model_with_several_ends(llamas, tmp_path, dera):
    """All of them end a completion, in transformers' decoding and in the library's own."""
    aligned = tiny("llama", 2)
    aligned.generation_config.eos_token_id = [EOS, 5]
    pair, output = [llamas[0], save(tmp_path / "aligned", aligned)], tmp_path / "out.jsonl"
    assert (
        dera(
            "generate", *pair, *PROMPTS, "--lam", 1, "--samples", 20, "--output", output, "--quiet"
        )[0]
        == 0
    )
    rows = read(output)
    assert all(row["finished"] and "w5" not in row["completion"].split()[:-1] for row in rows)
    assert any(row["completion"].endswith("w5") for row in rows)
    assert any(not row["completion"].endswith("w5") for row in rows)
    sweep = tmp_path / "sweep.jsonl"
    assert (
        dera("sweep", *pair, *PROMPTS, "--lams", 1, "--samples", 20, "--output", sweep, "--quiet")[
            0
        ]
        == 0
    )
    rows = read(sweep)
    assert all(row["finished"] and "w5" not in row["completion"].split() for row in rows)
    assert len({row["tokens"] for row in rows}) > 2


def test_a_model_that_does_not_fit_is_a_message(llamas, tmp_path, dera):
    status, _, err = dera(
        "generate",
        llamas[0],
        save(tmp_path / "other", tiny("llama", 2), _other()),
        "w3",
        "--lam",
        1,
        "--quiet",
    )
    assert status == 2
    assert "different tokenizers" in err


def _other():
    tokenizer = word_tokenizer()
    tokenizer.add_tokens(["w99"])
    return tokenizer
