"""Rules of combining two models against closed forms in float64, and what is decoded by them against one row at a time."""

import numpy as np
import pytest
import torch
from scipy import stats

from dera import RealignedModel
from eval.combining import Combined, baselines, between, of_probabilities, of_temperature, of_top_k
from eval.comparators import decode
from tests.dera.architectures import EOS, tiny
from tests.dera.tokenizers import word_tokenizer

SETTINGS = {
    "weights": [0.25, 2],
    "probabilities": [0.5],
    "temperature": [0.75],
    "top_k": {"k": 3, "lams": [0.5, 2]},
}


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


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_probabilities_are_averaged(exact, share):
    combined = of_probabilities(share)(*log_parts())
    expected = (1 - share) * exact[0] + share * exact[1]
    np.testing.assert_allclose(combined.double().exp().numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(next_tokens(of_probabilities(share)), expected, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.5])
def test_temperature_is_the_aligned_models_alone(exact, temperature):
    powers = exact[1] ** (1 / temperature)
    np.testing.assert_allclose(
        next_tokens(of_temperature(temperature)), powers / powers.sum(-1, keepdims=True), atol=1e-6
    )


@pytest.mark.parametrize("lam", [-1.0, 0.5, 2.0])
def test_top_k_is_deras_among_the_references_most_probable(exact, lam):
    kept = exact[0] >= np.sort(exact[0], axis=-1)[..., [-3]]
    mixed = np.where(kept, exact[0] ** (1 - lam) * exact[1] ** lam, 0)
    found = next_tokens(of_top_k(3, lam))
    np.testing.assert_allclose(found, mixed / mixed.sum(-1, keepdims=True), atol=1e-5)
    assert ((found > 0).sum(-1) <= 3).all()
    assert torch.isfinite(of_top_k(99, lam)(*log_parts())).all()  # more than there are


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0, 2.0])
def test_weights_lie_on_the_line_through_both_models(share):
    reference, aligned = tiny("llama", 1), tiny("llama", 2)
    before = {name: weight.clone() for name, weight in aligned.named_parameters()}
    found, theirs = (
        dict(between(reference, aligned, share).named_parameters()),
        dict(reference.named_parameters()),
    )
    for name, own in before.items():
        expected = (1 - share) * theirs[name].double() + share * own.double()
        torch.testing.assert_close(found[name].double(), expected, atol=1e-6, rtol=1e-5)
        assert torch.equal(dict(aligned.named_parameters())[name], own)


def test_models_of_different_parameters_have_nothing_between_them():
    with pytest.raises(
        ValueError, match="only models of the same parameters have weights between them"
    ):
        between(tiny("llama", 1), tiny("gpt2", 1), 0.5)


def log_prob(model: torch.nn.Module, prompt: list[int], completion: list[int]) -> torch.Tensor:
    """Log-probabilities of each next token along a completion, float64."""
    with torch.no_grad():
        logits = (
            model(input_ids=torch.tensor([prompt + completion])).logits[0].double().log_softmax(-1)
        )
    return logits[len(prompt) - 1 : -1]


def test_every_policy_is_named_and_its_scores_are_those_of_one_row_at_a_time(pair):
    """Log-probabilities taken while decoding in batches with a cache, against the rules applied to whole completions."""
    tokenizer, prompts = word_tokenizer(), ["w3 w4 w5", "w6"] * 4
    named = []
    for method, knob, policy in baselines(pair, SETTINGS):
        named.append((method, float(knob)))
        torch.manual_seed(0)
        completions, scores = decode(policy, tokenizer, prompts, 6)
        for row, (prompt, ids, ended) in enumerate(
            zip(prompts, completions.token_ids(), completions.finished(), strict=True)
        ):
            tokens, given = [*ids, EOS] if ended else ids, tokenizer(prompt).input_ids
            parts = [
                log_prob(model, given, tokens)
                for model in (policy.pair.reference, policy.pair.aligned)
            ]
            rules = [
                policy.combine(*(part[:, None] for part in parts))[:, 0].double().log_softmax(-1),
                *parts,
            ]
            expected = [
                rule.gather(-1, torch.tensor(tokens)[:, None]).sum().item() for rule in rules
            ]
            assert scores[:, row].tolist() == pytest.approx(expected, abs=1e-3)
    assert named == [
        ("weights", 0.25), ("weights", 2), ("probabilities", 0.5), ("temperature", 0.75), ("top-k", 0.5), ("top-k", 2)
    ]  # fmt: skip


def test_tokens_are_drawn_from_the_combined_distribution(pair):
    """Chi-square at level 1e-4 of the first token."""
    tokenizer, draws = word_tokenizer(), 6000
    torch.manual_seed(0)
    completions, _ = decode(Combined(pair, of_probabilities(0.3)), tokenizer, ["w3 w4"] * draws, 1)
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
    fold = lambda values: [*values[common].tolist(), values[~common].sum().item()]  # noqa: E731
    pairs = [(o, e) for o, e in zip(fold(observed), fold(expected), strict=True) if e]
    assert stats.chisquare(*zip(*pairs, strict=True)).pvalue > 1e-4
