# The settings of each training, the digest of its code, and the files that it needs.


def corpus_files(wildcards):
    """The files that a task's corpus reads. One that is fetched again makes no data again."""
    files = task_of(wildcards).corpus_sources.values()
    return [ancient(sources.input_of(source)) for source in files]


def pretrained_source(wildcards):
    """What the pretrained model is loaded from."""
    source = task_of(wildcards).pretrained
    if source is None:
        raise WorkflowError(f"the task {wildcards.task} has no pretrained model")
    return ancient(sources.input_of(source))


def pretrained_model(wildcards):
    """The folder of the pretrained model, where SFT starts from one."""
    if task_of(wildcards).pretrained is None:
        return []
    return f"{OF_TASK}/models/pretrained"


def demonstrations(split):
    """What SFT learns from: the task's own demonstrations, or those that the model wrote."""

    def file(wildcards):
        written = task_of(wildcards).writes_demonstrations
        folder = "data/demonstrations" if written else "data"
        return f"{RESULTS}/{wildcards.task}/{folder}/{split}.parquet"

    return file


def other_demonstrations(wildcards):
    """What another reference learns from: other texts that the model wrote, or other documents."""
    written = task_of(wildcards).writes_demonstrations
    folder = "data/other_demonstrations" if written else "data/other"
    return f"{RESULTS}/{wildcards.task}/{folder}/train.parquet"


def other_start(wildcards):
    """What the training of another reference starts from: the pretrained model, or a new one."""
    name = "new" if task_of(wildcards).pretrained is None else "pretrained"
    return f"{RESULTS}/{wildcards.task}/models/{name}"


def other_reference_seed(wildcards):
    """The random seed of another reference's training."""
    return task_of(wildcards).seed_of("other reference")


def reference_settings(wildcards):
    return text(settings.of_task(task_of(wildcards), "model", "sft"))


def reference_code(wildcards):
    return code_of(task_of(wildcards), "training.sft")


def reward_model_settings(wildcards):
    return text(task_of(wildcards).section["reward_model"])


def aligned_source(wildcards):
    """What an aligned model of others is loaded from."""
    return task_of(wildcards).objectives[wildcards.objective].pretrained[wildcards.beta]


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
        return pairs_of("seed={seed}")(wildcards)
    return f"{OF_TASK}/data/train.parquet"


def pairs_of(learner):
    """The preference pairs of one learner; where they are the user's own, those of all learners."""

    def file(wildcards):
        own = task_of(wildcards).pairs_source is not None
        return f"{OF_TASK}/data/preferences/{'files' if own else learner}.parquet"

    return file


def own_pairs(wildcards):
    """The user's own preference pairs."""
    source = task_of(wildcards).pairs_source
    if source is None:
        raise WorkflowError(f"the task {wildcards.task} has no pairs of the user's own")
    return ancient(sources.input_of(source))


def earliest_tokenizer(wildcards):
    """The first model of the task whose tokenizer is that of every other."""
    return pretrained_model(wildcards) or f"{OF_TASK}/models/reference"


def maximised_reward_model(wildcards):
    """The reward model's folder, where this alignment maximises it."""
    objective = task_of(wildcards).objectives[wildcards.objective]
    return f"{OF_TASK}/models/reward" if objective.reward == "learned" else []
