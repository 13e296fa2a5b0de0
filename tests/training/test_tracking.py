"""Trackers get what a training logs, under the name of its model, and nobody else is told."""

import io
from pathlib import Path

import pytest
from datasets import Dataset
from transformers import TrainerCallback
from transformers.integrations import integration_utils
from trl import SFTConfig, SFTTrainer

from study import job, schema, tracking
from tests.dera.architectures import tiny
from tests.dera.tokenizers import word_tokenizer
from training import trainer
from training.tracking import run_name

STEPS = 3


class Tracker(TrainerCallback):
    """Stands for a tracker: keeps what it is told."""

    told: list[tuple[str, dict]] = []

    def on_log(self, args, state, control, logs=None, **_):
        self.told.append((args.run_name, dict(logs)))


@pytest.fixture
def told(monkeypatch):
    monkeypatch.setattr(Tracker, "told", [])
    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "tensorboard", Tracker)
    return Tracker.told


def trained(folder: Path):
    """Train a tiny model for a few steps."""
    rows = {"prompt": ["w3 w4"] * 8, "completion": [" w5"] * 8}
    config = SFTConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        report_to=[],
        max_steps=STEPS,
        logging_steps=1,
        disable_tqdm=True,
        save_steps=STEPS,
    )
    made = SFTTrainer(
        model=tiny("llama", 1),
        args=config,
        train_dataset=Dataset.from_dict(rows),
        processing_class=word_tokenizer(),
    )
    progress = job.Progress("test", io.StringIO())
    trainer.train(made, folder, folder / "results/task/models/reference", progress)
    return made


def with_trackers(monkeypatch, folder, *names):
    """Set the environment of a job of a study whose config names these trackers."""
    config = {"report_to": list(names)}
    for name, value in tracking.environment(config, "study", folder / "results", {}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "")  # is set by the job, and put back by this


def test_a_tracker_gets_every_logged_number_under_the_name_of_the_model(
    told, monkeypatch, tmp_path
):
    monkeypatch.setattr(tracking, "find_spec", lambda name: object())
    with_trackers(monkeypatch, tmp_path, "tensorboard")
    made = trained(tmp_path)
    assert {name for name, _ in told} == {"task/reference"}
    losses = [logs["loss"] for _, logs in told if "loss" in logs]
    assert losses == [entry["loss"] for entry in made.state.log_history if "loss" in entry]
    assert len(losses) == STEPS


def test_nobody_is_told_unless_the_config_says_so(told, monkeypatch, tmp_path):
    with_trackers(monkeypatch, tmp_path)
    trained(tmp_path)
    assert told == []


def test_tensorboard_shows_the_losses_of_a_training(monkeypatch, tmp_path):
    """With the real one, where it is installed."""
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with_trackers(monkeypatch, tmp_path, "tensorboard")
    made = trained(tmp_path)
    events = EventAccumulator(str(tmp_path / "results/tracking/task/reference")).Reload()
    shown = {event.step: event.value for event in events.Scalars("train/loss")}
    logged = {e["step"]: e["loss"] for e in made.state.log_history if "loss" in e}
    assert shown == pytest.approx(logged, rel=1e-6)


def test_a_tracker_that_is_not_installed_is_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(schema.ConfigError, match=r"report_to = \['wandb'\].*pip install wandb"):
        tracking.check({"report_to": ["wandb"]})


def test_a_study_is_a_project_of_its_trackers_unless_the_user_has_named_one(monkeypatch):
    monkeypatch.setattr(tracking, "find_spec", lambda name: object())
    config = {"report_to": ["wandb", "mlflow"]}
    users = {"WANDB_PROJECT": "mine"}
    found = tracking.environment(config, "study", Path("results/study"), users)
    assert found["MLFLOW_EXPERIMENT_NAME"] == "study"
    assert "WANDB_PROJECT" not in found
    assert tracking.environment({}, "study", Path("results/study"), {}) == {}


@pytest.mark.parametrize(
    ("output", "name"),
    [
        ("results/study/length/models/rloo/beta=1/seed=0", "length/rloo/beta=1/seed=0"),
        ("elsewhere/model", "elsewhere/model"),
    ],
)
def test_a_run_is_called_after_its_model(output, name):
    assert run_name(Path(output), Path("results/study")) == name
