"""What was measured, where and with what, as both benchmarks publish it."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path
from typing import Any

import torch
import yaml

from study import job
from study.manifest import commit
from study.provenance import versions


def provenance_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the source, the settings, the seed, the device and the versions of a benchmark.

    Args:
        args: the arguments of the job. `args.what` is the file that says what is measured.
    """
    return {
        "source": commit(),
        "settings": yaml.safe_load(args.what.read_text(encoding="utf-8")),
        "seed": args.seed,
        "device": device_name(),
        "threads": args.threads,
        "versions": versions(),
    }


def device_name() -> str:
    """Return the accelerator's name, or the processor's."""
    if job.device() == "cuda":
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    for line in lines:
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()
