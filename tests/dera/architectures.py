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
_MAMBA = dict(mamba_n_heads=4, mamba_d_head=8, mamba_d_state=8, mamba_n_groups=1)
_EXPERTS = dict(num_local_experts=2, num_experts_per_tok=1)
_BERT = dict(
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    max_position_embeddings=64,
    initializer_range=0.6,
)
_T5GEMMA = dict(
    vocab_size=VOCABULARY,
    **_DECODER,
    head_dim=8,
    query_pre_attn_scalar=8,
    sliding_window=4,
    layer_types=["sliding_attention", "full_attention"],
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
    "qwen3_next": lambda: tf.Qwen3NextConfig(
        **_COMMON,
        **_DECODER,
        head_dim=8,
        layer_types=["linear_attention", "full_attention"],
        linear_num_value_heads=2,
        linear_num_key_heads=1,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        num_experts=3,
        num_experts_per_tok=2,
        moe_intermediate_size=8,
        shared_expert_intermediate_size=8,
    ),
    "jamba": lambda: tf.JambaConfig(
        **_COMMON,
        **_DECODER,
        num_experts=2,
        num_experts_per_tok=1,
        attn_layer_period=2,
        attn_layer_offset=1,
        mamba_d_state=4,
        mamba_dt_rank=4,
        use_mamba_kernels=False,
    ),
    "lfm2": lambda: tf.Lfm2Config(
        **_COMMON, **_DECODER, layer_types=["conv", "full_attention"], block_multiple_of=8
    ),
    "falcon_h1": lambda: tf.FalconH1Config(
        **_COMMON, **_DECODER, **_MAMBA, head_dim=8, mamba_d_ssm=32, mamba_chunk_size=8
    ),
    "bamba": lambda: tf.BambaConfig(
        **_COMMON, **_DECODER, **_MAMBA, attn_layer_indices=[1], mamba_chunk_size=8
    ),
    "granite_hybrid": lambda: tf.GraniteMoeHybridConfig(
        **_COMMON,
        **_DECODER,
        **_MAMBA,
        **_EXPERTS,
        layer_types=["mamba", "attention"],
        layers_block_type=["mamba", "attention"],
        mamba_chunk_size=8,
        shared_intermediate_size=16,
    ),
    "minimax": lambda: tf.MiniMaxConfig(
        **_COMMON,
        **_DECODER,
        **_EXPERTS,
        head_dim=8,
        layer_types=["full_attention", "linear_attention"],
        block_size=4,
    ),
    "recurrent_gemma": lambda: tf.RecurrentGemmaConfig(
        **_COMMON,
        **_DECODER,
        head_dim=8,
        lru_width=16,
        attention_window_size=4,
        block_types=["recurrent", "attention"],
    ),
    "deepseek_v4": lambda: tf.DeepseekV4Config(**_COMMON, **_DECODER),
    "roberta": lambda: tf.RobertaConfig(**_COMMON, **_BERT, is_decoder=True),
    "bert": lambda: tf.BertConfig(**_COMMON, **_BERT, is_decoder=True),
    "t5": lambda: tf.T5Config(**_COMMON, **_T5),
    "bart": lambda: tf.BartConfig(**_COMMON, **_BART, **_BART_FEED_FORWARD),
    "blenderbot": lambda: tf.BlenderbotConfig(
        **_COMMON, **_BART, **_BART_FEED_FORWARD, max_position_embeddings=64
    ),
    # A start token that is the padding token would not count as a position where it is read with
    # others, but would where it is cached.
    "m2m_100": lambda: tf.M2M100Config(
        **(_COMMON | _BART | _BART_FEED_FORWARD | {"decoder_start_token_id": 2}),
        max_position_embeddings=64,
    ),
    "t5gemma": lambda: tf.T5GemmaConfig(
        encoder=_T5GEMMA,
        decoder=_T5GEMMA | {"is_decoder": True},
        **_COMMON,
        decoder_start_token_id=2,
    ),
    "two_roberta": lambda: tf.EncoderDecoderConfig(
        encoder=tf.RobertaConfig(**_COMMON, **_BERT).to_dict(),
        decoder=tf.RobertaConfig(
            **_COMMON, **_BERT, is_decoder=True, add_cross_attention=True
        ).to_dict(),
        decoder_start_token_id=2,
        pad_token_id=PAD,
        eos_token_id=EOS,
    ),
}
DECODERS = ["llama", "qwen", "mistral", "mixtral", "gpt2", "gemma"]
ENCODER_DECODERS = ["t5", "bart"]
#: Models whose layers keep more of a text than each token's keys and values.
HYBRIDS = ["qwen3_next", "jamba", "lfm2", "falcon_h1", "bamba", "granite_hybrid", "minimax"]
#: Models that cannot do all that `generate` offers, in transformers itself or in a mixture, or that
#: the oracle does not know: `tests/dera/test_families.py` says what they can.
RESTRICTED = ["minimax", "recurrent_gemma", "deepseek_v4", "roberta", "m2m_100", "two_roberta"]


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
