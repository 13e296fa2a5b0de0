# `snakemake bench` times each way of decoding the mixture, with the pair of the study's main
# objective and with larger pairs. Each size of batches of each pair is a job, so that a run that
# was interrupted goes on where it was.


rule make_larger_pair:
    output:
        reference=directory(f"{BENCH}/models/{{pair}}/reference"),
        adapter=directory(f"{BENCH}/models/{{pair}}/adapter"),
    log:
        f"{BENCH}/logs/make_larger_pair/{{pair}}.log",
    benchmark:
        f"{BENCH}/benchmarks/make_larger_pair/{{pair}}.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=GPU,
    params:
        settings=lambda wildcards: text(MADE_PAIRS[wildcards.pair]),
        code=source_digest("bench.larger_pair"),
    shell:
        "python -m bench.larger_pair --settings {params.settings:q} --log {log:q}"
        " --reference {output.reference:q} --adapter {output.adapter:q}"


rule time_decoding:
    input:
        unpack(parts_of_timed_pair),
        settings=BENCH_SETTINGS,
    output:
        f"{BENCH}/pieces/{{pair}}/batch={{batch}}.json",
    log:
        f"{BENCH}/logs/time_decoding/{{pair}}/batch={{batch}}.log",
    benchmark:
        f"{BENCH}/benchmarks/time_decoding/{{pair}}/batch={{batch}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: ALL_CORES  # so that nothing runs beside it; the job uses one
    resources:
        gpu=GPU,
    params:
        settings=text({"max_new_tokens": MAIN_TASK.max_new_tokens}),
        prompts=prompts_option,
        code=code_of(MAIN_TASK, "bench.decoding"),
        seed=PLAN.seed,
    shell:
        "python -m bench.decoding --settings {params.settings:q} --seed {params.seed:q}"
        " --log {log:q} --what {input.settings:q}"
        " --pair {wildcards.pair:q} --batch {wildcards.batch:q}"
        " --reference {input.reference:q} --adapter {input.adapter:q} {params.prompts}"
        " --output {output:q}"


rule time_curve:
    input:
        **STUDY_PAIR,
        settings=BENCH_SETTINGS,
    output:
        f"{BENCH}/curve.json",
    log:
        f"{BENCH}/logs/time_curve.log",
    benchmark:
        f"{BENCH}/benchmarks/time_curve.tsv"
    conda:
        "../envs/environment.yaml"
    threads: ALL_CORES  # so that nothing runs beside it; the job uses one
    resources:
        gpu=GPU,
    params:
        settings=text({"max_new_tokens": MAIN_TASK.max_new_tokens}),
        code=code_of(MAIN_TASK, "bench.curve"),
        seed=PLAN.seed,
    shell:
        "python -m bench.curve --settings {params.settings:q} --seed {params.seed:q}"
        " --log {log:q} --what {input.settings:q}"
        " --reference {input.reference:q} --adapter {input.adapter:q} --prompts {input.prompts:q}"
        " --output {output:q}"


rule gather_decoding:
    input:
        [
            f"{BENCH}/pieces/{name}/batch={batch}.json"
            for name, pair in BENCH_PAIRS.items()
            for batch in pair["rows"]
        ],
    output:
        decoding=f"{BENCH}/decoding.json",
        provenance=f"{BENCH}/provenance.json",
    log:
        f"{BENCH}/logs/gather_decoding.log",
    benchmark:
        f"{BENCH}/benchmarks/gather_decoding.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        code=source_digest("bench.gather"),
    shell:
        "python -m bench.gather --pieces {input:q} --output {output.decoding:q}"
        " --provenance {output.provenance:q} --log {log:q} > {log:q} 2>&1"


rule draw_decoding:
    input:
        rules.gather_decoding.output.decoding,
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
        "python -m figures.decoding --decoding {input:q} --pdf {output.pdf:q} --png {output.png:q}"
        " --log {log:q} > {log:q} 2>&1"


