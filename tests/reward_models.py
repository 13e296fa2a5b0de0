"""A reward model of random weights, small enough for a test."""

import torch
from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerBase


def random_reward_model(tokenizer: PreTrainedTokenizerBase) -> LlamaForSequenceClassification:
    """Return a model with the same weights each time.

    The weights are spread so widely that completions get different scores.
    """
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        initializer_range=0.4,
        num_labels=1,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForSequenceClassification(config)
