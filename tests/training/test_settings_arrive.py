"""Every setting of a training does what the config says of it, also where TRL does the work."""

from __future__ import annotations

import io

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from study import job
from tests.dera.architectures import tiny
from tests.dera.tokenizers import word_tokenizer
from training import objectives, sampling, trainer
from training.settings import OptimiserSettings
from training.trainers_of_trl import sampling_trainer

CLASSES = {"rloo": (RLOOTrainer, RLOOConfig), "grpo": (GRPOTrainer, GRPOConfig)}
SETTINGS = dict(
    steps=6,
    batch_size=8,
    learning_rate=0.01,
    schedule="linear",
    warmup_steps=2,
    log_every=1,
    save_every=100,
)


class Watch(TrainerCallback):
    """Keeps the learning rate of each step."""

    def __init__(self):
        self.rates = []

    def on_pre_optimizer_step(self, args, state, control, optimizer=None, **_):
        self.rates.append(optimizer.param_groups[0]["lr"])


def made(folder, name="rloo", seed=0, samples=4, updates=1, beta=0.5, **changes):
    """A trainer with the arguments that every training has, and a reward that says nothing."""
    tokenizer = word_tokenizer()
    tokenizer.padding_side = "left"
    settings = OptimiserSettings(**(SETTINGS | changes))
    inputs = objectives.ObjectiveInputs(
        model=tiny("llama", 7),
        tokenizer=tokenizer,
        dataset=Dataset.from_dict({"prompt": [f"w{3 + i % 9} w{4 + i % 7}" for i in range(64)]}),
        reward=lambda prompts, completions, ids, finished: [float(len(row)) for row in ids],
        beta=beta,
        adapter=LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"),
        arguments=trainer.common_arguments(folder, settings, seed),
        settings={"samples_per_prompt": samples, "updates_per_sample": updates},
        max_new_tokens=5,
        sharpness=1.0,
    )
    return sampling_trainer(inputs, *CLASSES[name])


def run(made_trainer, folder):
    """Train, and return the learning rate of each step."""
    watch = Watch()
    made_trainer.add_callback(watch)
    trainer.train(made_trainer, folder, folder / "model", job.Progress("test", io.StringIO()))
    return watch.rates


def weights(made_trainer) -> torch.Tensor:
    parameters = made_trainer.model.named_parameters()
    return torch.cat([value.detach().flatten() for name, value in parameters if "lora" in name])


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        ("linear", [0, 1 / 2, 1, 3 / 4, 1 / 2, 1 / 4]),
        ("constant_with_warmup", [0, 1 / 2, 1, 1, 1, 1]),
        ("constant", [1] * 6),
    ],
)
def test_the_learning_rate_rises_and_falls_as_the_schedule_says(tmp_path, schedule, shares):
    rates = run(made(tmp_path, schedule=schedule), tmp_path)
    assert rates == pytest.approx([0.01 * share for share in shares])


def test_the_seed_decides_what_is_trained(tmp_path):
    trained = []
    for number, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(number)
        torch.manual_seed(5)  # the adapter begins alike
        one = made(folder, seed=seed, steps=3)
        run(one, folder)
        trained.append(weights(one))
    first, again, other = trained
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-5)


@pytest.mark.parametrize("name", CLASSES)
def test_what_is_sampled_serves_as_many_updates_as_it_should(tmp_path, name, monkeypatch):
    """One batch is sampled for every `updates_per_sample` steps."""
    kind = {"rloo": sampling.RLOOTrainer, "grpo": sampling.GRPOTrainer}[name]
    asked = []
    sample = kind._generate_single_turn

    def counting(self, prompt_ids, *rest, **options):
        asked.append(prompt_ids)
        return sample(self, prompt_ids, *rest, **options)

    monkeypatch.setattr(kind, "_generate_single_turn", counting)
    run(made(tmp_path, name, updates=3), tmp_path)
    assert len(asked) == 6 // 3
    for prompts in asked:
        rows = [tuple(row) for row in prompts]
        assert all(rows.count(row) % 4 == 0 for row in rows)  # samples_per_prompt


@pytest.mark.parametrize("name", CLASSES)
def test_completions_are_as_long_as_they_may_be(tmp_path, name):
    one = made(tmp_path, name)
    lengths = [len(row) for row in one._sample([[3, 4]] * 300)]
    assert max(lengths) == 5


@pytest.mark.parametrize("name", CLASSES)
def test_trl_would_sample_from_the_whole_distribution(tmp_path, name):
    """A trainer that samples by itself draws at temperature 1, and leaves no token out.

    The log-probabilities that enter the loss are divided by the same temperature.
    """
    one = made(tmp_path, name)
    told = one.generation_config
    assert told.do_sample
    assert (told.temperature, one.temperature) == (1.0, 1.0)
    assert told.top_p == 1.0
    assert not told.top_k
    assert told.max_new_tokens == 5
    assert not told.repetition_penalty or told.repetition_penalty == 1.0


def test_beta_is_the_price_of_a_nat(tmp_path):
    """RLOO pays `reward - beta * log(pi / pi_ref)`: with no reward, advantages are -beta * nats."""
    advantages = {}
    for beta in (0.5, 2.0):
        folder = tmp_path / str(beta)
        one = made(folder, beta=beta, steps=1)
        one.reward_funcs[0] = lambda prompts, **_: [0.0] * len(prompts)
        torch.manual_seed(2)
        for name, parameter in one.model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.4)
        torch.manual_seed(3)
        rows = [one.train_dataset[i // 4] for i in range(8)]
        out = one._generate_and_score_completions(rows)
        mask = out["completion_mask"]
        ids = torch.cat([out["prompt_ids"], out["completion_ids"]], 1)
        attention = torch.cat([out["prompt_mask"], mask], 1)
        nats = (log_probs(one.model, ids, attention, mask) * mask).sum(1)
        with one.model.disable_adapter():
            nats -= (log_probs(one.model, ids, attention, mask) * mask).sum(1)
        groups = nats.view(2, 4)
        others = (groups.sum(1, keepdim=True) - groups) / 3  # the mean of the other three
        torch.testing.assert_close(
            out["advantages"].view(2, 4), -beta * (groups - others), rtol=1e-3, atol=1e-4
        )
        advantages[beta] = out["advantages"]
    assert advantages[2.0].abs().max() > 0.1


@torch.no_grad()
def log_probs(model, ids, attention, completion_mask) -> torch.Tensor:
    """The log-probability of each token of the completions, from one plain forward."""
    positions = (attention.cumsum(-1) - 1).clamp(min=0)
    logits = model(input_ids=ids, attention_mask=attention, position_ids=positions).logits
    length = completion_mask.shape[1]
    before = logits[:, -length - 1 : -1].float().log_softmax(-1)
    return before.gather(-1, ids[:, -length:, None])[..., 0]
