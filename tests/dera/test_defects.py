"""Each limit of the authors' notebook matters.

Code with the limit fails a check that our code passes, and it passes the check once repaired.
"""

import itertools
from contextlib import contextmanager
from functools import lru_cache

import pytest
import torch
from transformers import DynamicCache, LogitsProcessor

from dera import RealignedModel
from tests.dera.architectures import PAD, VOCABULARY, tiny
from tests.dera.oracle import Oracle, next_logits

ALONE = dict(
    input_ids=torch.tensor([[3, 4, 5, 6, 7]]), attention_mask=torch.ones(1, 5, dtype=torch.long)
)
RAGGED = dict(
    input_ids=torch.tensor(
        [[3, 4, 5, 6, 7], [PAD, PAD, PAD, 8, 2], [PAD, PAD, 9, 3, 9], [PAD, 2, 2, 2, 2]]
    ),
    attention_mask=torch.tensor(
        [[1, 1, 1, 1, 1], [0, 0, 0, 1, 1], [0, 0, 1, 1, 1], [0, 1, 1, 1, 1]]
    ),
)
GREEDY = dict(do_sample=False, max_new_tokens=8, eos_token_id=None)


class ReferenceInTheProcessor(LogitsProcessor):
    """Runs the reference inside the aligned model's `generate`, as the notebook does.

    Each of `repaired` takes one limit away. This shows that a failure is due to that limit.
    """

    def __init__(self, reference, lam, repaired=frozenset()):
        self.reference = reference
        self.lam = lam
        self.repaired = repaired
        self.cache = DynamicCache()
        self.source = None
        self.in_beams = False

    def __call__(self, input_ids, scores):
        logits = self.reference_logits(input_ids)
        dtype = torch.float32 if "precision" in self.repaired else logits.dtype
        mixed = (1 - self.lam) * logits.to(dtype) + self.lam * scores.to(dtype)
        if "exclusion" in self.repaired:
            mixed = mixed.masked_fill(scores.isneginf(), -torch.inf)
        # beams add up log-probabilities
        return mixed.float().log_softmax(-1) if self.in_beams else mixed.float()

    def reference_logits(self, input_ids):
        if "encoder" in self.repaired:
            output = self.reference(
                input_ids=self.source, decoder_input_ids=input_ids, use_cache=False
            )
            return output.logits[:, -1]
        mask = torch.ones_like(input_ids)
        more = {}
        if "padding" in self.repaired:
            mask = (input_ids != PAD).long().cummax(-1).values
            more["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
        if "beams" in self.repaired:
            output = self.reference(input_ids, attention_mask=mask, use_cache=False, **more)
            return output.logits[:, -1]
        new = input_ids[:, self.cache.get_seq_length() :]
        more = {name: value[:, -new.shape[1] :] for name, value in more.items()}
        output = self.reference(new, attention_mask=mask, past_key_values=self.cache, **more)
        return output.logits[:, -1]


def naive(parts, *repaired):
    """A function like `RealignedModel.generate`, which keeps a processor for each lam."""
    kept = {}

    def generate(lam, **kwargs):
        processor = ReferenceInTheProcessor(parts[0], lam, set(repaired))
        if "state" not in repaired and not isinstance(lam, torch.Tensor):
            processor = kept.setdefault(lam, processor)
        processor.source = kwargs["input_ids"]
        processor.in_beams = "num_beams" in kwargs
        return parts[1].generate(**kwargs, logits_processor=[processor])

    return generate


@lru_cache
def pair(architecture="llama"):
    return tiny(architecture, 1), tiny(architecture, 2)


@lru_cache
def oracle_of(parts):
    """One oracle for each pair, which remembers what it has computed."""
    return Oracle(parts)


def ours(parts):
    return RealignedModel(*parts).generate


def truth(parts, lam, **kwargs):
    rows = len(kwargs["input_ids"])
    lam = torch.as_tensor(lam, dtype=torch.double).expand(rows).reshape(rows, 1)
    return oracle_of(parts).generate(**kwargs, lam=lam, use_cache=False)


def agrees(generate, lam, parts=None, **kwargs):
    torch.manual_seed(0)
    got = generate(lam=lam, **kwargs)
    torch.manual_seed(0)
    assert torch.equal(got, truth(parts or pair(), lam, **kwargs)), (
        f"not the realigned model's at lam={lam}"
    )


@pytest.mark.parametrize("lam", [-0.5, 0.0, 0.4, 1.0, 3.0])
def test_the_naive_code_is_right_for_one_unpadded_prompt(lam):
    agrees(naive(pair()), lam, **ALONE, **GREEDY)
    agrees(naive(pair()), lam, **ALONE, **(GREEDY | dict(do_sample=True, top_k=0)))


def test_padding_on_the_left_needs_a_mask_and_positions():
    """With a mask of ones and no position ids the reference reads the padding."""

    def check(generate):
        for lam in (0.0, 0.4, 3.0):
            agrees(generate, lam, **RAGGED, **GREEDY)

    check(ours(pair()))
    check(naive(pair(), "padding"))
    with pytest.raises(AssertionError, match="not the realigned"):
        check(naive(pair()))


def test_a_second_call_needs_a_new_cache():
    """The reference's cache survives the call, so the next prompt continues the first one."""
    longer = dict(
        input_ids=ALONE["input_ids"].flip(1).repeat(1, 4),
        attention_mask=torch.ones(1, 20, dtype=torch.long),
    )

    def check(generate):
        for lam, prompt in itertools.product((0.0, 0.4, 3.0), (ALONE, longer)):
            agrees(generate, lam, **prompt, **GREEDY)

    check(ours(pair()))
    check(naive(pair(), "state"))
    with pytest.raises(AssertionError, match="not the realigned"):
        check(naive(pair()))


def test_beams_need_the_reference_s_cache_reordered():
    """The reference's cache stays in the old order when beams have moved."""

    def check(generate):
        for lam in (-0.5, 0.4, 3.0):
            agrees(generate, lam, **ALONE, **(GREEDY | dict(num_beams=4, num_return_sequences=4)))

    check(ours(pair()))
    check(naive(pair(), "beams"))
    with pytest.raises(AssertionError, match="not the realigned"):
        check(naive(pair()))


@pytest.mark.parametrize(("lam", "wrong"), [(0.0, "is nan"), (-0.5, "is infinite")])
def test_tokens_must_be_excluded_after_the_mixing(lam, wrong):
    """Other processors run before the mixing.

    It makes NaN of an excluded token's -inf at lam = 0, and +inf at negative lam.
    """
    arguments = GREEDY | dict(
        bad_words_ids=[[4], [5], [6]],
        max_new_tokens=6,
        output_scores=True,
        return_dict_in_generate=True,
    )

    def check(generate):
        got = generate(lam=lam, **ALONE, **arguments)
        expected = truth(pair(), lam, **ALONE, **arguments)
        for scores, true_scores in zip(got.scores, expected.scores, strict=True):
            assert not scores.isnan().any(), "a score is nan"
            assert not scores.isposinf().any(), "a score is infinite"
            logs = scores.log_softmax(-1)
            true_logs = true_scores.float().log_softmax(-1)
            torch.testing.assert_close(logs, true_logs, atol=1e-4, rtol=1e-4)
        assert torch.equal(got.sequences, expected.sequences)

    check(ours(pair()))
    check(naive(pair(), "exclusion"))
    with pytest.raises(AssertionError, match=wrong):
        check(naive(pair()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_must_be_mixed_in_float32(dtype):
    """At lam = 8 the sum 8 * h_aligned - 7 * h_ref loses what half precision cannot hold."""
    halves = [tiny("llama", seed).to(dtype) for seed in (1, 2)]
    arguments = GREEDY | dict(max_new_tokens=1, output_scores=True, return_dict_in_generate=True)

    def check(generate):
        for first in range(2, VOCABULARY):
            ids = torch.tensor([[first, 4]])
            mask = torch.ones_like(ids)
            scores = generate(lam=8.0, input_ids=ids, attention_mask=mask, **arguments).scores
            logs = scores[0][0].double().log_softmax(-1)
            expected = next_logits(halves, [8.0], ids)[-1].log_softmax(-1)
            torch.testing.assert_close(logs, expected, atol=1e-3, rtol=1e-4)

    check(ours(halves))
    check(naive(halves, "precision", "state"))
    with pytest.raises(AssertionError, match="not close"):
        check(naive(halves, "state"))


def test_a_batch_may_have_a_lam_for_each_row():
    """The naive code multiplies logits by lam: a lam for each row meets the vocabulary's axis."""
    same_length = torch.arange(2 * VOCABULARY).reshape(VOCABULARY, 2) % (VOCABULARY - 2) + 2
    arguments = dict(input_ids=same_length, attention_mask=torch.ones_like(same_length), **GREEDY)

    def check(generate):
        agrees(generate, torch.linspace(-1, 4, VOCABULARY), **arguments)

    check(ours(pair()))
    with pytest.raises(AssertionError, match="not the realigned"):
        check(naive(pair()))
    # the naive code decodes the same batch correctly at one lam
    for lam in (-1.0, 4.0):
        agrees(naive(pair()), lam, **arguments)


@contextmanager
def counted(parts):
    """How often each part is called while in the context."""
    calls = [0] * len(parts)
    hooks = []
    for i, part in enumerate(parts):

        def count(*_, i=i):
            calls[i] += 1

        hooks.append(part.register_forward_hook(count))
    yield calls
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize(("lam", "unused"), [(0.0, 1), (1.0, 0)])
def test_a_model_without_a_share_does_not_run(lam, unused):
    def check(generate):
        with counted(pair()) as calls:
            generate(lam=lam, **ALONE, **GREEDY)
        assert calls[1 - unused] == 8
        assert calls[unused] == 0, "ran for nothing"

    check(ours(pair()))
    with pytest.raises(AssertionError, match="ran for nothing"):
        check(naive(pair()))


@pytest.mark.parametrize(
    ("architecture", "wrong"), [("t5", "input_ids"), ("bart", "not the realigned")]
)
def test_encoder_decoders_need_the_source(architecture, wrong):
    """The processor sees the decoder's tokens only, so the reference gets no source.

    T5 raises an error, and BART makes up a source.
    """
    parts = pair(architecture)

    def check(generate):
        agrees(generate, 0.4, parts, **ALONE, **GREEDY)

    check(ours(parts))
    check(naive(parts, "encoder"))
    # "beams" takes the naive code's cache away, which does not work for encoder-decoders either
    with pytest.raises((AssertionError, ValueError), match=wrong):
        check(naive(parts, "beams"))
