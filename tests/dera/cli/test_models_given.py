"""Which models a command is given, and in which chat template its prompts are written."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.dera.architectures import EOS, tiny, tiny_adapter
from tests.dera.cli.conftest import chat_tokenizer, save
from tests.dera.oracle import greedy
from tests.dera.tokenizers import word_tokenizer

GREEDY = ["--lam", "0.5", "--greedy", "--max-new-tokens", "5", "--quiet"]
#: A template that writes less than that of `chat_tokenizer`, and has an argument.
OTHER_TEMPLATE = (
    "{% for turn in messages %}{{ turn.content }} {% endfor %}"
    "{% if enable_thinking is not defined or enable_thinking %}w9{% else %}w8{% endif %}"
)


def merged(base, seed):
    """A plain model: a base with the adapter of `tiny_adapter` merged into it."""
    return tiny_adapter(base, seed).merge_and_unload()


def adapter(folder, base, seed, names) -> str:
    """Save an adapter of `tiny_adapter` on a base; its configuration says that it is on `names`."""
    model = tiny_adapter(base, seed)
    model.peft_config["default"].base_model_name_or_path = names
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The folders base, sft (an adapter on it) and dpo (another)."""
    root = tmp_path_factory.mktemp("adapters")
    base = save(root / "base", tiny("llama", 1))
    adapter(root / "sft", tiny("llama", 1), 2, base)
    adapter(root / "dpo", tiny("llama", 1), 3, base)
    return root


def continued(parts, ids) -> str:
    """What a command prints for the tokens that greedy decoding adds at lam 0.5."""
    return word_tokenizer().decode(greedy(parts, [0.5], ids, 5, EOS), skip_special_tokens=True)


