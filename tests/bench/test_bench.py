"""The benchmark compares like with like: every method samples the same mixture; memory and ratios are what they are by hand."""

import copy
import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from matplotlib import pyplot as plt

from bench import decoding, larger_pair
from bench.methods import METHODS, Bench
from bench.other_decoders import CachelessMixture, two_caches, with_processor
from bench.peak import peak_bytes
from dera import RealignedModel
from figures import decoding as figure
from tests.dera.architectures import EOS, PAD, tiny, tiny_adapter
from tests.dera.enumeration import Space, p_value
from tests.dera.tokenizers import word_tokenizer

PROMPT, LENGTH, DRAWS, LAM = [3, 4, 5], 2, 6000, 1.5


@pytest.fixture(scope="module")
def bench():
    adapter = tiny_adapter(tiny("llama", 1, initializer_range=0.3), 2)
    aligned = copy.deepcopy(adapter).merge_and_unload()
    reference = tiny("llama", 1, initializer_range=0.3)
    return Bench(
        word_tokenizer(), RealignedModel(reference, aligned), RealignedModel(None, adapter), LENGTH
    )


def sample_of(method, bench):
    """Completions of one prompt, many times, by this method."""
    inputs = {
        "input_ids": torch.tensor([PROMPT] * DRAWS),
        "attention_mask": torch.ones(DRAWS, len(PROMPT), dtype=torch.long),
    }
    both, room = (bench.whole.reference, bench.whole.aligned), LENGTH
    torch.manual_seed(0)
    if method == "two caches":
        return two_caches(*both, inputs, LAM, room, torch.tensor([EOS]), PAD)
    if method == "processor":
        return with_processor(*both, inputs, LAM, room)
    return CachelessMixture(*both, LAM).generate_from(inputs, room)


@pytest.mark.parametrize("method", ["two caches", "processor", "no cache"])
def test_what_ours_is_compared_with_samples_the_same_mixture(method, bench):
    """Chi-square at level 1e-4 against every completion's probability."""
    space = Space(bench.whole.reference, bench.whole.aligned, PROMPT, LENGTH, EOS)
    rows = [
        tuple(row[:1]) if row[0] == EOS else tuple(row) for row in sample_of(method, bench).tolist()
    ]
    counts = np.bincount([space.index[row] for row in rows], minlength=len(space.sequences))
    assert p_value(counts, space.sampler(LAM)) > 1e-4
    assert p_value(counts, np.exp(space.aligned)) < 1e-4


def test_the_most_memory_at_one_time():
    """Two layers that share a weight, and tensors that are made, viewed, changed in place and given back."""
    first, second = torch.nn.Linear(10, 10), torch.nn.Linear(10, 10)
    second.weight = first.weight

    def run():
        one = torch.zeros(1000)  # 4000 bytes
        one.view(10, 100).add_(1)
        two = one + 1  # 8000
        del one
        three = two.double()  # 4000 + 8000
        del two
        return three.sum()

    weights = 4 * (100 + 10 + 10)
    assert peak_bytes(run, [first, second]) == weights + 12_000
    x = torch.zeros(5, 10)
    assert peak_bytes(lambda: second(first(x)), [first, second]) - weights in (
        400,
        200 * 2,
    )  # two results of 5 x 10 numbers


def test_memory_is_that_of_the_modules_a_method_needs(bench):
    held = decoding.memory(bench, ["w3 w4 w5"], LAM)
    one = sum(p.numel() * 4 for p in bench.whole.aligned.parameters())
    assert list(held) == list(METHODS)
    assert one < held["loop"] < held["one pass"] < held["plain"]
    assert held["plain"] > 2 * one


