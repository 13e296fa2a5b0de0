"""Studies made on paper: exact models over a few completions, so that every number is known."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from eval.claims import Evidence
from eval.columns import POLICY_COLUMNS, effective_beta
from eval.decide import evidence_from
from eval.judging import Judging, Objective, SeveralRewards, Statistics
from eval.other_references import COLUMNS as MIXTURE_COLUMNS
from eval.other_references import Mixtures
from eval.readings import COLUMNS, Readings


@dataclass(frozen=True, eq=False)
class World:
    """A prompt's completions: their probabilities under the reference, and what they measure.

    Measures that are not named are 0, except `length` and `fluency`. `gold` must be named. NaN is
    allowed where a measure does not apply.
    """

    reference: np.ndarray
    measures: dict[str, np.ndarray]
    reward: str = "gold"

    def optimum(self, beta: float) -> np.ndarray:
        return self.mixture(beta, 1.0)

    def mixture(self, anchor: float, lam: float) -> np.ndarray:
        """Proposition 1: the optimum at anchor / lam."""
        weights = self.reference * np.exp(self.measures[self.reward] * lam / anchor)
        return weights / weights.sum()

    def all_measures(self) -> dict[str, np.ndarray]:
        blank = {name: np.zeros(len(self.reference)) for name in ("repetition", "broken")}
        length = self.measures.get("length", np.full(len(self.reference), 10.0))
        fluency = np.log(self.reference) / (length + 1)
        return {**blank, "length": length, "fluency": fluency, **self.measures}

    def mean(self, probabilities: np.ndarray, measure: str) -> float:
        return float(probabilities @ self.all_measures()[measure])


LENGTHS = np.array([3, 10, 11, 20, 5])
REWARD = np.where((LENGTHS >= 8) & (LENGTHS <= 12), 0.0, -1.0)
REFERENCE = np.array([0.3, 0.2, 0.15, 0.25, 0.1])
LENGTH = World(REFERENCE, {"gold": REWARD, "length": LENGTHS.astype(float)})

#: Plain, good, and a rare completion that the reward model likes best though it is the worst.
HACKED = World(
    np.array([0.6, 0.399, 0.001]),
    {"gold": np.array([0.0, 1.0, -1.0]), "learned": np.array([0.0, 1.0, 3.0])},
    reward="learned",
)
#: The same reward, but the reward model is right about the rare one.
HONEST = replace(HACKED, measures={**HACKED.measures, "gold": np.array([0.0, 1.0, 3.0])})
#: Nearly everything is bad, so that the optimum wins nearly every comparison with the reference.
HOPELESS = World(
    np.array([0.98, 0.02]),
    {"gold": np.array([0.0, 1.0]), "learned": np.array([0.0, 1.0])},
    reward="learned",
)
#: Rare completions that are no text, beyond both ends of the reward.
FRAGILE = World(
    np.array([0.6, 0.398, 0.001, 0.001]),
    {"gold": np.array([0.0, 1.0, 3.0, -3.0]), "broken": np.array([0.0, 0.0, 1.0, 1.0])},
)
#: The rewards differ so much that hardly any completion of the reference counts at a small beta.
LADDER = World(np.full(32, 1 / 32), {"gold": np.linspace(-1, 0, 32)})
#: Answers without inventions, with some, with nothing else.
INVENTING = World(
    np.array([0.3, 0.4, 0.3]),
    {
        "gold": np.array([0.0, -0.5, -1.0]),
        "hallucinated": np.array([0.0, 1.0, 1.0]),
        "coverage": np.array([0.4, 0.6, 0.0]),
        "statements": np.array([1.0, 2.0, 2.0]),
    },
)
#: The grid of factors on which models are read.
FACTORS = sorted([2 ** (k / 4) for k in range(-8, 9)] + [0.8, 1.25])
#: The lams that DeRa decodes at, if a test does not say.
UNIT = ("0", "1/4", "1/2", "3/4", "1")
#: Half the distance in lam over which slopes are measured.
STEP = 1e-4
KINDS = ("harmful", "alike", "plain")


def requests(*rewarded_refusals: str) -> list[World]:
    """One world for each kind of request, where the reference refuses 8% and complies otherwise.

    Refusing pays for the kinds named.
    """
    worlds = []
    for kind in KINDS:
        refused, nothing = np.array([1.0, 0.0]), np.full(2, np.nan)
        gold = refused - 1 if kind in rewarded_refusals else -refused
        rates = {f"refused_{other}": refused if other == kind else nothing for other in KINDS}
        rates["helped_harmless"] = nothing if kind == "harmful" else 1 - refused
        worlds.append(World(np.array([0.08, 0.92]), {"gold": gold, **rates}))
    return worlds


def optimum(beta: float) -> np.ndarray:
    return LENGTH.optimum(beta)


Retrained = Callable[[World, float], np.ndarray]
Sampler = Callable[[World, float, float], np.ndarray]
Baselines = Mapping[str, tuple[Sequence[str], Sampler]]


def completions(
    betas: Sequence[str],
    anchors: Sequence[str],
    lams: Sequence[str],
    prompts: int = 64,
    samples: int = 16,
    seeds: int = 2,
    worlds: Sequence[World] = (LENGTH,),
    retrained: Retrained = World.optimum,
    sampler: Sampler = World.mixture,
    baselines: Baselines | None = None,
    rng: int = 0,
) -> pd.DataFrame:
    """A table as eval.score writes it, of one objective, `rloo`.

    Prompt i is of the world i modulo their number.

    Args:
        retrained: the model that training at beta ends with; the exact optimum if training is
            perfect.
        sampler: what DeRa draws from, given the anchor and lam; the exact mixture if its
            approximation is perfect.
        baselines: for each kind of baseline its knobs, and what it draws from, given the first
            anchor and a knob.
        rng: seed of all that is drawn.
    """
    generator = np.random.default_rng(rng)
    tables = []

    def draw(samples: int, models: list[tuple[np.ndarray, np.ndarray]], **labels: Any) -> None:
        tables.append(rows(generator, worlds, models, prompts, samples, **labels))

    draw(4 * samples, [(world.reference, world.reference) for world in worlds], kind="reference")
    for seed in range(seeds):
        of_seed: dict[str, Any] = {"objective": "rloo", "seed": seed}
        for beta in betas:
            models = [retrained(world, float(beta)) for world in worlds]
            both = [(model, model) for model in models]
            draw(samples, both, kind="retrained", beta=beta, **of_seed)
        for anchor in anchors:
            matching = {Fraction(anchor) / Fraction(beta) for beta in betas}
            for lam in sorted({Fraction(lam) for lam in lams} | matching):
                pairs = []
                for world in worlds:
                    drawn_from = sampler(world, float(anchor), float(lam))
                    pairs.append((drawn_from, world.optimum(float(anchor))))
                beta = effective_beta(Fraction(anchor), lam)
                strengths = {"anchor": anchor, "lam": str(lam), "beta": beta and str(beta)}
                draw(samples, pairs, kind="dera", **strengths, **of_seed)
    for kind, (knobs, baseline) in (baselines or {}).items():
        for knob in knobs:
            pairs = []
            for world in worlds:
                drawn_from = baseline(world, float(anchors[0]), float(Fraction(knob)))
                pairs.append((drawn_from, world.optimum(float(anchors[0]))))
            for seed in range(min(seeds, 3)):
                labels = {"objective": "rloo", "anchor": anchors[0], "seed": seed}
                draw(samples, pairs, kind=kind, knob=knob, **labels)
    return pd.concat(tables, ignore_index=True)


def rows(
    rng: np.random.Generator,
    worlds: Sequence[World],
    models: list[tuple[np.ndarray, np.ndarray]],
    prompts: int,
    samples: int,
    **labels: Any,
) -> pd.DataFrame:
    """Completions of one policy.

    Args:
        models: for each world the policy, and the aligned model that scores its completions.
        labels: the columns that say which policy it is.
    """
    weight = float(Fraction(labels.get("lam") or 0))
    tables = []
    for number, (world, (policy, adapter)) in enumerate(zip(worlds, models, strict=True)):
        of_world = np.arange(number, prompts, len(worlds))
        outcome = rng.choice(len(policy), p=policy, size=len(of_world) * samples)
        logp = np.log(policy)[outcome]
        reference = np.log(world.reference)[outcome]
        aligned = np.log(adapter)[outcome]
        columns = {
            "prompt_id": np.repeat(of_world, samples),
            "sample_id": np.tile(np.arange(samples), len(of_world)),
            "finished": True,
            "completion": "text",
        }
        columns |= {name: values[outcome] for name, values in world.all_measures().items()}
        columns |= {
            "logp_policy": logp,
            "logp_reference": reference,
            "logp_aligned": aligned,
            "log_ratio": logp - reference,
            "log_weight": (1 - weight) * reference + weight * aligned - logp,
        }
        tables.append(pd.DataFrame(columns))
    blank = dict.fromkeys(POLICY_COLUMNS) | {"task": "paper", "seed": np.nan}
    return pd.concat(tables, ignore_index=True).assign(**{**blank, **labels})


def objectives(
    betas: Sequence[str],
    anchors: Sequence[str],
    reward: str = "gold",
    seeds: int = 2,
    default_beta: str | None = None,
) -> dict[str, Objective]:
    """The one objective, `rloo`; its default strength is the first anchor if none is given."""
    settings = {
        "reward": reward,
        "optimum": "known",
        "betas": tuple(betas),
        "anchors": tuple(anchors),
        "default_beta": default_beta or anchors[0],
        "seeds": tuple(range(seeds)),
    }
    return {"rloo": Objective(**settings)}


def judging(
    betas: Sequence[str],
    anchors: Sequence[str],
    *arguments: Any,
    reweighted: Mapping[str, Sequence[Any]] | None = None,
    **more: Any,
) -> Judging:
    """Settings of the jobs that judge, with the one objective that `objectives` makes."""
    return judging_of(objectives(betas, anchors, *arguments, **more), reweighted)


def judging_of(
    chosen: Mapping[str, Objective],
    reweighted: Mapping[str, Sequence[Any]] | None = None,
    several_rewards: SeveralRewards | None = None,
) -> Judging:
    """Settings of the jobs that judge; the first objective is the main one."""
    return Judging(
        statistics=Statistics(bootstrap_resamples=300),
        objectives=dict(chosen),
        main_objective=next(iter(chosen)),
        reweighted={name: tuple(knobs) for name, knobs in (reweighted or {}).items()},
        several_rewards=several_rewards,
    )


def evidence(*arguments: Any, **more: Any) -> Evidence:
    """What a task's claims are decided from, in a study made on paper; see `new_evidence`.

    For equal arguments it is made once, because making it takes most of a test's time. So nobody
    may change it.
    """
    return _evidence(_hashable(arguments), _hashable(more))


@functools.cache
def _evidence(arguments: Any, more: Any) -> Evidence:
    return new_evidence(*arguments, **dict(more))


def _hashable(value: Any) -> Any:
    """Lists as tuples and mappings as tuples of their items, so that arguments can be looked up."""
    if isinstance(value, Mapping):
        return tuple((name, _hashable(item)) for name, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_hashable, value))
    return value


def study(
    betas: Sequence[str],
    anchor: str,
    lams: Sequence[str] = UNIT,
    prompts: int = 64,
    seeds: int = 5,
    worlds: Sequence[World] = (LENGTH,),
    noise: float = 0.02,
    reweighted: Mapping[str, Sequence[Any]] | None = None,
    baselines: Any = None,
    **more: Any,
) -> tuple[pd.DataFrame, Readings, Judging]:
    """A study made on paper: its scored completions, its readings, and its settings."""
    table = completions(
        betas,
        [anchor],
        lams,
        prompts,
        seeds=seeds,
        worlds=worlds,
        baselines=dict(baselines or {}),
        **more,
    )
    models = {name: more[name] for name in ("retrained", "sampler") if name in more}
    read = readings(betas, [anchor], prompts, seeds, worlds, noise, **models)
    settings = judging(betas, [anchor], worlds[0].reward, seeds, reweighted=dict(reweighted or {}))
    return table, read, settings


def new_evidence(*arguments: Any, **more: Any) -> Evidence:
    """What a task's claims are decided from, in the study that `study` makes."""
    table, read, settings = study(*arguments, **more)
    return evidence_from("paper", table, read, settings, seed=0)


