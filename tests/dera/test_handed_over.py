"""Everything that transformers hands over has its effect on the mixture, or is refused by name.

The truth is `tests.dera.oracle`: each row alone, unpadded and without cache, each model by itself.
"""

import asyncio
import inspect
import itertools
import logging
import threading
from functools import lru_cache

import pytest
import tokenizers
import torch
import transformers as tf
from transformers import GenerationConfig, GenerationMixin, LogitsProcessor, StoppingCriteria
from transformers.generation import (
    UnbatchedClassifierFreeGuidanceLogitsProcessor,
    WatermarkingConfig,
)
from transformers.generation.streamers import BaseStreamer
from transformers.utils.generic import TransformersKwargs

from dera import RealignedModel, linear_schedule
from tests.dera.architectures import EOS, tiny, tiny_adapter
from tests.dera.oracle import Oracle, next_logits
from tests.dera.test_generate import PROMPTS, padded
from tests.dera.tokenizers import word_tokenizer

PARTS = [tiny("llama", 1), tiny("llama", 2)]
LAM = 0.4
LAMS = [-1.0, 0.4, 1.0, 3.0]


def letters():
    """A tokenizer whose tokens stand side by side in a text: `<eos>`, `<pad>` and a to k."""
    names = ["<eos>", "<pad>", *"abcdefghijk"]
    model = tokenizers.models.WordLevel({name: i for i, name in enumerate(names)}, "<pad>")
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    made.decoder = tokenizers.decoders.Fuse()
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<eos>", pad_token="<pad>", unk_token="<pad>"
    )


@lru_cache
def pair(kind):
    """The realigned model, and the models that the oracle mixes."""
    if kind == "two models":
        return RealignedModel(*PARTS), PARTS
    adapted = tiny_adapter(tiny("llama", 1), 2)
    merged = tiny_adapter(tiny("llama", 1), 2).merge_and_unload()
    return RealignedModel(None, adapted), [tiny("llama", 1), merged]


@lru_cache
def oracle(kind):
    """The oracle of a pair, which remembers what it has computed."""
    return Oracle(pair(kind)[1])


@pytest.fixture(scope="module", params=["two models", "adapter"])
def models(request):
    return pair(request.param)


def plain_loop(parts, lam, ids, steps, score=None, stop=lambda ids: False):
    """The tokens that greedy decoding adds, from mixed log-probabilities without a cache.

    Args:
        parts: the models.
        lam: one number.
        ids: the tokens to continue.
        steps: how many tokens are added at most.
        score: a function of the text and the log-probabilities, which returns scores.
        stop: a function of the added tokens, which says whether the text ends.
    """
    added = []
    for _ in range(steps):
        logs = next_logits(parts, [lam], ids + added)[-1].log_softmax(-1)
        scores = logs if score is None else score(ids + added, logs)
        added.append(int(scores.argmax()))
        if added[-1] == EOS or stop(added):
            break
    return added


def completion(row, width):
    """The tokens after the prompt, up to the first end of sequence."""
    ids = row[width:].tolist()
    return ids[: ids.index(EOS) + 1] if EOS in ids else ids


# The table: what each setting and argument of `generate` is given, and what becomes of it. "same"
# is compared with transformers' own generate on the oracle's logits; a text is the refusal.

PROMPT = dict(input_ids=torch.tensor([PROMPTS[0]]), attention_mask=torch.ones(1, 5).long())
SAMPLED = dict(do_sample=True, top_k=0)
BEAMS = dict(num_beams=3)
SAME = "same"
HUB = "code from the Hub"

