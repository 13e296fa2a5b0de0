"""Load an aligned model that others trained, and save it where an alignment would save its own.

The model is a whole one or a PEFT adapter on the reference. Later jobs read either as they read
what `training.align` made. Its tokenizer must be the reference's, and the reference's is saved with
it, so that prompts are read alike.

No optimum is known: nothing here says which reward the model was trained on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from dera.model.adapters import is_adapter, warn_of_another_base, with_adapters
from dera.model.sources import Source
from dera.model.vocabulary import check_same_tokenizer
from study import job
from training import reference
from training import trainer as shared
from training.reference import Precision, PretrainedError


@job.settings_class
class LoadingSettings:
    """Which model is loaded.

    `pretrained` says where it comes from, and is kept in the record. `dtype` is the precision of a
    whole model. An adapter keeps its own.
    """

    task: str
    pretrained: dict[str, Any]
    dtype: Precision = "float32"


def load_whole(
    path: Path, reference_folder: Path, dtype: Precision, key: str
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a whole model, and return it with the reference's tokenizer.

    Args:
        path: a folder with safetensors and a tokenizer, or a GGUF file.
        reference_folder: the folder of the reference.
        dtype: the precision of its weights.
        key: where the model stands in the config, for messages.

    Raises:
        PretrainedError: if it cannot be read, or if it has too few tokens.
        ValueError: if its tokenizer is not the reference's.
    """
    model, own = reference.load_pretrained(path, dtype, key)
    tokenizer = AutoTokenizer.from_pretrained(reference_folder, padding_side="left")
    check_same_tokenizer(tokenizer, own, (str(reference_folder), str(path)))
    tokens = max(tokenizer.get_vocab().values()) + 1
    if model.config.vocab_size < tokens:
        raise PretrainedError(
            f"{key}: {path} has {model.config.vocab_size} rows for the {tokens} tokens of the "
            "reference; name a model that was trained from this reference"
        )

    # It ends and pads a text as the reference does.
    model.config.pad_token_id = tokenizer.pad_token_id
    model.generation_config = GenerationConfig.from_pretrained(reference_folder)
    return model, tokenizer


def load_adapter(
    path: Path, reference_folder: Path
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Put an adapter on the reference, and return it with the reference's tokenizer.

    Raises:
        ValueError: if it does not fit the reference, or if its weights are pickled.
    """
    Source(str(path)).adapter_folder()  # refuses pickled weights
    warn_of_another_base(str(path), str(reference_folder))
    base, tokenizer = shared.load_model(reference_folder)
    model = with_adapters(base, str(reference_folder), {"default": str(path)}, keeps_base=False)
    # It fits this reference. From here on that is its base, wherever its trainer had it.
    model.peft_config["default"].base_model_name_or_path = str(reference_folder)
    return model, tokenizer


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = job.parser(__doc__)
    parser.add_argument("name", help="the objective's name in the config")
    parser.add_argument("--beta", required=True, help="the strength that the model stands for")
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument(
        "--pretrained",
        type=Path,
        required=True,
        help="the model's or the adapter's folder, or a GGUF file",
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="folder for the model or the adapter"
    )
    return parser.parse_args()


def main() -> None:
    args = arguments()
    settings = job.settings_of(args, LoadingSettings)
    with job.running(f"{settings.task} load {args.name} beta={args.beta}", args) as progress:
        if is_adapter(args.pretrained):
            model, tokenizer = load_adapter(args.pretrained, args.reference)
            kind = "an adapter"
        else:
            key = f"alignment.objectives.{args.name}.pretrained"
            model, tokenizer = load_whole(args.pretrained, args.reference, settings.dtype, key)
            kind = "a whole model"
        record = {
            "stage": "load",
            "objective": args.name,
            "beta": args.beta,
            "seed": args.seed,
            "loaded_from": settings.pretrained,
            "settings": args.settings,
        }
        shared.save_untrained(model, tokenizer, args.output, record)
        progress.say(f"{kind} of {model.num_parameters():,} parameters")


if __name__ == "__main__":
    main()
