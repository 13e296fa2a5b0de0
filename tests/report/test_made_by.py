"""One sentence says what was run, and leaves out what a manifest does not have."""

from report.page.made_by import sentence


def test_an_older_manifest_has_no_date_and_no_machine():
    manifest = {"commit": None, "changed": None, "config": {"study": "old"}}
    assert sentence(manifest, {"length": (0,)}) == (
        "This is the study old, at an unknown commit, with training seed 0."
    )


def test_tasks_that_differ_in_their_seeds_are_named():
    manifest = {"commit": "abcdef0123", "changed": True, "config": {"study": "s", "replicate": 0}}
    seeds = {"length": (0, 1), "safety": (0,), "summarization": (0, 1)}
    assert sentence(manifest, seeds) == (
        "This is the study s, at commit abcdef01, to which files had been changed, with training "
        "seeds 0, 1 (length, summarization); seed 0 (safety)."
    )


def test_the_image_of_a_container_is_named():
    machine = {"system": "Linux x86_64", "cores": 2, "gpu": False, "image": "sha256:12ab"}
    manifest = {"commit": "abcdef0123", "config": {"study": "s"}, "machine": machine}
    assert "2 cores and no GPU, in the container image sha256:12ab." in sentence(
        manifest, {"length": (0,)}
    )
