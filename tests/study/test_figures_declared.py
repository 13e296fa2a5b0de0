"""Figures declare themselves: which a plan draws, what they read, and what their captions say."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from study import figures, modules, resolve
from study.figure_declarations import FigureError, read_declarations
from study.plan import Plan

CONFIGS = sorted(
    path for path in (modules.ROOT / "config").glob("*.yaml") if path.name != "schema.yaml"
)
HELPERS = {"__init__", "panels", "selection", "style", "decoding", "memory"}
OF_STUDY = {"agreement", "approximation_gap", "cost", "outside"}
OF_EACH_TASK = {
    "frontier",
    "kl_by_lam",
    "lam_curve",
    "reward_kl_by_beta",
    "samples_over_lam",
    "training_curves",
}
FIGURE = 'SCOPE = "task"\nREADS = ["policies"]\nCAPTION = "A caption."\n'


def resolved(name: str) -> Plan:
    return resolve.plan_of(yaml.safe_load((modules.ROOT / "config" / f"{name}.yaml").read_text()))


@pytest.fixture(scope="module")
def smoke() -> Plan:
    return resolved("smoke")


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "style.py").write_text('TASKS = ("#332288",)\n')
    return tmp_path


def test_every_script_is_a_figure_or_a_known_helper():
    scripts = {path.stem for path in figures.FOLDER.glob("*.py")}
    assert set(read_declarations(figures.FOLDER)) == scripts - HELPERS


def test_a_script_runs_with_the_tables_that_it_declares():
    for name, figure in read_declarations(figures.FOLDER).items():
        module = importlib.import_module(f"figures.{name}")
        assert tuple(module.READS) == figure.reads
        assert figure.template == module.CAPTION
        assert callable(module.draw)
        finding = ", finding" if hasattr(module, "finding") else ""
        last = f'style.run(draw, __doc__ or "", READS{finding})'
        assert figure.file.read_text().rstrip().endswith(last)


def test_a_plan_draws_what_applies_to_each_task(smoke):
    drawn = figures.drawn(smoke)
    assert set(drawn.of_study) == OF_STUDY
    of_tasks = {task: set(chosen) - OF_EACH_TASK for task, chosen in drawn.of_tasks.items()}
    imperfect = {"win_rates", "over_optimization"}
    assert of_tasks == {
        "length": {"baselines", "length_distributions", "other_references"},
        "summarization": {"baselines"} | imperfect,
        "hallucination": {"baselines", "hallucination"} | imperfect,
        "safety": {"baselines", "safety"},
    }
    assert all(set(chosen) >= OF_EACH_TASK for chosen in drawn.of_tasks.values())


def test_several_rewards_are_drawn_only_where_they_are_mixed():
    drawn = figures.drawn(resolved("objectives"))
    assert "several_rewards" in drawn.of_tasks["summarization"]
    assert "several_rewards" not in drawn.of_tasks["length"]
    assert "baselines" not in drawn.of_tasks["summarization"]


def test_other_references_are_drawn_only_where_they_are_mixed(smoke):
    of_tasks = figures.drawn(smoke).of_tasks
    assert [task for task in of_tasks if "other_references" in of_tasks[task]] == ["length"]


def test_metrics_are_drawn_only_where_the_config_names_some(smoke):
    assert all("metrics" not in chosen for chosen in figures.drawn(smoke).of_tasks.values())
    config = yaml.safe_load((modules.ROOT / "config" / "smoke.yaml").read_text())
    config["tasks"]["safety"]["metrics"] = [str(modules.ROOT / "eval/metrics/repetition.py")]
    drawn = figures.drawn(resolve.plan_of(config))
    assert "metrics" in drawn.of_tasks["safety"]
    assert "metrics" not in drawn.of_tasks["length"]
    assert "repetition.py" in drawn.caption("metrics", "safety")


def test_paths_tables_and_options_follow_from_the_declaration(smoke):
    drawn = figures.drawn(smoke)
    assert {"outside", "length/frontier", "safety/safety"} <= set(drawn.paths())
    assert drawn.tables("results/x", "approximation_gap") == [
        "results/x/tables/policies.csv",
        "results/x/tables/gap_trial.csv",
    ]
    assert drawn.options("results/x", "lam_curve", "length") == [
        "--curves",
        "results/x/length/tables/curves.csv",
        "--policies",
        "results/x/length/tables/policies.csv",
    ]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_caption_is_filled_from_the_config(path):
    drawn = figures.drawn(resolved(path.stem))
    captions = drawn.captions()
    assert list(captions) == drawn.paths()
    for task, chosen in drawn.of_tasks.items():
        for name in chosen:
            assert captions[f"{task}/{name}"] == drawn.caption(name, task)
    for caption in captions.values():
        assert caption.endswith(".")
        assert not set("{}") & set(caption)


def test_a_caption_has_the_values_of_its_task(smoke):
    drawn = figures.drawn(smoke)
    assert "8 to 12 tokens" in drawn.caption("length_distributions", "length").replace("\n", " ")
    caption = figures.drawn(resolved("objectives")).caption("several_rewards", "summarization")
    first, second = resolved("objectives").tasks["summarization"].mixed_objectives
    assert f"{first.name} and {second.name}" in caption.replace("\n", " ")


def test_a_new_figure_is_one_file(folder, smoke):
    (folder / "everywhere.py").write_text(FIGURE)
    (folder / "here.py").write_text(FIGURE + 'TASKS = ["safety"]\n')
    (folder / "sometimes.py").write_text(FIGURE + 'WHEN = "has_imperfect_reward"\n')
    (folder / "once.py").write_text(FIGURE.replace("task", "study"))
    drawn = figures.drawn(smoke, folder)
    assert set(drawn.of_study) == {"once"}
    assert {task: set(chosen) for task, chosen in drawn.of_tasks.items()} == {
        "length": {"everywhere"},
        "summarization": {"everywhere", "sometimes"},
        "hallucination": {"everywhere", "sometimes"},
        "safety": {"everywhere", "here"},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FIGURE.replace("SCOPE", "SCOP"), "mine.py must declare SCOPE at its top"),
        ('SCOPE = "study"\n', "mine.py must declare READS and CAPTION at its top"),
        (FIGURE.replace("task", "tasks"), "SCOPE = 'tasks'; it must be 'task' or 'study'"),
        (FIGURE.replace('["policies"]', '"policies"'), "READS = 'policies'; it must be a list"),
        (FIGURE.replace('["policies"]', "[]"), r"READS = \[\]; it must be a list"),
        (FIGURE.replace('["policies"]', "[1]"), r"READS = \[1\]; every item must be a text"),
        (FIGURE.replace('["policies"]', "tables()"), "mine.py must give READS as a literal"),
        (FIGURE.replace("A caption.", " "), "CAPTION = ' '; it must be a text"),
        (FIGURE.replace("A caption.", "A {caption."), "CAPTION has a brace too many or too few"),
        (FIGURE + "TASKS = []\n", r"TASKS = \[\]; it must be a list of names"),
        (FIGURE + 'WHEN = "has_wings"\n', "WHEN = 'has_wings'; it must be one of has_baselines"),
        (
            FIGURE.replace("task", "study") + 'TASKS = ["safety"]\n',
            "must not declare TASKS or WHEN",
        ),
        (FIGURE.replace("task", "study").replace("A ", "{a} "), "{a}, but a figure of the whole"),
        (FIGURE + "def draw(:\n", "mine.py, line 4"),
    ],
)
def test_a_figure_that_declares_too_little_or_too_much_is_refused_by_its_file(
    folder, smoke, text, message
):
    (folder / "mine.py").write_text(text)
    with pytest.raises(FigureError, match=message) as error:
        figures.drawn(smoke, folder)
    assert str(folder / "mine.py") in str(error.value)


def test_a_placeholder_that_the_config_does_not_have_is_refused(folder, smoke):
    (folder / "mine.py").write_text(FIGURE.replace("A ", "{settings.wings} "))
    drawn = figures.drawn(smoke, folder)
    with pytest.raises(FigureError, match=r"{settings.wings}, but .* below tasks.length"):
        drawn.caption("mine", "length")


def test_declarations_are_read_without_importing_what_draws():
    code = (
        "import sys; from study import figures; figures.read_declarations(figures.FOLDER);"
        "print('matplotlib' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=modules.ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
