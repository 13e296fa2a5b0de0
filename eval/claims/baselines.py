"""DeRa against its baselines at equal KL to the reference: where does it lose?

Baselines exist for one seed, so DeRa is that seed's, too; between two of its lam the reward is interpolated linearly in KL.
"""

from __future__ import annotations

from dataclasses import asdict
from fractions import Fraction
from typing import Any

from dera.estimators import Array
from eval.claims import FAILED, REPRODUCED, Claim, Evidence, mean, of_task, untested, verdict
from eval.policies import Policy, find

#: What each is called, what turns it, and who proposed it.
BASELINES = {
    "weights": ("mixing weights", "share", "Wortsman et al. 2022 (soups, WiSE-FT), Ilharco et al. 2023 (task arithmetic), Zheng et al. 2024 (ExPO)"),
    "probabilities": ("mixing probabilities", "share", "ensembles; the arithmetic mean where DeRa takes the geometric one"),
    "temperature": ("the aligned model's temperature", "T", "the simplest knob there is"),
    "top-k": ("DeRa among the reference's top k", "lam", "Li et al. 2023 (contrastive decoding's plausibility constraint)"),
    "best-of-n": ("the best of n", "n", "Beirami et al. 2024 (its KL to the reference)"),
}  # fmt: skip
PASSES = {
    "weights": 1,
    "temperature": 1,
    "probabilities": 2,
    "top-k": 2,
    "dera": 2,
}  # of a model, a token


def decide(evidence: Evidence) -> list[Claim]:
    """One claim for each baseline of an objective, and one of the price; none where there are no baselines."""
    claims = []
    for name, settings in evidence.objectives.items():
        seed = str(settings["seeds"][0])
        path = _path(evidence, name, seed)
        for kind in BASELINES:
            found = find(
                evidence.policies, kind, "mean" if kind == "best-of-n" else seed, objective=name
            )
            if found:
                claims.append(
                    _against(evidence, name, path, sorted(found, key=lambda policy: policy.knob))
                )
            if found and kind == "best-of-n":
                claims.append(
                    _compute(
                        evidence,
                        name,
                        path,
                        next((policy for policy in found if policy.knob == 2), None),
                    )
                )
    return claims


def passes(baseline: Policy) -> int:
    """How often a model is run for a token."""
    return int(baseline.knob) if baseline.kind == "best-of-n" else PASSES[baseline.kind]


def _path(evidence: Evidence, objective: str, seed: str) -> list[Policy]:
    """One seed's DeRa from the default anchor at lam >= 0, ascending; it begins at the reference."""
    anchor = Fraction(evidence.objectives[objective]["default_beta"])
    grid = [
        p
        for p in find(evidence.policies, "dera", seed, objective=objective, anchor=anchor)
        if p.lam >= 0
    ]
    start = (
        []
        if any(p.lam == 0 for p in grid)
        else find(evidence.policies, "reference", objective=objective)
    )
    return start + sorted(grid, key=lambda policy: policy.lam)


def compare(evidence: Evidence, path: list[Policy], baseline: Policy) -> dict[str, Any]:
    """DeRa - baseline in reward where DeRa's mean KL is the baseline's; nothing where DeRa does not go so far."""
    kl = mean(baseline, "kl")
    row = {
        "knob": float(baseline.knob),
        "KL": kl,
        "reward": mean(baseline, "reward"),
        "passes": passes(baseline),
    }
    pairs = [
        (near, far)
        for near, far in zip(path, path[1:], strict=False)
        if mean(near, "kl") < mean(far, "kl") >= kl
    ]
    if not pairs:
        return row | {"DeRa": None, "difference": None, "DeRa loses": None}
    per_prompt = _at(*pairs[0], baseline.per_prompt["kl"])
    difference = evidence.estimate(per_prompt - baseline.per_prompt["reward"])
    return row | {
        "DeRa": float(per_prompt.mean()),
        "difference": asdict(difference),
        "DeRa loses": difference.high < 0,
    }


def _at(near: Policy, far: Policy, kl: Array) -> Array:
    """Reward per prompt on the chord between two policies, where its mean KL is that of `kl`.

    The last term is 0 on average: it carries the error of the mean KLs, along the chord's slope, into the interval.
    """
    step = mean(far, "kl") - mean(near, "kl")
    share = (kl.mean() - mean(near, "kl")) / step
    reward, distance = (
        (1 - share) * near.per_prompt[quantity] + share * far.per_prompt[quantity]
        for quantity in ("reward", "kl")
    )
    return reward + (mean(far, "reward") - mean(near, "reward")) / step * (kl - distance)


def _against(evidence: Evidence, objective: str, path: list[Policy], found: list[Policy]) -> Claim:
    kind, margin = found[0].kind, evidence.objectives[objective]["reward_margin"]
    name, knob, paper = BASELINES[kind]
    text: dict[str, Any] = dict(
        id=of_task(evidence, f"baseline-{kind}-{objective}"),
        about="ours",
        task=evidence.task,
        claim=f"At equal KL to the reference DeRa brings at least the reward of {name} ({objective.upper()}).",
        source=f"ours: the notes ask how DeRa compares with {name}; {paper}",
        criterion=(
            f"at every {knob} whose KL DeRa reaches, DeRa at the same KL (reward interpolated between its two neighbouring lam) less the baseline: the "
            f"95% interval lies above -{margin:g}; partly if at half of them"
        ),
        figure=f"{evidence.task}/baselines",
    )
    rows = [compare(evidence, path, baseline) for baseline in found]
    reached = [row for row in rows if row["difference"]]
    if not reached:
        return untested(
            text,
            f"DeRa reaches a KL of {max(mean(p, 'kl') for p in path):.2f} nats, each of these lies beyond",
        )
    worst = min(reached, key=lambda row: row["difference"]["value"])
    parts = [row["difference"]["low"] > -margin for row in reached]
    return Claim(
        **text,
        verdict=verdict(sum(parts), len(parts)),
        headline=(
            f"DeRa less the baseline at worst {_shown(worst['difference'])} at {knob} = {worst['knob']:g} (KL {worst['KL']:.2f}); DeRa loses at "
            f"{sum(row['DeRa loses'] for row in reached)} of {len(reached)} {knob}"
        ),
        evidence={"passes of DeRa": PASSES["dera"], f"by {knob}": rows},
    )


def _compute(
    evidence: Evidence, objective: str, path: list[Policy], best_of_two: Policy | None
) -> Claim:
    text: dict[str, Any] = dict(
        id=of_task(evidence, f"compute-{objective}"),
        about="ours",
        task=evidence.task,
        claim=f"For the price of two models a token, DeRa brings more reward than the best of two ({objective.upper()}).",
        source=f"ours: the notes ask what DeRa's second model could buy instead; {BASELINES['best-of-n'][2]}",
        criterion="at the KL of the best of two completions of the reference, DeRa less it in reward: the 95% interval lies above 0",
        figure=f"{evidence.task}/baselines",
    )
    row = compare(evidence, path, best_of_two) if best_of_two else {}
    if not row.get("difference"):
        return untested(
            text, "DeRa does not reach its KL" if row else "no best of two was compared"
        )
    return Claim(
        **text,
        verdict=REPRODUCED if row["difference"]["low"] > 0 else FAILED,
        headline=f"{_shown(row['difference'])} at KL {row['KL']:.2f}: DeRa {row['DeRa']:.2f}, best of two {row['reward']:.2f}",
        evidence=row,
    )


def _shown(difference: dict[str, float]) -> str:
    return f"{difference['value']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}]"
