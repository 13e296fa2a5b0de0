"""A study, resolved once from its config: typed tasks, objectives, runs, anchors and lams.

Rules, jobs, claims and figures read the plan, or what it wrote into settings and tables. Nothing
reads the raw config for a second time. Which task, objective or strength is the default never
depends on the order in which the config lists them.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from study import baselines, checks, names, objective_checks, schema, several_rewards
from study.baselines import Baseline
from study.objective_checks import Declared
from study.schema import ConfigError
from study.strengths import exact, label

#: Keys of an objective that say which models are trained and compared, not how one is trained.
NOT_FOR_TRAINING = {
    "betas",
    "anchors",
    "default_beta",
    "fine_grid",
    "seeds",
    "reward_margin",
}


@dataclass(frozen=True)
class Run:
    """One aligned model: an objective, the strength it is trained at, and a seed."""

    objective: str
    beta: str
    seed: int

    @property
    def name(self) -> str:
        """The name of the run's files, such as `rloo-beta=0.25-seed=0`."""
        return f"{self.objective}-beta={self.beta}-seed={self.seed}"

    @property
    def folder(self) -> str:
        """The model's folder below `models/`, such as `rloo/beta=0.25/seed=0`."""
        return f"{self.objective}/beta={self.beta}/seed={self.seed}"


@dataclass(frozen=True)
class ObjectivePlan:
    """One objective of a task.

    Attributes:
        name: its name in the config.
        declared: the module it is made with, and what that declares.
        reward: what it maximises: "gold", "learned", "labeller", or measures with weights.
        reward_margin: rewards this close count as equal.
        betas: the strengths to train at, as decimals.
        anchors: the strengths, out of `betas`, of the aligned models that DeRa starts from.
        default_beta: the default strength, an anchor; None where there is no anchor.
        fine_grid: whether the aligned model of the default strength decodes the fine grid of lams.
        seeds: a model is trained for each.
        training: the keys of the config that say how one model is trained.
    """

    name: str
    declared: Declared
    reward: Any
    reward_margin: float
    betas: tuple[str, ...]
    anchors: tuple[str, ...]
    default_beta: str | None
    fine_grid: bool
    seeds: tuple[int, ...]
    training: Mapping[str, Any] = field(repr=False)

    @property
    def runs(self) -> list[Run]:
        """Every model of this objective."""
        return [Run(self.name, beta, seed) for beta in self.betas for seed in self.seeds]

    @property
    def default_run(self) -> Run:
        """The model of the default strength, of the smallest seed."""
        assert self.default_beta is not None
        return Run(self.name, self.default_beta, min(self.seeds))


@dataclass(frozen=True)
class Decoding:
    """One decoding job: the policies that it samples, one after another.

    Attributes:
        name: the name of its folder below `samples/`.
        runs: the aligned models it reads, in the order its policies mix them.
        policies: what `eval.decode` gets as its setting `policies`.
        seed: the seed of its random numbers.
    """

    name: str
    runs: tuple[Run, ...]
    policies: list[dict[str, Any]]
    seed: int


