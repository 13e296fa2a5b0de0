"""A compiled step says what `forward` says, is one graph, and is compiled once.

The graphs run without a compiler behind them, except in one test, so that what is tested is the
graph itself: a branch on a value, or work outside the graph, is an error (`fullgraph`).
"""

from __future__ import annotations

import itertools

import pytest
import torch
from transformers import CompileConfig, DynamicCache, GenerationConfig
from transformers.generation import LogitsProcessor, LogitsProcessorList

from dera import RealignedModel, linear_schedule
from tests.dera.architectures import PAD, tiny, tiny_adapter

IDS = torch.tensor([[3, 4, 5, 6, 7, 2], [PAD, PAD, 8, 2, 9, 3], [9, 3, 9, 2, 4, 4]])
MASK = (IDS != PAD).long()
MASK[:, 2:] = 1
#: Transformers leaves out the mask of a batch without padding.
BATCHES = {
    "padding": (IDS, MASK),
    "no padding": (IDS[[0, 2, 0]], MASK[[0, 2, 0]]),
    "no mask": (IDS[[0, 2, 0]], None),
    "one row": (IDS[:1], MASK[:1]),
    "one token": (IDS[[0, 2], :1], MASK[[0, 2], :1]),
}
DECODERS = ["llama", "qwen", "mistral", "mixtral", "gpt2", "gemma", "roberta"]


class Graphs:
    """The graphs that were compiled, and how often they ran.

    `backend` is a backend of torch.compile that runs a graph as it is.
    """

    def __init__(self):
        self.graphs = []
        self.runs = 0

        def backend(graph, _inputs):
            self.graphs.append(graph)

            def run(*arguments):
                self.runs += 1
                return graph.forward(*arguments)

            return run

        self.backend = backend  # a function, because settings of `generate` are copied


@pytest.fixture
def graphs():
    torch._dynamo.reset()
    yield Graphs()
    torch._dynamo.reset()


def compiled(backend, **options):
    """The setting that makes `generate` compile its steps on any device."""
    config = CompileConfig(backend=backend, fullgraph=True, mode=None, **options)
    config._compile_all_devices = True
    return config


def two_models(architecture="llama"):
    return RealignedModel(tiny(architecture, 1), tiny(architecture, 2))


def with_adapter(architecture="llama", **changes):
    return RealignedModel(None, tiny_adapter(tiny(architecture, 1), 3, **changes))


def decode(model, batch="padding", **options):
    """Tokens and logits of a call of `generate`."""
    ids, mask = BATCHES[batch]
    defaults = dict(
        max_new_tokens=8, min_new_tokens=8, cache_implementation="static", do_sample=False
    )
    found = model.generate(
        ids,
        attention_mask=mask,
        **(defaults | options),
        return_dict_in_generate=True,
        output_logits=True,
    )
    return found.sequences, torch.stack(found.logits)


def assert_same(found, expected):
    (tokens, logits), (expected_tokens, expected_logits) = found, expected
    assert torch.equal(tokens, expected_tokens)
    assert torch.equal(torch.isneginf(logits), torch.isneginf(expected_logits))
    finite = torch.isfinite(expected_logits)
    torch.testing.assert_close(logits[finite], expected_logits[finite], rtol=1e-4, atol=1e-4)


PAIRS = {f"two of {name}": lambda name=name: two_models(name) for name in DECODERS} | {
    f"adapter on {name}": lambda name=name: with_adapter(name)
    for name in DECODERS
    if name not in ("mixtral", "roberta")  # whose adapters do not run in one pass
}
PAIRS["adapter of the upper blocks"] = lambda: with_adapter(
    target_modules=["q_proj", "up_proj"], layers_to_transform=[1]
)
LAMS = {
    "a number": 0.5,
    "beyond the aligned model": 2,
    "one a row": [0.3, 1.0, 2.0],
    "the reference alone": 0,
    "the aligned model alone": 1,
    "a schedule": linear_schedule(0.2, 2.0, over=4),
}


PAIRS_AND_BATCHES = [(pair, "padding") for pair in PAIRS]
PAIRS_AND_BATCHES += itertools.product(
    ["two of llama", "two of gemma", "two of roberta", "adapter on mistral"],
    ["no padding", "one row", "one token"],
)
PAIRS_AND_BATCHES += [("two of roberta", "no mask"), ("adapter on llama", "no mask")]


@pytest.mark.parametrize(("pair", "batch"), PAIRS_AND_BATCHES)
def test_a_compiled_step_says_what_an_uncompiled_one_says(graphs, pair, batch):
    model = PAIRS[pair]()
    options = dict(batch=batch, lam=[0.3, 1.0, 2.0][: len(BATCHES[batch][0])])
    expected = decode(model, **options)
    assert graphs.runs == 0
    found = decode(model, **options, compile_config=compiled(graphs.backend))
    assert graphs.runs == 7, "every step but the first, which reads the prompt"
    assert_same(found, expected)


