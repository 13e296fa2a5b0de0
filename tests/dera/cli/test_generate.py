"""`dera generate` against decoding by hand."""

import pytest
import torch
from transformers import CompileConfig, GenerationConfig

from dera import RealignedModel
from tests.dera import oracle
from tests.dera.architectures import EOS, PAD, tiny, tiny_adapter
from tests.dera.cli.conftest import save
from tests.dera.cli.rows import read_rows, token_ids
from tests.dera.tokenizers import word_tokenizer

PROMPTS = ["w3 w4 w5 w6 w7", "w8 w2", "w9"]
LAMS = [-0.5, 0, 0.4, 1, 2.5]


@pytest.fixture
def generate(dera, tmp_path):
    """Run `dera generate` into a file, without progress bars; returns the file."""
    counter = iter(range(100))

    def run(*words):
        output = tmp_path / f"{next(counter)}.jsonl"
        status, out, err = dera("generate", *words, "--output", output, "--quiet")
        assert (status, out) == (0, ""), err
        return output

    return run


@pytest.fixture(scope="module", params=["llamas", "adapted", "t5s"])
def pair_and_truth(request):
    """A saved pair, and the rows of greedy decoding that the oracle expects from it."""
    pair = request.param
    folders = request.getfixturevalue(pair)
    if pair == "t5s":
        models = [tiny("t5", 1), tiny("t5", 2)]
    elif pair == "llamas":
        models = [tiny("llama", 1), tiny("llama", 2)]
    else:
        models = [tiny("llama", 1), tiny_adapter(tiny("llama", 1), 2)]
    expected = []
    for prompt in PROMPTS:
        ids = token_ids(prompt)
        context = {"ids": [PAD], "source": ids} if pair == "t5s" else {"ids": ids}
        for lam in LAMS:
            expected.append(oracle.greedy(models, [lam], steps=8, eos=EOS, **context))
    return folders, expected


@pytest.mark.parametrize("options", [[], ["--adapter-merge", "--batch-size", 4]])
def test_greedy_decoding_equals_the_oracle(pair_and_truth, options, tmp_path, dera):
    folders, expected_tokens = pair_and_truth
    output = tmp_path / "out.jsonl"
    words = ["--greedy", "--max-new-tokens", 8, "--lam", *LAMS, "--dtype", "float32"]
    status, out, _ = dera("generate", *folders, *PROMPTS, *words, *options, "--output", output)
    assert (status, out) == (0, "")
    rows = read_rows(output)
    assert [(row["prompt_id"], row["prompt"], row["lam"]) for row in rows] == [
        (prompt_id, prompt, lam) for prompt_id, prompt in enumerate(PROMPTS) for lam in LAMS
    ]
    whole = 0
    for row, expected in zip(rows, expected_tokens, strict=True):
        text = row["completion"].replace("<pad>", f"w{PAD}")
        decoded = token_ids(text) + [EOS] * row["finished"]
        # The tokenizer leaves out special tokens.
        shown = [token for token in expected if token != PAD]
        assert decoded[: len(shown)] == shown
        whole += len(expected) == row["tokens"]
        assert row["finished"] == (EOS in expected) or len(expected) < row["tokens"]
    assert whole > len(rows) / 2


def test_completions_are_printed_and_strengths_may_be_given_as_beta(
    llamas, tmp_path, dera, generate, monkeypatch
):
    pair_and_prompts = [*llamas, *PROMPTS]
    words = ["--greedy", "--max-new-tokens", 5]
    rows = read_rows(generate(*pair_and_prompts, *words, "--lam", 2))
    as_beta = ["--beta", 0.05, "--aligned-beta", 0.1, "--batch-size", 2, "--quiet"]
    status, out, err = dera("generate", *pair_and_prompts, *words, *as_beta)
    assert status == 0
    printed = ""
    for row in rows:
        cut = "" if row["finished"] else " (cut)"
        printed += f"=== prompt {row['prompt_id'] + 1}: {row['prompt']}\n"
        printed += f"--- lam 2, beta 0.05{cut}\n{row['completion']}\n"
    assert out == printed
    assert "%" not in err  # no progress bars
    # Graphs are run as they are, because to compile them takes long.
    as_they_are = CompileConfig(backend="eager", mode=None)
    monkeypatch.setattr(RealignedModel, "_default_compile_config", lambda self: as_they_are)
    for way in ("--speculative", "--compiled"):
        assert read_rows(generate(*pair_and_prompts, *words, "--lam", 2, way)) == rows


def test_the_settings_of_the_checkpoint_apply_as_in_python_or_not_at_all(
    llamas, tmp_path, generate, dera
):
    """The aligned model's own settings make it greedy, and penalise repetition.

    Without them frequencies of the first token follow the mixture.
    """
    aligned = tiny("llama", 2)
    aligned.generation_config = GenerationConfig(
        eos_token_id=EOS, pad_token_id=PAD, top_k=1, repetition_penalty=5.0, do_sample=True
    )
    strict = save(tmp_path / "strict", aligned)
    words = ["--lam", 0.5, "--samples", 2000, "--max-new-tokens", 1, "--batch-size", 500]
    from_plain = generate(*llamas, "w3 w4", *words)
    from_strict = generate(llamas[0], strict, "w3 w4", *words, "--own-distribution")
    assert from_plain.read_text() == from_strict.read_text()
    assert distance_to_the_mixture(read_rows(from_plain), 0.5) < 0.05

    words = [llamas[0], strict, "w3 w4", "--lam", 0.5, "--max-new-tokens", 8]
    model = RealignedModel.from_pretrained(llamas[0], strict)
    in_python = model.generate(torch.tensor([[3, 4]]), lam=0.5, max_new_tokens=8)[0, 2:].tolist()
    for way in ([], ["--greedy"], ["--speculative"]):
        row = read_rows(generate(*words, *way))[0]
        assert row["completion"] == word_tokenizer().decode(in_python, skip_special_tokens=True)
        assert row["tokens"] == len(in_python)
    _, _, err = dera("generate", *words)
    assert "generation settings of ALIGNED apply, as in Python: repetition_penalty=5.0" in err
    assert "top_k=1" in err
    assert "settings" not in dera("generate", *words, "--own-distribution", "--quiet")[2]


