# One rule for every figure: a script, the tables it reads, and its caption in the report.
READS = {
    "length_distributions": ["lengths"],
    "reward_kl_by_beta": ["policies"],
    "frontier": ["policies"],
    "training_curves": ["training"],
    "lam_curve": ["curves", "policies"],
}
FIGURES = expand(f"{RESULTS}/figures/{{figure}}.{{kind}}", figure=READS, kind=["pdf", "png"])


rule draw_figure:
    input:
        lambda wildcards: [f"{RESULTS}/tables/{table}.csv" for table in READS[wildcards.figure]],
    output:
        pdf=f"{RESULTS}/figures/{{figure}}.pdf",
        png=report(
            f"{RESULTS}/figures/{{figure}}.png",
            category="Figures",
            caption="../report/figure.rst",
            labels={"figure": "{figure}"},
        ),
    log:
        f"{RESULTS}/logs/draw_figure/{{figure}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_figure/{{figure}}.tsv"
    wildcard_constraints:
        figure="|".join(READS),
    conda:
        "../envs/environment.yaml"
    params:
        code=lambda wildcards: source_digest(f"figures.{wildcards.figure}"),
        tables=lambda wildcards, input: [
            part for pair in zip(READS[wildcards.figure], input) for part in (f"--{pair[0]}", pair[1])
        ],
    shell:
        "python -m figures.{wildcards.figure} {params.tables} --pdf {output.pdf} --png {output.png} > {log} 2>&1"


rule publish:
    input:
        [figure for figure in FIGURES if figure.endswith(".png")],
        f"{RESULTS}/claims.json",
        f"{RESULTS}/claims.md",
        f"{RESULTS}/tables/policies.csv",
        f"{RESULTS}/tables/curve_trial.csv",
    output:
        directory(f"docs/{config['study']}"),
    log:
        f"{RESULTS}/logs/publish.log",
    benchmark:
        f"{RESULTS}/benchmarks/publish.tsv"
    conda:
        "../envs/environment.yaml"
    shell:
        "(mkdir -p {output}/figures && for file in {input}; do"
        " case $file in *.png) cp $file {output}/figures/ ;; *) cp $file {output}/ ;; esac; done) > {log} 2>&1"
