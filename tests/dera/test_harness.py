"""lm-evaluation-harness scores the realigned model as any other: its numbers are the oracle's."""

import json

import pytest
import torch

from dera import RealignedModel
from tests.dera.architectures import EOS, PAD, tiny
from tests.dera.oracle import greedy, next_logits
from tests.dera.tokenizers import word_tokenizer

lm_eval = pytest.importorskip("lm_eval")
from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

QUESTIONS, CHOICES, NEW_TOKENS, STOP = 16, 3, 5, 9

TASKS = {
    "which": """
task: which
output_type: multiple_choice
doc_to_text: question
doc_to_choice: choices
doc_to_target: answer
metric_list: [{metric: acc}]
""",
    "how": """
task: how
output_type: generate_until
doc_to_text: question
doc_to_target: continuation
generation_kwargs: {until: [w%s], do_sample: false, %s}
metric_list: [{metric: exact_match}]
""",
}
DATA = """
dataset_path: json
dataset_kwargs: {data_files: {test: %s}, cache_dir: %s}
test_split: test
"""


def text(ids):
    return " ".join(f"w{i}" for i in ids)


@pytest.fixture(scope="module", params=["llama", "gpt2", "t5"])
def parts(request):
    return tiny(request.param, 1), tiny(request.param, 2)


@pytest.fixture(scope="module")
def questions():
    """Token ids of (question, choices), of different lengths."""
    torch.manual_seed(0)

    def random_ids(low, high):
        length = int(torch.randint(low, high, (1,)))
        return torch.randint(2, 13, (length,)).tolist()

    drawn = []
    for _ in range(QUESTIONS):
        question = random_ids(1, 6)
        drawn.append((question, [random_ids(1, 4) for _ in range(CHOICES)]))
    return drawn


def harness(parts, lam):
    """The realigned model as the harness takes it."""
    model = RealignedModel(*parts, lam=lam)
    return HFLM(pretrained=model, tokenizer=word_tokenizer(), batch_size=4)


def log_likelihood(parts, lam, question, choice):
    """The choice's log-likelihood after the question, and whether greedy decoding gives it."""
    if parts[0].config.is_encoder_decoder:
        logits = next_logits(parts, [lam], [PAD, *choice[:-1]], question)
    else:
        logits = next_logits(parts, [lam], question + choice[:-1])[len(question) - 1 :]
    logs = logits.log_softmax(-1)
    score = sum(logs[t, token].item() for t, token in enumerate(choice))
    return score, logs.argmax(-1).tolist() == choice


def continuation(parts, lam, question):
    """The tokens of greedy decoding, without a margin for ties: they are compared to the end."""
    start, source = ([PAD], question) if parts[0].config.is_encoder_decoder else (question, None)
    return greedy(parts, [lam], start, NEW_TOKENS, EOS, source, margin=0)


@pytest.fixture(scope="module", params=[0.4, 3.0])
def lam(request):
    return request.param


@pytest.fixture(scope="module")
def true_choices(parts, questions, lam):
    """For each question the `log_likelihood` of each of its choices."""
    scored = []
    for ids, choices in questions:
        scored.append([log_likelihood(parts, lam, ids, choice) for choice in choices])
    return scored


@pytest.fixture(scope="module")
def true_continuations(parts, questions, lam):
    """The tokens of each question's `continuation`."""
    return [continuation(parts, lam, ids) for ids, _ in questions]


def words_of(tokens):
    """The tokens without those that end or fill a text."""
    return [token for token in tokens if token not in (EOS, PAD)]


def test_log_likelihoods_are_those_of_the_oracle(
    parts, questions, lam, true_choices, true_continuations
):
    pairs = [(ids, choice) for ids, choices in questions for choice in choices]
    expected = [truth for choices in true_choices for truth in choices]

    # beginnings of the continuations are choices that greedy decoding gives
    for (ids, _), tokens in zip(questions, true_continuations, strict=True):
        best = words_of(tokens[:2])
        if best:
            pairs.append((ids, best))
            expected.append(log_likelihood(parts, lam, ids, best))

    requests = [
        Instance("loglikelihood", {}, (text(ids), " " + text(choice)), i)
        for i, (ids, choice) in enumerate(pairs)
    ]
    got = harness(parts, lam).loglikelihood(requests, disable_tqdm=True)
    got_scores, got_exact = zip(*got, strict=True)
    true_scores, true_exact = zip(*expected, strict=True)
    assert got_scores == pytest.approx(true_scores, abs=1e-3, rel=1e-5)
    assert got_exact == true_exact
    assert set(got_exact) == {True, False}


def test_a_task_of_the_user_s_is_scored_as_the_oracle_does(
    parts, questions, lam, true_choices, true_continuations, tmp_path
):
    # a choice is right where the oracle prefers it
    answers = [i % CHOICES for i in range(QUESTIONS)]
    scores = [[score for score, _ in choices] for choices in true_choices]
    preferred = [max(range(CHOICES), key=row.__getitem__) for row in scores]
    right = sum(choice == answer for choice, answer in zip(preferred, answers, strict=True))

    # the harness cuts a continuation at the stop word, not at the space before it
    continuations = []
    for tokens in true_continuations:
        before = words_of(tokens[: (*tokens, STOP).index(STOP)])
        continuations.append(text(before) + " " * (STOP in tokens and len(before) > 0))

    # every other target is the continuation; the rest are too long to be generated
    too_long = text([2] * (NEW_TOKENS + 1))
    targets = [made if i % 2 else too_long for i, made in enumerate(continuations)]

    rows = [
        dict(
            question=text(ids),
            choices=[text(choice) for choice in choices],
            answer=answer,
            continuation=target,
        )
        for (ids, choices), answer, target in zip(questions, answers, targets, strict=True)
    ]
    results = evaluate(parts, lam, rows, tmp_path)
    assert results["results"]["which"]["acc,none"] == right / QUESTIONS
    assert 0 < right < QUESTIONS
    samples = sorted(results["samples"]["how"], key=lambda sample: sample["doc_id"])
    assert [sample["filtered_resps"][0] for sample in samples] == continuations
    assert results["results"]["how"]["exact_match,none"] == 0.5
    assert len(set(continuations)) > 4


def evaluate(parts, lam, rows, folder):
    """The harness's results for both tasks on these rows."""
    (folder / "rows.json").write_text("\n".join(map(json.dumps, rows)))
    # the harness adds the length of an encoder-decoder's prompt to a limit on new tokens
    if parts[0].config.is_encoder_decoder:
        limit = f"max_length: {1 + NEW_TOKENS}"
    else:
        limit = f"max_gen_toks: {NEW_TOKENS}"
    data = DATA % (folder / "rows.json", folder / "cache")
    (folder / "which.yaml").write_text(TASKS["which"] + data)
    (folder / "how.yaml").write_text(TASKS["how"] % (STOP, limit) + data)
    return lm_eval.simple_evaluate(
        harness(parts, lam),
        tasks=list(TASKS),
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
    )
