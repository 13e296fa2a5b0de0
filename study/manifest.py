"""What a study was made of and what it made.

The manifest holds the config, the seed, versions, the date, the machine, the commit, the commit in
which the criteria of the claims were written down, and a checksum of every input and output. The
settings of this job are the whole config.
"""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from study import files, job, modules, provenance


def checksum(path: Path) -> str:
    """SHA-256 of a file, or of the safetensors files in a folder, which hold a model's weights."""
    return files.checksum(*(sorted(path.glob("*.safetensors")) if path.is_dir() else [path]))


def commit() -> dict[str, object]:
    """The commit of the source, and the files that differ from it; None where there is no Git.

    Each file has Git's letters before its name: M for changed, ?? for new.
    """
    try:
        changed = _git("status", "--porcelain").splitlines()
        return {"commit": _git("rev-parse", "HEAD"), "changed": [line.strip() for line in changed]}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "changed": None}


def machine() -> dict[str, object]:
    """The kind of machine this is: its system, its cores, whether it has a GPU, and its image.

    A program cannot find out which image of a container it runs in, so that whoever starts the
    container says so in `DERA_IMAGE`.
    """
    system = f"{platform.system()} {platform.machine()}"
    image = os.environ.get("DERA_IMAGE") or None
    return {"system": system, "cores": os.cpu_count(), "gpu": job.gpu_present(), "image": image}


def criteria_commit(path: Path) -> str | None:
    """The newest commit that changed the file of criteria; None if there is none."""
    try:
        return _git("log", "-1", "--format=%H", "--", str(path)) or None
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(modules.ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--inputs", type=Path, nargs="+", required=True, help="data")
    parser.add_argument(
        "--outputs", type=Path, nargs="+", required=True, help="models, tables, claims, figures"
    )
    parser.add_argument(
        "--criteria", type=Path, required=True, help="file of the criteria, which may be missing"
    )
    parser.add_argument("--output", type=Path, required=True, help="manifest.json")
    args = parser.parse_args()
    with job.running("manifest", args):
        manifest = {
            **commit(),
            "criteria": criteria_commit(args.criteria),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "versions": provenance.versions(),
            "config": args.settings,
            "inputs": {str(path): checksum(path) for path in args.inputs},
            "outputs": {str(path): checksum(path) for path in args.outputs},
        }
        job.write_json(args.output, manifest)


if __name__ == "__main__":
    main()
