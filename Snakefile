# The map of the study. For each task:
# data -> reference -> aligned models -> decoded policies -> tables -> claims and figures.
import os
import shlex
import sys
import time
from pathlib import Path

from snakemake.utils import min_version

# The folder of this file. It is not `workflow.basedir` where this is a module of another workflow.
PROJECT = workflow.current_basedir.get_path_or_uri(secret_free=True)
if PROJECT not in sys.path:
    sys.path.insert(0, PROJECT)

from study import estimate, on_disk, out_of_memory, outputs, own_data, plugins, prospects, resolve
from study import sizes, tracking

min_version("9.0")

if (
    not workflow.overwrite_configfiles
):  # a --configfile replaces the default study; it is not laid over it

    configfile: os.path.join(PROJECT, "config/laptop.yaml")


PLAN = resolve.plan_or_exit(config, workflow.configfiles)
RESULTS = f"results/{PLAN.folder}"
# No result depends on who is told of trainings, so that it is no part of the config from here on.
TRACKING = tracking.environment(config, PLAN.study, Path(RESULTS), os.environ)
config.pop("report_to", None)
REPORT_TEXT = f"{RESULTS}/report.rst"
STARTED = time.time()

# What is wrong with data of the user's own, what the study cannot decide and what it takes are said
# before anything starts, and in a dry run.
if workflow.is_main_process:
    own_data.check_or_exit(PLAN)
    cores = workflow.resource_settings.cores or 1  # there are none for `--report`
    takes = estimate.message(estimate.seconds(PLAN), cores, PLAN.study)
    for said in filter(None, [prospects.message(PLAN), sizes.message(PLAN), takes]):
        print(said, file=sys.stderr)

    # Results of another config are refused, and so are files that were cut or edited.
    on_disk.check_or_exit(PLAN, Path(RESULTS))
    outputs.check_or_exit(Path(RESULTS))

# The two MALLOC variables: glibc keeps the memory a job has freed instead of giving it back page by
# page, which takes a sixth less time in training.
ENVIRONMENT = {
    "PYTHONPATH": PROJECT,
    "PYTHONUTF8": "1",  # whatever the locale is
    "TOKENIZERS_PARALLELISM": "false",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(4 * 2**30),
    **TRACKING,
}
EXPORTS = [f"{name}={shlex.quote(value)}" for name, value in ENVIRONMENT.items()]
# Snakemake formats the prefix, so that a brace in the name of a folder is doubled.
EXPORTS = [export.replace("{", "{{").replace("}", "}}") for export in EXPORTS]
shell.prefix(f"export {' '.join(EXPORTS)}; {out_of_memory.SAY_IF_KILLED}")


# The first page of `snakemake --report`, which the rule `write_report_pages` makes.
report: os.path.abspath(REPORT_TEXT)


include: "study/jobs.smk"
include: "training/fetch.smk"
include: "training/inputs.smk"
include: "training/training.smk"
include: "eval/inputs.smk"
include: "eval/eval.smk"
include: "figures/figures.smk"
include: "bench/inputs.smk"
include: "bench/bench.smk"


onstart:
    plugins.check_or_exit(PLAN)


# What came out is printed if this run has made the front page.
onsuccess:
    page = Path(FRONT_PAGE)
    if page.exists() and page.stat().st_mtime >= STARTED:
        # Imported here, because this takes a second, and every job reads this file.
        from eval import front_table

        print(front_table.for_terminal(json.loads(Path(f"{RESULTS}/claims.json").read_text())))
        print(f"The front page of the results is {FRONT_PAGE}.", flush=True)


rule figures:
    default_target: True
    input:
        FIGURES,
        multiext(f"{RESULTS}/", "claims.md", "questions.md"),
        f"{RESULTS}/manifest.json",
        rules.write_report_pages.output,
        FRONT_PAGE,
