"""What the reference has learnt: measured on completions, and refused if it is too little."""

import math

import pytest

from training import learnt

MEANS = {"gold": -0.3, "wellformed": 0.75, "finished": 0.9}


@pytest.mark.parametrize(
    "minimum", [{}, {"finished": 0.9}, {"finished": 0.5, "wellformed": 0.75}, {"finished": 0}]
)
def test_a_mean_that_reaches_its_minimum_is_enough(minimum):
    learnt.check("toy", MEANS, minimum)


def test_too_little_is_refused_with_the_measure_its_value_and_the_threshold():
    message = (
        r"task toy: .*not learnt.*: wellformed is 0\.750 on validation prompts, "
        r"and sft\.minimum\.wellformed = 0\.8\..*sft\.steps"
    )
    with pytest.raises(learnt.NotLearntError, match=message):
        learnt.check("toy", MEANS, {"finished": 0.9, "wellformed": 0.8})


def test_an_unknown_measure_is_refused_and_the_known_ones_are_named():
    message = r"task toy: sft\.minimum\.fluent: .*it has finished, gold, wellformed"
    with pytest.raises(learnt.NotLearntError, match=message):
        learnt.check("toy", MEANS, {"fluent": 0.1})


def test_a_mean_is_over_the_prompts_that_the_measure_applies_to(monkeypatch):
    """There are seven prompts in batches of three. `odd` applies to some, and `never` to none."""

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
            odd = [float(number) if number % 2 else math.nan for number in numbers]
            return {
                "gold": [number / 2 for number in numbers],
                "odd": odd,
                "never": [math.nan] * len(numbers),
            }

    class Tokenizer:
        chat_template = None

        def batch_decode(self, ids):
            return [str(row[0]) for row in ids]

    class Model:
        def eval(self):
            return self

    sizes = []

    def sample(model, tokenizer, prompts, max_new_tokens):
        sizes.append(len(prompts))
        assert max_new_tokens == 9
        return Drawn(prompts)

    monkeypatch.setattr(learnt, "sample_completions", sample)
    monkeypatch.setattr(learnt, "BATCH", 3)
    means = learnt.measure(Model(), Tokenizer(), Toy(), [str(i) for i in range(7)], 9)
    assert sizes == [3, 3, 1]
    assert means == pytest.approx({"gold": 1.5, "odd": 3.0, "finished": 5 / 7})
