# The figures that the scripts in this folder declare, the pages of the report, the manifest, the
# front page, and what is published.
from study import figures as study_figures
from study.other_references import OTHER

DRAWN = study_figures.drawn(PLAN)
FIGURES = expand(
    f"{RESULTS}/figures/{{figure}}.{{kind}}", figure=DRAWN.paths(), kind=["pdf", "png"]
)
PICTURES = [figure for figure in FIGURES if figure.endswith(".png")]


MODELS = []
for task in ALL_TASKS:
    MODELS.append(f"{RESULTS}/{task.name}/models/reference")
    MODELS += [model_folder(task, run) for run in task.runs]
    if OTHER in task.mixed_references:
        MODELS.append(f"{RESULTS}/{task.name}/models/other_reference")

# `snakemake curve_trial` makes this table. It takes minutes, and a study does not need it.
CURVE_TRIAL = f"{RESULTS}/tables/curve_trial.csv"
REPLICATES = f"{RESULTS}/replicates.md"
FRONT_PAGE = f"{RESULTS}/index.html"


rule draw_figure_of_task:
    input:
        lambda wildcards: DRAWN.tables(RESULTS, wildcards.figure, wildcards.task),
    output:
        pdf=f"{RESULTS}/figures/{{task}}/{{figure}}.pdf",
        png=report(
            f"{RESULTS}/figures/{{task}}/{{figure}}.png",
            category="Figures",
            caption="../report/figure.rst",
            labels={"task": "{task}", "figure": "{figure}"},
        ),
    log:
        f"{RESULTS}/logs/draw_figure/{{task}}/{{figure}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_figure/{{task}}/{{figure}}.tsv"
    wildcard_constraints:
        figure="[^/]+",
    conda:
        "../envs/environment.yaml"
    params:
        code=lambda wildcards: source_digest(f"figures.{wildcards.figure}"),
        caption=lambda wildcards: DRAWN.caption(wildcards.figure, wildcards.get("task")),
        tables=lambda wildcards: DRAWN.options(RESULTS, wildcards.figure, wildcards.get("task")),
    shell:
        "python -m figures.{wildcards.figure:q} {params.tables:q}"
        " --pdf {output.pdf:q} --png {output.png:q} --log {log:q} > {log:q} 2>&1"


use rule draw_figure_of_task as draw_figure with:
    input:
        lambda wildcards: DRAWN.tables(RESULTS, wildcards.figure),
    output:
        pdf=f"{RESULTS}/figures/{{figure}}.pdf",
        png=report(
            f"{RESULTS}/figures/{{figure}}.png",
            category="Figures",
            caption="../report/figure.rst",
            labels={"task": "all tasks", "figure": "{figure}"},
        ),
    log:
        f"{RESULTS}/logs/draw_figure/{{figure}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_figure/{{figure}}.tsv"


rule write_report_pages:
    input:
        claims=f"{RESULTS}/claims.json",
        samples=expand(f"{RESULTS}/{{task}}/tables/samples.csv", task=PLAN.tasks),
    output:
        claims=report(
            directory(f"{RESULTS}/pages/claims"),
            patterns=["{chapter}/{task}/{verdict}/{claim}.html"],
            category="{chapter}",
            caption="../report/claim.rst",
            labels={"task": "{task}", "claim": "{claim}", "verdict": "{verdict}"},
        ),
        completions=report(
            directory(f"{RESULTS}/pages/completions"),
            patterns=["{policy}/{task}.html"],
            category="Completions",
            caption="../report/completions.rst",
            labels={"task": "{task}", "policy": "{policy}"},
        ),
        first_page=REPORT_TEXT,
    log:
        f"{RESULTS}/logs/write_report_pages.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_report_pages.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        tasks=list(PLAN.tasks),
        study=PLAN.study,
        note=prospects.too_small(PLAN),
        code=source_digest("eval.report_pages"),
    shell:
        "python -m eval.report_pages --claims {input.claims:q} --study {params.study:q}"
        " --note={params.note:q} --samples {input.samples:q} --tasks {params.tasks:q} --log {log:q}"
        " --first-page {output.first_page:q}"
        " --claim-pages {output.claims:q} --completion-pages {output.completions:q}"


rule write_manifest:
    input:
        data=expand(
            f"{RESULTS}/{{task}}/data/{{split}}.parquet",
            task=PLAN.tasks,
            split=["train", "validation", "test"],
        ),
        models=MODELS,
        tables=expand(
            f"{RESULTS}/{{task}}/tables/{{table}}",
            task=PLAN.tasks,
            table=["completions.parquet", "policies.csv", "win_rates.csv"],
        ),
        claims=multiext(f"{RESULTS}/claims", ".json", ".md"),
        questions=f"{RESULTS}/questions.md",
        gathered=expand(f"{RESULTS}/tables/{{table}}.csv", table=["policies", "agreement"]),
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
        settings=text(config),
        criteria=CRITERIA,
    shell:
        "python -m study.manifest --settings {params.settings:q} --log {log:q}"
        " --inputs {input.data:q} --outputs {input.models:q} {input.tables:q} {input.gathered:q}"
        " {input.claims:q} {input.questions:q} {input.figures:q}"
        " --criteria {params.criteria:q} --output {output:q}"


