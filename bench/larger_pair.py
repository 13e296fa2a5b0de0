"""Make a pair so large that reading its weights takes most of the time.

With smaller models, calling the layers takes most of the time. The base is random and the adapter
is trained for a few steps. The text is random words, because only the time matters here and not
what the pair writes.

Settings: `bench.settings.Making`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bench.settings import Making, Training
from study import job

PAD = "<pad>"
END = "<end>"


def make(settings: Making, progress: job.Progress) -> tuple[Any, PreTrainedTokenizerFast]:
    """Return a random Llama with a trained adapter, and its tokenizer."""
    config = LlamaConfig(
        **settings.shape,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        tie_word_embeddings=True,
    )
    base: Any = LlamaForCausalLM(config).to(job.device(), getattr(torch, settings.dtype))
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **settings.lora))
    vocabulary = settings.shape["vocab_size"]
    train(model, vocabulary, settings.training, progress)
    return model, tokenizer_of(vocabulary)


def train(model: Any, vocabulary: int, training: Training, progress: job.Progress) -> None:
    """Train the adapter for a few steps on random texts of the first half of the words."""
    device = next(model.parameters()).device
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=training.learning_rate)
    for step in range(1, training.steps + 1):
        ids = torch.randint(2, vocabulary // 2, (training.batch_size, training.tokens)).to(device)
        loss = model(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        progress.update(step, training.steps, "steps", loss=float(loss.detach()))


def tokenizer_of(vocabulary: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer of the words w2, w3, ..., one token each."""
    words = [PAD, END, *(f"w{i}" for i in range(2, vocabulary))]
    ids = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(WordLevel(ids, unk_token=PAD))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END)


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument(
        "--reference", type=Path, required=True, help="folder to make for the base and tokenizer"
    )
    parser.add_argument(
        "--adapter", type=Path, required=True, help="folder to make for the adapter"
    )
    args = parser.parse_args()
    with job.running("larger pair", args) as progress:
        torch.manual_seed(args.seed)
        model, tokenizer = make(job.settings_of(args, Making), progress)
        with job.atomic_path(args.adapter) as path:
            model.save_pretrained(path, save_embedding_layers=False)
        with job.atomic_path(args.reference) as path:
            model.unload().save_pretrained(path)
            tokenizer.save_pretrained(path)


if __name__ == "__main__":
    main()
