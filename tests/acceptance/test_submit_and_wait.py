"""`submit` and `wait` on the command line, as scripts use them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from job_orchestration.cli import command_table, main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def draft(repository: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Writes a config outside of the workspace."""
    made: list[Path] = []

    def write(name: str, method: str = "Quick", more: str = "") -> Path:
        if not made:
            made.append(repository())
        path = tmp_path / f"{name}.yaml"
        text = (
            f"pathToTasks: {made[0]}\noutputDir: drafts/{name}\ntasks:\n  - {{id: one, method: {method}}}\n"
        )
        path.write_text(text + more)
        return path

    return write


def files_of(workspace: Path) -> set[str]:
    found = {str(path.relative_to(workspace)) for path in workspace.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith(("Misc/bytecode", "Misc/imports"))}


def test_submit_prints_the_run_and_leaves_the_file(cli, draft, workspace):
    path = draft("a", more="x: 1\n")
    before = path.read_bytes()
    done = cli("submit", str(path), "--set", "x=5", "--set", "one.x=[1, 2]", "--name", "mine/first")
    assert done.stdout == "mine/first\n"
    assert path.read_bytes() == before
    assert not os.listdir(workspace / "ConfigSources")
    shown = json.loads(cli("show", "mine/first", "--json").stdout)
    assert shown["parameters"] == {"x": 5, "one.x": [1, 2], "one.method": "Quick"}
    assert shown["config"] == "a"
    cli("work", "--until-idle")
    assert json.loads(cli("show", "mine/first", "--json").stdout)["tasks"][0]["result"] == {"x": [1, 2]}


@pytest.mark.slow
def test_a_refused_config_leaves_nothing_and_says_all_that_is_wrong(cli, draft, workspace):
    cli("submit", str(draft("good")))
    before = files_of(workspace)
    path = draft("bad", "Nope", "maxAttempts: never\nepocs: 3\n")
    done = cli("submit", str(path), check=3)
    assert done.stdout == ""
    assert "bad.yaml:4:23: tasks[0].method: " in done.stderr
    assert "bad.yaml:5:14: maxAttempts: " in done.stderr
    assert cli("submit", str(draft("good")), check=3).stderr.startswith("good.yaml:2:12: outputDir: ")
    done = cli("submit", str(path), "--set", "one.method=Quick", check=3)
    assert done.stderr.startswith("bad.yaml: maxAttempts: "), (
        "lines of a file that was never written mean nothing"
    )
    done = cli("submit", str(path), "--set", "two.x=1", check=3)
    assert "there is no two for two.x. Before a dot stands a task or a mapping: one." in done.stderr
    done = cli("submit", str(draft("other")), str(path), check=3)
    assert done.stdout == "drafts/other\n", "one bad file stops no other"
    new = files_of(workspace) - before
    assert all("other" in name or name.startswith("Misc/") for name in new), new
    assert not os.listdir(workspace / "ConfigSources")


@pytest.mark.slow
def test_what_cannot_be_submitted_is_an_error_of_usage(cli, draft, drop, tmp_path):
    assert "There is no file nowhere.yaml." in cli("submit", "nowhere.yaml", check=2).stderr
    path = drop("dropped", "tasks: 5\n")
    assert "lies in ConfigSources already" in cli("submit", str(path), check=2).stderr
    done = cli("submit", str(draft("a")), str(draft("b")), "--name", "x", check=2)
    assert "One name is given for several configs." in done.stderr
    assert command_table.find("submit").name == "submit"
    assert "submit" not in command_table.SYNONYMS


def test_submit_reads_standard_input(environment, draft, tmp_path):
    command = [sys.executable, "-m", "job_orchestration", "submit", "-", "--set", "x=7"]
    text = draft("piped").read_text()
    done = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.stdout == "drafts/piped\n"


