"""Speculative decoding gives the mixture's own text.

Greedy text is the same token for token, and samples follow the enumerated truth.
"""

import copy
import itertools
import warnings
from functools import lru_cache

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import DynamicCache

from dera import RealignedModel, linear_schedule, sample_completions
from dera.speculative import rounds
from dera.speculative.acceptance_rule import accept, accept_greedily
from dera.speculative.draft_cache import DraftCache
from dera.speculative.draft_length import LONGEST_DRAFT, Acceptance, draft_length
from tests.dera.architectures import EOS, PAD, VOCABULARY, tiny, tiny_adapter
from tests.dera.enumeration import Space, p_value
from tests.dera.oracle import Oracle
from tests.dera.test_generate import (
    LAMS,
    PROMPTS,
    Collected,
    StopAt,
    counted,
    padded,
    parts,
    seeded,
    truth,
)
from tests.dera.tokenizers import word_tokenizer

ARCHITECTURES = ["llama", "qwen", "gpt2", "gemma", "mixtral"]


@lru_cache
def far(architecture):
    """Two models that seldom agree; where layers have windows, no text here is longer."""
    wide = dict(sliding_window=128) if architecture == "gemma" else {}
    return [tiny(architecture, seed, **wide) for seed in (1, 2)]


@lru_cache
def near(architecture):
    """Two models that often agree, as a reference and what was trained from it do."""
    first = far(architecture)[0]
    second = copy.deepcopy(first)
    torch.manual_seed(0)
    for parameter in second.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return [first, second]


@pytest.fixture
def drafts(monkeypatch):
    """A function that fixes how many tokens are drafted, in one round after another."""

    def fix(*lengths):
        in_turn = itertools.cycle(lengths)
        monkeypatch.setattr(rounds, "draft_length", lambda *_, **__: next(in_turn))

    return fix


def chances(kind):
    """The probabilities of a target and of a drafter, float32 of shape (7,)."""
    torch.manual_seed(4)
    reference, aligned = torch.randn(2, 7).mul(1.5).log_softmax(-1)
    if kind.startswith("lam"):
        lam = float(kind[4:])
        return ((1 - lam) * reference + lam * aligned).softmax(-1), aligned.softmax(-1)
    p, q = reference.exp(), aligned.exp()
    if kind == "excluded by the target":
        p[2:4] = 0
    if kind == "excluded by the drafter":
        q[2:4] = 0
    if kind == "apart":
        p[:3], q[3:] = 0, 0
    if kind == "equal":
        q = p
    return p / p.sum(), q / q.sum()


@pytest.mark.parametrize(
    "kind",
    [
        "lam 0.5",
        "lam 2",
        "lam -1",
        "lam 6",
        "excluded by the target",
        "excluded by the drafter",
        "apart",
        "equal",
    ],
)
def test_kept_drafts_and_replacements_follow_the_target(kind):
    """Two drafts in each of 40000 rows, each tested at level 1e-4.

    A chi-square test compares the tokens with p, and a binomial test compares the share of drafts
    kept with sum min(p, q).
    """
    p, q = chances(kind)
    rows = 40_000
    torch.manual_seed(1)
    drawn = torch.multinomial(q, 2 * rows, replacement=True).view(rows, 2)
    kept, token = accept(drawn, p.expand(rows, 2, -1), q.expand(rows, 2, -1))
    overlap = torch.minimum(p, q).sum().item()
    for column in (0, 1):
        reached = kept >= column
        got = torch.where(kept > column, drawn[:, column], token)[reached]
        counts = torch.bincount(got, minlength=len(p)).numpy()
        assert counts[p == 0].sum() == 0
        if not len(got):
            continue
        expected = (len(got) * p.double() / p.double().sum()).numpy()[p > 0]
        assert stats.chisquare(counts[p > 0], expected).pvalue > 1e-4
        keeps = int((kept > column).sum())
        if kind == "equal":
            assert keeps == len(got)
        else:
            assert stats.binomtest(keeps, len(got), overlap).pvalue > 1e-4


