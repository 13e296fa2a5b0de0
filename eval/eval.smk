# How policies are compared: decoded on held-out prompts, scored, summarised, judged against the paper's claims.
DECODING = section(max_new_tokens=config["model"]["max_new_tokens"], **config["evaluation"])
SEEDS = config["alignment"]["seeds"]
TRAINED = {name: [study_config.label(b) for b in s["betas"]] for name, s in config["alignment"]["objectives"].items()}
ANCHORS = {name: [study_config.label(b) for b in s["anchors"]] for name, s in config["alignment"]["objectives"].items()}
ADAPTERS = [
    f"{RESULTS}/models/{objective}/beta={beta}/seed={seed}"
    for objective, betas in TRAINED.items()
    for beta in ANCHORS[objective] + [b for b in betas if b not in ANCHORS[objective]]
    for seed in SEEDS
]
SAMPLES = [f"{RESULTS}/samples/reference"] + [
    f"{RESULTS}/samples/{policy}/{objective}-beta={beta}-seed={seed}"
    for policy, strengths in (("retrained", TRAINED), ("dera", ANCHORS))
    for objective, betas in strengths.items()
    for beta in betas
    for seed in SEEDS
]
# One lam curve for each objective: of the anchor with the fine grid (or its first), first seed.
CURVES = {
    name: f"{study_config.label(s.get('grid_anchor', s['anchors'][0]))}/seed={SEEDS[0]}"
    for name, s in config["alignment"]["objectives"].items()
}
FIRST_CURVE = next(f"{name}/beta={anchor}" for name, anchor in CURVES.items())
JUDGING = section("statistics", betas=sorted({beta for betas in TRAINED.values() for beta in betas}, key=float))


rule sample_reference:
    input:
        reference=rules.train_reference.output,
        prompts=f"{RESULTS}/data/test.parquet",
    output:
        directory(f"{RESULTS}/samples/reference"),
    log:
        f"{RESULTS}/logs/sample/reference.log",
    benchmark:
        f"{RESULTS}/benchmarks/sample/reference.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=GPU,
    params:
        seed=config["seed"],
        settings=DECODING,
        code=source_digest("eval.sample"),
    shell:
        "python -m eval.sample reference --settings {params.settings:q} --seed {params.seed} --log {log}"
        " --reference {input.reference} --prompts {input.prompts} --output {output}"


rule sample_adapter:
    input:
        reference=rules.train_reference.output,
        adapter=f"{RESULTS}/models/{{objective}}/beta={{beta}}/seed={{seed}}",
        prompts=f"{RESULTS}/data/test.parquet",
    output:
        directory(f"{RESULTS}/samples/{{policy}}/{{objective}}-beta={{beta}}-seed={{seed}}"),
    log:
        f"{RESULTS}/logs/sample/{{policy}}-{{objective}}-beta={{beta}}-seed={{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/sample/{{policy}}-{{objective}}-beta={{beta}}-seed={{seed}}.tsv"
    wildcard_constraints:
        policy="retrained|dera",
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=GPU,
    params:
        settings=DECODING,
        code=source_digest("eval.sample"),
        seed=sampling_seed,
        lams=lambda wildcards: (
            "--lams=" + ",".join(map(str, study_config.lams(config, wildcards.objective, wildcards.beta)))
            if wildcards.policy == "dera"
            else ""
        ),
        labels=lambda wildcards: json.dumps(
            {"objective": wildcards.objective, "adapter_beta": wildcards.beta, "seed": int(wildcards.seed)}
        ),
    shell:
        "python -m eval.sample {wildcards.policy} {params.lams} --labels {params.labels:q} --settings {params.settings:q}"
        " --seed {params.seed} --log {log} --reference {input.reference} --adapter {input.adapter}"
        " --prompts {input.prompts} --output {output}"


rule estimate_curve:
    input:
        reference=rules.train_reference.output,
        adapter=f"{RESULTS}/models/{{objective}}/beta={{beta}}/seed={{seed}}",
        prompts=f"{RESULTS}/data/test.parquet",
    output:
        f"{RESULTS}/curves/{{objective}}/{{beta}}/seed={{seed}}.csv",
    log:
        f"{RESULTS}/logs/estimate_curve/{{objective}}-beta={{beta}}-seed={{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/estimate_curve/{{objective}}-beta={{beta}}-seed={{seed}}.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=GPU,
    params:
        settings=section(
            "task",
            "evaluation",
            curve=config["dera"]["curve"],
            max_new_tokens=config["model"]["max_new_tokens"],
            resamples=config["statistics"]["bootstrap_resamples"],
        ),
        code=source_digest("eval.curve", TASK),
        seed=config["seed"],
        labels=lambda wildcards: json.dumps(
            {"objective": wildcards.objective, "adapter_beta": wildcards.beta, "seed": int(wildcards.seed)}
        ),
    shell:
        "python -m eval.curve --labels {params.labels:q} --settings {params.settings:q} --seed {params.seed} --log {log}"
        " --reference {input.reference} --adapter {input.adapter} --prompts {input.prompts} --output {output}"


