"""Everything that `generate` offers equals the slow truth of `tests.dera.oracle`.

This holds for all architectures, caches and kinds of padding.
"""

import copy
import math
from contextlib import ExitStack, contextmanager
from functools import lru_cache

import pytest
import torch
import transformers as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers.generation.streamers import BaseStreamer

from dera import RealignedModel, linear_schedule
from tests.dera.architectures import (
    CONFIGS,
    DECODERS,
    ENCODER_DECODERS,
    EOS,
    HYBRIDS,
    PAD,
    RESTRICTED,
    VOCABULARY,
    tiny,
)
from tests.dera.oracle import Oracle, greedy, next_logits, same_beams
from tests.dera.tokenizers import word_tokenizer

PROMPTS = [[3, 4, 5, 6, 7], [8, 2], [9, 3, 9], [2, 2, 2, 2]]
LAMS = [-2.0, 0.4, 1.0, 8.0]
ALL = [name for name in CONFIGS if name not in RESTRICTED]
#: Drafted tokens may have to be taken back, which a recurrent state does not allow.
TAKING_BACK = [name for name in ALL if name not in HYBRIDS or name == "lfm2"]
KINDS = ["llama", "mistral", "t5"]  # full attention, a sliding window, an encoder

MODES = {
    "greedy": dict(do_sample=False),
    "sampling": dict(do_sample=True, top_k=0),
    "top-k, top-p, temperature": dict(do_sample=True, top_k=5, top_p=0.9, temperature=0.7),
    "several sequences": dict(do_sample=True, top_k=0, num_return_sequences=3),
    "beams": dict(do_sample=False, num_beams=4, num_return_sequences=2),
    "beam sampling": dict(do_sample=True, top_k=0, num_beams=3),
    "repetition": dict(do_sample=False, repetition_penalty=1.3, no_repeat_ngram_size=2),
    "bad words": dict(do_sample=False, bad_words_ids=[[4], [5], [6, 7]]),
    "at least": dict(do_sample=False, min_new_tokens=6),
    "static cache": dict(do_sample=False, cache_implementation="static"),
    "static cache, beams": dict(do_sample=False, num_beams=3, cache_implementation="static"),
    "no cache": dict(do_sample=False, use_cache=False),
}


@lru_cache
def parts(architecture, count=2):
    """The reference, then the aligned models."""
    return [tiny(architecture, seed) for seed in range(1, count + 1)]


@lru_cache
def pair(architecture):
    """The realigned model of two models, and its oracle, which remembers what it has computed."""
    return RealignedModel(*parts(architecture)), Oracle(parts(architecture))


@lru_cache
def triple(architecture):
    """The realigned model of two aligned models, "kind" and "brief", and its oracle."""
    reference, kind, brief = parts(architecture, 3)
    ours = RealignedModel(reference, {"kind": kind, "brief": brief})
    return ours, Oracle(parts(architecture, 3))


def padded(rows, side="left"):
    """Rows of token ids as a batch."""
    width = max(map(len, rows))
    fill = [width - len(row) for row in rows]
    if side == "left":
        ids = [[PAD] * n + row for n, row in zip(fill, rows, strict=True)]
        mask = [[0] * n + [1] * len(row) for n, row in zip(fill, rows, strict=True)]
    else:
        ids = [row + [PAD] * n for n, row in zip(fill, rows, strict=True)]
        mask = [[1] * len(row) + [0] * n for n, row in zip(fill, rows, strict=True)]
    return dict(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask))


def seeded(model, *args, **kwargs):
    torch.manual_seed(5)
    return model.generate(*args, **kwargs)


def truth(oracle, batch, lam, **kwargs):
    """What `generate` makes of the oracle's logits.

    Args:
        oracle: the oracle.
        batch: the prompts.
        lam: for each row one number, or a list with a number for each aligned model.
        **kwargs: arguments of `generate`; those that only change its speed are left out.
    """
    kwargs = {"use_cache": False, "max_new_tokens": 8, **kwargs}
    for only_speed in ("cache_implementation", "past_key_values", "prompt_lookup_num_tokens"):
        kwargs.pop(only_speed, None)
    weights = torch.tensor(lam).reshape(len(batch["input_ids"]), -1)
    return seeded(oracle, **batch, lam=weights, **kwargs)


