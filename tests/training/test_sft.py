"""What the reference must have learnt: measured on completions, refused by name."""

import math

import pytest

from training import sft

LEARNT = {"gold": -0.3, "wellformed": 0.75, "finished": 0.9}


@pytest.mark.parametrize(
    "least", [{}, {"finished": 0.9}, {"finished": 0.5, "wellformed": 0.75}, {"finished": 0}]
)
def test_enough_is_enough(least):
    sft.check_learnt("toy", LEARNT, least)


def test_too_little_is_refused_with_the_measure_its_value_and_the_threshold():
    message = r"task toy: .*not learnt.*: wellformed is 0\.750 on validation prompts, and sft\.least\.wellformed = 0\.8\..*sft\.steps"
    with pytest.raises(sft.NotLearntError, match=message):
        sft.check_learnt("toy", LEARNT, {"finished": 0.9, "wellformed": 0.8})


def test_a_measure_the_task_does_not_have_is_refused_and_those_it_has_are_named():
    with pytest.raises(
        sft.NotLearntError,
        match=r"task toy: sft\.least\.fluent: .*it has finished, gold, wellformed",
    ):
        sft.check_learnt("toy", LEARNT, {"fluent": 0.1})


def test_a_measure_is_its_mean_over_the_prompts_it_applies_to(monkeypatch):
    """Seven prompts in batches of three, of which some measures do not apply to all, or to any."""

    class Drawn:
        def __init__(self, prompts):
            self.prompts = prompts

        def token_ids(self):
            return [[int(prompt)] for prompt in self.prompts]

        def finished(self):
            return [int(prompt) < 5 for prompt in self.prompts]

    class Toy:
        name = "toy"

        def judge(self, prompts, completions, completion_ids):
            numbers = [ids[0] for ids in completion_ids]
            assert [str(number) for number in numbers] == prompts == completions
            odd = [float(n) if n % 2 else math.nan for n in numbers]
            return {
                "gold": [n / 2 for n in numbers],
                "odd": odd,
                "never": [math.nan] * len(numbers),
            }

    class Tokenizer:
        def batch_decode(self, ids):
            return [str(row[0]) for row in ids]

    class Model:
        def eval(self):
            return self

    sizes = []

    def sample(model, tokenizer, prompts, room):
        sizes.append(len(prompts))
        assert room == 9
        return Drawn(prompts)

    monkeypatch.setattr(sft, "sample_completions", sample)
    monkeypatch.setattr(sft, "BATCH", 3)
    found = sft.measure(Model(), Tokenizer(), Toy(), [str(i) for i in range(7)], 9)
    assert sizes == [3, 3, 1]
    assert found == pytest.approx({"gold": 1.5, "odd": 3.0, "finished": 5 / 7})
