"""Trackers of experiments that show the trainings of a study while they run, such as TensorBoard.

The config's key `report_to` names them. Jobs learn of them through their environment and not
through their settings, so that a study whose models are trained is not trained again when a tracker
is added.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from study.schema import ConfigError

#: The variables that name the trackers, and the folder of the study's own files for them.
TRACKERS = "DERA_REPORT_TO"
FOLDER = "DERA_TRACKING_FOLDER"

#: What names the project under which these trackers show a study. Users may set it themselves.
PROJECTS = {
    "wandb": "WANDB_PROJECT",
    "mlflow": "MLFLOW_EXPERIMENT_NAME",
}


def check(config: Mapping[str, Any]) -> None:
    """Check that the trackers of a config are installed.

    Raises:
        ConfigError: naming the first that is not, and how to install it.
    """
    trackers = config.get("report_to", [])
    for name in trackers:
        if find_spec(name) is None:
            raise ConfigError(
                f"report_to = {trackers}: {name} is not installed; run `pip install {name}` in "
                "the environment of the study"
            )


def environment(
    config: Mapping[str, Any], study: str, results: Path, users: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables that jobs need; none where the config names no tracker.

    Args:
        config: the config.
        study: the name of the study.
        results: the folder of its results.
        users: the environment in which the study was started.
    """
    trackers = config.get("report_to", [])
    if not trackers:
        return {}
    found = {TRACKERS: " ".join(trackers), FOLDER: str(results / "tracking")}
    for name in trackers:
        variable = PROJECTS.get(name)
        if variable is not None and variable not in users:
            found[variable] = study
    return found