def assert_same(mode, models, lams, got, expected):
    """Check that the texts are the same token for token. Beams that tie may replace each other."""
    if MODES[mode].get("num_beams") and not MODES[mode]["do_sample"]:
        assert same_beams(models, lams, padded(PROMPTS), got, expected)
    else:
        assert torch.equal(got, expected)


@contextmanager
def hooked(module, hook):
    """A context in which the module has a forward hook."""
    handle = module.register_forward_hook(hook)
    yield
    handle.remove()


@contextmanager
def counted(**modules):
    """How often each module is called while in the context."""
    calls = dict.fromkeys(modules, 0)

    def counter(name):
        def hook(*_):
            calls[name] += 1

        return hook

    with ExitStack() as contexts:
        for name, module in modules.items():
            contexts.enter_context(hooked(module, counter(name)))
        yield calls


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("architecture", ALL)
def test_generate_equals_the_oracle(architecture, mode):
    ours, oracle = pair(architecture)
    got = seeded(ours, **padded(PROMPTS), lam=LAMS, max_new_tokens=8, **MODES[mode])
    expected = truth(oracle, padded(PROMPTS), LAMS, **MODES[mode])
    assert_same(mode, parts(architecture), [[lam] for lam in LAMS], got, expected)


@pytest.mark.parametrize("architecture", TAKING_BACK)
def test_prompt_lookup_accepts_drafts_and_changes_nothing(architecture):
    """Drafts are taken from the text so far.

    Accepted ones save calls, and refused ones are cropped from every cache.
    """
    ours, oracle = pair(architecture)
    batch = padded([[3, 4, 5, 3, 4]])
    arguments = dict(do_sample=False, prompt_lookup_num_tokens=3)
    steps = calls = 0
    for lam in LAMS:
        with counted(aligned=ours.aligned) as count:
            got = ours.generate(**batch, lam=lam, max_new_tokens=16, **arguments)
        assert torch.equal(got, truth(oracle, batch, [lam], max_new_tokens=16, **arguments))
        steps += got.shape[1] - (1 if ours.config.is_encoder_decoder else 5)
        calls += count["aligned"]
    assert 4 < calls < steps


@pytest.mark.parametrize("architecture", TAKING_BACK)
def test_drafts_of_an_assistant_change_nothing(architecture):
    """The assistant is a plain model, which does not know lam."""
    ours, oracle = pair(architecture)
    for lam in LAMS:
        got = ours.generate(
            **padded(PROMPTS[:1]),
            lam=lam,
            max_new_tokens=8,
            do_sample=False,
            assistant_model=ours.aligned,
        )
        assert torch.equal(got, truth(oracle, padded(PROMPTS[:1]), [lam], do_sample=False))


@pytest.mark.parametrize("mode", ["greedy", "bad words", "at least", "beams"])
@pytest.mark.parametrize("architecture", KINDS)
def test_scores_are_those_of_the_oracle(architecture, mode):
    ours, oracle = pair(architecture)
    # at lam = 8 the best beams tie, for they have probability 1 in float32
    lams = [-1.0, 0.4, 1.0, 2.5] if mode == "beams" else LAMS
    arguments = dict(MODES[mode], output_scores=True, return_dict_in_generate=True)
    got = ours.generate(**padded(PROMPTS), lam=lams, max_new_tokens=8, **arguments)
    expected = truth(oracle, padded(PROMPTS), lams, **arguments)
    assert len(got.scores) == len(expected.scores) > 3
    for step, (scores, true_scores) in enumerate(zip(got.scores, expected.scores, strict=True)):
        assert scores.dtype == torch.float32
        assert not (scores.isnan() | scores.isposinf()).any()
        assert not scores.requires_grad
        torch.testing.assert_close(
            scores,
            true_scores.float(),
            atol=1e-3,
            rtol=1e-5,
            msg=lambda text, step=step: f"{step}: {text}",
        )