@dataclass(frozen=True)
class TaskPlan:
    """One task.

    Attributes:
        name: its name in the config.
        section: its section of the config.
        study_seed: the study's seed.
        module: the module it is made with.
        corpora: "any" if it works on any corpus, "own" if it draws its own documents.
        corpus_files: the file of each split, for a corpus of local files.
        objectives: the objectives by name.
        main_objective: the one that baselines, identity checks and the curve trial start from.
        baselines: the baselines by the name of their file in eval/baselines/.
    """

    name: str
    section: Mapping[str, Any] = field(repr=False)
    study_seed: int
    module: str
    corpora: str
    corpus_files: Mapping[str, str]
    objectives: Mapping[str, ObjectivePlan]
    main_objective: ObjectivePlan
    baselines: Mapping[str, Baseline]

    @property
    def runs(self) -> list[Run]:
        """Every aligned model of the task."""
        runs = []
        for objective in self.objectives.values():
            runs += objective.runs
        return runs

    @property
    def main_run(self) -> Run:
        """The aligned model that baselines, identity checks and the curve trial start from."""
        return self.main_objective.default_run

    @property
    def curve_runs(self) -> list[Run]:
        """The models whose curve over lam is estimated, one for each objective with anchors."""
        with_anchors = [objective for objective in self.objectives.values() if objective.anchors]
        return [objective.default_run for objective in with_anchors]

    def lams(self, run: Run) -> list[Fraction]:
        """The lams that DeRa decodes from an aligned model, none if its strength is no anchor.

        One lam matches each trained beta (lam = anchor / beta). The model of the objective's
        default strength also decodes the fine grid of lams.
        """
        objective = self.objectives[run.objective]
        if run.beta not in objective.anchors:
            return []
        lams = {exact(run.beta) / exact(beta) for beta in objective.betas}
        if run.beta == objective.default_beta and objective.fine_grid:
            lams |= {exact(lam) for lam in self.section["dera"]["lams"]}
        return sorted(lams)

    @property
    def decodings(self) -> dict[str, Decoding]:
        """Every decoding job of the task, by name."""
        decodings = [self._decode_reference(), *map(self._decode_run, self.runs)]
        if any(baseline.decoded for baseline in self.baselines.values()):
            decodings.append(self._decode_baselines())
        if self.has_several_rewards:
            decodings += map(self._decode_several_rewards, self.mixed_objectives[0].seeds)
        return {decoding.name: decoding for decoding in decodings}

    @property
    def mixed_objectives(self) -> list[ObjectivePlan]:
        """The two objectives that are mixed, where the task has a section `several_rewards`."""
        return [self.objectives[name] for name in self.section["several_rewards"]["objectives"]]

    @property
    def max_new_tokens(self) -> int:
        """A sampled completion has at most this many tokens."""
        return self.section["model"]["max_new_tokens"]

    @property
    def has_metrics(self) -> bool:
        """Whether the config names metrics of the user's own."""
        return bool(self.section.get("metrics"))

    @property
    def has_baselines(self) -> bool:
        """Whether DeRa is compared with baselines."""
        return bool(self.baselines)

    @property
    def has_several_rewards(self) -> bool:
        """Whether two aligned models are mixed."""
        return "several_rewards" in self.section

    @property
    def has_imperfect_reward(self) -> bool:
        """Whether DeRa starts from a model that maximised something other than gold."""
        return any(
            objective.anchors and objective.reward != "gold"
            for objective in self.objectives.values()
        )

    @property
    def has_learned_reward(self) -> bool:
        """Whether an objective maximises the reward model."""
        return any(objective.reward == "learned" for objective in self.objectives.values())

    def seed_of(self, *words: object) -> int:
        """A seed that follows from the study's seed, the task's name and these words."""
        text = " ".join(map(str, (self.study_seed, self.name, *words)))
        return zlib.crc32(text.encode())

    def _decode_reference(self) -> Decoding:
        return Decoding("reference", (), [{"kind": "reference"}], self.study_seed)

    def _decode_run(self, run: Run) -> Decoding:
        """The model itself, and DeRa from it. No two models share their random numbers."""
        labels = {"objective": run.objective, "seed": run.seed}
        policies: list[dict[str, Any]] = [{"kind": "retrained", **labels, "beta": run.beta}]
        lams = [str(lam) for lam in self.lams(run)]
        if lams:
            policies.append({"kind": "dera", **labels, "anchor": run.beta, "lams": lams})
        seed = self.seed_of(run.objective, run.beta, run.seed)
        return Decoding(run.name, (run,), policies, seed)

    def _decode_baselines(self) -> Decoding:
        run = self.main_run
        labels = {"objective": run.objective, "anchor": run.beta, "seed": run.seed}
        policies = [
            {
                "kind": "baseline",
                "name": baseline.name,
                **labels,
                "knobs": list(baseline.knobs),
                "options": baseline.options,
            }
            for baseline in self.baselines.values()
            if baseline.decoded
        ]
        # Baselines were once called comparators; their random numbers are still drawn under that
        # name.
        return Decoding("baselines", (run,), policies, self.seed_of("comparators"))

    def _decode_several_rewards(self, seed: int) -> Decoding:
        runs = tuple(
            Run(objective.name, objective.anchors[0], seed) for objective in self.mixed_objectives
        )
        lams = []
        for first, second in several_rewards.lam_pairs(self.section["several_rewards"]):
            lams.append([label(first), label(second)])
        policies = [{"kind": "several_rewards", "seed": seed, "lams": lams}]
        # The seed is made from an older name, so that the random numbers stay what they were.
        return Decoding(
            f"several_rewards-seed={seed}", runs, policies, self.seed_of("several", seed)
        )


@dataclass(frozen=True)
class Plan:
    """A study.

    Attributes:
        study: its name.
        seed: the seed of data, references, sampling and bootstraps.
        statistics: the config's section `statistics`.
        tasks: the tasks by name.
        main_task: the task whose models the curve trial and the benchmark use.
        config: the whole config, as read from YAML.
    """

    study: str
    seed: int
    statistics: Mapping[str, Any]
    tasks: Mapping[str, TaskPlan]
    main_task: TaskPlan
    config: Mapping[str, Any] = field(repr=False)

    def plugins(self) -> list[str]:
        """Files of objectives that are not this project's own."""
        used = set()
        for task in self.tasks.values():
            used |= {objective.declared.module for objective in task.objectives.values()}
        return sorted(module for module in used if module.endswith(".py"))


