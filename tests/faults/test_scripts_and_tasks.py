"""What a program does as a script, it does as a task: whatever ran before it in the worker, through kills.

Each program below is executed (a) as a script of its own, (b) as a task among others in one worker, in random
order, and (c) the same while the worker, the fork server or the task's process is killed. What it returned,
its files and how it ended are the same.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.faults.figures import figure
from tests.faults.workspace_files import events
from tests.integration.harness import LIMIT, Sandbox, eventually, mutant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow
pytest.importorskip("joblib")

TASKS = r"""
    import atexit
    import concurrent.futures
    import csv
    import decimal
    import json
    import locale
    import logging
    import multiprocessing
    import os
    import random
    import socket
    import sys
    import tempfile
    import threading
    import time
    import warnings
    from argparse import ArgumentParser
    from pathlib import Path

    import joblib
    import numpy

    from job_orchestration import TaskBase

    PARSER = ArgumentParser()
    PARSER.add_argument("--epochs", type=int, default=3)
    EPOCHS = PARSER.parse_args([] if __name__ == "__main__" else None).epochs
    GENERATOR = numpy.random.default_rng(7)
    KEPT = []
    HOOKED = []


    @atexit.register
    def at_import():
        for path in HOOKED:
            Path(path).write_text("import's hook\n")


    def slowly(path):
        time.sleep(0.05)
        Path(path).write_text("all of it\n")


    def square(number):
        return number * number


    class Program(TaskBase):
        def path(self, name):
            folder = Path(self.config["files"], type(self).__name__)
            folder.mkdir(parents=True, exist_ok=True)
            return folder / name

        def run(self):
            mark = Path(self.config["marks"], f"{type(self).__name__}-{os.getpid()}")
            mark.write_text("")
            return self.main()


    class OpenTable(Program):
        def main(self):
            KEPT.append(file := open(self.path("table.csv"), "w", newline=""))
            csv.writer(file).writerows([i, i * i] for i in range(100))


    class Threads(Program):
        def main(self):
            threading.Thread(target=slowly, args=[self.path("thread.txt")]).start()
            KEPT.append(pool := concurrent.futures.ThreadPoolExecutor(1))
            pool.submit(slowly, self.path("executor.txt"))


    class Processes(Program):
        def main(self):
            context = multiprocessing.get_context("fork")
            context.Process(target=slowly, args=[self.path("process.txt")]).start()
            with context.Pool(2) as pool:
                return pool.map(square, range(5))


    class KeptPool(Program):
        def main(self):
            context = multiprocessing.get_context("fork")
            KEPT.append(pool := concurrent.futures.ProcessPoolExecutor(1, mp_context=context))
            return list(pool.map(square, range(5)))


    class Joblib(Program):
        def main(self):
            return joblib.Parallel(n_jobs=2)(joblib.delayed(square)(i) for i in range(5))


    class Hooks(Program):
        def main(self):
            HOOKED.append(self.path("import.txt"))
            atexit.register(self.path("task.txt").write_text, "task's hook\n")


    class Forks(Program):
        def main(self):
            ends = []
            for how in ("exit", "raise", "return"):
                pid = os.fork()
                if not pid:
                    sys.stderr = open(os.devnull, "w")
                    if how == "exit":
                        sys.exit(5)
                    if how == "raise":
                        raise ValueError("of the fork")
                    return "the fork's"
                ends.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            return ends


    class Logging(Program):
        def main(self):
            logging.basicConfig(filename=self.path("own.log"), level=logging.INFO, format="%(message)s")
            logging.info("a line of the task")


    class Sets(Program):
        # All of it would reach the next task if it shared the process as it is.
        def main(self):
            os.chdir(tempfile.gettempdir())
            os.environ["LEAK"] = "1"
            os.umask(0o77)
            sys.path.insert(0, "/leak")
            sys.argv.append("--leak")
            sys.setrecursionlimit(5000)
            decimal.getcontext().prec = 5
            socket.setdefaulttimeout(3)
            tempfile.tempdir = "/leak"
            locale.setlocale(locale.LC_ALL, "C")
            warnings.simplefilter("error")
            multiprocessing.set_start_method("spawn")
            logging.disable(logging.CRITICAL)
            numpy.seterr(all="raise")
            random.seed(0)
            self.config["model"].pop("kind")
            return self.config["model"]


    class Sees(Program):
        def main(self):
            umask = os.umask(0)
            os.umask(umask)
            multiprocessing.set_start_method("fork")
            return {
                "Tasks.py": Path("Tasks.py").exists(),
                "leak": os.environ.get("LEAK"),
                "umask": umask,
                "path": "/leak" in sys.path,
                "argv": [os.path.basename(sys.argv[0]), *sys.argv[1:]],
                "recursion": sys.getrecursionlimit(),
                "precision": str(decimal.Decimal(1) / 7),
                "timeout": socket.getdefaulttimeout(),
                "folder": tempfile.gettempdir(),
                "locale": locale.setlocale(locale.LC_ALL),
                "errors": any(kind == "error" for kind, *_ in warnings.filters),
                "disabled": logging.root.manager.disable,
                "numpy": numpy.geterr()["divide"],
                "epochs": EPOCHS,
                "model": self.config["model"],
            }


    class Seeded(Program):
        def main(self):
            random.seed(11)
            return [random.random(), numpy.random.RandomState(3).rand(), int(GENERATOR.integers(10**6))]


    class ExitsWell(Program):
        def main(self):
            self.path("written.txt").write_text("before the exit\n")
            sys.exit(0)


    class ExitsBadly(Program):
        def main(self):
            KEPT.append(file := open(self.path("half.txt"), "w"))
            file.write("as far as it came\n")
            sys.exit(3)


    class Raises(Program):
        def main(self):
            atexit.register(self.path("hook.txt").write_text, "at the end\n")
            raise ValueError("as it should")


    class Later(Program):
        async def run(self):
            Program.path(self, "async.txt").write_text("awaited\n")
            return [EPOCHS]


    if __name__ == "__main__":
        import asyncio
        import inspect

        name, config, result = sys.argv.pop(1), json.loads(sys.argv.pop(1)), sys.argv.pop(1)
        found = globals()[name](config).run()
        if inspect.isawaitable(found):
            found = asyncio.run(found)
        Path(result).write_text(json.dumps(found))
