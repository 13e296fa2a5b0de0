"""DeRa moves smoothly between the reference and the aligned model, and beyond."""

from __future__ import annotations

import numpy as np
from scipy import stats

from eval.claims import UNTESTED, Claim, Evidence, verdict
from eval.policies import find

LARGEST_STEP = 0.5
LEAST_MONOTONE = 0.95


def decide(evidence: Evidence) -> list[Claim]:
    """Over the fine grid's anchor, the one decoded at most lam."""
    grids = {}
    for policy in find(evidence.policies, "dera"):
        grids.setdefault((policy.objective, policy.anchor), []).append(policy)
    (objective, anchor), grid = max(grids.items(), key=lambda item: len(item[1]))
    inside = sorted((p for p in grid if 0 <= p.lam <= 1), key=lambda p: p.lam)
    text = dict(
        id="smooth-transition",
        claim="Between lam = 0 and lam = 1, reward and KL move monotonically and without jumps from the reference to the aligned model.",
        source="paper, abstract",
        criterion=(
            f"on the grid of lam in [0, 1], for reward and for KL: Spearman correlation with lam >= {LEAST_MONOTONE:g}, and no step between "
            f"neighbours of at most 1/4 carries more than {LARGEST_STEP:g} of the whole change; partly if half of the four hold"
        ),
        figure="reward_kl_by_beta",
    )
    lams = [float(p.lam) for p in inside]
    if len(lams) < 4 or lams[0] != 0 or lams[-1] != 1 or max(np.diff(lams)) > 0.25:
        return [Claim(**text, verdict=UNTESTED, evidence={"lams": lams, "why": "the grid has gaps wider than 1/4 in [0, 1]"})]
    parts, found = [], {"anchor": f"{objective} {float(anchor):g}", "lams": lams}
    for quantity in ("reward", "kl"):
        means = np.array([p.per_prompt[quantity].mean() for p in inside])
        correlation = stats.spearmanr(lams, means).statistic
        shown = float(correlation) if np.isfinite(correlation) else None  # None where nothing varies
        step = float(np.max(np.abs(np.diff(means))) / max(abs(means[-1] - means[0]), 1e-12))
        found[quantity] = {"values": means.round(4).tolist(), "Spearman": shown, "largest step": step}
        parts += [correlation >= LEAST_MONOTONE, step <= LARGEST_STEP]
    return [Claim(**text, verdict=verdict(int(sum(parts)), len(parts)), evidence=found)]
