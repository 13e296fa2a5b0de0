"""Plant one error after another into a copy of the project, and see whether a test notices.

A test that cannot fail says nothing. Each error below is one that a hurried change could bring: a
sign, a scale, a setting that is not handed on. It takes the place of one piece of the code, and
then the tests run that ought to notice. Run it before a release:

    python -m tests.planted_errors            # all of them: half an hour on one core
    python -m tests.planted_errors sampling   # those whose name has this word

It prints a table with the test that noticed each error, and ends with an error if one was missed.
`tests/test_planted_errors.py` holds the list to the code.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: What a copy needs, so that its tests run.
COPIED = (
    *("bench", "config", "dera", "docs", "envs", "eval", "figures", "notebooks", "profiles"),
    *("report", "study", "tasks", "tests", "training", "Snakefile", "Makefile", "README.md"),
    *("CITATION.cff", "CHANGELOG.md", "pyproject.toml"),
)


@dataclass(frozen=True)
class PlantedError:
    """One error.

    Attributes:
        name: what the error does.
        file: the file that it is planted in.
        was: a piece of the file's text that occurs once.
        becomes: what takes its place.
        tests: files of tests, one of which has to fail.
    """

    name: str
    file: str
    was: str
    becomes: str
    tests: tuple[str, ...]


def planted(name: str, file: str, was: str, becomes: str, *tests: str) -> PlantedError:
    """Return a `PlantedError`; its tests are named from the folder of all tests."""
    return PlantedError(name, file, was, becomes, tuple(f"tests/{test}" for test in tests))


MIXING = [
    planted(
        "mixing: lam with the wrong sign",
        "dera/mixing.py",
        "torch.lerp(parts[0], parts[1], weights[0])",
        "torch.lerp(parts[0], parts[1], -weights[0])",
        "dera/test_mixing.py",
    ),
    planted(
        "mixing: a part without a share excludes tokens",
        "dera/mixing.py",
        "(share != 0) & torch.isneginf(part)",
        "torch.isneginf(part)",
        "dera/test_mixing.py",
    ),
    planted(
        "mixing: lam 2% too large",
        "dera/mixing.py",
        "torch.lerp(parts[0], parts[1], weights[0])",
        "torch.lerp(parts[0], parts[1], 1.02 * weights[0])",
        "dera/test_mixing.py",
    ),
    planted(
        "mixing: lam of a strength upside down",
        "dera/weights.py",
        "return aligned_beta / beta",
        "return beta / aligned_beta",
        *("dera/test_mixing.py", "dera/test_model.py"),
    ),
]

DECODING = [
    planted(
        "padding: positions count the padding",
        "dera/model/padding.py",
        "(attention_mask.long().cumsum(-1) - 1)",
        "((attention_mask >= 0).long().cumsum(-1) - 1)",
        *("dera/test_generate.py", "dera/test_scoring.py"),
    ),
    planted(
        "cache: rows are not selected",
        "dera/model/row_selection.py",
        "layer.reorder_cache(rows)",
        "layer.reorder_cache(rows.sort().values)",
        *("dera/test_generate.py", "dera/test_scoring.py"),
    ),
    planted(
        "sampling: at temperature 0.9",
        "dera/decoding.py",
        "draw(logits.softmax(-1), generator)",
        "draw((logits / 0.9).softmax(-1), generator)",
        *("dera/test_scoring.py", "training/test_sampling.py"),
    ),
    planted(
        "sampling: rows that leave take the wrong lam along",
        "dera/decoding.py",
        '{**arguments, "lam": lam[rows]}',
        '{**arguments, "lam": lam[: len(rows)]}',
        "dera/test_scoring.py",
    ),
    planted(
        "sampling: the first token is never drawn",
        "dera/drawing.py",
        "uniform * total",
        "(0.5 + 0.5 * uniform) * total",
        "dera/test_drawing.py",
    ),
    planted(
        "speculation: every draft is kept",
        "dera/speculative/acceptance_rule.py",
        "_count_leading(torch.rand_like(p) * q < p)",
        "_count_leading(p >= 0)",
        "dera/test_speculative.py",
    ),
    planted(
        "speculation: a refused draft is replaced from the target",
        "dera/speculative/acceptance_rule.py",
        "torch.where(residual.sum(-1, keepdim=True) > 0, residual, target_there)",
        "target_there",
        "dera/test_speculative.py",
    ),
]

SCORING = [
    planted(
        "scoring: log Z_t scaled by 0.9",
        "dera/scoring.py",
        "torch.stack([sampler, *under_parts, log_z])",
        "torch.stack([sampler, *under_parts, 0.9 * log_z])",
        "dera/test_scoring.py",
    ),
    planted(
        "scoring: the sampler is not normalised",
        "dera/scoring.py",
        "at_tokens(mixed, tokens) - log_z",
        "at_tokens(mixed, tokens)",
        "dera/test_scoring.py",
    ),
    planted(
        "scoring: logits one token late",
        "dera/teacher_forcing.py",
        "logits[:, -completions.completion_length - 1 : -1]",
        "logits[:, -completions.completion_length :]",
        *("dera/test_scoring.py", "dera/test_readings.py"),
    ),
    planted(
        "estimators: the gap with the wrong sign",
        "dera/estimators.py",
        "return log_normalizer(log_weights) - log_weights.mean(-1)",
        "return log_weights.mean(-1) - log_normalizer(log_weights)",
        "dera/test_estimators.py",
    ),
    planted(
        "estimators: the KL without its normaliser",
        "dera/estimators.py",
        "return reweighted_mean(log_ratio, log_weights) - log_normalizer(log_weights)",
        "return reweighted_mean(log_ratio, log_weights)",
        "dera/test_estimators.py",
    ),
    planted(
        "estimators: the jackknife one sample off",
        "dera/estimators.py",
        "np.log(size / (size - 1))",
        "np.log((size + 1) / size)",
        "dera/test_estimators.py",
    ),
]

TRAINING = [
    planted(
        "training: trainers are told temperature 0.7",
        "training/trainers_of_trl.py",
        "temperature=1.0",
        "temperature=0.7",
        "training/test_settings_arrive.py",
    ),
    planted(
        "training: trainers are told top_p 0.9",
        "training/trainers_of_trl.py",
        "top_p=1.0",
        "top_p=0.9",
        "training/test_settings_arrive.py",
    ),
    planted(
        "training: trainers are told top_k 50",
        "training/trainers_of_trl.py",
        "top_k=0",
        "top_k=50",
        "training/test_settings_arrive.py",
    ),
    planted(
        "training: completions one token shorter",
        "training/trainers_of_trl.py",
        "max_completion_length=inputs.max_new_tokens",
        "max_completion_length=inputs.max_new_tokens - 1",
        "training/test_settings_arrive.py",
    ),
    planted(
        "training: updates per sample are ignored",
        "training/trainers_of_trl.py",
        'num_iterations=inputs.settings["updates_per_sample"]',
        "num_iterations=1",
        "training/test_settings_arrive.py",
    ),
    planted(
        "training: beta of the trainers that sample is doubled",
        "training/trainers_of_trl.py",
        "beta=inputs.beta,",
        "beta=2 * inputs.beta,",
        "training/test_settings_arrive.py",
    ),
    planted(
        "training: beta of pairs is doubled",
        "training/trainers_of_trl.py",
        "beta=beta, loss_type=[loss]",
        "beta=2 * beta, loss_type=[loss]",
        "training/test_objectives.py",
    ),
    planted(
        "training: DPO ignores the labeller's sharpness",
        "training/objectives/dpo.py",
        '"sigmoid", inputs.sharpness * inputs.beta',
        '"sigmoid", inputs.beta',
        "training/test_objectives.py",
    ),
    planted(
        "training: IPO's target is twice too small",
        "training/objectives/ipo.py",
        "mean_tokens(inputs) / 4",
        "mean_tokens(inputs) / 2",
        "training/test_objectives.py",
    ),
    planted(
        "training: the learning rate is halved",
        "training/trainer.py",
        "learning_rate=settings.learning_rate",
        "learning_rate=settings.learning_rate / 2",
        "training/test_settings_arrive.py",
    ),
    planted(
        "training: the schedule is ignored",
        "training/trainer.py",
        "lr_scheduler_type=settings.schedule",
        'lr_scheduler_type="constant"',
        "training/test_settings_arrive.py",
    ),
    planted(
        "training: the warm-up is ignored",
        "training/trainer.py",
        "warmup_steps=settings.warmup_steps",
        "warmup_steps=0",
        "training/test_settings_arrive.py",
    ),
    planted(
        "training: micro-batches make the batch smaller",
        "training/trainer.py",
        "gradient_accumulation_steps=settings.batch_size // settings.at_once",
        "gradient_accumulation_steps=1",
        "training/test_sft.py",
    ),
    planted(
        "training: the seed is ignored",
        "training/trainer.py",
        "seed=seed,",
        "seed=0,",
        "training/test_settings_arrive.py",
    ),
    planted(
        "training: the adapter's scale is ignored",
        "training/adapter.py",
        "lora_alpha=settings.alpha",
        "lora_alpha=settings.rank",
        "training/test_adapter.py",
    ),
    planted(
        "training: SFT without weight decay",
        "training/sft.py",
        "weight_decay=sft.weight_decay",
        "weight_decay=0.0",
        "training/test_sft.py",
    ),
    planted(
        "training: RLOO takes the reference's scores for the policy's",
        "training/sampling.py",
        "not torch.is_grad_enabled() and not adapter_is_off(model)",
        "not torch.is_grad_enabled()",
        "training/test_sampling.py",
    ),
    planted(
        "labels: half as sharp",
        "tasks/rewards/labeller.py",
        "math.tanh((first - second) / 2)",
        "math.tanh((first - second) / 4)",
        "tasks/test_rewards.py",
    ),
]

VERDICTS = [
    planted(
        "statistics: the seeds leave no error",
        "eval/statistics.py",
        "squared = max(from_seeds + only_prompts, from_prompts)",
        "squared = from_prompts",
        "eval/test_statistics.py",
    ),
    planted(
        "statistics: the error 10% too small",
        "eval/statistics.py",
        "return math.sqrt(squared), float(freedom)",
        "return 0.9 * math.sqrt(squared), float(freedom)",
        "eval/test_statistics.py",
    ),
    planted(
        "statistics: a two-sided p-value of one side",
        "eval/statistics.py",
        "special.stdtr(self.freedom, -distance / self.error)",
        "special.stdtr(self.freedom, -abs(distance) / self.error)",
        "eval/test_statistics.py",
    ),
    planted(
        "verdicts: the distance to the optimum in units of reward",
        "eval/claims/convergence.py",
        "optimum.log_normalizer[None] - reward / float(optimum.beta) + kl",
        "optimum.log_normalizer[None] - reward + kl",
        "eval/claims/test_convergence.py",
    ),
    planted(
        "tables: DeRa of another seed passes for the same seed's",
        "eval/kl_by_lam.py",
        '{True: "within a seed", False: "across seeds"}',
        '{True: "across seeds", False: "within a seed"}',
        "eval/test_kl_by_lam.py",
    ),
]

ERRORS = [*MIXING, *DECODING, *SCORING, *TRAINING, *VERDICTS]


def copy_of_project(folder: Path) -> Path:
    """Copy what the tests need into a folder, and return where."""
    copy = folder / "project"
    copy.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy2(source, copy / name)
    return copy


def noticed_by(error: PlantedError, project: Path) -> str | None:
    """Plant an error, run its tests, and take the error out again.

    Returns:
        The name of the test that failed first; None if all passed.

    Raises:
        RuntimeError: if the tests did not run, for example because the error is no Python.
    """
    file = project / error.file
    right = file.read_text()
    file.write_text(right.replace(error.was, error.becomes))
    try:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        result = subprocess.run(
            [*command, *error.tests], cwd=project, capture_output=True, text=True
        )
    finally:
        file.write_text(right)
    if result.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", result.stdout, re.MULTILINE)
    if result.returncode != 1 or failed is None:
        raise RuntimeError(f"{error.name}: the tests did not run:\n{result.stdout[-2000:]}")
    return failed.group(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("word", nargs="?", default="", help="plant only errors with this word")
    args = parser.parse_args()
    chosen = [error for error in ERRORS if args.word in error.name]
    if not chosen:
        parser.error(f"no error has the word {args.word!r} in its name")

    missed = 0
    print("| error | noticed by | seconds |\n| --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        project = copy_of_project(Path(folder))
        for error in chosen:
            before = time.monotonic()
            test = noticed_by(error, project)
            seconds = time.monotonic() - before
            missed += test is None
            print(f"| {error.name} | {test or '**nothing**'} | {seconds:.0f} |", flush=True)
    if missed:
        sys.exit(f"{missed} of {len(chosen)} errors were missed")


if __name__ == "__main__":
    main()
