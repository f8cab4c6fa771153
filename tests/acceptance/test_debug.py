"""`debug`: one task in the foreground, with the code as it is; nothing is queued."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TASKS = """
    from pathlib import Path

    from job_orchestration import TaskBase


    class Load(TaskBase):
        def run(self):
            print("loading")
            self.context.store.save_json("rows.json", [1, 2])
            return {"rows": 2}


    class Train(TaskBase):
        def validate(self):
            return [] if self.config.get("lr") else ["lr must be positive"]

        def run(self):
            rows = self.context.result_of("load")["rows"] + len(self.context.load_json("load", "rows.json"))
            breakpoint()
            name = input("name? ")
            Path("relative.txt").write_text(Path("data.txt").read_text() + name)
            self.context.log.info("%s %s", name, self.config["lr"])
            return rows


    class Breaks(TaskBase):
        def run(self):
            rows = 7
            raise ValueError("it broke")
"""


@pytest.fixture
def repository_of_tasks(repository: Callable[..., Path]) -> Path:
    folder = repository(TASKS)
    (folder / "data.txt").write_text("data, not committed, and ")
    return folder


BESIDE = """
from pathlib import Path

from job_orchestration import TaskBase


class Reads(TaskBase):
    def run(self):
        Path("../data/out.txt").write_text("out")
        return Path("../data/genes.txt").read_text()
"""


@pytest.fixture
def config(repository_of_tasks: Path, tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(f"""\
pathToTasks: {repository_of_tasks}
outputDir: mine
lr: 0.5
tasks:
  - {{id: load, method: Load}}
  - {{id: train, method: Train}}
  - {{id: breaks, method: Breaks}}
""")
    return path


@pytest.fixture
def debug(environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `debug` with lines for its input; the temporary folders of it are in ``tmp``."""
    (tmp_path / "tmp").mkdir()

    def run(*words: str, lines: str = "", check: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "job_orchestration", "debug", *words],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            input=lines,
            cwd=tmp_path,
            env={**environment, "TMPDIR": str(tmp_path / "tmp")},
        )
        assert done.returncode == check, (done.stdout, done.stderr)
        return done

    return run


def picture(folder: Path) -> dict[str, int]:
    return {
        str(path): path.lstat().st_mtime_ns for path in sorted(folder.rglob("*")) if ".git" not in path.parts
    }


@pytest.mark.slow
def test_a_task_has_the_terminals_lines_and_leaves_nothing_but_its_files(
    debug, config, workspace, repository_of_tasks, tmp_path, cli
):
    before = picture(workspace), picture(repository_of_tasks)
    done = debug("mine.yaml", "--task", "train", lines="p rows\nc\nAnn\n")
    assert "(Pdb) 4" in done.stdout
    assert "name? " in done.stdout
    assert "Runs load first" in done.stderr
    assert "[INFO ]  Ann 0.5" in done.stderr
    assert "Task train returned 4" in done.stderr
    assert (picture(workspace), picture(repository_of_tasks)) == before
    (folder,) = (tmp_path / "tmp").glob("job_orchestration_debug_*")
    assert f"Its files are in {folder}" in done.stderr
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) == [
        *("load/rows.json", "working_directory/relative.txt"),
    ]
    assert (folder / "working_directory" / "relative.txt").read_text() == "data, not committed, and Ann"


@pytest.mark.slow
def test_a_failed_run_is_debugged_at_its_task_with_the_results_of_the_others(
    debug, config, cli, repository_of_tasks, workspace, tmp_path
):
    (repository_of_tasks / ".gitignore").write_text("data.txt\n.gitignore\n")
    (workspace / "ConfigSources" / "mine.yaml").write_text(
        config.read_text().replace("retry", "") + "maxAttempts: 1\n"
    )
    cli("ready")
    cli("work", "--until-idle", check=1)
    log = (workspace / "Output" / "mine" / "log.log").read_text()
    assert "A run has no terminal: job-orchestration debug mine --task train" in log
    before = picture(workspace)
    done = debug("mine", lines="c\nBo\n")
    assert "Results of load are taken from mine." in done.stderr
    assert "loading" not in done.stdout
    assert "Task train returned 4" in done.stderr
    config.rename(tmp_path / "other.yaml")
    done = debug("other.yaml", "--task", "train", "--from-run", "mine", lines="q\n", check=130)
    assert "loading" not in done.stdout
    assert "The debugger was left" in done.stderr
    assert picture(workspace) == before

    tasks = repository_of_tasks / "Tasks.py"
    tasks.write_text(tasks.read_text().replace("breakpoint()", "print('mended, not committed')"))
    assert "mended, not committed" in debug("mine", lines="Cy\n").stdout


