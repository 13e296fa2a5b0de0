"""The realigned model: a transformers model whose logits are the mixture of several others'."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from torch import Tensor, nn
from transformers import Cache, GenerationMixin, PreTrainedModel
from transformers.loss.loss_utils import ForCausalLMLoss
from transformers.modeling_outputs import BaseModelOutput, ModelOutput
from transformers.utils.generic import TransformersKwargs

from dera.mixing import mix_present
from dera.model.cache import RealignedCache
from dera.model.encoder import JoinedEncoder
from dera.model.generation import RealignedGeneration
from dera.model.loading import load_parts
from dera.model.padding import padding_last, positions_of, put_back
from dera.model.parts import parts_of
from dera.model.reading import RealignedReading
from dera.model.vocabulary import shared_vocabulary_size
from dera.one_pass.one_pass import OnePass, can_run_in_one_pass
from dera.weights import Lam, as_lam, lam_from_beta

#: What transformers and its users pass to any model; the parts return their logits whatever these are.
COMMON_ARGUMENTS = {"return_dict", "num_items_in_batch", *TransformersKwargs.__optional_keys__}


@dataclass
class RealignedOutput(ModelOutput):
    """As transformers' own, and the logits that were mixed where they were asked for."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: RealignedCache | None = None
    reference_logits: Tensor | None = None
    aligned_logits: Tensor | tuple[Tensor, ...] | None = None