rule tabulate_decoding:
    input:
        rules.gather_decoding.output.decoding,
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
        "python -m bench.table --decoding {input:q} --output {output:q} --log {log:q}"
        " > {log:q} 2>&1"


rule bench:
    input:
        rules.gather_decoding.output,
        rules.time_curve.output,
        rules.draw_decoding.output,
        rules.tabulate_decoding.output,


MEMORY = f"{RESULTS}/memory"
MEMORY_SETTINGS = os.path.join(PROJECT, "bench/memory.yaml")


rule measure_memory:
    input:
        **STUDY_PAIR,
        settings=MEMORY_SETTINGS,
    output:
        memory=f"{MEMORY}/memory.json",
        provenance=f"{MEMORY}/provenance.json",
    log:
        f"{MEMORY}/measure.log",
    benchmark:
        f"{MEMORY}/measure.tsv"
    conda:
        "../envs/environment.yaml"
    threads: ALL_CORES  # so that nothing runs beside it; the job uses one
    resources:
        gpu=GPU,
    params:
        settings=text(settings.of_task(MAIN_TASK, max_new_tokens=MAIN_TASK.max_new_tokens)),
        code=code_of(MAIN_TASK, "bench.memory"),
        seed=PLAN.seed,
    # `make memory` says where it has put the library that quantises weights.
    shell:
        'PYTHONPATH="$PYTHONPATH${{DERA_QUANTISED:+:$DERA_QUANTISED}}"'
        " python -m bench.memory --settings {params.settings:q} --seed {params.seed:q}"
        " --log {log:q} --what {input.settings:q} --reference {input.reference:q}"
        " --adapter {input.adapter:q} --prompts {input.prompts:q}"
        " --output {output.memory:q} --provenance {output.provenance:q}"


rule draw_memory:
    input:
        rules.measure_memory.output.memory,
    output:
        pdf=f"{MEMORY}/memory.pdf",
        png=f"{MEMORY}/memory.png",
    log:
        f"{MEMORY}/draw.log",
    benchmark:
        f"{MEMORY}/draw.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        code=source_digest("figures.memory"),
    shell:
        "python -m figures.memory --memory {input:q} --pdf {output.pdf:q} --png {output.png:q}"
        " --log {log:q} > {log:q} 2>&1"


rule tabulate_memory:
    input:
        rules.measure_memory.output.memory,
    output:
        f"{MEMORY}/memory.md",
    log:
        f"{MEMORY}/tabulate.log",
    benchmark:
        f"{MEMORY}/tabulate.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        code=source_digest("bench.memory_table"),
    shell:
        "python -m bench.memory_table --memory {input:q} --output {output:q} --log {log:q}"
        " > {log:q} 2>&1"


# What it costs to hold the study's pair in less memory.
rule memory:
    input:
        rules.measure_memory.output,
        rules.draw_memory.output,
        rules.tabulate_memory.output,


rule publish_bench:
    input:
        rules.gather_decoding.output,
        rules.time_curve.output,
        rules.draw_decoding.output.png,
        rules.tabulate_decoding.output,
    output:
        directory(PUBLISHED_BENCH),
    log:
        f"{BENCH}/logs/publish_bench.log",
    benchmark:
        f"{BENCH}/benchmarks/publish_bench.tsv"
    conda:
        "../envs/environment.yaml"
    shell:
        "(mkdir -p {output:q} && cp {input:q} {output:q}) > {log:q} 2>&1"


rule publish_memory:
    input:
        rules.measure_memory.output,
        rules.draw_memory.output.png,
        rules.tabulate_memory.output,
    output:
        directory("docs/memory"),
    log:
        f"{MEMORY}/publish.log",
    benchmark:
        f"{MEMORY}/publish.tsv"
    conda:
        "../envs/environment.yaml"
    shell:
        "(mkdir -p {output:q} && cp {input:q} {output:q}) > {log:q} 2>&1"
