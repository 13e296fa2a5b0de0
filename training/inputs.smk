# The settings of each training, the digest of its code, and the files that it needs.


def reference_settings(wildcards):
    return text(settings.of_task(task_of(wildcards), "model", "sft"))


def reference_code(wildcards):
    return code_of(task_of(wildcards), "training.sft")


def reward_model_settings(wildcards):
    return text(task_of(wildcards).section["reward_model"])


def align_settings(wildcards):
    return text(settings.aligning(task_of(wildcards), run_of(wildcards)))


def align_code(wildcards):
    return code_of(task_of(wildcards), "training.align", declared_of(wildcards).module)


def preferences_seed(wildcards):
    """The random seed of the pairs that a training seed or the reward model learns from."""
    return task_of(wildcards).preferences_seed(wildcards.learner)


def examples(wildcards):
    """What an alignment learns from: the training prompts, or its seed's own preference pairs."""
    if declared_of(wildcards).data == "preferences":
        return f"{OF_TASK}/data/preferences/seed={{seed}}.parquet"
    return f"{OF_TASK}/data/train.parquet"


def maximised_reward_model(wildcards):
    """The reward model's folder, where this alignment maximises it."""
    objective = task_of(wildcards).objectives[wildcards.objective]
    return f"{OF_TASK}/models/reward" if objective.reward == "learned" else []
