"""`dera chat`: what it answers is what `generate` gives for the same conversation."""

from __future__ import annotations

import io
import re

import pytest
import torch
from transformers import AutoTokenizer

from dera import ChatTokenizer, RealignedModel
from dera.cli import streamed

GREEDY = ["--greedy", "--max-new-tokens", "6", "--dtype", "float32", "--quiet"]


@pytest.fixture
def talk(dera, chats, monkeypatch):
    """Have a chat from a pipe; returns the status, and the lines of both streams."""

    def run(*lines, options=(), messages=()):
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        status, out, err = dera("chat", *chats, *messages, *GREEDY, *options)
        return status, out.splitlines(), err

    return run


def expected(chats, turns, lam):
    """The answer of a plain `generate` to a conversation."""
    model = RealignedModel.from_pretrained(*chats)
    tokenizer = ChatTokenizer(AutoTokenizer.from_pretrained(chats[0]))
    roles = ["user", "assistant"] * len(turns)
    conversation = [dict(role=role, content=text) for role, text in zip(roles, turns, strict=False)]
    inputs = tokenizer([conversation], return_tensors="pt")
    with torch.no_grad():
        ids = model.generate(
            inputs.input_ids,
            attention_mask=inputs.attention_mask,
            lam=lam,
            do_sample=False,
            max_new_tokens=6,
        )
    return tokenizer.decode(ids[0, inputs.input_ids.shape[1] :], skip_special_tokens=True)


def answers(lines):
    """The printed answers: the strength, and the text without what is remarked on it."""
    found = []
    for line in lines:
        if line.startswith("["):
            strength, _, text = line[1:].partition("] ")
            found.append((strength, text.split(" (cut")[0].split("(the model")[0]))
    return found


def test_the_whole_conversation_is_read(talk, chats):
    status, out, _ = talk("w3 w4", "w5", options=["--lam", "0.4"])
    first = expected(chats, ["w3 w4"], 0.4)
    second = expected(chats, ["w3 w4", first, "w5"], 0.4)
    assert status == 0
    assert answers(out) == [("lam 0.4", first), ("lam 0.4", second)]


def test_lam_changes_in_the_middle_of_a_conversation(talk, chats):
    _, out, _ = talk("w3 w4", "/lam 3", "w5", options=["--lam", "0"])
    first = expected(chats, ["w3 w4"], 0)
    assert answers(out)[1] == ("lam 3", expected(chats, ["w3 w4", first, "w5"], 3))


def test_a_beta_is_the_lam_that_it_stands_for(talk, chats):
    _, out, _ = talk("/beta 0.05", "w3 w4", options=["--aligned-beta", "0.1"])
    assert answers(out) == [("lam 2, beta 0.05", expected(chats, ["w3 w4"], 2))]


def test_a_comparison_leaves_the_conversation_as_it_was(talk, chats):
    _, out, _ = talk("w3 w4", "/compare 0, 2", "w5")
    first = expected(chats, ["w3 w4"], 1)
    at_0, at_2 = (expected(chats, ["w3 w4"], lam) for lam in (0, 2))
    after = expected(chats, ["w3 w4", first, "w5"], 1)
    assert answers(out) == [("lam 1", first), ("lam 0", at_0), ("lam 2", at_2), ("lam 1", after)]


def test_answering_again_takes_the_place_of_the_last_answer(talk, chats):
    _, out, _ = talk("w3 w4", "/lam 2", "/again", "w5")
    again = expected(chats, ["w3 w4"], 2)
    assert answers(out)[1:] == [
        ("lam 2", again),
        ("lam 2", expected(chats, ["w3 w4", again, "w5"], 2)),
    ]


def test_a_new_conversation_remembers_nothing(talk, chats):
    _, out, _ = talk("w3 w4", "/new", "w5")
    assert answers(out)[1] == ("lam 1", expected(chats, ["w5"], 1))


def test_messages_may_be_arguments(talk, chats):
    _, out, _ = talk("w5", messages=["w3 w4"])
    assert out[0] == "> w3 w4"
    assert answers(out)[0] == ("lam 1", expected(chats, ["w3 w4"], 1))
    assert len(answers(out)) == 2


def test_nothing_after_quit_is_answered(talk):
    status, out, _ = talk("/quit", "w3")
    assert status == 0
    assert answers(out) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/lam", "give a lam, as in /lam 0.5"),
        ("/lam much", "'much' is not a number"),
        ("/lam nan", "not finite"),
        ("/lam 1e9", "too large"),
        ("/lam 0 1", "one lam at a time, got 2; /compare"),
        ("/beta 0.1", "give --aligned-beta too"),
        ("/beta -1", "-1 is not positive"),
        ("/again", "no message to answer yet"),
        ("/compare 0 1", "no message to answer yet"),
        ("/louder", "there is no command /louder"),
        ("w3\0w4", "has a NUL character"),
        ("w3 " * 5000, "is too long for .* with /new"),
    ],
)
def test_what_cannot_be_done_is_said_and_the_chat_goes_on(talk, line, message):
    status, out, err = talk(line, "w3 w4")
    assert status == 0
    assert re.search(message, err)
    assert len(answers(out)) == 1


def test_a_pair_without_a_chat_template_is_refused(dera, llamas, no_model):
    status, _, err = dera("chat", *llamas, "w3", *GREEDY)
    assert status == 2
    assert "has no chat template" in err


def test_a_chat_is_at_one_lam(dera, chats, no_model):
    status, _, err = dera("chat", *chats, "--lam", "0", "1")
    assert status == 2
    assert "one lam at a time, got 2" in err


def test_an_interruption_keeps_what_was_written(talk, monkeypatch):
    put = streamed.AnswerStreamer.put
    heard = []

    def interrupt(self, value):
        put(self, value)
        heard.append(value)
        if len(heard) == 4:  # the prompt and three tokens
            raise KeyboardInterrupt

    monkeypatch.setattr(streamed.AnswerStreamer, "put", interrupt)
    status, out, _ = talk("w3 w4", "w5")
    assert status == 0
    assert out[1].endswith(" (stopped)")
    assert len(answers(out)) == 2
