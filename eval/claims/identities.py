"""The two identities that DeRa rests on. They are mathematics: if one fails, the code is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, PreTrainedModel

from dera import chat
from dera.decoding import sample_completions
from dera.mixing import mix_logits
from dera.model.adapters import is_adapter
from dera.model.realigned import RealignedModel
from eval.claims import FAILED, REPRODUCED, Claim, Evidence

# the space that is enumerated, and what is checked on it
VOCABULARY = 3
LENGTH = 4
BETAS = (0.25, 1.0, 4.0)
LAMS = (-1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 4.0, 8.0)
MAX_ERROR = 1e-5  # the library mixes logits in float32

# what is checked on a task's own models, whose logits are mixed in float32
CHECKED_LAMS = (0.0, 0.5, 1.0, 2.0)
PROMPTS = 4
MAX_NEW_TOKENS = 16
MAX_MIXED_ERROR = 1e-5


def decide(evidence: Evidence) -> list[Claim]:
    """Return the claim of the per-token identity, checked on the task's own models."""
    claim = Claim(
        id=f"{evidence.task}-per-token-identity",
        part="premise",
        about="exact",
        answers=("identity",),
        task=evidence.task,
        claim="Mixing logits is the per-token geometric mixture, normalised.",
        source="paper, Proposition 2",
        criterion=(
            "On the task's reference and the aligned model at its anchor, the largest difference "
            f"in probability is at most {MAX_MIXED_ERROR:g}. Weights are in float64 and logits are "
            "mixed in float32."
        ),
        must_hold=True,
    )
    errors = []
    tokens = 0
    merged_or_not = (False, True) if is_adapter(evidence.checked_adapter) else (False,)
    for merged in merged_or_not:
        error, count = per_token_identity_error(evidence, CHECKED_LAMS, merged)
        errors.append(error)
        tokens += count
    largest = max(errors)
    return [
        claim.decided(
            REPRODUCED if largest <= MAX_MIXED_ERROR else FAILED,
            f"The largest difference in probability is {largest:.0e}.",
            {"largest difference": largest, "tokens": tokens, "lams": CHECKED_LAMS},
            brief=f"largest error {largest:.0e}",
        )
    ]


def exact(seed: int) -> Claim:
    """Return the claim of the exact identity on an enumerated space, which belongs to no task."""
    claim = Claim(
        id="exact-identity",
        part="premise",
        about="exact",
        answers=("identity",),
        claim=(
            "The optimum at beta/lam is the geometric mixture of the reference and the optimum at "
            "beta."
        ),
        source="paper, Proposition 1",
        criterion=(
            "Over every sequence of an enumerated space, the library's mixture of the "
            "reference and the optimum at beta differs from the optimum at beta/lam by at most "
            f"{MAX_ERROR:g} in probability."
        ),
        must_hold=True,
    )
    rng = np.random.default_rng(seed)
    pairs = itertools.product(BETAS, LAMS)
    largest = max(enumerated_identity_error(rng, beta, lam) for beta, lam in pairs)
    return claim.decided(
        REPRODUCED if largest <= MAX_ERROR else FAILED,
        f"The largest difference in probability is {largest:.0e}.",
        {
            "largest difference": largest,
            "sequences": VOCABULARY**LENGTH,
            "betas": BETAS,
            "lams": LAMS,
        },
        brief=f"largest error {largest:.0e}",
    )


def enumerated_identity_error(rng: np.random.Generator, beta: float, lam: float) -> float:
    """Return the largest difference between the optimum at beta / lam and the geometric mixture.

    All sequences of a random model are compared, in float64. The optimum is computed from the
    reference and the reward alone. The mixture is what `dera.mixing.mix_logits` makes of the
    log-probabilities of whole sequences under the two models, one "token" for each sequence.
    """
    # a random reference: a distribution of the next token after each prefix
    sequences = list(itertools.product(range(VOCABULARY), repeat=LENGTH))
    next_token = {}
    for length in range(LENGTH):
        for prefix in itertools.product(range(VOCABULARY), repeat=length):
            next_token[prefix] = rng.dirichlet(np.ones(VOCABULARY))
    reference = np.array([_probability(next_token, sequence) for sequence in sequences])

    # a random reward, the aligned model that is its optimum at beta, and both ways to beta / lam
    reward = rng.uniform(-1, 1, len(sequences))
    aligned = reference * np.exp(reward / beta)
    aligned /= aligned.sum()
    optimum = reference * np.exp(reward * lam / beta)
    mixture = _mixed(reference, aligned, lam)
    return float(np.abs(optimum / optimum.sum() - mixture).max())