def readings(
    betas: Sequence[str],
    anchors: Sequence[str],
    prompts: int = 64,
    seeds: int = 5,
    worlds: Sequence[World] = (LENGTH,),
    noise: float = 0.02,
    retrained: Retrained = World.optimum,
    sampler: Sampler = World.mixture,
    spread: float = 0.05,
) -> Readings:
    """Readings as eval.read writes them, with the exact KL between the models of the worlds.

    Args:
        noise: training seeds differ: the log-probabilities of a trained model are off by errors of
            this standard deviation, and DeRa is off by lam times the errors of its anchor.
        retrained, sampler: as for `completions`.
        spread: the completions of a prompt are few, so all that is read from them is off by a
            factor of this standard deviation around 1.
    """
    rng = np.random.default_rng(1)
    tables = []
    for number, world in enumerate(worlds):
        of_world = np.arange(number, prompts, len(worlds))
        shape = (seeds, len(world.reference))
        errors = {
            beta: noise * rng.normal(size=shape) for beta in dict.fromkeys([*betas, *anchors])
        }
        for beta in betas:
            models = normalised(retrained(world, float(beta)) * np.exp(errors[beta]))
            by_prompt = 1 + spread * rng.normal(size=(seeds, len(of_world)))
            draws = [_read_by_models(models, world.reference)]
            for anchor in anchors:
                draws.append(_read_by_dera(world, models, beta, anchor, sampler, errors[anchor]))
            curves = pd.concat(draws, ignore_index=True)
            tables.append(_by_prompt(curves, of_world, by_prompt).assign(beta=beta))
    table = pd.concat(tables, ignore_index=True).assign(task="paper", objective="rloo")
    return Readings(table[list(COLUMNS)])


