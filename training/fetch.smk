# What others published and a study needs. Each file or model is fetched once, into a folder of its
# own that all studies share. SOURCES says for each folder what is fetched (study/sources.py).


rule fetch:
    output:
        # Not deleted before the job runs: then `--forceall` needs no network.
        update(directory(f"{sources.DOWNLOADS}/{{folder}}")),
    log:
        f"{sources.DOWNLOADS}/{{folder}}.log",
    benchmark:
        f"{sources.DOWNLOADS}/{{folder}}.tsv"
    wildcard_constraints:
        folder=either(SOURCES),
    localrule: True  # the nodes of a cluster often have no network
    conda:
        "../envs/environment.yaml"
    params:
        source=lambda wildcards: text(SOURCES[wildcards.folder]),
    shell:
        "python -m training.fetch --settings {params.source:q} --log {log:q} --output {output:q}"
