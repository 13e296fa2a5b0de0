"""The benchmark compares like with like.

Every way of decoding samples the same mixture; memory and ratios are what they are by hand.
"""

import copy
import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from matplotlib import pyplot as plt

from bench import decoding, larger_pair, timing
from bench.decoders import Pair
from bench.other_decoders import CachelessMixture, two_caches, with_processor
from bench.peak import peak_bytes
from bench.settings import read_timing
from bench.ways import WAYS
from dera import RealignedModel
from figures import decoding as figure
from tests.dera.architectures import EOS, PAD, tiny, tiny_adapter
from tests.dera.enumeration import Space, p_value
from tests.dera.tokenizers import word_tokenizer

PROMPT = [3, 4, 5]
LENGTH = 2
DRAWS = 6000
LAM = 1.5


@pytest.fixture(scope="module")
def pair():
    adapter = tiny_adapter(tiny("llama", 1, initializer_range=0.3), 2)
    aligned = copy.deepcopy(adapter).merge_and_unload()
    reference = tiny("llama", 1, initializer_range=0.3)
    whole = RealignedModel(reference, aligned)
    return Pair(word_tokenizer(), whole, RealignedModel(None, adapter), LENGTH)


@pytest.fixture(scope="module")
def space(pair):
    """Every completion of the prompt with its probability."""
    return Space(pair.whole.reference, pair.whole.aligned, PROMPT, LENGTH, EOS)


def sample_of(way, pair):
    """Completions of one prompt, many times, by one of the other decoders."""
    inputs = {
        "input_ids": torch.tensor([PROMPT] * DRAWS),
        "attention_mask": torch.ones(DRAWS, len(PROMPT), dtype=torch.long),
    }
    both = pair.whole.reference, pair.whole.aligned
    torch.manual_seed(0)
    if way == "two caches":
        return two_caches(*both, inputs, LAM, LENGTH, torch.tensor([EOS]), PAD)
    if way == "processor":
        return with_processor(*both, inputs, LAM, LENGTH)
    return CachelessMixture(*both, LAM).generate_from(inputs, LENGTH)


@pytest.mark.parametrize("way", ["two caches", "processor", "no cache"])
def test_other_decoders_sample_the_same_mixture(way, pair, space):
    """Chi-square tests at level 1e-4 against the probability of every completion."""
    completions = []
    for row in sample_of(way, pair).tolist():
        completions.append(tuple(row[:1]) if row[0] == EOS else tuple(row))
    indices = [space.index[completion] for completion in completions]
    counts = np.bincount(indices, minlength=len(space.sequences))
    assert p_value(counts, space.sampler(LAM)) > 1e-4
    assert p_value(counts, np.exp(space.aligned)) < 1e-4


def test_peak_memory_is_that_of_all_tensors_alive_at_one_time():
    """Two layers share a weight, and tensors are made, viewed, changed in place and given back."""
    first, second = torch.nn.Linear(10, 10), torch.nn.Linear(10, 10)
    second.weight = first.weight

    def run():
        zeros = torch.zeros(1000)  # 4000 bytes
        zeros.view(10, 100).add_(1)
        ones = zeros + 1  # 8000
        del zeros
        doubles = ones.double()  # 4000 + 8000
        del ones
        return doubles.sum()

    weights = 4 * (100 + 10 + 10)
    assert peak_bytes(run, [first, second]) == weights + 12_000
    x = torch.zeros(5, 10)
    two_results = 2 * 4 * 5 * 10
    assert peak_bytes(lambda: second(first(x)), [first, second]) - weights == two_results


def test_memory_is_that_of_the_modules_a_way_needs(pair):
    held = decoding.memory(pair, ["w3 w4 w5"], LAM)
    one_model = sum(parameter.numel() * 4 for parameter in pair.whole.aligned.parameters())
    assert list(held) == list(WAYS)
    assert one_model < held["loop"] < held["one pass"] < held["plain"]
    assert held["plain"] > 2 * one_model


