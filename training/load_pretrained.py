"""Load a pretrained model once, and save it as the study's later jobs read it.

They read a folder with safetensors in the config's precision (`model.dtype`) and a tokenizer that
fits the study (`training.reference`).
"""

from __future__ import annotations

from pathlib import Path

from study import job
from training import reference
from training.reference import PretrainedSettings


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument(
        "--pretrained", type=Path, required=True, help="the model's folder, or a GGUF file"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the model")
    args = parser.parse_args()
    settings = job.settings_of(args, PretrainedSettings)
    with job.running("load the pretrained model", args) as progress:
        model, tokenizer = reference.load_pretrained(args.pretrained, settings.dtype)
        reference.check_positions(model, settings)
        reference.prepare_tokenizer(tokenizer, model, settings.chat, settings.chat_template)
        with job.atomic_path(args.output) as folder:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        progress.say(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens")


if __name__ == "__main__":
    main()
