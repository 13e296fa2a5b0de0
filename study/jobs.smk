# What rules ask about the config: which section a job sees, where it resumes from, which random numbers it draws.
import json
import zlib
from pathlib import Path

from study import config as study_config
from study.job import gpu_present
from study.provenance import source_digest


def section(*keys, **more):
    """These sections of the config as JSON: a job sees only its own, so only its own can make it run again."""
    return json.dumps({**{key: config[key] for key in keys}, **more}, sort_keys=True)


def examples(wildcards):
    """What an objective learns from: the training prompts, or preference pairs."""
    if OBJECTIVES[wildcards.objective] == "preferences":
        return f"{RESULTS}/data/preferences.parquet"
    return f"{RESULTS}/data/train.parquet"


def checkpoints(job, settings, code):
    """Outside the declared outputs, which Snakemake deletes before a job runs again, and apart for each setting."""
    return f"{RESULTS}/checkpoints/{job}-{study_config.digest(settings, code)}"


def align_settings(wildcards):
    """What one alignment is asked to do, apart from its beta and seed."""
    labeller = {"sharpness": config["preferences"]["sharpness"]} if OBJECTIVES[wildcards.objective] == "preferences" else {}
    return section(
        "task",
        "lora",
        max_new_tokens=config["model"]["max_new_tokens"],
        objective=study_config.trainer_settings(config, wildcards.objective),
        **labeller,
    )


def align_code(wildcards):
    """Digest of the code that an alignment depends on."""
    return source_digest("training.align", f"training.objectives.{wildcards.objective}", TASK)


GPU = int(gpu_present())  # the profile runs one job at a time that needs the GPU; without one, jobs need none
TASK = f"tasks.{config['task']['name']}"
SFT = (section("model", "sft"), source_digest("training.sft"))


def sampling_seed(wildcards):
    """Another seed for each adapter, so that no two policies share their random numbers, and none changes with the list of betas."""
    name = f"{config['seed']} {wildcards.policy} {wildcards.objective} {wildcards.beta} {wildcards.seed}"
    return zlib.crc32(name.encode())
