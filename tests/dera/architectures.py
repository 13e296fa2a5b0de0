"""Tiny random models of several architectures, with next-token distributions far from uniform."""

from __future__ import annotations

import torch
import transformers as tf
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

VOCABULARY, EOS, PAD = 13, 0, 1
_COMMON = dict(vocab_size=VOCABULARY, bos_token_id=None, eos_token_id=EOS, pad_token_id=PAD)
_DECODER = dict(
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    initializer_range=0.6,
)
_T5 = dict(
    d_model=16,
    d_kv=8,
    d_ff=24,
    num_layers=2,
    num_heads=2,
    decoder_start_token_id=PAD,
    initializer_factor=3.0,
)
_BART = dict(
    d_model=16,
    encoder_layers=1,
    decoder_layers=2,
    encoder_attention_heads=2,
    decoder_attention_heads=2,
)
_BART_FEED_FORWARD = dict(
    encoder_ffn_dim=24,
    decoder_ffn_dim=24,
    decoder_start_token_id=PAD,
    forced_eos_token_id=None,
    init_std=0.6,
)

CONFIGS = {
    "llama": lambda: tf.LlamaConfig(**_COMMON, **_DECODER),
    "qwen": lambda: tf.Qwen2Config(**_COMMON, **_DECODER),
    "mistral": lambda: tf.MistralConfig(**_COMMON, **_DECODER, sliding_window=4),
    "mixtral": lambda: tf.MixtralConfig(
        **_COMMON, **_DECODER, num_local_experts=3, num_experts_per_tok=2, sliding_window=None
    ),
    "gpt2": lambda: tf.GPT2Config(
        **_COMMON, n_embd=16, n_layer=2, n_head=2, n_positions=64, initializer_range=0.6
    ),
    "gemma": lambda: tf.Gemma2Config(
        **_COMMON,
        **_DECODER,
        head_dim=8,
        sliding_window=4,
        final_logit_softcapping=5.0,
        attn_logit_softcapping=5.0,
    ),
    "t5": lambda: tf.T5Config(**_COMMON, **_T5),
    "bart": lambda: tf.BartConfig(**_COMMON, **_BART, **_BART_FEED_FORWARD),
}
DECODERS = ["llama", "qwen", "mistral", "mixtral", "gpt2", "gemma"]
ENCODER_DECODERS = ["t5", "bart"]


def tiny(architecture: str, seed: int, **changes) -> PreTrainedModel:
    """Return a random model of that architecture, without dropout.

    The same seed gives the same weights. `changes` are attributes of the configuration.
    """
    torch.manual_seed(seed)
    config = CONFIGS[architecture]()
    for name, value in changes.items():
        setattr(config, name, value)
    auto = tf.AutoModelForSeq2SeqLM if config.is_encoder_decoder else tf.AutoModelForCausalLM
    return auto.from_config(config).eval()


def tiny_adapter(base: PreTrainedModel, seed: int, **changes) -> PeftModel:
    """Return a PEFT model on a decoder-only `base` whose adapter changes the logits visibly.

    `changes` are arguments of `LoraConfig`.
    """
    torch.manual_seed(seed)
    options = dict(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(base, LoraConfig(**(options | changes)))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()
