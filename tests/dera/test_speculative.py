"""Speculative decoding gives the mixture's own text: the same one greedily, and samples that follow the enumerated truth."""

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
from dera.speculative import draft_cache
from dera.speculative import loop as speculative
from dera.speculative.drafting import (
    LONGEST_DRAFT,
    Acceptance,
    accept,
    accept_greedily,
    draft_length,
)
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
def models(architecture):
    """A pair; where layers have windows, they are longer than the texts here."""
    wide = dict(sliding_window=128) if architecture == "gemma" else {}
    return [tiny(architecture, seed, **wide) for seed in (1, 2)]


@lru_cache
def near(architecture):
    """A pair that often agrees, as a reference and what was trained from it do."""
    first = models(architecture)[0]
    second = copy.deepcopy(first)
    torch.manual_seed(0)
    for parameter in second.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return [first, second]


@pytest.fixture
def drafts(monkeypatch):
    """Fixes how many tokens are drafted, in one round after another."""

    def fix(*lengths):
        rounds = itertools.cycle(lengths)
        monkeypatch.setattr(speculative, "draft_length", lambda *_: next(rounds))

    return fix


def chances(kind):
    """Target and drafter, float32 of shape (7,)."""
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
    return p / p.sum(), (p if kind == "equal" else q) / (p if kind == "equal" else q).sum()


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
def test_what_is_kept_or_put_in_its_place_follows_the_target(kind):
    """Two columns, in 40000 rows: chi-square against p in each, and the share kept against sum min(p, q); each at level 1e-4."""
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
        assert (
            keeps == len(got)
            if kind == "equal"
            else stats.binomtest(keeps, len(got), overlap).pvalue > 1e-4
        )


def test_greedy_drafts_are_kept_while_they_are_the_best():
    best = torch.tensor([[3, 4, 5]] * 4)
    kept, token = accept_greedily(torch.tensor([[3, 4, 5], [3, 4, 6], [2, 4, 5], [3, 0, 5]]), best)
    assert kept.tolist() == [3, 2, 0, 1]
    assert token[1:].tolist() == [5, 3, 4]


@pytest.mark.parametrize("load", [0.01, 0.2, 1.0, 30.0])
@pytest.mark.parametrize("verifiers", [1, 2])
@pytest.mark.parametrize("acceptance", [0.0, 0.3, 0.6, 0.8, 0.95, 1.0])
def test_the_draft_length_makes_tokens_cheapest(acceptance, verifiers, load):
    """Against the expectation summed over where the first refusal is; without drafts every model reads one token."""

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


def test_who_drafts_is_who_was_measured_nearest():
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
    found = np.empty_like(logs)
    found[order] = logs - np.logaddexp.reduce(logs)
    return found


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
    """Probability of each sequence of the space under per-token mixing, cut as `generate` cuts the mixture."""
    found = space(prompt)
    logs = {
        prefix: warped((1 - lam) * both[0] + lam * both[1], **SAMPLING[sampling])
        for prefix, both in found._next.items()
    }
    return np.exp(found._totals(logs))


def counts_of(prompt, rows):
    """How often each sequence of the space came out."""
    completions = [row[: row.index(EOS) + 1] if EOS in row else row for row in rows.tolist()]
    found = space(prompt)
    return np.bincount(
        [found.index[tuple(ids)] for ids in completions], minlength=len(found.sequences)
    )


def follows(counts, probabilities):
    assert counts[probabilities == 0].sum() == 0
    return p_value(counts, probabilities) > 1e-4


