"""Each objective's loss is the one that its module describes, at the strength that it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from scipy import special

from study.modules import ModuleError
from tests.dera.architectures import tiny
from training import objectives
from training.tokenizer import train_tokenizer

PAIRS = {
    "prompt": [
        "A cat sat.\nSummary:",
        "A dog.\nSummary:",
        "A cow ran here.\nSummary:",
        "A hen.\nSummary:",
    ],
    "chosen": [" A cat.", " A dog sat here.", " A cow.", " A hen ran."],
    "rejected": [" A cat sat here.", " A dog.", " A cow ran here and sat.", " A."],
}
BETA = 0.4
SHARPNESS = 3.0


@pytest.fixture(scope="module")
def tokenizer():
    rows = {"prompt": PAIRS["prompt"], "completion": PAIRS["chosen"]}
    result = train_tokenizer(Dataset.from_dict(rows), vocab_size=300)
    result.padding_side = "left"
    return result


@pytest.fixture
def inputs(tokenizer, tmp_path):
    """Makes what an objective is given: a random model, and an adapter that changes nothing yet."""

    def make(rows: dict[str, list[str]], **changes) -> objectives.ObjectiveInputs:
        model = tiny("llama", 0)
        model.resize_token_embeddings(len(tokenizer))
        model.config.eos_token_id = tokenizer.eos_token_id
        model.config.pad_token_id = tokenizer.pad_token_id
        arguments = dict(
            output_dir=str(tmp_path),
            seed=0,
            per_device_train_batch_size=8,
            max_steps=1,
            use_cpu=True,
            bf16=False,
            report_to=[],
            gradient_checkpointing=False,
            disable_tqdm=True,
        )
        lora = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
        given = dict(
            model=model,
            tokenizer=tokenizer,
            dataset=Dataset.from_dict(rows),
            reward=lambda prompts, completions, ids, finished: [0.0] * len(prompts),
            beta=BETA,
            adapter=lora,
            arguments=arguments,
            settings={"samples_per_prompt": 4, "updates_per_sample": 1},
            max_new_tokens=6,
            sharpness=SHARPNESS,
        )
        return objectives.ObjectiveInputs(**given | changes)

    return make


@pytest.fixture
def trainer_of(inputs):
    """Makes an objective's trainer on the pairs, with an adapter that changes the model."""

    def make(name: str):
        return changed(objectives.load(name).make_trainer(inputs(PAIRS)))

    return make


def changed(trainer):
    """The trainer, whose adapter changes the model."""
    torch.manual_seed(1)
    for name, parameter in trainer.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return trainer


@torch.no_grad()
def log_ratios(
    trainer, ids: torch.Tensor, attention: torch.Tensor, completion: torch.Tensor
) -> np.ndarray:
    """log(pi / pi_ref) of each completion, from two plain forwards."""

    def log_prob() -> torch.Tensor:
        logits = trainer.model(input_ids=ids, attention_mask=attention).logits
        log_probs = logits.double().log_softmax(-1)
        tokens = log_probs[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]
        return (tokens * completion[:, 1:]).sum(-1)

    policy = log_prob()
    with trainer.model.disable_adapter():
        return (policy - log_prob()).numpy()


def loss_of(trainer, batch) -> float:
    """The loss that the trainer computes."""
    return trainer.compute_loss(trainer.model, dict(batch)).item()


def pair_losses(name: str, h: np.ndarray, tokens: np.ndarray) -> float:
    """The loss by hand, from the log-ratios of the chosen completions and then of the rejected."""
    good, bad = np.split(h, 2)
    scale = SHARPNESS * BETA
    if name == "dpo":
        return -np.log(special.expit(scale * (good - bad))).mean()
    if name == "slic":
        return np.maximum(0, 1 - scale * (good - bad)).mean()
    good, bad = np.split(h / tokens, 2)
    tau = scale * tokens.mean() / 4
    return ((good - bad - 1 / (2 * tau)) ** 2).mean()


