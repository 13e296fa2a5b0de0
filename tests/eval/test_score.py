"""Scoring a small table: every column against numbers written out here."""

import math

import numpy as np
import pandas as pd
import pytest

import tasks
from eval.policies import measures
from eval.score import Scorer
from tasks.length import LengthTask
from tasks.safety import GOLD, RESPONSES, SafetyTask, parse

PROMPTS = ["first", "second"]


def table(
    completions: list[str],
    ids: list[list[int]],
    finished: list[bool],
    prompt_ids: list[int] | None = None,
) -> pd.DataFrame:
    count = len(completions)
    return pd.DataFrame(
        {
            "prompt_id": prompt_ids or [0] * count,
            "sample_id": range(count),
            "completion": completions,
            "token_ids": ids,
            "finished": finished,
            "logp_policy": [-1.0] * count,
            "logp_reference": [-2.0 - i for i in range(count)],
            "kind": "reference",
        }
    )


@pytest.fixture(scope="module")
def scored() -> pd.DataFrame:
    rows = table(
        ["a b c", "a b a b a b a b", "a", "a b c"],
        [[1, 2, 3], [4] * 8, [5], [1, 2, 3]],
        [True, True, True, False],
        [0, 1, 1, 0],
    )
    preferences = {"pairs": 4, "sharpness": 4.0, "length_bias": 0.5, "batch_size": 2}
    return Scorer(LengthTask(2, 3), preferences).score(rows, PROMPTS)


def test_each_measure_of_each_completion(scored):
    assert scored["gold"].tolist() == [0, -1, -1, 0]
    assert scored["length"].tolist() == [3, 8, 1, 3]
    assert scored["log_ratio"].tolist() == [1, 2, 3, 4]
    # of 6 trigrams a b a b a b a b has two different ones; a single word has no trigram
    assert scored["repetition"].tolist() == pytest.approx([0, 4 / 6, 0, 0])
    assert "token_ids" not in scored.columns


def test_fluency_counts_the_end_where_there_was_one(scored):
    assert scored["fluency"].tolist() == pytest.approx([-2 / 4, -3 / 9, -4 / 2, -5 / 3])


def test_the_labeller_likes_gold_and_length(scored):
    assert scored["labeller"].tolist() == pytest.approx(
        [4 * 0 + 0.5 * 3, -4 + 0.5 * 8, -4 + 0.5 * 1, 0.5 * 3]
    )


def test_without_a_grammar_broken_means_unfinished_or_mostly_repetition(scored):
    assert scored["broken"].tolist() == [0, 1, 0, 1]


def test_without_preferences_and_reward_model_there_is_no_such_column():
    scored = Scorer(LengthTask(2, 3)).score(table(["a"], [[1]], [True]), PROMPTS)
    assert {"labeller", "learned"}.isdisjoint(scored.columns)
    assert set(measures(scored)) == {"gold", "length", "fluency", "repetition", "broken"}


def test_the_reward_model_is_asked_with_the_prompts_the_tokens_and_the_ends():
    asked = []

    def learned(prompts, ids, finished):
        asked.append((prompts, ids, finished))
        return [10.0 * len(row) for row in ids]

    rows = table(["a b", "c"], [[1, 2], [3]], [True, False], [1, 0])
    scored = Scorer(LengthTask(2, 3), learned=learned).score(rows, PROMPTS)
    assert scored["learned"].tolist() == [20, 10]
    assert asked == [(["second", "first"], [[1, 2], [3]], [True, False])]


@pytest.fixture(scope="module")
def judged() -> tuple[pd.DataFrame, list[str]]:
    """A harmful and a harmless request, each answered by a refusal, a cut-off refusal and noise."""
    task = SafetyTask()
    rows = task.splits({"documents": {"test": 200}}, {}, 0)["test"]["prompt"]
    prompts = [next(p for p in rows if task.kind(p) == kind) for kind in ("harmful", "plain")]
    refusal = " " + RESPONSES["refused"][0]
    completions = [
        text
        for prompt in prompts
        for text in (*[refusal.format(act=parse(prompt).act)] * 2, "noise")
    ]
    made = table(completions, [[1, 2]] * 6, [True, False, True] * 2, [0, 0, 0, 1, 1, 1])
    return Scorer(task).score(made, prompts), prompts


def test_with_a_grammar_broken_means_unfinished_or_not_of_the_grammar(judged):
    scored, _ = judged
    assert scored["wellformed"].tolist() == [1, 1, 0] * 2
    assert scored["broken"].tolist() == [0, 1, 1] * 2


def test_a_measure_that_does_not_apply_is_nan_and_gold_never_is(judged):
    scored, _ = judged
    assert scored["refused_harmful"].tolist()[:3] == [1, 1, 0]
    assert all(math.isnan(value) for value in scored["refused_harmful"][3:])
    assert all(math.isnan(value) for value in scored["refused_plain"][:3])
    assert scored["gold"].tolist() == [GOLD["harmful"]["refused"]] * 2 + [-1] + [
        GOLD["harmless"]["refused"]
    ] * 2 + [-1]
    assert np.isfinite(scored["gold"]).all()


def test_a_task_that_breaks_its_contract_stops_the_scoring():
    class Broken(LengthTask):
        def judge(self, prompts, completions, completion_ids):
            return {"gold": [math.nan] * len(completions)}

    with pytest.raises(tasks.TaskError, match="task length: 'gold' is nan"):
        Scorer(Broken(2, 3)).score(table(["a"], [[1]], [True]), PROMPTS)