class RealignedModel(
    RealignedReading, RealignedGeneration, PreTrainedModel, GenerationMixin
):  # transformers looks for the last among the bases
    """Decoding-time realignment of language models, decoder-only or encoder-decoder (paper, Proposition 2).

    The mixing happens in `forward`, so sampling, beams, streaming and likelihoods all see the realigned model. Rows of a batch
    may have different `lam`. Models without a share in a batch are not run: at lam = 0 only the reference is.

    Args:
        reference: the reference (SFT) model, or None when `aligned` is a PEFT model: its base with the
            adapter switched off is then the reference, and the base is held in memory once.
        aligned: the model aligned at strength `aligned_beta`; or several, as a sequence or as a mapping from names.
        aligned_beta: that strength; needed only to call with `beta=` instead of `lam=`.
        lam: the mixing weight used when a call names none: a number (1, the default, is the aligned model), or for several
            aligned models one for each.
        adapters: with a PEFT model that has several adapters: which of them are the aligned models.
        tokenizer: checks that the logits of all models are about the tokenizer's tokens.

    Raises:
        ValueError: if `reference` is None and `aligned` is not a PEFT model, if an encoder-decoder meets a decoder-only model,
            if the vocabularies differ in more than unused rows, or if `lam` or `adapters` is bad.
    """

    main_input_name = "input_ids"
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _can_set_experts_implementation_cached_value = (
        True  # mixtures of experts: transformers looks for it in the model's own code
    )

    def __init__(
        self,
        reference: PreTrainedModel | None,
        aligned: Any,  # a PreTrainedModel or a PeftModel, which share no typed base, or several
        aligned_beta: float | None = None,
        lam: Lam | None = None,
        adapters: Sequence[str] | None = None,
        tokenizer: Any = None,
    ):
        parts = parts_of(reference, aligned, list(adapters) if adapters else None)
        if len({part.config.is_encoder_decoder for part in parts}) > 1:
            kinds = {
                part.name: "encoder-decoder" if part.config.is_encoder_decoder else "decoder-only"
                for part in parts
            }
            raise ValueError(
                f"the models must be of one kind, got {kinds}: their next-token logits are about different texts"
            )
        config = copy.deepcopy(parts[-1].config)
        config.get_text_config().vocab_size = shared_vocabulary_size(
            parts, tokenizer
        )  # (decoder=True) may return a copy
        super().__init__(config)
        self.parts, self.vocabulary_size = parts, config.get_text_config().vocab_size
        self.held = nn.ModuleList(
            {id(part.module): part.module for part in parts}.values()
        )  # each once
        self.one_pass = OnePass(parts) if can_run_in_one_pass(parts) else None
        self.names = [part.name for part in parts[1:]]
        if aligned_beta is not None:
            lam_from_beta(aligned_beta, aligned_beta)  # refuses what is no strength
        self.aligned_beta = aligned_beta
        if lam is None and len(self.names) == 1:
            lam = 1.0
        if lam is not None and not callable(lam):
            as_lam(lam, 1, names=self.names)
        self.lam = lam
        self.generation_config = copy.deepcopy(parts[-1].base.generation_config)
        self.eval()

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        reference: str | PathLike,
        aligned: str | PathLike | Sequence[str | PathLike] | Mapping[str, str | PathLike],
        *,
        aligned_beta: float | None = None,
        lam: Lam | None = None,
        merge_adapter: bool = False,
        **kwargs: Any,
    ) -> RealignedModel:
        """Load models from folders or Hub ids; an aligned model may be a PEFT adapter trained on `reference`.

        Args:
            reference: the reference model.
            aligned: the aligned model, or an adapter on the reference; or several, as a sequence or as a mapping from names.
                Several adapters share one base in memory.
            aligned_beta, lam: as for the constructor.
            merge_adapter: merge each adapter into its own copy of the base: whole models, for more memory and mostly slower decoding.
            **kwargs: passed to `from_pretrained` of every model loaded (`dtype`, `device_map`, `quantization_config`,
                ...). Weights are read from safetensors only and remote code never runs.

        Raises:
            ValueError: if the models have different tokenizers, a checkpoint is not safetensors, an adapter does not fit
                `reference`, or `trust_remote_code` is asked for; and as the constructor.
            FileNotFoundError: if a local path does not exist.
        """
        module, others, adapters, tokenizer = load_parts(
            reference, aligned, merge_adapter, **kwargs
        )
        return cls(module, others, aligned_beta, lam, adapters, tokenizer)

    @property
    def reference(self) -> Any:
        """The module of the reference; a PEFT model where the reference is a base with its adapters off."""
        return self.parts[0].module

    @property
    def aligned(self) -> Any:
        """The module of the (first) aligned model."""
        return self.parts[1].module

    def get_encoder(self, modality: str | None = None) -> Any:
        """All encoders as one, for encoder-decoder models; what `generate` asks for."""
        return JoinedEncoder(self)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: BaseModelOutput | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        lam: Lam | None = None,
        beta: float | None = None,
        completion_start: int | Tensor = 1,
        output_parts: bool = False,
        rows: Tensor | None = None,
        **kwargs: Any,
    ) -> RealignedOutput:
        """Next-token logits of the realigned model (paper, Proposition 2).

        Args:
            input_ids: token ids, shape (batch, time); after the first call of a cached decode only the new ones. For an
                encoder-decoder those of the encoder.
            attention_mask: 1 for tokens and 0 for padding on either side, shape (batch, past + time).
            position_ids: shape (batch, time); counted from the attention mask when absent.
            past_key_values: the cache of an earlier call, or an empty one.
            decoder_input_ids, decoder_attention_mask: of an encoder-decoder, shape (batch, time); from `labels` when absent.
            encoder_outputs: what `get_encoder()` returned, instead of `input_ids`.
            labels: token ids to score, -100 to ignore, shape (batch, time). A decoder-only model's are shifted inside, an
                encoder-decoder's are not, as transformers does.
            use_cache: return a cache; off unless a cache is passed or this is True.
            logits_to_keep: compute logits for the last so many positions only; 0 means all.
            lam: mixing weight, any `dera.weights.Lam`; `self.lam` when absent.
            beta: the strength instead, where `aligned_beta` is known.
            completion_start: for a schedule: the column, padding counted, of the completion's first token; one number or one a row.
            output_parts: also return the logits that were mixed, and run all models whatever lam is.
            rows: go on with these rows of the batch, of which one may occur several times, shape (rows,): what they share, such as
                the prompt of a sweep, is read once. `lam`, the output and the cache have an entry for each.

        Returns:
            float32 `logits` of shape (batch, time, vocabulary), `loss` if labels are given, `past_key_values`, and
            `reference_logits` and `aligned_logits` (a tuple for several aligned models) if they were asked for.

        Raises:
            ValueError: on a `lam` that is not finite or has a wrong shape, or a cache another model filled.
            TypeError: on an argument that none of the models knows.
        """
        self._check_known(kwargs)
        lam = self.strength(lam, beta)
        seq2seq = self.config.is_encoder_decoder
        if seq2seq and decoder_input_ids is None and labels is not None:
            decoder_input_ids = self.parts[0].base.prepare_decoder_input_ids_from_labels(labels)
        tokens = decoder_input_ids if seq2seq else input_ids
        if tokens is None:
            raise ValueError(
                "decoder_input_ids or labels are needed" if seq2seq else "input_ids are needed"
            )
        cache = self._own_cache(past_key_values, use_cache)
        past = cache.get_seq_length() if cache is not None else 0
        weights = self._weights(
            lam, tokens if rows is None else tokens[rows], past, completion_start, logits_to_keep
        )
        run = self._run(weights, output_parts, callable(lam), cache)
        columns = None
        inputs = dict(
            kwargs,
            attention_mask=attention_mask,
            logits_to_keep=logits_to_keep,
            use_cache=cache is not None,
        )
        if seq2seq:
            encoder = self.get_encoder()
            states: list[Any] = encoder.split(
                encoder_outputs or encoder(input_ids, attention_mask, run=run), run
            )
            if (
                cache is None and decoder_attention_mask is not None
            ):  # then padding may stand anywhere
                tokens, decoder_attention_mask, columns = padding_last(
                    tokens, decoder_attention_mask
                )
                inputs["logits_to_keep"] = 0
            inputs.update(decoder_input_ids=tokens, decoder_attention_mask=decoder_attention_mask)
        else:
            if position_ids is None and attention_mask is not None and attention_mask.ndim == 2:
                position_ids = positions_of(attention_mask)[:, -tokens.shape[1] :]
            inputs.update(input_ids=tokens, position_ids=position_ids)
        logits: list[Tensor | None] = [None] * len(self.parts)
        for i, found in self._read(run, inputs, states if seq2seq else None, cache).items():
            found = found if columns is None else put_back(found, columns.to(found.device))
            found = self._kept(found, logits_to_keep, tokens.device)
            logits[i] = found if rows is None else found[rows]
        if rows is not None and cache is not None:
            cache.batch_select_indices(rows)
        mixed = mix_present(logits, weights)
        return RealignedOutput(
            loss=None if labels is None else self._loss(mixed, labels),
            logits=mixed,
            past_key_values=cache,
            reference_logits=logits[0] if output_parts else None,
            aligned_logits=(logits[1] if len(logits) == 2 else tuple(logits[1:]))
            if output_parts
            else None,  # type: ignore[arg-type]
        )

    def save_pretrained(self, *args: Any, **kwargs: Any) -> Any:
        """Not offered: a realigned model is a pair of checkpoints and a number.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "save the reference and the aligned model (or adapter) by themselves and load the pair again"
        )

    def _check_known(self, arguments: dict[str, Any]) -> None:
        """Refuse what no part would take, so that a misspelt argument does not pass for a given one."""
        known = (COMMON_ARGUMENTS, *(part.known for part in self.parts))
        unknown = sorted(
            name
            for name, value in arguments.items()
            if value is not None and not any(name in k for k in known)
        )
        if unknown:
            raise TypeError(
                f"neither RealignedModel nor the models it mixes know the arguments {unknown}"
            )

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.config.is_encoder_decoder:
            return nn.functional.cross_entropy(
                logits.flatten(0, 1), labels.to(logits.device).flatten()
            )
        return ForCausalLMLoss(logits, labels, vocab_size=logits.shape[-1])


def check_pair(model: RealignedModel) -> None:
    """Refuse several aligned models, for which one lam is not enough."""
    if len(model.names) != 1:
        raise ValueError(
            f"this needs one aligned model, and the model has {model.names}: realign with one at a time"
        )
