"""Let the pretrained model write demonstrations, for a task that has none of its own.

For each prompt the task says how the demonstration begins, which may be with nothing. The model
goes on from there, and the task says what of the text is kept. So the demonstrations are the
model's own text, which it can learn from little data. The job writes a Parquet file with columns
`prompt` and `completion`.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from dera import chat
from study import job
from tasks import TaskSettings
from training import trainer as shared


@job.settings_class
class DemonstrationSettings:
    """The config's section `demonstrations`.

    Each prompt is asked `rounds` times. The model samples at `temperature`, at most
    `max_new_tokens` tokens, `batch_size` texts at once.
    """

    rounds: int
    temperature: float
    max_new_tokens: int
    batch_size: int


@job.settings_class
class WritingSettings:
    """The task, and how its demonstrations are written."""

    task: TaskSettings
    demonstrations: DemonstrationSettings


def write(
    task: Any,
    prompts: list[str],
    model: Any,
    tokenizer: Any,
    settings: DemonstrationSettings,
    seed: int,
    progress: job.Progress,
) -> dict[str, list[str]]:
    """Ask the model for a demonstration of each prompt, and return those that the task keeps.

    Raises:
        ValueError: if the task keeps none.
    """
    rng = random.Random(f"demonstrations {seed}")
    torch.manual_seed(seed)
    asked = prompts * settings.rounds
    kept: dict[str, list[str]] = {"prompt": [], "completion": []}
    for start in range(0, len(asked), settings.batch_size):
        batch = asked[start : start + settings.batch_size]
        openings = [task.opening(prompt, rng) for prompt in batch]

        # The model goes on after the prompt and the opening.
        begun = [
            prompt + opening
            for prompt, opening in zip(chat.rendered(tokenizer, batch), openings, strict=True)
        ]
        inputs = tokenizer(begun, add_special_tokens=False, padding=True, return_tensors="pt")
        inputs = inputs.to(model.device)
        written = model.generate(
            **inputs,
            max_new_tokens=settings.max_new_tokens,
            do_sample=True,
            temperature=settings.temperature,
            top_k=0,
            top_p=1.0,
        )
        new_tokens = written[:, inputs["input_ids"].shape[1] :]
        texts = tokenizer.batch_decode(new_tokens, skip_special_tokens=True)

        # The task keeps what is whole.
        for prompt, opening, text in zip(batch, openings, texts, strict=True):
            demonstration = task.demonstration(prompt, opening + text)
            if demonstration is not None:
                kept["prompt"].append(prompt)
                kept["completion"].append(demonstration)
        progress.update(start + len(batch), len(asked), "texts")
    progress.say(f"kept {len(kept['prompt'])} of {len(asked)} texts")
    if not kept["prompt"]:
        raise ValueError(
            f"task {task.name}: no text of the pretrained model can be a demonstration; raise "
            "demonstrations.max_new_tokens or lower demonstrations.temperature"
        )
    return kept


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument(
        "--pretrained", type=Path, required=True, help="folder of the pretrained model"
    )
    parser.add_argument(
        "--prompts", type=Path, required=True, help="Parquet file with a column prompt"
    )
    parser.add_argument("--output", type=Path, required=True, help="Parquet file")
    args = parser.parse_args()
    settings = job.settings_of(args, WritingSettings)
    label = f"{settings.task.name} demonstrations {args.output.stem}"
    with job.running(label, args) as progress:
        model, tokenizer = shared.load_model(args.pretrained)
        model.to(job.device())
        prompts = list(Dataset.from_parquet(str(args.prompts))["prompt"])
        task = settings.task.create()
        kept = write(
            task, prompts, model.eval(), tokenizer, settings.demonstrations, args.seed, progress
        )
        with job.atomic_path(args.output) as path:
            Dataset.from_dict(kept).to_parquet(path)


if __name__ == "__main__":
    main()
