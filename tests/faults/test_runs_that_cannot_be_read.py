"""One run that cannot be read is one run that cannot be read: views name it, workers take the others.

The runs are spoilt from outside: by files of another user, while the commands lack root's right to read them;
by a file server that forgot a file, which is injected; by lines that are damaged. The oracle reads raw files.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from job_orchestration.runs import claims, token
from tests.faults.workspace_files import events, names
from tests.integration.harness import Sandbox

TASKS = """
    from job_orchestration import TaskBase


    class Quick(TaskBase):
        def __init__(self, config):
            self.config = config

        def run(self):
            return 7


    class Later(Quick):
        def run(self):
            return 8
"""
SITE = """
import errno, os
_open = os.open
def open_(path, *rest, **options):
    if "/stale/journal/0" in os.fsdecode(path) if isinstance(path, (str, bytes)) else False:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path)
    return _open(path, *rest, **options)
os.open = open_
"""
"""What a ``sitecustomize`` says to have a file handle that is stale."""
OF_ROOT = ("file", "folder", "running", "waiting")
GOOD = ("good1", "good2", "good3")
BOUND = (
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
)
"""Starts a program that may read only what its user may, although that is root."""
bound = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can give files to another user"
)


def interrupt(sandbox: Sandbox, run: str) -> None:
    """Leave the token of a waiting run in Running, as a worker that was killed does."""
    (found,) = [t for t in token.scan(sandbox.workspace.to_run) if t.name.stem == run]
    claim = claims.claim(sandbox.workspace, found, "gone.1.abc", "gone")
    assert claim is not None
    claim.release()


def journal(sandbox: Sandbox, run: str, attempt: int = 0) -> Path:
    return sandbox.output(run) / "journal" / f"{attempt:06d}.jsonl"


def command(sandbox: Sandbox, *words: str, check: int | None = 0) -> str:
    user = BOUND if sandbox.is_bound else ()
    done = subprocess.run(
        [*user, sys.executable, "-m", "job_orchestration", *words, "--workspace", str(sandbox.root)],
        cwd=sandbox.folder, capture_output=True, text=True, timeout=90, check=False,
        env={**os.environ, **sandbox.environment},
    )  # fmt: skip
    assert check is None or done.returncode == check, (words, done.stdout, done.stderr)
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.stdout + done.stderr


def shown(sandbox: Sandbox) -> dict[str, dict[str, object]]:
    return {str(r["run"]): r for r in json.loads(command(sandbox, "status", "--json"))["runs"]}


@bound
@pytest.mark.slow
def test_runs_of_another_user_are_left_alone_and_named(folder):
    sandbox = Sandbox(folder, TASKS)
    sandbox.is_bound, sandbox.environment = True, {}
    for run in (*OF_ROOT, *GOOD):
        sandbox.drop(run, "Quick")
    sandbox.ready()
    interrupt(sandbox, "running")
    (waiting,) = [t for t in token.scan(sandbox.workspace.to_run) if t.name.stem == "waiting"]
    os.rename(waiting.path, waiting.path.replace("waiting.yaml", "waiting~wait20200101T000000Z.yaml"))
    spoilt = [journal(sandbox, run) for run in ("file", "running", "waiting")]
    spoilt.append(sandbox.output("folder") / "journal")
    for path in spoilt:
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.chown(path, 65534, 65534)
    for has_worked in (False, True):
        found = shown(sandbox)
        for run in OF_ROOT:
            if run in {"file", "folder"} and not has_worked:
                continue  # a summary of it is cached
            assert found[run]["note"] == "unreadable", (run, found[run])
            assert f"Output/{run}/journal" in str(found[run]["error"])
            assert "chown" in str(found[run]["error"])
        assert all(found[run]["note"] is None for run in GOOD)
        if has_worked:
            break
        said = command(sandbox, "work", "--until-idle", check=1)
        assert sorted(names(sandbox.root, "Completed")) == sorted(GOOD), said
        assert said.count("Other runs go on.") == len(OF_ROOT), said
        assert "cannot be written" not in said
    assert "7" in command(sandbox, "results")
    assert "is left out: Output/file/journal" in command(sandbox, "results")
    assert "Output/running/journal/000000.jsonl cannot be read" in command(sandbox, "doctor")
    command(sandbox, "show", "file")
    command(sandbox, "gc")
    for path in spoilt:
        os.chown(path, 0, 0)
    command(sandbox, "work", "--until-idle")
    assert sorted(names(sandbox.root, "Completed")) == sorted((*OF_ROOT, *GOOD))
    sandbox.close()


@pytest.mark.slow
def test_a_stale_file_keeps_no_other_run(folder):
    sandbox = Sandbox(folder, TASKS)
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE)
    path = os.pathsep.join([str(site), str(Path(__file__).parent.parent.parent)])
    sandbox.is_bound, sandbox.environment = False, {"PYTHONPATH": path}
    for run in ("stale", *GOOD):
        sandbox.drop(run, "Quick")
    sandbox.ready()
    interrupt(sandbox, "stale")
    said = command(sandbox, "work", "--until-idle", check=1)
    assert sorted(names(sandbox.root, "Completed")) == sorted(GOOD), said
    assert shown(sandbox)["stale"]["note"] == "unreadable"
    sandbox.environment = {}
    command(sandbox, "work", "--until-idle")
    assert "stale" in names(sandbox.root, "Completed")
    sandbox.close()


def damage_a_line(path: Path, number: int) -> None:
    lines = path.read_bytes().split(b"\n")
    lines[number] = b"#" * len(lines[number])
    path.write_bytes(b"\n".join(lines))


@pytest.mark.slow
def test_a_run_with_a_damaged_journal_ends_as_damaged_and_goes_on_from_what_is_known(folder):
    sandbox = Sandbox(folder, TASKS)
    sandbox.is_bound, sandbox.environment = False, {}
    for run in ("line", "short", "pipe", *GOOD):
        sandbox.drop(run, "Quick", "Later")
    sandbox.ready()
    # An attempt that finished its first task and was cut short, and a second one that builds on it.
    for run in ("line", "short"):
        interrupt(sandbox, run)
        own = journal(sandbox, run, 1)
        lines = [
            {"seq": 2, "event": "task_started", "task": "quick", "number": 1},
            {"seq": 3, "event": "task_finished", "task": "quick", "duration_s": 0.1, "result": 7},
            {"seq": 4, "event": "task_started", "task": "later", "number": 1},
        ]
        with own.open("a") as file:
            for line in lines:
                file.write(json.dumps({"at": "2026-01-01T00:00:00+00:00", **line}) + "\n")
    damage_a_line(journal(sandbox, "line", 1), 2)
    (held,) = [t for t in token.scan(sandbox.workspace.running) if t.name.stem == "short"]
    second = claims.claim(sandbox.workspace, held, "gone.1.abc", "gone")
    assert second is not None
    second.release()
    damage_a_line(journal(sandbox, "short", 1), 3)
    journal(sandbox, "pipe").unlink()
    os.mkfifo(journal(sandbox, "pipe"))
    found = shown(sandbox)
    assert {run for run, r in found.items() if r["note"] == "unreadable"} == {"line", "short"}
    assert "line 3 is damaged" in str(found["line"]["error"])
    assert "000001.jsonl" in command(sandbox, "doctor")
    said = command(sandbox, "work", "--until-idle", check=1)
    assert sorted(names(sandbox.root, "Completed")) == sorted(GOOD), said
    assert names(sandbox.root, "Failed") == ["line", "pipe", "short"], "nothing is interrupted for ever"
    for run in ("line", "short", "pipe"):
        (last,) = events(sandbox.root, run, "gave_up")
        assert f"Output/{run}/journal/00000" in str(last["reason"])
        assert list((sandbox.output(run) / "journal").glob("*.damaged-1")), "what was damaged is kept"
    assert all(r["note"] is None for r in shown(sandbox).values())
    command(sandbox, "retry", "line", "short", "pipe")
    command(sandbox, "work", "--until-idle")
    assert len(names(sandbox.root, "Completed")) == 6
    finished = [str(e["task"]) for e in events(sandbox.root, "short", "task_finished")]
    assert finished == ["quick", "later"], "what was known to be finished did not run again"
    sandbox.close()