@pytest.mark.parametrize("name", ["dpo", "slic", "ipo"])
def test_the_loss_of_a_pair_is_the_one_described(trainer_of, name):
    trainer = trainer_of(name)
    batch = next(iter(trainer.get_train_dataloader()))
    completion = batch["completion_mask"]
    h = log_ratios(trainer, batch["input_ids"], batch["attention_mask"], completion)
    assert np.abs(h).min() > 1e-3
    expected = pair_losses(name, h, completion.sum(-1).numpy())
    assert loss_of(trainer, batch) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["dpo", "slic", "ipo"])
def test_log_probabilities_under_the_reference_are_used_where_the_pairs_have_them(inputs, name):
    """The reference then reads nothing, and numbers that are wrong on purpose change the loss."""
    wrong = [1.0, -2.0, 0.5, 3.0]
    trainer = objectives.load(name).make_trainer(
        inputs(PAIRS | {"ref_chosen_logps": wrong, "ref_rejected_logps": wrong[::-1]})
    )
    batch = next(iter(trainer.get_train_dataloader()))
    completion = batch["completion_mask"]
    with torch.no_grad():
        logits = trainer.model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    log_probs = logits.double().log_softmax(-1)[:, :-1]
    tokens = log_probs.gather(-1, batch["input_ids"][:, 1:, None])[..., 0]
    policy = (tokens * completion[:, 1:]).sum(-1).numpy()
    reference = torch.cat([batch["ref_chosen_logps"], batch["ref_rejected_logps"]]).numpy()
    assert sorted(reference.tolist()) == sorted(2 * wrong)
    expected = pair_losses(name, policy - reference, completion.sum(-1).numpy())
    assert loss_of(trainer, batch) == pytest.approx(expected, rel=1e-4)


@pytest.fixture
def with_log_probs(inputs):
    """Makes a DPO trainer on pairs whose log-probabilities under the reference are known."""

    def make():
        known = {"ref_chosen_logps": [-20.0] * 4, "ref_rejected_logps": [-21.0] * 4}
        return changed(objectives.load("dpo").make_trainer(inputs(PAIRS | known)))

    return make


def test_a_pair_in_one_row_has_the_loss_the_gradient_and_the_log_of_two_rows(with_log_probs):
    results = []
    for works in (None, True, False):  # False: TRL scores in its own way
        trainer = with_log_probs()
        trainer._shared.works = works
        batch = next(iter(trainer.get_train_dataloader()))
        loss = trainer.compute_loss(trainer.model, dict(batch))
        loss.backward()
        assert trainer._shared.works is (works is not False)
        gradients = {
            name: parameter.grad
            for name, parameter in trainer.model.named_parameters()
            if parameter.grad is not None
        }
        results.append((loss.item(), gradients, trainer._metrics["train"]))
    loss, gradients, metrics = results[-1]
    assert len(gradients) > 8
    for other_loss, other_gradients, other_metrics in results[:-1]:
        assert other_loss == pytest.approx(loss, rel=1e-5)
        for name, gradient in gradients.items():
            difference = other_gradients[name] - gradient
            assert difference.norm() < 1e-4 * gradient.norm() + 1e-6, name
        assert other_metrics.keys() == metrics.keys()
        for name, values in metrics.items():
            assert other_metrics[name] == pytest.approx(values, rel=1e-4), name


def test_the_prompt_of_a_pair_is_read_once(with_log_probs, monkeypatch):
    trainer = with_log_probs()
    model = trainer.model.get_base_model()
    forward, tokens = model.forward, []

    def counting(*args, input_ids, **options):
        tokens.append(input_ids.shape)
        return forward(*args, input_ids=input_ids, **options)

    monkeypatch.setattr(model, "forward", counting)
    batch = next(iter(trainer.get_train_dataloader()))
    for _ in range(2):
        trainer.compute_loss(trainer.model, dict(batch))
    pairs = len(PAIRS["prompt"])
    assert [rows for rows, _ in tokens] == [pairs, 2 * pairs, pairs]  # the first batch in both ways
    assert tokens[0] == tokens[2]