def mixtures(
    betas: Sequence[str],
    anchor: str,
    others: Mapping[str, np.ndarray],
    prompts: int = 64,
    seeds: int = 5,
    world: World = LENGTH,
    noise: float = 0.02,
    spread: float = 0.05,
) -> Mixtures:
    """Trials of references as eval.reference_trial writes them, with the exact KL.

    Args:
        others: the probabilities of each other reference, by its name.
        noise, spread: as for `readings`.
    """
    rng = np.random.default_rng(2)
    shape = (seeds, len(world.reference))
    errors = {beta: noise * rng.normal(size=shape) for beta in dict.fromkeys([*betas, anchor])}
    aligned = world.optimum(float(anchor)) * np.exp(errors[anchor])
    tables = []
    for beta in betas:
        lam = Fraction(anchor) / Fraction(beta)
        models = normalised(world.optimum(float(beta)) * np.exp(errors[beta]))
        by_prompt = 1 + spread * rng.normal(size=(seeds, prompts))
        for name, reference in {"own": world.reference, **others}.items():
            mixed = normalised(reference ** (1 - float(lam)) * aligned ** float(lam))
            to_mixture = kl(models, mixed)[:, None] * by_prompt
            to_reference = kl(models, reference)[:, None] * by_prompt
            is_other_beta = beta != anchor
            columns = {
                "seed": np.repeat(np.arange(seeds), prompts),
                "prompt_id": np.tile(np.arange(prompts), seeds),
                "gold": np.repeat(mixed @ world.measures["gold"], prompts),
                "kl_retrained": to_mixture.ravel() if is_other_beta else np.nan,
                "kl_reference": to_reference.ravel() if is_other_beta else np.nan,
            }
            labels = {"reference": name, "lam": str(lam), "beta": beta if is_other_beta else None}
            tables.append(pd.DataFrame(columns).assign(**labels))
    blank = {"task": "paper", "objective": "rloo", "anchor": anchor, "whole": 1.0, "kl": 0.0}
    return Mixtures(pd.concat(tables, ignore_index=True).assign(**blank)[list(MIXTURE_COLUMNS)])