@pytest.mark.slow
def test_wait_says_each_end_and_which_failed(cli, start, draft, eventually, workspace, tmp_path):
    gate = tmp_path / "gate"
    submitted = cli(
        "submit",
        str(draft("slow", "Waits", f"gate: {gate}\n")),
        str(draft("fails", "Fails", f"mended: {tmp_path}/never\nmaxAttempts: 1\n")),
        str(draft("quick")),
    )
    assert submitted.stdout.split() == ["drafts/slow", "drafts/fails", "drafts/quick"]
    start("work", "--workers", "2")
    done = cli("wait", "drafts/fails", "quick", check=1)
    assert sorted(line.partition(" after ")[0] for line in done.stdout.splitlines()) == [
        "drafts/fails: failed in task one",
        "drafts/quick: completed",
    ]
    assert "ValueError: as the test asked" in done.stdout
    done = cli("wait", "--timeout", "1s", check=124)
    assert done.stderr == "The time is over; 1 has not ended: drafts/slow\n"
    waiting = start("wait", "slow", "--json")
    eventually(lambda: watches(waiting))
    gate.touch()
    out, _ = waiting.communicate(timeout=120)
    assert waiting.returncode == 0
    end = json.loads(out)
    assert (end["run"], end["end"], end["task"], end["error"]) == ("drafts/slow", "completed", None, None)
    assert cli("wait", "drafts/*", check=1).stdout.count("\n") == 3, "what has ended is said at once"
    assert cli("wait").stderr == "There is nothing to wait for.\n"
    assert "There is no run nothing." in cli("wait", "nothing", check=2).stderr


@pytest.mark.slow
def test_submit_waits_for_its_run_and_ends_as_it_does(cli, start, draft, tmp_path):
    start("work")
    done = cli("submit", str(draft("a")), "--wait")
    assert done.stdout.splitlines()[0] == "drafts/a"
    assert done.stdout.splitlines()[1].startswith("drafts/a: completed after ")
    bad = draft("b", "Fails", f"mended: {tmp_path}/never\nmaxAttempts: 1\n")
    assert "drafts/b: failed" in cli("submit", str(bad), "--wait", check=1).stdout


@pytest.mark.slow
def test_an_interrupted_wait_harms_nothing(cli, start, draft, workspace, eventually):
    cli("submit", str(draft("a")))
    before = files_of(workspace)
    waiting = start("wait")
    eventually(lambda: watches(waiting))
    waiting.send_signal(signal.SIGINT)
    waiting.wait(120)
    assert waiting.returncode == 130
    assert files_of(workspace) == before


def watches(process: subprocess.Popen[str]) -> bool:
    """Whether a process watches folders."""
    assert process.poll() is None
    folder = f"/proc/{process.pid}/fd"
    links = []
    for name in os.listdir(folder):
        with suppress(OSError):
            links.append(os.readlink(f"{folder}/{name}"))
    return any("inotify" in link for link in links)


@pytest.mark.slow
def test_wait_follows_a_search_until_it_opens_no_more_trials(cli, start, draft):
    search = "{method: random, n: 5, parallel: 2, metric: one.x, space: {x: {uniform: [0, 1]}}}"
    done = cli("submit", str(draft("searched", more=f"x: 1\nsweep:\n  search: {search}\n")))
    assert done.stdout == "drafts/searched\n"
    start("work")
    for name in ("drafts/searched", "searched"):
        done = cli("wait", name, "--json")
        ends = [json.loads(line) for line in done.stdout.splitlines()]
        assert [end["end"] for end in ends] == ["completed"] * 5
        assert {end["run"].rpartition("/")[0] for end in ends} == {"drafts/searched"}


def test_on_a_terminal_wait_warns_if_no_worker_is_running(
    cli: Callable[..., subprocess.CompletedProcess[str]],
    drop: Callable[..., Path],
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    drop("a")
    cli("ready")
    words = ["wait", "--timeout", "0.1s", "--workspace", str(workspace)]
    assert main.main(words) == 124
    assert capsys.readouterr().err.startswith("The time is over"), "a script reads this line only"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main.main(words) == 124
    assert capsys.readouterr().err.startswith("No worker is running yet. Start one elsewhere with: ")