SETTINGS = {
    "max_length": (dict(max_length=9, max_new_tokens=None), SAME),
    "max_new_tokens": (dict(max_new_tokens=4), SAME),
    "min_length": (dict(min_length=12), SAME),
    "min_new_tokens": (dict(min_new_tokens=7), SAME),
    "early_stopping": (dict(BEAMS, early_stopping=True), SAME),
    "max_time": (dict(max_time=1e-9), SAME),
    "stop_strings": (dict(stop_strings=["b"], tokenizer=letters()), SAME),
    "do_sample": (dict(SAMPLED), SAME),
    "num_beams": (dict(BEAMS), SAME),
    "use_mtp": (dict(use_mtp=True), "use_mtp=True cannot be given"),
    "use_cache": (dict(use_cache=False), SAME),
    "cache_implementation": (dict(cache_implementation="static"), SAME),
    "cache_config": (dict(cache_implementation="static", cache_config=None), SAME),
    "max_cache_len": (dict(cache_implementation="static", max_cache_len=40), SAME),
    "temperature": (dict(SAMPLED, temperature=0.6), SAME),
    "top_k": (dict(do_sample=True, top_k=3), SAME),
    "top_p": (dict(SAMPLED, top_p=0.7), SAME),
    "min_p": (dict(SAMPLED, min_p=0.1), SAME),
    "top_h": (dict(SAMPLED, top_h=0.5), SAME),
    "typical_p": (dict(SAMPLED, typical_p=0.6), SAME),
    "epsilon_cutoff": (dict(SAMPLED, epsilon_cutoff=0.1), SAME),
    "eta_cutoff": (dict(SAMPLED, eta_cutoff=0.1), SAME),
    "repetition_penalty": (dict(repetition_penalty=1.5), SAME),
    "encoder_repetition_penalty": (dict(encoder_repetition_penalty=1.5), SAME),
    "length_penalty": (dict(BEAMS, length_penalty=-2.0), SAME),
    "no_repeat_ngram_size": (dict(no_repeat_ngram_size=2), SAME),
    "bad_words_ids": (dict(bad_words_ids=[[3], [5, 6]]), SAME),
    "renormalize_logits": (dict(SAMPLED, top_p=0.7, renormalize_logits=True), SAME),
    "forced_bos_token_id": (dict(forced_bos_token_id=4), SAME),
    "forced_eos_token_id": (dict(forced_eos_token_id=EOS), SAME),
    "remove_invalid_values": (dict(remove_invalid_values=True), SAME),
    "exponential_decay_length_penalty": (dict(exponential_decay_length_penalty=(2, 1.5)), SAME),
    "suppress_tokens": (dict(suppress_tokens=[3, 4]), SAME),
    "begin_suppress_tokens": (dict(begin_suppress_tokens=[3, 4, 5]), SAME),
    "sequence_bias": (dict(sequence_bias=[[[3], 4.0], [[6, 7], -9.0]]), SAME),
    "watermarking_config": (dict(watermarking_config=WatermarkingConfig(bias=3.0)), SAME),
    "num_return_sequences": (dict(SAMPLED, num_return_sequences=3), SAME),
    "pad_token_id": (dict(pad_token_id=5), SAME),
    "bos_token_id": (dict(bos_token_id=5), SAME),
    "eos_token_id": (dict(eos_token_id=[EOS, 7]), SAME),
    "encoder_no_repeat_ngram_size": (dict(encoder_no_repeat_ngram_size=1), SAME),
    "decoder_start_token_id": (dict(decoder_start_token_id=3), SAME),
    "prompt_lookup_num_tokens": (dict(prompt_lookup_num_tokens=3), SAME),
    "max_matching_ngram_size": (
        dict(prompt_lookup_num_tokens=3, max_matching_ngram_size=1),
        SAME,
    ),
    "num_assistant_tokens": (dict(assistant_model=PARTS[0], num_assistant_tokens=2), SAME),
    "num_assistant_tokens_schedule": (
        dict(assistant_model=PARTS[0], num_assistant_tokens_schedule="constant"),
        SAME,
    ),
    "assistant_confidence_threshold": (
        dict(assistant_model=PARTS[0], assistant_confidence_threshold=0.2),
        SAME,
    ),
    "assistant_early_exit": (dict(assistant_early_exit=1), "assistant_early_exit=1 cannot"),
    "speculation_type": (dict(speculation_type="dflash"), "speculation_type=dflash cannot"),
    "disable_compile": (dict(disable_compile=True), SAME),
    "low_memory": (dict(low_memory=True), "low_memory=True cannot be given"),
    "penalty_alpha": (dict(penalty_alpha=0.6, top_k=4), HUB),
    "dola_layers": (dict(dola_layers="low"), HUB),
    "diversity_penalty": (dict(num_beams=4, diversity_penalty=0.5), HUB),
    "num_beam_groups": (dict(num_beams=4, num_beam_groups=2), HUB),
    "constraints": (dict(constraints=[object()]), HUB),
    "force_words_ids": (dict(force_words_ids=[[3]]), HUB),
    "prefill_chunk_size": (dict(prefill_chunk_size=2), SAME),
    # Each of these has a test of its own below, or is a setting of an assistant by itself.
    "guidance_scale": (dict(), SAME),
    "token_healing": (dict(), SAME),
    "output_attentions": (dict(), SAME),
    "output_hidden_states": (dict(), SAME),
    "output_scores": (dict(output_scores=True), SAME),
    "output_logits": (dict(output_logits=True), SAME),
    "return_dict_in_generate": (dict(), SAME),
    "is_assistant": (dict(), SAME),
    "assistant_lookbehind": (dict(), SAME),
    "target_lookbehind": (dict(), SAME),
    "assistant_ensemble_weight": (dict(), SAME),
    "compile_config": (dict(), SAME),
    "continuous_batching_config": (dict(), SAME),
}
NO_SETTINGS = {"transformers_version"}

