# Which adapters, samples and curves a task's jobs read, and which settings judge the task.


def decoding_of(wildcards):
    """The decoding job as the plan has it: its aligned models, policies and seed."""
    return task_of(wildcards).decodings[wildcards.decoding]


def decoded_adapters(wildcards):
    """The adapters that a decoding job reads, in the order in which its policies mix them."""
    return [model_folder(task_of(wildcards), run) for run in decoding_of(wildcards).runs]


def all_samples(wildcards):
    """What every decoding job of the task made."""
    task = task_of(wildcards)
    return [f"{RESULTS}/{task.name}/samples/{name}" for name in task.decodings]


def read_seeds(wildcards):
    """The seed whose models' completions a job reads, and the other seed where there is one."""
    objective = task_of(wildcards).objectives[wildcards.objective]
    seeds = [int(wildcards.seed), objective.other_seed(int(wildcards.seed))]
    return [seed for seed in seeds if seed is not None]


def read_adapters(wildcards):
    """The adapters that read completions: at every beta of the one seed, then of the other."""
    objective = task_of(wildcards).objectives[wildcards.objective]
    adapters = []
    for seed in read_seeds(wildcards):
        runs = [Run(objective.name, beta, seed) for beta in objective.betas]
        adapters += [model_folder(task_of(wildcards), run) for run in runs]
    return adapters


def read_samples(wildcards):
    """The completions that a job reads, those of the retrained models at every beta of a seed."""
    objective = task_of(wildcards).objectives[wildcards.objective]
    runs = [Run(objective.name, beta, int(wildcards.seed)) for beta in objective.betas]
    return [f"{RESULTS}/{wildcards.task}/samples/{run.name}" for run in runs]


def reading_settings(wildcards):
    """The settings of the job that reads the completions of an objective's models of a seed."""
    task = task_of(wildcards)
    objective = task.objectives[wildcards.objective]
    return text(settings.reading(task, objective, int(wildcards.seed)))


def readings(wildcards):
    """The readings of every objective and seed that DeRa starts from."""
    task = task_of(wildcards)
    return [
        f"{RESULTS}/{task.name}/readings/{objective.name}-seed={seed}.parquet"
        for objective, seed in task.readings
    ]


def tried_references(wildcards):
    """The references that an aligned model is mixed with, its own one first."""
    folders = {"own": "reference", "pretrained": "pretrained", "other": "other_reference"}
    task = task_of(wildcards)
    return [f"{RESULTS}/{task.name}/models/{folders[name]}" for name in task.mixed_references]


def tried_runs(wildcards):
    """The models of one seed of the main objective, at every beta."""
    objective = task_of(wildcards).main_objective
    return [Run(objective.name, beta, int(wildcards.seed)) for beta in objective.betas]


def reference_trials(wildcards):
    """The trial of references of each seed of the main objective; none without such a section."""
    task = task_of(wildcards)
    seeds = task.main_objective.seeds if task.has_other_references else []
    return [f"{RESULTS}/{task.name}/reference_trials/seed={seed}.parquet" for seed in seeds]


def curves(wildcards):
    """One curve over lam for each objective that DeRa starts from."""
    task = task_of(wildcards)
    return [
        f"{RESULTS}/{task.name}/curves/{run.objective}/{run.beta}/seed={run.seed}.csv"
        for run in task.curve_runs
    ]


def curve_settings(wildcards):
    """What the curves of a task must have: their labels, and the number of their points."""
    task = task_of(wildcards)
    return text(settings.gathering_curves(task))


def learned_reward(wildcards):
    """The reward model's folder, where an objective of the task maximises it."""
    return f"{OF_TASK}/models/reward" if task_of(wildcards).has_learned_reward else []


def judging(wildcards):
    """The settings of the jobs that summarise or judge a task's policies, as JSON text."""
    return text(settings.judging(PLAN, task_of(wildcards)))


MAIN_TASK = PLAN.main_task
MAIN_ADAPTER = model_folder(MAIN_TASK, MAIN_TASK.main_run)
TABLES = ["policies", "costs", "agreement"]
# The criteria with the power that a pilot gives them, written before the published run.
CRITERIA = f"docs/criteria/{PLAN.study}.json"


def claims_of_a_pilot(wildcards):
    """The claims of this replicate. One that is published is refused."""
    PLAN.replicate.check_tuned_on_or_exit()
    return f"{RESULTS}/claims.json"
