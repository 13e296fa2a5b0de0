"""What all trainings share: a loss that skips the prompts is the same as one that does not.

And a training resumes from the newest checkpoint that is whole.
"""

import io
import shutil

import pytest
import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from trl import SFTConfig, SFTTrainer
from trl.trainer import utils as trl_utils

from study.job import Progress
from tests.dera.architectures import tiny
from training.callbacks import SecondsCallback
from training.tokenizer import train_tokenizer
from training.trainer import newest_whole_checkpoint, scoring_completions_only

ROWS = {
    "prompt": ["A cat sat.\nSummary:", "A dog.\nSummary:"],
    "completion": [" A cat.", " A dog sat here."],
}


def sft_trainer(folder, **more) -> SFTTrainer:
    rows = Dataset.from_dict(ROWS)
    tokenizer = train_tokenizer(rows, vocab_size=300)
    model = tiny("llama", 0)
    model.resize_token_embeddings(len(tokenizer))
    config = SFTConfig(output_dir=str(folder), use_cpu=True, bf16=False, report_to=[], **more)
    return SFTTrainer(model=model, args=config, train_dataset=rows, processing_class=tokenizer)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    return sft_trainer(tmp_path_factory.mktemp("sft"))


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


@pytest.fixture(scope="module")
def three_checkpoints(tmp_path_factory):
    """The checkpoints of a training of three steps."""
    folder = tmp_path_factory.mktemp("checkpoints")
    trainer = sft_trainer(folder, max_steps=3, save_steps=1, disable_tqdm=True)
    trainer.add_callback(SecondsCallback())
    trainer.train()
    return folder


def found(folder) -> tuple[str | None, str]:
    """The name of the checkpoint to resume from, and what was said about others."""
    said = io.StringIO()
    checkpoint = newest_whole_checkpoint(folder, Progress("sft", said))
    return checkpoint.name if checkpoint else None, said.getvalue()


def damage(file, how: str) -> None:
    content = file.read_bytes()
    file.write_bytes(b"" if how == "empty" else content[: len(content) * 2 // 3])


@pytest.mark.parametrize("how", ["empty", "cut"])
@pytest.mark.parametrize(
    "name",
    [
        "optimizer.pt",
        "scheduler.pt",
        "rng_state.pth",
        "model.safetensors",
        "trainer_state.json",
        "tokenizer.json",
        "seconds.json",
    ],
)
def test_a_training_goes_back_to_the_checkpoint_before_a_broken_one(
    three_checkpoints, tmp_path, name, how
):
    folder = tmp_path / "checkpoints"
    shutil.copytree(three_checkpoints, folder)
    assert found(folder) == ("checkpoint-3", "")
    if (name, how) == ("seconds.json", "cut"):
        return  # a number without its last digits is a number

    damage(folder / "checkpoint-3" / name, how)
    assert found(folder) == (
        "checkpoint-2",
        f"[sft] {folder / 'checkpoint-3' / name} is empty or cut; going back to the checkpoint "
        "before it\n",
    )
    for number in (1, 2):
        damage(folder / f"checkpoint-{number}" / name, how)
    last, said = found(folder)
    assert last is None
    assert said.count("is empty or cut") == 3
    assert said.endswith("training starts from its beginning\n")


def test_without_checkpoints_there_is_nothing_to_resume_from(tmp_path):
    assert found(tmp_path / "none") == (None, "")
