"""The commands that stay: `watch`, several workers under one command, and `up`."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Cli = Callable[..., subprocess.CompletedProcess[str]]
    Start = Callable[..., subprocess.Popen[str]]
    Eventually = Callable[..., object]


def counts(cli: Cli) -> dict[str, int]:
    found: dict[str, int] = json.loads(cli("status", "--json").stdout)["counts"]
    return found


def progress(cli: Cli) -> list[float | None]:
    return [r["progress"] for r in json.loads(cli("status", "--json").stdout)["runs"]]


def family_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def are_gone(processes: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


# -- watch ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_file_that_is_renamed_in_is_queued_at_once_wherever_it_comes_from(
    start: Start, drop: Callable[..., Path], eventually: Eventually, workspace: Path, tmp_path: Path
) -> None:
    watcher = start("watch")
    drop("warm")
    eventually((workspace / "ConfigsToRun" / "warm.yaml").exists)
    took = []
    for number in range(11):
        made = drop(f".hidden{number}", {"outputDir": f"runs/{number}"}).rename(tmp_path / f"{number}.yaml")
        began = time.monotonic()
        made.rename(workspace / "ConfigSources" / f"a{number}.yaml")
        eventually((workspace / "ConfigsToRun" / f"a{number}.yaml").exists)
        took.append(time.monotonic() - began)
    print(f"drop to token: p50 {statistics.median(took) * 1000:.0f} ms, worst {max(took) * 1000:.0f} ms")
    assert statistics.median(took) < 1.0  # it does not wait for the file to settle, which takes two seconds
    watcher.send_signal(signal.SIGTERM)
    said, _ = watcher.communicate(timeout=60)
    assert watcher.returncode == 130
    assert "a1.yaml: queued as runs/1 (commit " in said


def test_a_drop_is_pinned_to_what_the_repository_is_when_it_is_dropped(
    start: Start,
    drop: Callable[..., Path],
    eventually: Eventually,
    cli: Cli,
    repository: Callable[..., Path],
    workspace: Path,
) -> None:
    start("watch")
    folder = repository()
    commits = []
    for name in ("first", "second"):
        (folder / "note.txt").write_text(name)
        for words in (["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", name]):
            subprocess.run(["git", *words], cwd=folder, check=True)
        drop(name, {"pathToTasks": str(folder)})
        eventually((workspace / "ConfigsToRun" / f"{name}.yaml").exists)
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True)
        commits.append((name, head.stdout.decode().strip()))
    found = json.loads(cli("status", "--json").stdout)["runs"]
    assert sorted((r["config"], r["commit"]) for r in found) == sorted(commits)


def test_a_refused_drop_is_said_once_and_looked_at_again_when_it_changes(
    start: Start, drop: Callable[..., Path], eventually: Eventually, workspace: Path
) -> None:
    watcher = start("watch", "--json")
    drop("bad", "tasks: 5\n")
    problems = workspace / "ConfigSources" / "bad.yaml.problems.txt"
    eventually(problems.exists)
    written = problems.stat()
    for number in range(3):  # each makes it look at the folder
        drop(f"good{number}")
        eventually((workspace / "ConfigsToRun" / f"good{number}.yaml").exists)
    assert problems.stat() == written
    drop("bad", "tasks: 6\noutputDir: [x]\n")
    eventually(lambda: "bad.yaml:2:" in problems.read_text())
    drop("bad")
    eventually((workspace / "ConfigsToRun" / "bad.yaml").exists)
    eventually(lambda: not problems.exists())
    watcher.send_signal(signal.SIGINT)
    said, _ = watcher.communicate(timeout=60)
    events = [json.loads(line) for line in said.splitlines()]
    assert [e["refused"][0]["file"] for e in events if e["refused"]] == ["bad.yaml", "bad.yaml"]
    assert sorted(q["file"] for e in events for q in e["queued"]) == [
        "bad.yaml",
        "good0.yaml",
        "good1.yaml",
        "good2.yaml",
    ]


@pytest.mark.slow
def test_half_a_file_is_not_queued_while_it_is_written(
    start: Start, drop: Callable[..., Path], eventually: Eventually, workspace: Path
) -> None:
    start("watch")
    whole = drop(".whole", {"outputDir": "runs/slow"}).read_text()
    with (workspace / "ConfigSources" / "slow.yaml").open("w") as file:
        file.write(whole[:-20])
        file.flush()
        drop("quick")
        eventually((workspace / "ConfigsToRun" / "quick.yaml").exists)
        file.write(whole[-20:])
    eventually((workspace / "ConfigsToRun" / "slow.yaml").exists)
    assert not list((workspace / "ConfigSources").glob("*.problems.txt"))


# -- several processes ------------------------------------------------------------------------------------


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return [p for p in psutil.Process(process.pid).children() if "work" in p.cmdline()]


def test_a_worker_that_is_killed_is_replaced(
    cli: Cli, start: Start, drop: Callable[..., Path], eventually: Eventually, tmp_path: Path
) -> None:
    drop("a", {"gate": str(tmp_path / "gate")}, tasks=["Waits"])
    cli("ready")
    pool = start("work", "--workers", "2", "--until-idle")
    eventually(lambda: counts(cli)["running"] == 1)
    for worker in workers_of(pool):
        worker.kill()
    (tmp_path / "gate").touch()
    said, _ = pool.communicate(timeout=60)
    assert pool.returncode == 0
    assert said.count("it was ended by SIGKILL; another one takes its place") == 2
    assert counts(cli)["completed"] == 1


def test_ctrl_c_reaches_every_worker_once_and_leaves_no_process(
    cli: Cli, start: Start, drop: Callable[..., Path], eventually: Eventually, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        drop(name, {"gate": str(tmp_path / "gate")}, tasks=["Waits", "Quick"])
    process = start("up", "--workers", "2")
    eventually(lambda: progress(cli) == [0.25, 0.25])
    family = family_of(process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    time.sleep(0.3)  # a second signal would have ended the tasks by now; the first lets them finish
    assert counts(cli)["running"] == 2
    (tmp_path / "gate").touch()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.count("asked to stop") == 2
    assert said.count("Ctrl-C or SIGTERM again ends them at once") == 1
    assert counts(cli)["to_run"] == 2
    assert are_gone(family)


def test_nothing_outlives_a_supervisor_that_is_killed(
    cli: Cli, start: Start, drop: Callable[..., Path], eventually: Eventually, tmp_path: Path
) -> None:
    drop("a", {"gate": str(tmp_path / "gate"), "graceTime": 0.2}, tasks=["Waits"])
    process = start("up")
    eventually(lambda: counts(cli)["running"] == 1)
    family = family_of(process)
    assert len(family) >= 4  # the watcher, its host, the worker, its host, the task
    process.kill()
    eventually(lambda: are_gone(family), 30, "all processes to end")
    assert counts(cli)["to_run"] == 1


def test_up_readies_and_works_off_what_is_there_and_ends(
    cli: Cli, drop: Callable[..., Path], tmp_path: Path
) -> None:
    for number in range(3):
        drop(f"a{number}")
    drop("bad", "tasks: 5\n")
    said = cli("up", "--workers", "2", "--until-idle").stdout
    assert "a0.yaml: queued as runs/a0" in said
    assert "bad.yaml:1:" in said
    last = [line for line in said.splitlines() if "completed" in line][-1]
    assert last == "1 refused, 3 completed"
    drop("fails", {"mended": str(tmp_path / "mended"), "maxAttempts": 1}, tasks=["Fails"])
    cli("up", "--until-idle", check=1)
    cli("up", "--until-idle")  # it failed before this command began


@pytest.mark.slow
def test_a_run_that_never_starts_does_not_keep_up_waiting(
    cli: Cli, drop: Callable[..., Path], workspace: Path
) -> None:
    for name in ("edited", "held", "fine"):
        drop(name)
    cli("ready")
    waiting = workspace / "ConfigsToRun"
    (waiting / "held.yaml").rename(waiting / "held~held.yaml")
    (waiting / "edited.yaml").write_text((waiting / "edited.yaml").read_text() + "more: 1\n")
    (waiting / "by_hand.yaml").write_text("tasks: []\n")
    cli("up", "--until-idle")
    assert {p.name for p in waiting.iterdir()} == {
        "by_hand.yaml",
        "by_hand.yaml.problems.txt",
        "edited.yaml",
        "edited.yaml.problems.txt",
        "held~held.yaml",
    }
    assert (workspace / "Completed" / "fine.yaml").exists()


def on_a_terminal(words: list[str], environment: dict[str, str]) -> Iterator[bytes]:
    """What a command writes to a terminal of its own, until it ends."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-m", "job_orchestration", *words], environment)
    try:
        while select.select([terminal], [], [], 60)[0]:
            try:
                data = os.read(terminal, 65536)
            except OSError:  # how Linux tells that the other side has closed it
                break
            yield data
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


