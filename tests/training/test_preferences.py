"""Preference pairs: which are kept, and how often the better completion is the chosen one.

The whole job runs, with a model of no weights and completions that the tests draw.
"""

import json
import math
import random
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from scipy import special, stats

import tasks
from tasks import TaskError
from training import preferences as job
from training.tokenizer import train_tokenizer

PROMPTS = [f"Document {i}\nSummary:" for i in range(50)]
GOOD = " A cat."
LONG = " She has a cat now."
LONGER = " She has a cat and sings."
CUT = " A dog."  # stands for a completion that did not end in time
SPLIT = " A"  # stands for a completion whose text comes back as other tokens
GOLD = {GOOD: 0.0, LONG: -1.0, LONGER: -1.0}


@pytest.fixture(scope="module")
def tokenizer():
    rows = {"prompt": PROMPTS, "completion": [GOOD] * len(PROMPTS)}
    return train_tokenizer(Dataset.from_dict(rows), vocab_size=300)


class Drawn:
    """Completions as `sample_completions` returns them."""

    def __init__(self, ids, ended):
        self.ids = ids
        self.ended = ended

    def token_ids(self):
        return self.ids

    def finished(self):
        return self.ended


@pytest.fixture
def run_job(tokenizer, tmp_path, monkeypatch):
    """Runs the job on a model of no weights and returns the rows that it writes."""

    class Model:
        def to(self, device): ...

    def run(task, preferences, dtype=torch.float32):
        Model.dtype = dtype
        monkeypatch.setattr(job.shared, "load_model", lambda folder: (Model(), tokenizer))
        Dataset.from_dict({"prompt": PROMPTS}).to_parquet(tmp_path / "train.parquet")
        output = tmp_path / "pairs.parquet"
        settings = {
            "task": {"name": "length", "settings": task},
            "preferences": preferences,
            "max_new_tokens": 36,
        }
        command = [
            "preferences",
            f"--settings={json.dumps(settings)}",
            "--reference=.",
            f"--prompts={tmp_path / 'train.parquet'}",
            f"--output={output}",
        ]
        monkeypatch.setattr("sys.argv", command)
        job.main()
        return Dataset.from_parquet(str(output), keep_in_memory=True).to_list()

    return run


@pytest.fixture
def write(run_job, monkeypatch):
    """Runs the job on a task that writes its pairs with `pair`, and returns the rows."""

    def run(pair):
        class Writer:
            name = "written"
            version = 1

            def judge(self, prompts, completions, ids):
                return {"gold": [float(completion != LONG) for completion in completions]}

        Writer.pair = staticmethod(pair)
        monkeypatch.setattr(tasks, "create", lambda *arguments: Writer())
        return run_job({}, {"source": "task", "pairs": 120, "batch_size": 16})

    return run


@pytest.fixture
def draw(run_job, tokenizer, monkeypatch):
    """Runs the job on completions drawn from `texts`.

    It returns the rows that were kept, and what was sampled as pairs of a prompt and a text.
    """

    def run(texts, pairs=2000, dtype=torch.float32, **preferences):
        rng = random.Random(0)
        sampled = []
        ids_of = {text: tokenizer(text).input_ids for text in texts}
        if SPLIT in texts:
            ids_of[SPLIT] = tokenizer.convert_tokens_to_ids(["Ġ", "A", "Ġ", "c", "a", "t"])
            assert tokenizer(tokenizer.decode(ids_of[SPLIT])).input_ids != ids_of[SPLIT]

        def sample(model, tokenizer, prompts, max_new_tokens, on_step):
            assert max_new_tokens == 36
            drawn = [rng.choice(texts) for _ in prompts]
            # Of two tokens, each row chooses the first, whose log-probability is that of its text.
            others = [math.log(math.expm1(-log_probability(text))) for text in drawn]
            logits = torch.tensor([[[0.0, other]] for other in others])
            rows = torch.arange(len(drawn))
            on_step(rows, SimpleNamespace(logits=logits), torch.zeros_like(rows))
            sampled.extend(zip(prompts, drawn, strict=True))
            return Drawn([ids_of[text] for text in drawn], [text != CUT for text in drawn])

        monkeypatch.setattr(job, "sample_completions", sample)
        length_of_good = len(tokenizer(GOOD).input_ids)
        task = {"min_tokens": 1, "max_tokens": length_of_good}
        rows = run_job(task, {"pairs": pairs, "batch_size": 128, **preferences}, dtype)
        return rows, sampled

    return run


def log_probability(text):
    """The log-probability, in nats, of which the stub says that a text has it."""
    return -0.1 * len(text)