def test_greedy_drafts_are_kept_while_they_are_the_most_probable_tokens():
    best = torch.tensor([[3, 4, 5]] * 4)
    kept, token = accept_greedily(torch.tensor([[3, 4, 5], [3, 4, 6], [2, 4, 5], [3, 0, 5]]), best)
    assert kept.tolist() == [3, 2, 0, 1]
    assert token[1:].tolist() == [5, 3, 4]


@pytest.mark.parametrize("load", [0.01, 0.2, 1.0, 30.0])
@pytest.mark.parametrize("verifiers", [1, 2])
@pytest.mark.parametrize("acceptance", [0.0, 0.3, 0.6, 0.8, 0.95, 1.0])
def test_the_draft_length_makes_tokens_cheapest(acceptance, verifiers, load):
    """The expected number of tokens is summed here over the places of the first refusal.

    Without drafts every model reads one token.
    """

    def cost(length):
        tokens = (
            sum((k + 1) * acceptance**k * (1 - acceptance) for k in range(length))
            + length * acceptance**length
        )
        passes = length * (1 + load) + verifiers * (1 + (length + 1) * load)
        return passes / tokens if length else (1 + verifiers) * (1 + load)

    best = draft_length(acceptance, verifiers, load)
    assert cost(best) == pytest.approx(min(map(cost, range(LONGEST_DRAFT + 1))))
    assert best > 0 or acceptance < 0.9 or load >= 1


def test_the_part_that_was_measured_nearest_drafts():
    acceptance = Acceptance([0.4, 0.6])
    assert acceptance.nearest == 1
    assert not acceptance.add([0.95, 0.9], 1)
    assert acceptance.add([90.0, 50.0], 100)
    assert (acceptance.nearest, acceptance.acceptance) == (0, pytest.approx(0.9, abs=0.01))


SAMPLING = {
    "plain": dict(top_k=0),
    "temperature": dict(top_k=0, temperature=0.7),
    "top-k, top-p, temperature": dict(top_k=6, top_p=0.9, temperature=0.7),
}


def warped(logits, top_k=0, top_p=1.0, temperature=1.0):
    """Log-probabilities of one token after the usual cuts, written out."""
    order = np.argsort(-logits, kind="stable")
    logs = logits[order] / temperature
    if top_k:
        logs[top_k:] = -np.inf
    logs = logs - np.logaddexp.reduce(logs)
    before = np.cumsum(np.exp(logs)) - np.exp(logs)
    logs[before >= top_p] = -np.inf
    in_place = np.empty_like(logs)
    in_place[order] = logs - np.logaddexp.reduce(logs)
    return in_place


LENGTH = 4


@lru_cache
def flat():
    """A pair whose next tokens are uncertain enough for many sequences to occur."""
    return [tiny("llama", seed, initializer_range=0.3) for seed in (1, 2)]


@lru_cache
def space(prompt):
    return Space(*flat(), PROMPTS[prompt], LENGTH, EOS)


@lru_cache
def exact(prompt, lam, sampling):
    """Probability of each sequence under per-token mixing, cut as `generate` cuts the mixture."""
    sequences = space(prompt)
    logs = {
        prefix: warped((1 - lam) * both[0] + lam * both[1], **SAMPLING[sampling])
        for prefix, both in sequences._next.items()
    }
    return np.exp(sequences._totals(logs))


def counts_of(prompt, rows):
    """How often each sequence of the space came out."""
    completions = [row[: row.index(EOS) + 1] if EOS in row else row for row in rows.tolist()]
    sequences = space(prompt)
    indices = [sequences.index[tuple(ids)] for ids in completions]
    return np.bincount(indices, minlength=len(sequences.sequences))


def follows(counts, probabilities):
    assert counts[probabilities == 0].sum() == 0
    return p_value(counts, probabilities) > 1e-4


