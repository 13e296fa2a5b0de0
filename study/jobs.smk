# What rules ask about the config: which section a job sees, where it resumes from, which random numbers it draws.
import json
import zlib
from pathlib import Path

from study import config as study_config
from study.job import gpu_present
from study.provenance import source_digest

TASKS = config["tasks"]
OF_TASK = f"{RESULTS}/{{task}}"  # every task has a folder of its own
GPU = int(
    gpu_present()
)  # the profile runs one job at a time that needs the GPU; without one, jobs need none


def section(task, *keys, **more):
    """A task and these sections of it as JSON: a job sees only its own, so only its own can make it run again."""
    own = {key: TASKS[task][key] for key in ("settings", "module") if key in TASKS[task]}
    found = {key: TASKS[task][key] for key in keys}
    return json.dumps({"task": {"name": task, **own}, **found, **more}, sort_keys=True)


def room(task):
    return TASKS[task]["model"]["max_new_tokens"]


def code_of(task, *names):
    """Digest of these modules, the task's, and its corpus's if it is not the task's own."""
    corpus = (
        [f"tasks.corpora.{TASKS[task]['corpus']['kind']}"] if CHECKED.corpora[task] == "any" else []
    )
    return source_digest(*names, CHECKED.task_modules[task], *corpus)


def objective_of(wildcards):
    """An alignment's section of the config."""
    return TASKS[wildcards.task]["alignment"]["objectives"][wildcards.objective]


def made_with(wildcards):
    """The module an alignment is made with, and what that declares."""
    return CHECKED.objectives[wildcards.task][wildcards.objective]


def reward_model(wildcards):
    """The reward model's folder, where this alignment maximises it."""
    return f"{OF_TASK}/models/reward" if objective_of(wildcards).get("reward") == "learned" else []


def examples(wildcards):
    """What an alignment learns from: the training prompts, or preference pairs."""
    return f"{OF_TASK}/data/{'preferences' if made_with(wildcards).data == 'preferences' else 'train'}.parquet"


def checkpoints(task, job, settings, code):
    """Outside the declared outputs, which Snakemake deletes before a job runs again, and apart for each setting."""
    return f"{RESULTS}/{task}/checkpoints/{job}-{study_config.digest(settings, code)}"


def reference_settings(wildcards):
    """What the training of a reference is asked to do."""
    return section(wildcards.task, "model", "sft")


def reference_code(wildcards):
    return code_of(wildcards.task, "training.sft")


def reward_model_settings(wildcards):
    """What the training of a reward model is asked to do."""
    return json.dumps(TASKS[wildcards.task]["reward_model"], sort_keys=True)


def align_settings(wildcards):
    """What one alignment is asked to do, apart from its beta and seed."""
    task = TASKS[wildcards.task]
    pairs = (
        {"preferences": task["preferences"]} if made_with(wildcards).data == "preferences" else {}
    )
    trainer = study_config.trainer_settings(task, wildcards.objective)
    return section(
        wildcards.task, "lora", max_new_tokens=room(wildcards.task), objective=trainer, **pairs
    )


def align_code(wildcards):
    return code_of(wildcards.task, "training.align", made_with(wildcards).module)


def seed_of(*names):
    """A seed that follows from the study's and these names."""
    return zlib.crc32(" ".join(map(str, (config["seed"], *names))).encode())


def sampling_seed(wildcards):
    """Another seed for each adapter, so that no two policies share their random numbers, and none changes with the list of betas."""
    return seed_of(wildcards.task, wildcards.objective, wildcards.beta, wildcards.seed)