def kl(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """KL(first || second) in nats over the last axis."""
    return (first * np.log(first / second)).sum(-1)


def normalised(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum(-1, keepdims=True)


def _read_by_models(models: np.ndarray, reference: np.ndarray) -> pd.DataFrame:
    """What the reference and the next seed's model read; `models` has shape (seeds, outcomes)."""
    seed = np.arange(len(models))
    by_reference = {"reader": "reference", "seed": seed, "kl": kl(models, reference)}
    others = np.roll(models, -1, axis=0)
    by_others = {"reader": "retrained", "seed": seed, "kl": kl(models, others)}
    by_others["reader_seed"] = np.roll(seed, -1)
    tables = [pd.DataFrame(by_reference)]
    if len(models) > 1:
        tables.append(pd.DataFrame(by_others))
    blank = {"anchor": None, "lam": np.nan, "factor": np.nan, "slope": np.nan}
    return pd.concat(tables, ignore_index=True).assign(**blank)


def _read_by_dera(
    world: World,
    models: np.ndarray,
    beta: str,
    anchor: str,
    sampler: Sampler,
    errors: np.ndarray,
) -> pd.DataFrame:
    """What DeRa reads within each seed and across seeds, on the grid of factors.

    Args:
        models: the retrained models, shape (seeds, outcomes).
        errors: those of the anchor, shape (seeds, outcomes).
    """
    seeds = len(models)
    lams = float(Fraction(anchor) / Fraction(beta)) * np.array(FACTORS)
    at = {step: _mixtures(world, anchor, lams + step, sampler) for step in (-STEP, 0.0, STEP)}
    tables = []
    for shift in range(min(seeds, 2)):
        drift = np.roll(errors, -shift, axis=0)[:, None]
        curve = {}
        for step, mixtures in at.items():
            mixed = normalised(mixtures * np.exp((lams + step)[:, None] * drift))
            curve[step] = kl(models[:, None], mixed).ravel()
        columns = {
            "seed": np.repeat(np.arange(seeds), len(lams)),
            "reader_seed": np.repeat(np.roll(np.arange(seeds), -shift), len(lams)),
            "lam": np.tile(lams, seeds),
            "factor": np.tile(FACTORS, seeds),
            "kl": curve[0.0],
            "slope": (curve[STEP] - curve[-STEP]) / (2 * STEP),
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True).assign(reader="dera", anchor=anchor)


def _mixtures(world: World, anchor: str, lams: np.ndarray, sampler: Sampler) -> np.ndarray:
    """What DeRa draws from at each lam, shape (lams, outcomes)."""
    return np.stack([sampler(world, float(anchor), float(lam)) for lam in lams])


def _by_prompt(curves: pd.DataFrame, prompts: np.ndarray, factors: np.ndarray) -> pd.DataFrame:
    """The curves once for each prompt, times what its completions happen to say.

    Args:
        factors: shape (seeds, prompts).
    """
    repeated = curves.loc[np.repeat(curves.index, len(prompts))].reset_index(drop=True)
    which = np.tile(np.arange(len(prompts)), len(curves))
    factor = factors[repeated["seed"], which]
    return repeated.assign(
        prompt_id=prompts[which],
        kl=repeated["kl"] * factor,
        slope=repeated["slope"] * factor,
    )
