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

from bench import curve, decoding, gather, larger_pair, timing
from bench.decoders import Pair
from bench.other_decoders import CachelessMixture, two_caches, with_processor
from bench.peak import peak_bytes
from bench.settings import read_timing
from bench.table import table, table_of_likes
from bench.ways import LIKE, ONE_MODEL, WAYS
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
    return Pair(word_tokenizer(), whole, RealignedModel(None, adapter), LENGTH, compiler="eager")


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
    assert set(held) == set(WAYS) - {"reading", *pair.compiled()}
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

    decoders = pair.uncompiled() | {"no cache": slow}
    monkeypatch.setattr(timing.time, "perf_counter", clock)
    first, second = timing.time_ways(
        decoders,
        ["loop", "generate"],
        ["w3 w4"] * 4,
        batch=2,
        lams=[0.5, 2.0],
        repeats=3,
        once_above=10,
        seed=0,
    )
    by_way = {record["method"]: record for record in first}
    repeats = {name: record["repeats"] for name, record in by_way.items()}
    assert repeats == {name: 1 if name == "no cache" else 3 for name in decoders}
    assert by_way["loop"]["ratio_to_loop"] == by_way["generate"]["ratio_to_generate"] == 1
    times = {name: record["seconds_per_token"] for name, record in by_way.items()}
    assert 0.5 / 8 <= times["plain"] <= 0.5 / 4  # half a second for four rows of one or two tokens
    assert times["no cache"] >= 60 / 8
    assert by_way["no cache"]["ratio_to_loop"] > 60
    others = [name for name in decoders if name != "no cache"]
    assert [record["method"] for record in second] == others


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
    lams=[0.5, 2],
    once_above_seconds=60,
    compiler="eager",
    pairs=dict(
        study=ROWS,
        larger=dict(rows={2: 2}, repeats=1, prompt_words=3, max_new_tokens=4, make=MAKE),
    ),
    curve=dict(prompts=4, samples=2, batch=8, points=5, max_lam=2, repeats=1),
)
PIECES = [("study", 1), ("larger", 2)]


@pytest.fixture(scope="module")
def timed(tmp_path_factory):
    """The folder of a benchmark: a pair is made, and timed beside itself."""
    folder = tmp_path_factory.mktemp("bench")
    prompts, what = folder / "prompts.parquet", folder / "what.yaml"
    pd.DataFrame({"prompt": [f"w{2 + i} w7 w9" for i in range(8)]}).to_parquet(prompts)
    what.write_text(yaml.safe_dump(WHAT))
    pair = ["--reference", str(folder / "reference"), "--adapter", str(folder / "adapter")]
    run(larger_pair, "--settings", json.dumps(MAKE), *pair)
    common = ["--what", str(what), "--settings", '{"max_new_tokens": 5}', *pair]
    common += ["--prompts", str(prompts)]
    for name, batch in PIECES:
        which = ["--pair", name, "--batch", str(batch)]
        run(decoding, *common, *which, "--output", str(folder / f"{name} {batch}.json"))
    run(curve, *common, "--output", str(folder / "curve.json"))
    pieces = [str(folder / f"{name} {batch}.json") for name, batch in PIECES]
    outputs = ["--output", str(folder / "all.json"), "--provenance", str(folder / "from.json")]
    run(gather, "--pieces", *pieces, *outputs)
    return folder


def test_every_way_is_timed_for_every_pair_batch_and_lam(timed):
    records = json.loads((timed / "all.json").read_text())
    found = [tuple(record[key] for key in ("pair", "batch", "lam", "method")) for record in records]
    expected = {
        (*piece, lam, method) for piece in PIECES for lam in WHAT["lams"] for method in WAYS
    }
    assert len(found) == len(expected)
    assert set(found) == expected
    for record in records:
        assert record["seconds_per_token"] > 0
        assert (record["acceptance"] is None) or record["method"] == "speculative"
        assert (record["first_run_seconds"] is not None) == ("compiled" in record["method"])
        units = [record[f"ratio_to_{unit.replace(' ', '_')}"] for unit in ONE_MODEL]
        assert min(units) > 0
    provenance = json.loads((timed / "from.json").read_text())
    assert provenance["settings"]["lams"] == WHAT["lams"]
    assert len(provenance["sources"]) == 1