"""
FINISHES = (
    *("OpenTable", "Threads", "Processes", "KeptPool", "Joblib", "Hooks", "Forks", "Logging", "Sets", "Sees"),
    *("Seeded", "ExitsWell", "Later"),
)
FAILS = ("ExitsBadly", "Raises")
WITH_HOOKS = {"Hooks", "Raises"}
"""They leave files by exit functions, which a process that is killed does not call: be it that of a script or
that of a task that has finished before."""
MODEL = {"kind": "linear", "depth": [1, 2]}

Mix = list[list[str]]


def mix_of(seed: int) -> Mix:
    """Runs with their programs; one that fails is the last of its run."""
    chance = random.Random(seed)
    return [
        chance.sample(FINISHES, chance.randint(1, 4)) + chance.choice([[], [], *([name] for name in FAILS)])
        for _ in range(7)
    ]


def files_below(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


class Scripts:
    """What each program does as a script, found out once."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._known: dict[str, tuple[object, dict[str, str], bool]] = {}

    def __getitem__(self, name: str) -> tuple[object, dict[str, str], bool]:
        """What it returned, its files by name, and whether its exit code was 0."""
        if name not in self._known:
            folder = self._sandbox.folder / "scripts" / name
            folder.mkdir(parents=True)
            config = {"files": str(folder / "files"), "marks": str(folder), "model": MODEL}
            result = folder / "result.json"
            words = [sys.executable, "Tasks.py", name, json.dumps(config), str(result)]
            done = subprocess.run(
                words, check=False, cwd=self._sandbox.repository, capture_output=True, timeout=LIMIT
            )
            found = json.loads(result.read_text()) if result.exists() else None
            self._known[name] = found, files_below(folder / "files" / name), done.returncode == 0
        return self._known[name]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory) -> Iterator[Scripts]:
    sandbox = Sandbox(tmp_path_factory.mktemp("scripts"), TASKS)
    yield Scripts(sandbox)
    sandbox.close()


