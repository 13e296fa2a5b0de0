# What the rules of eval.smk ask about the config: which adapters, samples and settings a task has.
ALIGNMENTS = {
    task: {
        name: {
            "reward": objective.get("reward", "gold"),
            "reward_margin": objective.get("reward_margin", TASKS[task]["reward_margin"]),
            "optimum": CHECKED.objectives[task][name].optimum,
            "betas": [study_config.label(beta) for beta in objective["betas"]],
            "anchors": [study_config.label(beta) for beta in objective["anchors"]],
            "default_beta": study_config.label(
                objective.get("default_beta", (objective["anchors"] or objective["betas"])[0])
            ),
            "seeds": study_config.seeds(TASKS[task], name),
        }
        for name, objective in TASKS[task]["alignment"]["objectives"].items()
    }
    for task in TASKS
}


def adapters(task):
    """Every adapter of a task as objective, beta and seed; that of the first grid comes first."""
    found = [
        (name, beta, seed)
        for name, o in ALIGNMENTS[task].items()
        for beta in o["betas"]
        for seed in o["seeds"]
    ]
    first = next(
        (name, o["default_beta"], o["seeds"][0])
        for name, o in ALIGNMENTS[task].items()
        if o["anchors"]
    )
    return [first] + [adapter for adapter in found if adapter != first]


def models(wildcards):
    return [
        f"{RESULTS}/{wildcards.task}/models/{name}/beta={beta}/seed={seed}"
        for name, beta, seed in adapters(wildcards.task)
    ]


def samples(wildcards):
    folder = f"{RESULTS}/{wildcards.task}/samples"
    return [f"{folder}/reference"] + [
        f"{folder}/{name}-beta={beta}-seed={seed}" for name, beta, seed in adapters(wildcards.task)
    ]


def scored_samples(wildcards):
    """Those, and where the task has them the comparators, and DeRa over several rewards."""
    decoded = study_config.decoded_baselines(TASKS[wildcards.task])
    comparators = [f"{RESULTS}/{wildcards.task}/samples/comparators"] if decoded else []
    return samples(wildcards) + comparators + several_samples(wildcards)


def compared_adapter(wildcards):
    """The adapter that comparators start from."""
    return models(wildcards)[0]


def compared_labels(wildcards):
    return json.dumps(
        {
            "task": wildcards.task,
            **dict(zip(("objective", "adapter_beta", "seed"), adapters(wildcards.task)[0])),
        }
    )


def comparators_seed(wildcards):
    """Another seed than any adapter's."""
    return seed_of(wildcards.task, "comparators")


def mixed_adapters(wildcards):
    """The two adapters of this seed that are mixed in a task with several rewards."""
    folder, of_task = f"{RESULTS}/{wildcards.task}/models", ALIGNMENTS[wildcards.task]
    names = TASKS[wildcards.task]["several_rewards"]["parts"]
    return [
        f"{folder}/{name}/beta={of_task[name]['anchors'][0]}/seed={wildcards.seed}"
        for name in names
    ]


def several_samples(wildcards):
    """What DeRa over several rewards decoded, for each seed of the parts, where the task has them."""
    section = TASKS[wildcards.task].get("several_rewards")
    seeds = ALIGNMENTS[wildcards.task][section["parts"][0]]["seeds"] if section else []
    return [f"{RESULTS}/{wildcards.task}/samples/several-seed={seed}" for seed in seeds]


def several_lams(wildcards):
    pairs = several_rewards.lams(TASKS[wildcards.task]["several_rewards"])
    return json.dumps([[study_config.label(lam) for lam in pair] for pair in pairs])


def several_seed(wildcards):
    """Another than any adapter's own (sampling_seed)."""
    return seed_of(wildcards.task, "several", wildcards.seed)


def curves(wildcards):
    """One lam curve for each objective that DeRa starts from: of the anchor with the fine grid, first seed."""
    return [
        f"{RESULTS}/{wildcards.task}/curves/{name}/{o['default_beta']}/seed={o['seeds'][0]}.csv"
        for name, o in ALIGNMENTS[wildcards.task].items()
        if o["anchors"]
    ]


def judging(wildcards):
    """What claims are decided with: the study's statistics, what each objective maximised, which best of n it is compared with, and which are mixed."""
    objectives = dict(ALIGNMENTS[wildcards.task])
    name, *_ = adapters(wildcards.task)[0]
    best_of = TASKS[wildcards.task]["dera"].get("baselines", {}).get("best_of")
    if best_of:
        objectives[name] = {**objectives[name], "best_of": best_of}
    mixed = (
        {"several_rewards": TASKS[wildcards.task]["several_rewards"]}
        if "several_rewards" in TASKS[wildcards.task]
        else {}
    )
    return json.dumps(
        {"statistics": config["statistics"], "objectives": objectives, **mixed}, sort_keys=True
    )


def decoding(wildcards):
    return json.dumps(
        {**TASKS[wildcards.task]["evaluation"], "max_new_tokens": room(wildcards.task)},
        sort_keys=True,
    )


def decoding_comparators(wildcards):
    task = TASKS[wildcards.task]
    rivals = {"baselines": study_config.decoded_baselines(task)}
    return json.dumps(
        {**task["evaluation"], "max_new_tokens": room(wildcards.task), **rivals}, sort_keys=True
    )


def scoring(wildcards):
    pairs = TASKS[wildcards.task].get("preferences")
    labelled = {"preferences": pairs} if pairs and checks.pairs_are_sampled(pairs) else {}
    return section(wildcards.task, metrics=TASKS[wildcards.task].get("metrics", []), **labelled)


def learned_reward(wildcards):
    """The reward model's folder, where an objective of the task maximises it."""
    used = any(
        objective["reward"] == "learned" for objective in ALIGNMENTS[wildcards.task].values()
    )
    return f"{OF_TASK}/models/reward" if used else []


FIRST_TASK = next(iter(TASKS))
FIRST_CURVE = "{}/beta={}/seed={}".format(*adapters(FIRST_TASK)[0])
TABLES = ["policies", "costs", "agreement"]
