# One rule for the figures of a task and one for those of the study: a script, the tables it reads, and its caption in the report.


rule draw_figure_of_task:
    input:
        lambda wildcards: [
            f"{RESULTS}/{wildcards.task}/tables/{table}.csv"
            for table in READS[wildcards.task][wildcards.figure]
        ],
    output:
        pdf=f"{RESULTS}/figures/{{task}}/{{figure}}.pdf",
        png=report(
            f"{RESULTS}/figures/{{task}}/{{figure}}.png",
            category="{task}",
            subcategory="Figures",
            caption="../report/figure.rst",
            labels={"figure": "{figure}"},
        ),
    log:
        f"{RESULTS}/logs/draw_figure/{{task}}/{{figure}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_figure/{{task}}/{{figure}}.tsv"
    wildcard_constraints:
        figure="[a-z_]+",
    conda:
        "../envs/environment.yaml"
    params:
        code=lambda wildcards: source_digest(f"figures.{wildcards.figure}"),
        tables=tables_of,
    shell:
        "python -m figures.{wildcards.figure} {params.tables} --pdf {output.pdf} --png {output.png} > {log} 2>&1"


use rule draw_figure_of_task as draw_figure with:
    input:
        lambda wildcards: [f"{RESULTS}/tables/{table}.csv" for table in OF_STUDY[wildcards.figure]],
    output:
        pdf=f"{RESULTS}/figures/{{figure}}.pdf",
        png=report(
            f"{RESULTS}/figures/{{figure}}.png",
            category="all",
            subcategory="Figures",
            caption="../report/figure.rst",
            labels={"figure": "{figure}"},
        ),
    log:
        f"{RESULTS}/logs/draw_figure/{{figure}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_figure/{{figure}}.tsv"


rule write_report_pages:
    input:
        claims=f"{RESULTS}/claims.json",
        figures=[figure for figure in FIGURES if figure.endswith(".png")],
        samples=expand(f"{RESULTS}/{{task}}/tables/samples.csv", task=TASKS),
    output:
        claims=report(
            directory(f"{RESULTS}/pages/claims"),
            patterns=["{task}/{claim}.html"],
            category="{task}",
            subcategory="Claims",
            caption="../report/claim.rst",
            labels={"claim": "{claim}"},
        ),
        completions=report(
            directory(f"{RESULTS}/pages/completions"),
            patterns=["{policy}/{task}.html"],
            category="Completions",
            caption="../report/completions.rst",
            labels={"task": "{task}", "policy": "{policy}"},
        ),
    log:
        f"{RESULTS}/logs/write_report_pages.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_report_pages.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        tasks=list(TASKS),
        figures=lambda wildcards, input: str(Path(input.claims).parent / "figures"),
        code=source_digest("eval.report_pages"),
    shell:
        "python -m eval.report_pages --claims {input.claims} --figures {params.figures} --samples {input.samples} --tasks {params.tasks}"
        " --log {log} --claim-pages {output.claims} --completion-pages {output.completions}"


rule write_manifest:
    input:
        data=expand(
            f"{RESULTS}/{{task}}/data/{{split}}.parquet",
            task=TASKS,
            split=["train", "validation", "test"],
        ),
        models=MODELS,
        tables=expand(
            f"{RESULTS}/{{task}}/tables/{{table}}",
            task=TASKS,
            table=["completions.parquet", "policies.csv", "win_rates.csv"],
        ),
        claims=f"{RESULTS}/claims.json",
        figures=FIGURES,
    output:
        f"{RESULTS}/manifest.json",
    log:
        f"{RESULTS}/logs/write_manifest.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_manifest.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        settings=json.dumps(config, sort_keys=True),
    shell:
        "python -m study.manifest --settings {params.settings:q} --log {log} --inputs {input.data}"
        " --outputs {input.models} {input.tables} {input.claims} {input.figures} --output {output}"


rule publish:
    input:
        figures=[figure for figure in FIGURES if figure.endswith(".png")],
        claims=multiext(f"{RESULTS}/claims", ".json", ".md"),
        questions=f"{RESULTS}/questions.md",
        manifest=f"{RESULTS}/manifest.json",
        tables=expand(f"{RESULTS}/tables/{{table}}.csv", table=["policies", "agreement"]),
        trial=curve_trial_if_run,
    output:
        directory(f"docs/{config['study']}"),
    log:
        f"{RESULTS}/logs/publish.log",
    benchmark:
        f"{RESULTS}/benchmarks/publish.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        figures=lambda wildcards, input: str(Path(input.manifest).parent / "figures"),
    shell:
        "(mkdir -p {output} && cp {input.claims} {input.questions} {input.manifest} {input.tables} {input.trial} {output}"
        " && (cd {params.figures} && find . -name '*.png' | tar cf - -T -) | (mkdir -p {output}/figures && tar xf - -C {output}/figures))"
        " > {log} 2>&1"