def test_ratios_are_within_a_repeat_and_slow_ways_run_once(pair, monkeypatch):
    """The clock goes on by half a second whenever it is read, and one way takes half a minute."""
    now = [0.0]

    def clock():
        now[0] += 0.5
        return now[0]

    def slow(prompts, lam):
        now[0] += 30
        return decoders["loop"](prompts, lam)

    decoders = pair.decoders() | {"no cache": slow}
    monkeypatch.setattr(timing.time, "perf_counter", clock)
    first, second = timing.time_ways(
        decoders,
        decoding.ONE_MODEL,
        ["w3 w4"] * 4,
        batch=2,
        lams=[0.5, 2.0],
        repeats=3,
        once_above=10,
        seed=0,
    )
    by_way = {record["method"]: record for record in first}
    repeats = {name: record["repeats"] for name, record in by_way.items()}
    assert repeats == {name: 1 if name == "no cache" else 3 for name in WAYS}
    assert by_way["loop"]["ratio_to_loop"] == by_way["generate"]["ratio_to_generate"] == 1
    times = {name: record["seconds_per_token"] for name, record in by_way.items()}
    assert 0.5 / 8 <= times["plain"] <= 0.5 / 4  # half a second for four rows of one or two tokens
    assert times["no cache"] >= 60 / 8
    assert by_way["no cache"]["ratio_to_loop"] > 60
    assert [record["method"] for record in second] == [name for name in WAYS if name != "no cache"]


SHAPE = dict(
    vocab_size=40,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
)
MAKE = dict(
    shape=SHAPE,
    lora=dict(r=2, lora_alpha=4, target_modules="all-linear"),
    training=dict(steps=3, batch_size=2, tokens=6, learning_rate=0.01),
)
ROWS = dict(rows={1: 2, 2: 4}, repeats=2)
WHAT = dict(
    batches=[1, 2],
    lams=[0.5, 2],
    once_above_seconds=60,
    pairs=dict(study=ROWS, larger=dict(**ROWS, prompt_words=3, max_new_tokens=4, make=MAKE)),
    curve=dict(prompts=4, samples=2, batch=8, points=5, max_lam=2, repeats=1),
)


def test_the_benchmark_times_and_draws_two_small_pairs(tmp_path, monkeypatch):
    """A pair is made, timed beside itself, and what came out is drawn."""
    folders = [str(tmp_path / name) for name in ("reference", "adapter")]
    prompts, what = tmp_path / "prompts.parquet", tmp_path / "what.yaml"
    pd.DataFrame({"prompt": [f"w{2 + i} w7 w9" for i in range(8)]}).to_parquet(prompts)
    what.write_text(yaml.safe_dump(WHAT))
    making = ["--settings", json.dumps(MAKE), "--reference", folders[0], "--adapter", folders[1]]
    run(monkeypatch, larger_pair, *making)
    timing_it = ["--what", str(what), "--settings", '{"max_new_tokens": 5}']
    timing_it += ["--study", *folders, "--larger", *folders, "--prompts", str(prompts)]
    timing_it += ["--output", str(tmp_path / "d.json"), "--curve", str(tmp_path / "c.json")]
    timing_it += ["--provenance", str(tmp_path / "p.json")]
    run(monkeypatch, decoding, *timing_it)

    records = json.loads((tmp_path / "d.json").read_text())
    keys = {"method", "batch", "lam", "pair", "peak_bytes", "acceptance", "repeats"}
    keys |= {"ratio_to_generate", "ratio_to_loop"}
    assert all(keys <= set(record) for record in records)
    assert len(records) == 2 * 2 * 2 * len(WAYS)
    speculative = {record["method"] for record in records if record["acceptance"] is not None}
    assert speculative <= {"speculative"}
    assert json.loads((tmp_path / "p.json").read_text())["settings"]["lams"] == WHAT["lams"]
    curve = json.loads((tmp_path / "c.json").read_text())
    assert curve["lams"] == 5
    assert curve["ratio_to_decode"] > 0

    drawn = figure.draw({"decoding": pd.read_json(tmp_path / "d.json")})
    titles = [axes.get_title() for axes in drawn.axes]
    of_panels = ("batch 1", "batch 2", None)
    assert titles == [
        f"{pair}, {panel}" if panel else "peak memory"
        for pair in ("study", "larger")
        for panel in of_panels
    ]
    assert set(figure.NAMES) == set(WAYS)
    plt.close(drawn)


@pytest.mark.parametrize("section", [(), ("curve",), ("pairs", "study")], ids=str)
def test_an_unknown_key_in_what_is_timed_is_refused(section, tmp_path):
    what = copy.deepcopy(WHAT)
    inner = what
    for key in section:
        inner = inner[key]
    inner["repeatz"] = 3
    (tmp_path / "what.yaml").write_text(yaml.safe_dump(what))
    with pytest.raises(ValueError, match="repeatz"):
        read_timing(tmp_path / "what.yaml")


def run(monkeypatch, module, *arguments):
    monkeypatch.setattr(sys, "argv", [module.__name__, *arguments])
    module.main()
