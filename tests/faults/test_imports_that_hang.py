"""An import that hangs in one repository keeps no other command waiting, and is refused after its limit."""

from __future__ import annotations

import os
import signal
import textwrap
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import LIMIT, wait_until
from tests.faults.workspace_files import names
from tests.integration.harness import git

HANGS = """
    import os
    import time
    from pathlib import Path
    with open({note!r}, "a") as note:
        print(os.getpid(), file=note)
    while not Path({gate!r}).exists():
        time.sleep(0.02)

    from job_orchestration import TaskBase

    class Quick(TaskBase):
        def run(self):
            return 1
"""


@pytest.fixture
def hanging(repository, tmp_path):
    """A repository whose import hangs until the gate opens; it makes a note when it begins."""
    note, gate = tmp_path / "begun", tmp_path / "gate"
    return repository(HANGS.format(note=str(note), gate=str(gate)), name="hanging"), note, gate


@pytest.mark.slow
def test_while_an_import_hangs_others_queue_collect_and_restore(workspace, drop, cli, start, hanging):
    folder, note, gate = hanging
    drop("slow", {"pathToTasks": str(folder)})
    waiting = start("ready")
    wait_until(note.exists)
    (workspace / "ConfigSources" / "slow.yaml").rename(workspace / "slow.yaml")  # not theirs as well
    drop("quick")
    for words in (("ready",), ("gc", "--yes")):
        cli(*words, "--no-wait")
    assert names(workspace, "ConfigsToRun") == ["quick"]
    (workspace / "slow.yaml").rename(workspace / "ConfigSources" / "slow.yaml")
    assert waiting.stdout.readline().startswith("Waiting for the tasks of "), "it is said what is waited for"
    gate.touch()
    said, _ = waiting.communicate(timeout=LIMIT)
    assert "slow.yaml: queued as runs/slow" in said
    assert names(workspace, "ConfigsToRun") == ["quick", "slow"]


@pytest.mark.slow
def test_what_changed_while_it_was_checked_is_not_queued_as_it_was(workspace, drop, cli, start, hanging):
    folder, note, gate = hanging
    drop("taken", {"pathToTasks": str(folder), "outputDir": "same"})
    drop("edited", {"pathToTasks": str(folder), "x": 1})
    drop("gone", {"pathToTasks": str(folder)})
    waiting = start("ready")
    wait_until(note.exists)
    (workspace / "ConfigSources" / "gone.yaml").unlink()
    drop("edited", {"pathToTasks": str(folder), "x": 2})
    (workspace / "Output" / "same" / "journal").mkdir(parents=True)
    gate.touch()
    said, _ = waiting.communicate(timeout=LIMIT)
    assert waiting.returncode == 3, said
    assert "taken.yaml" in said
    assert "already exists in Output" in said
    assert names(workspace, "ConfigsToRun") == ["edited"]
    assert "x: 2" in (workspace / "ConfigsToRun" / "edited.yaml").read_text()
    assert not (workspace / "Output" / "runs" / "gone").exists()


@pytest.mark.slow
def test_two_that_check_the_same_drop_queue_it_once(workspace, drop, start, hanging):
    folder, _, gate = hanging
    drop("a", {"pathToTasks": str(folder), "outputDir": "{name}_{time}"})
    drop("swept", {"pathToTasks": str(folder), "sweep": {"grid": {"x": [1, 2]}}})
    both = [start("ready") for _ in range(2)]
    for process in both:
        assert process.stdout.readline().startswith("Waiting for the tasks of ")
    gate.touch()
    for process in both:
        process.communicate(timeout=LIMIT)
    assert len(names(workspace, "ConfigsToRun")) == 3
    assert len(list((workspace / "Output").glob("a_*"))) == 1
    assert names(workspace, "ConfigSources") == []


@pytest.mark.slow
def test_an_import_that_hangs_is_refused_after_the_limit_that_is_set(workspace, drop, cli, hanging):
    folder, _, _ = hanging
    (workspace / "workspace.yaml").write_text("validationTimeout: 1s\n")
    drop("slow", {"pathToTasks": str(folder)})
    drop("quick")
    done = cli("ready", check=3)
    assert "The imports of the tasks took longer than 1 s" in done.stdout
    assert names(workspace, "ConfigsToRun") == ["quick"]


