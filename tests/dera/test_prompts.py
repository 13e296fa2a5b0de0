"""Prompts are texts, token ids or conversations; one of them alone is one prompt.

And a `ChatTokenizer` is the tokenizer it was made from, except that it writes the template.
"""

import copy
import pickle

import numpy as np
import pytest
import torch

from dera import (
    ChatTokenizer,
    RealignedModel,
    diagnose,
    lam_curve,
    sample_and_score,
    sample_at_lams,
    sample_completions,
    sample_covering,
    sample_mixture,
    tune,
)
from dera.chat import rendered
from dera.prompts import as_prompts
from tests.dera.architectures import EOS, tiny
from tests.dera.oracle import greedy
from tests.dera.tokenizers import word_tokenizer

PARTS = [tiny("llama", 1), tiny("llama", 2)]
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'system' %}w7 {% elif m.role == 'user' %}w2 "
    "{% else %}w8 {% endif %}{{ m.content }} {% endfor %}"
    "{% if add_generation_prompt %}w9{% if enable_thinking is defined and not enable_thinking %}"
    " w10{% endif %}{% endif %}"
)
ASK = {"role": "user", "content": "w3 w4"}
ANSWER = {"role": "assistant", "content": "w5"}
TURNS = [ASK, ANSWER, {"role": "user", "content": "w6"}]


@pytest.fixture
def model():
    return RealignedModel(*PARTS)


@pytest.fixture
def tokenizer():
    made = word_tokenizer()
    made.chat_template = TEMPLATE
    return made


@pytest.fixture
def chat(tokenizer):
    return ChatTokenizer(tokenizer)


def lengths(prompts, texts):
    return [len(text) for text in texts]


ONE_PROMPT = {
    "sample_completions": lambda m, t, p: len(sample_completions(m, t, p, 2, lam=0.5).input_ids),
    "sample_and_score": lambda m, t, p: len(sample_and_score(m, t, p, 2, 0.5)[0].input_ids),
    "sample_at_lams": lambda m, t, p: len(sample_at_lams(m, t, p, [0.5], 2, samples=2).prompts),
    "sample_mixture": lambda m, t, p: len(sample_mixture(m, t, p, 2, 0.5, particles=2).log_weights),
}
TWO_PROMPTS = {
    "tune": lambda m, t, p: tune(m, t, p, lengths, 2, samples=2),
    "diagnose": lambda m, t, p: diagnose(m, t, p, [0.5], 2, samples=2),
    "lam_curve": lambda m, t, p: lam_curve(m, t, p, lengths, 2, [0.5], samples=2),
    "sample_covering": lambda m, t, p: sample_covering(m, t, p, 2, [0.5], samples=2),
}


@pytest.mark.parametrize("prompt", ["w3 w4 w5", [3, 4, 5], torch.tensor([3, 4, 5]), TURNS])
@pytest.mark.parametrize("name", ONE_PROMPT)
def test_one_prompt_alone_is_one_prompt(name, prompt, model, tokenizer, chat):
    reader = chat if prompt is TURNS else tokenizer
    assert ONE_PROMPT[name](model, reader, prompt) == 1


@pytest.mark.parametrize("name", TWO_PROMPTS)
def test_what_needs_several_prompts_refuses_one_text(name, model, tokenizer):
    with pytest.raises(ValueError, match="at least two prompts.* got 1 prompts"):
        TWO_PROMPTS[name](model, tokenizer, "w3 w4 w5")


@pytest.mark.parametrize(
    "prompts",
    [
        ["w3 w4", "w5"],
        ("w3 w4", "w5"),
        np.array(["w3 w4", "w5"]),
        [[3, 4], [5]],
        [np.array([3, 4]), torch.tensor([5])],
        iter([[3, 4], [5]]),
    ],
)
def test_kinds_of_prompts_give_the_same_completions(prompts, model, tokenizer):
    drawn = sample_completions(model, tokenizer, prompts, 5, lam=0.4, greedy=True)
    ended = zip(drawn.token_ids(), drawn.finished(), strict=True)
    got = [ids + [EOS] * end for ids, end in ended]
    assert got == [greedy(PARTS, [0.4], ids, 5, EOS) for ids in ([3, 4], [5])]


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (["w3", [4]], r"prompt 1 of 2 is \[4\]: give a list in which all prompts are texts"),
        ([["w3", "w4"]], r"prompt 0 of 1 is \['w3', 'w4'\]: give a list"),
        ([None], "prompt 0 of 1 is None"),
        (5, "prompts must be a list, got 5"),
        (b"w3", "prompts must be a list"),
        ({"prompt": "w3"}, "prompts must be a list"),
        ([TURNS, "w3"], "prompt 1 of 2 is 'w3'"),
        ([TURNS], r"pass dera.ChatTokenizer\(tokenizer\)"),
    ],
)
def test_what_is_no_prompt_is_refused(prompts, message, model, tokenizer):
    with pytest.raises(TypeError, match=message):
        sample_completions(model, tokenizer, prompts, 2, lam=0.5)
    with pytest.raises(ValueError, match="there are no prompts"):
        sample_completions(model, tokenizer, [], 2, lam=0.5)


