"""The realigned model: a transformers model whose logits mix those of other models."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from dera.mixing import mix_present, parts_with_share, with_share
from dera.model.asked import asked_of_parts, asked_outputs, check_supported
from dera.model.assembly import check_one_kind, parts_of
from dera.model.cache import RealignedCache, realigned_cache
from dera.model.compiled import (
    CompiledStep,
    compiled_arguments,
    reason_not_to_compile,
    reason_not_to_compile_a_call,
)
from dera.model.conventions import decoder_mask_from_labels, shared_first_position
from dera.model.encoder import JoinedEncoder
from dera.model.generation import (
    batch_size_of,
    check_arguments,
    check_drafting,
    check_settings,
    completion_start_of,
)
from dera.model.guidance import with_own_guidance
from dera.model.inputs import (
    PartInputs,
    check_known,
    decoder_inputs,
    decoder_only_tokens,
    decoder_tokens,
    encoder_decoder_inputs,
    known_arguments,
)
from dera.model.lam_of_call import (
    check_no_schedule_of_call,
    current_lam,
    lam_of_call,
    replace_lam_of_call,
)
from dera.model.loading import load_parts
from dera.model.modules import input_device
from dera.model.output import RealignedOutput, aligned_output, loss_of
from dera.model.pipelines import accept_in_text_generation
from dera.model.proof.pair import prove
from dera.model.reader import PartsReader
from dera.model.refusals import (
    check_continuation,
    check_padding,
    keeps_recurrent_state,
    padded_only_at_the_end,
)
from dera.model.sources import PerModel
from dera.model.vocabulary import shared_vocabulary_size
from dera.one_pass.one_pass import OnePass
from dera.speculative.loop import Speculation, speculate
from dera.speculative.unsupported import as_keywords, serves
from dera.weights import Lam, as_lam, lam_from_beta, lam_of_columns


class RealignedModel(PreTrainedModel, GenerationMixin):
    """Decoding-time realignment of language models (paper, Proposition 2).

    The models are decoder-only or encoder-decoders. They are mixed in `forward`, so sampling,
    beams, streaming and likelihoods all see the realigned model. The rows of a batch may have
    different `lam`. A model without a share in a batch is not run: at lam = 0 only the reference
    runs.

    The models remain the caller's own. They are not changed, and a call leaves them as it found
    them. In evaluation mode, in which this model is made, they decode without dropout, whichever
    mode they are in. Calls may run in several threads at once. Between calls the adapters of a PEFT
    model may be switched, added, loaded, deleted, scaled and merged. An adapter is looked up by its
    name at every call.

    Args:
        reference: the reference (SFT) model. It is None when `aligned` is a PEFT model: then the
            base with the adapter off is the reference, and the base is held in memory once. It is
            the name of an adapter where that adapter of the PEFT model `aligned` is the reference,
            as an SFT adapter is beside a DPO adapter.
        aligned: the model aligned at strength `aligned_beta`; or several aligned models, as a
            sequence or as a mapping from names.
        aligned_beta: the KL strength at which `aligned` was trained. It is needed only to call with
            `beta=` instead of `lam=`.
        lam: the mixing weight of calls that name none: one number, or a number for each of several
            aligned models. With one aligned model the default is 1, which is the aligned model.
        adapters: the names of the adapters that are the aligned models, for a PEFT model that has
            more than one beside the reference; or a mapping to these from other names, which `lam`
            and messages then use.
        tokenizer: if it is given, the logits of all models are checked to be about its tokens.
        check: whether the models prove themselves: a few tokens are read, and each model must say
            in the mixture what it says alone, with a cache and in a batch too.

    Attributes:
        parts: the models that are mixed, the reference first.
        names: the names of the aligned models.
        vocabulary_size: the number of tokens that all models know.
        first_position: the position id of a text's first token.
        last_speculation: what the last speculative `generate` did; None if it decoded plainly. With
            calls in several threads it is that of any of them.

    Raises:
        ValueError: if `reference` is None and `aligned` is not a PEFT model, if an encoder-decoder
            is mixed with a decoder-only model, if the vocabularies differ in more than unused rows,
            if a model does not predict next tokens, if `lam` or `adapters` is bad, or if the models
            do not prove themselves.
        TypeError: if something else than a model is given.
    """

    # What transformers looks up on the class of a model. A model is taken to support mixtures of
    # experts only if its module's code says so, or if the last of these attributes does.
    main_input_name = "input_ids"
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _can_set_experts_implementation_cached_value = True

    def __init__(
        self,
        reference: PreTrainedModel | str | None,
        aligned: Any,  # PreTrainedModel and PeftModel share no typed base; or several of them
        aligned_beta: float | None = None,
        lam: Lam | None = None,
        adapters: Sequence[str] | Mapping[str, str] | None = None,
        tokenizer: Any = None,
        check: bool = True,
    ):
        parts = parts_of(reference, aligned, adapters)
        check_one_kind(parts)

        # The configuration is the aligned model's with a vocabulary that all models know.
        # get_text_config() has no argument here: with decoder=True it may return a copy.
        config = copy.deepcopy(parts[-1].config)
        vocabulary_size = shared_vocabulary_size(parts, tokenizer)
        config.get_text_config().vocab_size = vocabulary_size
        super().__init__(config)
        self.generation_config = copy.deepcopy(parts[-1].base.generation_config)

        # The modules are registered with torch, each once: parts may share one.
        self.parts = parts
        self.names = [part.name for part in parts[1:]]
        self.vocabulary_size = vocabulary_size
        modules = {id(part.module): part.module for part in parts}
        self.part_modules = nn.ModuleList(modules.values())
        self.reader = PartsReader(parts)
        self.first_position = shared_first_position(parts)
        self._padded_only_at_the_end = padded_only_at_the_end(parts)
        # Transformers asks this before it lets an assistant draft tokens that may be taken back.
        self._is_stateful = any(keeps_recurrent_state(part.base) for part in parts)
        self._known_arguments = known_arguments(parts)

        # A bad strength is refused now rather than at the first call.
        if aligned_beta is not None:
            lam_from_beta(aligned_beta, aligned_beta)
        self.aligned_beta = aligned_beta
        if lam is None and len(self.names) == 1:
            lam = 1.0
        if lam is not None and not callable(lam):
            as_lam(lam, 1, names=self.names)
        self.lam = lam
        self.last_speculation: Speculation | None = None
        self._compiled_step: CompiledStep | None = None
        if not self.config.is_encoder_decoder:
            accept_in_text_generation(type(self))

        # The mode is this model's own. `self.eval()` would change the mode of the caller's models.
        self.training = self.part_modules.training = False
        if check:
            prove(self, tokenizer)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        reference: str | PathLike,
        aligned: str | PathLike | Sequence[str | PathLike] | Mapping[str, str | PathLike],
        *,
        aligned_beta: float | None = None,
        lam: Lam | None = None,
        merge_adapter: bool = False,
        base: str | PathLike | None = None,
        aligned_on: str | None = None,
        revision: PerModel = None,
        subfolder: PerModel = None,
        check: bool = True,
        **kwargs: Any,
    ) -> RealignedModel:
        """Load models from folders or Hub ids.

        Args:
            reference: the reference model; or a PEFT adapter, such as an SFT adapter, which is then
                put on its base.
            aligned: the aligned model, or a PEFT adapter trained on `reference`; or several of
                these, as a sequence or as a mapping from names. Several adapters share one base in
                memory.
            aligned_beta: as for the constructor.
            lam: as for the constructor.
            merge_adapter: merge each adapter into its own copy of the base. The models are then
                whole, which takes more memory and mostly decodes more slowly.
            base: the base of a reference that is an adapter; the one that the adapter names when
                absent.
            aligned_on: what the aligned adapters were trained on where the reference is an adapter:
                "base", or "reference" for the base with the reference's adapter merged into it.
                When absent it is read off the adapters' configurations, and said in a warning.
            revision: the branch, tag or commit on the Hub: one for the reference and all aligned
                models that are on the Hub, or a mapping from "reference", "base" and the names of
                the aligned models ("aligned" for a single one, "0", "1", ... in a sequence).
            subfolder: the folder inside the repository or folder, given as `revision` is.
            check: as for the constructor. The reference must also say with adapters off what it
                said before they were put on it, and a merged adapter what it said before.
            **kwargs: passed to transformers' `from_pretrained` for every model (`dtype`,
                `device_map`, `quantization_config`, ...). Weights are read from safetensors only,
                and remote code never runs.

        Raises:
            ValueError: if the models have different tokenizers, a checkpoint is not safetensors, an
                adapter does not fit `reference`, it cannot be told what an adapter was trained on,
                a checkpoint is no language model, or `trust_remote_code` is asked for; and as the
                constructor.
            FileNotFoundError: if a local path does not exist.
            TypeError: if something else than a path is given.
        """
        loaded = load_parts(
            reference,
            aligned,
            merge_adapter,
            base,
            aligned_on,
            revision,
            subfolder,
            check,
            **kwargs,
        )
        return cls(
            loaded.reference,
            loaded.aligned,
            aligned_beta,
            lam,
            loaded.adapters,
            loaded.tokenizer,
            check,
        )

    @property
    def reference(self) -> Any:
        """The module of the reference; a PEFT model where the reference is its base."""
        return self.parts[0].module

    @property
    def aligned(self) -> Any:
        """The module of the first aligned model."""
        return self.parts[1].module

    @property
    def one_pass(self) -> OnePass | None:
        """What runs the parts in one pass; None where they are not one base with adapters."""
        return self.reader.one_pass

    def get_encoder(self, modality: str | None = None) -> Any:
        """Return the encoders of all parts as one, which `generate` asks for."""
        return JoinedEncoder(self)

    def parts_with_share(self, weights: Tensor) -> list[bool]:
        """Return for each part whether it has a share in the mixture of any row.

        Args:
            weights: the mixing weights, as `as_lam` returns them.
        """
        return parts_with_share(weights)

    def strength(self, lam: Lam | None, beta: float | None) -> Lam:
        """Return the mixing weight that `lam` or `beta` means.

        If both are None, it is that of the call of `generate` which is running, and otherwise the
        model's own.

        Raises:
            ValueError: if both are given, if `beta` is given for several aligned models, or if the
                model has no lam of its own.
        """
        if beta is not None:
            if lam is not None:
                raise ValueError(f"give lam or beta, not both: lam={lam}, beta={beta}")
            if len(self.names) > 1:
                raise ValueError(
                    f"beta= is for one aligned model, not for {self.names}: give lam= for each"
                )
            return lam_from_beta(beta, self.aligned_beta)
        if lam is None:
            lam = current_lam(self)
        if lam is None:
            lam = self.lam
        if lam is None:
            raise ValueError(
                f"lam= is needed: one number for each of the aligned models {self.names}"
            )
        return lam

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
        completion_start: int | Tensor | None = None,
        output_parts: bool = False,
        rows: Tensor | None = None,
        **kwargs: Any,
    ) -> RealignedOutput:
        """Return next-token logits of the realigned model (paper, Proposition 2).

        Args:
            input_ids: token ids, shape (batch, time). After the first call of a cached decode these
                are the new ones only. For an encoder-decoder they are the encoder's.
            attention_mask: 1 for tokens and 0 for padding on either side, shape
                (batch, past + time).
            position_ids: shape (batch, time), as the models themselves count them; counted from the
                attention mask when absent.
            past_key_values: the cache of an earlier call, or an empty one.
            decoder_input_ids: for an encoder-decoder, the decoder's tokens, shape (batch, time);
                made from `labels` when absent.
            decoder_attention_mask: 1 for the decoder's tokens and 0 for padding, shape
                (batch, past + time).
            encoder_outputs: what `get_encoder()` returned, instead of `input_ids`.
            labels: token ids to score, -100 to ignore, shape (batch, time). As in transformers they
                are shifted inside for a decoder-only model and not for an encoder-decoder.
            use_cache: return a cache. Without it a cache is returned only if one is passed.
            logits_to_keep: compute logits for so many of the last positions; 0 means for all.
            lam: the mixing weight, any `dera.weights.Lam`. When absent, it is that of the call of
                `generate` which is running (a logits processor may call the model), or `self.lam`.
            beta: the KL strength to realign to, instead of `lam`; needs `aligned_beta`.
            completion_start: for a schedule, the column of the completion's first token, padding
                counted; one number, or one a row; 1 when absent.
            output_parts: run all parts whatever lam is, and also return the logits of each.
            rows: go on with these rows of the batch, shape (rows,). A row may occur several times:
                its prompt is then read once, as in a sweep. `lam`, the output and the cache have an
                entry for each.
            **kwargs: more arguments for the parts. `output_hidden_states` and `output_attentions`
                ask for those of each part.

        Returns:
            Float32 `logits` of shape (batch, time, vocabulary); `loss` if labels are given;
            `past_key_values`; with `output_parts` the logits that were mixed; and what else was
            asked for, as `RealignedOutput` says. A tuple of these with `return_dict=False`.

        Raises:
            ValueError: if `lam` is not finite or has a wrong shape, if another model filled the
                cache, if rows are padded at the left for models that this would change, if
                several tokens follow cached ones for models that would forget the latter, or if an
                argument is given that a mixture cannot honour (`inputs_embeds`).
            TypeError: if an argument is given that none of the models knows.
        """
        check_known(kwargs, self._known_arguments)
        check_supported(kwargs)
        asked = asked_outputs(kwargs, self.config)
        as_tuple = kwargs.pop("return_dict", None) is False
        items = kwargs.pop("num_items_in_batch", None)
        names_lam = lam is not None or beta is not None
        lam = self.strength(lam, beta)
        if callable(lam) and not names_lam and completion_start is None:
            check_no_schedule_of_call(current_lam(self))

        # Step 1, tokens: find the new tokens, and the cache of earlier ones.
        is_seq2seq = self.config.is_encoder_decoder
        if is_seq2seq:
            tokens = decoder_tokens(decoder_input_ids, labels, self.parts[0])
            if decoder_input_ids is None and decoder_attention_mask is None:
                decoder_attention_mask = decoder_mask_from_labels(self.parts[0].base, tokens)
        else:
            tokens = decoder_only_tokens(input_ids)
        cache = realigned_cache(past_key_values, use_cache, self.parts)
        past = 0 if cache is None else cache.get_seq_length()
        check_continuation(self.parts, past, tokens.shape[1])

        # Step 2, weights: give each row its lam, and find the parts that must run. With a schedule,
        # a part that has no share yet may get one later, and then needs the cached tokens.
        mixed_tokens = tokens if rows is None else tokens[rows]
        start = 1 if completion_start is None else completion_start
        weights = lam_of_columns(lam, mixed_tokens, past, start, logits_to_keep, self.names)
        run_all = output_parts or (callable(lam) and cache is not None)
        run = self.reader.parts_to_run(weights, run_all, cache)

        # Step 3, inputs: arrange the arguments of the parts, and run the encoders if there are any.
        options = dict(kwargs, logits_to_keep=logits_to_keep, use_cache=cache is not None)
        options.update(dict.fromkeys([*asked, "return_dict"], True))
        if is_seq2seq:
            encoder = self.get_encoder()
            joined = encoder_outputs or encoder(input_ids, attention_mask, run=run)
            inputs = encoder_decoder_inputs(
                tokens, attention_mask, decoder_attention_mask, encoder.split(joined, run), options
            )
        else:
            check_padding(self._padded_only_at_the_end, attention_mask)
            inputs = decoder_inputs(
                tokens, attention_mask, position_ids, options, self.first_position
            )

        # Step 4, parts: run them, and keep the positions, tokens and rows that were asked for.
        outputs: dict[int, Any] | None = {} if asked else None
        logits = self._part_logits(run, inputs, cache, logits_to_keep, rows, tokens.device, outputs)
        if rows is not None and cache is not None:
            cache.batch_select_indices(rows)

        # Step 5, output: mix the logits, and score the labels.
        mixed = mix_present(with_share(logits, weights) if output_parts else logits, weights)
        if output_parts and any(mixed is part for part in logits):
            mixed = mixed.clone()  # the caller may change one of the two
        output = RealignedOutput(
            loss=None if labels is None else loss_of(mixed, labels, is_seq2seq, items),
            logits=mixed,
            past_key_values=cache,
            reference_logits=logits[0] if output_parts else None,
            aligned_logits=aligned_output(logits) if output_parts else None,
            **asked_of_parts(outputs or {}, asked, self.parts, rows),
        )
        return output.to_tuple() if as_tuple else output  # type: ignore[return-value]

    @torch.no_grad()
    def generate(
        self,
        *args: Any,
        lam: Lam | None = None,
        beta: float | None = None,
        speculative: bool = False,
        compiled: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Run transformers' `generate` at a strength given as `lam` (any `Lam`) or as `beta`.

        With `speculative` one of the models drafts a few tokens, and the others verify them in one
        call. This takes fewer calls. Up to rounding, samples have exactly the same distribution,
        and greedy text is the same. `last_speculation` then says what was done. Where speculative
        decoding does not work (beams, encoder-decoders, ...) a warning names the reason, and the
        text is decoded plainly. A base and its adapters already run in one pass, so they are
        decoded plainly without a warning.

        With `compiled` the steps are compiled when they are first run, which takes up to a minute.
        They may be compiled again for other shapes: more rows, longer texts, a batch with padding
        after one without. Each token then takes a fraction of the time where calling small
        operators takes most of it: on a GPU, and with small models. (On a GPU,
        `cache_implementation="static"` alone does the same.) Where compilation does not work a
        warning names the reason, and the text is decoded without.

        The settings of the aligned model's checkpoint (`generation_config`: temperature, top_k,
        penalties, ...) apply as in transformers, unless the call sets them otherwise.

        Raises:
            ValueError: if both `lam` and `beta` are given, or `speculative` and `compiled`; if an
                argument or a setting is given that a mixture cannot honour, for example
                `inputs_embeds`; if `compiled` is asked for with a cache that grows, or without a
                C++ compiler on a CPU; and where `lam_from_beta` or `forward` raises one.
        """
        check_arguments(as_keywords(args, kwargs))
        lam = self.strength(lam, beta)
        if callable(lam):
            kwargs["completion_start"] = completion_start_of(
                args, kwargs, self.config.is_encoder_decoder
            )
        elif not isinstance(lam, (int, float)):
            # `generate` repeats the rows of a tensor for beams and for several return sequences.
            lam = as_lam(lam, batch_size_of(args, kwargs), names=self.names)
        self.last_speculation = None
        if speculative and compiled:
            raise ValueError(
                "speculative decoding is not compiled: leave out speculative=True or compiled=True"
            )
        if compiled:
            arguments = as_keywords(args, kwargs)
            default = self._default_compile_config()
            args, kwargs = (), compiled_arguments(arguments, default, input_device(self))
        if speculative:
            args, kwargs = (), as_keywords(args, kwargs)
            if serves(self, lam, kwargs):
                kwargs["custom_generate"] = speculate
        with lam_of_call(self, lam):
            return super().generate(*args, lam=lam, **kwargs)  # type: ignore[misc]

    def prepare_inputs_for_generation(self, input_ids: Tensor, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return the arguments of `forward` for the next token.

        `generate` also hands over the tokenizers, which stop strings and assistants need and
        `forward` does not.
        """
        for name in ("tokenizer", "assistant_tokenizer"):
            kwargs.pop(name, None)
        return super().prepare_inputs_for_generation(input_ids, **kwargs)  # type: ignore[misc, arg-type]

    def generate_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse continuous batching, which would run one model without lam.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "continuous batching runs one model without lam: use generate, or "
            "dera.sample_completions, in which finished rows leave the batch"
        )

    init_continuous_batching = generate_batch
    continuous_batching_context_manager = generate_batch

    def save_pretrained(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse to save, because a realigned model is a pair of checkpoints and a number.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "a realigned model is not saved: save the reference and the aligned model (or adapter) "
            "by themselves and load the pair again"
        )

    def _prepare_cache_for_generation(
        self, generation_config: Any, model_kwargs: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Let transformers choose the kind of cache, then make one of that kind for each part."""
        super()._prepare_cache_for_generation(generation_config, model_kwargs, *args, **kwargs)  # type: ignore[misc]
        chosen = model_kwargs.get("past_key_values")
        if chosen is not None:
            model_kwargs["past_key_values"] = realigned_cache(chosen, True, self.parts)

    def _valid_auto_compile_criteria(self, model_kwargs: Any, generation_config: Any) -> bool:
        """Return whether `generate` compiles its steps: where transformers would, if they can be.

        Transformers is asked about the cache of one part, because it takes a cache of several for
        one that cannot be compiled, and would otherwise make one mask for all of them.
        """
        cache = model_kwargs.get("past_key_values")
        reason = reason_not_to_compile(self, cache)
        if reason is not None:
            if generation_config.compile_config is not None:  # the caller asks for it
                warnings.warn(f"decoding is not compiled: {reason}", stacklevel=4)
            return False
        of_one_part = {"past_key_values": cache.filled[0]}
        return super()._valid_auto_compile_criteria(of_one_part, generation_config)  # type: ignore[misc]

    def get_compiled_call(self, compile_config: Any) -> CompiledStep:
        """Return what `generate` calls in place of `forward` where it compiles its steps."""
        options = (compile_config or self._default_compile_config()).to_dict()
        if self._compiled_step is None or self._compiled_step.options != options:
            self._compiled_step = CompiledStep(self, options)
        self._compiled_step.begin(asked=compile_config is not None)
        return self._compiled_step

    def _prepare_position_ids_for_generation(self, inputs_tensor: Tensor, model_kwargs: Any) -> Any:
        """Leave positions to `forward` where the models do not count them from 0.

        Transformers' `generate` counts from 0 for every family. RoBERTa's forward does not.
        """
        if self.first_position:
            return None
        return super()._prepare_position_ids_for_generation(inputs_tensor, model_kwargs)

    def _prepare_generation_config(self, generation_config: Any, **kwargs: Any) -> Any:
        """Let transformers put the settings of a call together, and refuse what cannot be done."""
        prepared = super()._prepare_generation_config(generation_config, **kwargs)  # type: ignore[misc]
        settings = prepared[0]
        check_settings(settings)
        if settings.compile_config is not None:  # the caller asks for it
            reason = reason_not_to_compile_a_call(settings)
            if reason is not None:
                warnings.warn(f"decoding is not compiled: {reason}", stacklevel=4)
        return prepared

    def _get_logits_processor(self, *args: Any, **kwargs: Any) -> Any:
        """Let transformers make the logits processors, and give those that call the model a lam."""
        processors = super()._get_logits_processor(*args, **kwargs)  # type: ignore[misc]
        lam = (kwargs.get("model_kwargs") or {}).get("lam")
        if lam is None:
            return processors
        replace_lam_of_call(self, lam)
        return with_own_guidance(
            processors,
            self,
            lam,
            kwargs["input_ids_seq_length"],
            len(kwargs["encoder_input_ids"]),
            kwargs.get("negative_prompt_ids"),
        )

    def _get_candidate_generator(  # type: ignore[override]
        self, generation_config: Any, *args: Any, model_kwargs: dict[str, Any], **kwargs: Any
    ) -> Any:
        """Pass no lam to an assistant that drafts tokens, because it is a plain model."""
        check_drafting(generation_config)
        for_assistant = dict(model_kwargs)
        for_assistant.pop("lam", None)
        for_assistant.pop("completion_start", None)
        return super()._get_candidate_generator(  # type: ignore[misc]
            generation_config, *args, model_kwargs=for_assistant, **kwargs
        )

    def _part_logits(
        self,
        run: Sequence[bool],
        inputs: PartInputs,
        cache: RealignedCache | None,
        keep: int,
        rows: Tensor | None,
        device: torch.device,
        whole: dict[int, Any] | None,
    ) -> list[Tensor | None]:
        """Return the logits of each part; None for a part that does not run.

        They are cut to the last `keep` positions (all if it is 0), to the tokens that all parts
        know, and to `rows`. If `whole` is given, the whole output of each part is put there.
        """
        logits: list[Tensor | None] = [None] * len(self.parts)
        outputs = self.reader.read(run, inputs, cache, self.training, whole)
        for index, part_logits in outputs.items():
            part_logits = inputs.in_order(part_logits)
            part_logits = part_logits[:, -keep:, : self.vocabulary_size].to(device)
            logits[index] = part_logits if rows is None else part_logits[rows]
        return logits


def check_pair(model: RealignedModel) -> None:
    """Refuse a model that mixes several aligned models, for which one lam is not enough.

    Raises:
        ValueError: naming the aligned models.
    """
    if len(model.names) != 1:
        raise ValueError(
            f"this needs one aligned model, and the model has {model.names}: "
            "realign with one at a time"
        )