rule gather_curves:
    input:
        [f"{RESULTS}/curves/{objective}/{anchor}.csv" for objective, anchor in CURVES.items()],
    output:
        f"{RESULTS}/tables/curves.csv",
    log:
        f"{RESULTS}/logs/gather_curves.log",
    benchmark:
        f"{RESULTS}/benchmarks/gather_curves.tsv"
    conda:
        "../envs/environment.yaml"
    shell:
        "awk 'NR == 1 || FNR > 1' {input} > {output} 2> {log}"


rule curve_trial:
    input:
        reference=rules.train_reference.output,
        adapter=f"{RESULTS}/models/{FIRST_CURVE}",
        prompts=f"{RESULTS}/data/test.parquet",
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
        settings=section("task", "evaluation", max_new_tokens=config["model"]["max_new_tokens"]),
        code=source_digest("eval.curve_trial", TASK),
        seed=config["seed"],
    shell:
        "python -m eval.curve_trial --settings {params.settings:q} --seed {params.seed} --log {log}"
        " --reference {input.reference} --adapter {input.adapter} --prompts {input.prompts} --output {output}"


rule score_completions:
    input:
        samples=SAMPLES,
        prompts=f"{RESULTS}/data/test.parquet",
    output:
        f"{RESULTS}/tables/completions.parquet",
    log:
        f"{RESULTS}/logs/score_completions.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_completions.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        settings=section("task"),
        code=source_digest("eval.score", TASK, *(f"eval.metrics.{m}" for m in modules.names("eval.metrics"))),
    shell:
        "python -m eval.score {input.samples} --settings {params.settings:q} --log {log}"
        " --prompts {input.prompts} --output {output}"


rule summarize_policies:
    input:
        rules.score_completions.output,
    output:
        policies=report(
            f"{RESULTS}/tables/policies.csv", category="Tables", caption="../report/policies.rst", labels={"table": "policies"}
        ),
        lengths=f"{RESULTS}/tables/lengths.csv",
    log:
        f"{RESULTS}/logs/summarize_policies.log",
    benchmark:
        f"{RESULTS}/benchmarks/summarize_policies.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        seed=config["seed"],
        settings=JUDGING,
        code=source_digest("eval.summarize"),
    shell:
        "python -m eval.summarize {input} --settings {params.settings:q} --seed {params.seed} --log {log}"
        " --policies {output.policies} --lengths {output.lengths}"


rule collect_training:
    input:
        reference=rules.train_reference.output,
        adapters=ADAPTERS,
    output:
        f"{RESULTS}/tables/training.csv",
    log:
        f"{RESULTS}/logs/collect_training.log",
    benchmark:
        f"{RESULTS}/benchmarks/collect_training.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        code=source_digest("eval.collect_training"),
    shell:
        "python -m eval.collect_training {input.reference} {input.adapters} --log {log} --output {output}"


rule decide_claims:
    input:
        completions=rules.score_completions.output,
        reference=rules.train_reference.output,
        adapters=ADAPTERS,
        samples=SAMPLES,
        prompts=f"{RESULTS}/data/test.parquet",
    output:
        json=f"{RESULTS}/claims.json",
        table=report(f"{RESULTS}/claims.md", category="Claims", caption="../report/claims.rst", labels={"table": "claims"}),
    log:
        f"{RESULTS}/logs/decide_claims.log",
    benchmark:
        f"{RESULTS}/benchmarks/decide_claims.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        study=config["study"],
        seed=config["seed"],
        settings=JUDGING,
        code=source_digest("eval.decide"),
    shell:
        "python -m eval.decide {input.completions} --study {params.study} --settings {params.settings:q} --seed {params.seed}"
        " --log {log} --reference {input.reference} --adapters {input.adapters} --samples {input.samples}"
        " --prompts {input.prompts} --output {output.json}"
