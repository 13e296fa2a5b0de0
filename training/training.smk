# How models are made: one reference, and one adapter for each objective, beta and seed.
wildcard_constraints:
    objective="|".join(OBJECTIVES),
    beta="[0-9.]+",
    seed="[0-9]+",


rule make_data:
    input:
        list(CORPUS_FILES.values()),
    output:
        expand(f"{RESULTS}/data/{{split}}.parquet", split=["train", "validation", "test"]),
    log:
        f"{RESULTS}/logs/make_data.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_data.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        seed=config["seed"],
        settings=section("task", "corpus"),
        code=source_digest("training.data", TASK, f"tasks.corpora.{config['corpus']['kind']}"),
        files=json.dumps(CORPUS_FILES),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
    shell:
        "python -m training.data --settings {params.settings:q} --seed {params.seed} --log {log} --files {params.files:q} --output {params.folder}"


rule train_reference:
    input:
        train=f"{RESULTS}/data/train.parquet",
        validation=f"{RESULTS}/data/validation.parquet",
    output:
        directory(f"{RESULTS}/models/reference"),
    log:
        f"{RESULTS}/logs/train_reference.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_reference.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 2
    resources:
        gpu=GPU,
    params:
        seed=config["seed"],
        settings=SFT[0],
        code=SFT[1],
        checkpoints=checkpoints(f"reference-{config['seed']}", *SFT),
    shell:
        "python -m training.sft --settings {params.settings:q} --seed {params.seed} --threads {threads} --log {log}"
        " --train {input.train} --validation {input.validation} --checkpoints {params.checkpoints} --output {output}"


rule draw_preferences:
    input:
        reference=rules.train_reference.output,
        prompts=f"{RESULTS}/data/train.parquet",
    output:
        f"{RESULTS}/data/preferences.parquet",
    log:
        f"{RESULTS}/logs/draw_preferences.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_preferences.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=GPU,
    params:
        seed=config["seed"],
        settings=section("task", max_new_tokens=config["model"]["max_new_tokens"], **config.get("preferences", {})),
        code=source_digest("training.preferences", TASK),
    shell:
        "python -m training.preferences --settings {params.settings:q} --seed {params.seed} --log {log}"
        " --reference {input.reference} --prompts {input.prompts} --output {output}"


rule align:
    input:
        reference=rules.train_reference.output,
        examples=examples,
    output:
        directory(f"{RESULTS}/models/{{objective}}/beta={{beta}}/seed={{seed}}"),
    log:
        f"{RESULTS}/logs/align/{{objective}}-beta={{beta}}-seed={{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/align/{{objective}}-beta={{beta}}-seed={{seed}}.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=GPU,
    params:
        settings=align_settings,
        code=align_code,
        checkpoints=lambda wildcards: checkpoints(
            f"{wildcards.objective}-{wildcards.beta}-{wildcards.seed}", align_settings(wildcards), align_code(wildcards)
        ),
    shell:
        "python -m training.align {wildcards.objective} --beta {wildcards.beta} --seed {wildcards.seed} --log {log}"
        " --settings {params.settings:q} --threads {threads} --reference {input.reference} --examples {input.examples}"
        " --checkpoints {params.checkpoints} --output {output}"