class StopAt(tf.StoppingCriteria):
    """Ends a row at any of some tokens."""

    def __init__(self, tokens):
        self.tokens = torch.tensor(tokens)

    def __call__(self, input_ids, scores, **kwargs):
        return torch.isin(input_ids[:, -1], self.tokens)


@pytest.mark.parametrize("architecture", KINDS)
def test_a_stopping_criterion_of_the_caller_s_stops_rows(architecture):
    ours, oracle = pair(architecture)
    arguments = dict(stopping_criteria=[StopAt([3, 7, 9, 12])], do_sample=False)
    got = ours.generate(**padded(PROMPTS), lam=LAMS, max_new_tokens=8, **arguments)
    assert torch.equal(got, truth(oracle, padded(PROMPTS), LAMS, **arguments))
    without = truth(oracle, padded(PROMPTS), LAMS, do_sample=False)
    assert not torch.equal(got, without[:, : got.shape[1]])


class Collected(BaseStreamer):
    """Keeps what is streamed."""

    def __init__(self):
        self.tokens = []
        self.ended = 0

    def put(self, value):
        self.tokens += value.reshape(-1).tolist()

    def end(self):
        self.ended += 1


@pytest.mark.parametrize("architecture", KINDS)
def test_a_streamer_gets_the_tokens_that_are_returned(architecture):
    ours, oracle = pair(architecture)
    streamer = Collected()
    got = seeded(
        ours,
        **padded(PROMPTS[:1]),
        lam=0.4,
        max_new_tokens=8,
        do_sample=True,
        top_k=0,
        streamer=streamer,
    )
    assert streamer.tokens == got[0].tolist()
    assert streamer.ended == 1
    assert torch.equal(got, truth(oracle, padded(PROMPTS[:1]), [0.4], do_sample=True, top_k=0))


def own_cache(kind, config):
    """An empty cache as a caller makes it."""
    decoder = config.get_text_config(decoder=True)

    def cache(length):
        if kind == "dynamic":
            return tf.DynamicCache()
        return tf.StaticCache(config=decoder, max_cache_len=length)

    return tf.EncoderDecoderCache(cache(9), cache(5)) if config.is_encoder_decoder else cache(20)


@pytest.mark.parametrize("kind", ["dynamic", "static"])
@pytest.mark.parametrize("architecture", KINDS)
def test_a_cache_of_the_caller_s_says_which_kind_each_part_gets(architecture, kind):
    ours, oracle = pair(architecture)
    cache = own_cache(kind, ours.config)
    arguments = dict(do_sample=False, past_key_values=cache, return_dict_in_generate=True)
    got = ours.generate(**padded(PROMPTS), lam=LAMS, max_new_tokens=8, **arguments)
    assert torch.equal(got.sequences, truth(oracle, padded(PROMPTS), LAMS, do_sample=False))
    # the caller's cache stays empty: each part has a cache of its own, of the same kind
    assert cache.get_seq_length() == 0
    used = [getattr(part, "self_attention_cache", part) for part in got.past_key_values.parts]
    expected = tf.DynamicCache if kind == "dynamic" else tf.StaticCache
    assert [type(part) for part in used] == [expected] * 2


@pytest.mark.parametrize("architecture", ["llama", "mistral"])
def test_generate_goes_on_from_the_cache_that_it_returned(architecture):
    """The second turn of a conversation: the cache of the first holds all tokens but the last."""
    ours, oracle = pair(architecture)
    arguments = dict(do_sample=False, eos_token_id=None, max_new_tokens=4)
    first = ours.generate(**padded(PROMPTS), lam=LAMS, return_dict_in_generate=True, **arguments)
    ids = torch.cat([first.sequences, torch.tensor([[5, 8]] * 4)], dim=1)
    mask = torch.cat([padded(PROMPTS)["attention_mask"], torch.ones(4, 6, dtype=torch.long)], dim=1)
    batch = dict(input_ids=ids, attention_mask=mask)
    seen = []
    with hooked(ours.aligned.model.embed_tokens, lambda *call: seen.append(call[1][0].shape[1])):
        second = ours.generate(
            **batch, lam=LAMS, past_key_values=first.past_key_values, **arguments
        )
    assert torch.equal(second, truth(oracle, batch, LAMS, **arguments))
    # first the last token of the first turn and two new ones, then one at a time
    assert seen == [3, 1, 1, 1]


