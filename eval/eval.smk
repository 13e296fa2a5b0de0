# How policies are compared: decoded on held-out prompts, scored, summarised, judged against the paper's claims.


rule sample_reference:
    input:
        reference=rules.train_reference.output,
        prompts=f"{OF_TASK}/data/test.parquet",
    output:
        directory(f"{OF_TASK}/samples/reference"),
    log:
        f"{OF_TASK}/logs/sample/reference.log",
    benchmark:
        f"{OF_TASK}/benchmarks/sample/reference.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=GPU,
    params:
        seed=config["seed"],
        settings=decoding,
        code=source_digest("eval.sample"),
        labels=lambda wildcards: json.dumps({"task": wildcards.task}),
    shell:
        "python -m eval.sample --labels {params.labels:q} --settings {params.settings:q} --seed {params.seed} --log {log}"
        " --reference {input.reference} --prompts {input.prompts} --output {output}"


rule sample_adapter:
    input:
        reference=rules.train_reference.output,
        adapter=rules.align.output,
        prompts=f"{OF_TASK}/data/test.parquet",
    output:
        directory(f"{OF_TASK}/samples/{{objective}}-beta={{beta}}-seed={{seed}}"),
    log:
        f"{OF_TASK}/logs/sample/{{objective}}-beta={{beta}}-seed={{seed}}.log",
    benchmark:
        f"{OF_TASK}/benchmarks/sample/{{objective}}-beta={{beta}}-seed={{seed}}.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=GPU,
    params:
        settings=decoding,
        code=source_digest("eval.sample"),
        seed=sampling_seed,
        lams=lambda wildcards: (
            "--lams="
            + ",".join(
                map(
                    str,
                    study_config.lams(TASKS[wildcards.task], wildcards.objective, wildcards.beta),
                )
            )
            if wildcards.beta in ALIGNMENTS[wildcards.task][wildcards.objective]["anchors"]
            else ""
        ),
        labels=lambda wildcards: json.dumps(
            {
                "task": wildcards.task,
                "objective": wildcards.objective,
                "adapter_beta": wildcards.beta,
                "seed": int(wildcards.seed),
            }
        ),
    shell:
        "python -m eval.sample {params.lams} --labels {params.labels:q} --settings {params.settings:q} --seed {params.seed} --log {log}"
        " --reference {input.reference} --adapter {input.adapter} --prompts {input.prompts} --output {output}"


rule sample_comparators:
    input:
        reference=rules.train_reference.output,
        adapter=compared_adapter,
        prompts=f"{OF_TASK}/data/test.parquet",
    output:
        directory(f"{OF_TASK}/samples/comparators"),
    log:
        f"{OF_TASK}/logs/sample/comparators.log",
    benchmark:
        f"{OF_TASK}/benchmarks/sample/comparators.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=GPU,
    params:
        settings=decoding_comparators,
        code=source_digest("eval.comparators"),
        seed=comparators_seed,
        labels=compared_labels,
    shell:
        "python -m eval.comparators --labels {params.labels:q} --settings {params.settings:q} --seed {params.seed} --log {log}"
        " --reference {input.reference} --adapter {input.adapter} --prompts {input.prompts} --output {output}"


rule sample_several:
    input:
        reference=rules.train_reference.output,
        adapters=mixed_adapters,
        prompts=f"{OF_TASK}/data/test.parquet",
    output:
        directory(f"{OF_TASK}/samples/several-seed={{seed}}"),
    log:
        f"{OF_TASK}/logs/sample/several-seed={{seed}}.log",
    benchmark:
        f"{OF_TASK}/benchmarks/sample/several-seed={{seed}}.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=GPU,
    params:
        settings=decoding,
        code=source_digest("eval.sample_several"),
        seed=several_seed,
        lams=several_lams,
        labels=lambda wildcards: json.dumps({"task": wildcards.task, "seed": int(wildcards.seed)}),
    shell:
        "python -m eval.sample_several --lams {params.lams:q} --labels {params.labels:q} --settings {params.settings:q} --seed {params.seed}"
        " --log {log} --reference {input.reference} --adapters {input.adapters} --prompts {input.prompts} --output {output}"


