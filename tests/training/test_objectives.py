"""Each objective's loss is the one its module describes, at the strength it says; and what the modules say of their optima is true."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from scipy import optimize, special

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
BETA, SHARPNESS = 0.4, 3.0


def inputs(folder, rows: Dataset, **changes) -> objectives.ObjectiveInputs:
    """What an objective gets, with a random model and an adapter that is still nothing."""
    tokenizer = train_tokenizer(
        Dataset.from_dict({"prompt": PAIRS["prompt"], "completion": PAIRS["chosen"]}),
        vocab_size=300,
    )
    tokenizer.padding_side = "left"
    model = tiny("llama", 0)
    model.resize_token_embeddings(len(tokenizer))
    model.config.eos_token_id, model.config.pad_token_id = (
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    )
    arguments = dict(
        output_dir=str(folder), seed=0, per_device_train_batch_size=8, max_steps=1, use_cpu=True, bf16=False, report_to=[],
        gradient_checkpointing=False, disable_tqdm=True,
    )  # fmt: skip
    given = dict(
        model=model,
        tokenizer=tokenizer,
        dataset=rows,
        reward=lambda prompts, completions, ids, finished: [0.0] * len(prompts),
        beta=BETA,
        adapter=LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"),
        arguments=arguments,
        settings={"samples_per_prompt": 4, "updates_per_sample": 1},
        max_new_tokens=6,
        sharpness=SHARPNESS,
    )
    return objectives.ObjectiveInputs(**given | changes)


@pytest.fixture
def trained(tmp_path):
    """An objective's trainer on the pairs, its adapter moved away from nothing."""

    def make(name: str):
        trainer = objectives.load(name).make_trainer(inputs(tmp_path, Dataset.from_dict(PAIRS)))
        torch.manual_seed(1)
        for parameter_name, parameter in trainer.model.named_parameters():
            if "lora_B" in parameter_name:
                torch.nn.init.normal_(parameter, std=0.2)
        return trainer

    return make


@torch.no_grad()
def log_ratios(
    trainer, ids: torch.Tensor, attention: torch.Tensor, completion: torch.Tensor
) -> np.ndarray:
    """log(pi / pi_ref) of each completion, from two plain forwards."""

    def log_prob() -> torch.Tensor:
        logits = (
            trainer.model(input_ids=ids, attention_mask=attention).logits.double().log_softmax(-1)
        )
        tokens = logits[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]
        return (tokens * completion[:, 1:]).sum(-1)

    policy = log_prob()
    with trainer.model.disable_adapter():
        return (policy - log_prob()).numpy()


def found_loss(trainer, batch) -> float:
    return trainer.compute_loss(trainer.model, dict(batch)).item()


def pair_losses(name: str, h: np.ndarray, tokens: np.ndarray) -> float:
    """By hand, from log-ratios of the chosen and then the rejected."""
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
def test_the_losses_of_pairs_are_as_described(trained, name):
    trainer = trained(name)
    batch = next(iter(trainer.get_train_dataloader()))
    completion = batch["completion_mask"]
    h = log_ratios(trainer, batch["input_ids"], batch["attention_mask"], completion)
    assert np.abs(h).min() > 1e-3
    assert found_loss(trainer, batch) == pytest.approx(
        pair_losses(name, h, completion.sum(-1).numpy()), rel=1e-4
    )


def test_batches_of_kto_have_both_kinds(tmp_path):
    many = Dataset.from_dict({name: column * 100 for name, column in PAIRS.items()})
    trainer = objectives.load("kto").make_trainer(inputs(tmp_path, many))
    shares = [
        np.mean([bool(one) for one in batch["label"]]) for batch in trainer.get_train_dataloader()
    ]
    assert len(shares) == 100
    assert (
        np.mean([0 < share < 1 for share in shares]) > 0.9
    )  # of eight coin flips all are alike 1 time in 128


def test_kto_takes_the_pairs_apart_and_its_loss_is_as_described(trained):
    trainer = trained("kto")
    batch = next(iter(trainer.get_train_dataloader()))
    desirable = np.array([bool(one) for one in batch["label"]])
    assert desirable.sum() == len(PAIRS["prompt"]) == (~desirable).sum()
    h = log_ratios(trainer, batch["input_ids"], batch["attention_mask"], batch["completion_mask"])
    mismatched = log_ratios(
        trainer, batch["KL_input_ids"], batch["KL_attention_mask"], batch["KL_completion_mask"]
    )
    z, scale = max(mismatched.mean(), 0), SHARPNESS * BETA
    wanted = np.where(
        desirable, 1 - special.expit(scale * (h - z)), 1 - special.expit(scale * (z - h))
    ).mean()
    assert found_loss(trainer, batch) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("name", ["rloo", "grpo"])
def test_objectives_that_sample_train_on_the_given_reward(tmp_path, name):
    """A reward for short completions, by token ids without the end: what is asked for, and that steps follow it."""
    seen = []

    def reward(prompts, completions, ids, finished):
        seen.extend(ids)
        return [-float(len(row)) for row in ids]

    given = inputs(
        tmp_path, Dataset.from_dict({"prompt": PAIRS["prompt"]}), reward=reward, beta=0.01
    )
    given.arguments.update(
        max_steps=30,
        learning_rate=0.02,
        lr_scheduler_type="constant",
        logging_steps=1,
        save_strategy="no",
    )
    trainer = objectives.load(name).make_trainer(given)
    trainer.train()
    eos = given.tokenizer.eos_token_id
    assert all(eos not in ids for ids in seen)
    lengths = [len(ids) for ids in seen]
    assert np.mean(lengths[-40:]) < np.mean(lengths[:16]) - 1


