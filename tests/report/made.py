"""A study made by hand: one task, two seeds, three lams, and texts that must not do anything."""

from __future__ import annotations

from fractions import Fraction

import pandas as pd

HOSTILE = '</script><img src=x onerror="alert(1)"><!-- <script>alert(2)</script> & "quotes"'
PROMPTS = [f"Explain how. {HOSTILE}", "Say hello."]
SEEDS = (3, 4)
LAMS = ("0", "1/2", "1")
#: Models are retrained at these strengths, of which 0.5 is the anchor: its matched lam is 1, that
#: of 1 is 1/2, and that of 2 is 1/4, where DeRa was not decoded.
BETAS = ("0.5", "1", "2")


def completions() -> pd.DataFrame:
    """Two completions of each policy for each prompt. Each text says which policy wrote it."""
    policies = [{"kind": "reference"}]
    for seed in SEEDS:
        labels = {"objective": "dpo", "seed": float(seed)}
        policies += [{"kind": "retrained", **labels, "beta": beta} for beta in BETAS]
        policies += [{"kind": "dera", **labels, "anchor": "0.5", "lam": lam} for lam in LAMS]
        policies.append({"kind": "baseline", **labels, "anchor": "0.5", "knob": "1"})
    rows = []
    for policy in policies:
        for prompt in range(len(PROMPTS)):
            for sample in range(2):
                words = [f"{name} {value}" for name, value in policy.items()]
                text = f" {', '.join(words)}, prompt {prompt}, sample {sample}. {HOSTILE}"
                row = {"objective": None, "beta": None, "anchor": None, "lam": None, "seed": None}
                row |= policy | {"prompt_id": prompt, "sample_id": sample, "completion": text}
                rows.append(row | {"gold": -len(rows) / 7, "broken": 0.0})
    return pd.DataFrame(rows)


def policies() -> pd.DataFrame:
    """Every policy's mean reward and KL, all different, with their intervals."""
    rows = []
    for seed in (*map(str, SEEDS), "mean"):
        for kind, column, values in (("dera", "lam", LAMS), ("retrained", "beta", BETAS)):
            for value in values:
                row = {"kind": kind, "objective": "dpo", "default_beta": 0.5, "seed": seed}
                row |= {"main_objective": True, "anchor": None, "lam": None, "beta": None}
                if kind == "dera":
                    row["anchor"] = 0.5
                row[column] = float(Fraction(value))
                for name in ("reward", "kl"):
                    middle = (len(rows) + 1) / 3 + (name == "kl")
                    row |= {name: middle, f"{name}_low": middle - 0.1, f"{name}_high": middle + 0.2}
                rows.append(row)
    return pd.DataFrame(rows)


def claim(name: str, verdict: str = "reproduced", **more) -> dict:
    """A claim of one condition."""
    condition = {"condition": "it", "value": 0.5, "low (90%)": 0.25, "high (90%)": 0.75}
    condition |= {"threshold": 0.0, "outcome": "holds", "power": None}
    return {
        "id": name,
        "part": "paper",
        "about": "smooth",
        "claim": f"{name} holds.",
        "source": "paper",
        "criterion": "It is above 0.",
        "task": "length",
        "figure": None,
        "verdict": verdict,
        "headline": f"numbers of {name}",
        "brief": f"brief of {name}",
        "evidence": {"training seeds": 2, "conditions": [condition]},
    } | more


def manifest() -> dict:
    return {
        "commit": "0123456789abcdef",
        "changed": False,
        "written": "2026-11-27T16:14:03+00:00",
        "machine": {"system": "Linux x86_64", "cores": 2, "gpu": False},
        "versions": {"torch": "2.13.0", "trl": "1.16.0"},
        "config": {"study": "toy", "replicate": 2},
    }