@pytest.mark.parametrize("sampling", SAMPLING)
@pytest.mark.parametrize("lengths", [(0,), (1,), (2,), (3,), (2, 0, 1, 0, 0)], ids=str)
def test_samples_follow_the_enumerated_mixture(lengths, sampling, drafts):
    """Chi-square tests at level 1e-4, over sequences expected five times.

    All cases are decoded in one batch, with 4000 rows each. Their lam and their prompts' lengths
    differ, so that rows accept different numbers of drafts. The test rejects what the drafter alone
    would give, so it can tell.
    """
    drafts(*lengths)
    lams, prompts, repeats = [0.5, -1.0, 2.0], [0, 1], 4000
    cases = [(lam, prompt) for lam in lams for prompt in prompts]
    rows = [case for case in cases for _ in range(repeats)]
    ours = RealignedModel(*flat())
    got = seeded(
        ours,
        **padded([PROMPTS[prompt] for _, prompt in rows]),
        lam=[lam for lam, _ in rows],
        do_sample=True,
        max_new_tokens=LENGTH,
        speculative=True,
        **SAMPLING[sampling],
    )
    done = ours.last_speculation
    if lengths == (0,):
        assert done.drafted == done.accepted == 0
    else:
        assert 0.1 * done.drafted < done.accepted < 0.9 * done.drafted
    for i, (lam, prompt) in enumerate(cases):
        counts = counts_of(prompt, got[i * repeats : (i + 1) * repeats, 5:])
        assert follows(counts, exact(prompt, lam, sampling)), (lam, prompt)
        drafter = exact(prompt, 0.0 if lam < 0 else 1.0, sampling)
        assert not (counts[drafter == 0].sum() == 0 and p_value(counts, drafter) > 1e-4)