def drawn_pairs(sampled, completions=2):
    """The prompt and the two texts of each pair, where so many completions follow each other."""
    pairs = []
    for start in range(0, len(sampled), completions):
        of_a_prompt = sampled[start : start + completions]
        assert len({prompt for prompt, _ in of_a_prompt}) == 1
        for i in range(completions):
            for j in range(i + 1, completions):
                pairs.append((of_a_prompt[i][0], of_a_prompt[i][1], of_a_prompt[j][1]))
    return pairs


def test_each_completion_of_a_pair_has_its_own_log_probability_under_the_reference(draw):
    rows, _ = draw([GOOD, LONG, LONGER], sharpness=1)
    assert len({row["chosen"] for row in rows}) == 3
    for row in rows:
        for side in ("chosen", "rejected"):
            assert row[f"ref_{side}_logps"] == pytest.approx(log_probability(row[side]), rel=1e-5)


def test_log_probabilities_in_half_precision_are_not_kept(draw):
    rows, _ = draw([GOOD, LONG, LONGER], dtype=torch.bfloat16, sharpness=1)
    assert rows
    assert not [name for name in rows[0] if name.endswith("logps")]


def test_pairs_of_equal_gold_are_left_out_and_pairs_with_a_completion_of_no_use(draw):
    rows, sampled = draw([GOOD, LONG, LONGER, CUT, SPLIT], sharpness=4)
    assert len(sampled) == 4000
    usable = []
    for prompt, first, second in drawn_pairs(sampled):
        if first in GOLD and second in GOLD and GOLD[first] != GOLD[second]:
            usable.append((prompt, {first, second}))
    assert [(row["prompt"], {row["chosen"], row["rejected"]}) for row in rows] == usable
    assert {row["prompt"] for row in rows} == set(PROMPTS)
    for row in rows:
        assert row["chosen_gold"] == GOLD[row["chosen"]]
        assert row["rejected_gold"] == GOLD[row["rejected"]]


@pytest.mark.parametrize(("completions", "prompts_asked"), [(2, 600), (3, 200), (4, 100)])
def test_every_two_completions_of_a_prompt_make_a_pair(draw, completions, prompts_asked):
    """Whichever is chosen, so each pair is compared as a set."""
    rows, sampled = draw([GOOD, LONG], pairs=600, sharpness=4, completions=completions)
    assert [prompt for prompt, _ in sampled[::completions]] == [
        PROMPTS[i % len(PROMPTS)] for i in range(prompts_asked)
    ]
    pairs = drawn_pairs(sampled, completions)
    assert len(pairs) == 600
    differing = [(prompt, {first, second}) for prompt, first, second in pairs if first != second]
    assert [(row["prompt"], {row["chosen"], row["rejected"]}) for row in rows] == differing


def test_the_better_completion_is_chosen_as_often_as_the_labeller_is_sharp(draw):
    """The binomial test is at level 1e-4."""
    rows, _ = draw([GOOD, LONG], sharpness=1.5)
    better = sum(row["chosen"] == GOOD for row in rows)
    assert stats.binomtest(better, len(rows), special.expit(1.5)).pvalue > 1e-4


def test_with_a_length_bias_the_longer_of_two_completions_of_equal_gold_is_preferred(
    draw, tokenizer
):
    """The binomial test is at level 1e-4."""
    rows, sampled = draw([LONG, LONGER], sharpness=4, length_bias=0.3)
    assert len(rows) == sum(first != second for _, first, second in drawn_pairs(sampled))
    more_tokens = len(tokenizer(LONGER).input_ids) - len(tokenizer(LONG).input_ids)
    longer = sum(row["chosen"] == LONGER for row in rows)
    assert stats.binomtest(longer, len(rows), special.expit(0.3 * more_tokens)).pvalue > 1e-4


def test_pairs_that_the_task_writes_are_taken_as_they_are(write):
    def pair(prompt, rng):
        return f"{GOOD[:-1]} {rng.random():.3f}.", LONG

    rows = write(pair)
    assert [row["prompt"] for row in rows] == [PROMPTS[i % len(PROMPTS)] for i in range(120)]
    assert all(row["chosen"].startswith(GOOD[:-1]) and row["rejected"] == LONG for row in rows)
    assert {(row["chosen_gold"], row["rejected_gold"]) for row in rows} == {(1.0, 0.0)}
    # The random numbers are the job's, go on from pair to pair, and are the same each time.
    assert len({row["chosen"] for row in rows}) > 100
    assert rows == write(pair)


def test_a_written_pair_whose_second_completion_is_better_is_an_error_that_shows_it(write):
    message = "task written: .*better completion first, but the gold of .* is 0.0 and 1.0"
    with pytest.raises(TaskError, match=message):
        write(lambda prompt, rng: (LONG, GOOD))


def test_a_job_that_keeps_no_pair_fails_and_names_the_task(draw):
    with pytest.raises(ValueError, match=r"task length: no pair is left.*preferences\.pairs"):
        draw([LONG, LONGER], pairs=20, sharpness=4)
