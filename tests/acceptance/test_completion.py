"""Completion in real shells: each is driven through a terminal, and what a Tab inserts is run.

``jo`` is a function of the shell that writes its arguments to a file; so the file shows whether a name with
spaces, quotes and dollars arrives as the one argument that it is.
"""

import contextlib
import os
import pty
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from job_orchestration.cli import command_table, completion
from tests.conftest import LIMIT

SHELLS = [
    pytest.param(name, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"there is no {name}"))
    for name in ("bash", "zsh", "fish")
]
HOSTILE = "b $(touch gone) `touch gone`;'\"[red]*!x"
"""The stem of a config; it holds no character that a name may not hold."""
STARTS = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        (
            'bind "set enable-bracketed-paste off"; eval "$(job-orchestration completion bash)"; '
            "set +o history; set +H; jo() { printf '%s\\0' \"$@\" > said; }; PS1=; echo rea''dy"
        ),
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        (
            'autoload -U compinit; compinit -D -u; eval "$(job-orchestration completion zsh)"; '
            "unset zle_bracketed_paste; "
            "jo() { printf '%s\\0' \"$@\" > said; }; PS1=; echo rea''dy"
        ),
    ),
    "fish": (
        ["fish", "--no-config", "-i"],
        (
            "job-orchestration completion fish | source; function jo; printf '%s\\0' $argv > said; end; "
            "function fish_prompt; end; set -g fish_autosuggestion_enabled 0; echo rea''dy"
        ),
    ),
}


class Terminal:
    """A shell in a terminal."""

    def __init__(self, shell, folder, environment):
        words, start = STARTS[shell]
        self.folder = folder
        self.seen = b""
        self.pid, self.screen = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execvpe(words[0], words, environment)
        os.set_blocking(self.screen, False)
        self.type(f"{start}\r")
        self.wait_for(lambda: b"ready" in self.seen)

    def type(self, text):
        os.write(self.screen, text.encode())

    def wait_for(self, condition):
        end = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < end, self.seen.decode(errors="replace")[-2000:]
            with contextlib.suppress(BlockingIOError):
                self.seen += os.read(self.screen, 65536)
            time.sleep(0.01)

    def completed(self, line):
        """What `jo` is given if one types a line, Tab and Enter; the shell reads them in this order."""
        said = self.folder / "said"
        said.unlink(missing_ok=True)
        self.type(f"{line}\t\r")
        self.wait_for(lambda: said.exists() and said.read_bytes().endswith(b"\0"))
        return said.read_bytes().decode().split("\0")[:-1]

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.screen)


def environment(home, **more):
    scripts = Path(sys.executable).parent
    return {
        "HOME": str(home),
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "TERM": "xterm",
        "LC_ALL": "C.UTF-8",
        **more,
    }


def token(workspace, folder, name, run):
    (workspace / folder / f"{name}.yaml").write_text(f"# job_orchestration run: {run}\ntasks: []\n")


@pytest.fixture
def workspace(tmp_path):
    root = tmp_path / "workspace"
    for folder in ("ConfigSources", "ConfigsToRun", "Running", "Completed", "Failed", "Output", "Misc"):
        (root / folder).mkdir(parents=True)
    token(root, "Completed", "plain", "2026_11_20/plain")
    token(root, "Completed", HOSTILE, f"runs/{HOSTILE}")
    token(root, "Failed", "broken", "2026_11_21/broken")
    token(root, "ConfigsToRun", "waiting~held", "2026_11_22/waiting")
    (root / "ConfigSources" / "new one.yaml").write_text("")
    (root / "ConfigSources" / "new\none\x1b[31m.yaml").write_text("")
    return root


@pytest.fixture
def terminal(request, tmp_path, workspace):
    folder = tmp_path / "here"
    folder.mkdir()
    made = Terminal(request.param, folder, environment(tmp_path, JOB_ORCHESTRATION_WORKSPACE=str(workspace)))
    yield made
    made.close()


@pytest.mark.parametrize("terminal", SHELLS, indirect=True)
def test_a_tab_completes_commands_flags_statuses_and_names_of_runs(terminal):
    assert terminal.completed("jo sho") == ["show"]
    assert terminal.completed("jo status --wat") == ["status", "--watch"]
    assert terminal.completed("jo status --status fai") == ["status", "--status", "failed"]
    assert terminal.completed("jo status --status=failed,interr") == ["status", "--status=failed,interrupted"]
    assert terminal.completed("jo show 2026_11_20") == ["show", "2026_11_20/plain"]
    assert terminal.completed("jo show bro") == ["show", "broken.yaml"]
    assert terminal.completed("jo retry 2026") == ["retry", "2026_11_21/broken"]
    assert terminal.completed("jo release 2026") == ["release", "2026_11_22/waiting"]


@pytest.mark.parametrize("terminal", SHELLS, indirect=True)
def test_a_hostile_name_is_inserted_as_one_word_and_never_run(terminal):
    assert terminal.completed("jo show runs/") == ["show", f"runs/{HOSTILE}"]
    assert terminal.completed("jo check new\\ o") == ["check", "new one.yaml"]
    terminal.type("jo check new\t\t")  # lists the matches
    terminal.wait_for(lambda: b"new one.yaml" in terminal.seen or b"one.yaml" in terminal.seen)
    assert b"\x1b[31m.yaml" not in terminal.seen
    assert not list(terminal.folder.parent.rglob("gone"))


@pytest.mark.parametrize("terminal", SHELLS, indirect=True)
def test_a_file_elsewhere_is_completed_by_the_shell(terminal):
    (terminal.folder / "drafts").mkdir()
    (terminal.folder / "drafts" / "mine.yaml").write_text("")
    assert terminal.completed("jo ready drafts/mi") == ["ready", "drafts/mine.yaml"]


def test_completion_writes_nothing_and_says_nothing_where_there_is_no_workspace(tmp_path):
    done = subprocess.run(
        ["job-orchestration", "__complete", "bash", "jo show ", ""],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        check=True,
        timeout=LIMIT,
    )
    assert (done.stdout, done.stderr) == (b"words\0", b"")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_ten_thousand_runs_are_completed_in_a_moment(workspace, tmp_path):
    for number in range(10_000):
        token(workspace, "Completed", f"c{number}", f"2026_11_20/run{number}")
    found = environment(tmp_path, JOB_ORCHESTRATION_WORKSPACE=str(workspace))
    command = ["job-orchestration", "__complete", "zsh", "jo", "show", "2026_11_20/run99"]
    times = []
    for _ in range(4):
        started = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, env=found, capture_output=True, check=True, timeout=LIMIT)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(ended.ru_utime + ended.ru_stime - started.ru_utime - started.ru_stime)
    assert done.stdout.count(b"\0completed\0") == 111
    print(f"completion among 10,000 runs: {min(times):.3f} s of CPU time")
    assert min(times) < 0.3  # of CPU time, which others on the machine hardly change


def test_every_argument_of_every_command_has_an_answer(workspace, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("JOB_ORCHESTRATION_WORKSPACE", str(workspace))
    for command in command_table.COMMANDS:
        for words in (
            [""],
            ["-"],
            *([flag, ""] for a in command.arguments for flag in a.flags if flag[0] == "-"),
        ):
            assert completion.answer(["zsh", "jo", command.name, *words]) == 0
    sys.stdout.flush()
    assert b"job_orchestration" not in capfd.readouterr().err.encode()