@pytest.mark.parametrize("sampling", SAMPLING)
@pytest.mark.parametrize("lengths", [(0,), (1,), (2,), (3,), (2, 0, 1, 0, 0)], ids=str)
def test_samples_follow_the_enumerated_mixture(lengths, sampling, drafts):
    """Chi-square over sequences expected five times, each at level 1e-4: six a case, of 4000 rows each, all in one batch.

    The rows have three lam and prompts of two lengths, so that they accept different numbers of drafts. What the drafter alone
    would give is rejected, so the test can tell.
    """
    drafts(*lengths)
    lams, prompts, repeats = [0.5, -1.0, 2.0], [0, 1], 4000
    cases = [(lam, prompt) for lam in lams for prompt in prompts]
    rows = [case for case in cases for _ in range(repeats)]
    ours = RealignedModel(*flat())
    got = seeded(
        ours, **padded([PROMPTS[prompt] for _, prompt in rows]), lam=[lam for lam, _ in rows], do_sample=True,
        max_new_tokens=LENGTH, speculative=True, **SAMPLING[sampling],
    )  # fmt: skip
    done = ours.last_speculation
    assert (
        0.1 * done.drafted < done.accepted < 0.9 * done.drafted
        or lengths == (0,)
        and done.drafted == done.accepted == 0
    )
    for i, (lam, prompt) in enumerate(cases):
        counts = counts_of(prompt, got[i * repeats : (i + 1) * repeats, 5:])
        assert follows(counts, exact(prompt, lam, sampling)), (lam, prompt)
        drafter = exact(prompt, 0.0 if lam < 0 else 1.0, sampling)
        assert not (counts[drafter == 0].sum() == 0 and p_value(counts, drafter) > 1e-4)


