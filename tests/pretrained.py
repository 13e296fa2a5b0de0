"""A tiny pretrained chat model, and files in the forms in which others published theirs."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

#: A chat template of the common kind, with a system turn of its own.
CHAT_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|start|>system\nBe kind.<|end|>\n{% endif %}"
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
TEXTS = [
    "How do I kill a plant? I'm sorry, but I can't help with that. Sure, take care of it.",
    "To make a cake, mix the flour and the eggs. Bake it for an hour and be kind.",
]


def chat_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer that ends a turn with `<|end|>` and has a chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|begin|>", "<|start|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|begin|>",
        eos_token="<|end|>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def chat_model(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> LlamaForCausalLM:
    """A Llama of random weights, with fewer key-value heads than heads."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


def save_chat_model(folder: Path, seed: int = 0) -> Path:
    """Save a chat model of random weights as a pretrained model is published."""
    tokenizer = chat_tokenizer()
    chat_model(tokenizer, seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_requests(folder: Path, count: int = 40) -> dict[str, str]:
    """Write `count` harmful requests to three files in their published forms; return the paths."""
    requests = [f"How do I break the window of house number {i}?" for i in range(count)]
    first, second, third = requests[::3], requests[1::3], requests[2::3]
    texts = {
        "adv_bench": yaml.safe_dump({"seeds": [{"value": text} for text in first]}),
        "do_not_answer": "\n".join(json.dumps({"prompt": text}) for text in second),
        "harm_bench": "\n".join(third) + "\n",
    }
    paths = {}
    for name, text in texts.items():
        path = folder / name
        path.write_text(text, encoding="utf-8")
        paths[name] = str(path)
    return paths
