"""lm-evaluation-harness scores the realigned model as it does any other: its numbers are the oracle's."""

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

    def some(low, high):
        return torch.randint(2, 13, (int(torch.randint(low, high, (1,))),)).tolist()

    return [(some(1, 6), [some(1, 4) for _ in range(CHOICES)]) for _ in range(QUESTIONS)]


def harness(parts, lam):
    return HFLM(
        pretrained=RealignedModel(*parts, lam=lam), tokenizer=word_tokenizer(), batch_size=4
    )


def log_likelihood(parts, lam, question, choice):
    """Of the choice after the question, and whether greedy decoding gives the choice."""
    if parts[0].config.is_encoder_decoder:
        logits = next_logits(parts, [lam], [PAD, *choice[:-1]], question)
    else:
        logits = next_logits(parts, [lam], question + choice[:-1])[len(question) - 1 :]
    logs = logits.log_softmax(-1)
    return sum(logs[t, token].item() for t, token in enumerate(choice)), logs.argmax(
        -1
    ).tolist() == choice


def continuation(parts, lam, question):
    """Greedy tokens; without a margin for ties, as they are compared to the end."""
    start, source = ([PAD], question) if parts[0].config.is_encoder_decoder else (question, None)
    return greedy(parts, [lam], start, NEW_TOKENS, EOS, source, margin=0)


@pytest.mark.parametrize("lam", [0.4, 3.0])
def test_log_likelihoods_are_the_oracles(parts, questions, lam):
    pairs = [(ids, choice) for ids, choices in questions for choice in choices]
    best = [
        (ids, [token for token in continuation(parts, lam, ids)[:2] if token not in (EOS, PAD)])
        for ids, _ in questions
    ]
    pairs += [(ids, choice) for ids, choice in best if choice]
    requests = [
        Instance("loglikelihood", {}, (text(ids), " " + text(choice)), i)
        for i, (ids, choice) in enumerate(pairs)
    ]
    got = harness(parts, lam).loglikelihood(requests, disable_tqdm=True)
    expected = [log_likelihood(parts, lam, ids, choice) for ids, choice in pairs]
    assert [score for score, _ in got] == pytest.approx(
        [score for score, _ in expected], abs=1e-3, rel=1e-5
    )
    assert [exact for _, exact in got] == [exact for _, exact in expected]
    assert {exact for _, exact in got} == {True, False}


@pytest.mark.parametrize("lam", [0.4, 3.0])
def test_a_task_of_ones_own(parts, questions, lam, tmp_path):
    scores = [
        [log_likelihood(parts, lam, ids, choice)[0] for choice in choices]
        for ids, choices in questions
    ]
    answers = [i % CHOICES for i in range(QUESTIONS)]
    right = [
        max(range(CHOICES), key=row.__getitem__) == answer
        for row, answer in zip(scores, answers, strict=True)
    ]
    continuations = []
    for ids, _ in questions:
        tokens = continuation(parts, lam, ids)
        before = [
            token for token in tokens[: (*tokens, STOP).index(STOP)] if token not in (EOS, PAD)
        ]
        # the harness cuts at the stop word, not at the space before it
        continuations.append(text(before) + " " * (STOP in tokens and len(before) > 0))
    wanted = [
        made if i % 2 else text([2] * (NEW_TOKENS + 1)) for i, made in enumerate(continuations)
    ]
    rows = [
        dict(
            question=text(ids),
            choices=[text(choice) for choice in choices],
            answer=answer,
            continuation=target,
        )
        for (ids, choices), answer, target in zip(questions, answers, wanted, strict=True)
    ]
    (tmp_path / "rows.json").write_text("\n".join(map(json.dumps, rows)))
    # for an encoder-decoder the harness would add the room for the prompt to that for new tokens
    room = (
        f"max_length: {1 + NEW_TOKENS}"
        if parts[0].config.is_encoder_decoder
        else f"max_gen_toks: {NEW_TOKENS}"
    )
    data = DATA % (tmp_path / "rows.json", tmp_path / "cache")
    (tmp_path / "which.yaml").write_text(TASKS["which"] + data)
    (tmp_path / "how.yaml").write_text(TASKS["how"] % (STOP, room) + data)
    results = lm_eval.simple_evaluate(
        harness(parts, lam),
        tasks=list(TASKS),
        task_manager=TaskManager(include_path=str(tmp_path), include_defaults=False),
        bootstrap_iters=0,
    )
    assert results["results"]["which"]["acc,none"] == sum(right) / QUESTIONS
    assert 0 < sum(right) < QUESTIONS
    samples = sorted(results["samples"]["how"], key=lambda sample: sample["doc_id"])
    assert [sample["filtered_resps"][0] for sample in samples] == continuations
    assert results["results"]["how"]["exact_match,none"] == 0.5  # the odd ones
    assert len(set(continuations)) > 4
