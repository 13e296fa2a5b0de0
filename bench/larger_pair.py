"""Make a pair large enough that its weights, and not the calls of its layers, take the time: a random base, a small trained delta.

The text is random words: what a pair of this size writes is of no interest here, only how long it takes.
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

from study import job

PAD, END = "<pad>", "<end>"


def make(
    shape: dict[str, Any], lora: dict[str, Any], training: dict[str, Any], progress: job.Progress
) -> tuple[Any, Any]:
    """A random Llama of this shape with an adapter, trained for a few steps toward half of the words, and its tokenizer."""
    base = LlamaForCausalLM(
        LlamaConfig(
            **shape, pad_token_id=0, eos_token_id=1, bos_token_id=None, tie_word_embeddings=True
        )
    )
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **lora))
    optimizer = torch.optim.AdamW(
        [each for each in model.parameters() if each.requires_grad], lr=training["learning_rate"]
    )
    for step in range(1, training["steps"] + 1):
        ids = torch.randint(
            2, shape["vocab_size"] // 2, (training["batch_size"], training["tokens"])
        )
        loss = model(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        progress.update(step, training["steps"], "steps", loss=float(loss.detach()))
    words = [PAD, END, *(f"w{i}" for i in range(2, shape["vocab_size"]))]
    words_only = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token=PAD))
    words_only.pre_tokenizer = WhitespaceSplit()
    return model, PreTrainedTokenizerFast(tokenizer_object=words_only, pad_token=PAD, eos_token=END)


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument(
        "--reference",
        type=Path,
        required=True,
        help="folder to make, of the base and its tokenizer",
    )
    parser.add_argument(
        "--adapter", type=Path, required=True, help="folder to make, of the adapter"
    )
    args = parser.parse_args()
    with job.running("larger pair", args) as progress:
        torch.manual_seed(args.seed)
        model, tokenizer = make(
            args.settings["shape"], args.settings["lora"], args.settings["training"], progress
        )
        with job.atomic_path(args.adapter) as path:
            model.save_pretrained(path, save_embedding_layers=False)
        with job.atomic_path(args.reference) as path:
            model.unload().save_pretrained(path)
            tokenizer.save_pretrained(path)


if __name__ == "__main__":
    main()
