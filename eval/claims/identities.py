"""The two identities that DeRa rests on. They are mathematics: if one fails, the code is wrong."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from dera.decoding import sample_completions
from dera.model.realigned import RealignedModel
from eval.claims import FAILED, REPRODUCED, Claim, Evidence, of_task

VOCABULARY, LENGTH = 3, 4
LAMS = (-1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 4.0, 8.0)
CHECKED_LAMS = (0.0, 0.5, 1.0, 2.0)
BETAS = (0.25, 1.0, 4.0)
EXACT_TOLERANCE = 1e-12
MIXED_TOLERANCE = 1e-5  # logits are mixed in float32


def enumerated_identity_error(rng: np.random.Generator, beta: float, lam: float) -> float:
    """Largest difference between the optimum at beta / lam and the geometric mixture, over all sequences of a random model.

    The optimum is computed from the reference and the reward alone, the mixture from the two models alone, in float64.
    """
    sequences = list(itertools.product(range(VOCABULARY), repeat=LENGTH))
    tables = {
        prefix: rng.dirichlet(np.ones(VOCABULARY))
        for length in range(LENGTH)
        for prefix in itertools.product(range(VOCABULARY), repeat=length)
    }
    reference = np.array([np.prod([tables[s[:t]][s[t]] for t in range(LENGTH)]) for s in sequences])
    reward = rng.uniform(-1, 1, len(sequences))
    aligned = reference * np.exp(reward / beta)
    aligned /= aligned.sum()
    optimum = reference * np.exp(reward * lam / beta)
    mixture = reference ** (1 - lam) * aligned**lam
    return float(np.abs(optimum / optimum.sum() - mixture / mixture.sum()).max())


def per_token_identity_error(evidence: Evidence, lam: float, merged: bool) -> tuple[float, int]:
    """Largest difference in probability between the realigned model and the mixture of its parts, and how many tokens.

    The parts' probabilities come from separate runs of each model and are mixed in float64, as probabilities. `merged` is how
    the study itself decodes: the adapter merged into a second copy of the base. Weights are in float64, because merging rounds
    them, and that is no question of mixing.
    """
    model = RealignedModel.from_pretrained(
        evidence.reference, evidence.anchor, merge_adapter=merged, dtype=torch.float64
    )
    tokenizer = AutoTokenizer.from_pretrained(evidence.reference)
    torch.manual_seed(evidence.seed)
    drawn = sample_completions(model, tokenizer, evidence.prompts[:16], 16, lam=lam)
    inputs = {"input_ids": drawn.input_ids, "attention_mask": drawn.attention_mask}
    positions = (drawn.attention_mask.cumsum(-1) - 1).clamp(min=0)
    apart = AutoModelForCausalLM.from_pretrained(
        evidence.reference, use_safetensors=True, dtype=torch.float64
    )
    with torch.no_grad():
        ours = model(**inputs, lam=lam).logits.double().softmax(-1)
        reference = apart(**inputs, position_ids=positions).logits.double().softmax(-1)
        adapted = PeftModel.from_pretrained(apart, evidence.anchor)
        aligned = adapted(**inputs, position_ids=positions).logits.double().softmax(-1)
    mixture = reference ** (1 - lam) * aligned**lam
    mixture /= mixture.sum(-1, keepdim=True)
    real = inputs["attention_mask"].bool()
    return float((ours - mixture)[real].abs().max()), int(real.sum())


def exact(seed: int) -> Claim:
    """The exact identity on an enumerated space; of no task."""
    rng = np.random.default_rng(seed)
    largest = max(enumerated_identity_error(rng, beta, lam) for beta in BETAS for lam in LAMS)
    return Claim(
        id="exact-identity",
        about="exact",
        claim="The optimum at beta/lam is the geometric mixture of the reference and the optimum at beta.",
        source="paper, Proposition 1",
        criterion=f"largest difference in probability at most {EXACT_TOLERANCE:g}, over every sequence of an enumerated space, in float64",
        verdict=REPRODUCED if largest <= EXACT_TOLERANCE else FAILED,
        headline=f"largest difference in probability {largest:.0e}",
        evidence={
            "largest difference": largest,
            "sequences": VOCABULARY**LENGTH,
            "betas": BETAS,
            "lams": LAMS,
        },
        must_hold=True,
    )


def decide(evidence: Evidence) -> list[Claim]:
    """The per-token identity on the task's own models."""
    checked = {
        (lam, merged): per_token_identity_error(evidence, lam, merged)
        for lam in CHECKED_LAMS
        for merged in (False, True)
    }
    largest = max(error for error, _ in checked.values())
    return [
        Claim(
            id=of_task(evidence, "per-token-identity"),
            about="exact",
            task=evidence.task,
            claim="Mixing logits is the per-token geometric mixture, normalised.",
            source="paper, Proposition 2",
            criterion=f"largest difference in probability at most {MIXED_TOLERANCE:g} on the task's reference and anchor (weights in float64, mixed in float32)",
            verdict=REPRODUCED if largest <= MIXED_TOLERANCE else FAILED,
            headline=f"largest difference in probability {largest:.0e}",
            evidence={
                "largest difference": largest,
                "tokens": sum(count for _, count in checked.values()),
                "lams": CHECKED_LAMS,
            },
            must_hold=True,
        )
    ]
