# The map of the study, for each task: data -> reference -> aligned adapters -> decoded policies -> tables -> claims and figures.
import os

from snakemake.utils import min_version

from study import checks, config as study_config, estimate, modules, plugins, several_rewards

min_version("9.0")

if (
    not workflow.overwrite_configfiles
):  # a --configfile replaces the default study; it is not laid over it

    configfile: os.path.join(workflow.basedir, "config/laptop.yaml")


CHECKED = study_config.check_or_exit(config, workflow.configfiles)
RESULTS = f"results/{config['study']}"

# glibc keeps the memory a job has freed instead of giving it back page by page: a sixth less time in training.
ENVIRONMENT = {
    "PYTHONPATH": workflow.basedir,
    "TOKENIZERS_PARALLELISM": "false",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(4 * 2**30),
}
shell.prefix(
    "export " + " ".join(f"{name}='{value}'" for name, value in ENVIRONMENT.items()) + "; "
)


include: "study/jobs.smk"
include: "training/training.smk"
include: "eval/inputs.smk"
include: "eval/eval.smk"
include: "figures/inputs.smk"
include: "figures/figures.smk"
include: "bench/bench.smk"


onstart:
    plugins.check_or_exit(CHECKED)
    print(
        estimate.message(
            estimate.seconds(config, CHECKED.objectives), workflow.cores or 1, config["study"]
        ),
        flush=True,
    )


rule figures:
    default_target: True
    input:
        FIGURES,
        multiext(f"{RESULTS}/", "claims.md", "questions.md"),
        f"{RESULTS}/manifest.json",
        rules.write_report_pages.output,
