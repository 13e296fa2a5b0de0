# `snakemake bench`: what decoding the mixture costs, each way of doing it, on the study's first pair and on a larger one.
import yaml

BENCH = "results/bench"
BENCH_SETTINGS = os.path.join(workflow.basedir, "bench/decoding.yaml")
LARGER = next(
    pair["make"]
    for pair in yaml.safe_load(Path(BENCH_SETTINGS).read_text())["pairs"].values()
    if "make" in pair
)


rule make_larger_pair:
    output:
        reference=directory(f"{BENCH}/models/reference"),
        adapter=directory(f"{BENCH}/models/adapter"),
    log:
        f"{BENCH}/logs/make_larger_pair.log",
    benchmark:
        f"{BENCH}/benchmarks/make_larger_pair.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        settings=json.dumps(LARGER, sort_keys=True),
        code=source_digest("bench.larger_pair"),
    shell:
        "python -m bench.larger_pair --settings {params.settings:q} --log {log}"
        " --reference {output.reference} --adapter {output.adapter}"


rule time_decoding:
    input:
        settings=BENCH_SETTINGS,
        reference=f"{RESULTS}/{FIRST_TASK}/models/reference",
        adapter=f"{RESULTS}/{FIRST_TASK}/models/{FIRST_CURVE}",
        prompts=f"{RESULTS}/{FIRST_TASK}/data/test.parquet",
        larger=rules.make_larger_pair.output,
    output:
        decoding=f"{BENCH}/decoding.json",
        curve=f"{BENCH}/curve.json",
        provenance=f"{BENCH}/provenance.json",
    log:
        f"{BENCH}/logs/time_decoding.log",
    benchmark:
        f"{BENCH}/benchmarks/time_decoding.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1024  # all there are: alone on the machine, and on one thread of it
    resources:
        gpu=GPU,
    params:
        settings=section(FIRST_TASK, max_new_tokens=room(FIRST_TASK)),
        code=code_of(FIRST_TASK, "bench.decoding"),
        seed=config["seed"],
    shell:
        "python -m bench.decoding --settings {params.settings:q} --seed {params.seed} --log {log}"
        " --what {input.settings} --study {input.reference} {input.adapter} --larger {input.larger} --prompts {input.prompts}"
        " --output {output.decoding} --curve {output.curve} --provenance {output.provenance}"


rule draw_decoding:
    input:
        rules.time_decoding.output.decoding,
    output:
        pdf=f"{BENCH}/decoding.pdf",
        png=f"{BENCH}/decoding.png",
    log:
        f"{BENCH}/logs/draw_decoding.log",
    benchmark:
        f"{BENCH}/benchmarks/draw_decoding.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        code=source_digest("figures.decoding"),
    shell:
        "python -m figures.decoding --decoding {input} --pdf {output.pdf} --png {output.png} > {log} 2>&1"


rule tabulate_decoding:
    input:
        rules.time_decoding.output.decoding,
    output:
        f"{BENCH}/decoding.md",
    log:
        f"{BENCH}/logs/tabulate_decoding.log",
    benchmark:
        f"{BENCH}/benchmarks/tabulate_decoding.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        code=source_digest("bench.table"),
    shell:
        "python -m bench.table --decoding {input} --output {output} > {log} 2>&1"


rule bench:
    input:
        rules.time_decoding.output,
        rules.draw_decoding.output,
        rules.tabulate_decoding.output,


rule publish_bench:
    input:
        rules.time_decoding.output,
        rules.draw_decoding.output.png,
        rules.tabulate_decoding.output,
    output:
        directory("docs/bench"),
    log:
        f"{BENCH}/logs/publish_bench.log",
    benchmark:
        f"{BENCH}/benchmarks/publish_bench.tsv"
    conda:
        "../envs/environment.yaml"
    shell:
        "(mkdir -p {output} && cp {input} {output}) > {log} 2>&1"