def test_one_list_of_ids_is_one_prompt():
    assert as_prompts([3, 4]) == [[3, 4]]
    assert as_prompts(torch.tensor([[3, 4], [5, 6]])) == [[3, 4], [5, 6]]
    assert as_prompts([]) == []


def words(tokenizer, ids):
    return " ".join(tokenizer.convert_ids_to_tokens(ids))


def test_texts_and_conversations_are_read_in_the_template(tokenizer, chat):
    """As with any tokenizer, one prompt gives one row of ids, and a list gives rows."""
    texts = [
        ("w3 w4", "w2 w3 w4 w9"),
        ([ASK, ANSWER], "w2 w3 w4 w8 w5 w9"),
        (TURNS, "w2 w3 w4 w8 w5 w2 w6 w9"),
    ]
    for prompt, expected in texts:
        assert words(tokenizer, chat(prompt).input_ids) == expected
        rows = chat([prompt, prompt]).input_ids
        assert [words(tokenizer, row) for row in rows] == [expected] * 2
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        own = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        assert chat.render(prompt) == own
    assert rendered(tokenizer, "w3") == ["w2 w3 w9"]
    assert rendered(word_tokenizer(), "w3") == ["w3"]
    continued = ChatTokenizer(tokenizer, continue_final_message=True)
    assert continued.render([ASK, ANSWER]) == "w2 w3 w4 w8 w5"


def test_a_conversation_is_completed_as_its_tokens_are(model, tokenizer, chat):
    drawn = sample_completions(model, chat, [TURNS, TURNS[:2]], 5, lam=[0.4, 2.0], greedy=True)
    ended = zip(drawn.token_ids(), drawn.finished(), strict=True)
    got = [ids + [EOS] * end for ids, end in ended]
    prompts = [[2, 3, 4, 8, 5, 2, 6, 9], [2, 3, 4, 8, 5, 9]]
    expected = [
        greedy(PARTS, [lam], ids, 5, EOS) for ids, lam in zip(prompts, [0.4, 2.0], strict=True)
    ]
    assert got == expected


def test_template_arguments_and_the_system_prompt_can_be_given(tokenizer, chat):
    assert chat.render("w3") == "w2 w3 w9"
    assert words(tokenizer, chat("w3", enable_thinking=False).input_ids) == "w2 w3 w9 w10"
    calm = ChatTokenizer(tokenizer, system="w11", enable_thinking=False)
    assert calm.render("w3") == "w7 w11 w2 w3 w9 w10"
    assert calm.render("w3", enable_thinking=True) == "w7 w11 w2 w3 w9"
    for make in (
        lambda: chat("w3", enable_thinkin=False),
        lambda: ChatTokenizer(tokenizer, enable_thinkin=False),
    ):
        with pytest.raises(ValueError, match="knows enable_thinkin=: correct its spelling"):
            make()
    with pytest.raises(ValueError, match="Leave one of the two out"):
        calm.render([{"role": "system", "content": "w12"}, ASK])
    with pytest.raises(ValueError, match="add_special_tokens=True would write"):
        chat("w3", add_special_tokens=True)
    other = ChatTokenizer(word_tokenizer(), chat_template="w5 {{ messages[0].content }}")
    assert other.render("w3") == "w5 w3"


def test_a_chat_tokenizer_can_be_copied_and_measured(tokenizer, chat):
    for twin in (copy.copy(chat), copy.deepcopy(chat), pickle.loads(pickle.dumps(chat))):
        assert twin.render("w3") == chat.render("w3")
        assert twin(["w3"]).input_ids == chat(["w3"]).input_ids
        assert len(twin) == len(chat) == len(tokenizer)
    with pytest.raises(AttributeError, match="no_such"):
        chat.no_such  # noqa: B018


def test_the_advice_about_padding_works_through_the_wrapper(model, tokenizer):
    tokenizer.pad_token = None
    chat = ChatTokenizer(tokenizer)
    with pytest.raises(ValueError, match="tokenizer.pad_token = tokenizer.eos_token"):
        sample_completions(model, chat, ["w3"], 2, lam=0.5)
    chat.pad_token = chat.eos_token
    assert tokenizer.pad_token == tokenizer.eos_token
    drawn = sample_completions(model, chat, ["w3", "w4 w5"], 2, lam=0.5)
    assert drawn.input_ids.shape[0] == 2
