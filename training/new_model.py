"""Save a new model of random weights that reads with the tokenizer of a model that exists.

The logits of two models can be mixed only if they are about the same tokens.
"""

from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer, set_seed

from study import job
from training import reference
from training import trainer as shared
from training.reference import ModelSettings


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument(
        "--tokenizer", type=Path, required=True, help="folder of the model that has the tokenizer"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the model")
    args = parser.parse_args()
    settings = job.settings_of(args, ModelSettings)
    with job.running("new model", args) as progress:
        tokenizer = AutoTokenizer.from_pretrained(args.tokenizer, padding_side="left")
        set_seed(args.seed)
        model = reference.new_model(settings, tokenizer)
        record = {"stage": "new model", "seed": args.seed, "settings": args.settings}
        shared.save_untrained(model, tokenizer, args.output, record)
        progress.say(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens")


if __name__ == "__main__":
    main()