LAMS_AND_BATCHES = [(lam, "padding") for lam in LAMS]
LAMS_AND_BATCHES += [("a number", "no padding"), ("a schedule", "no padding")]


@pytest.mark.parametrize(("kind", "batch"), LAMS_AND_BATCHES)
@pytest.mark.parametrize("make", [two_models, with_adapter], ids=["two models", "an adapter"])
def test_every_kind_of_lam_is_compiled(graphs, make, kind, batch):
    model, lam = make(), LAMS[kind]
    expected = decode(model, batch, lam=lam)
    assert_same(decode(model, batch, lam=lam, compile_config=compiled(graphs.backend)), expected)
    # An adapter that runs alone is left to PEFT, whose switching of adapters is not compiled.
    assert graphs.runs == (0 if lam == 1 and make is with_adapter else 7)


@pytest.mark.parametrize("make", [two_models, with_adapter], ids=["two models", "an adapter"])
def test_another_lam_does_not_compile_again(graphs, make):
    model = make()
    config = compiled(graphs.backend)
    for lam in (0.5, 0.75, 2, -1.0, [0.3, 1.5, 2.0], torch.tensor([0.1, 0.2, 0.3])):
        decode(model, lam=lam, compile_config=config)
    assert len(graphs.graphs) == 1


def test_another_number_of_rows_compiles_again_and_the_first_is_kept(graphs):
    model = two_models()
    config = compiled(graphs.backend, dynamic=False)
    for rows in (3, 2, 3, 2):
        model.generate(
            IDS[:rows],
            attention_mask=MASK[:rows],
            max_new_tokens=4,
            cache_implementation="static",
            compile_config=config,
            lam=0.5,
        )
    assert len(graphs.graphs) == 2


@pytest.mark.parametrize("make", [two_models, with_adapter], ids=["two models", "an adapter"])
def test_samples_and_beams_are_the_same(graphs, make):
    model = make()
    for options in (dict(do_sample=True, top_k=0), dict(num_beams=3)):
        runs = []
        for chosen in ({}, {"compile_config": compiled(graphs.backend)}):
            torch.manual_seed(0)
            runs.append(decode(model, lam=1.5, **options, **chosen))
        assert graphs.runs > 0
        assert_same(runs[1], runs[0])


def test_a_token_that_a_model_excludes_stays_excluded(graphs):
    """A graph cannot ask whether logits are finite, so it treats all of them as if some were not.

    The reference excludes a token in its head, and does so in the mixture of every row that has a
    share of it.
    """
    model = two_models()
    excluded = 5
    head = model.reference.get_output_embeddings()
    bias = torch.zeros(head.out_features)
    bias[excluded] = -torch.inf
    head.bias = torch.nn.Parameter(bias)
    lams = [0.5, 1.0, 2.0]
    expected = decode(model, lam=lams)
    assert torch.isneginf(expected[1][:, 0, excluded]).all()
    assert torch.isfinite(expected[1][:, 1, excluded]).all(), "no share of the reference at lam = 1"
    assert_same(decode(model, lam=lams, compile_config=compiled(graphs.backend)), expected)


def test_a_lam_that_is_changed_in_place_between_calls_is_seen(graphs):
    model = two_models()
    lam = torch.tensor([[0.5], [0.5], [0.5]])
    decode(model, lam=lam, compile_config=compiled(graphs.backend))
    lam.fill_(2.0)
    found = decode(model, lam=lam, compile_config=compiled(graphs.backend))
    assert_same(found, decode(model, lam=2.0))


class ReadsTheModel(LogitsProcessor):
    """Calls the model while `generate` runs, as guidance does."""

    def __init__(self, model):
        self.model = model

    def __call__(self, input_ids, scores):
        return scores + self.model(input_ids=input_ids).logits[:, -1]


def test_a_logits_processor_may_call_the_model(graphs):
    model = two_models()
    processors = LogitsProcessorList([ReadsTheModel(model)])
    options = dict(lam=0.5, logits_processor=processors)
    expected = decode(model, **options)
    assert_same(decode(model, **options, compile_config=compiled(graphs.backend)), expected)


NOT_COMPILED = {
    "a dynamic cache": (two_models, dict(cache_implementation="dynamic")),
    "compilation switched off": (two_models, dict(disable_compile=True)),
    "hidden states": (two_models, dict(output_hidden_states=True)),
    "encoder-decoders": (lambda: two_models("t5"), {}),
    "an adapter that one pass cannot run": (lambda: with_adapter(use_dora=True), {}),
}