@pytest.mark.slow
def test_a_failure_is_shown_from_the_tasks_own_code_on(debug, config):
    done = debug("mine.yaml", "--task", "breaks", "--from-run", "nothing", check=2)
    assert "There is no run nothing" in done.stderr
    config.write_text(config.read_text().replace("{id: train, method: Train}", "{id: train, method: Load}"))
    done = debug("mine.yaml", "--task", "breaks", check=1)
    frames = re.findall(r'File "(.*?)"', done.stderr)
    assert len(frames) == 1, done.stderr
    assert frames[0].endswith("/repository/Tasks.py")
    assert "ValueError: it broke" in done.stderr


@pytest.mark.slow
def test_what_cannot_be_debugged_is_refused_with_what_to_do(debug, config, repository_of_tasks, tmp_path):
    assert "There is no file nope" in debug("nope", check=2).stderr
    assert (
        "mine has no task tran. Did you mean train?" in debug("mine.yaml", "--task", "tran", check=2).stderr
    )
    text = config.read_text()
    config.write_text(text.replace("lr: 0.5", "lr: 0"))
    assert "train: lr must be positive" in debug("mine.yaml", "--task", "train", check=3).stderr
    config.write_text(text.replace("outputDir", "outputDri"))
    assert "mine.yaml:1:1: outputDir" in debug("mine.yaml", check=3).stderr
    config.write_text(text)
    (repository_of_tasks / "Tasks.py").rename(repository_of_tasks / "tasks.py")
    done = debug("mine.yaml", check=3)
    assert "has no file Tasks.py. Did you mean tasks.py?" in done.stderr
    (repository_of_tasks / "Tasks.py").write_text("def broken(:\n")
    assert "SyntaxError" in debug("mine.yaml", check=1).stderr
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.slow
def test_of_a_sweep_the_first_trial_is_run(debug, config):
    config.write_text(config.read_text().replace("lr: 0.5", "sweep: {grid: {lr: [3, 4]}}"))
    done = debug("mine.yaml", "--task", "train", lines="c\nAnn\n")
    assert "The first trial of the sweep: lr = 3" in done.stderr
    assert "Ann 3" in done.stderr


@pytest.mark.slow
def test_in_a_terminal_the_debugger_opens_where_an_exception_was_raised(environment, config, tmp_path):
    config.write_text(config.read_text().replace("  - {id: train, method: Train}\n", ""))
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        words = [sys.executable, "-m", "job_orchestration", "debug", "mine.yaml", "--task", "breaks"]
        os.execve(sys.executable, words, {**environment, "TMPDIR": str(tmp_path), "TERM": "xterm"})
    shown = until(terminal, "(Pdb)")
    assert "it broke" in shown
    os.write(terminal, b"p rows * 6\n")
    assert "42" in until(terminal, "(Pdb)")
    os.write(terminal, b"q\n")
    until(terminal, None)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


def until(terminal: int, word: str | None) -> str:
    """What a terminal shows until a word comes, or until its program ends."""
    shown = ""
    deadline = time.monotonic() + 60
    while word is None or word not in shown:
        assert time.monotonic() < deadline, shown
        if select.select([terminal], [], [], 1)[0]:
            try:
                data = os.read(terminal, 4096)
            except OSError:  # Linux says so when the other end is closed
                data = b""
            if not data:
                assert word is None, shown
                break
            shown += data.decode()
    return shown


@pytest.mark.slow
def test_a_task_stands_where_one_of_a_run_would_and_writes_nothing_into_the_work_tree(
    debug, repository, tmp_path, git
):
    top = repository("")
    (top / "exp").mkdir()
    (top / "data").mkdir()
    (top / "data" / "genes.txt").write_text("PINK1")
    (top / "exp" / "Tasks.py").write_text(BESIDE)
    before = picture(top)
    (tmp_path / "beside.yaml").write_text(
        f"pathToTasks: {top / 'exp'}\noutputDir: a\ntasks: [{{id: reads, method: Reads}}]\n"
    )
    assert 'Task reads returned "PINK1"' in debug("beside.yaml").stderr
    assert picture(top) == before
    (written,) = (tmp_path / "tmp").glob("job_orchestration_debug_*/working_directory/data/out.txt")
    assert written.read_text() == "out"