WEIGHTS = {
    "rows": ([[0.5, -1.0], [2.0, 1.0], [0.0, 3.0], [0.3, 0.0]],) * 2,
    "list": ([0.6, -0.7], [[0.6, -0.7]] * 4),
    "names": ({"kind": 1.5, "brief": -0.5}, [[1.5, -0.5]] * 4),
    "one name": ({"brief": 2.0}, [[0.0, 2.0]] * 4),
}


@pytest.mark.parametrize("mode", ["greedy", "beams", "sampling"])
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("architecture", ["llama", "t5"])
def test_several_aligned_models_equal_the_oracle(architecture, weights, mode):
    ours, oracle = triple(architecture)
    lam, rows = WEIGHTS[weights]
    lam = torch.tensor(lam) if weights == "rows" else lam
    got = seeded(ours, **padded(PROMPTS), lam=lam, max_new_tokens=8, **MODES[mode])
    expected = truth(oracle, padded(PROMPTS), rows, **MODES[mode])
    assert_same(mode, parts(architecture, 3), rows, got, expected)


def test_one_aligned_model_gets_its_lam_by_name():
    reference, aligned = parts("llama")
    ours = RealignedModel(reference, {"kind": aligned})
    _, oracle = pair("llama")
    for lam in ({"kind": 2.0}, {}):
        got = ours.generate(**padded(PROMPTS), lam=lam, max_new_tokens=8, do_sample=False)
        rows = [lam.get("kind", 0.0)] * 4
        assert torch.equal(got, truth(oracle, padded(PROMPTS), rows, do_sample=False))


def adapted(architecture, names):
    """One base with several adapters that change the logits visibly."""
    task = "SEQ_2_SEQ_LM" if architecture in ENCODER_DECODERS else "CAUSAL_LM"
    config = LoraConfig(r=1, lora_alpha=4, target_modules="all-linear", task_type=task)
    model = get_peft_model(tiny(architecture, 1), config, adapter_name=names[0])
    for name in names[1:]:
        model.add_adapter(name, config)
    return randomise(model)


def randomise(model):
    """Let fresh adapters change the logits, which they do not do before training."""
    torch.manual_seed(8)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3)
    return model.eval()


def merged(model: PeftModel, name):
    """A whole model of its own, the adapter added to its weights."""
    alone = copy.deepcopy(model)
    alone.set_adapter(name)
    return alone.merge_and_unload(adapter_names=[name]).eval()


def size(*modules):
    """The bytes of the modules' parameters, each counted once."""
    parameters = {}
    for module in modules:
        parameters |= {id(p): p for p in module.parameters()}
    return sum(p.numel() * p.element_size() for p in parameters.values())


@lru_cache
def two_of_three_adapters(architecture):
    """A PEFT model, its realigned model, and the oracle of whole models with merged adapters."""
    model = adapted(architecture, ["kind", "unused", "brief"])
    whole = [tiny(architecture, 1), merged(model, "kind"), merged(model, "brief")]
    ours = RealignedModel(None, model, adapters=["kind", "brief"])
    return model, ours, Oracle(whole)


@pytest.mark.parametrize("mode", ["greedy", "beams"])
@pytest.mark.parametrize("architecture", ["llama", "t5"])
def test_several_adapters_on_one_base_equal_the_oracle(architecture, mode):
    model, ours, oracle = two_of_three_adapters(architecture)
    for lam, rows in (WEIGHTS["rows"], WEIGHTS["one name"]):
        lam = torch.tensor(lam) if lam is rows else lam
        got = ours.generate(**padded(PROMPTS), lam=lam, max_new_tokens=8, **MODES[mode])
        expected = truth(oracle, padded(PROMPTS), rows, **MODES[mode])
        assert_same(mode, oracle.parts, rows, got, expected)

    # the base is held once, and the PEFT model's active adapter is the first as before
    lora = [p for name, p in model.named_parameters() if "lora_" in name]
    added = sum(p.numel() * p.element_size() for p in lora)
    assert size(ours) == size(tiny(architecture, 1)) + added
    assert size(ours) < 0.6 * size(*oracle.parts)
    assert model.active_adapter == "kind"


