"""Trainers that sample draw from the policy, score what they drew, and leave its weights alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from tests.dera.architectures import EOS, tiny
from tests.dera.enumeration import Space, p_value
from tests.dera.tokenizers import word_tokenizer
from training import objectives, sampling
from training.trainers_of_trl import sampling_trainer

CLASSES = {"rloo": (RLOOTrainer, RLOOConfig), "grpo": (GRPOTrainer, GRPOConfig)}
ROWS = [{"prompt": prompt} for prompt in ["w3 w4", "w5", "w6 w7 w8"] * 8]


def rewards(prompts, completions, ids, finished) -> list[float]:
    """A reward that differs between completions."""
    return [float(len(row)) for row in ids]


@pytest.fixture
def trainer_of(tmp_path):
    """Makes TRL's trainer of that name, with an adapter that has changed the model."""

    def make(name: str, max_new_tokens: int = 6):
        tokenizer = word_tokenizer()
        tokenizer.padding_side = "left"
        arguments = dict(
            output_dir=str(tmp_path),
            seed=0,
            per_device_train_batch_size=24,
            max_steps=2,
            learning_rate=0.01,
            use_cpu=True,
            bf16=False,
            report_to=[],
            save_strategy="no",
            logging_steps=1,
            gradient_checkpointing=False,
            disable_tqdm=True,
        )
        inputs = objectives.ObjectiveInputs(
            model=tiny("llama", 7),
            tokenizer=tokenizer,
            dataset=Dataset.from_list(ROWS),
            reward=rewards,
            beta=0.5,
            adapter=LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"),
            arguments=arguments,
            settings={"samples_per_prompt": 8, "updates_per_sample": 1},
            max_new_tokens=max_new_tokens,
            sharpness=1.0,
        )
        trainer = sampling_trainer(inputs, *CLASSES[name])
        torch.manual_seed(1)
        for parameter_name, parameter in trainer.model.named_parameters():
            if "lora_B" in parameter_name:
                torch.nn.init.normal_(parameter, std=0.4)
        return trainer

    return make


@pytest.mark.parametrize("name", CLASSES)
def test_samples_follow_the_policy_and_end_with_their_end_token(trainer_of, name):
    """A chi-square test at level 1e-4 over every completion of up to two tokens.

    A completion that did not end with its end-of-sequence token would be none of them.
    """
    trainer = trainer_of(name, max_new_tokens=2)
    with trainer.model.disable_adapter():
        reference = Space(trainer.model, trainer.model, [3, 4], 2, EOS).reference
    space = Space(trainer.model, trainer.model, [3, 4], 2, EOS)
    counts = np.zeros(len(space.sequences))
    torch.manual_seed(0)
    rows = trainer._generate([ROWS[0]["prompt"], ROWS[1]["prompt"]] * 8000)[1]
    for row in rows[::2]:
        counts[space.index[tuple(row)]] += 1
    assert p_value(counts, np.exp(space.reference)) > 1e-4
    assert p_value(counts, np.exp(reference)) < 1e-4  # the adapter is not forgotten


@pytest.mark.parametrize("name", CLASSES)
def test_trl_samples_with_this_loop_and_never_with_generate(trainer_of, name, monkeypatch):
    trainer = trainer_of(name)
    asked = []
    sample = sampling.sample_completions

    def counting(model, tokenizer, prompts, *rest, **options):
        asked.append(len(prompts))
        return sample(model, tokenizer, prompts, *rest, **options)

    def refuse(*_, **__):
        raise AssertionError("transformers' generate was called")

    monkeypatch.setattr(sampling, "sample_completions", counting)
    monkeypatch.setattr(trainer.model.get_base_model(), "generate", refuse)
    trainer.train()
    assert asked == [24, 24]


def test_the_scores_that_sampling_found_are_those_of_a_plain_forward(trainer_of):
    """The policy's scores are compared, and the KL estimate, which has the reference's too."""
    trainer = trainer_of("rloo")
    batch = trainer._generate_and_score_completions(ROWS)
    expected, of_reference = [], []
    for row in range(len(ROWS)):
        prompt = batch["prompt_ids"][row][batch["prompt_mask"][row].bool()]
        completion = batch["completion_ids"][row][batch["completion_mask"][row].bool()]
        expected.append(log_probs(trainer.model, prompt, completion))
        with trainer.model.disable_adapter():
            of_reference.append(log_probs(trainer.model, prompt, completion))
    assert len(set(batch["completion_mask"].sum(-1).tolist())) > 2
    np.testing.assert_allclose(batch["old_logps"].numpy(), expected, atol=1e-4)
    kl = (np.array(expected) - of_reference).sum() / batch["completion_mask"].sum().item()
    assert trainer._metrics["train"]["kl"] == [pytest.approx(kl, abs=1e-4)]
    assert abs(kl) > 0.01


@torch.no_grad()
def log_probs(model, prompt: torch.Tensor, completion: torch.Tensor) -> float:
    """The log-probability of one completion, without padding and without a cache."""
    ids = torch.cat([prompt, completion])[None]
    logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
    return logits.double().log_softmax(-1).gather(-1, completion[:, None]).sum().item()


