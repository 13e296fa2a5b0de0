"""Prompts from everywhere they may come from, and chat templates applied once."""

import io
import json
import sys

import pytest
import torch
from tokenizers import normalizers
from transformers import AutoTokenizer

from dera.cli.program import parse
from dera.cli.prompts import read_prompts
from tests.dera.architectures import tiny
from tests.dera.cli.conftest import save
from tests.dera.tokenizers import word_tokenizer

ASK = ["generate", "R", "A", "--lam", "1"]
PROMPTS = ["w3 w4", "  w5", "ä 日本"]


def test_every_source_gives_the_same_prompts(tmp_path, monkeypatch):
    lines = tmp_path / "p.txt"
    lines.write_text("\n".join([*PROMPTS, "", ""]), encoding="utf-8")
    with_mark = tmp_path / "bom.txt"
    with_mark.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(PROMPTS).encode())
    objects = tmp_path / "p.jsonl"
    objects.write_text("\n".join(json.dumps({"q": p, "id": 7}) for p in PROMPTS), encoding="utf-8")
    assert read_prompts(parse([*ASK, *PROMPTS])) == PROMPTS
    assert read_prompts(parse([*ASK, "--prompts", str(lines)])) == PROMPTS
    assert read_prompts(parse([*ASK, "--prompts", str(with_mark)])) == PROMPTS
    assert read_prompts(parse([*ASK, "--prompts", str(objects), "--prompt-field", "q"])) == PROMPTS
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines.read_text(encoding="utf-8")))
    assert read_prompts(parse(ASK)) == PROMPTS


def test_a_terminal_and_an_empty_file_have_no_prompts(tmp_path, monkeypatch):
    stdin = io.StringIO("\n\n")
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(ValueError, match="no prompts in standard input"):
        read_prompts(parse(ASK))
    stdin.isatty = lambda: True
    with pytest.raises(ValueError, match="with --prompts FILE, or on standard input"):
        read_prompts(parse(ASK))
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    with pytest.raises(ValueError, match="no prompts in .*empty.jsonl"):
        read_prompts(parse([*ASK, "--prompts", str(empty)]))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "line 2 is not JSON"),
        (b'["w3"]', "line 2 has no field 'prompt' .it is not an object"),
        (b'{"text": "w3"}', r"no field 'prompt' .its fields are \['text'\]"),
        (b'{"prompt": 3}', "must be a text that is not blank, got 3"),
        (b'{"prompt": " "}', "must be a text that is not blank"),
        (b'{"prompt": "\xff"}', "not UTF-8"),
    ],
)
def test_a_bad_line_is_named(line, message, tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"prompt": "w3"}\n' + line)
    with pytest.raises(ValueError, match=message):
        read_prompts(parse([*ASK, "--prompts", str(path)]))


@pytest.mark.parametrize("system", [None, "w5 w6"])
def test_a_chat_template_is_applied_once(system, chats, dera, generated_with):
    prompts = ["w3 w4 w5", "w7"]
    words = ["--lam", 1, "--greedy", "--chat", "--quiet"]
    if system is not None:
        words += ["--system", system]
    status, out, _ = dera("generate", *chats, *prompts, *words)
    assert status == 0
    assert "prompt 2: w7\n" in out  # the user's words
    tokenizer = AutoTokenizer.from_pretrained(chats[0])
    assert tokenizer("w3")["input_ids"] == [2, 3]  # it would add w2 again
    (call,) = generated_with
    before = [] if system is None else [{"role": "system", "content": system}]
    for prompt, ids, mask in zip(prompts, call["input_ids"], call["attention_mask"], strict=True):
        turns = [*before, {"role": "user", "content": prompt}]
        rendered = tokenizer.apply_chat_template(turns, tokenize=True, add_generation_prompt=True)
        expected = rendered["input_ids"]
        assert ids[mask.bool()].tolist() == expected
        assert expected.count(2) == 1


def test_without_chat_the_tokenizer_adds_its_own_tokens(chats, dera, generated_with):
    assert dera("generate", *chats, "--lam", 1, "w3", "--quiet")[0] == 0
    assert torch.equal(generated_with[0]["input_ids"], torch.tensor([[2, 3]]))


@pytest.mark.usefixtures("no_model")
def test_what_the_tokenizer_refuses_is_said_before_a_model_is_loaded(llamas, tmp_path, dera):
    output = tmp_path / "x.jsonl"
    status, _, err = dera("sweep", *llamas, "w3", "--lams", 1, "--chat", "--output", output)
    assert status == 2
    assert f"the tokenizer of {llamas[0]} has no chat template: use plain prompts" in err

    refusing = word_tokenizer()
    refusing.chat_template = "{{ raise_exception('no system turn here') }}"
    reference = save(tmp_path / "refusing", tiny("llama", 1), refusing)
    words = ["w3", "--lam", 1, "--chat", "--system", "w4"]
    status, _, err = dera("generate", reference, llamas[1], *words)
    assert status == 2
    assert "no system turn here" in err


@pytest.mark.usefixtures("no_model")
def test_a_prompt_without_tokens_and_a_model_without_tokenizer_are_refused(tmp_path, llamas, dera):
    deaf = word_tokenizer()
    deaf.backend_tokenizer.normalizer = normalizers.Replace("!", "")
    reference = save(tmp_path / "reference", tiny("llama", 1), deaf)
    status, _, err = dera("generate", reference, llamas[1], "w3", "!", "--lam", 1)
    assert status == 2
    assert "prompt 2 of 2 has no tokens: '!'" in err

    tiny("llama", 1).save_pretrained(tmp_path / "bare")
    status, _, err = dera("generate", tmp_path / "bare", llamas[1], "w3", "--lam", 1)
    assert status == 2
    assert f"no tokenizer could be loaded from {tmp_path / 'bare'}" in err
