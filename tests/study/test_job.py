"""A job's outputs appear whole or not at all, and its progress says how much time is left."""

import io

import pytest

from study import job


def test_an_output_is_not_touched_until_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "result.json"
    job.write_json(path, {"a": 1})

    def fail_half_way():
        with job.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert job.read_json(path) == {"a": 1}
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    for content in ("old", "new"):
        with job.atomic_path(tmp_path / "model") as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["new"]


def test_progress_counts_only_what_this_process_did(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(job.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    progress = job.Progress("align", stream)
    for done in (51, 52, 60):  # resumed at step 50; one step a second from there
        now[0] = float(done - 51) + 20 * (done > 51)
        progress.update(done, 100, "steps", reward=-0.5)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "[align] 52/100 steps, reward -0.5, about 1008 s left"
    progress.update(100, 100, "steps")
    assert stream.getvalue().splitlines()[-1] == "[align] 100/100 steps"
