"""What a task saves: all of it or none of it, beside what was there, and never anywhere else."""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from job_orchestration.config import json_floats
from job_orchestration.runs.artifact_store import PARTIAL, ArtifactStore, clear_partial
from tests.integration.write_faults import HOW, Killed, failing, operations_of

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def store_of(run: Path, label: str = "1.1", task: str = "load") -> ArtifactStore:
    return ArtifactStore(str(run), task, label)


def filled(run: Path, label: str = "1.1") -> ArtifactStore:
    store = store_of(run, label)
    store.save_json("a/b.json", {"é": [1, None]})
    store.save_text("c.txt", "ü\n")
    store.save_bytes("d.bin", b"\0\xff")
    store.path("deep/er/e.txt").write_text("e")
    (store.folder / "f.txt").write_text("f")
    return store


FILES = ["a/b.json", "c.txt", "d.bin", "deep/er/e.txt", "f.txt"]


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# -- committing ---------------------------------------------------------------------------------------------


def test_nothing_appears_before_the_commit_and_all_of_it_after(run):
    store = filled(run)
    assert [p.name for p in run.iterdir()] == [PARTIAL]
    folder, outputs = store.commit()
    assert folder == "load"
    assert files(run / "load") == FILES
    assert [o.path for o in outputs] == [f"load/{name}" for name in FILES]
    for output in outputs:
        data = (run / output.path).read_bytes()
        assert (output.bytes, output.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert json.loads((run / "load/a/b.json").read_text()) == {"é": [1, None]}
    assert files(run / PARTIAL) == []


def test_a_task_that_saves_nothing_has_no_folder(run):
    assert store_of(run).commit() == (None, ())
    assert list(run.iterdir()) == []


def test_a_folder_of_that_name_is_never_replaced(run):
    (run / "load").mkdir()
    (run / "load" / "mine.txt").write_text("written straight into the output folder")
    assert filled(run).commit()[0] == "load~2"
    assert filled(run, "2.1").commit()[0] == "load~3"
    (run / "load~4").symlink_to("nowhere")
    folder, outputs = filled(run, "3.1").commit()
    assert folder == "load~5"
    assert outputs[0].path == "load~5/a/b.json"
    assert files(run / "load") == ["mine.txt"]


def test_what_was_discarded_or_left_behind_never_appears(run):
    filled(run, "1.1").discard()
    assert files(run / PARTIAL) == []
    filled(run, "1.2")
    store = store_of(run, "2.1")
    store.save_text("x", "x")
    clear_partial(str(run))
    assert not (run / PARTIAL).exists()
    clear_partial(str(run))
    assert store.commit() == (None, ())


def test_two_tries_do_not_see_each_others_files(run):
    filled(run, "1.1")
    store = store_of(run, "1.2")
    store.save_text("only.txt", "this")
    store.commit()
    assert files(run / "load") == ["only.txt"]


COMMIT = [
    "fsync c.txt", "fsync d.bin", "fsync f.txt", "fsync_folder load~1.1", "fsync b.json", "fsync_folder a",
    "fsync_folder deep", "fsync e.txt", "fsync_folder er", "rename load", "fsync_folder run",
    "fsync_folder .partial",
]  # fmt: skip


def test_every_file_is_on_the_disk_before_the_folder_has_its_name(run):
    made = operations_of(filled(run).commit)
    assert sorted(made) == sorted(COMMIT)
    assert made.index("rename load") == len(made) - 3


@pytest.mark.parametrize("how", HOW)
def test_a_commit_that_is_cut_anywhere_shows_all_or_nothing_and_can_be_made_anew(tmp_path, how):
    for at in range(1, len(COMMIT) + 1):
        run = tmp_path / str(at)
        run.mkdir()
        store = filled(run)
        with failing(at, how), pytest.raises((Killed, OSError)):
            store.commit()
        shown = files(run / "load") if (run / "load").exists() else []
        assert shown in ([], FILES)
        clear_partial(str(run))
        folder, _ = filled(run, "2.1").commit()
        assert folder == ("load~2" if shown else "load"), "it commits beside the one that no checkpoint names"
        assert files(run / str(folder)) == FILES


# -- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "a/../../x", "", ".", "..", "a/..", "./", "../load~1.1x/y", "a/../.."]
)
def test_a_name_that_leads_out_of_the_folder_is_refused(run, name):
    with pytest.raises(ValueError, match="not a name inside"):
        store_of(run).save_text(name, "x")
    assert files(run) == []


@given(name=st.text(st.sampled_from("ab./~\\ é"), max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_no_name_ever_leads_out_of_the_folder(tmp_path, name):
    store = store_of(tmp_path)
    try:
        path = store.path(name)
    except (ValueError, FileExistsError, NotADirectoryError):
        return
    inside = os.path.realpath(store.folder)
    assert os.path.commonpath([inside, os.path.realpath(path)]) == inside
    assert os.path.realpath(path) != inside


def test_nan_and_what_json_cannot_say_are_saved_as_strict_json_that_is_read_back(run, caplog):
    value = {"loss": [0.5, math.nan, -math.inf], "path": Path("/a"), "model": object()}
    text = store_of(run).save_json("x.json", value).read_text()
    found = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert found["loss"] == [0.5, {"$float": "nan"}, {"$float": "-inf"}]
    kept = json_floats.value_of(text)
    assert math.isnan(kept["loss"][1])
    assert kept["loss"][2] == -math.inf
    assert (kept["path"], kept["model"]) == ("/a", "an object (not kept)")
    (record,) = caplog.records
    assert record.message.startswith("x.json.model: an object is not kept; write it into a file")


def test_a_saved_value_has_no_limit_of_size(run):
    value = {"numbers": [0.125] * 400_000, "text": "x" * (2 << 20)}
    assert json.loads(store_of(run).save_json("x.json", value).read_text()) == value


def test_links_and_pipes_among_the_files_do_no_harm(run):
    store = filled(run)
    (store.folder / "dangling").symlink_to("/nowhere at all")
    (store.folder / "link").symlink_to("c.txt")
    os.mkfifo(store.folder / "pipe")
    folder, outputs = store.commit()
    assert folder == "load"
    assert [o.path for o in outputs] == sorted([*(f"load/{name}" for name in FILES), "load/link"])
