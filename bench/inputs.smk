# What the rules of bench.smk take.
import yaml

BENCH = f"{RESULTS}/bench"
# Where it is published. That of the default study is in the folder itself.
PUBLISHED_BENCH = "docs/bench" if PLAN.folder == "laptop" else f"docs/bench/{PLAN.folder}"
BENCH_SETTINGS = os.path.join(PROJECT, "bench/decoding.yaml")
BENCH_PAIRS = {
    name: pair
    for name, pair in yaml.safe_load(Path(BENCH_SETTINGS).read_text())["pairs"].items()
    if GPU or not pair.get("needs_gpu")
}
MADE_PAIRS = {
    name: {**pair["make"], "dtype": pair.get("dtype", "float32")}
    for name, pair in BENCH_PAIRS.items()
    if "make" in pair
}
# What the study's pair needs, to time it.
STUDY_PAIR = {
    "reference": f"{RESULTS}/{MAIN_TASK.name}/models/reference",
    "adapter": MAIN_ADAPTER,
    "prompts": f"{RESULTS}/{MAIN_TASK.name}/data/test.parquet",
}


def parts_of_timed_pair(wildcards):
    """What the job needs that times a pair: its two folders, and the study's prompts."""
    if wildcards.pair not in MADE_PAIRS:
        return STUDY_PAIR
    return {name: f"{BENCH}/models/{wildcards.pair}/{name}" for name in ("reference", "adapter")}


def prompts_option(wildcards, input):
    """The option that names the study's prompts. Larger pairs continue random words."""
    return f"--prompts {shlex.quote(input.prompts)}" if "prompts" in input.keys() else ""
