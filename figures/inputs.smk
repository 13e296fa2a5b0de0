# Which figures there are, and the tables each reads.
OF_EACH_TASK = {
    "reward_kl_by_beta": ["policies"],
    "frontier": ["policies"],
    "training_curves": ["training"],
    "lam_curve": ["curves", "policies"],
    "samples_over_lam": ["samples"],
}
OF_ONE_TASK = {
    "length": {"length_distributions": ["lengths"]},
    "hallucination": {"hallucination": ["policies"]},
    "safety": {"safety": ["policies"]},
}
OF_STUDY = {
    "outside": ["policies"],
    "approximation_gap": ["policies", "gap_trial"],
    "cost": ["costs"],
    "agreement": ["agreement"],
}
OF_SEVERAL = {"several_rewards": ["several_rewards"]}  # where two aligned models are mixed
# where an objective that DeRa starts from maximised something else than gold
OF_IMPERFECT_REWARD = {"win_rates": ["win_rates"], "over_optimization": ["policies"]}
READS = {
    task: {
        **OF_EACH_TASK,
        **({"metrics": ["policies"]} if TASKS[task].get("metrics") else {}),
        **OF_ONE_TASK.get(task, {}),
        **({"baselines": ["policies"]} if "baselines" in TASKS[task]["dera"] else {}),
        **(
            OF_IMPERFECT_REWARD
            if any(o["reward"] != "gold" and o["anchors"] for o in ALIGNMENTS[task].values())
            else {}
        ),
        **(OF_SEVERAL if "several_rewards" in TASKS[task] else {}),
    }
    for task in TASKS
}
FIGURES = expand(f"{RESULTS}/figures/{{figure}}.{{kind}}", figure=OF_STUDY, kind=["pdf", "png"]) + [
    f"{RESULTS}/figures/{task}/{figure}.{kind}"
    for task, reads in READS.items()
    for figure in reads
    for kind in ("pdf", "png")
]


def tables_of(wildcards, input):
    """`--table path` for each table that a figure reads."""
    reads = READS[wildcards.task] if "task" in wildcards.keys() else OF_STUDY
    return [
        part for table, path in zip(reads[wildcards.figure], input) for part in (f"--{table}", path)
    ]


def curve_trial_if_run(wildcards):
    """Its table, which takes minutes and is no part of a study, where `snakemake curve_trial` made it."""
    trial = f"{RESULTS}/tables/curve_trial.csv"
    return [trial] if Path(trial).exists() else []


MODELS = [
    f"{RESULTS}/{task}/models/{model}"
    for task in TASKS
    for model in ["reference"]
    + ["{}/beta={}/seed={}".format(*adapter) for adapter in adapters(task)]
]
