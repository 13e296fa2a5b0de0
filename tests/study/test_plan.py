"""The plan says what a config means: which models are trained, which lams are decoded, and how."""

import copy
import zlib
from fractions import Fraction
from pathlib import Path

import pytest
import yaml

from study import modules, plan, resolve, settings
from study.plan import Run
from study.schema import ConfigError
from study.strengths import label

ROOT = Path(__file__).parents[2]
CORPORA = {
    "length": "any",
    "summarization": "own",
    "hallucination": "own",
    "safety": "own",
    "chat_safety": "fetched",
    "own_text": "any",
    "data_to_text": "files",
}
DECLARED = {
    "rloo": ("prompts", "known"),
    "grpo": ("prompts", "unknown"),
    "dpo": ("preferences", "known"),
    "ipo": ("preferences", "unknown"),
    "slic": ("preferences", "unknown"),
    "kto": ("preferences", "unknown"),
}


@pytest.fixture
def config() -> dict:
    """The task `length` of the smoke study, its sections no longer shared."""
    smoke = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    smoke["tasks"] = {"length": copy.deepcopy(smoke["tasks"]["length"])}
    smoke["tasks"]["length"]["alignment"]["objectives"] = {
        name: copy.deepcopy(section)
        for name, section in smoke["tasks"]["length"]["alignment"]["objectives"].items()
    }
    return smoke


def length_of(config: dict) -> plan.TaskPlan:
    return resolve.plan_of(config).tasks["length"]


def rloo_of(config: dict) -> dict:
    return config["tasks"]["length"]["alignment"]["objectives"]["rloo"]


def test_lams_match_the_trained_betas_exactly(config):
    rloo_of(config).update(betas=[0.1, 0.3, 0.2], anchors=[0.1, 0.3], default_beta=0.1)
    config["tasks"]["length"]["dera"]["lams"] = [0, 0.5]
    task = length_of(config)
    # The default strength decodes the fine grid too: 0, and 1/2 which is there already.
    assert task.lams(Run("rloo", "0.1", 3)) == [0, Fraction(1, 3), Fraction(1, 2), 1]
    assert task.lams(Run("rloo", "0.3", 3)) == [1, Fraction(3, 2), 3]
    assert task.lams(Run("rloo", "0.2", 3)) == []  # no anchor


def test_without_the_fine_grid_the_default_strength_decodes_matched_lams_alone(config):
    rloo_of(config)["fine_grid"] = False
    assert length_of(config).lams(Run("rloo", "0.25", 0)) == [Fraction(1, 4), 1]


@pytest.mark.parametrize("anchors", [[1, 0.25], [0.25, 1]])
@pytest.mark.parametrize("default_beta", [0.25, 1])
def test_the_default_strength_is_the_one_named_in_whatever_order_anchors_stand(
    config, anchors, default_beta
):
    rloo_of(config).update(anchors=anchors, default_beta=default_beta)
    resolved = resolve.plan_of(config)
    task = resolved.tasks["length"]
    expected = Run("rloo", label(default_beta), 0)
    assert task.main_run == expected
    assert expected in task.curve_runs
    assert task.decodings["baselines-seed=0"].runs == (expected,)
    judging = settings.judging(resolved, task)
    assert judging["objectives"]["rloo"]["default_beta"] == label(default_beta)
    # The fine grid has lam = -1, which matches no trained beta.
    with_grid = [beta for beta in ("0.25", "1") if -1 in task.lams(Run("rloo", beta, 0))]
    assert with_grid == [label(default_beta)]


def test_the_order_of_objectives_and_seeds_changes_neither_the_main_run_nor_any_seed(config):
    before = length_of(config)
    alignment = config["tasks"]["length"]["alignment"]
    alignment["objectives"] = dict(reversed(alignment["objectives"].items()))
    alignment["seeds"] = [1, 0]
    after = length_of(config)
    assert after.main_run == before.main_run == Run("rloo", "0.25", 0)
    for name, decoding in before.decodings.items():
        assert after.decodings[name] == decoding


