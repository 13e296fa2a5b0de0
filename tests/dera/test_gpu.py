"""The library on a GPU: what it decodes there is what the models say, in three precisions.

`make test-gpu` runs this file, which takes a few minutes. Without a GPU its tests are skipped. With
`DERA_TEST_DEVICE=cpu` they run on the CPU, which shows whether the file itself is right.
"""

from __future__ import annotations

import os

import pytest
import torch
from scipy import stats
from torch._dynamo.utils import counters
from transformers import CompileConfig

from dera import RealignedModel, sample_completions, score_completions
from dera.drawing import draw
from tests.dera.architectures import tiny, tiny_adapter
from tests.dera.tokenizers import word_tokenizer

DEVICE = os.environ.get("DERA_TEST_DEVICE", "cuda")
pytestmark = pytest.mark.skipif(
    DEVICE == "cuda" and not torch.cuda.is_available(), reason="there is no GPU"
)

IDS = torch.tensor([[3, 4, 5, 6, 7, 2], [0, 0, 8, 2, 9, 3], [9, 3, 9, 2, 4, 4]])
MASK = torch.tensor([[1] * 6, [0, 0, 1, 1, 1, 1], [1] * 6])
LAMS = [0.3, 1.5, 4.0]
#: The largest error of a logit, relative to the largest logit.
PRECISIONS = {torch.float32: 2e-5, torch.bfloat16: 4e-2, torch.float16: 5e-3}


@pytest.fixture(autouse=True)
def exact_products():
    """Products in float32 are not rounded to TF32."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    torch._dynamo.reset()
    yield
    torch.set_float32_matmul_precision(precision)


def two_models(dtype=torch.float32):
    return RealignedModel(tiny("llama", 1).to(DEVICE, dtype), tiny("llama", 2).to(DEVICE, dtype))


def with_adapter(dtype=torch.float32):
    return RealignedModel(None, tiny_adapter(tiny("llama", 1), 3).to(DEVICE, dtype))


PAIRS = {"two models": two_models, "an adapter": with_adapter}


def float64_mixture(make) -> torch.Tensor:
    """The mixture's probabilities at every position, from each part alone in float64 on the CPU."""
    pair = make().to("cpu", torch.float64)
    ids, weights = IDS, torch.tensor(LAMS, dtype=torch.float64)[:, None, None]
    positions = (MASK.cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        parts = [
            part(input_ids=ids, attention_mask=MASK, position_ids=positions).logits.log_softmax(-1)
            for part in pair.parts
        ]
    mixed = (1 - weights) * parts[0] + weights * parts[1]
    return mixed.log_softmax(-1)


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("pair", PAIRS)
def test_the_mixture_is_that_of_the_models_alone_in_float64(pair, dtype):
    expected = float64_mixture(PAIRS[pair])
    model = PAIRS[pair](dtype)
    found = model(input_ids=IDS.to(DEVICE), attention_mask=MASK.to(DEVICE), lam=LAMS).logits
    found = found.double().log_softmax(-1).cpu()
    # Errors of the parts are multiplied by the weights, which are up to 4.
    error = ((found - expected).abs() * MASK[..., None]).max()
    assert error <= 8 * PRECISIONS[dtype] * expected.abs().max()


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("pair", PAIRS)
def test_decoding_with_a_cache_is_reading_every_text_anew(pair, cache):
    model = PAIRS[pair]()
    drawn = model.generate(
        IDS.to(DEVICE),
        attention_mask=MASK.to(DEVICE),
        lam=LAMS,
        max_new_tokens=8,
        do_sample=False,
        cache_implementation=cache,
        disable_compile=True,
        return_dict_in_generate=True,
        output_logits=True,
    )
    for step, logits in enumerate(drawn.logits):
        ids = drawn.sequences[:, : IDS.shape[1] + step]
        mask = torch.cat([MASK, torch.ones(len(IDS), step, dtype=MASK.dtype)], 1).to(DEVICE)
        anew = model(input_ids=ids, attention_mask=mask, lam=LAMS).logits[:, -1]
        torch.testing.assert_close(logits, anew, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rows", [[0, 1, 2], [0]], ids=["padded rows", "one row"])
@pytest.mark.parametrize("pair", PAIRS)
def test_a_compiled_step_gives_the_same_and_compiles_once_for_all_lam(pair, rows):
    model = PAIRS[pair]()
    options = {}
    if DEVICE == "cpu":  # where transformers compiles only if it is told to
        options["compile_config"] = CompileConfig(mode=None, fullgraph=True)
        options["compile_config"]._compile_all_devices = True

    def decode(lam, **chosen):
        found = model.generate(
            IDS[rows].to(DEVICE),
            attention_mask=MASK[rows].to(DEVICE),
            lam=lam,
            max_new_tokens=8,
            do_sample=False,
            cache_implementation="static",
            return_dict_in_generate=True,
            output_logits=True,
            **chosen,
        )
        return found.sequences, torch.stack(found.logits)

    graphs = []
    for lam in (0.5, 2.0, LAMS[: len(rows)]):
        tokens, logits = decode(lam, **options)
        graphs.append(counters["stats"]["unique_graphs"])
        expected_tokens, expected_logits = decode(lam, disable_compile=True)
        assert torch.equal(tokens, expected_tokens)
        torch.testing.assert_close(logits, expected_logits, rtol=1e-4, atol=1e-4)
    assert graphs[0] > 0
    assert graphs == [graphs[0]] * 3


@pytest.mark.parametrize("pair", PAIRS)
def test_completions_are_scored_as_they_were_sampled(pair):
    """Rows leave the batch when they end, and one lam a row goes with them."""
    model, tokenizer = PAIRS[pair](), word_tokenizer()
    prompts = [f"w{2 + i % 9} w{3 + i % 7}" for i in range(12)]
    lams = torch.linspace(0, 2, 12)
    log_probs = torch.zeros(12, dtype=torch.float64, device=DEVICE)

    def add(rows, output, tokens):
        steps = output.logits[:, -1].double().log_softmax(-1)
        log_probs[rows] += steps.gather(-1, tokens[:, None])[:, 0]

    torch.manual_seed(0)
    drawn = sample_completions(model, tokenizer, prompts, 10, lam=lams, on_step=add)
    scores = score_completions(model, drawn, lams)
    torch.testing.assert_close(scores.sampler.to(DEVICE), log_probs, rtol=1e-4, atol=1e-4)


def test_tokens_are_drawn_with_their_probabilities():
    """The chi-square test is at level 1e-4."""
    generator = torch.Generator(DEVICE).manual_seed(0)
    weights = torch.rand(50, generator=generator, device=DEVICE)
    drawn = draw(weights[None].expand(20_000, -1), generator)
    counts = torch.bincount(drawn, minlength=50).cpu().numpy()
    expected = weights.double().cpu().numpy()
    assert stats.chisquare(counts, expected / expected.sum() * counts.sum()).pvalue > 1e-4
