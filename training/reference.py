"""Where a reference starts: a small model of random weights, or one that others have pretrained.

A pretrained model comes from a folder, from a folder that was fetched from the Hub, or from a GGUF
file. transformers reads a GGUF file but cannot save what it read, so its weights are copied into a
plain model (`as_plain_model`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from tokenizers import processors
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from study import job

#: The precisions in which a pretrained model may be kept.
Precision = Literal["float32", "bfloat16", "float16"]

#: A tokenizer is tried on this text.
TRIED_TEXT = "One sentence."


class PretrainedError(ValueError):
    """A pretrained model that the study cannot start from; the message says why."""


@job.settings_class
class ModelSettings:
    """The config's section `model`: the model trained from scratch, and its tokenizer."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    max_positions: int
    max_new_tokens: int


@job.settings_class
class PretrainedSettings:
    """The config's section `model` where it names a pretrained model.

    `pretrained` says where the model is fetched from. `chat` says whether prompts are turns of a
    chat, and `chat_template` replaces the model's own template. A prompt and its completion have at
    most `max_positions` tokens together. `dtype` is the precision in which the model is kept, and
    the reference too.
    """

    pretrained: dict[str, Any]
    chat: bool
    max_positions: int
    max_new_tokens: int
    dtype: Precision = "float32"
    chat_template: str | None = None


def new_model(settings: ModelSettings, tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    """Return a Llama of the asked size with random weights."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.hidden_size,
            intermediate_size=settings.intermediate_size,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            max_position_embeddings=settings.max_positions,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def load_pretrained(
    path: Path, dtype: Precision = "float32", key: str = "model.pretrained"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a pretrained model with its tokenizer.

    Args:
        path: a folder with safetensors and a tokenizer, or a GGUF file that has both.
        dtype: the precision of its weights.
        key: where the model stands in the config, for messages.

    Raises:
        PretrainedError: if there is no such model, or if it is of a kind that cannot be read.
    """
    if path.is_dir():
        place, options = path, {}
        if not list(path.glob("*.safetensors")):
            raise PretrainedError(
                f"{key}: {path} has no *.safetensors file; weights that are pickled are "
                "not loaded, so save the model with `save_pretrained` first"
            )
    elif path.suffix == ".gguf":
        place, options = path.parent, {"gguf_file": path.name}
    else:
        raise PretrainedError(f"{key}: {path} is neither a folder nor a file that ends in .gguf")
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, **options)
        safe = {} if options else {"use_safetensors": True}
        model = AutoModelForCausalLM.from_pretrained(place, dtype=dtype, **options, **safe)
    except Exception as error:  # a broken or unknown file may raise anything
        raise PretrainedError(
            f"{key}: transformers cannot read {path}: {type(error).__name__}: {error}"
        ) from error
    return as_plain_model(model), tokenizer


def as_plain_model(model: PreTrainedModel) -> PreTrainedModel:
    """Return a model with the same weights that can be saved.

    What transformers has read from a GGUF file remembers that it was quantized, and refuses to be
    saved.
    """
    if getattr(model.config, "quantization_config", None) is None:
        return model
    config = model.config
    del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=model.dtype)
    plain.load_state_dict(model.state_dict())
    plain.generation_config = model.generation_config
    return plain


def prepare_tokenizer(
    tokenizer: PreTrainedTokenizerBase,
    model: PreTrainedModel,
    chat: bool,
    chat_template: str | None = None,
) -> None:
    """Make a pretrained tokenizer fit the study, in place.

    Afterwards it pads on the left, adds no special tokens by itself, and has a chat template if and
    only if a prompt needs something around it. That is a chat's turn, or the token that begins a
    text.

    Args:
        tokenizer: the model's tokenizer.
        model: the pretrained model.
        chat: whether prompts are turns of a chat.
        chat_template: a template (Jinja) that takes the place of the tokenizer's own.

    Raises:
        PretrainedError: if prompts are to be turns of a chat and there is no chat template, if the
            template loses the prompt, if no token ends a text, or if the tokenizer cannot be kept
            from adding tokens.
    """
    if tokenizer.eos_token_id is None:
        raise PretrainedError("model.pretrained: the tokenizer has no token that ends a text")
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    if tokenizer.eos_token_id not in ends:
        raise PretrainedError(
            f"model.pretrained: the tokenizer ends a text with token {tokenizer.eos_token_id}, and "
            f"the model's generation_config.json with {ends}; make them agree in a copy of the "
            "model's folder"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    model.config.pad_token_id = tokenizer.pad_token_id

    # What stands around a prompt is written by the template, and by nothing else.
    begins_with_bos = _adds_tokens(tokenizer)
    if begins_with_bos:
        _stop_adding_tokens(tokenizer)
    if chat:
        if chat_template is not None:
            tokenizer.chat_template = chat_template
        if not tokenizer.chat_template:
            raise PretrainedError(
                "model.chat = true: the pretrained model has no chat template; say "
                "`chat: false`, name an instruction-tuned model, or write a template at "
                "model.chat_template"
            )
        _check_chat_template(tokenizer)
    elif begins_with_bos:
        tokenizer.chat_template = "{{ bos_token }}{{ messages[-1]['content'] }}"
    else:
        tokenizer.chat_template = None


def _check_chat_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Check that the tokenizer's template can render a user's turn, and that it keeps its text.

    Raises:
        PretrainedError: if it cannot.
    """
    turns = [{"role": "user", "content": TRIED_TEXT}]
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template may raise anything
        raise PretrainedError(
            f"model.chat_template: the template cannot render a user's turn: {error}"
        ) from error
    if TRIED_TEXT not in text:
        raise PretrainedError(
            f"model.chat_template: the template loses what the user wrote; it renders {turns} as "
            f"{text!r}"
        )


def _adds_tokens(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether the tokenizer adds special tokens to a text."""
    bare = tokenizer(TRIED_TEXT, add_special_tokens=False).input_ids
    return tokenizer(TRIED_TEXT).input_ids != bare


def _stop_adding_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    """Keep a tokenizer from adding special tokens to texts."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.post_processor = processors.Sequence([])
    if _adds_tokens(tokenizer):
        raise PretrainedError(
            f"model.pretrained: {type(tokenizer).__name__} cannot be kept from adding special "
            "tokens to each text; name a model with a fast tokenizer (tokenizer.json)"
        )


def check_lengths(
    prompt_ids: Sequence[Sequence[int]], settings: ModelSettings | PretrainedSettings
) -> None:
    """Check that the longest prompt and a completion fit into the model's positions together.

    Otherwise the prompt would be cut in training and misread in decoding.

    Args:
        prompt_ids: the tokens of each prompt, with those of the chat template.
        settings: the config's section `model`.

    Raises:
        ValueError: if they do not fit.
    """
    longest = max(map(len, prompt_ids))
    needed = longest + settings.max_new_tokens
    if needed > settings.max_positions:
        raise ValueError(
            f"model.max_positions = {settings.max_positions}: the longest prompt has {longest} "
            f"tokens and model.max_new_tokens = {settings.max_new_tokens}, so model.max_positions "
            f"must be at least {needed}"
        )


def check_positions(model: PreTrainedModel, settings: PretrainedSettings) -> None:
    """Check that a pretrained model can read as many positions as the config says.

    Raises:
        PretrainedError: if it cannot.
    """
    most = getattr(model.config, "max_position_embeddings", None)
    if most is not None and settings.max_positions > most:
        raise PretrainedError(
            f"model.max_positions = {settings.max_positions}: the pretrained model has only {most}"
        )
