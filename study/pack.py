"""Pack a finished study into one archive, from which its verdicts can be derived again.

Run: python -m study.pack results/laptop --output laptop.tar.gz

The archive holds the tables that the claims are decided from, the records and the settings of the
jobs, the held-out prompts, the manifest (which has the config), the criteria, and the claims. It
holds no model, except the adapters if they are asked for. Its first member, SHA256SUMS, has the
checksum of every other one, in the form that `sha256sum --check` reads. The same study gives the
same bytes, because members are sorted and have neither a time nor an owner. `eval.verify` reads it.
"""

from __future__ import annotations

import argparse
import gzip
import io
import sys
import tarfile
from pathlib import Path
from typing import Any

from study import files, job, names
from study.plan import Run

#: The file of checksums, the first member of a pack.
SUMS = "SHA256SUMS"
#: Where the criteria stand in a pack; they are not in the study's own folder.
CRITERIA = "criteria.json"
#: What the verdicts are derived from and compared with. A study without one of them is not
#: finished. Patterns are relative to the folder of the study, or to that of each task.
REQUIRED = ("manifest.json", "claims.json", "claims.md", "tables/timings.csv")
REQUIRED_OF_TASK = (
    "claims.json",
    "data/test.parquet",
    "logs/decide_claims.settings.json",
    "tables/completions.parquet",
    *(f"tables/{name}.csv" for name in ("policies", "win_rates", "agreement", "costs", "controls")),
)
#: What is packed besides, where the study has it.
OTHERS = ("questions.md", "replicates.md", "tables/*.csv", "logs/**/*.settings.json")
OTHERS_OF_TASK = (
    "tables/*.csv",
    "logs/**/*.settings.json",
    "samples/reference/decoding.json",
    "samples/baselines-seed=*/decoding.json",
    "samples/several_rewards-seed=*/decoding.json",
    *(f"models/{name}/training.json" for name in ("reference", "other_reference", "reward")),
)


class PackError(ValueError):
    """A study that cannot be packed, or a pack that is refused; the message names the file."""