def test_on_a_terminal_up_shows_a_live_view_and_leaves_its_last_frame(
    environment: dict[str, str], drop: Callable[..., Path], tmp_path: Path
) -> None:
    drop("a", {"gate": str(tmp_path / "gate")}, tasks=["Quick", "Waits"])
    drop("b", {"mended": str(tmp_path / "mended"), "maxAttempts": 1}, tasks=["Fails"])
    drop("bad", "tasks: 5\n")
    seen = b""
    size = {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    for data in on_a_terminal(["up", "--workers", "2", "--until-idle"], environment | size):
        seen += data
        if b"waits 2/2" in seen and b"failed: runs/b" in seen:
            (tmp_path / "gate").touch()
    assert b"waits 2/2" in seen
    assert b"\x1b[?25l" in seen  # it hides the cursor
    assert b"\x1b[?25h" in seen  # and shows it again
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", seen).decode()
    assert text.strip().splitlines()[-1] == "1 refused, 1 completed, 1 failed"
    assert "failed: runs/b  fails 1/1  ValueError: as the test asked" in text
    assert "█████░░░░░ 1/2 have ended" in text
    number = re.search(r"worker (\d): runs/a: task quick \(1 of 2\)", text)
    assert number is not None
    assert re.search(rf"^runs/a .* {number[1]}\s*$", text, re.MULTILINE), "the number of its messages"
    assert b"Traceback" not in seen


@pytest.mark.slow
def test_status_is_coloured_on_a_terminal_only_if_colour_is_wanted(
    cli: Cli, environment: dict[str, str], drop: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    drop("a")
    cli("up", "--until-idle")
    size = {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    assert b"\x1b[" in b"".join(on_a_terminal(["status"], environment | size))
    quiet = b"".join(on_a_terminal(["status"], environment | size | {"NO_COLOR": "1"}))
    assert b"runs/a" in quiet
    assert not re.search(rb"\x1b\[[0-9;]*3[0-7]m", quiet)
    assert "\x1b" not in cli("status").stdout