@pytest.mark.parametrize("failure", ["other scores", "an error", "a sliding window"])
def test_pairs_stay_apart_where_the_model_cannot_share_rows(with_log_probs, monkeypatch, failure):
    trainer = with_log_probs()
    batch = next(iter(trainer.get_train_dataloader()))
    trainer._shared.works = False
    expected = loss_of(trainer, batch)
    trainer._shared.works = None

    model = trainer.model.get_base_model()
    forward = model.forward

    def as_if_rows_were_not_shared(*args, position_ids=None, attention_mask=None, **options):
        if attention_mask is not None and attention_mask.ndim == 4:
            assert failure != "a sliding window"
            if failure == "an error":
                raise ValueError("this model takes no mask of four dimensions")
            attention_mask = position_ids = None
        return forward(*args, position_ids=position_ids, attention_mask=attention_mask, **options)

    monkeypatch.setattr(model, "forward", as_if_rows_were_not_shared)
    if failure == "a sliding window":
        model.config.sliding_window = 64
    assert [loss_of(trainer, batch) for _ in range(2)] == pytest.approx([expected] * 2, rel=1e-5)


def test_in_half_precision_the_reference_reads_the_pairs_itself(inputs):
    given = inputs(PAIRS | {"ref_chosen_logps": [1.0] * 4, "ref_rejected_logps": [2.0] * 4})
    given.arguments["bf16"] = True
    trainer = objectives.load("dpo").make_trainer(given)
    assert not trainer.precompute_ref_logps


def test_batches_of_kto_have_desirable_and_undesirable_completions(inputs):
    many = {name: column * 100 for name, column in PAIRS.items()}
    trainer = objectives.load("kto").make_trainer(inputs(many))
    shares = []
    for batch in trainer.get_train_dataloader():
        shares.append(np.mean([bool(label) for label in batch["label"]]))
    assert len(shares) == 100
    mixed = [0 < share < 1 for share in shares]
    assert np.mean(mixed) > 0.9  # of eight coin flips all are alike 1 time in 128


def test_kto_takes_the_pairs_apart_and_its_loss_is_the_one_described(trainer_of):
    trainer = trainer_of("kto")
    batch = next(iter(trainer.get_train_dataloader()))
    desirable = np.array([bool(label) for label in batch["label"]])
    assert desirable.sum() == len(PAIRS["prompt"]) == (~desirable).sum()
    h = log_ratios(trainer, batch["input_ids"], batch["attention_mask"], batch["completion_mask"])
    mismatched = log_ratios(
        trainer, batch["KL_input_ids"], batch["KL_attention_mask"], batch["KL_completion_mask"]
    )
    z = max(mismatched.mean(), 0)
    advantage = np.where(desirable, h - z, z - h)
    expected = (1 - special.expit(SHARPNESS * BETA * advantage)).mean()
    assert loss_of(trainer, batch) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["rloo", "grpo"])
def test_objectives_that_sample_train_on_the_given_reward(inputs, name):
    """The reward is for short completions, whose token ids come without the end token."""
    seen = []

    def reward(prompts, completions, ids, finished):
        seen.extend(ids)
        return [-float(len(row)) for row in ids]

    given = inputs({"prompt": PAIRS["prompt"]}, reward=reward, beta=0.01)
    given.arguments.update(
        max_steps=15,
        learning_rate=0.04,
        lr_scheduler_type="constant",
        logging_steps=1,
        save_strategy="no",
    )
    objectives.load(name).make_trainer(given).train()
    eos = given.tokenizer.eos_token_id
    assert all(eos not in ids for ids in seen)
    lengths = [len(ids) for ids in seen]
    assert np.mean(lengths[-40:]) < np.mean(lengths[:16]) - 1


def test_a_missing_or_broken_objective_is_an_error_that_names_its_file(tmp_path):
    path = tmp_path / "mine.py"
    with pytest.raises(ModuleError, match=r"there is no file .*mine\.py"):
        objectives.load(str(path))
    path.write_text("import nowhere\n")
    message = r"mine\.py cannot be imported: ModuleNotFoundError: No module named 'nowhere'"
    with pytest.raises(ModuleError, match=message):
        objectives.load(str(path))
    path.write_text("DATA = 'prompts'\n")
    with pytest.raises(ModuleError, match=r"mine\.py must define a function make_trainer"):
        objectives.load(str(path))