ARGUMENTS = {
    "inputs": (dict(), SAME),
    "generation_config": (
        dict(generation_config=GenerationConfig(max_new_tokens=3), max_new_tokens=None),
        SAME,
    ),
    "logits_processor": (dict(), SAME),
    "stopping_criteria": (dict(), SAME),
    "prefix_allowed_tokens_fn": (
        dict(prefix_allowed_tokens_fn=lambda row, ids: [3 + len(ids) % 2, 9, EOS]),
        SAME,
    ),
    "synced_gpus": (dict(synced_gpus=False), SAME),
    "assistant_model": (dict(assistant_model=PARTS[1]), SAME),
    "streamer": (dict(), SAME),
    "negative_prompt_ids": (
        dict(negative_prompt_ids=torch.tensor([[3]])),
        "negative_prompt_ids= does nothing without guidance",
    ),
    "negative_prompt_attention_mask": (dict(), SAME),
    "custom_generate": (dict(custom_generate="someone/code"), "names code on the Hub"),
    "tokenizer": (dict(tokenizer=word_tokenizer()), SAME),
    "assistant_tokenizer": (
        dict(assistant_tokenizer=word_tokenizer()),
        "assistant_tokenizer= does nothing without an assistant",
    ),
    "trust_remote_code": (dict(trust_remote_code=True), "trust_remote_code=True cannot be given"),
    "inputs_embeds": (dict(inputs_embeds=torch.zeros(1, 5, 16)), "inputs_embeds= cannot be given"),
    "paged": (dict(cache_implementation="paged"), "cache_implementation='paged' cannot"),
    "quantized": (dict(cache_implementation="quantized"), "cache_implementation='quantized' can"),
}


def test_the_table_has_every_setting_and_argument():
    settings = {name for name in vars(GenerationConfig()) if not name.startswith("_")}
    assert settings - NO_SETTINGS <= set(SETTINGS)
    arguments = set(inspect.signature(GenerationMixin.generate).parameters) - {"self", "kwargs"}
    assert arguments <= set(ARGUMENTS)


@pytest.mark.parametrize("name", [*SETTINGS, *ARGUMENTS])
@pytest.mark.parametrize("kind", ["two models", "adapter"])
@pytest.mark.filterwarnings("ignore:decoding is plain")
def test_a_setting_has_its_effect_or_is_refused(kind, name):
    ours, _ = pair(kind)
    given, outcome = {**SETTINGS, **ARGUMENTS}[name]
    options = {"max_new_tokens": 8, **given}
    options = {key: value for key, value in options.items() if value is not None}
    # Greedy text is the same with speculative decoding. Samples have the same distribution only.
    ways = [False] if options.get("do_sample") else [False, True]
    if outcome != SAME:
        for speculative in ways:
            with pytest.raises(ValueError, match=outcome):
                ours.generate(**PROMPT, lam=LAM, speculative=speculative, **options)
        return
    # The truth has no cache and no drafts. These only change its speed.
    truth = dict(options, use_cache=False)
    for only_speed in (
        "assistant_model",
        "cache_implementation",
        "max_cache_len",
        "prefill_chunk_size",
        "prompt_lookup_num_tokens",
    ):
        truth.pop(only_speed, None)
    torch.manual_seed(5)
    expected = oracle(kind).generate(**PROMPT, lam=torch.tensor([[LAM]]), **truth)
    for speculative in ways:
        torch.manual_seed(5)
        got = ours.generate(**PROMPT, lam=LAM, speculative=speculative, **options)
        assert torch.equal(got, expected)