def resolve(config: Mapping[str, Any]) -> Plan:
    """Check a config, as read from YAML, and say what it means.

    Files of the user's own are read, but objectives are not imported. The files of corpora are not
    looked for here: `resolve_or_exit` does that.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    schema.check(config)
    names.check("study", config["study"], "study")
    names.check_all("tasks", config["tasks"], "task")
    tasks = {}
    for name, section in config["tasks"].items():
        tasks[name] = _resolve_task(f"tasks.{name}", name, section, config["seed"])
    main_task = tasks[_main_task(config)]
    return Plan(config["study"], config["seed"], config["statistics"], tasks, main_task, config)


def resolve_or_exit(config: Mapping[str, Any], files: Iterable[str | Path] = ()) -> Plan:
    """Resolve a config and find the files of its corpora; a mistake ends the process with one line.

    Args:
        config: as read from YAML.
        files: the files that the config was read from. No key may stand twice in one of them.
    """
    try:
        for path in files:
            schema.refuse_repeated_keys(Path(path))
        plan = resolve(config)
        for name, task in plan.tasks.items():
            files_by_split = checks.corpus_files(f"tasks.{name}.corpus", task.section["corpus"])
            task.corpus_files.update(files_by_split)  # type: ignore[attr-defined]
        return plan
    except ConfigError as error:
        print(f"config error: {error}", file=sys.stderr)
        sys.exit(1)


def _resolve_task(key: str, name: str, section: Mapping[str, Any], seed: int) -> TaskPlan:
    """Check the section of a task, which stands at `key`, and resolve it."""
    # Check the whole section before anything is made of it.
    module, corpora = checks.check_task(key, name, section)
    declared = objective_checks.check(key, section)
    task_baselines = baselines.check(key, section)
    if "several_rewards" in section:
        several_rewards.check(key, section)

    # Fill in what the section leaves to defaults.
    objectives = {}
    for objective_name, declared_module in declared.items():
        objectives[objective_name] = _resolve_objective(objective_name, section, declared_module)
    return TaskPlan(
        name=name,
        section=section,
        study_seed=seed,
        module=module,
        corpora=corpora,
        corpus_files={},
        objectives=objectives,
        main_objective=_main_objective(section["alignment"], objectives),
        baselines=task_baselines,
    )


def _resolve_objective(name: str, task: Mapping[str, Any], declared: Declared) -> ObjectivePlan:
    """Resolve a checked objective; the task says what the objective's own section does not."""
    alignment = task["alignment"]
    section = alignment["objectives"][name]
    anchors = tuple(label(anchor) for anchor in section["anchors"])
    if "default_beta" in section:
        default_beta = label(section["default_beta"])
    else:
        default_beta = anchors[0] if anchors else None  # the checks allow one anchor at most here
    return ObjectivePlan(
        name=name,
        declared=declared,
        reward=section.get("reward", "gold"),
        reward_margin=section.get("reward_margin", task["reward_margin"]),
        betas=tuple(label(beta) for beta in section["betas"]),
        anchors=anchors,
        default_beta=default_beta,
        fine_grid=section.get("fine_grid", True),
        seeds=tuple(section.get("seeds", alignment["seeds"])),
        training={key: value for key, value in section.items() if key not in NOT_FOR_TRAINING},
    )


def _main_objective(
    alignment: Mapping[str, Any], objectives: Mapping[str, ObjectivePlan]
) -> ObjectivePlan:
    """The objective that the config names, or the only one with an anchor."""
    if "main_objective" in alignment:
        return objectives[alignment["main_objective"]]
    (with_anchor,) = [objective for objective in objectives.values() if objective.anchors]
    return with_anchor


def _main_task(config: Mapping[str, Any]) -> str:
    """The name of the task that the config names as its main one, or of its only task.

    Raises:
        ConfigError: if there are several tasks and none is named, or the named one is not there.
    """
    tasks = list(config["tasks"])
    if "main_task" not in config:
        if len(tasks) > 1:
            raise ConfigError(
                f"main_task: missing, but there are several tasks ({', '.join(tasks)}); name the "
                "one whose models the curve trial and the benchmark use"
            )
        return tasks[0]
    if config["main_task"] not in tasks:
        raise ConfigError(
            f"main_task = {config['main_task']!r}: there is no such task; "
            f"allowed: {', '.join(tasks)}"
        )
    return config["main_task"]
