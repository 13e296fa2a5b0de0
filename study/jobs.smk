# What all stages need: the plan, the folder of a task, settings as text, and digests of code.
import json
import re
from pathlib import Path

from study import modules, settings, sources
from study.job import gpus_of_a_job
from study.plan import Run
from study.provenance import source_digest

OF_TASK = f"{RESULTS}/{{task}}"  # every task has a folder of its own
GPU = gpus_of_a_job()  # profiles/default runs one job at a time that needs a GPU


def task_of(wildcards):
    """The task that a job works on."""
    return PLAN.tasks[wildcards.task]


def run_of(wildcards):
    """The aligned model that a job works on."""
    return Run(wildcards.objective, wildcards.beta, int(wildcards.seed))


def declared_of(wildcards):
    """The module that an objective is made with, and what it declares."""
    return task_of(wildcards).objectives[wildcards.objective].declared


def text(value):
    """Settings as the JSON text that a job's option `--settings` takes."""
    return json.dumps(value, sort_keys=True)


def code_of(task, *names):
    """A digest of these modules, of the task's module, and of its corpus's unless it has its own."""
    corpus = []
    if task.corpora == "any":
        corpus = [f"tasks.corpora.{task.section['corpus']['kind']}"]
    return source_digest(*names, task.module, *corpus)


def checkpoints(task, job, *settings_and_code):
    """The folder of checkpoints that a training resumes from.

    It lies outside the declared outputs, which Snakemake deletes before a job runs again. Its name
    depends on the settings and the code, so that no training resumes from what others left.
    """
    return f"{RESULTS}/{task.name}/checkpoints/{job}-{settings.digest(*settings_and_code)}"


def model_folder(task, run):
    """The folder of an aligned model."""
    return f"{RESULTS}/{task.name}/models/{run.folder}"


def model_folders(wildcards):
    """Every aligned model of the task."""
    task = task_of(wildcards)
    return [model_folder(task, run) for run in task.runs]


def for_publication(files):
    """These files; a replicate that hyper-parameters were tuned on is refused."""
    PLAN.replicate.check_published_or_exit()
    return files


def either(names):
    """A pattern that matches these names and nothing else."""
    return "|".join(map(re.escape, names)) or "(?!)"  # without names it matches nothing at all


# Every core of this machine. On a cluster no number is given, and the profile asks for a whole node.
ALL_CORES = workflow.resource_settings.cores or 1
ALL_TASKS = list(PLAN.tasks.values())
# The threads of a job beside which a study of one task has nothing else to do. With several tasks
# one is better, because two jobs of one thread beat one job of two threads.
THREADS_OF_ONE_JOB = 1 if len(ALL_TASKS) > 1 else 2
# The objectives whose models are trained, and those whose models others have trained.
OBJECTIVES = [plan for task in ALL_TASKS for plan in task.objectives.values()]
TRAINED = sorted({plan.name for plan in OBJECTIVES if not plan.is_loaded})
LOADED = sorted({plan.name for plan in OBJECTIVES if plan.is_loaded})
# What is fetched, by the folder of the download (training/fetch.smk).
SOURCES = sources.to_fetch(source for task in ALL_TASKS for source in task.sources)


wildcard_constraints:
    task=either(PLAN.tasks),
    objective=either(sorted({name for task in ALL_TASKS for name in task.objectives})),
    decoding=either(sorted({name for task in ALL_TASKS for name in task.decodings})),
    beta="[0-9.]+",
    seed="[0-9]+",