@pytest.mark.parametrize("name", sorted(TransformersKwargs.__optional_keys__))
def test_an_argument_of_all_models_has_its_effect_or_is_refused(name):
    model = RealignedModel(*PARTS)
    plain = model(**PROMPT, lam=LAM)
    values = {
        "num_items_in_batch": torch.tensor(7),
        "position_ids": torch.arange(5)[None],
        "is_causal": False,
        "output_hidden_states": True,
        "output_attentions": True,
        "output_router_logits": True,
    }
    value = values.get(name, torch.tensor([0, 5]))
    if name == "num_items_in_batch":
        ids = PROMPT["input_ids"]
        loss = model(**PROMPT, lam=LAM, labels=ids, num_items_in_batch=value).loss
        logs = next_logits(PARTS, [LAM], PROMPTS[0]).log_softmax(-1)[:-1]
        assert loss.item() == pytest.approx(
            -logs.gather(1, ids[0, 1:, None]).sum().item() / 7, 1e-5
        )
    elif name in ("position_ids", "output_hidden_states"):
        assert torch.equal(model(**PROMPT, lam=LAM, **{name: value}).logits, plain.logits)
    else:
        with pytest.raises(ValueError, match=name):
            model(**PROMPT, lam=LAM, **{name: value})


@pytest.mark.parametrize("options", [{}, {"prompt_lookup_num_tokens": 3}])
@pytest.mark.parametrize(("negative", "scale"), [(None, -2.0), ([[8, 9]], 1.5)])
def test_guidance_reads_its_second_text_at_the_same_lam(models, options, negative, scale):
    ours, parts = models
    prompt = PROMPTS[0]

    def guided(text, logs):
        second = (negative or [prompt[-1:]])[0] + text[len(prompt) :]
        other = next_logits(parts, [LAM], second)[-1].log_softmax(-1)
        return other + scale * (logs - other)

    ids = negative and torch.tensor(negative)
    got = ours.generate(
        **PROMPT,
        lam=LAM,
        guidance_scale=scale,
        negative_prompt_ids=ids,
        max_new_tokens=8,
        **options,
    )
    assert completion(got[0], 5) == plain_loop(parts, LAM, prompt, 8, guided)


def test_guidance_has_the_lam_of_each_row_and_skips_padding(models):
    ours, parts = models
    negatives = [[8, 9, 3], [4], [2, 5], [7, 7]]
    second = padded(negatives)
    batch = padded(PROMPTS)
    arguments = dict(
        **batch,
        guidance_scale=1.7,
        negative_prompt_ids=second["input_ids"],
        negative_prompt_attention_mask=second["attention_mask"],
        max_new_tokens=7,
    )
    got = ours.generate(lam=LAMS, **arguments)
    for row, (prompt, negative, lam) in enumerate(zip(PROMPTS, negatives, LAMS, strict=True)):

        def guided(text, logs, prompt=prompt, negative=negative, lam=lam):
            other = next_logits(parts, [lam], negative + text[len(prompt) :])[-1].log_softmax(-1)
            return other + 1.7 * (logs - other)

        width = batch["input_ids"].shape[1]
        assert completion(got[row], width) == plain_loop(parts, lam, prompt, 7, guided)


