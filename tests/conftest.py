"""What tests share: a workspace, repositories with tasks, and the command line as its own process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from job_orchestration.config.yaml_writer import to_yaml
from job_orchestration.workspace import durable, layout
from job_orchestration.workspace.layout import VARIABLE
from tests.integration.harness import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _pytest.terminal import TerminalReporter

ROOT = Path(__file__).parent.parent
LIMIT = 120.0
"""Seconds after which a process of a test is killed: long enough for a machine that is busy elsewhere."""

hypothesis.settings.register_profile("same", derandomize=True, database=None, deadline=None)
hypothesis.settings.register_profile("random", derandomize=False, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
"""A red test means a fault: the same examples each time. `make soak` and `make test-latest` try new ones."""

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
"""Else each program that a test starts compiles the package anew: half of the time of a short one."""

for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(number) is signal.SIG_IGN:
        # `nohup` and `&` in a script ignore it, and programs of ours keep what they find: tests that send it
        # would wait for ever. A test of that says so itself.
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

TASKS = """
    import time
    from pathlib import Path

    from job_orchestration import TaskBase


    class Base(TaskBase):
        def __init__(self, config):
            self.config = config


    class Quick(Base):
        def run(self):
            print("quick as a flash")
            return {"x": self.config.get("x")}


    class Fails(Base):
        def run(self):
            if not Path(self.config["mended"]).exists():
                raise ValueError("as the test asked")
            return "mended"


    class Waits(Base):
        def run(self):
            self.context.progress(1, 4)
            print("waiting", flush=True)
            while not Path(self.config["gate"]).exists():
                time.sleep(0.02)
            return "through the gate"


    class Picky(Base):
        def validate(self):
            return [] if self.config.get("x", 0) > 0 else ["x must be positive"]

        def run(self):
            return None
"""
"""The ``Tasks.py`` of a repository when a test asks for none of its own."""


def run_git(folder: Path, *arguments: str) -> str:
    """The output of a git command in a repository of a test."""
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    return done.stdout.strip()


def wait_until(condition: Callable[[], object], seconds: float = LIMIT, what: str = "") -> object:
    """The first true value of a condition; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what or condition}")
        time.sleep(0.02)
    return found


THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
NOT_SET = [name for name in THREADS if name not in os.environ]


@pytest.fixture(autouse=True)
def _threads_as_the_shell_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what an import of the GenePlexus tasks in an earlier test sets for its whole process."""
    for name in NOT_SET:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def git() -> Callable[..., str]:
    """Runs git in a folder: ``git(folder, "commit", "--message=x")``."""
    return run_git


@pytest.fixture
def eventually() -> Callable[..., object]:
    """Waits for a condition: ``eventually(lambda: path.exists())``."""
    return wait_until


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace with all its folders."""
    return Path(layout.prepare(str(tmp_path / "workspace")).root)


@pytest.fixture
def repository(tmp_path: Path) -> Callable[..., Path]:
    """Makes a git repository with one commit; call it with the source of ``Tasks.py``, or without."""

    def make(tasks: str = TASKS, name: str = "repository") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "Tasks.py").write_text(textwrap.dedent(tasks))
        run_git(folder, "init", "--quiet", "--initial-branch=main")
        run_git(folder, "add", ".")
        run_git(folder, "commit", "--quiet", "--message=tasks")
        return folder

    return make


@pytest.fixture
def environment(workspace: Path) -> dict[str, str]:
    """The environment of the processes of a test: the workspace is named in it."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    kept = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}}
    return {**kept, VARIABLE: str(workspace), "PYTHONPATH": path}


@pytest.fixture
def cli(environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line in a process of its own and waits for it.

    ``check``: the exit code that is expected, or `None` for any.
    """

    def run(
        *arguments: str, check: int | None = 0, env: dict[str, str] | None = None, limit: float = LIMIT
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "job_orchestration", *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=limit,
            stdin=subprocess.DEVNULL,
            cwd=tmp_path,
            env=environment | (env or {}),
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert check is None or done.returncode == check, (done.returncode, done.stdout, done.stderr)
        return done

    return run


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command line in a process group of its own and goes on; it is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "job_orchestration", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            process_group=0,
            cwd=tmp_path,
            env=environment | (env or {}),
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=LIMIT)


@pytest.fixture
def drop(workspace: Path, repository: Callable[..., Path]) -> Callable[..., Path]:
    """Drops a config: ``drop("a", "yaml: text")`` as it stands, ``drop("a", {...})``, or only ``drop("a")``.

    A mapping gets what it lacks: ``pathToTasks`` of a repository that is made when it is first needed,
    ``outputDir`` after its name, and a task ``Quick``. A list of names stands for tasks of these methods.
    The file is renamed in, so that it counts as whole at once when somebody watches.
    """
    made: list[Path] = []

    def put(
        name: str, content: str | dict[str, object] | None = None, tasks: list[str] | None = None
    ) -> Path:
        filename = name if name.endswith((".yaml", ".yml")) else f"{name}.yaml"
        if not isinstance(content, str):
            if not made and "pathToTasks" not in (content or {}):
                made.append(repository())
            methods = ["Quick"] if tasks is None else tasks
            content = {
                "pathToTasks": str(made[0]) if made else "",
                "outputDir": f"runs/{filename.rpartition('.')[0]}",
                "tasks": [{"id": method.lower(), "method": method} for method in methods],
                **(content or {}),
            }
            content = to_yaml(content).decode()  # type: ignore[arg-type]  # tests drop what JSON can say
        target = workspace / "ConfigSources" / filename
        temporary = target.with_name(f".{filename}.tmp")
        temporary.write_text(content)
        temporary.rename(target)
        return target

    return put


@pytest.fixture
def show_figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Shows a line among the figures at the end of the whole run, whichever process runs the test."""
    return lambda line: record_property("figure", line)


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print the figures that tests have shown."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.getreports(kind)]
    lines = [
        line for r in reports if r.when == "call" for name, line in r.user_properties if name == "figure"
    ]
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.line(str(line))


@pytest.fixture
def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sandbox]:
    """A workspace, a repository of the tasks that the module calls ``TASKS``, and workers."""
    made = Sandbox(tmp_path, request.module.TASKS)
    yield made
    made.close()


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of the disk is counted and failed, and not waited for."""
    monkeypatch.setattr(durable, "_fdatasync", lambda descriptor: None)
    monkeypatch.setattr(durable, "_syncfs", lambda descriptor: None)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