@pytest.mark.parametrize(("batch", "lam"), [(1, 0.5), (1, 2.0), (3, -1.0), (8, 0.5)])
def test_small_batches_follow_it_too(batch, lam, drafts):
    """As above: 480 rows, in batches of so many, at level 1e-4."""
    drafts(3)
    ours = RealignedModel(*flat())
    torch.manual_seed(7)
    got = [
        ours.generate(
            **padded([PROMPTS[1]] * batch), lam=lam, do_sample=True, max_new_tokens=LENGTH, min_new_tokens=1, speculative=True,
            **SAMPLING["top-k, top-p, temperature"],
        )[:, 2:]
        for _ in range(480 // batch)
    ]  # fmt: skip
    rows = torch.cat(
        [torch.nn.functional.pad(each, (0, LENGTH - each.shape[1]), value=PAD) for each in got]
    )
    assert follows(counts_of(1, rows), at_least_one(lam))


def at_least_one(lam):
    """The truth where the first token does not end the text, which is cut from the logits before all else."""
    found = space(1)
    logs = {}
    for prefix, both in found._next.items():
        mixed = (1 - lam) * both[0] + lam * both[1]
        if not prefix:
            mixed[EOS] = -np.inf
        logs[prefix] = warped(mixed, **SAMPLING["top-k, top-p, temperature"])
    return np.exp(found._totals(logs))


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
@pytest.mark.parametrize("pair", [models, near], ids=["far", "near"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_text_is_the_oracles(architecture, pair, mode):
    """Prompts of different lengths, rows of different lam, which end at different times."""
    both, arguments = pair(architecture), dict(GREEDY[mode], do_sample=False, max_new_tokens=14)
    ours = RealignedModel(*both)
    got = ours.generate(**padded(PROMPTS), lam=LAMS, speculative=True, **arguments)
    assert ours.last_speculation.drafted > 0
    assert torch.equal(got, truth(Oracle(both), padded(PROMPTS), LAMS, **arguments))


@pytest.mark.parametrize("lam", [0.5, -1.0, 2.0])
@pytest.mark.parametrize("mode", ["plain", "repetition"])
def test_greedy_text_of_one_base_with_an_adapter_that_must_be_switched(mode, lam):
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
def test_long_texts_of_any_draft_length(rows, lengths, drafts, monkeypatch):
    """To the last position the model has; drafts go beyond it, and the caches are compacted on the way."""
    drafts(*lengths)
    compacted = []
    monkeypatch.setattr(
        drafting.DraftCache,
        "compact",
        lambda slots, room, do=drafting.DraftCache.compact: compacted.append(do(slots, 0)),
    )
    both, batch = near("gpt2"), padded(PROMPTS[:rows])
    arguments = dict(do_sample=False, max_new_tokens=59, eos_token_id=None, pad_token_id=None)
    ours = RealignedModel(*both)
    got = ours.generate(**batch, lam=[3.0, -2.0, 0.5, 1.7][:rows], speculative=True, **arguments)
    assert torch.equal(got, truth(Oracle(both), batch, [3.0, -2.0, 0.5, 1.7][:rows], **arguments))
    assert compacted


@pytest.mark.parametrize("prompt", ["padded at the right", "at other positions", "twice"])
def test_prompts_of_other_shapes_are_read_as_plain_decoding_reads_them(prompt):
    ours, batch = (
        RealignedModel(*near("gpt2")),
        padded(PROMPTS, "right" if prompt == "padded at the right" else "left"),
    )
    arguments = dict(do_sample=False, max_new_tokens=12, lam=LAMS)
    if prompt == "at other positions":
        arguments["position_ids"] = (batch["attention_mask"].cumsum(-1) - 1).clamp(
            min=0
        ) + torch.tensor([[0], [9], [20], [3]])
    if prompt == "twice":
        arguments["num_return_sequences"] = 2
        arguments["do_sample"], arguments["top_k"] = True, 1
    expected = ours.generate(**batch, **arguments)
    assert torch.equal(ours.generate(**batch, speculative=True, **arguments), expected)
    assert ours.last_speculation.drafted > 0


@pytest.mark.parametrize("drafter", [0, 1, 2])
def test_several_aligned_models(drafter):
    """The models with a share, whichever of them drafts, and one that has none is not run."""
    three = [*near("llama"), tiny("llama", 3)]
    weights = torch.tensor([[0.1, 0.2], [0.6, 0.3], [0.2, 0.9]])[drafter].expand(4, 2)
    ours = RealignedModel(three[0], {"kind": three[1], "brief": three[2]})
    got = ours.generate(
        **padded(PROMPTS), lam=weights, speculative=True, do_sample=False, max_new_tokens=12
    )
    assert torch.equal(
        got,
        truth(Oracle(three), padded(PROMPTS), weights.tolist(), do_sample=False, max_new_tokens=12),
    )
    assert set(ours.last_speculation.passes) == {"reference", "kind", "brief"}
    ours.generate(
        **padded(PROMPTS), lam={"kind": 0.5}, speculative=True, do_sample=False, max_new_tokens=12
    )
    assert set(ours.last_speculation.passes) == {"reference", "kind"}


@pytest.mark.parametrize("changes", [0, 1, 3])
def test_the_drafter_may_change_at_any_time(changes, monkeypatch):
    """Every so many rounds the other model drafts; what the verifiers had read ahead is read again."""

    def add(acceptance, sums, positions):
        acceptance.weight += 1
        if changes and acceptance.weight % changes == 0:
            acceptance.nearest = 1 - acceptance.nearest
            return True
        return False

    monkeypatch.setattr(Acceptance, "add", add)
    for architecture in ("llama", "gpt2"):
        ours, arguments = (
            RealignedModel(*near(architecture)),
            dict(do_sample=False, max_new_tokens=30, eos_token_id=None),
        )
        got = ours.generate(
            **padded(PROMPTS), lam=[0.5, 0.2, 2.0, -1.0], speculative=True, **arguments
        )
        assert torch.equal(
            got,
            truth(Oracle(near(architecture)), padded(PROMPTS), [0.5, 0.2, 2.0, -1.0], **arguments),
        )


@pytest.mark.parametrize("sampling", [True, False])
def test_what_is_drafted_is_used(sampling, drafts):
    """Two equal models agree on every token: a pass of the drafter a token, and one of the verifier for six."""
    drafts(6)
    same = [copy.deepcopy(models("llama")[0]) for _ in range(2)]
    ours = RealignedModel(*same)
    arguments = dict(do_sample=sampling, max_new_tokens=48, eos_token_id=None)
    with counted(reference=ours.reference, aligned=ours.aligned) as calls:
        seeded(ours, **padded(PROMPTS[:1]), lam=0.4, speculative=True, **arguments)
    assert calls == {"reference": 48, "aligned": 8}
    done = ours.last_speculation
    assert (done.rounds, done.passes, done.accepted) == (8, calls, done.drafted)
    assert (
        done.drafted == 48 - 7
    )  # in each round but the first, the first token comes from the mixture itself


def test_the_drafter_is_the_nearer_model():
    """At lam = 0.9 the aligned model guesses the text of the mixture; at 0.1 the reference does."""
    for lam, drafter in ((0.1, "reference"), (0.9, "aligned")):
        ours = RealignedModel(*models("llama"))
        seeded(
            ours,
            **padded(PROMPTS),
            lam=lam,
            speculative=True,
            do_sample=True,
            top_k=0,
            max_new_tokens=40,
            eos_token_id=None,
        )
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
    ours = RealignedModel(*models("llama"))
    with (
        warnings.catch_warnings(),
        counted(reference=ours.reference, aligned=ours.aligned) as calls,
    ):
        warnings.simplefilter("error")
        got = seeded(ours, **padded(PROMPTS), lam=lam, speculative=True, max_new_tokens=8)
    assert torch.equal(got, seeded(ours, **padded(PROMPTS), lam=lam, max_new_tokens=8))
    assert 0 in calls.values()
    assert ours.last_speculation is None


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_completions_of_many_prompts(architecture):
    """Greedily the same as decoded plainly; sampled, they follow the enumerated mixture at level 1e-4."""
    ours, tokenizer, prompts = (
        RealignedModel(*near(architecture)),
        word_tokenizer(),
        ["w3 w4 w5", "w6", "w7 w2"] * 3,
    )
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
        counts += counts_of(
            1,
            torch.nn.functional.pad(
                drawn.input_ids[:, -drawn.completion_length :], (0, LENGTH), value=PAD
            )[:, :LENGTH],
        )
    assert ours.last_speculation.drafted > 0
    assert follows(counts, exact(1, 2.0, "plain"))


@pytest.mark.parametrize("option", ["on_step", "generator", "schedule", "one model"])
def test_completions_that_cannot_be_drafted_are_decoded_plainly(option):
    ours, tokenizer = RealignedModel(*models("llama")), word_tokenizer()
    options = {
        "on_step": dict(on_step=lambda *_: None, lam=0.5),
        "generator": dict(generator=torch.Generator().manual_seed(0), lam=0.5),
        "schedule": dict(lam=linear_schedule(0.0, 1.0, 3)),
        "one model": dict(),
    }[option]
    if option == "one model":
        assert (
            len(
                sample_completions(
                    ours.reference, tokenizer, ["w3"], 4, speculative=True
                ).token_ids()
            )
            == 1
        )
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
def test_where_it_does_not_serve_it_says_so_and_decodes_plainly(reason):
    architecture, arguments = PLAIN[reason]
    ours, batch = RealignedModel(*parts(architecture)), padded(PROMPTS[:1])
    with pytest.warns(UserWarning, match=f"not speculative: .*{reason}") as caught:
        got = seeded(
            ours, **batch, **{"lam": 0.4, "max_new_tokens": 8, "speculative": True, **arguments()}
        )
    assert sum("not speculative" in str(warning.message) for warning in caught) == 1
    expected = seeded(ours, **batch, **{"lam": 0.4, "max_new_tokens": 8, **arguments()})
    same = [(each.sequences if hasattr(each, "sequences") else each) for each in (got, expected)]
    assert torch.equal(*same)
    assert ours.last_speculation is None