def test_the_exact_mixture_of_one_token_is_the_per_token_one(llamas, generate):
    words = ["--lam", 1.5, "--samples", 800, "--exact", 4, "--max-new-tokens", 1]
    rows = read_rows(generate(*llamas, "w3 w4", *words, "--batch-size", 800))
    assert len(rows) == 800
    assert distance_to_the_mixture(rows, 1.5) < 0.07


def distance_to_the_mixture(rows, lam):
    """Return the total variation between the rows' first tokens and the mixture after w3 w4."""
    models = [tiny("llama", 1), tiny("llama", 2)]
    expected = oracle.next_logits(models, [lam], [3, 4])[-1].softmax(-1)
    tokens = [
        EOS if row["finished"] else (token_ids(row["completion"]) or [PAD])[0] for row in rows
    ]
    observed = torch.bincount(torch.tensor(tokens), minlength=len(expected)).double() / len(rows)
    return (observed - expected).abs().sum().item() / 2


def test_drawing_the_most_probable_token_alone_is_greedy(llamas, generate):
    ways = [["--greedy"], ["--top-k", 1], ["--top-p", 1e-6], ["--temperature", 1e-4]]
    words = [*llamas, *PROMPTS, "--lam", 0.4, "--max-new-tokens", 6]
    texts = {generate(*words, *way).read_text() for way in ways}
    assert len(texts) == 1


def test_the_seed_decides_what_is_drawn(llamas, generate):
    words = [*llamas, *PROMPTS, "--lam", 0.4, "--samples", 8, "--max-new-tokens", 6]
    texts = [generate(*words, "--seed", seed).read_text() for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(("command", "strength"), [("generate", "--lam"), ("sweep", "--lams")])
def test_batches_draw_different_numbers(command, strength, llamas, tmp_path, dera):
    output = tmp_path / "out.jsonl"
    words = [strength, 0.5, "--samples", 8, "--batch-size", 4, "--max-new-tokens", 12]
    assert dera(command, *llamas, "w3 w4", *words, "--output", output, "--quiet")[0] == 0
    texts = [row["completion"] for row in read_rows(output)]
    assert texts[:4] != texts[4:]


def test_options_reach_the_model(adapted, dera, generated_with):
    """Tiny models cannot show that transformers' top_k of 50 is off, and the adapter merged."""
    for options in ([], ["--adapter-merge", "--dtype", "bfloat16", "--top-k", 7]):
        assert dera("generate", *adapted, "w3", "--lam", 1, "--quiet", *options)[0] == 0
    models = [call["self"] for call in generated_with]
    assert [model.generation_config.top_k for model in models] == [0, 7]
    assert [model.reference is model.aligned for model in models] == [True, False]
    assert [model.dtype for model in models] == [torch.float32, torch.bfloat16]


def test_a_tokenizer_needs_no_padding_token(llamas, tmp_path, generate):
    bare = word_tokenizer()
    bare.pad_token = None
    bare_pair = [
        save(tmp_path / "reference", tiny("llama", 1), bare),
        save(tmp_path / "aligned", tiny("llama", 2), bare),
    ]
    rows_of_pairs = []
    for folders in (llamas, bare_pair):
        rows = read_rows(generate(*folders, *PROMPTS, "--lam", 0, 2.5, "--greedy"))
        for row in rows:
            row["completion"] = token_ids(row["completion"].replace("<pad>", ""))
        rows_of_pairs.append(rows)
    assert rows_of_pairs[0] == rows_of_pairs[1]


def test_each_of_several_end_tokens_ends_a_completion(llamas, tmp_path, dera, generate):
    """This holds in transformers' decoding and in the library's own."""
    aligned = tiny("llama", 2)
    aligned.generation_config.eos_token_id = [EOS, 5]
    pair = [llamas[0], save(tmp_path / "aligned", aligned)]
    rows = read_rows(generate(*pair, *PROMPTS, "--lam", 1, "--samples", 20))
    words_of_rows = [row["completion"].split() for row in rows]
    assert all(row["finished"] for row in rows)
    assert not any("w5" in words[:-1] for words in words_of_rows)
    assert any(row["completion"].endswith("w5") for row in rows)
    assert any(not row["completion"].endswith("w5") for row in rows)

    sweep = tmp_path / "sweep.jsonl"
    words = ["--lams", 1, "--samples", 20, "--output", sweep, "--quiet"]
    assert dera("sweep", *pair, *PROMPTS, *words)[0] == 0
    rows = read_rows(sweep)
    assert all(row["finished"] and "w5" not in row["completion"].split() for row in rows)
    assert len({row["tokens"] for row in rows}) > 2


def test_models_of_different_tokenizers_are_refused_with_a_message(llamas, tmp_path, dera):
    larger = word_tokenizer()
    larger.add_tokens(["w99"])
    aligned = save(tmp_path / "aligned", tiny("llama", 2), larger)
    status, _, err = dera("generate", llamas[0], aligned, "w3", "--lam", 1, "--quiet")
    assert status == 2
    assert "different tokenizers" in err