# What the modules' docstrings say of the optima, by minimising the losses over all policies of a few completions, in float64.

REFERENCE = np.array([0.4, 0.3, 0.2, 0.1])
UTILITY = np.array([0.0, 1.0, -0.5, 2.0])
TOKENS = np.array([3.0, 5.0, 2.0, 8.0])
PREFERRED = special.expit(UTILITY[:, None] - UTILITY[None, :])
PAIR = REFERENCE[:, None] * REFERENCE[None, :]


def best(loss) -> np.ndarray:
    """log(pi / pi_ref) of the policy that minimises the loss."""

    def of(logits):
        return special.log_softmax(logits) - np.log(REFERENCE)

    start = np.log(REFERENCE)
    found = optimize.minimize(
        lambda logits: loss(of(logits)),
        start,
        method="BFGS",
        options={"gtol": 1e-10, "maxiter": 10_000},
    )
    return of(found.x)


def expected(of_difference, score) -> float:
    """The expected loss of pairs drawn from the reference and labelled with the probabilities PREFERRED."""
    return float((PAIR * PREFERRED * of_difference(score[:, None] - score[None, :])).sum())


def mixed(h: np.ndarray, lam: float) -> np.ndarray:
    """Proposition 1: log(pi / pi_ref) of the geometric mixture."""
    return lam * h - special.logsumexp(lam * h, b=REFERENCE)


def logistic(b):
    return lambda h: expected(lambda d: -np.log(special.expit(b * d)), h)


def squared(tau):
    return lambda h: expected(lambda d: (d - 1 / (2 * tau)) ** 2, h)


def smooth_hinge(
    b,
):  # the hinge has corners that a gradient method does not like; any function of b * d has the property
    return lambda h: expected(lambda d: np.logaddexp(0, 8 * (1 - b * d)) / 8, h)


@pytest.mark.parametrize("family", [logistic, squared, smooth_hinge])
def test_losses_of_differences_have_optima_that_are_geometric_mixtures_of_one_another(family):
    anchor, retrained = best(family(0.5)), best(family(1.0))
    np.testing.assert_allclose(mixed(anchor, 0.5), retrained, atol=1e-4)


def test_ipo_of_trl_is_not_such_a_loss_and_its_optimum_is_the_one_described():
    def of_tau(tau):
        return lambda h: expected(lambda d: (d - 1 / (2 * tau)) ** 2, h / TOKENS)

    tau = 2.0
    preference = (PREFERRED * REFERENCE[None, :]).sum(1)
    c = optimize.brentq(
        lambda c: special.logsumexp(TOKENS * (preference + c) / tau, b=REFERENCE), -5, 5
    )
    np.testing.assert_allclose(best(of_tau(tau)), TOKENS * (preference + c) / tau, atol=1e-4)
    difference = mixed(best(of_tau(tau)), 0.5) - best(of_tau(2 * tau))
    assert np.abs(difference).max() > 0.01


def test_ipo_means_rloos_beta_where_the_labeller_hardly_prefers_either():
    """With all completions of one length, tau = sharpness * beta * tokens / 4 gives exp(r / beta), to first order in the reward."""
    sharpness, beta, tokens, reward = 0.01, 1.5, 7.0, UTILITY
    labels = special.expit(sharpness * (reward[:, None] - reward[None, :]))
    tau = sharpness * beta * tokens / 4

    def loss(h):
        d = (h[:, None] - h[None, :]) / tokens
        return float((PAIR * labels * (d - 1 / (2 * tau)) ** 2).sum()) * tau**2

    np.testing.assert_allclose(best(loss), mixed(reward / beta, 1.0), atol=0.01)


@pytest.mark.parametrize("z", [0.0, 0.7])
def test_kto_pushes_out_what_is_rejected_more_often_than_not_at_every_beta(z):
    """Two completions, one desirable 7 times in 10 and one 3 times in 10; z is held, as no gradient goes through it."""
    reference, desirable = np.array([0.6, 0.4]), np.array([0.7, 0.3])
    for b in (0.25, 1.0, 4.0):
        losses = []
        for log_share in np.linspace(-1, -20, 30):
            share = np.exp(log_share)
            t = b * (np.log(np.array([1 - share, share]) / reference) - z)
            losses.append(
                (
                    reference * (desirable * special.expit(-t) + (1 - desirable) * special.expit(t))
                ).sum()
            )
        assert (np.diff(losses) < 0).all()


def test_an_objective_that_is_missing_or_broken_is_named(tmp_path):
    path = tmp_path / "mine.py"
    with pytest.raises(ModuleError, match=r"there is no file .*mine\.py"):
        objectives.load(str(path))
    path.write_text("import nowhere\n")
    with pytest.raises(
        ModuleError,
        match=r"mine\.py cannot be imported: ModuleNotFoundError: No module named 'nowhere'",
    ):
        objectives.load(str(path))
    path.write_text("DATA = 'prompts'\n")
    with pytest.raises(ModuleError, match=r"mine\.py must define a function make_trainer"):
        objectives.load(str(path))
