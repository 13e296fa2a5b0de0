# How policies are compared: they are decoded on held-out prompts, scored, summarised, and judged
# against the paper's claims.


rule decode:
    input:
        reference=rules.train_reference.output,
        adapters=decoded_adapters,
        prompts=rules.make_data.output.test,
    output:
        directory(f"{OF_TASK}/samples/{{decoding}}"),
    log:
        f"{OF_TASK}/logs/decode/{{decoding}}.log",
    benchmark:
        f"{OF_TASK}/benchmarks/decode/{{decoding}}.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=GPU,
    params:
        settings=lambda wildcards: text(settings.decoding(task_of(wildcards), wildcards.decoding)),
        seed=lambda wildcards: decoding_of(wildcards).seed,
        code=lambda wildcards: source_digest(
            "eval.decode", *(f"eval.baselines.{name}" for name in task_of(wildcards).baselines)
        ),
        adapters=lambda wildcards, input: (
            ["--adapters", *input.adapters] if input.adapters else []
        ),
    shell:
        "python -m eval.decode --settings {params.settings:q} --seed {params.seed:q} --log {log:q}"
        " --reference {input.reference:q} {params.adapters:q} --prompts {input.prompts:q}"
        " --output {output:q}"


rule read_completions:
    input:
        reference=rules.train_reference.output,
        adapters=read_adapters,
        samples=read_samples,
        prompts=rules.make_data.output.test,
    output:
        f"{OF_TASK}/readings/{{objective}}-seed={{seed}}.parquet",
    log:
        f"{OF_TASK}/logs/read_completions/{{objective}}-seed={{seed}}.log",
    benchmark:
        f"{OF_TASK}/benchmarks/read_completions/{{objective}}-seed={{seed}}.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=GPU,
    params:
        settings=reading_settings,
        code=source_digest("eval.read"),
    shell:
        "python -m eval.read --settings {params.settings:q} --log {log:q}"
        " --reference {input.reference:q} --adapters {input.adapters:q}"
        " --samples {input.samples:q} --prompts {input.prompts:q} --output {output:q}"


rule summarize_readings:
    input:
        readings,
    output:
        f"{OF_TASK}/tables/kl_by_lam.csv",
    log:
        f"{OF_TASK}/logs/summarize_readings.log",
    benchmark:
        f"{OF_TASK}/benchmarks/summarize_readings.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        code=source_digest("eval.kl_by_lam"),
    shell:
        "python -m eval.kl_by_lam {input:q} --task {wildcards.task:q} --log {log:q}"
        " --output {output:q}"


rule reference_trial:
    input:
        references=tried_references,
        adapters=lambda wildcards: [
            model_folder(task_of(wildcards), run) for run in tried_runs(wildcards)
        ],
        samples=lambda wildcards: [
            f"{RESULTS}/{wildcards.task}/samples/{run.name}" for run in tried_runs(wildcards)
        ],
        prompts=rules.make_data.output.test,
    output:
        f"{OF_TASK}/reference_trials/seed={{seed}}.parquet",
    log:
        f"{OF_TASK}/logs/reference_trial/seed={{seed}}.log",
    benchmark:
        f"{OF_TASK}/benchmarks/reference_trial/seed={{seed}}.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=GPU,
    params:
        settings=lambda wildcards: text(
            settings.trying_references(task_of(wildcards), int(wildcards.seed))
        ),
        seed=lambda wildcards: task_of(wildcards).seed_of("reference trial", wildcards.seed),
        code=lambda wildcards: code_of(task_of(wildcards), "eval.reference_trial"),
    shell:
        "python -m eval.reference_trial --settings {params.settings:q} --seed {params.seed:q}"
        " --log {log:q} --references {input.references:q} --adapters {input.adapters:q}"
        " --samples {input.samples:q} --prompts {input.prompts:q} --output {output:q}"


rule summarize_other_references:
    input:
        reference_trials,
    output:
        f"{OF_TASK}/tables/other_references.csv",
    log:
        f"{OF_TASK}/logs/summarize_other_references.log",
    benchmark:
        f"{OF_TASK}/benchmarks/summarize_other_references.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        code=source_digest("eval.other_references"),
    shell:
        "python -m eval.other_references {input:q} --task {wildcards.task:q} --log {log:q}"
        " --output {output:q}"


