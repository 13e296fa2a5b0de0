"""The rules of baselines against closed forms in float64, and what is decoded by them.

Decoded completions are compared with the rules applied to one row at a time.
"""

import ast

import jsonschema
import numpy as np
import pytest
import torch
from scipy import stats

from dera import RealignedModel
from dera.scoring import sample_and_score_policy
from eval import baselines
from eval.baselines.probabilities import of_probabilities
from eval.baselines.temperature import of_temperature
from eval.baselines.top_k import of_top_k
from eval.baselines.weights import between
from eval.combining import Combined
from eval.decode_settings import Baseline
from eval.samplers import Decoder, samplers
from study import modules
from tests.dera.architectures import EOS, tiny
from tests.dera.tokenizers import word_tokenizer

#: For each file its knobs and its options.
DECODED = {
    "weights": (["0.25", "2"], {}),
    "probabilities": (["0.5"], {}),
    "temperature": (["0.75"], {}),
    "top_k": (["0.5", "2"], {"k": 3}),
}
DECLARED = ("NAME", "TITLE", "KNOB", "KNOB_SCHEMA", "OPTIONS", "PAPER", "PASSES", "DECODED")


@pytest.fixture
def pair() -> RealignedModel:
    return RealignedModel(tiny("llama", 1), tiny("llama", 2))


def log_parts() -> tuple[torch.Tensor, torch.Tensor]:
    """Next-token log-probabilities of two models that disagree strongly."""
    logits = 6 * torch.randn(2, 5, 1, 11, generator=torch.Generator().manual_seed(0))
    return tuple(logits.log_softmax(-1))


def next_tokens(combine) -> np.ndarray:
    return combine(*log_parts()).double().softmax(-1).numpy()


@pytest.fixture
def exact() -> tuple[np.ndarray, np.ndarray]:
    return tuple(part.double().softmax(-1).numpy() for part in log_parts())


@pytest.mark.parametrize("name", baselines.names())
def test_a_baseline_declares_itself_in_literals_that_agree_with_its_functions(name):
    syntax = ast.parse(modules.file_of(f"eval.baselines.{name}").read_text())
    literals = {}
    for node in syntax.body:
        if isinstance(node, ast.Assign) and node.targets[0].id in DECLARED:
            literals[node.targets[0].id] = ast.literal_eval(node.value)
    assert set(literals) == set(DECLARED)
    for schema in (literals["KNOB_SCHEMA"], *literals["OPTIONS"].values()):
        jsonschema.Draft202012Validator.check_schema(schema)
    module = baselines.by_kind()[literals["NAME"]]
    functions = ["policy"] if literals["DECODED"] else ["weights", "kl"]
    assert all(callable(getattr(module, function)) for function in functions)


def test_a_baseline_that_is_no_file_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match="no baseline 'soup'; allowed: best_of_n, probabilities"):
        baselines.load("soup")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_probabilities_are_averaged(exact, share):
    combined = of_probabilities(share)(*log_parts())
    expected = (1 - share) * exact[0] + share * exact[1]
    np.testing.assert_allclose(combined.double().exp().numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(next_tokens(of_probabilities(share)), expected, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.5])
def test_temperature_is_that_of_the_aligned_model_alone(exact, temperature):
    powers = exact[1] ** (1 / temperature)
    np.testing.assert_allclose(
        next_tokens(of_temperature(temperature)), powers / powers.sum(-1, keepdims=True), atol=1e-6
    )


@pytest.mark.parametrize("lam", [-1.0, 0.5, 2.0])
def test_top_k_is_dera_among_the_most_probable_tokens_of_the_reference(exact, lam):
    kept = exact[0] >= np.sort(exact[0], axis=-1)[..., [-3]]
    mixed = np.where(kept, exact[0] ** (1 - lam) * exact[1] ** lam, 0)
    tokens = next_tokens(of_top_k(3, lam))
    np.testing.assert_allclose(tokens, mixed / mixed.sum(-1, keepdims=True), atol=1e-5)
    assert ((tokens > 0).sum(-1) <= 3).all()
    assert torch.isfinite(of_top_k(99, lam)(*log_parts())).all()  # more tokens than there are


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0, 2.0])
def test_weights_lie_on_the_line_through_both_models(share):
    reference, aligned = tiny("llama", 1), tiny("llama", 2)
    before = {name: weight.clone() for name, weight in aligned.named_parameters()}
    mixed = dict(between(reference, aligned, share).named_parameters())
    of_reference = dict(reference.named_parameters())
    for name, weight in before.items():
        expected = (1 - share) * of_reference[name].double() + share * weight.double()
        torch.testing.assert_close(mixed[name].double(), expected, atol=1e-6, rtol=1e-5)
        assert torch.equal(dict(aligned.named_parameters())[name], weight)