rule write_front_page:
    input:
        claims=f"{RESULTS}/claims.json",
        manifest=rules.write_manifest.output,
        figures=PICTURES,
        completions=expand(f"{RESULTS}/{{task}}/tables/completions.parquet", task=PLAN.tasks),
        policies=expand(f"{RESULTS}/{{task}}/tables/policies.csv", task=PLAN.tasks),
        controls=expand(f"{RESULTS}/{{task}}/tables/controls.csv", task=PLAN.tasks),
        prompts=expand(f"{RESULTS}/{{task}}/data/test.parquet", task=PLAN.tasks),
    output:
        FRONT_PAGE,
    log:
        f"{RESULTS}/logs/write_front_page.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_front_page.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        tasks=list(PLAN.tasks),
        figures=lambda wildcards, input: str(Path(input.claims).parent / "figures"),
        settings=text({"too_small": prospects.too_small(PLAN), "captions": DRAWN.captions()}),
        code=source_digest("report.page.write"),
    shell:
        "python -m report.page.write --settings {params.settings:q} --log {log:q}"
        " --claims {input.claims:q} --manifest {input.manifest:q} --figures {params.figures:q}"
        " --tasks {params.tasks:q} --completions {input.completions:q}"
        " --policies {input.policies:q} --controls {input.controls:q}"
        " --prompts {input.prompts:q} --output {output:q}"


# A rule of its own, because Snakemake deletes what `publish` wrote before `publish` starts.
rule check_publication:
    input:
        manifest=f"{RESULTS}/manifest.json",
        files=[
            *PICTURES,
            *multiext(f"{RESULTS}/claims", ".json", ".md"),
            f"{RESULTS}/questions.md",
            *expand(f"{RESULTS}/tables/{{table}}.csv", table=["policies", "agreement"]),
        ],
        runs=lambda wildcards: [REPLICATES] if Path(REPLICATES).exists() else [],
    output:
        temp(touch(f"{RESULTS}/.may_be_published")),
    log:
        f"{RESULTS}/logs/check_publication.log",
    benchmark:
        f"{RESULTS}/benchmarks/check_publication.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        study=PLAN.study,
        replicate=PLAN.replicate.number,
        config=text(config),
        folder=f"docs/{PLAN.folder}",
        own_config=f"{PROJECT}/config/{PLAN.study}.yaml",
        runs=lambda wildcards, input: ["--comparison", *input.runs] if input.runs else [],
    shell:
        "python -m study.publication {input.manifest:q} --study {params.study:q}"
        " --replicate {params.replicate:q} --config {params.config:q} --folder {params.folder:q}"
        " --own-config {params.own_config:q} --files {input.files:q} {params.runs:q} 2>&1 | tee {log:q} >&2"


rule publish:
    input:
        rules.check_publication.output,
        page=FRONT_PAGE,
        figures=lambda wildcards: for_publication(PICTURES),
        claims=multiext(f"{RESULTS}/claims", ".json", ".md"),
        questions=f"{RESULTS}/questions.md",
        manifest=f"{RESULTS}/manifest.json",
        tables=expand(f"{RESULTS}/tables/{{table}}.csv", table=["policies", "agreement"]),
        trial=lambda wildcards: [CURVE_TRIAL] if Path(CURVE_TRIAL).exists() else [],
        # of several runs, if `make replicate` has compared them
        runs=lambda wildcards: [REPLICATES] if Path(REPLICATES).exists() else [],
    output:
        directory(f"docs/{PLAN.folder}"),
    log:
        f"{RESULTS}/logs/publish.log",
    benchmark:
        f"{RESULTS}/benchmarks/publish.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        folder=lambda wildcards, input: str(Path(input.manifest).parent / "figures"),
        pictures=[f"{path}.png" for path in DRAWN.paths()],
    shell:
        "(mkdir -p {output:q}/figures"
        " && cp {input.claims:q} {input.questions:q} {input.manifest:q} {input.tables:q}"
        " {input.trial:q} {input.runs:q} {output:q}"
        " && tar cf - -C {params.folder:q} {params.pictures:q} | tar xf - -C {output:q}/figures)"
        " > {log:q} 2>&1"
        " && python -m study.published_page {input.page:q} {output:q} 2>&1 | tee -a {log:q} >&2"