def test_ratios_are_within_a_repeat_and_slow_methods_run_once(bench, monkeypatch):
    """By a clock that goes on by half a second whenever it is read, and a method that takes half a minute."""
    now = [0.0]

    def clock():
        now[0] += 0.5
        return now[0]

    def slow(prompts, lam):
        now[0] += 30
        return methods["loop"](prompts, lam)

    methods = Bench.methods(bench) | {"no cache": slow}
    monkeypatch.setattr(Bench, "methods", lambda self: methods)
    monkeypatch.setattr(decoding.time, "perf_counter", clock)
    first, second = decoding.time_methods(
        bench, ["w3 w4"] * 4, batch=2, lams=[0.5, 2.0], repeats=3, once_above=10, seed=0
    )
    by_method = {each["method"]: each for each in first}
    assert {name: each["repeats"] for name, each in by_method.items()} == {
        name: 1 if name == "no cache" else 3 for name in METHODS
    }
    assert by_method["loop"]["ratio_to_loop"] == by_method["generate"]["ratio_to_generate"] == 1
    times = {name: each["seconds_per_token"] for name, each in by_method.items()}
    assert 0.5 / 8 <= times["plain"] <= 0.5 / 4  # half a second for four rows of one or two tokens
    assert times["no cache"] >= 60 / 8
    assert by_method["no cache"]["ratio_to_loop"] > 60
    assert [each["method"] for each in second] == [name for name in METHODS if name != "no cache"]


def test_the_whole_of_it_on_two_small_pairs(tmp_path, monkeypatch):
    """Makes a pair, times it beside itself, and draws what came out."""
    shape = dict(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
    )
    lora = dict(r=2, lora_alpha=4, target_modules="all-linear")
    make = dict(
        shape=shape, lora=lora, training=dict(steps=3, batch_size=2, tokens=6, learning_rate=0.01)
    )
    folders = [str(tmp_path / name) for name in ("reference", "adapter")]
    run(
        monkeypatch,
        larger_pair,
        "--settings",
        json.dumps(make),
        "--reference",
        folders[0],
        "--adapter",
        folders[1],
    )
    prompts = tmp_path / "prompts.parquet"
    pd.DataFrame({"prompt": [f"w{2 + i} w7 w9" for i in range(8)]}).to_parquet(prompts)
    pair = dict(rows={1: 2, 2: 4}, repeats=2)
    what = dict(
        batches=[1, 2],
        lams=[0.5, 2],
        once_above_seconds=60,
        pairs=dict(study=pair, larger=dict(**pair, prompt_words=3, max_new_tokens=4, make=make)),
        curve=dict(prompts=4, samples=2, batch=8, points=5, max_lam=2, repeats=1),
    )
    (tmp_path / "what.yaml").write_text(yaml.safe_dump(what))
    run(
        monkeypatch, decoding, "--what", str(tmp_path / "what.yaml"), "--settings", '{"max_new_tokens": 5}', "--study", *folders,
        "--larger", *folders, "--prompts", str(prompts), "--output", str(tmp_path / "d.json"), "--curve", str(tmp_path / "c.json"),
        "--provenance", str(tmp_path / "p.json"),
    )  # fmt: skip
    records = json.loads((tmp_path / "d.json").read_text())
    keys = {
        "method",
        "batch",
        "lam",
        "pair",
        "ratio_to_generate",
        "ratio_to_loop",
        "peak_bytes",
        "acceptance",
        "repeats",
    }
    assert all(keys <= set(each) for each in records)
    assert len(records) == 2 * 2 * 2 * len(METHODS)
    assert {each["method"] for each in records if each["acceptance"] is not None} <= {"speculative"}
    assert json.loads((tmp_path / "p.json").read_text())["settings"]["lams"] == what["lams"]
    curve = json.loads((tmp_path / "c.json").read_text())
    assert curve["lams"] == 5
    assert curve["ratio_to_decode"] > 0
    drawn = figure.draw({"decoding": pd.read_json(tmp_path / "d.json")})
    titles = [axes.get_title() for axes in drawn.axes]
    assert titles == [
        f"{pair}, batch {batch}" if batch else "peak memory"
        for pair in ("study", "larger")
        for batch in (1, 2, None)
    ]
    assert set(figure.NAMES) == set(METHODS)
    plt.close(drawn)


def run(monkeypatch, module, *arguments):
    monkeypatch.setattr(sys, "argv", [module.__name__, *arguments])
    module.main()