SCHEDULES = {
    "linear": (linear_schedule(-1, 4, over=5), lambda step: -1 + 5 * min(step / 5, 1)),
    "reference first": (lambda positions: 2.0 * (positions >= 2), lambda step: 2.0 * (step >= 2)),
    "reference last": (lambda positions: 1.0 * (positions < 2), lambda step: 1.0 * (step < 2)),
}


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("architecture", [*KINDS, "bart"])
def test_a_schedule_changes_lam_over_the_completion(architecture, name, use_cache):
    schedule, at = SCHEDULES[name]
    ours, _ = pair(architecture)
    got = ours.generate(
        **padded(PROMPTS), lam=schedule, max_new_tokens=8, do_sample=False, use_cache=use_cache
    )
    completions = got[:, 1 if ours.config.is_encoder_decoder else 5 :].tolist()
    compared = 0
    for prompt, completion in zip(PROMPTS, completions, strict=True):
        compared += compare(parts(architecture), lambda step: [at(step)], prompt, completion)
    assert compared > 12


def compare(models, lam, prompt, completion, steps=8):
    """Compare a greedy completion with the truth; return how many tokens were compared."""
    start, source = ([PAD], prompt) if models[0].config.is_encoder_decoder else (prompt, None)
    expected = greedy(models, lam, start, steps, EOS, source)
    assert completion[: len(expected)] == expected
    return len(expected)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_schedule_scores_a_text_that_is_given(architecture):
    """The completions of the rows start at different columns.

    Before a completion lam is that of its first token.
    """
    ours, _ = pair(architecture)
    starts = torch.tensor([3, 4, 5, 2])
    with torch.no_grad():
        schedule = linear_schedule(-1, 4, over=3)
        got = ours(**padded(PROMPTS), lam=schedule, completion_start=starts).logits
    for row, (ids, start) in enumerate(zip(PROMPTS, starts.tolist(), strict=True)):
        pad = 5 - len(ids)
        for t in range(len(ids)):
            lam = -1 + 5 * min(max(pad + t + 1 - start, 0) / 3, 1)
            expected = next_logits(parts(architecture), [lam], ids)[t]
            torch.testing.assert_close(got[row, pad + t].double(), expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("architecture", KINDS)
@pytest.mark.parametrize(("lam", "name_of_part"), [(0, "reference"), (1, "aligned")])
def test_a_model_without_a_share_never_runs(architecture, lam, name_of_part):
    ours, oracle = pair(architecture)
    modules = dict(reference=ours.reference, aligned=ours.aligned)
    if ours.config.is_encoder_decoder:
        modules |= {f"encoder of {name}": module.get_encoder() for name, module in modules.items()}
    batch = padded(PROMPTS)
    inputs = dict(batch)
    if ours.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = torch.full((4, 1), PAD)
    for call in (
        lambda lam: ours(**inputs, lam=lam),
        lambda lam: ours.generate(**batch, lam=lam, max_new_tokens=3, do_sample=False),
        lambda lam: ours.generate(**batch, lam=lam, max_new_tokens=3, do_sample=False, num_beams=2),
    ):
        with counted(**modules) as calls:
            call(lam)
        called = {name for name, count in calls.items() if count}
        assert called == {name for name in modules if name_of_part in name}
        with counted(**modules) as calls:
            call([lam] * 3 + [0.5])
        assert all(calls.values())
    got = ours.generate(**batch, lam=lam, max_new_tokens=8, do_sample=False)
    assert torch.equal(got, truth(oracle, batch, [lam] * 4, do_sample=False))


@pytest.mark.parametrize("lam", [0, 1, 0.5])
def test_one_base_with_an_adapter_runs_once_a_token(lam):
    ours = RealignedModel(None, adapted("llama", ["only"]))
    assert ours.one_pass.ready  # this runs the trial, which is not counted
    with counted(base=ours.aligned.get_base_model()) as calls:
        ours.generate(
            **padded(PROMPTS), lam=lam, max_new_tokens=3, min_new_tokens=3, do_sample=False
        )
    assert calls["base"] == 3


@pytest.mark.parametrize("architecture", ["llama", "t5"])
def test_a_cache_begun_without_a_model_is_refused_when_it_gets_a_share(architecture):
    ours, _ = pair(architecture)
    is_seq2seq = ours.config.is_encoder_decoder
    ids = torch.tensor([PROMPTS[0]])
    first = torch.tensor([[PAD if is_seq2seq else 3]])
    second = torch.tensor([[4]])
    source = dict(input_ids=ids) if is_seq2seq else {}
    key = "decoder_input_ids" if is_seq2seq else "input_ids"
    with torch.no_grad():
        begun = ours(**source, **{key: first}, lam=0, use_cache=True)
        with pytest.raises(ValueError, match="lam has changed"):
            ours(**source, **{key: second}, lam=0.5, past_key_values=begun.past_key_values)
        begun = ours(**source, **{key: first}, lam=0, use_cache=True, output_parts=True)
        got = ours(**source, **{key: second}, lam=0.5, past_key_values=begun.past_key_values)
    both = torch.cat([first, second], 1)
    expected = next_logits(parts(architecture), [0.5], both, ids if is_seq2seq else None)
    torch.testing.assert_close(got.logits[0, -1].double(), expected[-1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("architecture", ["llama", "gemma", "t5", "bart"])
def test_half_precision_models_are_mixed_in_float32(architecture, dtype):
    halves = [copy.deepcopy(part).to(dtype) for part in parts(architecture)]
    ours = RealignedModel(*halves)
    lam = 8.0
    inputs = dict(input_ids=torch.tensor([PROMPTS[0]]))
    if ours.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = torch.tensor([[PAD, 4, 9, 2]])
    with torch.no_grad():
        reference, aligned = (part(**inputs).logits for part in halves)
        got = ours(**inputs, lam=lam).logits
    assert (reference.dtype, got.dtype) == (dtype, torch.float32)
    expected = (1 - lam) * reference.double() + lam * aligned.double()
    torch.testing.assert_close(got.double(), expected, atol=1e-4, rtol=1e-6)
    in_half_precision = ((1 - lam) * reference + lam * aligned).double()
    error = (got.double() - expected).abs().max()
    assert (in_half_precision - expected).abs().max() > 100 * error


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("architecture", ALL)
def test_padding_changes_nothing(architecture, side):
    ours, oracle = pair(architecture)
    batch = padded(PROMPTS, side)
    inputs = {}
    if ours.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = torch.tensor([[PAD, 4, 9, 2]] * 4)
        arguments = dict(do_sample=False, num_beams=2)
        got = ours.generate(**batch, lam=LAMS, max_new_tokens=8, **arguments)
        assert torch.equal(got, truth(oracle, batch, LAMS, **arguments))
    with torch.no_grad():
        logits = ours(**batch, **inputs, lam=LAMS).logits.double()
    for row, (ids, lam) in enumerate(zip(PROMPTS, LAMS, strict=True)):
        if inputs:
            text = inputs["decoder_input_ids"][row]
            expected = next_logits(parts(architecture), [lam], text, ids)
            got = logits[row]
        else:
            expected = next_logits(parts(architecture), [lam], ids)
            got = logits[row, batch["attention_mask"][row].bool()]
        torch.testing.assert_close(got, expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("architecture", ENCODER_DECODERS)
def test_padding_of_the_decoder_s_text_changes_nothing(architecture, side):
    ours, _ = pair(architecture)
    decoded = padded([[PAD, 4, 9], [PAD], [PAD, 7, 7, 3], [PAD, 2]], side)
    with torch.no_grad():
        logits = ours(
            **padded(PROMPTS),
            lam=LAMS,
            decoder_input_ids=decoded["input_ids"],
            decoder_attention_mask=decoded["attention_mask"],
        ).logits.double()
    for row, (ids, lam) in enumerate(zip(PROMPTS, LAMS, strict=True)):
        real = decoded["attention_mask"][row].bool()
        expected = next_logits(parts(architecture), [lam], decoded["input_ids"][row, real], ids)
        torch.testing.assert_close(logits[row, real], expected, atol=1e-3, rtol=1e-4)


def saved(folder, **named):
    """Save models with the tokenizer; return the folders as text."""
    for name, model in named.items():
        model.save_pretrained(folder / name)
        word_tokenizer().save_pretrained(folder / name)
    return [str(folder / name) for name in named]


ALL_ON_CPU = {
    "model.embed_tokens": "cpu",
    "model.layers.0": "cpu",
    "model.layers.1": "cpu",
    "model.norm": "cpu",
    "model.rotary_emb": "cpu",
    "lm_head": "cpu",
}
LAYER_ON_DISK = ALL_ON_CPU | {"model.layers.1": "disk"}
DEVICE_MAPS = {
    "all on one device": {"": "cpu"},
    "a layer on disk": LAYER_ON_DISK,
    "embeddings and a layer on disk": LAYER_ON_DISK | {"model.embed_tokens": "disk"},
}


@pytest.mark.parametrize("where", DEVICE_MAPS)
def test_a_device_map_reaches_every_part(tmp_path, where):
    paths = saved(tmp_path, reference=parts("llama")[0], aligned=parts("llama")[1])
    loaded = RealignedModel.from_pretrained(
        *paths, device_map=DEVICE_MAPS[where], offload_folder=tmp_path / "offloaded"
    )
    for part in (loaded.reference, loaded.aligned):
        on_disk = {
            name for name, parameter in part.named_parameters() if parameter.device.type == "meta"
        }
        assert bool(on_disk) == ("disk" in where)
    got = loaded.generate(**padded(PROMPTS), lam=LAMS, max_new_tokens=8, do_sample=False)
    assert torch.equal(got, truth(pair("llama")[1], padded(PROMPTS), LAMS, do_sample=False))


@pytest.mark.parametrize("kind", ["two models", "adapter"])
@pytest.mark.parametrize("bits", [8, 4])
def test_quantised_models_are_mixed_as_they_are(tmp_path, bits, kind):
    """bitsandbytes decides what the parts' logits are, and these must be mixed."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    # bitsandbytes needs sizes that are multiples of 32
    wide = dict(hidden_size=64, intermediate_size=64, head_dim=32, num_key_value_heads=2)
    reference, aligned = tiny("llama", 1, **wide), tiny("llama", 2, **wide)
    if kind == "adapter":
        aligned = get_peft_model(
            copy.deepcopy(reference),
            LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"),
        )
        randomise(aligned)
    paths = saved(tmp_path, reference=reference, aligned=aligned)
    config = tf.BitsAndBytesConfig(load_in_8bit=bits == 8, load_in_4bit=bits == 4)
    batch = padded(PROMPTS)
    lams = torch.tensor(LAMS, dtype=torch.double)[:, None]
    positions = (batch["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    whole = (0, 0) if kind == "adapter" else (0, 1)
    try:
        plain = [
            tf.AutoModelForCausalLM.from_pretrained(paths[i], quantization_config=config)
            for i in whole
        ]
        if kind == "adapter":
            plain[1] = PeftModel.from_pretrained(plain[1], paths[1]).eval()
        with torch.no_grad():
            first, second = (
                part(**batch, position_ids=positions).logits[:, -1].double() for part in plain
            )
    except (RuntimeError, ImportError, AssertionError, NotImplementedError) as error:
        pytest.skip(f"bitsandbytes does not run {bits}-bit models here: {error}")
    ours = RealignedModel.from_pretrained(*paths, quantization_config=config)
    kinds = (bitsandbytes.nn.Linear8bitLt, bitsandbytes.nn.Linear4bit)
    assert sum(isinstance(module, kinds) for module in ours.reference.modules()) == 14
    with torch.no_grad():
        got = ours(**batch, lam=LAMS).logits[:, -1]
    assert got.dtype == torch.float32
    torch.testing.assert_close(
        got.double(), (1 - lams) * first + lams * second, atol=1e-3, rtol=1e-4
    )
    # the logits show that the model was quantised
    unquantised = logits_of(reference, **batch, position_ids=positions)[:, -1]
    assert (first - unquantised).abs().max() > 0.01
    assert ours.generate(**batch, lam=LAMS, max_new_tokens=3, min_new_tokens=3).shape == (4, 8)


def logits_of(part, **inputs):
    with torch.no_grad():
        return part(**inputs).logits


def mean_nll(architecture, lams, rows):
    """The mean negative log-likelihood of rows of (tokens, how many of them are given, source)."""
    total = 0.0
    count = 0
    for lam, (ids, start, source) in zip(lams, rows, strict=True):
        logs = next_logits(parts(architecture), [lam], ids, source).log_softmax(-1)
        for t in range(start, len(ids)):
            total -= logs[t - 1, ids[t]].item()
            count += 1
    return total / count


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("architecture", DECODERS)
def test_the_loss_of_a_decoder_ignores_prompts_and_padding(architecture, side):
    ours, _ = pair(architecture)
    given = [2, 1, 1, 3]
    batch = padded(PROMPTS, side)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    for row, (ids, count) in enumerate(zip(PROMPTS, given, strict=True)):
        first = 5 - len(ids) if side == "left" else 0
        labels[row, first : first + count] = -100
    with torch.no_grad():
        loss = ours(**batch, labels=labels, lam=LAMS).loss.item()
    rows = [(ids, count, None) for ids, count in zip(PROMPTS, given, strict=True)]
    assert math.isclose(loss, mean_nll(architecture, LAMS, rows), rel_tol=1e-5)


@pytest.mark.parametrize("architecture", ENCODER_DECODERS)
def test_the_loss_of_an_encoder_decoder_is_the_oracle_s(architecture):
    ours, _ = pair(architecture)
    targets = [[4, 9, EOS], [6, EOS], [7, 7, 3, EOS], [EOS]]
    labels = padded(targets, "right")
    labels = labels["input_ids"].masked_fill(labels["attention_mask"] == 0, -100)
    with torch.no_grad():
        loss = ours(**padded(PROMPTS), labels=labels, lam=LAMS).loss.item()
    rows = [([PAD, *target], 1, source) for target, source in zip(targets, PROMPTS, strict=True)]
    assert math.isclose(loss, mean_nll(architecture, LAMS, rows), rel_tol=1e-5)


@lru_cache
def random_pair(architecture, seed):
    models = [tiny(architecture, 100 + seed), tiny(architecture, 200 + seed)]
    return models, RealignedModel(*models)


def test_greedy_decoding_of_any_ragged_batch_is_the_oracle_s():
    compared = []
    prompt = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=6)
    row = st.tuples(prompt, st.floats(-2, 8, width=32))

    @settings(max_examples=100, deadline=None, database=None)
    @given(
        st.sampled_from(["llama", "qwen", "mistral", "gpt2", "gemma", "t5"]),
        st.integers(0, 3),
        st.lists(row, min_size=1, max_size=4),
    )
    def agrees(architecture, seed, rows):
        models, ours = random_pair(architecture, seed)
        prompts = [ids for ids, _ in rows]
        lams = [lam for _, lam in rows]
        batch = padded(prompts)
        output = ours.generate(**batch, lam=lams, max_new_tokens=6, do_sample=False)
        first = 1 if ours.config.is_encoder_decoder else batch["input_ids"].shape[1]
        for ids, lam, completion in zip(prompts, lams, output[:, first:].tolist(), strict=True):
            compared.append(compare(models, [lam], ids, completion, steps=6))

    agrees()
    assert sum(compared) > 200
