"""A study, resolved once from its config: typed tasks, objectives, runs, anchors and lams.

Rules, jobs, claims and figures read the plan, or what it wrote into settings and tables. Nothing
reads the raw config for a second time. Which task, objective or strength is the default never
depends on the order in which the config lists them.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

from study import other_references, several_rewards
from study.baselines import Baseline
from study.objective_checks import Declared
from study.replicates import Replicate
from study.sources import Source
from study.strengths import all_exact, exact, label
from tasks.text.rates import JudgeErrors

#: Baselines are decoded from the aligned models of so many training seeds, the smallest.
BASELINE_SEEDS = 3


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
        betas: the strengths to train at, as decimals.
        anchors: the strengths, out of `betas`, of the aligned models that DeRa starts from.
        default_beta: the default strength, an anchor; None where there is no anchor.
        fine_grid: whether the aligned model of the default strength decodes the fine grid of lams.
        seeds: a model is trained for each.
        training: the keys of the config that say how one model is trained.
        pretrained: where the model of each beta comes from, if the models are loaded; empty if they
            are trained.
    """

    name: str
    declared: Declared
    reward: Any
    betas: tuple[str, ...]
    anchors: tuple[str, ...]
    default_beta: str | None
    fine_grid: bool
    seeds: tuple[int, ...]
    training: Mapping[str, Any] = field(repr=False)
    pretrained: Mapping[str, Source] = field(default_factory=dict)

    @property
    def is_loaded(self) -> bool:
        """Whether others have trained the models."""
        return bool(self.pretrained)

    @property
    def runs(self) -> list[Run]:
        """Every model of this objective."""
        return [Run(self.name, beta, seed) for beta in self.betas for seed in self.seeds]

    def other_seed(self, seed: int) -> int | None:
        """The seed whose models are compared with those of `seed`; None where there is no other.

        It is the next larger seed, and the smallest one after the largest.
        """
        seeds = sorted(self.seeds)
        if len(seeds) == 1:
            return None
        return seeds[(seeds.index(seed) + 1) % len(seeds)]

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
        corpora: "any" if it works on any corpus, "own" if it draws its own documents, "files" if it
            reads files on this machine, "fetched" if it reads published files.
        corpus_sources: the files that the corpus reads: of each split, or by the task's names.
        pretrained: where the pretrained model comes from that the reference starts from, or None.
        pairs_source: where the user's own preference pairs come from, or None.
        objectives: the objectives by name.
        main_objective: the one that baselines, identity checks and the curve trial start from.
        baselines: the baselines by the name of their file in eval/baselines/.
        judge_errors: how often the task's judge of refusals is wrong; None if it is exact.
    """

    name: str
    section: Mapping[str, Any] = field(repr=False)
    study_seed: int
    module: str
    corpora: str
    corpus_sources: Mapping[str, Source]
    pretrained: Source | None
    pairs_source: Source | None
    objectives: Mapping[str, ObjectivePlan]
    main_objective: ObjectivePlan
    baselines: Mapping[str, Baseline]
    judge_errors: JudgeErrors | None

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

    @property
    def readings(self) -> list[tuple[ObjectivePlan, int]]:
        """The objectives and seeds whose retrained models' completions are read.

        These are all seeds of the objectives that DeRa starts from.
        """
        readings = []
        for objective in self.objectives.values():
            if objective.anchors:
                readings += [(objective, seed) for seed in objective.seeds]
        return readings

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

    @cached_property
    def decodings(self) -> dict[str, Decoding]:
        """Every decoding job of the task, by name."""
        decodings = [self._decode_reference(), *map(self._decode_run, self.runs)]
        if any(baseline.decoded for baseline in self.baselines.values()):
            seeds = sorted(self.main_objective.seeds)[:BASELINE_SEEDS]
            decodings += map(self._decode_baselines, seeds)
        if self.has_several_rewards:
            decodings += map(self._decode_several_rewards, self.mixed_objectives[0].seeds)
        return {decoding.name: decoding for decoding in decodings}

    @property
    def mixed_objectives(self) -> list[ObjectivePlan]:
        """The two objectives that are mixed, where the task has a section `several_rewards`."""
        return [self.objectives[name] for name in self.section["several_rewards"]["objectives"]]

    @property
    def reading_samples(self) -> int:
        """How many completions of a prompt are read, of each retrained model."""
        return self.section["evaluation"].get("reading_samples", 2)

    @property
    def max_new_tokens(self) -> int:
        """A sampled completion has at most this many tokens."""
        return self.section["model"]["max_new_tokens"]

    @property
    def writes_demonstrations(self) -> bool:
        """Whether the pretrained model writes the demonstrations of SFT itself."""
        return "demonstrations" in self.section

    @property
    def sources(self) -> list[Source]:
        """Every file and model of others, or of the user's own, that the task reads."""
        others = [self.pretrained, self.pairs_source]
        for objective in self.objectives.values():
            others += objective.pretrained.values()
        return [*self.corpus_sources.values(), *filter(None, others)]

    @property
    def has_training(self) -> bool:
        """Whether a model of the task is trained here."""
        trained = [objective for objective in self.objectives.values() if not objective.is_loaded]
        return bool(trained) or self.section["sft"] != "none"

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
    def has_other_references(self) -> bool:
        """Whether the aligned model is also mixed with references it was not aligned from."""
        return "other_references" in self.section["dera"]

    @property
    def mixed_references(self) -> list[str]:
        """The references of `dera.other_references` by name, the own one first; else none."""
        return other_references.references(self.section) if self.has_other_references else []

    @property
    def prompts_of_other_references(self) -> int:
        """How many held-out prompts the mixtures with each reference decode and read."""
        section = self.section["dera"]["other_references"]
        return section.get("prompts", self.section["evaluation"]["prompts"])

    @property
    def lams_of_other_references(self) -> list[Fraction]:
        """The lams at which the aligned model is mixed with each reference.

        They are those of the section, and one that matches each beta of the main objective.
        """
        lams = set(all_exact(self.section["dera"]["other_references"]["lams"]))
        anchor = exact(self.main_run.beta)
        return sorted(lams | {anchor / exact(beta) for beta in self.main_objective.betas})

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

    def preferences_seed(self, learner: str) -> int:
        """The random seed of the preference pairs of one learner; no two of them share pairs.

        Args:
            learner: who learns from the pairs: a training seed, such as `seed=0`, or
                `reward_model`.
        """
        return self.seed_of("preferences", learner)

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

    def _decode_baselines(self, seed: int) -> Decoding:
        run = Run(self.main_objective.name, self.main_run.beta, seed)
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
        name = f"baselines-seed={seed}"
        return Decoding(name, (run,), policies, self.seed_of("baselines", seed))

    def _decode_several_rewards(self, seed: int) -> Decoding:
        runs = tuple(
            Run(objective.name, objective.anchors[0], seed) for objective in self.mixed_objectives
        )
        lams = []
        for first, second in several_rewards.lam_pairs(self.section["several_rewards"]):
            lams.append([label(first), label(second)])
        policies = [{"kind": "several_rewards", "seed": seed, "lams": lams}]
        name = f"several_rewards-seed={seed}"
        return Decoding(name, runs, policies, self.seed_of("several rewards", seed))


@dataclass(frozen=True)
class Plan:
    """A study.

    Attributes:
        study: its name.
        replicate: which replicate of the study this is. Every seed of the plan is this replicate's.
        seed: the seed of data, references, sampling and bootstraps.
        statistics: the config's section `statistics`.
        tasks: the tasks by name.
        main_task: the task whose models the curve trial and the benchmark use.
        config: the whole config, as read from YAML.
    """

    study: str
    replicate: Replicate
    seed: int
    statistics: Mapping[str, Any]
    tasks: Mapping[str, TaskPlan]
    main_task: TaskPlan
    config: Mapping[str, Any] = field(repr=False)

    @property
    def folder(self) -> str:
        """The folder of the results, below results/."""
        return self.replicate.folder(self.study)

    def plugins(self) -> list[str]:
        """Files of objectives that are not this project's own."""
        used = set()
        for task in self.tasks.values():
            used |= {objective.declared.module for objective in task.objectives.values()}
        return sorted(module for module in used if module.endswith(".py"))