def _mixed(reference: np.ndarray, aligned: np.ndarray, lam: float) -> np.ndarray:
    """Return the library's mixture of two distributions, as probabilities in float64."""
    logits = [torch.from_numpy(np.log(model))[None] for model in (reference, aligned)]
    weights = torch.tensor([[lam]], dtype=torch.double)
    return mix_logits(logits[0], logits[1:], weights)[0].double().softmax(-1).numpy()


def _probability(next_token: dict[tuple, np.ndarray], sequence: tuple[int, ...]) -> float:
    factors = [next_token[sequence[:t]][token] for t, token in enumerate(sequence)]
    return np.prod(factors)


@dataclass(frozen=True)
class _Reading:
    """What the realigned model wrote at one lam, and what it says of the next token everywhere.

    `inputs` are the arguments of a model's call. `probabilities` has shape (tokens, vocabulary),
    where a token is one that is not padding.
    """

    lam: float
    inputs: dict[str, torch.Tensor]
    probabilities: torch.Tensor


def per_token_identity_error(
    evidence: Evidence, lams: Sequence[float], merged: bool
) -> tuple[float, int]:
    """Return the largest difference between the realigned model and the mixture of its parts.

    The probabilities of the parts come from separate runs of each model and are mixed in float64,
    as probabilities. With `merged` an adapter is merged into a second copy of the base. The study
    itself decodes in one of these two ways. Weights are in float64, because merging rounds them,
    and rounding of weights is no question of mixing. Not more than two models are in memory at
    once, and each is loaded once.

    Returns:
        The largest difference in probability, and the number of tokens that were compared.
    """
    readings = _of_realigned(evidence, lams, merged)
    of_parts = _apart(evidence, [reading.inputs for reading in readings])

    # Mix the probabilities of the parts, and compare the mixtures with what was read.
    largest = 0.0
    for reading, (reference, aligned) in zip(readings, of_parts, strict=True):
        mixture = reference ** (1 - reading.lam) * aligned**reading.lam
        mixture /= mixture.sum(-1, keepdim=True)
        largest = max(largest, float((reading.probabilities - mixture).abs().max()))
    return largest, sum(len(reading.probabilities) for reading in readings)


def _of_realigned(evidence: Evidence, lams: Sequence[float], merged: bool) -> list[_Reading]:
    """Let the realigned model write completions at each lam, and read them."""
    model = RealignedModel.from_pretrained(
        evidence.reference, evidence.checked_adapter, merge_adapter=merged, dtype=torch.float64
    )
    tokenizer = chat.prompt_tokenizer(evidence.reference)
    prompts = evidence.prompts[:PROMPTS]
    readings = []
    for lam in lams:
        torch.manual_seed(evidence.seed)
        drawn = sample_completions(model, tokenizer, prompts, MAX_NEW_TOKENS, lam=lam)
        inputs = {"input_ids": drawn.input_ids, "attention_mask": drawn.attention_mask}
        readings.append(_Reading(lam, inputs, _probabilities(model, inputs, lam=lam)))
    return readings


def _apart(
    evidence: Evidence, all_inputs: Sequence[dict[str, torch.Tensor]]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the probabilities of the reference and of the aligned model, each run alone.

    They are for each of the inputs, in their order, and of the shape of those in a `_Reading`. The
    realigned model counts positions itself, and here they are counted for it to be checked.
    """
    placed = []
    for inputs in all_inputs:
        positions = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        placed.append({**inputs, "position_ids": positions})
    model = _load(evidence.reference)
    of_reference = [_probabilities(model, inputs) for inputs in placed]
    if is_adapter(evidence.checked_adapter):
        model = PeftModel.from_pretrained(model, evidence.checked_adapter)
    else:
        del model
        model = _load(evidence.checked_adapter)
    of_aligned = [_probabilities(model, inputs) for inputs in placed]
    return list(zip(of_reference, of_aligned, strict=True))


@torch.no_grad()
def _probabilities(model: Any, inputs: dict[str, torch.Tensor], **arguments: Any) -> torch.Tensor:
    """Return a model's probabilities of the next token at every token that is not padding."""
    logits = model(**inputs, **arguments).logits
    return logits[inputs["attention_mask"].bool()].double().softmax(-1)


def _load(folder: Path) -> PreTrainedModel:
    """Load a whole model in float64."""
    return AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, dtype=torch.float64)