def test_one_job_decodes_each_model_and_dera_from_it_with_random_numbers_of_its_own(config):
    decodings = length_of(config).decodings
    assert list(decodings) == [
        "reference",
        "rloo-beta=0.25-seed=0",
        "rloo-beta=0.25-seed=1",
        "rloo-beta=1-seed=0",
        "rloo-beta=1-seed=1",
        "dpo-beta=0.5-seed=0",
        "dpo-beta=0.5-seed=1",
        "baselines-seed=0",
        "baselines-seed=1",
    ]
    of_anchor = decodings["rloo-beta=0.25-seed=0"]
    assert [policy["kind"] for policy in of_anchor.policies] == ["retrained", "dera"]
    assert of_anchor.policies[1]["anchor"] == "0.25"
    assert of_anchor.policies[1]["lams"] == ["-1", "0", "1/4", "1/2", "1", "2", "4"]
    assert [policy["kind"] for policy in decodings["rloo-beta=1-seed=0"].policies] == ["retrained"]
    # A checksum of words joined by blanks.
    assert of_anchor.seed == zlib.crc32(b"0 length rloo 0.25 0")
    assert decodings["baselines-seed=1"].seed == zlib.crc32(b"0 length baselines 1")
    assert decodings["reference"].seed == 0


ERRORS = "\nfrom tasks.text.rates import JudgeErrors, Rate\n\nLengthTask.judge_errors = "


def test_what_a_judge_gets_wrong_reaches_the_claims(config, tmp_path):
    task = length_of(config)
    assert "judge_errors" not in settings.judging(resolve.plan_of(config), task)

    module = tmp_path / "judged.py"
    length = (ROOT / "tasks/length.py").read_text()
    module.write_text(f"{length}{ERRORS}JudgeErrors(Rate(1, 9), Rate(0, 5))\n")
    config["tasks"]["length"]["module"] = str(module)
    judging = settings.judging(resolve.plan_of(config), length_of(config))
    assert judging["judge_errors"] == {
        "missed": {"wrong": 1, "labelled": 9},
        "imagined": {"wrong": 0, "labelled": 5},
    }


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ("0.1", r"judge_errors = 0.1 must be a tasks\.text\.rates\.JudgeErrors"),
        ("JudgeErrors(Rate(0, 0), Rate(0, 5))", "must have at most as many wrong texts"),
        ("JudgeErrors(Rate(6, 9), Rate(5, 9))", "must tell more than chance"),
    ],
)
def test_errors_of_a_judge_that_say_nothing_are_refused(config, tmp_path, errors, said):
    module = tmp_path / "judged.py"
    module.write_text((ROOT / "tasks/length.py").read_text() + f"{ERRORS}{errors}\n")
    config["tasks"]["length"]["module"] = str(module)
    with pytest.raises(ConfigError, match=said):
        resolve.plan_of(config)


def test_baselines_that_reweight_are_not_decoded(config):
    task = length_of(config)
    decoded = [policy["name"] for policy in task.decodings["baselines-seed=0"].policies]
    assert decoded == ["weights", "probabilities", "temperature", "top_k"]
    assert task.decodings["baselines-seed=0"].policies[3]["options"] == {"k": 5}
    judging = settings.judging(resolve.plan_of(config), task)
    assert judging["reweighted"] == {"best_of_n": ("2",)}

    config["tasks"]["length"]["dera"] = {
        **config["tasks"]["length"]["dera"],
        "baselines": {"best_of_n": [2]},
    }
    assert not any(name.startswith("baselines") for name in length_of(config).decodings)
    assert length_of(config).has_baselines
    del config["tasks"]["length"]["dera"]["baselines"]
    assert not length_of(config).has_baselines


def test_seeds_are_the_objectives_own_or_the_tasks(config):
    rloo_of(config)["seeds"] = [5]
    config["tasks"]["length"]["alignment"]["seeds"] = [0, 1]
    objectives = length_of(config).objectives
    assert objectives["rloo"].seeds == (5,)
    assert objectives["dpo"].seeds == (0, 1)


def test_each_training_seed_and_the_reward_model_have_preference_pairs_of_their_own(config):
    task = length_of(config)
    learners = ["reward_model", "seed=0", "seed=1", "seed=2"]
    seeds = {task.preferences_seed(learner) for learner in learners}
    assert len(seeds) == 4
    config["seed"] = 1
    assert not seeds & {length_of(config).preferences_seed(learner) for learner in learners}


def test_each_seed_is_read_beside_the_next_one_and_the_last_beside_the_first(config):
    rloo_of(config)["seeds"] = [9, 2, 5]
    objective = length_of(config).objectives["rloo"]
    assert {seed: objective.other_seed(seed) for seed in (2, 5, 9)} == {2: 5, 5: 9, 9: 2}
    rloo_of(config)["seeds"] = [4]
    assert length_of(config).objectives["rloo"].other_seed(4) is None


