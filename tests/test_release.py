"""What a release says of itself: its metadata name files that are there, and agree."""

import json
import re
import tomllib
from pathlib import Path

import yaml

import dera

ROOT = Path(__file__).parents[1]


def crate() -> dict[str, dict]:
    """The entities of the RO-Crate by their ids."""
    graph = json.loads((ROOT / "ro-crate-metadata.json").read_text())["@graph"]
    entities = {entity["@id"]: entity for entity in graph}
    assert len(entities) == len(graph), "an id occurs twice"
    return entities


def references(value) -> set[str]:
    """Every id that a value of the RO-Crate refers to."""
    if isinstance(value, list):
        return set().union(*map(references, value))
    if isinstance(value, dict):
        return {value["@id"]} if set(value) == {"@id"} else references([*value.values()])
    return set()


def test_the_crate_is_about_this_folder_and_its_workflow():
    entities = crate()
    descriptor, root = entities["ro-crate-metadata.json"], entities["./"]
    assert descriptor["about"] == {"@id": "./"}
    assert {"@id": "https://w3id.org/ro/crate/1.1"} in descriptor["conformsTo"]
    workflow = entities[root["mainEntity"]["@id"]]
    assert "ComputationalWorkflow" in workflow["@type"]
    assert root["mainEntity"] in root["hasPart"]


def test_whatever_the_crate_refers_to_is_described_and_every_file_is_there():
    entities = crate()
    referred = set().union(*(references([*entity.values()]) for entity in entities.values()))
    outside = {name for name in referred if name.startswith("http")}
    assert referred - outside <= set(entities)
    for name, entity in entities.items():
        kinds = entity["@type"] if isinstance(entity["@type"], list) else [entity["@type"]]
        if name != "./" and {"File", "Dataset"} & set(kinds):
            assert (ROOT / name).exists(), name
            assert (ROOT / name).is_dir() == ("Dataset" in kinds), name


def test_all_metadata_give_the_same_version_and_licence():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert project["version"] == citation["version"] == dera.__version__
    assert project["license"] == citation["license"]
    assert crate()["./"]["license"]["@id"].endswith(project["license"])


def test_the_catalog_file_offers_what_the_rules_have():
    catalog = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())
    rules = "".join(path.read_text() for path in ROOT.glob("*/*.smk"))
    offers = catalog["usage"]["software-stack-deployment"]
    assert offers["conda"] is bool(re.search(r"^ +conda:$", rules, re.MULTILINE))
    assert catalog["usage"]["report"] is ("report(" in rules)
