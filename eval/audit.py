"""Follow one claim of a study down to what it was made from, and compare checksums on the way.

Run: python -m eval.audit results/laptop length-interpolation-rloo-0.25
     python -m eval.audit laptop.tar.gz length-interpolation-rloo-0.25

The chain is: claim, conditions, tables with their rows, completions, models, settings of training,
data, seed. Each file that the manifest names is compared with its checksum there. The exit status
is 1 if one of them has changed. A file that a pack does not hold is said to be absent.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd

from study import job
from study.manifest import checksum
from study.pack import PackError, read_manifest
from study.packed import unpacked
from study.plan import Run

#: Tables of a task that its claims are shown in, where they have rows of an objective.
TABLES = ("agreement", "policies", "win_rates", "kl_by_lam", "other_references", "costs")
CHANGED = "CHANGED since the manifest was written"


def chain(folder: Path, name: str) -> Iterator[str]:
    """Yield the lines of a claim's chain.

    Args:
        folder: the folder of a study, or of an unpacked one.
        name: the id of the claim.

    Raises:
        PackError: if the study has no such claim.
    """
    manifest = read_manifest(folder)
    claim = _claim(folder, name)
    yield f"claim: {name} is {claim['verdict']!r}, because {claim['headline']}"
    yield f"  {claim['claim']}"
    yield f"  criterion: {claim['criterion']}"
    yield f"  written in claims.json: {state(folder, manifest, 'claims.json')}"
    yield from _conditions(claim)
    task = claim["task"]
    if task is None:
        path = "tables/timings.csv"
        yield f"tables: {path}, which is the study's: {state(folder, manifest, path)}"
    else:
        settings = job.read_json(folder / task / "logs/decide_claims.settings.json")
        objectives = _objectives(name, settings["objectives"])
        yield from _tables(folder, manifest, task, objectives)
        yield from _models(
            folder, manifest, task, {key: settings["objectives"][key] for key in objectives}
        )
        yield "data:"
        for split in ("train", "validation", "test"):
            path = f"{task}/data/{split}.parquet"
            yield f"  {path}: {state(folder, manifest, path)}"
    config = manifest["config"]
    yield f"seed: {config['seed']}, replicate {config.get('replicate', 0)}"
    yield f"code: commit {manifest.get('commit')}, written {manifest.get('written')}"


def state(folder: Path, manifest: dict[str, Any], name: str) -> str:
    """Return whether a file, or a model's folder, is what the manifest says.

    Args:
        name: its path below the study's folder.
    """
    named = {**manifest["inputs"], **manifest["outputs"]}
    expected = {path.split("/", 2)[-1]: digits for path, digits in named.items()}.get(name)
    path = folder / name
    there = any(path.glob("*.safetensors")) if path.is_dir() else path.is_file()
    if not there:
        return "absent here" + (f", SHA-256 {expected} in the manifest" if expected else "")
    found = checksum(path)
    if expected is None:
        return f"SHA-256 {found}, which the manifest does not name"
    return f"SHA-256 {found}, as in the manifest" if found == expected else CHANGED


def _claim(folder: Path, name: str) -> dict[str, Any]:
    claims = {claim["id"]: claim for claim in job.read_json(folder / "claims.json")}
    if name not in claims:
        alike = [known for known in claims if name.lower() in known] or list(claims)
        raise PackError(f"{folder.name} has no claim {name!r}; it has {', '.join(alike[:8])}")
    return claims[name]


def _conditions(claim: dict[str, Any]) -> Iterator[str]:
    """Yield what the verdict follows from."""
    yield "conditions:"
    for row in claim["evidence"].get("conditions", []):
        low, high = row["low (90%)"], row["high (90%)"]
        interval = f"{row['value']:.4g} [{low:.4g}, {high:.4g}]"
        against = f"with threshold {row['threshold']:g}"
        yield f"  {row['condition']}: {interval} {against}: {row['outcome']}"
    if not claim["evidence"].get("conditions"):
        yield "  there are none; the evidence in claims.json says why"


def _objectives(name: str, known: dict[str, Any]) -> list[str]:
    """Return the objective that a claim's id names, or all of them where it names none."""
    named = [key for key in known if re.search(rf"-{re.escape(key)}(-|$)", name)]
    return [max(named, key=len)] if named else sorted(known)


def _tables(
    folder: Path, manifest: dict[str, Any], task: str, objectives: list[str]
) -> Iterator[str]:
    """Yield the tables with rows of the objectives, and the completions behind them."""
    yield "tables:"
    for table in TABLES:
        path = f"{task}/tables/{table}.csv"
        if (folder / path).is_file():
            content = pd.read_csv(folder / path)
            rows = int(content["objective"].isin(objectives).sum())
            said = f"{rows} rows of {', '.join(objectives)}"
            yield f"  {path}, {said}: {state(folder, manifest, path)}"
    path = f"{task}/tables/completions.parquet"
    content = pd.read_parquet(folder / path, columns=["kind", "objective"])
    chosen = content[(content["kind"] == "reference") | content["objective"].isin(objectives)]
    yield f"completions: {path}: {state(folder, manifest, path)}"
    for kind, rows in chosen.groupby("kind").size().items():
        yield f"  {rows} of the kind {kind}"


def _models(
    folder: Path, manifest: dict[str, Any], task: str, objectives: dict[str, Any]
) -> Iterator[str]:
    """Yield the models, and the settings that each was trained with."""
    yield "models:"
    path = f"{task}/models/reference"
    yield f"  {path}: {state(folder, manifest, path)}"
    for name, objective in objectives.items():
        for beta in objective["betas"]:
            for seed in objective["seeds"]:
                run = Run(name, beta, seed)
                path = f"{task}/models/{run.folder}"
                yield f"  {path}: {state(folder, manifest, path)}"
                settings = f"{task}/logs/align/{run.name}.settings.json"
                if (folder / settings).is_file():
                    trained = job.read_json(folder / settings).get("objective", {})
                    said = ", ".join(f"{key} {value}" for key, value in trained.items())
                    yield f"    trained with {settings}: {said}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path, help="folder of a study, or what study.pack wrote")
    parser.add_argument("claim", help="id of the claim, as claims.md has it")
    args = parser.parse_args()
    opened = nullcontext(args.study) if args.study.is_dir() else unpacked(args.study)
    try:
        with opened as folder:
            lines = list(chain(folder, args.claim))
    except PackError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print("\n".join(lines))
    sys.exit(1 if any(line.endswith(CHANGED) for line in lines) else 0)


if __name__ == "__main__":
    main()