@pytest.mark.slow
def test_an_import_that_hangs_keeps_no_config_of_another_repository_waiting(workspace, drop, start, hanging):
    folder, _, gate = hanging
    drop("a_slow", {"pathToTasks": str(folder)})
    drop("b_after", {"after": "a_slow"})
    drop("c_quick")
    waiting = start("ready")
    wait_until((workspace / "ConfigsToRun" / "c_quick.yaml").exists)
    assert names(workspace, "ConfigsToRun") == ["c_quick"], "one waits for its code, the other for that one"
    assert not gate.exists()
    gate.touch()
    waiting.communicate(timeout=LIMIT)
    assert waiting.returncode == 0
    assert names(workspace, "ConfigsToRun") == ["a_slow", "b_after", "c_quick"]


@pytest.mark.parametrize("words", [("ready",), ("ready", "beside another"), ("work",)], ids=" ".join)
@pytest.mark.slow
def test_an_import_that_hangs_ends_with_the_command_that_was_killed(words, drop, cli, start, hanging):
    folder, note, gate = hanging
    drop("one", {"pathToTasks": str(folder)})
    if words[0] == "work":
        gate.touch()
        cli("ready")
        note.unlink()
        gate.unlink()
    if len(words) > 1:
        drop("another")
    killed = start(words[0])
    wait_until(lambda: note.exists() and note.read_text().endswith("\n"))
    importing = int(note.read_text())
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    wait_until(lambda: not is_alive(importing))


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1] != b"Z"
    except FileNotFoundError:
        return False


PRINTS = """
    from job_orchestration import TaskBase

    class Quick(TaskBase):
        def validate(self):
            while True:
                print("x" * 100_000)

        def run(self):
            return 1
"""


@pytest.mark.slow
def test_what_a_validation_prints_without_end_fills_no_disk(drop, start, repository, tmp_path):
    (tmp_path / "temporary").mkdir()
    folder = repository(PRINTS, name="prints")
    drop("prints", {"pathToTasks": str(folder), "validationTimeout": "2s"})
    ready = start("ready", env={"TMPDIR": str(tmp_path / "temporary")})
    most = 0
    while ready.poll() is None:
        for path in (tmp_path / "temporary").rglob("log"):
            with suppress(FileNotFoundError):
                most = max(most, path.stat().st_size)
    said, _ = ready.communicate(timeout=LIMIT)
    assert "took longer than 2 s" in said
    assert 0 < most < 20_000_000


FAILS = """
    from job_orchestration import TaskBase

    class Quick(TaskBase):
        def run(self):
            raise ValueError("to be mended")
"""


@pytest.mark.slow
def test_a_retry_in_another_commit_whose_import_hangs_is_refused_after_that_limit(
    workspace, drop, cli, repository, tmp_path
):
    folder = repository(FAILS, name="mended")
    for name, values in {"slow": {"validationTimeout": "1s"}, "other": {}}.items():
        drop(name, {"pathToTasks": str(folder), "maxAttempts": 1, **values})
    cli("ready")
    cli("work", "--until-idle", check=1)
    hangs = HANGS.format(note=str(tmp_path / "note"), gate=str(tmp_path / "gate"))
    (folder / "Tasks.py").write_text(textwrap.dedent(hangs))
    git(folder, "commit", "--quiet", "--all", "--message=hangs")
    done = cli("retry", "slow", "--commit", "HEAD", check=3)
    assert "The imports of the tasks took longer than 1 s" in done.stdout + done.stderr
    assert names(workspace, "Failed") == ["other", "slow"]


@pytest.mark.slow
def test_a_suspended_ready_that_is_checking_keeps_nothing_from_others(workspace, drop, cli, start, hanging):
    folder, note, gate = hanging
    drop("slow", {"pathToTasks": str(folder)})
    waiting = start("ready")
    wait_until(note.exists)
    os.kill(waiting.pid, signal.SIGSTOP)
    cli("gc", "--yes", "--no-wait")
    os.kill(waiting.pid, signal.SIGKILL)
    waiting.wait(LIMIT)
    gate.touch()
