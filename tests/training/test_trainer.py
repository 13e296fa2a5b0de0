"""What all trainings share: a loss that skips the prompts is the same loss."""

import pytest
import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from trl import SFTConfig, SFTTrainer
from trl.trainer import utils as trl_utils

from tests.dera.architectures import tiny
from training.tokenizer import train_tokenizer
from training.trainer import scoring_completions_only

ROWS = {
    "prompt": ["A cat sat.\nSummary:", "A dog.\nSummary:"],
    "completion": [" A cat.", " A dog sat here."],
}


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    rows = Dataset.from_dict(ROWS)
    tokenizer = train_tokenizer(rows, vocab_size=300)
    model = tiny("llama", 0)
    model.resize_token_embeddings(len(tokenizer))
    config = SFTConfig(
        output_dir=str(tmp_path_factory.mktemp("sft")), use_cpu=True, bf16=False, report_to=[]
    )
    return SFTTrainer(model=model, args=config, train_dataset=rows, processing_class=tokenizer)


def test_the_loss_and_its_gradient_are_those_of_the_completions_tokens(trainer, monkeypatch):
    model, scored = trainer.model, []
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(2)])
    labels = batch["labels"][:, 1:]
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[
        :, :-1
    ]
    expected = cross_entropy(logits.double().flatten(0, 1), labels.flatten(), ignore_index=-100)
    wanted = torch.autograd.grad(expected, list(model.parameters()))

    score = trl_utils._ChunkedLogProbFunction.apply
    monkeypatch.setattr(
        trl_utils._ChunkedLogProbFunction,
        "apply",
        lambda hidden, *rest: scored.append(len(hidden)) or score(hidden, *rest),
    )
    with scoring_completions_only():
        found = trainer.compute_loss(model, dict(batch))
    gradient = torch.autograd.grad(found, list(model.parameters()))

    assert scored == [int((labels != -100).sum())]
    assert 0 < scored[0] < labels.numel() / 2
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)
    for one, other in zip(gradient, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_what_trl_asks_is_put_back_also_after_a_failure():
    before = trl_utils._use_triton
    with pytest.raises(KeyError), scoring_completions_only():
        raise KeyError
    assert trl_utils._use_triton is before