SIDE_BY_SIDE = lambda: (merged(tiny("llama", 1), 2), merged(tiny("llama", 1), 3))  # noqa: E731
STACKED = lambda: (  # noqa: E731
    merged(tiny("llama", 1), 2),
    merged(merged(tiny("llama", 1), 2), 3),
)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["{root}/sft", "{root}/dpo"], SIDE_BY_SIDE),
        (["{root}/sft", "{root}/dpo", "--base", "{root}/base"], SIDE_BY_SIDE),
        (["{root}/sft", "{root}/dpo", "--aligned-on", "reference"], STACKED),
        (["{root}", "{root}", "--subfolder", "sft", "--aligned-subfolder", "dpo"], SIDE_BY_SIDE),
    ],
)
def test_a_reference_that_is_an_adapter_decodes_as_plain_models_do(words, parts, folders, dera):
    words = [word.format(root=folders) for word in words]
    status, out, err = dera("generate", *words, "w3 w4 w5", *GREEDY)
    assert status == 0, err
    assert out.splitlines()[-1] == continued(parts(), [3, 4, 5])
    assert ("side by side" in err) == ("--aligned-on" not in words)


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{root}/base", "{root}/dpo", "--revision", "v1"], "'v1' is for a model on the Hub"),
        (["{root}/base", "{root}/dpo", "--subfolder", "x"], "has no subfolder 'x'"),
        (["{root}/base", "{root}/dpo", "--base-revision", "v1"], "give --base too"),
        (["{root}", "{root}/dpo"], "holds the checkpoints base, dpo, sft: name one of them"),
        (["{root}/base", "{root}/base/model.safetensors"], "is a file, not the folder of a model"),
        (["{root}/base", "{root}/dpo", "--chat-template", "aligned"], "give --chat"),
        (["{root}/base", "{root}/dpo", "--template-arguments", '{{"a": 1}}'], "give --chat too"),
        (["{root}/base", "{root}/dpo", "--template-arguments", "[1]"], "is not a JSON object"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_a_model_is_loaded(words, message, folders, dera):
    words = [word.format(root=folders) for word in words]
    status, out, err = dera("generate", *words, "w3", "--lam", 1)
    assert (status, out) == (2, "")
    assert message in err


def ids_of(calls) -> list[int]:
    """The tokens of the only prompt of the only call."""
    (call,) = calls
    return call["input_ids"][0].tolist()


@pytest.fixture
def differing(chats, tmp_path) -> list[str]:
    """Two decoders with different chat templates."""
    aligned = shutil.copytree(chats[1], tmp_path / "aligned")
    tokenizer = chat_tokenizer()
    tokenizer.chat_template = OTHER_TEMPLATE
    tokenizer.save_pretrained(aligned)
    return [chats[0], str(aligned)]


@pytest.mark.parametrize(
    ("options", "ids", "said"),
    [
        ([], [2, 11, 3, 12], True),
        (["--chat-template", "reference"], [2, 11, 3, 12], False),
        (["--chat-template", "aligned"], [3, 9], False),
        (
            ["--chat-template", "aligned", "--template-arguments", '{"enable_thinking": false}'],
            [3, 8],
            False,
        ),
    ],
)
def test_the_chat_template_is_said_and_chosen(options, ids, said, differing, dera, generated_with):
    status, _, err = dera("generate", *differing, "w3", "--chat", *options, *GREEDY)
    assert status == 0, err
    assert ids_of(generated_with) == ids
    assert ("choose with --chat-template" in err) == said
    assert "different chat templates" not in err


def test_the_aligned_model_s_template_is_used_where_only_it_has_one(
    llamas, chats, dera, generated_with
):
    status, _, err = dera("generate", llamas[0], chats[1], "w3", "--chat", *GREEDY)
    assert status == 0, err
    assert f"in the chat template of {chats[1]}, because {llamas[0]} has none" in err
    assert ids_of(generated_with) == [2, 11, 3, 12]


def test_a_chat_model_whose_template_is_not_used_is_said(chats, llamas, dera):
    status, _, err = dera("generate", *chats, "w3", *GREEDY)
    assert status == 0, err
    assert "has a chat template, and the prompts are read without it: give --chat" in err
    assert "chat template" not in dera("generate", *llamas, "w3", *GREEDY)[2]


TURNS = [
    {"role": "user", "content": "w3"},
    {"role": "assistant", "content": "w4"},
    {"role": "user", "content": "w5"},
]


def test_a_conversation_is_read_turn_by_turn(chats, tmp_path, dera, generated_with):
    prompts = tmp_path / "chat.jsonl"
    prompts.write_text(json.dumps({"messages": TURNS}) + "\n", encoding="utf-8")
    words = ["--prompts", prompts, "--prompt-field", "messages"]
    status, out, err = dera("generate", *chats, *words, "--chat", "--system", "w6", *GREEDY)
    assert status == 0, err
    # w10 stands before a system turn, w11 before any other
    assert ids_of(generated_with) == [2, 10, 6, 11, 3, 11, 4, 11, 5, 12]
    assert "=== prompt 1: w5\n" in out
    status, _, err = dera("generate", *chats, *words, *GREEDY)
    assert status == 2
    assert "is a list of turns, which only a chat model reads: give --chat" in err
    prompts.write_text(json.dumps({"messages": [{"role": "system", "content": "w6"}, *TURNS]}))
    status, _, err = dera("generate", *chats, *words, "--chat", "--system", "w6", *GREEDY)
    assert status == 2
    assert "a conversation has a system message of its own" in err
    status, _, err = dera("generate", *chats, *words, "--chat", *GREEDY)
    assert status == 0, err
    assert generated_with[-1]["input_ids"][0].tolist() == [2, 10, 6, 11, 3, 11, 4, 11, 5, 12]


def test_a_sweep_keeps_conversations_and_goes_on_only_with_the_same_models(chats, tmp_path, dera):
    prompts, output = tmp_path / "chat.jsonl", tmp_path / "sweep.jsonl"
    prompts.write_text(json.dumps({"prompt": TURNS}) + "\n" + json.dumps({"prompt": "w3"}) + "\n")
    words = ["--prompts", prompts, "--chat", "--lams", "0,1", "--samples", 2, "--quiet"]
    words += ["--max-new-tokens", 3, "--output", output]
    status, _, err = dera("sweep", *chats, *words)
    assert status == 0, err
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [json.loads(row["prompt"]) for row in rows[:4]] == [TURNS] * 4
    assert [row["prompt"] for row in rows[4:]] == ["w3"] * 4
    status, _, err = dera("sweep", *chats, *words, "--chat-template", "aligned")
    assert status == 2
    assert "chat_template" in err


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([], "must end with a turn that the model answers"),
        (TURNS[:2], "must end with a turn that the model answers"),
        ([{"role": "user"}], "has a turn {'role': 'user'}: write each turn as"),
        (["w3"], "has a turn 'w3': write each turn as"),
    ],
)
@pytest.mark.usefixtures("no_model")
def test_a_conversation_that_cannot_be_answered_is_refused(turns, message, chats, tmp_path, dera):
    prompts = tmp_path / "chat.jsonl"
    prompts.write_text(json.dumps({"prompt": turns}) + "\n", encoding="utf-8")
    status, _, err = dera("generate", *chats, "--prompts", prompts, "--chat", "--lam", 1)
    assert status == 2
    assert message in err
