"""Align the reference at one beta and seed with one objective; the result is a PEFT adapter on the reference.

Settings: {"task": ..., "lora": ..., "objective": ..., "max_new_tokens": ..., "sharpness": ...}; `objective` is the objective's own section.
"""

from __future__ import annotations

from pathlib import Path

from datasets import Dataset
from peft import LoraConfig
from transformers import set_seed

import tasks
from study import job
from training import objectives
from training import trainer as shared


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("objective", choices=objectives.available())
    parser.add_argument("--beta", required=True, help="KL regularisation strength, larger stays closer to the reference")
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument("--examples", type=Path, required=True, help="Parquet file with prompts, or preference pairs")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder to resume from after an interruption")
    parser.add_argument("--output", type=Path, required=True, help="folder for the adapter")
    args = parser.parse_args()
    objective, settings = objectives.load(args.objective), args.settings["objective"]
    checkpoints = shared.resume_folder(args.checkpoints, [args.reference, args.examples])
    with job.running(f"{args.objective} beta={args.beta} seed={args.seed}", args) as progress:
        model, tokenizer = shared.load_model(args.reference)
        examples = Dataset.from_parquet(str(args.examples))
        columns = ["prompt"] if objective.DATA == "prompts" else ["prompt", "chosen", "rejected"]
        set_seed(args.seed)
        trainer = objective.make_trainer(
            objectives.ObjectiveInputs(
                model=model,
                tokenizer=tokenizer,
                dataset=examples.select_columns(columns),
                reward=tasks.create(args.settings["task"]).reward,
                beta=float(args.beta),
                adapter=lora(args.settings["lora"]),
                arguments=shared.common_arguments(checkpoints, settings, args.seed),
                settings=settings,
                max_new_tokens=args.settings["max_new_tokens"],
                sharpness=args.settings.get("sharpness", 1.0),
            )
        )
        seconds = shared.train(trainer, checkpoints, progress)
        record = {"stage": "align", "objective": args.objective, "beta": args.beta, "seed": args.seed, "seconds": seconds}
        shared.save(trainer, args.output, args.checkpoints, {**record, "settings": args.settings})


def lora(settings: dict) -> LoraConfig:
    """The adapter of the config's `lora` section."""
    return LoraConfig(
        r=settings["rank"],
        lora_alpha=settings["alpha"],
        target_modules=settings["target_modules"],
        task_type="CAUSAL_LM",
    )


if __name__ == "__main__":
    main()
