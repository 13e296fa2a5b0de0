"""What the words of the command line mean, and what is said of wrong ones before a model loads."""

import argparse
import re
import runpy
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
import setuptools

from dera.cli.program import COMMANDS, parse
from dera.cli.values import beta_of, lams_of, number_list
from dera.curve.sampling import DEFAULT_SAMPLED_LAMS
from dera.curve.tuning import DEFAULT_LAMS

ROOT = Path(__file__).parents[3]
PAIR = ["{reference}", "{aligned}"]
ASK = [*PAIR, "w3", "w4"]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_explains_the_strength_and_its_examples_are_commands(command, dera):
    status, out, _ = dera(command, "--help")
    assert status == 0
    assert "0 is the reference, 1 is the aligned model" in " ".join(out.split())
    assert "beta0 / lam" in out
    in_one_line = re.sub(r" \\\n +", " ", out)  # an example may go on behind a backslash
    examples = re.findall(r"^  (dera .*)$", in_one_line, re.MULTILINE)
    assert len(examples) >= 2
    for example in examples:
        args = parse(shlex.split(example)[1:])
        assert (args.command, args.reference) == (command, "models/sft")


def test_the_help_of_the_program_names_every_command(dera):
    status, out, _ = dera("--help")
    assert status == 0
    assert all(re.search(rf"^ +{name} ", out, re.MULTILINE) for name in COMMANDS)
    assert dera()[0] == 2


def test_the_installed_program_has_every_package_and_is_what_python_m_runs(monkeypatch, capsys):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["scripts"]["dera"] == "dera.cli:main"
    packages = {
        ".".join(init.parent.relative_to(ROOT).parts)
        for init in (ROOT / "dera").rglob("__init__.py")
    }
    include = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert set(setuptools.find_packages(str(ROOT), include=include)) == packages
    monkeypatch.setattr(sys, "argv", ["dera", "generate", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("dera", run_name="__main__")
    assert "usage: dera generate" in capsys.readouterr().out


def test_defaults_named_in_the_help_are_those_of_the_library():
    parser = argparse.ArgumentParser()
    COMMANDS["tune"].add_arguments(parser)
    text = " ".join(parser.format_help().split())
    lams = re.search(r"Choose among these mixing weights \(default (\S+)\)", text)[1]
    sampled_lams = re.search(r"Sample at these mixing weights first \(default (\S+)\)", text)[1]
    assert number_list(lams) == DEFAULT_LAMS
    assert number_list(sampled_lams) == DEFAULT_SAMPLED_LAMS


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0,0.5,1", (0, 0.5, 1)),
        ("0:1:0.1", (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)),
        ("0:1:0.4", (0, 0.4, 0.8)),
        ("1:-0.5:-0.5,4,1", (1, 0.5, 0, -0.5, 4)),
        ("-0,1e-1", (0, 0.1)),
    ],
)
def test_lists_and_ranges_of_numbers_are_read(text, values):
    assert number_list(text) == values
    assert str(number_list(text)[0]) != "-0.0"


@pytest.mark.parametrize(
    ("words", "lams", "prompts"),
    [
        ("--lam 0 -0.5 Hello", (0, -0.5), ["Hello"]),
        ("Hello --lam 0,1 '3 apples' --samples 2 last", (0, 1), ["Hello", "3 apples", "last"]),
        ("--lam=0.5 Hello -- -dash", (0.5,), ["Hello", "-dash"]),
        ("--lam -.5 -1e-1", (-0.5, -0.1), []),
        ("-- --lam 3 --lam 1", None, None),
    ],
)
def test_prompts_may_stand_anywhere_between_options(words, lams, prompts, capsys):
    argv = ["generate", "R", "A", *shlex.split(words)]
    if lams is None:
        with pytest.raises(SystemExit):
            parse(argv)
        assert "--lam" in capsys.readouterr().err
    else:
        args = parse(argv)
        assert (args.lams, args.prompts) == (lams, prompts)


def test_a_list_may_begin_with_a_minus():
    args = parse(["sweep", "R", "A", "--lams", "-0.5,0:1:0.5", "--output", "x"])
    assert args.lams == (-0.5, 0, 0.5, 1)


def test_strengths_become_weights_and_back():
    assert lams_of(None, (0.05, 0.1, 0.2), 0.1) == (2, 1, 0.5)
    assert [beta_of(lam, 0.1) for lam in (2, 1, 0.5, 0, -1)] == [0.05, 0.1, 0.2, None, None]
    assert beta_of(1, None) is None


