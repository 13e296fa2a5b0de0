"""TRL's trainers that sample from the policy, made faster for models whose steps are short.

TRL lets transformers' `generate` sample, which computes every row until the longest one has ended,
and it applies the adapter at each token. Here `dera`'s loop samples: rows that have ended leave the
batch, and the adapter is added to the weights for as long as sampling takes. RLOO also scores all
completions of a prompt together, so that the prompt is read once (`training.shared_prompts`).

The trainers override two private methods of TRL. If an update of TRL no longer calls them, tests
fail (`tests/training/test_sampling.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import trl
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor
from torch.nn.functional import pad

from dera.decoding import sample_completions
from training.log_probs import SampledLogProbs
from training.shared_prompts import SharedScorer, in_full_precision


class _Sampling:
    """What the trainers below have in common: one completion a prompt, at temperature 1."""

    #: The tokens that were sampled last, padded at the right, shape (prompts, completion).
    _drawn: Tensor | None = None
    #: Their log-probabilities, of the same shape. Those of padding are 0.
    _drawn_log_probs: Tensor | None = None

    def _sample(self: Any, prompt_ids: Sequence[Sequence[int]]) -> list[list[int]]:
        """Return the tokens of one completion a prompt, its end-of-sequence token included."""
        model = self.accelerator.unwrap_model(self.model_wrapped)
        log_probs = SampledLogProbs(len(prompt_ids))
        with merged(model) if in_full_precision(self) else nullcontext():
            completions = sample_completions(
                model,
                self.processing_class,
                prompt_ids,
                self.args.max_completion_length,
                on_step=log_probs.add,
            )
        self._drawn = completions.input_ids[:, -completions.completion_length :]
        self._drawn_log_probs = log_probs.together()
        rows = self._drawn.tolist()
        return [row[:length] for row, length in zip(rows, completions.lengths(), strict=True)]


class RLOOTrainer(_Sampling, trl.RLOOTrainer):
    """TRL's RLOOTrainer, which samples with `dera`'s loop and scores what it sampled only once."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._shared = SharedScorer(self.accelerator.unwrap_model(self.model).config)

    def _generate_single_turn(self, prompt_ids: Any, *_: Any, **__: Any) -> list[list[int]]:
        return self._sample(prompt_ids)

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        *rest: Any,
        **options: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return each token's log-probability; sampling has found those of the policy already.

        TRL asks once for the policy's without a gradient, once for the reference's, and once with a
        gradient for the loss. Only the first are those that sampling has found.
        """
        full_precision = in_full_precision(self)
        if full_precision and not torch.is_grad_enabled() and not adapter_is_off(model):
            tokens = input_ids[:, -logits_to_keep:]
            if self._drawn_log_probs is not None and torch.equal(tokens, self._drawn):
                return self._drawn_log_probs, None, None

        def apart() -> tuple[Tensor, Tensor | None, Tensor | None]:
            return self._scored_apart(
                model, input_ids, attention_mask, logits_to_keep, *rest, **options
            )

        if full_precision and not options.get("compute_aux_loss"):
            in_completion = torch.zeros_like(attention_mask)
            in_completion[:, -logits_to_keep:] = 1
            in_prompt = input_ids.shape[1] - logits_to_keep
            together = self._shared.score(
                model,
                input_ids,
                attention_mask,
                in_completion,
                lambda: pad(apart()[0], (in_prompt, 0)) * (attention_mask * in_completion),
            )
            if together is not None:
                of_completions = slice(in_prompt, None)
                log_probs = together.log_probs[:, of_completions]
                return log_probs, together.entropy[:, of_completions], None
        return apart()

    def _scored_apart(
        self, *inputs: Any, **options: Any
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return what TRL's own method returns, which scores each completion in its own row."""
        return super()._get_per_token_logps_and_entropies(*inputs, **options)


class GRPOTrainer(_Sampling, trl.GRPOTrainer):
    """TRL's GRPOTrainer, which samples with `dera`'s loop."""

    def _generate_single_turn(
        self, prompt_ids: Any, *_: Any, **__: Any
    ) -> tuple[list[list[int]], None]:
        return self._sample(prompt_ids), None  # no log-probabilities: TRL scores what it needs


@contextmanager
def merged(model: PeftModel) -> Iterator[None]:
    """Add the adapter to the model's weights for a while; afterwards they are what they were.

    PEFT's own `unmerge_adapter` subtracts the adapter, which leaves a rounding error each time. So
    the adapter is added to copies of the weights, and the weights themselves are put back.
    """
    layers = _adapted_layers(model)
    weights = [layer.get_base_layer().weight.data for layer in layers]
    try:
        model.merge_adapter(safe_merge=True)  # "safe" means that PEFT copies
        yield
    finally:
        model.unmerge_adapter()
        for layer, weight in zip(layers, weights, strict=True):
            layer.get_base_layer().weight.data = weight


def adapter_is_off(model: PeftModel) -> bool:
    """Return whether the adapter is switched off, so that the model is the reference."""
    return any(layer.disable_adapters for layer in _adapted_layers(model))


def _adapted_layers(model: PeftModel) -> list[BaseTunerLayer]:
    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
