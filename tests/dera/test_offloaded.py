"""Weights that are read from disk whenever their layer runs decode the same texts."""

import warnings

import pytest
import torch
from accelerate import cpu_offload, disk_offload

from dera import RealignedModel, sample_and_score, sample_completions, score_completions
from dera.model.modules import input_device
from tests.dera.architectures import tiny, tiny_adapter
from tests.dera.tokenizers import word_tokenizer

PROMPTS = ["w3 w4", "w5", "w3 w4"] * 4
CPU = torch.device("cpu")


def adapter_pair():
    return tiny_adapter(tiny("llama", 1), 2)


@pytest.fixture(params=["disk", "main memory"])
def offloaded(request, tmp_path):
    """A PEFT model whose weights are all kept elsewhere."""
    model = adapter_pair()
    if request.param == "disk":
        disk_offload(model, tmp_path, execution_device=CPU)
    else:
        cpu_offload(model, execution_device=CPU)
    assert all(parameter.is_meta for parameter in model.parameters())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the pair was not proved")
        return RealignedModel(None, model)


def test_samples_and_scores_are_those_of_the_pair_in_memory(offloaded):
    here = RealignedModel(None, adapter_pair())
    drawn = []
    for model in (here, offloaded):
        torch.manual_seed(0)
        drawn.append(sample_completions(model, word_tokenizer(), PROMPTS, 6, lam=1.5))
    assert drawn[0].token_ids() == drawn[1].token_ids()
    scores = [score_completions(model, drawn[0], 1.5) for model in (here, offloaded)]
    assert torch.allclose(scores[0].sampler, scores[1].sampler, atol=1e-4)
    torch.manual_seed(0)
    again, scored = sample_and_score(offloaded, word_tokenizer(), PROMPTS, 6, 1.5)
    assert again.token_ids() == drawn[0].token_ids()
    assert torch.allclose(scored.sampler, scores[0].sampler, atol=1e-4)


def test_tokens_go_to_where_the_layers_run(offloaded):
    assert offloaded.device.type == "meta"
    assert input_device(offloaded) == CPU
    assert input_device(tiny("llama", 1)) == CPU
    with torch.device("meta"):
        nowhere = tiny("llama", 1)
    assert input_device(nowhere).type == "meta"


def test_generate_decodes_the_same_text(offloaded):
    inputs = word_tokenizer()(["w3 w4 w6", "w5"], return_tensors="pt", padding=True)
    texts = [
        model.generate(**inputs, lam=1.5, max_new_tokens=6, do_sample=False)
        for model in (RealignedModel(None, adapter_pair()), offloaded)
    ]
    assert torch.equal(*texts)


def test_an_adapter_cannot_be_put_on_weights_on_disk(tmp_path, monkeypatch):
    """PEFT would fail. The message names the remedy that the other tests of this file use."""
    monkeypatch.chdir(tmp_path)
    base = tiny("llama", 1)
    base.save_pretrained(tmp_path / "reference")
    word_tokenizer().save_pretrained(tmp_path / "reference")
    tiny_adapter(base, 2).save_pretrained(tmp_path / "adapter")
    elsewhere = dict(device_map={"": "disk"}, offload_folder=tmp_path / "weights")
    with pytest.raises(ValueError, match=r"weights of .* on disk.*accelerate\.disk_offload"):
        RealignedModel.from_pretrained(
            tmp_path / "reference", tmp_path / "adapter", check=False, **elsewhere
        )
    # PEFT writes copies of weights into the folder in which Python was started.
    assert {path.name for path in tmp_path.iterdir()} <= {"reference", "adapter", "weights"}