def test_guidance_follows_beams_that_change_places():
    """The best of all texts of three tokens is found, because few beams are left out."""
    ours = RealignedModel(*PARTS)
    prompt, negative = PROMPTS[0], [8, 9]
    texts = ours.generate(
        **PROMPT,
        lam=LAM,
        guidance_scale=1.5,
        negative_prompt_ids=torch.tensor([negative]),
        max_new_tokens=3,
        min_new_tokens=3,
        num_beams=24,
        length_penalty=0.0,
    )

    @lru_cache
    def scores_after(beginning):
        first = next_logits(PARTS, [LAM], prompt + list(beginning))[-1].log_softmax(-1)
        other = next_logits(PARTS, [LAM], negative + list(beginning))[-1].log_softmax(-1)
        return other + 1.5 * (first - other)

    def value(text):
        return sum(float(scores_after(text[:step])[token]) for step, token in enumerate(text))

    tokens = [token for token in range(13) if token != EOS]
    best = max(itertools.product(tokens, repeat=3), key=value)
    assert texts[0, 5:].tolist() == list(best)


def test_guidance_follows_a_schedule():
    ours = RealignedModel(*PARTS)
    schedule = linear_schedule(2.0, -1.0, over=4)
    negative, prompt = [8, 9], PROMPTS[0]
    added = []
    for step in range(7):
        lam = float(schedule(torch.tensor([step]))[0])
        first = next_logits(PARTS, [lam], prompt + added)[-1].log_softmax(-1)
        other = next_logits(PARTS, [lam], negative + added)[-1].log_softmax(-1)
        added.append(int((other + 1.5 * (first - other)).argmax()))
        if added[-1] == EOS:
            break
    got = ours.generate(
        **PROMPT,
        lam=schedule,
        guidance_scale=1.5,
        negative_prompt_ids=torch.tensor([negative]),
        max_new_tokens=7,
    )
    assert completion(got[0], 5) == added


def test_guidance_that_cannot_be_right_is_refused():
    ours = RealignedModel(*PARTS)
    with pytest.raises(ValueError, match="3 rows, but there are 1 prompts: give one row"):
        ours.generate(
            **PROMPT, lam=LAM, guidance_scale=2.0, negative_prompt_ids=torch.tensor([[3]] * 3)
        )
    t5 = RealignedModel(tiny("t5", 1), tiny("t5", 2))
    with pytest.raises(ValueError, match="guidance_scale=2.0 is for decoder-only models"):
        t5.generate(**PROMPT, lam=LAM, guidance_scale=2.0)


class SecondOpinion(LogitsProcessor):
    """Calls the model without lam, and adds what it says after the text's last two tokens."""

    def __init__(self, model):
        self.model = model

    def __call__(self, input_ids, scores):
        return scores + self.model(input_ids=input_ids[:, -2:]).logits[:, -1]


@pytest.mark.parametrize("options", [{}, {"num_return_sequences": 2, "num_beams": 2}])
def test_a_processor_that_calls_the_model_gets_the_lam_of_the_call(models, options):
    """This holds for each row, repeated rows included; and not after the call."""
    ours, parts = models
    batch = padded(PROMPTS)
    seen = ours.generate(
        **batch,
        lam=LAMS,
        logits_processor=[SecondOpinion(ours)],
        max_new_tokens=1,
        output_scores=True,
        return_dict_in_generate=True,
        **options,
    )
    copies = options.get("num_beams", 1)
    for row, (prompt, lam) in enumerate(zip(PROMPTS, LAMS, strict=True)):
        first = next_logits(parts, [lam], prompt)[-1]
        first = first.log_softmax(-1) if copies > 1 else first
        expected = first + next_logits(parts, [lam], prompt[-2:])[-1]
        assert torch.allclose(seen.scores[0][row * copies].double(), expected, atol=1e-4)
    alone = next_logits(parts, [1.0], PROMPTS[0])[-1]
    assert torch.allclose(ours(**PROMPT).logits[0, -1].double(), alone, atol=1e-4)


def test_guidance_that_the_caller_makes_has_the_lam_of_the_call(models):
    ours, _ = models
    own = UnbatchedClassifierFreeGuidanceLogitsProcessor(1.5, ours, torch.tensor([[8, 9]]))
    asked = dict(guidance_scale=1.5, negative_prompt_ids=torch.tensor([[8, 9]]))
    got = ours.generate(**PROMPT, lam=LAM, logits_processor=[own], max_new_tokens=8)
    assert torch.equal(got, ours.generate(**PROMPT, lam=LAM, max_new_tokens=8, **asked))


