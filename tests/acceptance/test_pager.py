"""Long output on a terminal goes through a pager, and nowhere else does it."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Cli = Callable[..., subprocess.CompletedProcess[str]]
    Drop = Callable[..., Path]

MARK = "paged: "
WORK = """
    from job_orchestration import TaskBase


    class Talk(TaskBase):
        def run(self):
            for number in range(self.config["lines"]):
                print("line", number)
            return {"lines": self.config["lines"]}
"""


class Screen:
    """A terminal on which commands run."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = {**environment, "TERM": "xterm", "PAGER": f"sed 's/^/{MARK}/'"}
        self._own, self._theirs = pty.openpty()

    def close(self) -> None:
        os.close(self._own)
        os.close(self._theirs)

    def start(self, *words: str, **variables: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "job_orchestration", *words],
            env={**self._environment, **variables},
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
        )

    def shows(self, *words: str, **variables: str) -> str:
        """Return what a command has left on the terminal when it has ended."""
        process = self.start(*words, **variables)
        shown = self.until(lambda _: process.poll() is not None)
        assert process.returncode == 0, shown
        return shown

    def until(self, is_enough: Callable[[str], object]) -> str:
        """Return what is shown until a condition on it holds; unread, a terminal stops its writers."""
        found = ""
        deadline = time.monotonic() + LIMIT
        while not is_enough(found) or self._has_more(0):
            assert time.monotonic() < deadline, found[-1000:]
            if self._has_more(0.02):
                found += os.read(self._own, 65536).decode()
        return found

    def _has_more(self, seconds: float) -> bool:
        return bool(select.select([self._own], [], [], seconds)[0])

    def press(self, keys: bytes) -> None:
        os.write(self._own, keys)


@pytest.fixture
def screen(environment: dict[str, str]) -> Iterator[Screen]:
    made = Screen(environment)
    yield made
    made.close()


@pytest.fixture
def talk(cli: Cli, drop: Drop, repository: Callable[..., Path]) -> Callable[[int], None]:
    """Runs a task that prints so many lines."""

    def run(lines: int) -> None:
        drop("a", {"pathToTasks": str(repository(WORK)), "lines": lines}, tasks=["Talk"])
        cli("ready")
        cli("work", "--until-idle")

    return run


def test_the_pager_of_the_environment_gets_what_a_terminal_would_get_and_a_pipe_has_none(
    cli: Cli, talk: Callable[[int], None], screen: Screen
) -> None:
    talk(3)
    shown = screen.shows("logs", "a")
    assert f"{MARK}line 0" in shown
    assert f"{MARK}line 2" in shown
    for words in (["show", "a"], ["results"], ["diff", "a", "a"]):
        found = screen.shows(*words)
        assert all(line.startswith(MARK) for line in found.splitlines()), found
        assert found.startswith(MARK)
    assert MARK not in screen.shows("--no-pager", "logs", "a")
    assert MARK not in screen.shows("show", "a", "--no-pager")
    assert "own: line 0" in screen.shows("logs", "a", JOB_ORCHESTRATION_PAGER="sed 's/^/own: /'")
    assert MARK not in screen.shows("logs", "a", TERM="dumb")
    missing = screen.shows("logs", "a", PAGER="no_such_pager")
    assert "There is no program no_such_pager, which PAGER names." in missing
    assert "line 2" in missing
    assert MARK not in cli("logs", "a", env={"PAGER": f"sed 's/^/{MARK}/'"}).stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("less") is None, reason="less is not installed")
def test_less_waits_in_a_long_log_until_it_is_left_and_ends_by_itself_after_a_short_one(
    talk: Callable[[int], None], screen: Screen
) -> None:
    talk(20_000)
    process = screen.start("logs", "a", PAGER="less")
    assert "line 19999" not in screen.until(lambda shown: "line 5" in shown)
    assert process.poll() is None
    screen.press(b"q")
    assert "line 19999" not in screen.until(lambda _: process.poll() is not None)
    assert process.returncode == 0, "leaving a pager before the end is no error"
    assert "line 19999" in screen.shows("logs", "a", "-n", "2", PAGER="less")
