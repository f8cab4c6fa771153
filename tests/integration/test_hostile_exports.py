"""Exports that somebody forged: nothing is written outside, nothing is imported by halves, nothing is run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from job_orchestration.commands import export as exporting
from job_orchestration.commands.import_runs import import_runs
from job_orchestration.commands.selection import Selection
from job_orchestration.commands.status import status
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.exchange import sources
from job_orchestration.runs import journal, lifecycle
from job_orchestration.workspace.layout import Place, prepare
from tests.conftest import LIMIT, ROOT
from tests.integration.harness import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

TASKS = """
from job_orchestration import TaskBase

class Quick(TaskBase):
    def run(self):
        self.context.store.save_text("a.txt", "a")
        return 1
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Iterator[tuple[Sandbox, Path]]:
    """A workspace with one run, and its export as a folder; no test changes them."""
    folder = tmp_path_factory.mktemp("original")
    sandbox = Sandbox(folder, TASKS)
    sandbox.queue("a", "Quick")
    sandbox.work()
    exporting.export(sandbox.workspace, Selection(("a",)), str(folder / "out"))
    yield sandbox, folder / "out"
    sandbox.close()


@pytest.fixture
def exported(original, tmp_path) -> Path:
    """A copy of that export."""
    return Path(shutil.copytree(original[1], tmp_path / "out"))


@pytest.fixture
def other(tmp_path):
    """Another workspace."""
    return prepare(str(tmp_path / "other"))


def forged(folder: Path, change) -> None:
    """Change the list of an export."""
    path = folder / "export.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def listed(folder: Path, name: str, data: bytes) -> None:
    """Put a file into an export, with its size and digest in the list."""
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    about = [len(data), hashlib.sha256(data).hexdigest()]
    forged(folder, lambda values: values["files"].update({name: about}))


def zipped(folder: Path) -> Path:
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(folder))
    return target


def everything(folder: str) -> set[str]:
    return {
        os.path.relpath(os.path.join(parent, name), folder)
        for parent, _, names in os.walk(folder)
        for name in names
    }


def is_untouched(workspace) -> bool:
    left = {n for n in everything(workspace.root) if not n.startswith(("Misc/code.git", "Misc/VERSION"))}
    runs = status(workspace).runs
    return not len(runs) and not any(
        name.startswith(("Output/", "Completed/", "Misc/trash")) for name in left
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["runs/a/../../../../evil", "/tmp/evil", "runs/a/./x", "runs//x", "runs/a/\0x"]
)
def test_a_path_that_leads_out_refuses_the_whole_export(exported, other, name):
    forged(exported, lambda values: values["files"].update({name: [1, "0" * 64]}))
    with pytest.raises(UsageError, match="which leads out of it"):
        import_runs(other, str(exported))
    assert is_untouched(other)


def test_members_of_an_archive_that_no_list_names_are_never_written(exported, other, tmp_path):
    path = zipped(exported)
    link = zipfile.ZipInfo("runs/a/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../evil", "evil")
        archive.writestr("/tmp/job-orchestration-evil", "evil")
        archive.writestr(link, "/etc/passwd")
    assert import_runs(other, str(path)).is_complete
    assert not os.path.exists("/tmp/job-orchestration-evil")
    assert not [n for n in everything(str(tmp_path)) if n.endswith("evil")]
    assert not os.path.lexists(os.path.join(other.output, "a", "link"))


@pytest.mark.parametrize("kind", ["link", "folder link", "pipe", "folder"])
def test_a_listed_file_that_is_no_plain_file_is_not_followed(exported, other, kind):
    victim = exported / "runs" / "a" / "log.log"
    outside = exported.with_name("outside")
    data = victim.read_bytes()
    if kind == "folder link":
        shutil.move(exported / "runs", outside)
        (exported / "runs").symlink_to(outside)
    else:
        victim.unlink()
        outside.write_bytes(data)
        make = {
            "link": lambda: victim.symlink_to(outside),
            "pipe": lambda: os.mkfifo(victim),
            "folder": victim.mkdir,
        }
        make[kind]()
    (refused,) = import_runs(other, str(exported)).runs
    assert refused.fault is not None
    assert "it has no file runs/a/" in refused.fault.what
    assert is_untouched(other)


def test_an_archive_that_would_fill_the_disk_is_refused_before_anything_is_written(
    exported, other, monkeypatch
):
    listed(exported, "runs/a/zeros", bytes(20_000_000))
    path = zipped(exported)
    monkeypatch.setattr(sources, "_HARMLESS", 1_000_000)
    monkeypatch.setattr(sources, "_MOST_RATIO", 20)
    with pytest.raises(UsageError, match="bytes would become"):
        import_runs(other, str(path))
    forged(exported, lambda values: values["files"].update({"runs/a/huge": [10**18, "0" * 64]}))
    with pytest.raises(UsageError, match="There is no space"):
        import_runs(other, str(exported))
    assert is_untouched(other)


def test_a_file_that_is_larger_than_its_list_says_is_cut_short(exported, other):
    with (exported / "runs" / "a" / "log.log").open("ab") as file:
        file.truncate(50_000_000)
    (refused,) = import_runs(other, str(exported)).runs
    assert "log.log is larger than its list says" in refused.fault.what
    assert is_untouched(other)