rule estimate_curve:
    input:
        reference=rules.train_reference.output,
        adapter=rules.align.output,
        prompts=f"{OF_TASK}/data/test.parquet",
    output:
        f"{OF_TASK}/curves/{{objective}}/{{beta}}/seed={{seed}}.csv",
    log:
        f"{OF_TASK}/logs/estimate_curve/{{objective}}-beta={{beta}}-seed={{seed}}.log",
    benchmark:
        f"{OF_TASK}/benchmarks/estimate_curve/{{objective}}-beta={{beta}}-seed={{seed}}.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=GPU,
    params:
        settings=lambda wildcards: section(
            wildcards.task,
            "evaluation",
            curve=TASKS[wildcards.task]["dera"]["curve"],
            max_new_tokens=room(wildcards.task),
            resamples=config["statistics"]["bootstrap_resamples"],
        ),
        code=lambda wildcards: code_of(wildcards.task, "eval.curve"),
        seed=config["seed"],
        labels=lambda wildcards: json.dumps(
            {
                "objective": wildcards.objective,
                "adapter_beta": wildcards.beta,
                "seed": int(wildcards.seed),
            }
        ),
    shell:
        "python -m eval.curve --labels {params.labels:q} --settings {params.settings:q} --seed {params.seed} --log {log}"
        " --reference {input.reference} --adapter {input.adapter} --prompts {input.prompts} --output {output}"


rule gather_curves:
    input:
        curves,
    output:
        f"{OF_TASK}/tables/curves.csv",
    log:
        f"{OF_TASK}/logs/gather_curves.log",
    benchmark:
        f"{OF_TASK}/benchmarks/gather_curves.tsv"
    conda:
        "../envs/environment.yaml"
    shell:
        "awk 'NR == 1 || FNR > 1' {input} > {output} 2> {log}"


rule curve_trial:
    input:
        reference=f"{RESULTS}/{FIRST_TASK}/models/reference",
        adapter=f"{RESULTS}/{FIRST_TASK}/models/{FIRST_CURVE}",
        prompts=f"{RESULTS}/{FIRST_TASK}/data/test.parquet",
    output:
        f"{RESULTS}/tables/curve_trial.csv",
    log:
        f"{RESULTS}/logs/curve_trial.log",
    benchmark:
        f"{RESULTS}/benchmarks/curve_trial.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=GPU,
    params:
        settings=section(FIRST_TASK, "evaluation", max_new_tokens=room(FIRST_TASK)),
        code=code_of(FIRST_TASK, "eval.curve_trial"),
        seed=config["seed"],
    shell:
        "python -m eval.curve_trial --settings {params.settings:q} --seed {params.seed} --log {log}"
        " --reference {input.reference} --adapter {input.adapter} --prompts {input.prompts} --output {output}"


rule score_completions:
    input:
        samples=scored_samples,
        prompts=f"{OF_TASK}/data/test.parquet",
        reward_model=learned_reward,
    output:
        f"{OF_TASK}/tables/completions.parquet",
    log:
        f"{OF_TASK}/logs/score_completions.log",
    benchmark:
        f"{OF_TASK}/benchmarks/score_completions.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=GPU,
    params:
        settings=scoring,
        reward_model=lambda wildcards, input: (
            f"--reward-model {input.reward_model}" if input.reward_model else ""
        ),
        code=lambda wildcards: code_of(
            wildcards.task,
            "eval.score",
            *(f"eval.metrics.{m}" for m in modules.names("eval.metrics")),
            *TASKS[wildcards.task].get("metrics", []),
        ),
    shell:
        "python -m eval.score {input.samples} --settings {params.settings:q} --log {log} {params.reward_model}"
        " --prompts {input.prompts} --output {output}"


rule summarize_policies:
    input:
        rules.score_completions.output,
    output:
        policies=f"{OF_TASK}/tables/policies.csv",
        lengths=f"{OF_TASK}/tables/lengths.csv",
        win_rates=f"{OF_TASK}/tables/win_rates.csv",
    log:
        f"{OF_TASK}/logs/summarize_policies.log",
    benchmark:
        f"{OF_TASK}/benchmarks/summarize_policies.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        seed=config["seed"],
        settings=judging,
        code=source_digest("eval.summarize"),
    shell:
        "python -m eval.summarize {input} --task {wildcards.task} --settings {params.settings:q} --seed {params.seed} --log {log}"
        " --policies {output.policies} --lengths {output.lengths} --win-rates {output.win_rates}"