def test_a_curve_is_timed(timed):
    record = json.loads((timed / "curve.json").read_text())
    assert record["lams"] == 5
    assert record["ratio_to_decode"] > 0


def test_the_figure_has_a_panel_for_each_pair_and_batch_that_were_timed(timed):
    tables = {"decoding": pd.read_json(timed / "all.json")}
    drawn = figure.draw(tables)
    titles = [axes.get_title() for axes in drawn.axes if axes.axison]
    assert titles == [
        "study, batch 1",
        "peak memory",
        "larger, batch 2",
        "peak memory",
    ]
    plt.close(drawn)


RECORD = {"pair": "p", "batch": 1, "peak_bytes": 10}


def test_the_tables_show_the_range_over_lam_of_each_ratio():
    records = [
        {**RECORD, "method": "loop", "lam": 0.5, "ratio_to_loop": 1.0},
        {**RECORD, "method": "loop", "lam": 2, "ratio_to_loop": 1.0},
        {**RECORD, "method": "plain", "lam": 0.5, "ratio_to_loop": 2.5, "peak_bytes": 20},
        {**RECORD, "method": "plain", "lam": 2, "ratio_to_loop": 1.75, "peak_bytes": 20},
        {
            **RECORD,
            **{"method": "plain compiled", "lam": 0.5, "peak_bytes": None},
            **{"ratio_to_loop": 0.5, "ratio_to_generate_compiled": 1.25},
        },
    ]
    rows = [line.split(" | ")[1:] for line in table(records).splitlines()[2:]]
    assert rows == [["1.00", "1.00 |"], ["1.75 to 2.50", "2.00 |"], ["0.50", "– |"]]
    rows = [line.split(" | ")[1:] for line in table_of_likes(records).splitlines()[2:]]
    assert rows == [["1.75 to 2.50 |"], ["1.25 |"]]
    assert set(LIKE.values()) <= set(ONE_MODEL)


def test_the_title_names_the_fastest_of_our_ways():
    ratios = {"loop": 1, "plain": 2, "plain compiled": 0.5, "one pass": 1.5, "generate": 0.1}
    records = [
        {"pair": "p", "batch": batch, "lam": 2, "method": way, "ratio_to_loop": ratio * batch}
        for batch in (1, 3)
        for way, ratio in ratios.items()
    ]
    assert "takes 0.5 to 1.5 times" in figure.finding({"decoding": pd.DataFrame(records)})


@pytest.mark.parametrize("differs", gather.SAME)
def test_runs_on_two_machines_are_not_put_side_by_side(differs, tmp_path):
    provenance = dict.fromkeys(gather.SAME, 0) | {"source": {"commit": "a"}}
    other = provenance | {differs: 1}
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    for file, made in zip(files, (provenance, other), strict=True):
        file.write_text(json.dumps({"provenance": made, "records": []}))
    with pytest.raises(ValueError, match=f"two.json.*one.json differ in {differs}"):
        gather.gather(files)


def test_the_bound_is_compared_to_every_way_with_one_model():
    """Each ratio is the quotient of the times."""
    records = [
        {"method": "loop", "seconds_per_token": 4.0, "batch": 8, "lam": 1},
        {"method": "generate compiled", "seconds_per_token": 2.0, "batch": 8, "lam": 1},
    ]
    bound = decoding._bound(records, ["loop", "generate compiled"], 0.5)
    assert bound["ratio_to_loop"] == 0.125
    assert bound["ratio_to_generate_compiled"] == 0.25


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


def run(module, *arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [module.__name__, *arguments])
        module.main()
