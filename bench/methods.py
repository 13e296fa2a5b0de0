"""The ways of decoding that the benchmark compares, each a function of prompts and lam."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.other_decoders import CachelessMixture, generated, two_caches, with_processor
from dera.decoding import batch_of, end_tokens, sample_completions
from dera.model.realigned import RealignedModel

#: What the methods are, in the order in which tables and figures have them.
METHODS = {
    "generate": "one model, transformers' `generate`",
    "loop": "one model, our loop",
    "two caches": "two models, the obvious loop with caches",
    "processor": "two models, a logits processor (the authors' way)",
    "no cache": "two models, a wrapper without caches (TRL's way)",
    "plain": "**ours**: two models",
    "one pass": "**ours**: a base and its adapter, in one pass",
    "speculative": "**ours**: two models, speculative",
}


@dataclass(frozen=True)
class Decoded:
    """Tokens written, ends of sequence counted, and of speculative decoding the drafts and how many of them were kept."""

    tokens: int
    drafted: int = 0
    accepted: int = 0


@dataclass(frozen=True)
class Bench:
    """A pair, held as two whole models and as a base with an adapter."""

    tokenizer: Any
    whole: RealignedModel
    adapter: RealignedModel
    max_new_tokens: int

    def methods(self) -> dict[str, Callable[[Sequence[str], float], Decoded]]:
        """Each method, to be called with prompts and lam."""
        one = self.whole.aligned
        return {
            "generate": lambda prompts, lam: self._generated(one, prompts),
            "loop": lambda prompts, lam: self._looped(one, prompts, None),
            "two caches": self._two_caches,
            "processor": lambda prompts, lam: self._counted(
                with_processor(
                    self.whole.reference, one, self._batch(prompts), lam, self.max_new_tokens
                )
            ),
            "no cache": lambda prompts, lam: self._counted(
                CachelessMixture(self.whole.reference, one, lam).generate_from(
                    self._batch(prompts), self.max_new_tokens
                )
            ),
            "plain": lambda prompts, lam: self._looped(self.whole, prompts, lam),
            "one pass": lambda prompts, lam: self._looped(self.adapter, prompts, lam),
            "speculative": lambda prompts, lam: self._looped(
                self.whole, prompts, lam, speculative=True
            ),
        }

    def modules(self, method: str) -> list[nn.Module]:
        """The modules whose weights the method needs."""
        if method in ("generate", "loop"):
            return [self.whole.aligned]
        return (
            [self.adapter.aligned]
            if method == "one pass"
            else [self.whole.reference, self.whole.aligned]
        )

    def _batch(self, prompts: Sequence[str]) -> Any:
        return batch_of(self.whole, self.tokenizer, prompts)

    def _looped(
        self, model: Any, prompts: Sequence[str], lam: float | None, **options: Any
    ) -> Decoded:
        found = sample_completions(
            model, self.tokenizer, prompts, self.max_new_tokens, lam=lam, **options
        )
        done = model.last_speculation if options else None
        drafts = (0, 0) if done is None else (done.drafted, done.accepted)
        return Decoded(sum(found.lengths()), *drafts)

    def _generated(self, model: Any, prompts: Sequence[str]) -> Decoded:
        return self._counted(generated(model, self._batch(prompts), self.max_new_tokens))

    def _two_caches(self, prompts: Sequence[str], lam: float) -> Decoded:
        ends = torch.tensor(end_tokens(self.whole, self.tokenizer), device=self.whole.device)
        models = self.whole.reference, self.whole.aligned
        return self._counted(
            two_caches(
                *models,
                self._batch(prompts),
                lam,
                self.max_new_tokens,
                ends,
                self.tokenizer.pad_token_id,
            )
        )

    def _counted(self, completions: Tensor) -> Decoded:
        return Decoded(int((completions != self.tokenizer.pad_token_id).sum()))
