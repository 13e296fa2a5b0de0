"""The memory benchmark compares each way of holding a pair with two whole models."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from matplotlib import pyplot as plt
from transformers import LlamaConfig, LlamaForCausalLM

from bench import larger_pair, memory, memory_table
from bench.holdings import LOADERS, reason_not_to_hold
from bench.memory import Held, kl_of_each
from bench.ways import HOLDINGS
from dera.completions import Completions
from figures import memory as figure
from tests.dera.oracle import next_logits

pytest.importorskip("bitsandbytes", reason="`make test` runs these tests with bitsandbytes")

MAKE = dict(
    shape=dict(
        vocab_size=40,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.3,
    ),
    lora=dict(r=2, lora_alpha=4, target_modules="all-linear"),
    training=dict(steps=5, batch_size=2, tokens=6, learning_rate=0.05),
)
WHAT = dict(
    lams=[0.5, 2],
    prompts=6,
    batch_size=4,
    timing=dict(lam=0.5, rows={1: 2, 2: 4}, repeats=2, once_above_seconds=60),
)
TASK = str(Path(__file__).with_name("even_sum.py"))


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The folder in which a small pair was made and measured."""
    folder = tmp_path_factory.mktemp("memory")
    run(larger_pair, folder, MAKE, reference="reference", adapter="adapter")
    prompts = [f"w{2 + i} w7 w9" for i in range(WHAT["prompts"])]
    pd.DataFrame({"prompt": prompts}).to_parquet(folder / "prompts.parquet")
    (folder / "what.yaml").write_text(yaml.safe_dump(WHAT))
    task = dict(name="even_sum", settings={}, module=TASK)
    run(
        memory,
        folder,
        dict(task=task, max_new_tokens=5),
        what="what.yaml",
        reference="reference",
        adapter="adapter",
        prompts="prompts.parquet",
        output="memory.json",
        provenance="provenance.json",
    )
    return folder