rule summarize_several_rewards:
    input:
        rules.score_completions.output,
    output:
        f"{OF_TASK}/tables/several_rewards.csv",
    log:
        f"{OF_TASK}/logs/summarize_several_rewards.log",
    benchmark:
        f"{OF_TASK}/benchmarks/summarize_several_rewards.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        seed=config["seed"],
        settings=judging,
        code=source_digest("eval.several_rewards"),
    shell:
        "python -m eval.several_rewards {input} --task {wildcards.task} --settings {params.settings:q} --seed {params.seed} --log {log} --output {output}"


rule pick_samples:
    input:
        completions=rules.score_completions.output,
        prompts=f"{OF_TASK}/data/test.parquet",
    output:
        f"{OF_TASK}/tables/samples.csv",
    log:
        f"{OF_TASK}/logs/pick_samples.log",
    benchmark:
        f"{OF_TASK}/benchmarks/pick_samples.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        settings=judging,
        code=source_digest("eval.pick_samples"),
    shell:
        "python -m eval.pick_samples {input.completions} --task {wildcards.task} --settings {params.settings:q} --log {log} --prompts {input.prompts} --output {output}"


rule collect_training:
    input:
        reference=rules.train_reference.output,
        adapters=models,
    output:
        f"{OF_TASK}/tables/training.csv",
    log:
        f"{OF_TASK}/logs/collect_training.log",
    benchmark:
        f"{OF_TASK}/benchmarks/collect_training.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        code=source_digest("eval.collect_training"),
    shell:
        "python -m eval.collect_training {input.reference} {input.adapters} --task {wildcards.task} --log {log} --output {output}"


rule gather_table:
    input:
        expand(f"{RESULTS}/{{task}}/tables/{{table}}.csv", task=TASKS, allow_missing=True),
    output:
        report(
            f"{RESULTS}/tables/{{table}}.csv",
            category="Tables",
            caption="../report/table.rst",
            labels={"table": "{table}"},
        ),
    log:
        f"{RESULTS}/logs/gather_table/{{table}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/gather_table/{{table}}.tsv"
    wildcard_constraints:
        table="|".join(TABLES),
    conda:
        "../envs/environment.yaml"
    params:
        tasks=list(TASKS),
        code=source_digest("eval.gather_table"),
    shell:
        "python -m eval.gather_table {input} --tasks {params.tasks} --log {log} --output {output}"


rule gap_trial:
    output:
        f"{RESULTS}/tables/gap_trial.csv",
    log:
        f"{RESULTS}/logs/gap_trial.log",
    benchmark:
        f"{RESULTS}/benchmarks/gap_trial.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        seed=config["seed"],
        code=source_digest("eval.gap_trial"),
    shell:
        "python -m eval.gap_trial --seed {params.seed} --log {log} --output {output}"


rule decide_claims:
    input:
        completions=rules.score_completions.output,
        reference=rules.train_reference.output,
        adapters=models,
        samples=samples,
        prompts=f"{OF_TASK}/data/test.parquet",
    output:
        claims=f"{OF_TASK}/claims.json",
        costs=f"{OF_TASK}/tables/costs.csv",
        agreement=f"{OF_TASK}/tables/agreement.csv",
    log:
        f"{OF_TASK}/logs/decide_claims.log",
    benchmark:
        f"{OF_TASK}/benchmarks/decide_claims.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        seed=config["seed"],
        settings=judging,
        code=source_digest("eval.decide"),
    shell:
        "python -m eval.decide {input.completions} --task {wildcards.task} --settings {params.settings:q} --seed {params.seed}"
        " --log {log} --reference {input.reference} --adapters {input.adapters} --samples {input.samples}"
        " --prompts {input.prompts} --costs {output.costs} --agreement {output.agreement} --output {output.claims}"


rule gather_claims:
    input:
        expand(f"{RESULTS}/{{task}}/claims.json", task=TASKS),
    output:
        json=f"{RESULTS}/claims.json",
        markdown=f"{RESULTS}/claims.md",
        questions=f"{RESULTS}/questions.md",
        page=report(
            f"{RESULTS}/claims.html",
            category="Claims",
            caption="../report/claims.rst",
            labels={"table": "claims"},
        ),
        answers=report(
            f"{RESULTS}/questions.html",
            category="Claims",
            caption="../report/questions.rst",
            labels={"table": "open questions"},
        ),
    log:
        f"{RESULTS}/logs/gather_claims.log",
    benchmark:
        f"{RESULTS}/benchmarks/gather_claims.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        study=config["study"],
        seed=config["seed"],
        code=source_digest("eval.gather_claims"),
    shell:
        "python -m eval.gather_claims {input} --study {params.study} --seed {params.seed} --log {log} --output {output.json}"
