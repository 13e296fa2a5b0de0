"""Standard streams that cannot encode, that nobody reads, that are full or closed; and Ctrl-C."""

import io
import os
import sys

import pytest

from dera.cli import main, program

WORDS = ["--lam", "1", "--greedy", "--max-new-tokens", "2", "--quiet"]


@pytest.mark.parametrize(
    ("encoding", "errors", "shown"),
    [
        ("latin-1", "strict", r"é \u65e5\u672c"),
        ("ascii", "surrogateescape", r"\xe9 \u65e5\u672c"),
        ("utf-8", "strict", "é 日本"),
    ],
)
def test_what_an_encoding_lacks_is_escaped(encoding, errors, shown, llamas, capsys, monkeypatch):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors=errors)
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["generate", *llamas, "é 日本", *WORDS]) == 0
    assert raw.getvalue().decode(encoding).startswith(f"=== prompt 1: {shown}\n")
    assert stream.errors == errors  # as it was before
    warned = f"the output is in {encoding}, which lacks some of its characters"
    assert (warned in capsys.readouterr().err) == (encoding != "utf-8")


def test_a_reader_that_has_gone_and_a_full_disk_are_met(llamas, capsys, monkeypatch):
    read_end, write_end = os.pipe()
    os.close(read_end)
    monkeypatch.setattr(sys, "stdout", os.fdopen(write_end, "w"))
    assert main(["generate", *llamas, "w3", *WORDS]) == 1
    assert capsys.readouterr().err == ""
    sys.stdout.close()  # Python does so at exit; it would complain of what could not be written

    monkeypatch.setattr(sys, "stdout", open("/dev/full", "w"))  # noqa: SIM115
    assert main(["generate", *llamas, "w3", *WORDS]) == 2
    assert "No space left on device" in capsys.readouterr().err
    sys.stdout.close()


@pytest.mark.usefixtures("no_model")
def test_a_closed_output_is_refused(llamas, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["generate", *llamas, "w3", *WORDS]) == 2
    assert "standard output is closed: give --output FILE" in capsys.readouterr().err


def test_with_a_file_a_closed_output_does_no_harm(llamas, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    output = tmp_path / "x.jsonl"
    assert main(["generate", *llamas, "w3", *WORDS, "--output", str(output)]) == 0
    assert output.read_text().count("\n") == 1


def test_closed_input_has_no_prompts_and_other_bytes_are_refused(llamas, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["generate", *llamas, *WORDS]) == 2
    assert "there are no prompts" in capsys.readouterr().err
    # Whatever the locale's encoding is, the input is read as UTF-8.
    for content, message in (
        (b"caf\xe9\n", "standard input is not UTF-8"),
        (b"\r\n", "no prompts"),
    ):
        stream = io.TextIOWrapper(io.BytesIO(content), encoding="ascii")
        monkeypatch.setattr(sys, "stdin", stream)
        assert main(["generate", *llamas, *WORDS]) == 2
        assert message in capsys.readouterr().err
    text = "\ufeffw3 é\r\nw4\r\n".encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text), encoding="ascii"))
    assert main(["generate", *llamas, *WORDS]) == 0
    assert "=== prompt 1: w3 é\n" in capsys.readouterr().out


@pytest.mark.parametrize("moment", ["loading", "parsing"])
def test_an_interruption_is_one_line(moment, llamas, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    name = {"loading": "claimed_output", "parsing": "parse"}[moment]
    monkeypatch.setattr(program, name, interrupt)
    assert main(["generate", *llamas, "w3", *WORDS]) == 130
    assert capsys.readouterr().err == "dera: interrupted\n"


def test_too_little_memory_is_said(llamas, capsys, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to\nallocate")

    monkeypatch.setattr(program, "claimed_output", refuse)
    assert main(["generate", *llamas, "w3", *WORDS]) == 2
    err = capsys.readouterr().err
    assert "the memory does not suffice: give a smaller --batch-size" in err
    assert err.count("\n") == 1