def test_threads_and_tasks_keep_their_own_lam():
    ours = RealignedModel(*PARTS)

    def text(lam):
        processor = SecondOpinion(ours)
        row = ours.generate(**PROMPT, lam=lam, logits_processor=[processor], max_new_tokens=6)[0]
        return row.tolist()

    expected = [text(lam) for lam in LAMS]
    in_threads = [None] * len(LAMS)

    def work(index):
        in_threads[index] = text(LAMS[index])

    threads = [threading.Thread(target=work, args=[index]) for index in range(len(LAMS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert in_threads == expected

    async def tasks():
        return await asyncio.gather(*[asyncio.to_thread(text, lam) for lam in LAMS])

    assert asyncio.run(tasks()) == expected


def test_a_call_inside_a_schedule_must_say_where_it_is():
    ours = RealignedModel(*PARTS)
    schedule = linear_schedule(0.0, 1.0, over=4)
    with pytest.raises(ValueError, match="pass lam= and completion_start= to that call"):
        ours.generate(**PROMPT, lam=schedule, logits_processor=[SecondOpinion(ours)])


def test_token_healing_reads_at_the_same_lam():
    """The last token, a, is chosen again among a, ab and ac by the mixture before it."""
    names = ["<eos>", "<pad>", "a", "ab", "ac", *"defghijk"]
    model = tokenizers.models.WordLevel({name: i for i, name in enumerate(names)}, "<pad>")
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    special = dict(bos_token="<eos>", eos_token="<eos>", pad_token="<pad>", unk_token="<pad>")
    tokenizer = tf.PreTrainedTokenizerFast(tokenizer_object=made, **special)
    bias = torch.zeros(13, dtype=torch.double)
    bias[[2, 3, 4]] = torch.tensor([11.0, 10, 10], dtype=torch.double)

    def healed(beginning, lam):
        return int((next_logits(PARTS, [lam], beginning)[-1] + bias).argmax())

    ours, differing = RealignedModel(*PARTS), 0
    for beginning in itertools.product([5, 6, 7, 8], repeat=2):
        beginning = list(beginning)
        ids = torch.tensor([[*beginning, 2]])
        got = ours.generate(
            ids, lam=-1.0, token_healing=True, tokenizer=tokenizer, max_new_tokens=2
        )
        text = [*beginning, healed(beginning, -1.0)]
        assert got[0, :3].tolist() == text
        assert completion(got[0], 3) == plain_loop(PARTS, -1.0, text, 2)
        differing += text[-1] != healed(beginning, 1.0)
    assert differing


class StopAfter(StoppingCriteria):
    """Stops each row after a token of its own."""

    def __call__(self, input_ids, scores, **kwargs):
        return torch.isin(input_ids[:, -1], torch.tensor([3, 6, 9]))


class Heard(BaseStreamer):
    def __init__(self):
        self.tokens = []

    def put(self, value):
        self.tokens += value.flatten().tolist()

    def end(self):
        self.ended = True


@pytest.mark.parametrize("speculative", [False, True])
@pytest.mark.filterwarnings("ignore:decoding is plain")
def test_stop_strings_criteria_and_streamers(models, speculative):
    ours, parts = models
    options = dict(lam=LAM, max_new_tokens=8, speculative=speculative)
    for prompt in PROMPTS:
        ids = torch.tensor([prompt])
        text = plain_loop(parts, LAM, prompt, 8)
        for stop in set(text):
            expected = text[: text.index(stop) + 1]
            if stop == EOS:
                continue
            word = [letters().decode(stop)]
            got = ours.generate(ids, stop_strings=word, tokenizer=letters(), **options)
            assert completion(got[0], len(prompt)) == expected
        stopped = plain_loop(parts, LAM, prompt, 8, stop=lambda ids: ids[-1] in (3, 6, 9))
        heard = Heard()
        got = ours.generate(ids, stopping_criteria=[StopAfter()], streamer=heard, **options)
        assert completion(got[0], len(prompt)) == stopped
        assert heard.tokens == prompt + stopped
        assert heard.ended


def test_speculation_says_why_it_is_left_out():
    ours = RealignedModel(*PARTS)
    for options, reason in [
        (dict(stop_strings=["b"], tokenizer=letters()), "with tokenizer="),
        (dict(guidance_scale=1.5), "guidance"),
        (dict(streamer=Heard()), "with streamer="),
        (dict(num_beams=2), "the mode is beam_search"),
        (dict(return_dict_in_generate=True), "return_dict_in_generate"),
    ]:
        with pytest.warns(UserWarning, match=f"decoding is plain, not speculative: .*{reason}"):
            ours.generate(**PROMPT, lam=LAM, speculative=True, max_new_tokens=3, **options)
        assert ours.last_speculation is None


def states_of(part, ids):
    """A model's hidden states and attentions for one row, each a tensor a layer."""
    with torch.no_grad():
        output = part(
            torch.tensor([ids]), output_hidden_states=True, output_attentions=True, use_cache=False
        )
    return output.hidden_states, output.attentions


def eager_models(kind):
    """The realigned model and its parts, with the attention that returns its weights."""
    if kind == "two models":
        parts = [tiny("llama", 1), tiny("llama", 2)]
        ours, parts = RealignedModel(*parts), parts
    else:
        adapted = tiny_adapter(tiny("llama", 1), 2)
        merged = tiny_adapter(tiny("llama", 1), 2).merge_and_unload()
        ours, parts = RealignedModel(None, adapted), [tiny("llama", 1), merged]
    for part in [*parts, *(part.base for part in ours.parts)]:
        part.set_attn_implementation("eager")
    return ours, parts


@pytest.mark.parametrize("kind", ["two models", "adapter"])
def test_hidden_states_and_attentions_are_those_of_each_part(kind):
    ours, parts = eager_models(kind)
    asked = dict(output_hidden_states=True, output_attentions=True)
    output = ours(torch.tensor(PROMPTS[:1] + [[3, 3, 3, 3, 3]]), lam=LAM, **asked)
    for index, part in enumerate(parts):
        hidden, attentions = states_of(part, PROMPTS[0])
        assert len(output.hidden_states[index]) == len(hidden)
        for got, expected in zip(output.hidden_states[index], hidden, strict=True):
            assert torch.allclose(got[:1], expected, atol=1e-4)
        for got, expected in zip(output.attentions[index], attentions, strict=True):
            assert torch.allclose(got[:1], expected, atol=1e-4)
    # A model without a share is not run; rows are selected; a tuple has the same.
    at_zero = ours(**PROMPT, lam=0, **asked)
    assert at_zero.hidden_states[0] is not None
    assert at_zero.hidden_states[1] is None
    rows = ours(**PROMPT, lam=LAM, rows=torch.tensor([0, 0, 0]), **asked)
    assert rows.hidden_states[0][-1].shape[0] == 3
    as_tuple = ours(**PROMPT, lam=LAM, return_dict=False)
    assert isinstance(as_tuple, tuple)
    assert torch.equal(as_tuple[0], ours(**PROMPT, lam=LAM).logits)


@pytest.mark.parametrize("options", [{}, {"use_cache": False}])
@pytest.mark.parametrize("kind", ["two models", "adapter"])
def test_generate_returns_what_it_is_asked_for(kind, options):
    ours, parts = eager_models(kind)
    result = ours.generate(
        **PROMPT,
        lam=LAM,
        max_new_tokens=4,
        min_new_tokens=4,
        return_dict_in_generate=True,
        output_hidden_states=True,
        output_attentions=True,
        output_scores=True,
        output_logits=True,
        **options,
    )
    text = result.sequences[0].tolist()
    assert len(result.hidden_states) == len(result.attentions) == len(result.logits) == 4
    for step in range(4):
        raw = next_logits(parts, [LAM], text[: 5 + step])[-1]
        assert torch.allclose(result.logits[step][0].double(), raw, atol=1e-4)
        assert torch.isneginf(result.scores[step][0, EOS])
        for index, part in enumerate(parts):
            hidden, attentions = states_of(part, text[: 5 + step])
            got = result.hidden_states[step][index][-1][0, -1]
            assert torch.allclose(got, hidden[-1][0, -1], atol=1e-4)
            weights = result.attentions[step][index][-1][0, :, -1]
            assert torch.allclose(weights, attentions[-1][0, :, -1], atol=1e-4)


def test_what_cannot_be_returned_is_refused_and_the_remedy_works(tmp_path):
    folders = [tmp_path / "reference", tmp_path / "aligned"]
    for part, folder in zip(PARTS, folders, strict=True):
        part.save_pretrained(folder)
        word_tokenizer().save_pretrained(folder)
    with pytest.raises(ValueError, match="load the models with attn_implementation='eager'"):
        RealignedModel.from_pretrained(*folders)(**PROMPT, lam=LAM, output_attentions=True)
    ours = RealignedModel.from_pretrained(*folders, attn_implementation="eager")
    assert len(ours(**PROMPT, lam=LAM, output_attentions=True).attentions) == 2

    for drafter in (dict(prompt_lookup_num_tokens=3), dict(assistant_model=PARTS[0])):
        asked = dict(drafter, return_dict_in_generate=True, output_hidden_states=True)
        with pytest.raises(ValueError, match="output_hidden_states= cannot be given where"):
            ours.generate(**PROMPT, lam=LAM, **asked)
    t5 = RealignedModel(tiny("t5", 1), tiny("t5", 2))
    one = dict(**PROMPT, decoder_input_ids=torch.tensor([[1]]), output_hidden_states=True)
    with pytest.raises(ValueError, match="call each of the models that are mixed"):
        t5(lam=LAM, **one)
    assert t5.reference(**one).decoder_hidden_states is not None
    with pytest.raises(ValueError, match="call each of the models that are mixed"):
        t5.generate(**PROMPT, lam=LAM, output_hidden_states=True, return_dict_in_generate=True)


def test_one_pass_cannot_be_asked_late():
    ours = RealignedModel(None, tiny_adapter(tiny("llama", 1), 2))
    begun = ours(**PROMPT, lam=LAM, use_cache=True).past_key_values
    more = dict(input_ids=torch.tensor([[3]]), attention_mask=torch.ones(1, 6).long(), lam=LAM)
    with pytest.raises(ValueError, match="begin past_key_values with the same arguments"):
        ours(**more, past_key_values=begun, output_hidden_states=True)
    begun = ours(**PROMPT, lam=LAM, use_cache=True, output_hidden_states=True).past_key_values
    assert ours(**more, past_key_values=begun, output_hidden_states=True).hidden_states


def test_continuous_batching_is_refused():
    ours = RealignedModel(*PARTS)
    for method in (ours.generate_batch, ours.continuous_batching_context_manager):
        with pytest.raises(NotImplementedError, match="sample_completions"):
            method([PROMPTS[0]])


def test_a_pipeline_writes_the_mixture_and_prints_no_false_warning(caplog):
    ours = RealignedModel(tiny("llama", 1), tiny("llama", 2))
    tokenizer = letters()
    logging.getLogger("transformers").propagate = True
    try:
        with caplog.at_level(logging.WARNING):
            pipe = tf.pipeline("text-generation", model=ours, tokenizer=tokenizer)
            expected = plain_loop(PARTS, LAM, [3, 4, 5], 6)
            asked = dict(lam=LAM, max_new_tokens=6, do_sample=False, return_tensors=True)
            ids = pipe("bcd", **asked)[0]["generated_token_ids"]
    finally:
        logging.getLogger("transformers").propagate = False
    assert ids[3:] == expected
    assert "not supported" not in caplog.text
    stop = tokenizer.decode(expected[0])
    stopped = pipe("bcd", stop_sequence=stop, **asked)[0]["generated_token_ids"]
    assert stopped[3:] == expected[:1]


def test_the_settings_of_the_checkpoint_apply_as_in_transformers():
    aligned = tiny("llama", 2)
    aligned.generation_config.repetition_penalty = 1.8
    aligned.generation_config.no_repeat_ngram_size = 2
    ours = RealignedModel(tiny("llama", 1), aligned)
    truth = Oracle([tiny("llama", 1), aligned])
    got = ours.generate(**PROMPT, lam=LAM, max_new_tokens=8)
    weights = torch.tensor([[LAM]])
    assert torch.equal(
        got, truth.generate(**PROMPT, lam=weights, use_cache=False, max_new_tokens=8)
    )
    assert torch.equal(
        ours.generate(**PROMPT, lam=1, max_new_tokens=8),
        aligned.generate(**PROMPT, max_new_tokens=8),
    )
