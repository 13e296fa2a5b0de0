# How models are made: for each task a reference, perhaps a reward model, and an adapter for each
# objective, beta and seed. The models of some objectives are loaded instead. Each training seed has
# preference pairs of its own, unless the pairs are the user's. The reward model has
# its own too: it is part of what is maximised, so one reward model serves all training seeds.


rule make_data:
    input:
        corpus_files,
    output:
        train=f"{OF_TASK}/data/train.parquet",
        validation=f"{OF_TASK}/data/validation.parquet",
        test=f"{OF_TASK}/data/test.parquet",
    log:
        f"{OF_TASK}/logs/make_data.log",
    benchmark:
        f"{OF_TASK}/benchmarks/make_data.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        seed=PLAN.seed,
        settings=lambda wildcards: text(settings.of_task(task_of(wildcards), "corpus")),
        code=lambda wildcards: code_of(task_of(wildcards), "training.data"),
        files=lambda wildcards: text(
            {name: sources.where(s) for name, s in task_of(wildcards).corpus_sources.items()}
        ),
        folder=lambda wildcards, output: str(Path(output.train).parent),
    shell:
        "python -m training.data --settings {params.settings:q} --seed {params.seed:q}"
        " --log {log:q} --files {params.files:q} --output {params.folder:q}"


rule load_pretrained:
    input:
        pretrained_source,
    output:
        directory(f"{OF_TASK}/models/pretrained"),
    log:
        f"{OF_TASK}/logs/load_pretrained.log",
    benchmark:
        f"{OF_TASK}/benchmarks/load_pretrained.tsv"
    priority: 2
    conda:
        "../envs/environment.yaml"
    params:
        pretrained=lambda wildcards: sources.where(task_of(wildcards).pretrained),
        settings=lambda wildcards: text(settings.loading_pretrained(task_of(wildcards))),
        code=source_digest("training.load_pretrained"),
    shell:
        "python -m training.load_pretrained --settings {params.settings:q} --log {log:q}"
        " --pretrained {params.pretrained:q} --output {output:q}"


rule write_demonstrations:
    input:
        pretrained=rules.load_pretrained.output,
        prompts=f"{OF_TASK}/data/{{split}}.parquet",
    output:
        f"{OF_TASK}/data/demonstrations/{{split}}.parquet",
    log:
        f"{OF_TASK}/logs/write_demonstrations/{{split}}.log",
    benchmark:
        f"{OF_TASK}/benchmarks/write_demonstrations/{{split}}.tsv"
    wildcard_constraints:
        split="train|validation",
    priority: 2
    conda:
        "../envs/environment.yaml"
    threads: THREADS_OF_ONE_JOB
    resources:
        gpu=GPU,
    params:
        seed=lambda wildcards: task_of(wildcards).seed_of("demonstrations", wildcards.split),
        settings=lambda wildcards: text(settings.of_task(task_of(wildcards), "demonstrations")),
        code=lambda wildcards: code_of(task_of(wildcards), "training.demonstrations"),
    shell:
        "python -m training.demonstrations --settings {params.settings:q} --seed {params.seed:q}"
        " --threads {threads} --log {log:q} --pretrained {input.pretrained:q}"
        " --prompts {input.prompts:q} --output {output:q}"


rule train_reference:
    input:
        train=demonstrations("train"),
        validation=demonstrations("validation"),
        pretrained=pretrained_model,
    output:
        directory(f"{OF_TASK}/models/reference"),
    log:
        f"{OF_TASK}/logs/train_reference.log",
    benchmark:
        f"{OF_TASK}/benchmarks/train_reference.tsv"
    priority: 2
    conda:
        "../envs/environment.yaml"
    threads: THREADS_OF_ONE_JOB
    resources:
        gpu=GPU,
    params:
        seed=PLAN.seed,
        settings=reference_settings,
        code=reference_code,
        pretrained=lambda wildcards, input: (
            ["--pretrained", input.pretrained] if input.pretrained else []
        ),
        checkpoints=lambda wildcards: checkpoints(
            task_of(wildcards),
            f"reference-{PLAN.seed}",
            reference_settings(wildcards),
            reference_code(wildcards),
        ),
    shell:
        "python -m training.sft --settings {params.settings:q} --seed {params.seed:q}"
        " --threads {threads} --log {log:q} --train {input.train:q}"
        " --validation {input.validation:q} {params.pretrained:q}"
        " --checkpoints {params.checkpoints:q} --output {output:q}"


