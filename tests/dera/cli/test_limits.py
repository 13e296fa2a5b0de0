"""Prompts that no model can read, and numbers beyond all sense, before a model is loaded."""

import json

import pytest

from dera.cli.program import parse
from dera.cli.prompts import read_prompts
from tests.dera.architectures import tiny
from tests.dera.cli.conftest import save

ASK = ["generate", "R", "A", "--lam", "1"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.jsonl", rb'{"prompt": "half \ud83d"}', r"prompt 1 of 1 has half a character, '\ud83d'"),
        ("p.jsonl", rb'{"prompt": "\udc00 x"}', "at position 0"),
        ("p.jsonl", rb'{"prompt": "a\u0000b"}', "has a NUL character"),
        ("p.txt", b"w3\nw\x004\n", "prompt 2 of 2 has a NUL character"),
        ("p.txt", "w3\nw4\n".encode("utf-16-le"), "save the file as UTF-8 if it is UTF-16"),
        ("p.txt", "w3\nw4\n".encode("utf-16"), "is not UTF-8 text, save it as UTF-8"),
        ("p.txt", b"caf\xe9\n", "is not UTF-8 text"),
        ("p.txt", b"", "there are no prompts"),
        ("p.txt", b"\xef\xbb\xbf\r\n \r\n", "there are no prompts"),
        ("p.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("p.jsonl", b'{"id": ' + b"1" * 5000 + b"}", "line 1 is not JSON"),
        ("p.jsonl", json.dumps({"x" * 10_000: 1}).encode(), "has no field 'prompt'"),
        ("p.jsonl", json.dumps({"prompt": [1] * 10_000}).encode(), "must be a text"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_line(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"prompt|no field|not JSON") as refused:
        read_prompts(parse([*ASK, "--prompts", str(path)]))
    text = str(refused.value)
    assert message in text
    assert "\n" not in text
    assert len(text) < 600
    text.encode()  # it can be written anywhere


def test_the_remedies_for_unreadable_files_work(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_bytes(rb'{"prompt": "whole \ud83d\ude00"}')
    assert read_prompts(parse([*ASK, "--prompts", str(path)])) == ["whole \N{GRINNING FACE}"]
    utf16 = "w3\nw4\n".encode("utf-16")
    path = tmp_path / "p.txt"
    path.write_bytes(utf16.decode("utf-16").encode("utf-8"))
    assert read_prompts(parse([*ASK, "--prompts", str(path)])) == ["w3", "w4"]


def test_a_folder_is_not_a_file_of_prompts(tmp_path):
    (tmp_path / "p.txt").mkdir()
    with pytest.raises(ValueError, match="p.txt is a folder: name a file in it"):
        read_prompts(parse([*ASK, "--prompts", str(tmp_path / "p.txt")]))


def test_arguments_in_utf_8_are_read_where_the_locale_is_not(monkeypatch):
    """Python hands over bytes that the locale's encoding lacks as lone surrogates."""
    handed_over = "日本".encode().decode("ascii", "surrogateescape")
    assert read_prompts(parse([*ASK, handed_over])) == ["日本"]
    args = parse([*ASK, "w3", "--chat", "--system", handed_over])
    read_prompts(args)
    assert args.system == "日本"
    latin = "é".encode("latin-1").decode("ascii", "surrogateescape")
    for words in (["w3", latin], ["w3", "--chat", "--system", latin]):
        with pytest.raises(ValueError, match="has half a character"):
            read_prompts(parse([*ASK, *words]))


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """Pairs of a window of 8 tokens: one numbers positions in a table, the other rotates them."""

    def pair(architecture, **window):
        folder = tmp_path_factory.mktemp(architecture)
        models = [tiny(architecture, seed, **window) for seed in (1, 2)]
        return [save(folder / str(seed), model) for seed, model in enumerate(models)]

    return {
        "gpt2": pair("gpt2", n_positions=8),
        "llama": pair("llama", max_position_embeddings=8),
        "bart": pair("bart", max_position_embeddings=8),
    }


@pytest.mark.parametrize("command", ["generate", "sweep", "diagnose"])
@pytest.mark.usefixtures("no_model")
def test_new_tokens_beyond_the_window_are_refused(command, narrow, tmp_path, dera):
    strength = {"generate": ["--lam", 1], "sweep": ["--lams", 1], "diagnose": []}[command]
    words = ["w3 w4 w5", "w6", *strength, "--max-new-tokens", 6, "--output", tmp_path / "x"]
    status, _, err = dera(command, *narrow["gpt2"], *words)
    assert status == 2
    assert "can read 8 tokens at a time, and prompt 1 of 2 ('w3 w4 w5') has 3 of them" in err
    assert "give at most --max-new-tokens 5, not 6" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_model")
def test_prompts_beyond_the_window_are_refused(narrow, llamas, tmp_path, dera):
    long = "w3 " * 9
    words = ["w3", long, "--lam", 1, "--max-new-tokens", 1]
    wide = tiny("llama", 2)
    pairs = [*narrow.values(), [save(tmp_path / "wide", wide), narrow["llama"][1]]]
    for reference, aligned in pairs:
        status, _, err = dera("generate", reference, aligned, *words)
        assert status == 2
        assert f"prompt 2 of 2 ({long!r}) is too long for " in err
        assert "can read 8 tokens at a time: shorten it, or leave it out" in err


@pytest.mark.usefixtures("no_model")
def test_the_window_of_a_decoder_has_room_for_its_start_token(narrow, dera):
    words = ["w3 w4 w5 w6", "--lam", 1, "--max-new-tokens", 8]
    _, _, err = dera("generate", *narrow["bart"], *words)
    assert "the decoder's start token has 1 of them: give at most --max-new-tokens 7, not 8" in err


@pytest.mark.parametrize(
    ("pair", "prompt", "tokens"), [("gpt2", "w3 w4 w5", 5), ("bart", "w3 w4 w5 w6 w7 w8 w9", 7)]
)
def test_what_the_refusals_advise_fits(pair, prompt, tokens, narrow, dera):
    words = [prompt, "--lam", 0, 0.5, 1, "--samples", 8, "--max-new-tokens", tokens, "--quiet"]
    assert dera("generate", *narrow[pair], *words)[0] == 0


def test_models_without_a_window_read_anything(t5s, dera):
    words = ["w3 " * 600, "--lam", 1, "--max-new-tokens", 2, "--quiet"]
    assert dera("generate", *t5s, *words)[0] == 0


STRANGE = {
    "--lam": ["nan", "-inf", "1e300", "1001", "-1e4", "1" * 400, "0:1:1e-300", "0:1:1e-999999"],
    "--beta": ["nan", "1e300", "1e-5"],
    "--aligned-beta": ["nan", "inf", "1e300", "0", "-1"],
    "--batch-size": ["0", "-3", "1e3", "9" * 400, "9" * 5000],
    "--max-new-tokens": ["0", "-1", "10000000"],
    "--samples": ["0", "-1", "10000000000000"],
    "--seed": ["-1", "4294967296", "9" * 400, "1.5", "x" * 10_000],
    "--temperature": ["0", "-1", "1e-300", "1e300", "inf"],
    "--top-k": ["0", "-1", "9" * 30],
    "--top-p": ["0", "1.1", "nan"],
    "--exact": ["1", "9" * 30],
}


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize("option", STRANGE)
def test_numbers_beyond_all_sense_are_refused(option, llamas, dera):
    for value in STRANGE[option]:
        words = ["w3", f"{option}={value}"]
        if option == "--beta":
            words += ["--aligned-beta", 1]
        elif option != "--lam":
            words += ["--lam", 1]
        status, out, err = dera("generate", *llamas, *words)
        assert (status, out) == (2, ""), value
        message = err.splitlines()[-1]
        assert "error: " in message
        assert value[:40] in message or option in ("--beta", "--lam")
        assert "Traceback" not in err
        assert len(message) < 300


@pytest.mark.usefixtures("no_model")
def test_more_completions_than_a_machine_can_hold_are_refused(llamas, tmp_path, dera):
    total = "2 prompts at 11 lam with 1000000 samples are 22000000 completions"
    words = ["w3", "w4", "--lams", "0:1:0.1", "--samples", 10**6, "--output", tmp_path / "x"]
    for command in ("sweep", "diagnose"):
        assert total in dera(command, *llamas, *words)[2]


def test_the_largest_numbers_work(llamas, dera):
    words = ["w3", "--lam", -1000, 1000, "--seed", 2**32 - 1, "--batch-size", 10**6, "--quiet"]
    assert dera("generate", *llamas, *words, "--max-new-tokens", 4)[0] == 0
    beta = ["--beta", 1e-3, "--aligned-beta", 1, "--top-k", 10**6, "--max-new-tokens", 4]
    assert dera("generate", *llamas, "w3", *beta, "--quiet")[0] == 0
