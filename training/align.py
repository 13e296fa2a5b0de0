"""Align the reference at one beta and seed; the result is a PEFT adapter on the reference.

Settings: {"task": {"name", "settings"}, "lora": ..., "objective": ..., "max_new_tokens": ..., "preferences": ...}; `objective` is the alignment's own
section of the config, `preferences` that of the pairs it learns from, if it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset
from peft import LoraConfig
from transformers import set_seed

import tasks
from study import job
from tasks.rewards.learned import LearnedReward
from training import objectives
from training import trainer as shared


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("name", help="the alignment's name in the config")
    parser.add_argument(
        "--beta",
        required=True,
        help="KL regularisation strength, larger stays closer to the reference",
    )
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument(
        "--examples",
        type=Path,
        required=True,
        help="Parquet file with prompts, or preference pairs",
    )
    parser.add_argument(
        "--reward-model",
        type=Path,
        help="folder of the reward model, where that is what is maximised",
    )
    parser.add_argument(
        "--checkpoints",
        type=Path,
        required=True,
        help="folder to resume from after an interruption",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the adapter")
    args = parser.parse_args()
    settings = args.settings["objective"]
    objective = objectives.load(settings.get("objective", args.name))
    inputs = [args.reference, args.examples, *([args.reward_model] if args.reward_model else [])]
    checkpoints = shared.resume_folder(args.checkpoints, inputs)
    label = f"{args.settings['task']['name']} {args.name} beta={args.beta} seed={args.seed}"
    with job.running(label, args) as progress:
        model, tokenizer = shared.load_model(args.reference)
        examples = Dataset.from_parquet(str(args.examples))
        columns = ["prompt"] if objective.DATA == "prompts" else ["prompt", "chosen", "rejected"]
        set_seed(args.seed)
        trainer = objective.make_trainer(
            objectives.ObjectiveInputs(
                model=model,
                tokenizer=tokenizer,
                dataset=examples.select_columns(columns),
                reward=reward_of(args.settings, args.reward_model),
                beta=float(args.beta),
                adapter=lora(args.settings["lora"]),
                arguments=shared.common_arguments(checkpoints, settings, args.seed),
                settings=settings,
                max_new_tokens=args.settings["max_new_tokens"],
                sharpness=sharpness_of(args.settings),
            )
        )
        seconds = shared.train(trainer, checkpoints, progress)
        record = {
            "stage": "align",
            "objective": args.name,
            "beta": args.beta,
            "seed": args.seed,
            "seconds": seconds,
        }
        shared.save(trainer, args.output, args.checkpoints, {**record, "settings": args.settings})


def reward_of(settings: dict, reward_model: Path | None) -> objectives.Reward:
    """What an objective that samples maximises: the reward model where there is one, else the task's gold or a sum of its measures."""
    if reward_model is not None:
        learned = LearnedReward(reward_model, job.device())
        return lambda prompts, completions, ids, finished: learned(prompts, ids, finished)
    task, reward = tasks.create(**settings["task"]), settings["objective"].get("reward", "gold")
    weights = {reward: 1.0} if isinstance(reward, str) else reward

    def judged(
        prompts: Sequence[str],
        completions: Sequence[str],
        ids: Sequence[Sequence[int]],
        _: Sequence[bool],
    ) -> list[float]:
        return tasks.weighted(task, tasks.judge(task, prompts, completions, ids), weights)

    return judged


def sharpness_of(settings: dict) -> float:
    """Log-odds of the labeller a unit of reward: its sharpness where the reward is gold, one where it is the labeller's own."""
    gold = settings["objective"].get("reward", "gold") == "gold"
    return settings["preferences"]["sharpness"] if gold and "preferences" in settings else 1.0


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