rule estimate_curve:
    input:
        reference=rules.train_reference.output,
        adapter=f"{OF_TASK}/models/{{objective}}/beta={{beta}}/seed={{seed}}",
        prompts=rules.make_data.output.test,
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
        settings=lambda wildcards: text(settings.estimating_curve(PLAN, task_of(wildcards))),
        code=lambda wildcards: code_of(task_of(wildcards), "eval.curve"),
        seed=PLAN.seed,
        labels=lambda wildcards: text(
            {
                "objective": wildcards.objective,
                "anchor": wildcards.beta,
                "seed": int(wildcards.seed),
            }
        ),
    shell:
        "python -m eval.curve --labels {params.labels:q} --settings {params.settings:q}"
        " --seed {params.seed:q} --log {log:q} --reference {input.reference:q}"
        " --adapter {input.adapter:q} --prompts {input.prompts:q} --output {output:q}"


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
    params:
        settings=curve_settings,
        code=source_digest("eval.gather_curves"),
    shell:
        "python -m eval.gather_curves {input:q} --settings {params.settings:q} --log {log:q}"
        " --output {output:q}"


rule curve_trial:
    input:
        reference=f"{RESULTS}/{MAIN_TASK.name}/models/reference",
        adapter=MAIN_ADAPTER,
        prompts=f"{RESULTS}/{MAIN_TASK.name}/data/test.parquet",
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
        settings=text(
            settings.of_task(MAIN_TASK, "evaluation", max_new_tokens=MAIN_TASK.max_new_tokens)
        ),
        code=code_of(MAIN_TASK, "eval.curve_trial"),
        seed=PLAN.seed,
    shell:
        "python -m eval.curve_trial --settings {params.settings:q} --seed {params.seed:q}"
        " --log {log:q} --reference {input.reference:q} --adapter {input.adapter:q}"
        " --prompts {input.prompts:q}"
        " --output {output:q}"


rule score_completions:
    input:
        samples=all_samples,
        prompts=rules.make_data.output.test,
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
        settings=lambda wildcards: text(settings.scoring(task_of(wildcards))),
        reward_model=lambda wildcards, input: (
            ["--reward-model", input.reward_model] if input.reward_model else []
        ),
        code=lambda wildcards: code_of(
            task_of(wildcards),
            "eval.score",
            *(f"eval.metrics.{name}" for name in modules.names("eval.metrics")),
            *task_of(wildcards).section.get("metrics", []),
        ),
    shell:
        "python -m eval.score {input.samples:q} --settings {params.settings:q} --log {log:q}"
        " {params.reward_model:q} --prompts {input.prompts:q} --output {output:q}"


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
        seed=PLAN.seed,
        settings=judging,
        code=lambda wildcards: source_digest(
            "eval.summarize", *(f"eval.baselines.{name}" for name in task_of(wildcards).baselines)
        ),
    shell:
        "python -m eval.summarize {input:q} --task {wildcards.task:q}"
        " --settings {params.settings:q} --seed {params.seed:q} --log {log:q}"
        " --policies {output.policies:q}"
        " --lengths {output.lengths:q} --win-rates {output.win_rates:q}"


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
        seed=PLAN.seed,
        settings=judging,
        code=source_digest("eval.several_rewards"),
    shell:
        "python -m eval.several_rewards {input:q} --task {wildcards.task:q}"
        " --settings {params.settings:q} --seed {params.seed:q} --log {log:q} --output {output:q}"


rule pick_samples:
    input:
        completions=rules.score_completions.output,
        prompts=rules.make_data.output.test,
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
        "python -m eval.pick_samples {input.completions:q} --task {wildcards.task:q}"
        " --settings {params.settings:q} --log {log:q} --prompts {input.prompts:q}"
        " --output {output:q}"


rule collect_training:
    input:
        reference=rules.train_reference.output,
        adapters=model_folders,
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
        "python -m eval.collect_training {input.reference:q} {input.adapters:q}"
        " --task {wildcards.task:q} --log {log:q} --output {output:q}"


rule gather_table:
    input:
        expand(f"{RESULTS}/{{task}}/tables/{{table}}.csv", task=PLAN.tasks, allow_missing=True),
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
        table=either(TABLES),
    conda:
        "../envs/environment.yaml"
    params:
        tasks=list(PLAN.tasks),
        code=source_digest("eval.gather_table"),
    shell:
        "python -m eval.gather_table {input:q} --tasks {params.tasks:q} --log {log:q}"
        " --output {output:q}"


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
        seed=PLAN.seed,
        code=source_digest("eval.gap_trial"),
    shell:
        "python -m eval.gap_trial --seed {params.seed:q} --log {log:q} --output {output:q}"