class Play:
    """The runs of a mix in one workspace, and what came out of them.

    Args:
        kills: how often a process will be killed. If it is that of a task, the try has failed, as that of a
            program that crashes has; so there are more tries than kills.
    """

    def __init__(self, folder: Path, mix: Mix, kills: int = 0) -> None:
        self.sandbox = Sandbox(folder, TASKS)
        self._mix, self._kills = mix, kills
        self.marks = folder / "marks"
        self.marks.mkdir()
        for number, programs in enumerate(mix):
            self.sandbox.drop(
                f"run{number}",
                *programs,
                files=str(self._files(number)),
                marks=str(self.marks),
                model=MODEL,
                maxAttempts=kills + 1,
                retryDelay="0s",
            )
        report = self.sandbox.ready()
        assert not report.refused, report.refused

    def _files(self, number: int) -> Path:
        return self.sandbox.folder / "files" / f"run{number}"

    def kill(self, chance: random.Random, times: int) -> None:
        """Kill one process of ours each time after another program has begun; there is always a worker."""
        worker, seen = self.sandbox.start("--until-idle"), 0
        for _ in range(times):
            eventually(lambda: worker.poll() is not None or len(os.listdir(self.marks)) > seen)  # noqa: B023
            seen = len(os.listdir(self.marks))
            family = [worker.pid]
            with suppress(psutil.NoSuchProcess):
                fork_servers = psutil.Process(worker.pid).children()
                family += [process.pid for one in fork_servers for process in (one, *one.children())]
            with suppress(ProcessLookupError):
                os.kill(chance.choice(family), signal.SIGKILL)
            if worker.poll() is not None or not psutil.pid_exists(worker.pid):
                worker = self.sandbox.start("--until-idle")
        worker.communicate(timeout=LIMIT)

    def judge(self, scripts: Scripts) -> None:
        """Everything as the scripts have it."""
        for number, programs in enumerate(self._mix):
            run = f"run{number}"
            results = {e["task"]: e.get("result") for e in events(self.sandbox.root, run, "task_finished")}
            for program in programs:
                result, files, well = scripts[program]
                assert (program.lower() in results) is well, (run, program, self.sandbox.log(run))
                if well:
                    assert results[program.lower()] == result, (run, program)
                found = files_below(self._files(number) / program)
                if self._kills and program in WITH_HOOKS:
                    files = {name: text for name, text in files.items() if name in found}
                assert found == files, (run, program)
            place = "Completed" if all(scripts[program][2] for program in programs) else "Failed"
            assert any(name.startswith(run) for name in self.sandbox.names(place)), (run, place)


def examples(count: int) -> settings:
    return settings(
        max_examples=count,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


SEEDS = st.integers(0, 2**32 - 1)


def play_mix(folder: Path, seed: int, scripts: Scripts, kills: int) -> None:
    play = Play(folder, mix_of(seed), kills)
    try:
        if kills:
            play.kill(random.Random(seed), kills)
        play.sandbox.work()
        play.judge(scripts)
    finally:
        play.sandbox.close()


@examples(1)
@given(seed=SEEDS)
def test_a_mix_of_tasks_in_one_worker_does_what_the_scripts_do(seed, scripts, tmp_path_factory):
    play_mix(tmp_path_factory.mktemp("mix"), seed, scripts, kills=0)


@examples(1)
@given(seed=SEEDS)
def test_a_mix_of_tasks_does_so_through_kills(seed, scripts, tmp_path_factory):
    play_mix(tmp_path_factory.mktemp("kills"), seed, scripts, kills=8)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kills", [0, 12])
def test_many_mixes(kills, scripts, tmp_path_factory):
    played = 0

    @examples(25)
    @given(seed=SEEDS)
    def play(seed: int) -> None:
        nonlocal played
        play_mix(tmp_path_factory.mktemp("mix"), seed, scripts, kills)
        played += 1

    play()
    figure("F19", f"mixes of 7 runs with {kills} kills each that did what the scripts do", played)


def test_what_one_task_set_would_be_seen(scripts, tmp_path):
    """The test can fail: without putting back, `Sees` after `Sets` is no script."""
    copy = mutant(
        tmp_path,
        "executor/process_state.py",
        "            with suppress(Exception):  # of",
        "            if False:  # of",
    )
    (tmp_path / "play").mkdir()
    play = Play(tmp_path / "play", [["Sets", "Sees"]])
    try:
        play.sandbox.work(package=copy)
        with pytest.raises(AssertionError):
            play.judge(scripts)
    finally:
        play.sandbox.close()
