"""Preference pairs: which are kept, and how often the better completion is the chosen one."""

import json
import random

import pytest
from datasets import Dataset
from scipy import special, stats

from tasks import TaskError
from training import preferences
from training.tokenizer import train_tokenizer

PROMPTS = [f"Document {i}\nSummary:" for i in range(50)]
GOOD, LONG, LONGER, CUT, SPLIT = (
    " A cat.",
    " She has a cat now.",
    " She has a cat and sings.",
    " A dog.",
    " A",
)
TOLD = {GOOD: 0.0, LONG: -1.0, LONGER: -1.0}


@pytest.fixture(scope="module")
def tokenizer():
    rows = {"prompt": PROMPTS, "completion": [GOOD] * len(PROMPTS)}
    return train_tokenizer(Dataset.from_dict(rows), vocab_size=300)


class Drawn:
    def __init__(self, ids, ended):
        self.ids, self.ended = ids, ended

    def token_ids(self):
        return self.ids

    def finished(self):
        return self.ended


def stage(folder, monkeypatch, tokenizer, section, task=None):
    """The rows that the stage writes; the model is none, and the tokenizer is given."""

    class Model:
        def to(self, device): ...

    monkeypatch.setattr(preferences.shared, "load_model", lambda folder: (Model(), tokenizer))
    Dataset.from_dict({"prompt": PROMPTS}).to_parquet(folder / "train.parquet")
    settings = {
        "task": {"name": "length", "settings": task or {}},
        "preferences": section,
        "max_new_tokens": 36,
    }
    arguments = {
        "settings": json.dumps(settings),
        "reference": ".",
        "prompts": folder / "train.parquet",
    }
    arguments["output"] = folder / "pairs.parquet"
    monkeypatch.setattr(
        "sys.argv", ["preferences", *(f"--{name}={value}" for name, value in arguments.items())]
    )
    preferences.main()
    return Dataset.from_parquet(str(arguments["output"]), keep_in_memory=True).to_list()


@pytest.fixture
def write(tokenizer, tmp_path, monkeypatch):
    """Runs the stage on a task that writes its pairs with `pair`: the rows."""

    def run(pair):
        class Writer:
            name, version = "written", 1

            def judge(self, prompts, completions, ids):
                return {"gold": [float(completion != LONG) for completion in completions]}

        Writer.pair = staticmethod(pair)
        monkeypatch.setattr(preferences.tasks, "create", lambda name, settings: Writer())
        return stage(
            tmp_path, monkeypatch, tokenizer, {"source": "task", "pairs": 120, "batch_size": 16}
        )

    return run


@pytest.fixture
def draw(tokenizer, tmp_path, monkeypatch):
    """Runs the stage on completions drawn from `texts`: the rows it kept, and what was sampled as (prompt, text) pairs."""

    def run(texts, pairs=2000, **settings):
        rng, sampled = random.Random(0), []
        top = len(tokenizer(GOOD).input_ids)  # GOOD is just within the range

        def sample(model, tokenizer, prompts, room):
            assert room == 36
            chosen = [rng.choice(texts) for _ in prompts]
            sampled.extend(zip(prompts, chosen, strict=True))
            ids = [tokenizer(text).input_ids for text in chosen]
            for i, text in enumerate(chosen):
                if text == SPLIT:  # text that would come back as other tokens
                    ids[i] = tokenizer.convert_tokens_to_ids(["Ġ", "A", "Ġ", "c", "a", "t"])
                    assert tokenizer(tokenizer.decode(ids[i])).input_ids != ids[i]
            return Drawn(ids, [text != CUT for text in chosen])

        monkeypatch.setattr(preferences, "sample_completions", sample)
        section = {"pairs": pairs, "batch_size": 128, **settings}
        return stage(
            tmp_path, monkeypatch, tokenizer, section, {"min_tokens": 1, "max_tokens": top}
        ), sampled

    return run


def test_pairs_that_teach_nothing_or_were_not_seen_whole_are_left_out(draw):
    rows, sampled = draw([GOOD, LONG, LONGER, CUT, SPLIT], sharpness=4)
    assert len(sampled) == 4000
    usable = []
    for (prompt, first), (again, second) in zip(sampled[::2], sampled[1::2], strict=True):
        assert prompt == again
        if first in TOLD and second in TOLD and TOLD[first] != TOLD[second]:
            usable.append((prompt, {first, second}))
    assert [(row["prompt"], {row["chosen"], row["rejected"]}) for row in rows] == usable
    assert {row["prompt"] for row in rows} == set(PROMPTS)
    for row in rows:
        assert (row["chosen_gold"], row["rejected_gold"]) == (
            TOLD[row["chosen"]],
            TOLD[row["rejected"]],
        )


def test_the_better_one_is_chosen_as_often_as_the_labeller_is_sharp(draw):
    """Binomial test at level 1e-4."""
    rows, _ = draw([GOOD, LONG], sharpness=1.5)
    better = sum(row["chosen"] == GOOD for row in rows)
    assert stats.binomtest(better, len(rows), special.expit(1.5)).pvalue > 1e-4


def test_a_bias_for_length_is_labelled_in_and_makes_equal_gold_differ(draw, tokenizer):
    """Binomial test at level 1e-4 on pairs of equal gold."""
    rows, sampled = draw([LONG, LONGER], sharpness=4, length_bias=0.3)
    assert len(rows) == sum(
        first != second for (_, first), (_, second) in zip(sampled[::2], sampled[1::2], strict=True)
    )
    more = len(tokenizer(LONGER).input_ids) - len(tokenizer(LONG).input_ids)
    longer = sum(row["chosen"] == LONGER for row in rows)
    assert stats.binomtest(longer, len(rows), special.expit(0.3 * more)).pvalue > 1e-4


def test_pairs_that_the_task_writes_are_taken_as_they_are(write):
    rows = write(lambda prompt, rng: (f"{GOOD[:-1]} {rng.random():.3f}.", LONG))
    assert [row["prompt"] for row in rows] == [PROMPTS[i % len(PROMPTS)] for i in range(120)]
    assert all(row["chosen"].startswith(GOOD[:-1]) and row["rejected"] == LONG for row in rows)
    assert (
        len({row["chosen"] for row in rows}) > 100
    )  # the random numbers are of the stage, and go on
    assert {(row["chosen_gold"], row["rejected_gold"]) for row in rows} == {(1.0, 0.0)}
    assert rows == write(lambda prompt, rng: (f"{GOOD[:-1]} {rng.random():.3f}.", LONG))


def test_a_pair_written_the_wrong_way_round_is_an_error_that_shows_it(write):
    with pytest.raises(
        TaskError, match="task written: of the pair .* the second is no worse: gold 0.0 and 1.0"
    ):
        write(lambda prompt, rng: (LONG, GOOD))


def test_no_pair_at_all_is_an_error_that_names_the_task(draw):
    with pytest.raises(
        ValueError, match="task length: no pair that the labeller is not indifferent to"
    ):
        draw([LONG, LONGER], pairs=20, sharpness=4)