@pytest.mark.parametrize("kind", NOT_COMPILED)
def test_what_cannot_be_compiled_is_decoded_as_without(graphs, kind):
    make, options = NOT_COMPILED[kind]
    model = make()
    expected = decode(model, lam=0.5, **options)
    found = decode(model, lam=0.5, **options, compile_config=compiled(graphs.backend))
    assert graphs.runs == 0
    assert_same(found, expected)


REASONS = {
    "encoder-decoders are not compiled": (lambda: two_models("t5"), {}),
    "an adapter does not run in one pass": (lambda: with_adapter(use_dora=True), {}),
    "an adapter runs alone": (with_adapter, dict(lam=1)),
    "beam search is not compiled": (two_models, dict(num_beams=2)),
    "hidden states and attentions are asked for": (two_models, dict(output_hidden_states=True)),
}


@pytest.mark.parametrize("reason", REASONS)
def test_what_is_asked_to_be_compiled_and_cannot_be_is_decoded_with_a_warning(reason):
    make, options = REASONS[reason]
    options = dict(lam=0.5) | options
    model = make()
    expected = decode(model, **options)
    with pytest.warns(UserWarning, match=f"decoding is not compiled: {reason}"):
        found = decode(model, **options, cache_implementation=None, compiled=True)
    assert_same(found, expected)


@pytest.mark.parametrize(
    ("architecture", "batch"),
    [("lfm2", "padding"), ("lfm2", "no padding"), ("qwen3_next", "no padding")],
)
def test_models_whose_layers_keep_a_state_are_decoded_as_without(graphs, architecture, batch):
    model = two_models(architecture)
    expected = decode(model, batch, lam=0.5)
    found = decode(model, batch, lam=0.5, compile_config=compiled(graphs.backend))
    assert_same(found, expected)


def test_without_a_compiler_on_a_cpu_compilation_is_refused(monkeypatch):
    monkeypatch.setenv("CXX", "there-is-no-such-compiler")
    with pytest.raises(ValueError, match=r"needs a C\+\+ compiler on a CPU: install g\+\+"):
        two_models().generate(IDS, lam=0.5, max_new_tokens=2, compiled=True)


@pytest.mark.parametrize("make", [two_models, with_adapter], ids=["two models", "an adapter"])
def test_compiled_asks_for_all_that_compilation_needs(graphs, make):
    model = make()
    expected = decode(model, "one row", lam=0.5, cache_implementation="dynamic")
    options = dict(compile_config=CompileConfig(backend=graphs.backend, mode=None))
    options |= dict(cache_implementation=None)
    found = decode(model, "one row", lam=0.5, compiled=True, **options)
    assert graphs.runs == 7
    assert_same(found, expected)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(cache_implementation="dynamic"), "leave out cache_implementation='dynamic'"),
        (dict(past_key_values=DynamicCache()), "compiled=True and past_key_values exclude"),
        (dict(disable_compile=True), "compiled=True and disable_compile exclude"),
        (
            dict(generation_config=GenerationConfig(disable_compile=True)),
            "compiled=True and disable_compile exclude",
        ),
        (dict(speculative=True), "leave out speculative=True or compiled=True"),
    ],
    ids=["cache of another kind", "caller's cache", "switched off", "its settings", "speculation"],
)
def test_what_excludes_compilation_is_refused_with_it(options, said):
    with pytest.raises(ValueError, match=said):
        two_models().generate(IDS, lam=0.5, max_new_tokens=2, compiled=True, **options)


def test_a_cache_that_the_caller_made_is_used(graphs):
    model = two_models()
    expected = decode(model, lam=0.5, cache_implementation=None, past_key_values=DynamicCache())
    config = compiled(graphs.backend)
    options = dict(lam=0.5, cache_implementation=None, compile_config=config)
    assert_same(decode(model, **options, past_key_values=DynamicCache()), expected)
    assert graphs.runs == 0


def test_compiled_for_real(graphs):
    """By torch's own compiler, in float32."""
    model = with_adapter()
    expected = decode(model, lam=[0.3, 1.5, 2.0])
    config = compiled("inductor")
    assert_same(decode(model, lam=[0.3, 1.5, 2.0], compile_config=config), expected)


class MergesTheAdapter(LogitsProcessor):
    """Merges the adapter after the first token, as a caller's other thread might."""

    def __init__(self, module):
        self.module = module

    def __call__(self, input_ids, scores):
        self.module.merge_adapter()
        return scores


def test_an_adapter_that_is_changed_on_the_way_is_refused_as_without_compilation(graphs):
    for chosen in ({}, {"compile_config": compiled(graphs.backend)}):
        model = with_adapter()
        processors = LogitsProcessorList([MergesTheAdapter(model.aligned)])
        with pytest.raises(ValueError, match="were changed after past_key_values was begun"):
            decode(model, lam=0.5, logits_processor=processors, **chosen)
