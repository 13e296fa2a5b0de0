# How models are made: for each task one reference, perhaps a reward model, and one adapter for each alignment, beta and seed.
wildcard_constraints:
    task="|".join(TASKS),
    objective="|".join(name for task in TASKS.values() for name in task["alignment"]["objectives"]),
    beta="[0-9.]+",
    seed="[0-9]+",


rule make_data:
    input:
        lambda wildcards: list(CHECKED.corpus_files[wildcards.task].values()),
    output:
        expand(
            f"{OF_TASK}/data/{{split}}.parquet",
            split=["train", "validation", "test"],
            allow_missing=True,
        ),
    log:
        f"{OF_TASK}/logs/make_data.log",
    benchmark:
        f"{OF_TASK}/benchmarks/make_data.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        seed=config["seed"],
        settings=lambda wildcards: section(wildcards.task, "corpus"),
        code=lambda wildcards: code_of(wildcards.task, "training.data"),
        files=lambda wildcards: json.dumps(CHECKED.corpus_files[wildcards.task]),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
    shell:
        "python -m training.data --settings {params.settings:q} --seed {params.seed} --log {log} --files {params.files:q} --output {params.folder}"


rule train_reference:
    input:
        train=f"{OF_TASK}/data/train.parquet",
        validation=f"{OF_TASK}/data/validation.parquet",
    output:
        directory(f"{OF_TASK}/models/reference"),
    log:
        f"{OF_TASK}/logs/train_reference.log",
    benchmark:
        f"{OF_TASK}/benchmarks/train_reference.tsv"
    priority: 2
    conda:
        "../envs/environment.yaml"
    threads: 1 if len(TASKS) > 1 else 2  # two jobs of one thread beat one of two, where there are two
    resources:
        gpu=GPU,
    params:
        seed=config["seed"],
        settings=reference_settings,
        code=reference_code,
        checkpoints=lambda wildcards: checkpoints(
            wildcards.task,
            f"reference-{config['seed']}",
            reference_settings(wildcards),
            reference_code(wildcards),
        ),
    shell:
        "python -m training.sft --settings {params.settings:q} --seed {params.seed} --threads {threads} --log {log}"
        " --train {input.train} --validation {input.validation} --checkpoints {params.checkpoints} --output {output}"


rule draw_preferences:
    input:
        reference=rules.train_reference.output,
        prompts=f"{OF_TASK}/data/train.parquet",
    output:
        f"{OF_TASK}/data/preferences.parquet",
    log:
        f"{OF_TASK}/logs/draw_preferences.log",
    benchmark:
        f"{OF_TASK}/benchmarks/draw_preferences.tsv"
    priority: 2
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=GPU,
    params:
        seed=config["seed"],
        settings=lambda wildcards: section(
            wildcards.task, "preferences", max_new_tokens=room(wildcards.task)
        ),
        code=lambda wildcards: code_of(wildcards.task, "training.preferences"),
    shell:
        "python -m training.preferences --settings {params.settings:q} --seed {params.seed} --log {log}"
        " --reference {input.reference} --prompts {input.prompts} --output {output}"


rule train_reward_model:
    input:
        reference=rules.train_reference.output,
        pairs=rules.draw_preferences.output,
    output:
        directory(f"{OF_TASK}/models/reward"),
    log:
        f"{OF_TASK}/logs/train_reward_model.log",
    benchmark:
        f"{OF_TASK}/benchmarks/train_reward_model.tsv"
    priority: 2
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=GPU,
    params:
        seed=config["seed"],
        settings=reward_model_settings,
        code=source_digest("training.reward_model"),
        checkpoints=lambda wildcards: checkpoints(
            wildcards.task,
            f"reward-{config['seed']}",
            reward_model_settings(wildcards),
            source_digest("training.reward_model"),
        ),
    shell:
        "python -m training.reward_model --task {wildcards.task} --settings {params.settings:q} --seed {params.seed} --log {log}"
        " --reference {input.reference} --pairs {input.pairs} --checkpoints {params.checkpoints} --output {output}"


rule align:
    input:
        reference=rules.train_reference.output,
        examples=examples,
        reward_model=reward_model,
    output:
        directory(f"{OF_TASK}/models/{{objective}}/beta={{beta}}/seed={{seed}}"),
    log:
        f"{OF_TASK}/logs/align/{{objective}}-beta={{beta}}-seed={{seed}}.log",
    benchmark:
        f"{OF_TASK}/benchmarks/align/{{objective}}-beta={{beta}}-seed={{seed}}.tsv"
    priority: 1
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=GPU,
    params:
        settings=align_settings,
        code=align_code,
        reward_model=lambda wildcards, input: (
            f"--reward-model {input.reward_model}" if input.reward_model else ""
        ),
        checkpoints=lambda wildcards: checkpoints(
            wildcards.task,
            f"{wildcards.objective}-{wildcards.beta}-{wildcards.seed}",
            align_settings(wildcards),
            align_code(wildcards),
        ),
    shell:
        "python -m training.align {wildcards.objective} --beta {wildcards.beta} --seed {wildcards.seed} --log {log}"
        " --settings {params.settings:q} --threads {threads} --reference {input.reference} --examples {input.examples}"
        " {params.reward_model} --checkpoints {params.checkpoints} --output {output}"
