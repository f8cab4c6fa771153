"""The live view in a real terminal: tmux keeps one, and tells what stands on it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from tests.conftest import LIMIT, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Cli = Callable[..., subprocess.CompletedProcess[str]]
    Eventually = Callable[..., object]

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")

LONG = "a_name_that_is_longer_than_anybody_would_want_to_type_twice"
TASKS = """
    import time
    from pathlib import Path

    from job_orchestration import TaskBase


    class Waits(TaskBase):
        def __init__(self, config):
            self.config = config

        def run(self):
            self.context.progress(1, 4)
            print("loss 0.25, and more than fits into a line of most terminals: " + "漢字 " * 40, flush=True)
            while not Path(self.config["gate"]).exists():
                time.sleep(0.02)
"""


class Terminal:
    """A terminal with a command in it."""

    def __init__(self, socket: Path, environment: dict[str, str]) -> None:
        self._socket = socket
        self._environment = {k: v for k, v in environment.items() if k not in {"TMUX", "LINES"}}

    def tmux(self, *words: str) -> str:
        command = ["tmux", "-S", str(self._socket), "-f", "/dev/null", *words]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=True, timeout=LIMIT
        )
        return done.stdout

    def start(self, words: list[str], width: int, height: int = 30) -> None:
        program = shlex.join([sys.executable, "-m", "job_orchestration", *words])
        command = f"trap : INT; {program}; echo exit code $?; cat"
        size = ("-x", str(width), "-y", str(height))
        self.tmux(
            "new-session", "-d", *size, "-c", str(ROOT), f"env LC_ALL=C.UTF-8 sh -c {shlex.quote(command)}"
        )

    @property
    def screen(self) -> list[str]:
        """What stands on it, line by line; a line that was wrapped is one of two."""
        return self.tmux("capture-pane", "-p").rstrip("\n").split("\n")

    @property
    def joined(self) -> list[str]:
        """The same with wrapped lines joined."""
        return self.tmux("capture-pane", "-p", "-J").rstrip("\n").split("\n")

    def resize(self, width: int, height: int = 30) -> None:
        self.tmux("resize-window", "-x", str(width), "-y", str(height))

    def end(self) -> None:
        subprocess.run(["tmux", "-S", str(self._socket), "kill-server"], capture_output=True, check=False)


@pytest.fixture
def terminal(tmp_path: Path, environment: dict[str, str]) -> Iterator[Terminal]:
    made = Terminal(tmp_path / "tmux", {**environment, "TERM": "screen-256color"})
    yield made
    made.end()


def is_whole(terminal: Terminal, runs: int, width: int) -> bool:
    """Whether there is one frame of that many runs, each line begun as it must be and none wrapped."""
    screen, joined = terminal.screen, terminal.joined
    heads = [i for i, line in enumerate(screen) if line.startswith("run ")]
    if len(heads) != 1 or [line.rstrip() for line in joined] != [line.rstrip() for line in screen]:
        return False
    at = heads[0] + 1
    rows, foot = screen[at : at + 2 * runs], screen[at + 2 * runs :]
    return (
        all(re.match(r"long/a\S*_[ab]\s.*25%", row) for row in rows[::2])
        and all(log.startswith("  └ loss") and width - 2 <= cell_len(log) <= width for log in rows[1::2])
        and sum("└" in line for line in screen) == runs  # no rest of another frame
        and foot[-1] == f"{runs} running"
        and all(line.strip() for line in foot)
    )


@pytest.mark.slow
def test_the_live_view_fits_is_redrawn_when_resized_and_leaves_its_last_frame(
    terminal: Terminal,
    drop: Callable[..., Path],
    repository: Callable[..., Path],
    cli: Cli,
    eventually: Eventually,
    tmp_path: Path,
) -> None:
    code = str(repository(TASKS))
    for name in ("a", "b"):
        values = {"pathToTasks": code, "gate": str(tmp_path / "gate"), "outputDir": f"long/{LONG}_{name}"}
        drop(name, values, tasks=["Waits"])
    cli("ready")
    terminal.start(["up", "--workers", "2"], 100)
    for width in (100, 60, 200, 60, 100):
        terminal.resize(width)
        eventually(lambda width=width: is_whole(terminal, 2, width), what=f"a whole frame of {width} columns")
    (tmp_path / "gate").touch()
    eventually(lambda: "2 completed" in terminal.screen)
    terminal.tmux("send-keys", "C-c")
    eventually(lambda: "exit code 130" in terminal.screen)
    assert terminal.screen[-2:] == ["2 completed", "exit code 130"]
    assert "stopping" in terminal.screen[-3]
    assert terminal.tmux("display-message", "-p", "#{cursor_flag}").strip() == "1"


def test_status_can_watch_and_ends_at_ctrl_c_or_sigterm_with_a_frame(
    terminal: Terminal, drop: Callable[..., Path], cli: Cli, eventually: Eventually
) -> None:
    drop("a")
    cli("ready")
    terminal.start(["status", "--watch", "--why"], 80)
    eventually(lambda: "1 to run" in terminal.screen)
    assert "runs/a: there is no worker; start one with: work" in terminal.screen
    cli("work", "--until-idle")
    eventually(lambda: "1 completed" in terminal.screen)
    terminal.tmux("send-keys", "C-c")
    eventually(lambda: "exit code 130" in terminal.screen)
    assert terminal.screen[-2:] == ["1 completed", "exit code 130"]
    assert terminal.tmux("display-message", "-p", "#{cursor_flag}").strip() == "1"
