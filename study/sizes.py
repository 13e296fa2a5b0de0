"""How much disk and memory a study's pretrained models take, so that the user is told before.

Models that are trained from scratch are small, and nothing is said of them.
"""

from __future__ import annotations

from study.plan import Plan, TaskPlan
from study.sources import needs_fetching

#: Bytes of a weight, by the config's `model.dtype`. Downloads are mostly in half precision.
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
BYTES_DOWNLOADED = 2
#: The check of identities has two models in float64 at once, wherever there is a GPU.
CHECKED_MODELS, BYTES_CHECKED = 2, 8
#: A training has the weights in float32. One of all weights also has a gradient and two moments.
BYTES_TRAINED, BYTES_TRAINED_WHOLE = 4, 16


def message(plan: Plan) -> str:
    """Return what the user is told, a line for each task with a pretrained model, or nothing."""
    lines = []
    for task in plan.tasks.values():
        if "pretrained" in task.section["model"]:
            lines.append(
                f"The models of {task.name} take about {_gigabytes(disk(task))} GB of disk. A job "
                f"holds at most {_gigabytes(memory(task))} GB of weights, on the GPU if there is "
                f"one, and one check holds {_gigabytes(checked(task))} GB without the GPU."
            )
    return "\n".join(lines)


def disk(task: TaskPlan) -> float:
    """Bytes on the disk: downloads, the pretrained model, the reference, and loaded models.

    Adapters are small beside them.
    """
    loaded = [source for plan in task.objectives.values() for source in plan.pretrained.values()]
    sources = loaded if task.pretrained is None else [task.pretrained, *loaded]
    downloads = BYTES_DOWNLOADED * sum(map(needs_fetching, sources))
    kept = (2 + len(loaded)) * BYTES[_dtype(task)]
    return (downloads + kept) * _weights(task)


def memory(task: TaskPlan) -> float:
    """Bytes of the weights that one job has in memory at most, apart from the check."""
    # Reading has the reference, and the models of every beta of two seeds.
    models = 1
    for objective, _ in task.readings:
        seeds = min(2, len(objective.seeds))
        models = max(models, 1 + seeds * len(objective.betas))
    most = models * BYTES[_dtype(task)]

    # A training may have more.
    sft = task.section["sft"]
    if any(not objective.is_loaded for objective in task.objectives.values()):
        most = max(most, BYTES_TRAINED)
    if sft != "none":
        most = max(most, BYTES_TRAINED if "lora" in sft else BYTES_TRAINED_WHOLE)
    return most * _weights(task)


def checked(task: TaskPlan) -> float:
    """Bytes of the weights that the check of identities has in memory."""
    return CHECKED_MODELS * BYTES_CHECKED * _weights(task)


def _weights(task: TaskPlan) -> float:
    return task.section["model"]["million_parameters"] * 1e6


def _dtype(task: TaskPlan) -> str:
    return task.section["model"].get("dtype", "float32")


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f}"
