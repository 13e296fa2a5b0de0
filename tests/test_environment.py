"""The three files that pin the environment name the same versions."""

import re
from pathlib import Path

import yaml

ENVS = Path(__file__).parents[1] / "envs"
PIN = re.compile(r"^([a-z0-9.-]+)==([^\s;\\]+)", re.MULTILINE)
#: Packages that only torch's build for GPUs needs.
OF_GPU_BUILD = re.compile(r"cuda-|nvidia-|triton$|setuptools$")


def pins(name: str) -> dict[str, str]:
    return dict(PIN.findall((ENVS / name).read_text()))


def test_the_conda_environment_has_the_same_pins():
    environment = yaml.safe_load((ENVS / "environment.yaml").read_text())
    assert dict(pin.split("==") for pin in environment["dependencies"][-1]["pip"]) == pins(
        "requirements.txt"
    )


def test_the_lock_with_hashes_has_the_same_pins_and_what_a_gpu_needs():
    with_hashes = pins("requirements-hashed.txt")
    more = {name for name in with_hashes if name not in pins("requirements.txt")}
    assert {name: with_hashes[name] for name in with_hashes if name not in more} == pins(
        "requirements.txt"
    )
    assert more
    assert all(OF_GPU_BUILD.match(name) for name in more)


def test_every_pin_of_the_lock_with_hashes_has_a_hash():
    text = (ENVS / "requirements-hashed.txt").read_text()
    blocks = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(pins("requirements-hashed.txt"))
    without = [block for block in blocks if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", block)]
    assert without == []


def test_what_is_asked_for_stands_in_the_lock_as_it_was_asked():
    asked = dict(PIN.findall((ENVS / "requirements.in").read_text()))
    assert asked
    assert asked.items() <= pins("requirements.txt").items()