# A reference of the same kind from other demonstrations, where the task has a section
# `dera.other_references`. It has the tokenizer of the reference, so that the two can be compared.
use rule make_data as make_other_data with:
    output:
        train=f"{OF_TASK}/data/other/train.parquet",
        validation=f"{OF_TASK}/data/other/validation.parquet",
        test=f"{OF_TASK}/data/other/test.parquet",
    log:
        f"{OF_TASK}/logs/make_other_data.log",
    benchmark:
        f"{OF_TASK}/benchmarks/make_other_data.tsv"
    params:
        seed=lambda wildcards: task_of(wildcards).seed_of("other documents"),


use rule write_demonstrations as write_other_demonstrations with:
    output:
        f"{OF_TASK}/data/other_demonstrations/{{split}}.parquet",
    log:
        f"{OF_TASK}/logs/write_other_demonstrations/{{split}}.log",
    benchmark:
        f"{OF_TASK}/benchmarks/write_other_demonstrations/{{split}}.tsv"
    params:
        seed=lambda wildcards: task_of(wildcards).seed_of("other demonstrations", wildcards.split),


rule make_new_model:
    input:
        rules.train_reference.output,
    output:
        directory(f"{OF_TASK}/models/new"),
    log:
        f"{OF_TASK}/logs/make_new_model.log",
    benchmark:
        f"{OF_TASK}/benchmarks/make_new_model.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        seed=other_reference_seed,
        settings=lambda wildcards: text(task_of(wildcards).section["model"]),
        code=source_digest("training.new_model"),
    shell:
        "python -m training.new_model --settings {params.settings:q} --seed {params.seed:q}"
        " --log {log:q} --tokenizer {input:q} --output {output:q}"


use rule train_reference as train_other_reference with:
    input:
        train=other_demonstrations,
        validation=demonstrations("validation"),
        pretrained=other_start,
    output:
        directory(f"{OF_TASK}/models/other_reference"),
    log:
        f"{OF_TASK}/logs/train_other_reference.log",
    benchmark:
        f"{OF_TASK}/benchmarks/train_other_reference.tsv"
    priority: 1
    params:
        seed=other_reference_seed,
        checkpoints=lambda wildcards: checkpoints(
            task_of(wildcards),
            f"other_reference-{other_reference_seed(wildcards)}",
            reference_settings(wildcards),
            reference_code(wildcards),
        ),


rule draw_preferences:
    input:
        reference=rules.train_reference.output,
        prompts=rules.make_data.output.train,
    output:
        f"{OF_TASK}/data/preferences/{{learner}}.parquet",
    log:
        f"{OF_TASK}/logs/draw_preferences/{{learner}}.log",
    benchmark:
        f"{OF_TASK}/benchmarks/draw_preferences/{{learner}}.tsv"
    wildcard_constraints:
        learner="seed=[0-9]+|reward_model",
    priority: 2
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=GPU,
    params:
        seed=preferences_seed,
        settings=lambda wildcards: text(settings.drawing_preferences(task_of(wildcards))),
        code=lambda wildcards: code_of(task_of(wildcards), "training.preferences"),
    shell:
        "python -m training.preferences --settings {params.settings:q} --seed {params.seed:q}"
        " --log {log:q} --reference {input.reference:q} --prompts {input.prompts:q}"
        " --output {output:q}"