def test_the_policy_is_not_scored_again_before_the_loss(trainer_of, monkeypatch):
    """Of TRL's three times in each step two are left: of the reference, and of the loss.

    The first batch is scored in two ways, to see whether completions can share a row.
    """
    trainer = trainer_of("rloo")
    scored = []
    record_calls(monkeypatch, sampling.RLOOTrainer, "_scored_apart", scored)
    record_calls(monkeypatch, sampling.SharedScorer, "score", scored)
    trainer.train()
    reference, loss = (False, True), (True, False)
    assert scored == [
        ("score", reference),
        ("_scored_apart", reference),
        ("score", loss),
        ("score", reference),
        ("score", loss),
    ]


def record_calls(monkeypatch, owner: type, way: str, scored: list) -> None:
    """Let a method note whether it is called with a gradient, and whose scores it returns."""
    score = getattr(owner, way)

    def recording(self, model, *rest, **options):
        scored.append((way, (torch.is_grad_enabled(), sampling.adapter_is_off(model))))
        return score(self, model, *rest, **options)

    monkeypatch.setattr(owner, way, recording)


def test_training_is_the_same_whether_or_not_completions_share_a_row(trainer_of):
    adapters = []
    for shares in (None, False):
        trainer = trainer_of("rloo")
        trainer._shared.works = shares
        trainer.train()
        assert trainer._shared.works is (shares is None)
        trained = {
            name: value.detach()
            for name, value in trainer.model.named_parameters()
            if "lora" in name
        }
        adapters.append(trained)
    for name, value in adapters[0].items():
        torch.testing.assert_close(value, adapters[1][name], atol=1e-4, rtol=0)


def test_the_batch_that_is_scored_in_both_ways_gets_the_bits_of_every_later_one(trainer_of):
    """A training that resumes looks at its first batch in both ways again."""
    trainer = trainer_of("rloo")
    batch = trainer._generate_and_score_completions(ROWS)
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    length = batch["completion_ids"].shape[1]
    scores = []
    for shares in (None, True):
        trainer._shared.works = shares
        with torch.no_grad(), trainer.model.disable_adapter():
            scored, _, _ = trainer._get_per_token_logps_and_entropies(
                trainer.model, ids, mask, length
            )
        scores.append(scored)
    assert torch.equal(*scores)


def test_a_model_with_a_sliding_window_never_shares_rows(trainer_of):
    trainer = trainer_of("rloo")
    trainer.model.get_base_model().config.sliding_window = 64
    trainer._generate_and_score_completions(ROWS)
    assert trainer._shared.works is None


@pytest.mark.parametrize("failure", ["other scores", "an error"])
def test_a_model_that_cannot_share_rows_is_scored_apart(trainer_of, monkeypatch, failure):
    """A model may make nothing of the mask and the positions, or refuse them."""
    trainer = trainer_of("rloo")
    model = trainer.model.get_base_model()
    forward = model.forward

    def as_if_rows_were_not_shared(*args, position_ids=None, attention_mask=None, **options):
        if attention_mask is not None and attention_mask.ndim == 4:
            if failure == "an error":
                raise ValueError("this model takes no mask of four dimensions")
            attention_mask = position_ids = None
        return forward(*args, position_ids=position_ids, attention_mask=attention_mask, **options)

    monkeypatch.setattr(model, "forward", as_if_rows_were_not_shared)
    batch = trainer._generate_and_score_completions(ROWS)
    assert trainer._shared.works is False
    assert batch["old_logps"].isfinite().all()


def test_training_changes_nothing_but_the_adapter(trainer_of):
    model = trainer_of("rloo").model
    trainer = trainer_of("rloo")
    trainer.train()
    after = dict(trainer.model.named_parameters())
    changed = [name for name, value in model.named_parameters() if (value != after[name]).any()]
    assert changed
    assert all("lora" in name for name in changed)


@pytest.mark.parametrize("failure", [False, True])
def test_the_weights_come_back_bit_for_bit_also_after_a_failure(trainer_of, failure):
    model = trainer_of("rloo").model
    ids = torch.tensor([[3, 4, 5]])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = model(input_ids=ids).logits
    try:
        with sampling.merged(model):
            now = model.state_dict()
            assert any((now[name] != value).any() for name, value in before.items())
            torch.testing.assert_close(model(input_ids=ids).logits, expected, atol=1e-4, rtol=1e-4)
            if failure:
                raise KeyError
    except KeyError:
        pass
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert torch.equal(model(input_ids=ids).logits, expected)


def test_in_half_precision_the_adapter_stays_apart_and_trl_scores_what_was_sampled(
    trainer_of, monkeypatch
):
    trainer = trainer_of("rloo")
    trainer.model.to(torch.bfloat16)

    def refuse(model):
        raise AssertionError("the adapter was merged")

    monkeypatch.setattr(sampling, "merged", refuse)
    assert len(trainer._generate_single_turn([[3, 4]] * 8, None, {})) == 8
    scored = []
    score = RLOOTrainer._get_per_token_logps_and_entropies

    def recording(self, model, *rest, **options):
        scored.append(sampling.adapter_is_off(model))
        return score(self, model, *rest, **options)

    monkeypatch.setattr(RLOOTrainer, "_get_per_token_logps_and_entropies", recording)
    trainer._generate_and_score_completions(ROWS)
    assert scored == [False, True]
