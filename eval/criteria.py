"""Write down every criterion with its power, before the run that it will judge.

The job reads the claims of a pilot, a replicate that hyper-parameters were tuned on, and writes two
files: the criteria as JSON, and the same as a page. For each condition the power is the probability
that its test finds a claim that is true as it is stated, with the spread over seeds and prompts
that the pilot had. The files are committed before the published run; `eval.gather_claims` then says
whether a criterion has changed since.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from study import job

#: What the JSON file keeps of a claim.
KEPT = ("id", "part", "claim", "criterion", "source")
#: What it keeps of a condition.
OF_CONDITION = ("condition", "threshold", "error", "degrees of freedom", "if true", "power")
WEAK = 0.8  # a test of less power than this is likely to leave a true claim undecided


def criteria(claims: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each claim's criterion and the power of its conditions."""
    kept = []
    for claim in claims:
        conditions = []
        for condition in claim["evidence"].get("conditions", []):
            conditions.append({name: condition[name] for name in OF_CONDITION})
        kept.append({**{name: claim[name] for name in KEPT}, "conditions": conditions})
    return kept


def smallest_power(criterion: dict[str, Any]) -> float | None:
    """Return the power of a claim's weakest condition, None if no condition has one."""
    powers = [condition["power"] for condition in criterion["conditions"]]
    known = [power for power in powers if power is not None]
    return min(known, default=None)


def page(study: str, written: list[dict[str, Any]]) -> str:
    """Return the page of criteria as Markdown."""
    lines = [
        f"# Criteria of the study `{study}`",
        "",
        "Each criterion was written before the published run. The power of a condition is the "
        "probability that its test finds a claim that is true as it is stated, with the spread "
        "that a pilot had over training seeds and prompts. The pilot is a replicate of the study "
        "with other seeds, on which hyper-parameters were tuned. The table shows the weakest "
        f"condition of each claim. A claim with a power below {WEAK:g} may well come out as "
        "inconclusive although it is true. A dash says that the claim states no size that a "
        "power could be computed for.",
        "",
        "| claim | criterion | smallest power |",
        "| --- | --- | --- |",
    ]
    for criterion in written:
        power = smallest_power(criterion)
        shown = "-" if power is None else f"{power:.2f}"
        said = f"{criterion['claim']} (`{criterion['id']}`)"
        lines.append(f"| {said} | {criterion['criterion']} | {shown} |")
    return "\n".join(lines) + "\n"


def changes(claims: list[dict[str, Any]], written: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the ids of the claims whose criterion is new or has changed since it was written."""
    before = {criterion["id"]: criterion["criterion"] for criterion in written}
    new = [claim["id"] for claim in claims if claim["id"] not in before]
    changed = []
    for claim in claims:
        if claim["id"] in before and before[claim["id"]] != claim["criterion"]:
            changed.append(claim["id"])
    return {"new": new, "changed": changed}


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("claims", type=Path, help="claims.json of the pilot")
    parser.add_argument("--study", required=True, help="name of the study")
    parser.add_argument(
        "--output", type=Path, required=True, help="JSON file; the page is written beside it"
    )
    args = parser.parse_args()
    with job.running("criteria", args):
        written = criteria(job.read_json(args.claims))
        with job.atomic_path(args.output.with_suffix(".md")) as path:
            path.write_text(page(args.study, written))
        job.write_json(args.output, written)


if __name__ == "__main__":
    main()