@pytest.mark.parametrize(("batch", "lam"), [(1, 0.5), (1, 2.0), (3, -1.0), (8, 0.5)])
def test_samples_of_small_batches_follow_the_enumerated_mixture(batch, lam, drafts):
    """A chi-square test at level 1e-4 of 480 rows, decoded in batches of one size."""
    drafts(3)
    ours = RealignedModel(*flat())
    torch.manual_seed(7)
    got = []
    for _ in range(480 // batch):
        texts = ours.generate(
            **padded([PROMPTS[1]] * batch),
            lam=lam,
            do_sample=True,
            max_new_tokens=LENGTH,
            min_new_tokens=1,
            speculative=True,
            **SAMPLING["top-k, top-p, temperature"],
        )
        got.append(to_length(texts[:, 2:]))
    assert follows(counts_of(1, torch.cat(got)), at_least_one(lam))


def to_length(completions):
    """Completions padded to LENGTH tokens."""
    missing = LENGTH - completions.shape[1]
    return torch.nn.functional.pad(completions, (0, missing), value=PAD)


def at_least_one(lam):
    """The truth where the first token must not end the text, which is the first cut of all."""
    sequences = space(1)
    logs = {}
    for prefix, both in sequences._next.items():
        mixed = (1 - lam) * both[0] + lam * both[1]
        if not prefix:
            mixed[EOS] = -np.inf
        logs[prefix] = warped(mixed, **SAMPLING["top-k, top-p, temperature"])
    return np.exp(sequences._totals(logs))


GREEDY = {
    "plain": {},
    "repetition": dict(repetition_penalty=1.3, no_repeat_ngram_size=2),
    "at least": dict(min_new_tokens=6),
    "several ends": dict(eos_token_id=[0, 3, 7, 11]),
    "bad words": dict(
        bad_words_ids=[[4], [5], [6, 7]], suppress_tokens=[8], begin_suppress_tokens=[2, 3]
    ),
    "lengths": dict(min_length=9, exponential_decay_length_penalty=(4, 1.3), forced_eos_token_id=3),
    "callers' stopping": dict(stopping_criteria=[StopAt([3, 7, 9, 12])]),
    "no end": dict(eos_token_id=None, pad_token_id=None),
}


@pytest.mark.parametrize("mode", GREEDY)
@pytest.mark.parametrize("pair", [far, near], ids=["far", "near"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_text_is_that_of_an_independent_implementation(architecture, pair, mode):
    """The prompts have different lengths; rows have different lam and end at different times."""
    both = pair(architecture)
    arguments = dict(GREEDY[mode], do_sample=False, max_new_tokens=14)
    ours = RealignedModel(*both)
    got = ours.generate(**padded(PROMPTS), lam=LAMS, speculative=True, **arguments)
    assert ours.last_speculation.drafted > 0
    assert torch.equal(got, truth(Oracle(both), padded(PROMPTS), LAMS, **arguments))


@pytest.mark.parametrize("lam", [0.5, -1.0, 2.0])
@pytest.mark.parametrize("mode", ["plain", "repetition"])
def test_greedy_text_with_an_adapter_that_must_be_switched_is_that_of_plain_decoding(mode, lam):
    """DoRA rescales what the base gives, so that the parts cannot be read in one pass."""
    ours = RealignedModel(None, tiny_adapter(tiny("llama", 1), 2, use_dora=True))
    arguments = dict(GREEDY[mode], lam=lam, do_sample=False, max_new_tokens=20)
    for batch in (padded(PROMPTS), padded(PROMPTS[:1])):
        expected = ours.generate(**batch, **arguments)
        assert torch.equal(ours.generate(**batch, speculative=True, **arguments), expected)
        assert ours.last_speculation.drafted > 0


def test_a_base_and_its_adapter_are_read_in_one_pass_instead():
    ours = RealignedModel(None, tiny_adapter(tiny("llama", 1), 2))
    arguments = dict(lam=LAMS, do_sample=False, max_new_tokens=12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = ours.generate(**padded(PROMPTS), speculative=True, **arguments)
    assert torch.equal(got, ours.generate(**padded(PROMPTS), **arguments))
    assert ours.last_speculation is None


@pytest.mark.parametrize("lengths", [(1,), (2,), (5,), (12,), (4, 0, 0, 1, 7, 0)], ids=str)
@pytest.mark.parametrize("rows", [1, 4])
def test_long_texts_of_any_draft_length_are_right(rows, lengths, drafts, monkeypatch):
    """Texts go to the last position the model has, and drafts beyond it; caches are compacted."""
    drafts(*lengths)
    compacted = []
    compact = DraftCache.compact
    monkeypatch.setattr(DraftCache, "compact", lambda cache, _: compacted.append(compact(cache, 0)))
    both, batch = near("gpt2"), padded(PROMPTS[:rows])
    lam = [3.0, -2.0, 0.5, 1.7][:rows]
    arguments = dict(do_sample=False, max_new_tokens=59, eos_token_id=None, pad_token_id=None)
    ours = RealignedModel(*both)
    got = ours.generate(**batch, lam=lam, speculative=True, **arguments)
    assert torch.equal(got, truth(Oracle(both), batch, lam, **arguments))
    assert compacted


@pytest.mark.parametrize("prompt", ["padded at the right", "at other positions", "twice"])
def test_prompts_of_other_shapes_are_read_as_plain_decoding_reads_them(prompt):
    ours = RealignedModel(*near("gpt2"))
    batch = padded(PROMPTS, "right" if prompt == "padded at the right" else "left")
    arguments = dict(do_sample=False, max_new_tokens=12, lam=LAMS)
    if prompt == "at other positions":
        usual = (batch["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        arguments["position_ids"] = usual + torch.tensor([[0], [9], [20], [3]])
    if prompt == "twice":
        arguments["num_return_sequences"] = 2
        arguments["do_sample"], arguments["top_k"] = True, 1
    expected = ours.generate(**batch, **arguments)
    assert torch.equal(ours.generate(**batch, speculative=True, **arguments), expected)
    assert ours.last_speculation.drafted > 0


@pytest.mark.parametrize("drafter", [0, 1, 2])
def test_any_of_several_aligned_models_may_draft(drafter):
    """A model that has no share is not run."""
    three = [*near("llama"), tiny("llama", 3)]
    weights = torch.tensor([[0.1, 0.2], [0.6, 0.3], [0.2, 0.9]])[drafter].expand(4, 2)
    arguments = dict(do_sample=False, max_new_tokens=12)
    ours = RealignedModel(three[0], {"kind": three[1], "brief": three[2]})
    got = ours.generate(**padded(PROMPTS), lam=weights, speculative=True, **arguments)
    expected = truth(Oracle(three), padded(PROMPTS), weights.tolist(), **arguments)
    assert torch.equal(got, expected)
    assert set(ours.last_speculation.passes) == {"reference", "kind", "brief"}
    ours.generate(**padded(PROMPTS), lam={"kind": 0.5}, speculative=True, **arguments)
    assert set(ours.last_speculation.passes) == {"reference", "kind"}


@pytest.mark.parametrize("changes", [0, 1, 3])
def test_the_drafter_may_change_at_any_time(changes, monkeypatch):
    """The drafter changes every so many rounds; what verifiers had read ahead is read again."""

    def add(acceptance, overlaps, positions):
        acceptance.weight += 1
        if changes and acceptance.weight % changes == 0:
            acceptance.nearest = 1 - acceptance.nearest
            return True
        return False

    monkeypatch.setattr(Acceptance, "add", add)
    lam = [0.5, 0.2, 2.0, -1.0]
    arguments = dict(do_sample=False, max_new_tokens=30, eos_token_id=None)
    for architecture in ("llama", "gpt2"):
        ours = RealignedModel(*near(architecture))
        got = ours.generate(**padded(PROMPTS), lam=lam, speculative=True, **arguments)
        expected = truth(Oracle(near(architecture)), padded(PROMPTS), lam, **arguments)
        assert torch.equal(got, expected)


@pytest.mark.parametrize("sampling", [True, False])
def test_equal_models_keep_every_draft(sampling, drafts):
    """The drafter is called for every token, and the verifier for six tokens at a time."""
    drafts(6)
    same = [copy.deepcopy(far("llama")[0]) for _ in range(2)]
    ours = RealignedModel(*same)
    arguments = dict(do_sample=sampling, max_new_tokens=48, eos_token_id=None)
    with counted(reference=ours.reference, aligned=ours.aligned) as calls:
        seeded(ours, **padded(PROMPTS[:1]), lam=0.4, speculative=True, **arguments)
    assert calls == {"reference": 48, "aligned": 8}
    done = ours.last_speculation
    assert (done.rounds, done.passes, done.accepted) == (8, calls, done.drafted)
    # in each round but the first, the first token comes from the mixture itself
    assert done.drafted == 48 - 7


def test_the_drafter_is_the_nearer_model():
    """The aligned model is nearer to the mixture at lam = 0.9, and the reference at 0.1."""
    arguments = dict(do_sample=True, top_k=0, max_new_tokens=40, eos_token_id=None)
    for lam, drafter in ((0.1, "reference"), (0.9, "aligned")):
        ours = RealignedModel(*far("llama"))
        seeded(ours, **padded(PROMPTS), lam=lam, speculative=True, **arguments)
        passes = ours.last_speculation.passes
        assert max(passes, key=passes.get) == drafter
        assert sum(passes.values()) < 0.9 * 2 * 40


def test_the_same_seed_gives_the_same_text():
    ours, batch = RealignedModel(*near("llama")), padded(PROMPTS)
    arguments = dict(
        lam=LAMS, do_sample=True, max_new_tokens=12, num_return_sequences=3, speculative=True
    )
    first, second = (seeded(ours, **batch, **arguments) for _ in range(2))
    assert torch.equal(first, second)
    assert len(first) == 12
    assert not torch.equal(first, ours.generate(**batch, **arguments))  # the seed has moved on


@pytest.mark.parametrize("lam", [0, 1, {"aligned": 1.0}, [1.0] * 4])
def test_one_model_alone_is_decoded_plainly(lam):
    ours = RealignedModel(*far("llama"))
    counting = counted(reference=ours.reference, aligned=ours.aligned)
    with warnings.catch_warnings(), counting as calls:
        warnings.simplefilter("error")
        got = seeded(ours, **padded(PROMPTS), lam=lam, speculative=True, max_new_tokens=8)
    assert torch.equal(got, seeded(ours, **padded(PROMPTS), lam=lam, max_new_tokens=8))
    assert 0 in calls.values()
    assert ours.last_speculation is None


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_completions_of_many_prompts_are_those_of_the_mixture(architecture):
    """Greedy ones equal those decoded plainly; samples follow the enumerated mixture (1e-4)."""
    ours = RealignedModel(*near(architecture))
    tokenizer = word_tokenizer()
    prompts = ["w3 w4 w5", "w6", "w7 w2"] * 3
    lams = torch.linspace(-0.5, 2.5, 9)
    plain = sample_completions(ours, tokenizer, prompts, 12, lam=lams, greedy=True)
    got = sample_completions(ours, tokenizer, prompts, 12, lam=lams, greedy=True, speculative=True)
    assert ours.last_speculation.drafted > 0
    assert torch.equal(got.input_ids, plain.input_ids)
    assert torch.equal(got.attention_mask, plain.attention_mask)
    torch.manual_seed(5)
    ours = RealignedModel(*flat())
    prompt = " ".join(f"w{token}" for token in PROMPTS[1])
    counts = np.zeros(len(space(1).sequences))
    for _ in range(60):
        drawn = sample_completions(ours, tokenizer, [prompt] * 8, LENGTH, lam=2.0, speculative=True)
        counts += counts_of(1, to_length(drawn.input_ids[:, -drawn.completion_length :]))
    assert ours.last_speculation.drafted > 0
    assert follows(counts, exact(1, 2.0, "plain"))


@pytest.mark.parametrize("option", ["on_step", "generator", "schedule", "one model"])
def test_completions_that_cannot_be_drafted_are_decoded_plainly(option):
    ours, tokenizer = RealignedModel(*far("llama")), word_tokenizer()
    options = {
        "on_step": dict(on_step=lambda *_: None, lam=0.5),
        "generator": dict(generator=torch.Generator().manual_seed(0), lam=0.5),
        "schedule": dict(lam=linear_schedule(0.0, 1.0, 3)),
        "one model": dict(),
    }[option]
    if option == "one model":
        drawn = sample_completions(ours.reference, tokenizer, ["w3"], 4, speculative=True)
        assert len(drawn.token_ids()) == 1
        return
    with pytest.warns(UserWarning, match=f"not speculative: .*{option}"):
        sample_completions(ours, tokenizer, ["w3"], 4, speculative=True, **options)
    assert ours.last_speculation is None


class Counting(torch.nn.Module):
    """A logits processor that remembers how often it was called."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, input_ids, scores):
        self.calls += 1
        return scores + self.calls % 3 * torch.arange(VOCABULARY)


PLAIN = {
    "the mode is beam_search": ("llama", lambda: dict(num_beams=2)),
    "encoder-decoders": ("t5", lambda: {}),
    "schedule": ("llama", lambda: dict(lam=linear_schedule(0.0, 1.0, 3))),
    "sliding window of 4": ("mistral", lambda: {}),
    "dynamic cache": ("llama", lambda: dict(use_cache=False)),
    "past_key_values=": ("llama", lambda: dict(past_key_values=DynamicCache())),
    "static": ("llama", lambda: dict(cache_implementation="static")),
    "more than the sequences": (
        "llama",
        lambda: dict(return_dict_in_generate=True, output_scores=True),
    ),
    "streamer=": ("llama", lambda: dict(streamer=Collected())),
    "assistant_model=": ("llama", lambda: dict(assistant_model=parts("llama")[1])),
    "the mode is assisted_generation": ("llama", lambda: dict(prompt_lookup_num_tokens=3)),
    "processor Counting": ("llama", lambda: dict(logits_processor=[Counting()])),
    "go on until all": (
        "llama",
        lambda: dict(stopping_criteria=[StopAt([3])], eos_token_id=None, pad_token_id=None),
    ),
}


@pytest.mark.parametrize("reason", PLAIN)
def test_a_call_that_is_unsupported_warns_why_and_is_decoded_plainly(reason):
    architecture, arguments = PLAIN[reason]
    ours, batch = RealignedModel(*parts(architecture)), padded(PROMPTS[:1])
    usual = {"lam": 0.4, "max_new_tokens": 8}
    with pytest.warns(UserWarning, match=f"not speculative: .*{reason}") as caught:
        got = seeded(ours, **batch, **{**usual, "speculative": True, **arguments()})
    assert sum("not speculative" in str(warning.message) for warning in caught) == 1
    expected = seeded(ours, **batch, **{**usual, **arguments()})
    assert torch.equal(sequences_of(got), sequences_of(expected))
    assert ours.last_speculation is None


def sequences_of(output):
    """The token ids of what `generate` returned."""
    return getattr(output, "sequences", output)