def run(module, folder, settings=None, **files):
    arguments = [module.__name__]
    if settings is not None:
        arguments += ["--settings", json.dumps(settings)]
    for name, file in files.items():
        arguments += [f"--{name}", str(folder / file)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", arguments)
        module.main()


def test_every_way_is_measured_at_every_lam(measured):
    records = json.loads((measured / "memory.json").read_text())
    assert [(record["lam"], record["way"]) for record in records] == [
        (lam, way) for lam in WHAT["lams"] for way in HOLDINGS
    ]
    assert list(LOADERS) == list(HOLDINGS)
    for record in records:
        assert {"batch 1", "batch 1_low", "batch 2", "batch 2, ms", "gold", "kl_high"} <= set(
            record
        )
        assert record["kl_low"] <= record["kl"] <= record["kl_high"]
    assert json.loads((measured / "provenance.json").read_text())["task"] == "even_sum"


def test_ways_that_round_nothing_write_the_same_texts(measured):
    table = pd.read_json(measured / "memory.json").set_index(["way", "lam"])
    for way in ("two models", "adapter", "adapter, from disk"):
        assert table.loc[way, "kl"].abs().max() < 1e-5
        assert (table.loc[way, "gold_difference"] == 0).all()
    assert table["gold_difference"].abs().max() > 0
    for way in ("two models, 16 bits", "adapter, 16 bits", "adapter, 8 bits", "adapter, 4 bits"):
        assert table.loc[way, "kl"].min() > 1e-5
    assert table.loc["adapter, 4 bits", "kl"].min() > table.loc["adapter, 16 bits", "kl"].max()
    assert (table.loc["two models", "batch 1"] == 1).all()


def test_memory_follows_from_the_bits_of_a_weight(measured):
    """Weights are nearly all of the memory of a model that reads three tokens."""
    table = pd.read_json(measured / "memory.json").drop_duplicates("way").set_index("way")
    ratio = table["peak_bytes"] / table.loc["two models", "peak_bytes"]
    assert ratio["two models, 16 bits"] == pytest.approx(1 / 2, abs=0.1)
    assert ratio["adapter"] == pytest.approx(1 / 2, abs=0.1)
    assert ratio["adapter, 16 bits"] == pytest.approx(1 / 4, abs=0.1)
    assert ratio["adapter, 4 bits"] < ratio["adapter, 8 bits"] < ratio["adapter, 16 bits"]


def test_the_kl_is_summed_over_the_vocabulary_at_every_token(measured):
    """It is compared with logits that are mixed token by token, without a cache."""
    lam, sixteen = 2.0, "two models, 16 bits"
    pairs = {}
    for way in ("two models", sixteen):
        pairs[way] = LOADERS[way](measured / "reference", measured / "adapter", measured)
    prompts, texts = [[3, 4], [8, 3]], [[5, 6, 7], [9, 11]]
    ids, mask = torch.tensor(prompts), torch.ones(2, 2, dtype=torch.long)
    completions = Completions.from_token_ids(ids, mask, texts, [False] * 2, (0,))
    held = {way: Held(pair, None, 4) for way, pair in pairs.items()}
    got = kl_of_each(held, [completions], lam)
    assert got["two models"].tolist() == [0, 0]

    for row, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
        logs = {}
        for way, pair in pairs.items():
            mixed = next_logits([pair.reference, pair.aligned], [lam], prompt + text)
            logs[way] = mixed.log_softmax(-1)[len(prompt) - 1 : -1]
        whole = logs["two models"]
        expected = (whole.exp() * (whole - logs[sixteen])).sum().item()
        # Rounding to 16 bits depends on the rows that are read together.
        assert got[sixteen][row] == pytest.approx(expected, rel=0.2)


def test_a_model_whose_rows_do_not_fit_is_not_quantised(measured, tmp_path):
    """Blocks of 64 weights fit into rows of 64 and 128, and not into rows of 96."""
    shape = MAKE["shape"] | {"intermediate_size": 96}
    LlamaForCausalLM(LlamaConfig(**shape)).save_pretrained(tmp_path)
    for way in HOLDINGS:
        assert reason_not_to_hold(way, measured / "reference") is None
        reason = reason_not_to_hold(way, tmp_path)
        if way == "adapter, 4 bits":
            assert reason is not None
            assert "down_proj have 96 weights, no multiple of 64" in reason
        else:
            assert reason is None

    # What is left out has no row in the table and none in the figure.
    records = json.loads((measured / "memory.json").read_text())
    kept = [record for record in records if "bits" not in record["way"]]
    assert len(memory_table.table(kept).splitlines()) == 2 + 3
    drawn = figure.draw({"memory": pd.DataFrame(kept)})
    assert len(drawn.axes[0].patches) == 3
    plt.close(drawn)


def test_the_table_and_the_figure_have_every_way(measured):
    run(memory_table, measured, memory="memory.json", output="memory.md")
    lines = (measured / "memory.md").read_text().splitlines()
    assert len(lines) == 2 + len(HOLDINGS)
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells == [HOLDINGS["two models"].described, "1.00", "1.00", "1.00", "< 0.001", "< 0.001"]

    tables = {"memory": pd.read_json(measured / "memory.json")}
    drawn = figure.draw(tables)
    labels = [label.get_text() for label in drawn.axes[0].get_yticklabels()]
    assert labels == [way.label for way in HOLDINGS.values()]
    widths = [bar.get_width() for bar in drawn.axes[0].patches]
    assert widths[0] == 1
    least = list(HOLDINGS.values())[np.argmin(widths)].label
    assert figure.finding(tables).lower().startswith(f"{least}: {min(widths):.0%} of the memory")
    of_disk = tables["memory"][tables["memory"]["way"] == "adapter, from disk"]
    assert figure._astray(of_disk["kl"]) == "the mixture is the same but for rounding"
    plt.close(drawn)