def pack(folder: Path, output: Path, adapters: bool = False, criteria: Path | None = None) -> int:
    """Write the archive of a study, and return how many files it holds.

    Args:
        folder: the study's folder of results.
        output: the archive.
        adapters: whether the aligned adapters are packed, too.
        criteria: the file of the criteria that were written before the run, if there is one.

    Raises:
        PackError: if the study is not finished, or a file is not what the manifest says.
    """
    members = members_of(folder, adapters)
    if criteria is not None:
        members[CRITERIA] = criteria
    sums = {name: files.checksum(path) for name, path in sorted(members.items())}
    changed = changed_since(read_manifest(folder), sums)
    if changed:
        raise PackError(
            f"{folder / changed[0]} is not what it was when {folder / 'manifest.json'} was "
            "written; run the study again, which writes the manifest anew"
        )
    lines = [f"{digits}  {name}\n" for name, digits in sums.items()]
    top = folder.resolve().name
    with (
        job.atomic_path(output) as temporary,
        temporary.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        _add(archive, f"{top}/{SUMS}", "".join(lines).encode())
        for name in sums:
            _add(archive, f"{top}/{name}", members[name])
    return len(members)


def members_of(folder: Path, adapters: bool = False) -> dict[str, Path]:
    """Return the files of a study that are packed, by their paths below its folder.

    Raises:
        PackError: if one that must be there is missing.
    """
    tasks = tasks_of(read_manifest(folder))
    check_complete(folder, tasks)
    patterns = [*REQUIRED, *OTHERS]
    for task in tasks:
        of_task = [*REQUIRED_OF_TASK, *OTHERS_OF_TASK, *_of_models(folder / task, adapters)]
        patterns += [f"{task}/{pattern}" for pattern in of_task]
    members = {}
    for pattern in patterns:
        for path in folder.glob(pattern):
            members[path.relative_to(folder).as_posix()] = path
    return members


def _of_models(folder: Path, adapters: bool) -> list[str]:
    """Return the files of a task's aligned models, below its folder.

    The settings of the claims name these models. Others may lie in the folder, if the config once
    had other strengths.
    """
    settings = job.read_json(folder / "logs/decide_claims.settings.json")
    records = ["training.json"]
    if adapters:
        records += ["adapter_config.json", "adapter_model.safetensors"]
    main = settings["objectives"][settings["main_objective"]]
    found = [f"reference_trials/seed={seed}.parquet" for seed in main["seeds"]]
    for name, objective in settings["objectives"].items():
        found.append(
            f"curves/{name}/{objective['default_beta']}/seed={min(objective['seeds'])}.csv"
        )
        for seed in objective["seeds"]:
            found.append(f"readings/{name}-seed={seed}.parquet")
            for beta in objective["betas"]:
                run = Run(name, beta, seed)
                found.append(f"samples/{run.name}/decoding.json")
                found += [f"models/{run.folder}/{record}" for record in records]
    return found


def check_complete(folder: Path, tasks: list[str]) -> None:
    """Check that everything is there that the verdicts are derived from.

    Raises:
        PackError: naming the first file that is missing.
    """
    for name in [*REQUIRED, *(f"{task}/{name}" for task in tasks for name in REQUIRED_OF_TASK)]:
        if not (folder / name).is_file():
            raise PackError(
                f"{folder / name} is missing, so this is no finished study; run the study to its "
                "end (snakemake figures --cores all --configfile config/...), and pack it then"
            )


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a study, in which the parts that are needed are there.

    Raises:
        PackError: if there is none, or it is not whole.
    """
    path = folder / "manifest.json"
    try:
        manifest = job.read_json(path)
        parts = [manifest["config"]["tasks"], manifest["inputs"], manifest["outputs"]]
        if not all(isinstance(part, dict) and part for part in parts):
            raise ValueError("config.tasks, inputs or outputs are empty")
        names.check_all("tasks", manifest["config"]["tasks"], "task")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PackError(
            f"{path} is not the manifest of a finished study ({type(error).__name__}: {error}); "
            "name the folder of a study that has run to its end, such as results/smoke after "
            "`make smoke`"
        ) from error
    return manifest


def tasks_of(manifest: dict[str, Any]) -> list[str]:
    """Return the names of the tasks, sorted."""
    return sorted(manifest["config"]["tasks"])


def changed_since(manifest: dict[str, Any], sums: dict[str, str]) -> list[str]:
    """Return which files are not what the manifest says.

    Args:
        sums: the SHA-256 of each file, by its path below the study's folder.
    """
    changed = []
    for name, expected in {**manifest["inputs"], **manifest["outputs"]}.items():
        below = name.split("/", 2)[-1]  # results/STUDY/ comes before it
        for path in (below, f"{below}/adapter_model.safetensors"):
            if sums.get(path, expected) != expected:
                changed.append(path)
    return changed


def _add(archive: tarfile.TarFile, name: str, content: Path | bytes) -> None:
    """Add a member that has nothing but a name, a size and its content."""
    member = tarfile.TarInfo(name)
    member.mode = 0o644
    if isinstance(content, bytes):
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
        return
    member.size = content.stat().st_size
    with content.open("rb") as file:
        archive.addfile(member, file)


def criteria_of(folder: Path) -> Path | None:
    """Return the file of the criteria of a study, which stands in docs/, if there is one."""
    path = Path("docs/criteria") / f"{read_manifest(folder)['config'].get('study')}.json"
    return path if path.is_file() else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder of the study, such as results/laptop")
    parser.add_argument("--output", type=Path, required=True, help="the archive, a .tar.gz file")
    parser.add_argument("--adapters", action="store_true", help="pack the aligned adapters, too")
    args = parser.parse_args()
    try:
        count = pack(args.folder, args.output, args.adapters, criteria_of(args.folder))
    except PackError as error:
        sys.exit(f"error: {error}")
    size = args.output.stat().st_size / 1e6
    print(f"{args.output} has {count} files of {args.folder} and takes {size:.1f} MB")


if __name__ == "__main__":
    main()
