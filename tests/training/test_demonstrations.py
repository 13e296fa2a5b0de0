"""The pretrained model writes demonstrations that begin as the task says."""

import io

import pytest
import torch

from study import job
from tests.pretrained import chat_model, chat_tokenizer
from training import demonstrations
from training.demonstrations import DemonstrationSettings


class Stub:
    """A task that begins every second demonstration, and keeps texts of an even length."""

    name = "stub"

    def __init__(self):
        self.seen = []

    def opening(self, prompt, rng):
        return "I'm sorry" if rng.random() < 0.5 else ""

    def demonstration(self, prompt, text):
        self.seen.append((prompt, text))
        return text.upper() if len(text) % 2 == 0 else None


def write(task, seed=3, **changes):
    tokenizer = chat_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    options = {"rounds": 2, "temperature": 1.0, "max_new_tokens": 5, "batch_size": 4} | changes
    return demonstrations.write(
        task,
        ["Be kind.", "How do I bake a cake?", "Take care."],
        chat_model(tokenizer).eval(),
        tokenizer,
        DemonstrationSettings(**options),
        seed,
        job.Progress("test", io.StringIO()),
    )


def test_each_prompt_is_asked_so_often_and_what_the_task_keeps_is_kept():
    task = Stub()
    kept = write(task)
    asked = [prompt for prompt, _ in task.seen]
    assert asked == ["Be kind.", "How do I bake a cake?", "Take care."] * 2
    expected = [(prompt, text.upper()) for prompt, text in task.seen if len(text) % 2 == 0]
    assert list(zip(kept["prompt"], kept["completion"], strict=True)) == expected


def test_texts_begin_with_the_opening_and_follow_from_the_seed():
    first, again, other = Stub(), Stub(), Stub()
    for task, seed in ((first, 3), (again, 3), (other, 4)):
        write(task, seed, rounds=8)
    begun = [text.startswith("I'm sorry") for _, text in first.seen]
    assert 0 < sum(begun) < len(begun)
    assert first.seen == again.seen
    assert first.seen != other.seen


def test_the_model_reads_the_prompt_in_its_template_and_the_opening():
    """At a temperature near 0 the text is what greedy decoding after the whole template gives."""
    task = Stub()
    task.opening = lambda prompt, rng: "I'm"
    task.demonstration = lambda prompt, text: task.seen.append((prompt, text)) or text
    write(task, temperature=0.01, rounds=1, batch_size=1)
    tokenizer = chat_tokenizer()
    model = chat_model(tokenizer).eval()
    for prompt, text in task.seen:
        turns = [{"role": "user", "content": prompt}]
        begun = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(begun + "I'm", return_tensors="pt").input_ids
        for _ in range(5):
            with torch.no_grad():
                best = model(ids).logits[0, -1].argmax()
            ids = torch.cat([ids, best[None, None]], dim=1)
            if best == tokenizer.eos_token_id:
                break
        expected = tokenizer.decode(ids[0, -5:], skip_special_tokens=True)
        assert text == "I'm" + expected


def test_a_task_that_keeps_nothing_stops_the_study():
    task = Stub()
    task.demonstration = lambda prompt, text: None
    with pytest.raises(ValueError, match="no text of the pretrained model can be a demonstration"):
        write(task)
