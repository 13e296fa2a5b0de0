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

from dera.decoding import sample_completions
from training.log_probs import SampledLogProbs
from training.shared_prompts import share_prompts


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
        with merged(model) if self._in_full_precision() else nullcontext():
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

    def _in_full_precision(self: Any) -> bool:
        """Return whether the model runs in float32.

        In half precision the sum of weight and adapter is rounded so coarsely that the adapter may
        be lost, and a token's probability depends on what it was computed together with.
        """
        return self.model.dtype == torch.float32 and self.accelerator.mixed_precision == "no"


#: Log-probabilities of a completion that were computed in two ways differ by less than this.
SAME_WITHIN = 1e-3


class RLOOTrainer(_Sampling, trl.RLOOTrainer):
    """TRL's RLOOTrainer, which samples with `dera`'s loop and scores what it sampled only once."""

    #: Whether the model scores completions that share a row as it scores them apart. Not every
    #: architecture does, so the first batch is scored in both ways. None before that.
    _shares_prompts: bool | None = None

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
        without_gradient = not torch.is_grad_enabled()
        if without_gradient and self._in_full_precision() and not adapter_is_off(model):
            tokens = input_ids[:, -logits_to_keep:]
            if self._drawn_log_probs is not None and torch.equal(tokens, self._drawn):
                return self._drawn_log_probs, None, None
        together = None
        if self._may_share(model) and not options.get("compute_aux_loss"):
            together = self._scored_together(model, input_ids, attention_mask, logits_to_keep)
            if together is not None and self._shares_prompts:
                return together
        apart = self._scored_apart(
            model, input_ids, attention_mask, logits_to_keep, *rest, **options
        )
        if together is not None and self._shares_prompts is None:
            self._shares_prompts = torch.allclose(together[0], apart[0], atol=SAME_WITHIN, rtol=0)
            if self._shares_prompts:
                return together  # so that a resumed training computes the same bits
        return apart

    def _may_share(self, model: Any) -> bool:
        """Return whether completions may share a row, as far as is known.

        A mask of four dimensions takes the place of a sliding window. The first batch does not show
        this if it is shorter than the window.
        """
        config = self.accelerator.unwrap_model(model).config
        slides = getattr(config, "sliding_window", None) is not None
        return self._shares_prompts is not False and self._in_full_precision() and not slides

    def _scored_apart(
        self, *inputs: Any, **options: Any
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return what TRL's own method returns, which scores each completion in its own row."""
        return super()._get_per_token_logps_and_entropies(*inputs, **options)

    def _scored_together(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, completion_length: int
    ) -> tuple[Tensor, Tensor, None] | None:
        """Return the same where completions of a prompt share a row, None if that cannot be."""
        rows = share_prompts(input_ids, attention_mask, completion_length)
        if rows is None:
            return None
        try:
            output = model(
                input_ids=rows.input_ids,
                attention_mask=rows.attention_mask(model.dtype),
                position_ids=rows.position_ids,
                shift_labels=rows.shift_labels,
                fused_lm_head=True,
            )
        except (TypeError, ValueError, RuntimeError, NotImplementedError):
            if self._shares_prompts:
                raise  # it has worked before, so this is another failure
            self._shares_prompts = False
            return None
        return rows.apart(output.log_probs), rows.apart(output.entropy), None


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