def test_models_of_different_parameters_have_nothing_between_them():
    with pytest.raises(
        ValueError, match="only models of the same parameters have weights between them"
    ):
        between(tiny("llama", 1), tiny("gpt2", 1), 0.5)


def log_prob(model: torch.nn.Module, prompt: list[int], completion: list[int]) -> torch.Tensor:
    """Log-probabilities of each next token along a completion, float64."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + completion])).logits[0].double()
    return logits.log_softmax(-1)[len(prompt) - 1 : -1]


def test_every_policy_is_named_and_its_scores_are_those_of_one_row_at_a_time(pair):
    """Decoding works in batches with a cache; the rules read whole completions."""
    tokenizer, prompts = word_tokenizer(), ["w3 w4 w5", "w6"] * 4
    decoder = Decoder(pair, tokenizer, max_new_tokens=6)
    named = []
    for name, (knobs, options) in DECODED.items():
        settings = Baseline("baseline", name, "rloo", "0.25", 0, tuple(knobs), options)
        for sampler in samplers(decoder, settings):
            named.append((sampler.labels["kind"], sampler.labels["knob"]))
            torch.manual_seed(0)
            completions, scores = sampler.sample(prompts, [{}] * len(prompts))
            columns = sampler.columns(completions, scores)
            assert ("logp_aligned" in columns) == (name != "weights")
            policy = sampler.policy
            for row, (prompt, ids, ended) in enumerate(
                zip(prompts, completions.token_ids(), completions.finished(), strict=True)
            ):
                tokens, given = [*ids, EOS] if ended else ids, tokenizer(prompt).input_ids
                models = (policy.pair.reference, policy.pair.aligned)
                parts = [log_prob(model, given, tokens) for model in models]
                combined = policy.combine(*(part[:, None] for part in parts))[:, 0]
                rules = [combined.double().log_softmax(-1), *parts]
                chosen = torch.tensor(tokens)[:, None]
                expected = [rule.gather(-1, chosen).sum().item() for rule in rules]
                sums = [scores.policy[row], scores.reference[row], scores.aligned[row]]
                assert [float(total) for total in sums] == pytest.approx(expected, abs=1e-3)
    assert named == [
        ("weights", "1/4"),
        ("weights", "2"),
        ("probabilities", "1/2"),
        ("temperature", "3/4"),
        ("top-k", "1/2"),
        ("top-k", "2"),
    ]


def test_tokens_are_drawn_from_the_combined_distribution(pair):
    """Chi-square at level 1e-4 of the first token."""
    tokenizer, draws = word_tokenizer(), 6000
    torch.manual_seed(0)
    policy = Combined(pair, of_probabilities(0.3))
    completions, _ = sample_and_score_policy(policy, tokenizer, ["w3 w4"] * draws, 1)
    first = completions.input_ids[:, -1]
    with torch.no_grad():
        ids = torch.tensor([tokenizer("w3 w4").input_ids])
        parts = [
            model(input_ids=ids).logits[0, -1].double().softmax(-1)
            for model in (pair.reference, pair.aligned)
        ]
    expected = draws * (0.7 * parts[0] + 0.3 * parts[1])
    observed = torch.bincount(first, minlength=len(expected)).double()
    common = expected >= 5

    def fold(values: torch.Tensor) -> list[float]:
        """Counts of the common tokens, and of all others together."""
        return [*values[common].tolist(), values[~common].sum().item()]

    pairs = [(o, e) for o, e in zip(fold(observed), fold(expected), strict=True) if e]
    assert stats.chisquare(*zip(*pairs, strict=True)).pvalue > 1e-4