rule decide_claims:
    input:
        completions=rules.score_completions.output,
        reference=rules.train_reference.output,
        adapters=model_folders,
        samples=all_samples,
        readings=readings,
        trials=reference_trials,
        prompts=rules.make_data.output.test,
    output:
        claims=f"{OF_TASK}/claims.json",
        costs=f"{OF_TASK}/tables/costs.csv",
        agreement=f"{OF_TASK}/tables/agreement.csv",
        controls=f"{OF_TASK}/tables/controls.csv",
    log:
        f"{OF_TASK}/logs/decide_claims.log",
    benchmark:
        f"{OF_TASK}/benchmarks/decide_claims.tsv"
    conda:
        "../envs/environment.yaml"
    threads: THREADS_OF_ONE_JOB
    params:
        seed=PLAN.seed,
        settings=judging,
        code=lambda wildcards: source_digest(
            "eval.decide", *(f"eval.baselines.{name}" for name in task_of(wildcards).baselines)
        ),
        checked_adapter=lambda wildcards: model_folder(
            task_of(wildcards), task_of(wildcards).main_run
        ),
        trials=lambda wildcards, input: (
            ["--reference-trials", *input.trials] if input.trials else []
        ),
    shell:
        "python -m eval.decide {input.completions:q} --task {wildcards.task:q}"
        " --settings {params.settings:q} --seed {params.seed:q} --threads {threads} --log {log:q}"
        " --reference {input.reference:q} --adapters {input.adapters:q}"
        " --checked-adapter {params.checked_adapter:q} --samples {input.samples:q}"
        " --readings {input.readings:q} {params.trials:q}"
        " --prompts {input.prompts:q} --costs {output.costs:q} --agreement {output.agreement:q}"
        " --controls {output.controls:q} --output {output.claims:q}"


rule time_two_models:
    input:
        reference=f"{RESULTS}/{MAIN_TASK.name}/models/reference",
        adapter=MAIN_ADAPTER,
        prompts=f"{RESULTS}/{MAIN_TASK.name}/data/test.parquet",
    output:
        f"{RESULTS}/tables/timings.csv",
    log:
        f"{RESULTS}/logs/time_two_models.log",
    benchmark:
        f"{RESULTS}/benchmarks/time_two_models.tsv"
    conda:
        "../envs/environment.yaml"
    threads: ALL_CORES  # a job that is timed has the machine to itself
    resources:
        gpu=GPU,
    params:
        settings=text(settings.timing(MAIN_TASK)),
        code=source_digest("eval.time_two_models"),
        seed=PLAN.seed,
    shell:
        "python -m eval.time_two_models --settings {params.settings:q} --seed {params.seed:q}"
        " --log {log:q} --reference {input.reference:q} --adapter {input.adapter:q}"
        " --prompts {input.prompts:q} --output {output:q}"


rule gather_claims:
    input:
        claims=expand(f"{RESULTS}/{{task}}/claims.json", task=PLAN.tasks),
        controls=expand(f"{RESULTS}/{{task}}/tables/controls.csv", task=PLAN.tasks),
        timings=rules.time_two_models.output,
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
        study=PLAN.study,
        seed=PLAN.seed,
        code=source_digest("eval.gather_claims"),
        criteria=["--criteria", CRITERIA] if Path(CRITERIA).exists() else [],
    shell:
        "python -m eval.gather_claims {input.claims:q} --controls {input.controls:q}"
        " --timings {input.timings:q} {params.criteria:q} --published --study {params.study:q} --seed {params.seed:q}"
        " --log {log:q} --output {output.json:q}"


rule write_criteria:
    input:
        claims_of_a_pilot,
    output:
        json=CRITERIA,
        page=CRITERIA.replace(".json", ".md"),
    log:
        f"{RESULTS}/logs/write_criteria.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_criteria.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        study=PLAN.study,
        code=source_digest("eval.criteria"),
    shell:
        "python -m eval.criteria {input:q} --study {params.study:q} --log {log:q}"
        " --output {output.json:q}"
