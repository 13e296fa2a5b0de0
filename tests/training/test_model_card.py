"""The card of an adapter has a header that can be read, and says what the record says."""

import re

import yaml

from training import model_card

RECORD = {
    "stage": "align",
    "objective": "dpo",
    "beta": "0.25",
    "seed": 1003,
    "settings": {
        "task": {"name": "safety", "settings": {"share": 0.5}},
        "objective": {"steps": 72, "learning_rate": 0.001, "schedule": "linear"},
        "preferences": {"pairs": 512, "sharpness": 6},
        "lora": {"rank": 8, "target_modules": ["q_proj", "v_proj"]},
        "max_new_tokens": 32,
    },
    "history": [{"step": step, "rewards/margins": float(step)} for step in range(1, 11)]
    + [{"train_runtime": 3.0}],
}


def test_the_header_is_yaml_with_the_tags():
    card = model_card.of_adapter(RECORD)
    header = yaml.safe_load(card.split("---\n")[1])
    assert header["library_name"] == "peft"
    assert {"dera", "lora", "dpo", "safety"} <= set(header["tags"])


def test_every_setting_and_the_mean_of_the_last_five_logged_steps_stand_in_tables():
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", model_card.of_adapter(RECORD), re.MULTILINE))
    assert rows["objective: steps"] == "72"
    assert rows["preferences: sharpness"] == "6"
    assert rows["lora: target_modules"] == '["q_proj", "v_proj"]'
    assert rows["task: share"] == "0.5"
    assert rows["margin of the implicit reward"] == "8"  # of 6, 7, 8, 9 and 10


def test_an_objective_without_pairs_needs_no_preferences():
    settings = {**RECORD["settings"], "preferences": None}
    card = model_card.of_adapter(RECORD | {"settings": settings, "history": []})
    assert "preferences" not in card
    assert "Means over" not in card
    assert "aligned_beta=0.25" in card
    assert "seed was 1003" in card