@pytest.mark.parametrize("name", ["../out", "/abs", "a/../b", "", ".hidden", "a~b"])
def test_a_run_with_a_name_that_no_run_can_have_is_refused(exported, other, name):
    forged(exported, lambda values: values["runs"][0].update(run=name))
    (refused,) = import_runs(other, str(exported)).runs
    assert "cannot be the name of a run" in refused.fault.what
    assert is_untouched(other)


def test_a_config_that_does_not_belong_to_the_journal_is_refused(exported, other):
    config = (exported / "runs/a/config.yaml").read_bytes()
    listed(exported, "runs/a/config.yaml", config + b"# more\n")
    (refused,) = import_runs(other, str(exported)).runs
    assert "its config is not the one that its journal was begun with" in refused.fault.what
    assert is_untouched(other)


def test_code_with_damaged_or_missing_objects_is_refused_and_leaves_no_pin(exported, other):
    (pack,) = exported.glob("code/*/commit.pack")
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 0xFF
    listed(exported, str(pack.relative_to(exported)), bytes(data))
    (refused,) = import_runs(other, str(exported)).runs
    assert "its code cannot be imported" in refused.fault.what
    assert is_untouched(other)
    assert not list(Path(other.misc, "code.git", "refs", "pins").iterdir())
    assert not list(Path(other.misc, "code.git", "objects", "pack").glob("*.pack"))


def test_a_pack_without_a_file_of_its_commit_is_refused(exported, other, original):
    (pack,) = exported.glob("code/*/commit.pack")
    store = Path(original[0].workspace.misc, "code.git")
    commit = pack.parent.name
    objects = subprocess.run(
        ["git", "-C", store, "rev-list", "--objects", "--no-object-names", "--no-walk", commit],
        capture_output=True,
        check=True,
    ).stdout.splitlines()
    blobs = [
        o
        for o in objects
        if subprocess.run(["git", "-C", store, "cat-file", "-t", o], capture_output=True, check=True).stdout
        == b"blob\n"
    ]
    feed = b"\n".join(o for o in objects if o != blobs[0]) + b"\n"
    made = subprocess.run(
        ["git", "-C", store, "pack-objects", "--stdout", "-q"], input=feed, capture_output=True, check=True
    )
    listed(exported, str(pack.relative_to(exported)), made.stdout)
    (refused,) = import_runs(other, str(exported)).runs
    assert "its code cannot be imported" in refused.fault.what
    assert is_untouched(other)


def test_nonsense_in_the_list_is_a_sentence(exported, other):
    for change in (
        lambda values: values.update(format=2),
        lambda values: values.update(runs=3),
        lambda values: values["runs"][0].pop("values"),
        lambda values: values["files"].update({"x": ["1", "0" * 64]}),
        lambda values: values["commits"].update({"x": {}}),
    ):
        copy = exported.with_name("copy")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(exported, copy)
        forged(copy, change)
        with pytest.raises(UsageError, match="is no export that can be imported"):
            import_runs(other, str(copy))
    (exported / "export.json").write_bytes(b"[" * 100_000)
    with pytest.raises(UsageError, match=r"export\.json cannot be read"):
        import_runs(other, str(exported))
    (exported.with_name("no.zip")).write_bytes(b"PK nonsense")
    with pytest.raises(UsageError, match="neither a folder nor a ZIP archive"):
        import_runs(other, str(exported.with_name("no.zip")))


KILLED = """
import os, signal, sys
from job_orchestration.workspace import durable
from job_orchestration.cli.main import main
left = int(sys.argv[1])
def count(operation, call):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return call()
durable.intercept = count
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.slow
def test_an_import_that_is_killed_at_any_write_leaves_the_run_whole_or_not_there(exported, tmp_path):
    path = zipped(exported)
    number, whole = 0, 0
    while True:
        root = tmp_path / f"killed{number}"
        workspace = prepare(str(root))
        words = ["import", str(path), "--workspace", str(root)]
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(number), *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        for record in status(workspace).runs:  # a reader sees a whole run or none
            assert record.place is Place.COMPLETED
        if os.path.isdir(workspace.run_folder("a")):
            state = lifecycle.fold(journal.read(workspace.run_folder("a")))
            assert state.status.name == "COMPLETE"
        again = import_runs(workspace, str(path))
        (one,) = again.runs
        assert one.run == "a" or "is here already, as a" in one.fault.what
        (run,) = status(workspace).runs
        assert run.place is Place.COMPLETED
        assert Path(workspace.run_folder("a"), "quick", "a.txt").read_text() == "a"
        whole += one.run is None
        shutil.rmtree(root)
        number += 2
    print(f"an import was killed at every second of {number} writes; {whole} times the run was there already")
    assert number > 10


def test_a_file_with_another_content_of_the_same_size_is_refused(exported, other):
    log = exported / "runs" / "a" / "log.log"
    data = bytearray(log.read_bytes())
    data[0] ^= 1
    log.write_bytes(data)
    (refused,) = import_runs(other, str(exported)).runs
    assert "log.log is not what its list says" in refused.fault.what
    assert is_untouched(other)
