"""Align the reference at one beta and seed, which gives a PEFT adapter on the reference."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import Trainer, set_seed

import tasks
from dera import chat
from study import job
from tasks import TaskSettings
from tasks.rewards.learned import LearnedReward
from training import model_card, objectives
from training import trainer as shared
from training.adapter import LoraSettings, lora_config
from training.log_probs import CHOSEN_LOGP, REJECTED_LOGP
from training.settings import OptimiserSettings, PreferenceSettings

#: Columns of pairs that were sampled from the reference, which pairs of the user's own lack.
OF_REFERENCE = (CHOSEN_LOGP, REJECTED_LOGP)


@job.settings_class
class ObjectiveSettings(OptimiserSettings):
    """One objective's section of the config, without its strengths and seeds.

    `objective` names the objective's module where the section has another name than the module.
    `reward` is "gold", "learned", "labeller", or the weights of a sum of the task's measures. Only
    objectives that sample have `samples_per_prompt` and `updates_per_sample`.
    """

    objective: str | None = None
    reward: str | dict[str, float] = "gold"
    samples_per_prompt: int | None = None
    updates_per_sample: int | None = None


@job.settings_class
class AlignSettings:
    """Everything that shapes an alignment, except its beta and its seed.

    `preferences` says how the pairs were made that the objective learns from. It is None where the
    objective does not learn from pairs, or learns from pairs of the user's own.
    """

    task: TaskSettings
    lora: LoraSettings
    objective: ObjectiveSettings
    max_new_tokens: int
    preferences: PreferenceSettings | None = None


def reward_of(settings: AlignSettings, reward_model: Path | None) -> objectives.Reward:
    """Return the reward that an objective which samples maximises.

    It is the reward model's score where there is one, and otherwise the task's gold or a weighted
    sum of the task's measures.
    """
    if reward_model is not None:
        learned = LearnedReward(reward_model, job.device())
        return lambda prompts, completions, ids, finished: learned(prompts, ids, finished)
    task = settings.task.create()
    reward = settings.objective.reward
    weights = {reward: 1.0} if isinstance(reward, str) else reward

    def judged(
        prompts: Sequence[str],
        completions: Sequence[str],
        ids: Sequence[Sequence[int]],
        _: Sequence[bool],
    ) -> list[float]:
        return tasks.weighted(task, tasks.judge(task, prompts, completions, ids), weights)

    return judged


def of_asked(
    reward: objectives.Reward, as_read: Sequence[str], asked: Sequence[str]
) -> objectives.Reward:
    """Return the reward for prompts as the model reads them.

    Args:
        reward: judges completions of prompts as the task writes them.
        as_read: the prompts as the model reads them, in a chat template if there is one.
        asked: the same prompts as the task writes them.
    """
    written = dict(zip(as_read, asked, strict=True))

    def of_read(prompts: Sequence[str], *completions: Any) -> list[float]:
        return reward([written[prompt] for prompt in prompts], *completions)

    return of_read


def sharpness_of(settings: AlignSettings) -> float:
    """Return the labeller's log-odds for one unit of the reward.

    This is the labeller's sharpness where the reward is gold. It is one where the reward is the
    labeller's own utility, which is measured in log-odds. That is so for pairs of the user's own,
    whoever labelled them.
    """
    if settings.preferences is None or settings.objective.reward != "gold":
        return 1.0
    sharpness = settings.preferences.sharpness
    if sharpness is None:
        raise ValueError("preferences.sharpness is missing: pairs for an objective need a labeller")
    return sharpness


def make_trainer(args: argparse.Namespace, settings: AlignSettings, checkpoints: Path) -> Trainer:
    """Load the objective, the reference and the examples, and return the objective's trainer."""
    objective = objectives.load(settings.objective.objective or args.name)
    model, tokenizer = shared.load_model(args.reference, "float32")
    examples = Dataset.from_parquet(str(args.examples))
    columns = ["prompt"]
    if objective.DATA == "preferences":
        columns += ["chosen", "rejected"]
        columns += [name for name in OF_REFERENCE if name in examples.column_names]
    asked = list(examples["prompt"])
    as_read = chat.rendered(tokenizer, asked)
    table = {name: list(examples[name]) for name in columns} | {"prompt": as_read}
    set_seed(args.seed)
    return objective.make_trainer(
        objectives.ObjectiveInputs(
            model=model,
            tokenizer=tokenizer,
            dataset=Dataset.from_dict(table),
            reward=of_asked(reward_of(settings, args.reward_model), as_read, asked),
            beta=float(args.beta),
            adapter=lora_config(settings.lora, model),
            arguments=shared.common_arguments(checkpoints, settings.objective, args.seed),
            settings=args.settings["objective"],
            max_new_tokens=settings.max_new_tokens,
            sharpness=sharpness_of(settings),
        )
    )


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = shared.parser(__doc__, output="folder for the adapter")
    parser.add_argument("name", help="the alignment's name in the config")
    parser.add_argument(
        "--beta",
        required=True,
        help="KL regularisation strength; a larger one stays closer to the reference",
    )
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument(
        "--examples",
        type=Path,
        required=True,
        help="Parquet file with prompts or with preference pairs, as the objective needs",
    )
    parser.add_argument(
        "--reward-model",
        type=Path,
        help="folder of the reward model, if the objective maximises its score",
    )
    return parser.parse_args()


def main() -> None:
    args = arguments()
    settings = job.settings_of(args, AlignSettings)

    inputs = [args.reference, args.examples]
    if args.reward_model:
        inputs.append(args.reward_model)
    checkpoints = shared.resume_folder(args.checkpoints, inputs)

    label = f"{settings.task.name} {args.name} beta={args.beta} seed={args.seed}"
    with job.running(label, args) as progress:
        trainer = make_trainer(args, settings, checkpoints)
        seconds = shared.train(trainer, checkpoints, args.output, progress)
        record = {
            "stage": "align",
            "objective": args.name,
            "beta": args.beta,
            "seed": args.seed,
            "seconds": seconds,
            "settings": args.settings,
        }
        shared.save(trainer, args.output, args.checkpoints, record, model_card.of_adapter)


if __name__ == "__main__":
    main()
