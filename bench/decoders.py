"""Each way of decoding that the benchmark compares, as a function of prompts and lam."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CompileConfig

from bench.other_decoders import CachelessMixture, generated, two_caches, with_processor
from dera.completions import end_tokens
from dera.decoding import sample_completions
from dera.model.compiled import compiled_arguments
from dera.model.realigned import RealignedModel
from dera.rows import batch_of


@dataclass(frozen=True)
class Decoded:
    """How much was written.

    Attributes:
        tokens: how many tokens were written, end-of-sequence tokens counted.
        drafted: how many tokens speculative decoding drafted.
        accepted: how many of these it kept.
    """

    tokens: int
    drafted: int = 0
    accepted: int = 0


Decoder = Callable[[Sequence[str], float], Decoded]


def try_one_pass(pair: RealignedModel) -> None:
    """Let a pair try now whether it runs in one pass, so that the trial is not measured."""
    if pair.one_pass is not None:
        _ = pair.one_pass.ready


@dataclass(frozen=True)
class Pair:
    """A reference and an aligned model, to be decoded in every way.

    Attributes:
        tokenizer: the tokenizer of both models.
        whole: the pair as two whole models.
        adapter: the pair as a base with an adapter.
        max_new_tokens: the longest completion.
        compiler: what compiles a step, as torch calls its backend; None for no compiled way.
    """

    tokenizer: Any
    whole: RealignedModel
    adapter: RealignedModel
    max_new_tokens: int
    compiler: str | None = None

    def decoders(self) -> dict[str, Decoder]:
        """Return every way of decoding by its name in `bench.ways.WAYS`."""
        return self.uncompiled() | self.compiled()

    def compiled(self) -> dict[str, Decoder]:
        """Return the ways whose steps are compiled when they are first run."""
        if self.compiler is None:
            return {}
        return {
            "generate compiled": self._generate_compiled,
            "plain compiled": self._plain_compiled,
            "one pass compiled": self._one_pass_compiled,
        }

    def uncompiled(self) -> dict[str, Decoder]:
        """Return the ways whose steps are not compiled."""
        return {
            "generate": self._generate,
            "loop": self._loop,
            "two caches": self._two_caches,
            "processor": self._processor,
            "no cache": self._no_cache,
            "plain": self._plain,
            "one pass": self._one_pass,
            "speculative": self._speculative,
        }

    def modules(self, way: str) -> list[nn.Module]:
        """Return the modules whose weights a way of decoding needs."""
        if way in ("generate", "loop", "generate compiled"):
            return [self.whole.aligned]
        if way in ("one pass", "one pass compiled"):
            return [self.adapter.aligned]
        return [self.whole.reference, self.whole.aligned]

    # These decode the aligned model alone, and do not use lam.

    def _generate(self, prompts: Sequence[str], lam: float) -> Decoded:
        aligned = self.whole.aligned
        return self._counted(generated(aligned, self._batch(prompts), self.max_new_tokens))

    def _loop(self, prompts: Sequence[str], lam: float) -> Decoded:
        return self._sampled(self.whole.aligned, prompts, None)

    # These decode two models in the ways of other projects.

    def _two_caches(self, prompts: Sequence[str], lam: float) -> Decoded:
        completions = two_caches(
            self.whole.reference,
            self.whole.aligned,
            self._batch(prompts),
            lam,
            self.max_new_tokens,
            ends=torch.tensor(end_tokens(self.whole, self.tokenizer), device=self.whole.device),
            pad=self.tokenizer.pad_token_id,
        )
        return self._counted(completions)

    def _processor(self, prompts: Sequence[str], lam: float) -> Decoded:
        models = self.whole.reference, self.whole.aligned
        batch = self._batch(prompts)
        return self._counted(with_processor(*models, batch, lam, self.max_new_tokens))

    def _no_cache(self, prompts: Sequence[str], lam: float) -> Decoded:
        wrapper = CachelessMixture(self.whole.reference, self.whole.aligned, lam)
        return self._counted(wrapper.generate_from(self._batch(prompts), self.max_new_tokens))

    # These decode two models with this library.

    def _plain(self, prompts: Sequence[str], lam: float) -> Decoded:
        return self._sampled(self.whole, prompts, lam)

    def _one_pass(self, prompts: Sequence[str], lam: float) -> Decoded:
        return self._sampled(self.adapter, prompts, lam)

    def _speculative(self, prompts: Sequence[str], lam: float) -> Decoded:
        decoded = self._sampled(self.whole, prompts, lam, speculative=True)
        speculation = self.whole.last_speculation
        if speculation is None:
            return decoded
        return Decoded(decoded.tokens, speculation.drafted, speculation.accepted)

    # These compile a step of `generate`, where the other ways of this library have a loop of ours.

    def _generate_compiled(self, prompts: Sequence[str], lam: float) -> Decoded:
        return self._in_graphs(self.whole.aligned, prompts)

    def _plain_compiled(self, prompts: Sequence[str], lam: float) -> Decoded:
        return self._in_graphs(self.whole, prompts, lam=lam)

    def _one_pass_compiled(self, prompts: Sequence[str], lam: float) -> Decoded:
        return self._in_graphs(self.adapter, prompts, lam=lam)

    def _in_graphs(self, model: Any, prompts: Sequence[str], **options: Any) -> Decoded:
        how = CompileConfig(backend=self.compiler)
        options = compiled_arguments(options, how, self.whole.device)
        batch = self._batch(prompts)
        return self._counted(generated(model, batch, self.max_new_tokens, **options))

    def _sampled(
        self, model: Any, prompts: Sequence[str], lam: float | None, **options: Any
    ) -> Decoded:
        completions = sample_completions(
            model, self.tokenizer, prompts, self.max_new_tokens, lam=lam, **options
        )
        return Decoded(sum(completions.lengths()))

    def _batch(self, prompts: Sequence[str]) -> Any:
        return batch_of(self.whole, self.tokenizer, prompts)

    def _counted(self, completions: Tensor) -> Decoded:
        """Count the tokens of completions, shape (batch, tokens), that are not padding."""
        return Decoded(int((completions != self.tokenizer.pad_token_id).sum()))
