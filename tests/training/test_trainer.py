"""What all trainings share: a loss that skips the prompts is the same loss as one that does not."""

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
    # The loss and its gradient from a plain forward.
    model = trainer.model
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(2)])
    labels = batch["labels"][:, 1:]
    output = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    logits = output.logits[:, :-1].double().flatten(0, 1)
    expected_loss = cross_entropy(logits, labels.flatten(), ignore_index=-100)
    expected_gradient = torch.autograd.grad(expected_loss, list(model.parameters()))

    # The trainer's, with a count of the positions that it scores.
    scored = []
    score = trl_utils._ChunkedLogProbFunction.apply

    def counting(hidden, *rest):
        scored.append(len(hidden))
        return score(hidden, *rest)

    monkeypatch.setattr(trl_utils._ChunkedLogProbFunction, "apply", counting)
    with scoring_completions_only():
        loss = trainer.compute_loss(model, dict(batch))
    gradient = torch.autograd.grad(loss, list(model.parameters()))

    assert scored == [int((labels != -100).sum())]
    assert 0 < scored[0] < labels.numel() / 2
    torch.testing.assert_close(loss.double(), expected_loss, rtol=1e-6, atol=1e-6)
    for derivative, expected in zip(gradient, expected_gradient, strict=True):
        torch.testing.assert_close(derivative, expected, rtol=1e-3, atol=1e-5)


def test_trl_is_left_as_it_was_also_after_a_failure():
    before = trl_utils._use_triton
    with pytest.raises(KeyError), scoring_completions_only():
        raise KeyError
    assert trl_utils._use_triton is before