BAD = [
    (["generate", *ASK, "--lam", "0", "1.o"], "'1.o' is not a number"),
    (["generate", *ASK, "--lam", "1,inf"], "'inf' is not finite"),
    (["generate", *ASK, "--lam", "0:1:0"], "a step of 0"),
    (["generate", *ASK, "--lam", "0:1"], "'0:1' is neither"),
    (["generate", *ASK, "--lam", "0:1:1e-9"], "1000000001 values"),
    (["generate", *ASK, "--lam", "1e999"], "'1e999' is not finite"),
    (["generate", *ASK], "--lam --beta is required"),
    (["generate", *ASK, "--lam", "1", "--beta", "1"], "not allowed with"),
    (["generate", *ASK, "--beta", "0.2"], "--aligned-beta"),
    (
        ["generate", *ASK, "--beta", "0", "--aligned-beta", "1"],
        "beta must be a positive finite number, got 0",
    ),
    (["generate", *ASK, "--beta", "1", "--aligned-beta", "-2"], "-2 is not positive"),
    (["generate", *ASK, "--lam", "1", "--samples", "0"], "0 is not at least 1"),
    (["generate", *ASK, "--lam", "1", "--seed", "-1"], "-1 is not at least 0"),
    (["generate", *ASK, "--lam", "1", "--max-new-tokens", "2.5"], "'2.5' is not an integer"),
    (["generate", *ASK, "--lam", "1", "--temperature", "nan"], "'nan' is not finite"),
    (["generate", *ASK, "--lam", "1", "--top-p", "1.5"], "1.5 is not positive and at most 1"),
    (["generate", *ASK, "--lam", "1", "--greedy", "--top-k", "5"], "--top-k 5 would do nothing"),
    (["generate", *ASK, "--lam", "1", "--greedy", "--samples", "5"], "--samples 5"),
    (["generate", *ASK, "--lam", "1", "--exact", "16", "--greedy"], "--exact 16"),
    (
        ["generate", *ASK, "--lam", "1", "--exact", "16", "--temperature", "0.5"],
        "--temperature 0.5",
    ),
    (
        ["generate", *ASK, "--lam", "1", "--exact", "16", "--speculative"],
        "--speculative would do nothing",
    ),
    (
        ["generate", *ASK, "--lam", "1", "--exact", "16", "--compiled"],
        "--compiled would do nothing",
    ),
    (
        ["generate", *ASK, "--lam", "1", "--compiled", "--speculative"],
        "--speculative and --compiled are two ways of decoding",
    ),
    (["generate", *ASK, "--lam", "1", "--exact", "1"], "1 is not at least 2"),
    (["generate", *ASK, "--lam", "1", "--device", "gpu7"], "--device gpu7 cannot be used"),
    (["generate", *ASK, "--lam", "1", "--dtype", "int8"], "'int8'"),
    (["generate", *ASK, "--lam", "1", "--system", "w5"], "--system 'w5'"),
    (["generate", *ASK, " ", "--lam", "1"], "prompt 3 of 3 is blank"),
    (["generate", *ASK, "w3 unknown", "?", "--lam", "1", "--chat"], "has no chat template"),
    (["generate", *ASK, "--lam", "1", "--prompts", "{tmp}/p.txt"], "both as arguments ('w3')"),
    (["generate", *PAIR, "--lam", "1", "--prompts", "{tmp}/none.txt"], "none.txt: no such file"),
    (["generate", *PAIR, "--lam", "1", "--prompts", "{tmp}/p.csv"], "p.csv: its name must end in"),
    (
        ["generate", *ASK, "--lam", "1", "--output", "{tmp}/none/x.jsonl"],
        "there is no folder {tmp}/none",
    ),
    (["generate", *ASK, "--lam", "1", "--output", "{tmp}"], "{tmp} is a folder"),
    (["generate", "{tmp}/none", "{aligned}", "w3", "--lam", "1"], "{tmp}/none: no such folder"),
    (["generate", "{reference}", "{tmp}", "w3", "--lam", "1"], "{tmp} is not a saved model"),
    (["sweep", *ASK, "--lams", "0,1"], "--output"),
    (["sweep", *ASK, "--lams", "0,,1", "--output", "{tmp}/x"], "'0,,1' has nothing between"),
    (["sweep", *ASK, "--betas", "1", "--output", "{tmp}/x"], "--aligned-beta"),
    (
        ["sweep", *ASK, "--lams", "1", "--output", "{tmp}/x", "--metric", "score"],
        "'score' must be file.py:function",
    ),
    (["tune", *ASK], "--metric"),
    (["tune", *ASK, "--metric", "{tmp}/none.py:score"], "there is no file {tmp}/none.py"),
    (
        ["tune", *ASK, "--metric", "{tmp}/good.py:none"],
        "there is no function 'none' in {tmp}/good.py, which has ['length']",
    ),
    (["tune", *ASK, "--metric", "{tmp}/broken.py:score"], "could not be loaded: ZeroDivisionError"),
    (
        ["tune", *ASK, "--metric", "no.such.module:score"],
        "could not be loaded: ModuleNotFoundError",
    ),
    (["tune", *ASK, "--metric", "{tmp}/good.py:length", "--max-kl", "-1"], "-1 is not at least 0"),
    (["tune", *PAIR, "w3", "--metric", "{tmp}/good.py:length"], "at least two are needed, got 1"),
    (
        ["tune", *ASK, "--metric", "{tmp}/good.py:length", "--samples", "1"],
        "--samples 1 is too few",
    ),
    (["diagnose", *ASK, "--samples", "1"], "--samples 1 is too few"),
    (["diagnose", *ASK, "--lams", "x"], "'x' is not a number"),
    (["frobnicate"], "'frobnicate'"),
]


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(("words", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_requests_are_refused_by_name_before_a_model_is_loaded(
    words, message, llamas, tmp_path, dera
):
    (tmp_path / "good.py").write_text(
        "def length(prompts, completions):\n"
        "    return [len(completion) for completion in completions]\n"
    )
    (tmp_path / "broken.py").write_text("1 / 0\n")
    for name in ("p.txt", "p.csv"):
        (tmp_path / name).write_text("w3\n")
    names = {"reference": llamas[0], "aligned": llamas[1], "tmp": tmp_path}
    status, out, err = dera(*(word.format(**names) for word in words))
    assert (status, out) == (2, "")
    assert message.format(**names) in err
    assert "error: " in err
    assert "Traceback" not in err


def test_debug_shows_the_traceback_of_a_refusal(llamas, dera):
    status, _, err = dera("generate", *llamas, " ", "--lam", 1, "--debug")
    assert status == 2
    assert "Traceback" in err
    assert err.endswith("dera: error: prompt 1 of 1 is blank: ' '. Leave it out\n")
