"""Train the reference: a small Llama from scratch on the demonstrations, with TRL's SFTTrainer.

Settings: {"model": ..., "sft": ...}, the config's sections of these names.
"""

from __future__ import annotations

from pathlib import Path

from datasets import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase, set_seed
from trl import SFTConfig, SFTTrainer

from study import job
from training import trainer as shared
from training.tokenizer import train_tokenizer


def new_model(settings: dict, tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    """A randomly initialised Llama of the size the config's `model` section names."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings["hidden_size"],
            intermediate_size=settings["intermediate_size"],
            num_hidden_layers=settings["layers"],
            num_attention_heads=settings["heads"],
            max_position_embeddings=settings["max_positions"],
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def check_lengths(demonstrations: Dataset, tokenizer: PreTrainedTokenizerBase, settings: dict) -> None:
    """Raise ValueError if a prompt leaves no room for a completion: it would be cut in training and misread in decoding."""
    longest = max(len(ids) for ids in tokenizer(list(demonstrations["prompt"])).input_ids)
    if longest + settings["max_new_tokens"] > settings["max_positions"]:
        raise ValueError(
            f"model.max_positions = {settings['max_positions']}: the longest prompt has {longest} tokens and "
            f"model.max_new_tokens = {settings['max_new_tokens']}, so at least {longest + settings['max_new_tokens']} are needed"
        )


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--train", type=Path, required=True, help="Parquet file of demonstrations")
    parser.add_argument("--validation", type=Path, required=True, help="Parquet file of held-out demonstrations")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder to resume from after an interruption")
    parser.add_argument("--output", type=Path, required=True, help="folder for the reference and its tokenizer")
    args = parser.parse_args()
    settings = args.settings["sft"]
    checkpoints = shared.resume_folder(args.checkpoints, [args.train, args.validation])
    with job.running("sft", args) as progress:
        demonstrations = Dataset.from_parquet(str(args.train))
        validation = Dataset.from_parquet(str(args.validation))
        tokenizer = train_tokenizer(demonstrations, args.settings["model"]["vocab_size"])
        check_lengths(demonstrations, tokenizer, args.settings["model"])
        set_seed(args.seed)
        model = new_model(args.settings["model"], tokenizer)
        progress.say(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens, {len(demonstrations)} documents")
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                **shared.common_arguments(checkpoints, settings, args.seed),
                weight_decay=settings["weight_decay"],
                max_length=args.settings["model"]["max_positions"],
                eval_strategy="steps",
                eval_steps=settings["eval_every"],
                per_device_eval_batch_size=4 * settings["batch_size"],
            ),
            train_dataset=demonstrations,
            eval_dataset=validation,
            processing_class=tokenizer,
        )
        seconds = shared.train(trainer, checkpoints, progress)
        record = {"stage": "sft", "seed": args.seed, "seconds": seconds, "settings": args.settings}
        shared.save(trainer, args.output, args.checkpoints, record)


if __name__ == "__main__":
    main()