rule read_preferences:
    input:
        files=own_pairs,
        tokenizer=earliest_tokenizer,
        test=rules.make_data.output.test,
    output:
        f"{OF_TASK}/data/preferences/files.parquet",
    log:
        f"{OF_TASK}/logs/read_preferences.log",
    benchmark:
        f"{OF_TASK}/benchmarks/read_preferences.tsv"
    priority: 3  # what is wrong with the pairs is said before anything is trained
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda wildcards: text(settings.reading_pairs(task_of(wildcards))),
        code=source_digest("training.pairs_of_files"),
        files=lambda wildcards: sources.where(task_of(wildcards).pairs_source),
    shell:
        "python -m training.pairs_of_files --settings {params.settings:q} --log {log:q}"
        " --files {params.files:q} --tokenizer {input.tokenizer:q} --test {input.test:q}"
        " --output {output:q}"


rule train_reward_model:
    input:
        reference=rules.train_reference.output,
        pairs=pairs_of("reward_model"),
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
        seed=PLAN.seed,
        settings=reward_model_settings,
        code=source_digest("training.reward_model"),
        checkpoints=lambda wildcards: checkpoints(
            task_of(wildcards),
            f"reward-{PLAN.seed}",
            reward_model_settings(wildcards),
            source_digest("training.reward_model"),
        ),
    shell:
        "python -m training.reward_model --task {wildcards.task:q} --settings {params.settings:q}"
        " --seed {params.seed:q} --log {log:q} --reference {input.reference:q}"
        " --pairs {input.pairs:q}"
        " --checkpoints {params.checkpoints:q} --output {output:q}"


rule align:
    input:
        reference=rules.train_reference.output,
        examples=examples,
        reward_model=maximised_reward_model,
    output:
        directory(f"{OF_TASK}/models/{{objective}}/beta={{beta}}/seed={{seed}}"),
    log:
        f"{OF_TASK}/logs/align/{{objective}}-beta={{beta}}-seed={{seed}}.log",
    benchmark:
        f"{OF_TASK}/benchmarks/align/{{objective}}-beta={{beta}}-seed={{seed}}.tsv"
    wildcard_constraints:
        objective=either(TRAINED),
    priority: 1
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=GPU,
    params:
        settings=align_settings,
        code=align_code,
        reward_model=lambda wildcards, input: (
            ["--reward-model", input.reward_model] if input.reward_model else []
        ),
        checkpoints=lambda wildcards: checkpoints(
            task_of(wildcards),
            f"{wildcards.objective}-{wildcards.beta}-{wildcards.seed}",
            align_settings(wildcards),
            align_code(wildcards),
        ),
    shell:
        "python -m training.align {wildcards.objective:q} --beta {wildcards.beta:q}"
        " --seed {wildcards.seed:q} --log {log:q} --settings {params.settings:q}"
        " --threads {threads}"
        " --reference {input.reference:q} --examples {input.examples:q} {params.reward_model:q}"
        " --checkpoints {params.checkpoints:q} --output {output:q}"


rule load_aligned:
    input:
        reference=rules.train_reference.output,
        pretrained=lambda wildcards: ancient(sources.input_of(aligned_source(wildcards))),
    output:
        directory(f"{OF_TASK}/models/{{objective}}/beta={{beta}}/seed={{seed}}"),
    log:
        f"{OF_TASK}/logs/load_aligned/{{objective}}-beta={{beta}}-seed={{seed}}.log",
    benchmark:
        f"{OF_TASK}/benchmarks/load_aligned/{{objective}}-beta={{beta}}-seed={{seed}}.tsv"
    wildcard_constraints:
        objective=either(LOADED),
    priority: 1
    conda:
        "../envs/environment.yaml"
    params:
        pretrained=lambda wildcards: sources.where(aligned_source(wildcards)),
        settings=lambda wildcards: text(
            settings.loading_aligned(task_of(wildcards), run_of(wildcards))
        ),
        code=source_digest("training.load_aligned"),
    shell:
        "python -m training.load_aligned {wildcards.objective:q} --beta {wildcards.beta:q}"
        " --seed {wildcards.seed:q} --log {log:q} --settings {params.settings:q}"
        " --reference {input.reference:q} --pretrained {params.pretrained:q} --output {output:q}"