def test_every_seed_of_an_objective_with_anchors_is_read(config):
    rloo_of(config)["seeds"] = [0, 1]
    sections = config["tasks"]["length"]["alignment"]["objectives"]
    sections["dpo"]["anchors"] = []
    del sections["dpo"]["default_beta"]
    read = [(objective.name, seed) for objective, seed in length_of(config).readings]
    assert read == [("rloo", 0), ("rloo", 1)]


def test_what_only_the_estimate_knows_of_a_pretrained_model_trains_nothing_again():
    config = yaml.safe_load((ROOT / "config/real-mini.yaml").read_text())

    def trained():
        task = resolve.plan_of(config).main_task
        return settings.loading_pretrained(task), settings.of_task(task, "model", "sft")

    before = trained()
    assert before[0] == before[1]["model"]
    config["tasks"]["chat_safety"]["model"]["million_parameters"] = 1000
    assert trained() == before
    config["tasks"]["chat_safety"]["model"]["chat_template"] = "{{ messages[0]['content'] }}"
    assert trained() != before


def test_how_many_completions_are_read_changes_no_decoding(config):
    name = "rloo-beta=0.25-seed=0"
    task = length_of(config)
    before = settings.decoding(task, name)
    assert settings.reading(task, task.objectives["rloo"], 0)["samples"] == 2
    config["tasks"]["length"]["evaluation"]["reading_samples"] = 1
    task = length_of(config)
    assert settings.reading(task, task.objectives["rloo"], 0)["samples"] == 1
    assert settings.decoding(task, name) == before


@pytest.mark.parametrize(
    ("strength", "text"),
    [
        (0.25, "0.25"),
        (1, "1"),
        (1.0, "1"),
        (100, "100"),
        (1e-7, "0.0000001"),
        (0.33333333, "0.33333333"),
    ],
)
def test_strengths_are_written_out_in_full(strength, text):
    assert label(strength) == text
    assert Fraction(text) == Fraction(str(strength))


@pytest.mark.parametrize("key", ["betas", "anchors", "seeds"])
def test_another_strength_or_seed_does_not_change_what_the_others_are_asked_to_do(config, key):
    run = Run("rloo", "0.25", 0)
    before = settings.aligning(length_of(config), run)
    section = rloo_of(config)
    section["betas"] = [*section["betas"], 2]
    section[key] = [*section.get(key, [0]), 2] if key != "betas" else section["betas"]
    assert settings.aligning(length_of(config), run) == before
    section["steps"] += 1
    assert settings.aligning(length_of(config), run) != before


def test_with_pairs_of_files_no_optimum_is_known_and_no_labeller_is_told_to_a_job(config):
    run = Run("dpo", "0.5", 0)
    section = config["tasks"]["length"]
    assert length_of(config).objectives["dpo"].declared.optimum == "known"
    assert "preferences" in settings.aligning(length_of(config), run)
    section["preferences"] = {
        "source": "files",
        "files": {"path": "pairs.parquet"},
        "skip_unusable": True,
    }
    resolved = resolve.plan_of(config)
    task = resolved.tasks["length"]
    objectives = settings.judging(resolved, task)["objectives"]
    assert {name: objective["optimum"] for name, objective in objectives.items()} == {
        "rloo": "known",  # it samples, and the task judges
        "dpo": "unknown",
    }
    assert "preferences" not in settings.aligning(task, run)
    assert "preferences" not in settings.scoring(task)
    assert settings.reading_pairs(task) == {
        "task": "length",
        "max_positions": section["model"]["max_positions"],
        "skip_unusable": True,
    }


def test_tasks_and_objectives_say_what_they_work_on_without_being_imported():
    declared = {}
    for name in modules.names("training.objectives"):
        module = f"training.objectives.{name}"
        data = modules.constant(module, "DATA", ("prompts", "preferences"))
        declared[name] = (data, modules.constant(module, "OPTIMUM", ("known", "unknown")))
    assert declared == DECLARED
    corpora = {
        name: modules.constant(f"tasks.{name}", "CORPUS", ("any", "own", "files", "fetched"))
        for name in modules.names("tasks")
    }
    assert corpora == CORPORA
    message = r"__init__\.py must declare DATA at its top, as 'prompts' or 'preferences'"
    with pytest.raises(modules.ModuleError, match=message):
        modules.constant("training.objectives", "DATA", ("prompts", "preferences"))
