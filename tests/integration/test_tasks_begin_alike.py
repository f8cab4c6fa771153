"""Each task of a run begins alike, whether it follows another task or a kill of any of its processes."""

from __future__ import annotations

import random
import re

import pytest

from tests.integration.harness import LIMIT, Sandbox, mutant

pytestmark = pytest.mark.slow

TASKS = r"""
    import asyncio
    import copy
    import csv
    import decimal
    import faulthandler
    import gc
    import locale
    import logging
    import multiprocessing
    import os
    import random
    import re
    import resource
    import signal
    import socket
    import ssl
    import sys
    import tempfile
    import threading
    import time
    import tracemalloc
    import urllib.request
    import warnings
    from argparse import ArgumentParser
    from pathlib import Path

    from job_orchestration import TaskBase

    import matplotlib.pyplot  # of every run
    import numpy  # of every run

    AT_IMPORT = vars(ArgumentParser().parse_args()), sys.argv.copy()


    def seen(task):
        import matplotlib
        import matplotlib.pyplot
        import numpy

        umask = os.umask(0o22)
        os.umask(umask)
        return {
            "folder": os.getcwd().replace(task.config["outputDir"], "RUN"),
            "environment": {n: v for n, v in os.environ.items() if n != "JOB_ORCHESTRATION_RUN"},
            "path": [path.replace(task.config["outputDir"], "RUN") for path in sys.path],
            "argv": [sys.argv, AT_IMPORT, vars(ArgumentParser().parse_args())],
            "signals": [re_named(signal.getsignal(n)) for n in signal.valid_signals()],
            "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
            "timer": signal.getitimer(signal.ITIMER_REAL)[0],
            "umask": umask,
            "warnings": [str(one[:3]) for one in warnings.filters],
            "logging": [
                [name, logger.level, [type(h).__name__ for h in logger.handlers], logger.disabled]
                for name, logger in [
                    ("", logging.getLogger()),
                    ("some", logging.getLogger("some.library")),
                    ("known", logging.getLogger("job_orchestration")),
                ]
            ],
            "format": logging.getLogger().handlers[0].formatter._fmt,
            "disabled": logging.root.manager.disable,
            "streams": [[s.fileno(), s.closed, s.encoding] for s in (sys.stdout, sys.stderr)],
            "descriptors": [re.sub("[0-9]+", "", os.readlink(f"/proc/self/fd/{n}")) for n in open_ones()],
            "input": [sys.stdin.closed, sys.stdin.closed or sys.stdin.read()],
            "hooks": [sys.excepthook is sys.__excepthook__, threading.excepthook is threading.__excepthook__],
            "recursion": sys.getrecursionlimit(),
            "interpreter": [sys.getswitchinterval(), threading.stack_size()],
            "tracing": [sys.gettrace(), sys.getprofile()],
            "tracebacks": getattr(sys, "tracebacklimit", None),
            "faults": [faulthandler.is_enabled(), caught()],
            "reports": [logging.raiseExceptions, logging.getLoggerClass().__name__, logging.root.filters[:]],
            "collects": [gc.isenabled(), gc.get_threshold()],
            "locale": locale.setlocale(locale.LC_ALL),
            "zone": time.tzname,
            "method": multiprocessing.get_start_method(allow_none=True),
            "random": [random.random(), numpy.random.random()],
            "decimal": decimal.getcontext().prec,
            "temporary": tempfile.gettempdir(),
            "timeout": socket.getdefaulttimeout(),
            "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "processors": os.sched_getaffinity(0),
            "builtins": ["leaked" in vars(sys.modules["builtins"]), re_named(sys.modules["builtins"].exit)],
            "numpy": [numpy.geterr(), numpy.get_printoptions()["precision"]],
            "matplotlib": [
                matplotlib.rcParams["font.size"],
                matplotlib.rcParams["font.family"],
                matplotlib.pyplot.get_fignums(),
                matplotlib.get_backend(),
            ],
            "strings": [sys.get_int_max_str_digits(), tracemalloc.is_tracing()],
            "coroutines": sys.get_coroutine_origin_tracking_depth(),
            "tables": [csv.field_size_limit(), csv.list_dialects()],
            "network": [ssl._create_default_https_context.__name__, urllib.request._opener],
            "loop": loop_of_thread(),
            "config": task.config["model"],
            "result": task.context.result_of("first") if task.config["id"] != "first" else ["kept", [1, 2]],
        }


    def open_ones():
        return [n for n in range(3) if os.path.exists(f"/proc/self/fd/{n}")]


    def loop_of_thread():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            policy = type(asyncio.get_event_loop_policy()).__name__
            try:
                return policy, asyncio.get_event_loop().is_closed()
            except RuntimeError as error:
                return policy, str(error)


    def caught():
        # the signals that are caught, by Python or by C
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(line for line in lines if line.startswith("SigCgt"))


    def re_named(handler):
        return getattr(handler, "__name__", str(handler))


    def spoil_folder(task): os.chdir("/")
    def spoil_environment(task):
        os.environ["LEAKED"] = "yes"
        os.environ.pop("HOME", None)
        os.environ["PATH"] = "/leaked"
    def spoil_zone(task):
        os.environ["TZ"] = "Asia/Tokyo"
        time.tzset()
    def spoil_path(task): sys.path.insert(0, "/leaked")
    def spoil_path_whole(task): sys.path = ["/leaked"]
    def spoil_argv(task): sys.argv[:] = ["other"]
    def spoil_signals(task):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    def spoil_timer(task): signal.setitimer(signal.ITIMER_REAL, 1000)
    def spoil_umask(task): os.umask(0o77)
    def spoil_warnings(task):
        warnings.simplefilter("error")
        logging.captureWarnings(True)
    def spoil_logging(task):
        logging.getLogger().setLevel(logging.CRITICAL)
        logging.getLogger().handlers[0].setFormatter(logging.Formatter("leaked %(message)s"))
        logging.getLogger("some.library").addHandler(logging.NullHandler())
        logging.getLogger("some.library").disabled = True
        logging.disable(logging.ERROR)
    def spoil_basic_config(task):
        path = Path(task.config["outputDir"], "own.txt")
        logging.basicConfig(filename=path, level=logging.DEBUG, force=True)
        logging.debug("own and shared")
    def spoil_streams(task):
        sys.stdout = open(os.devnull, "w")
        sys.stderr.close()
    def spoil_output_file(task):
        os.close(1)
        print("printed into a file", file=open("printed.txt", "w"))
    def spoil_input(task): sys.stdin.close()
    def spoil_hooks(task):
        sys.excepthook = threading.excepthook = print
    def spoil_interpreter(task):
        sys.setrecursionlimit(500)
        gc.disable()
        gc.set_threshold(1, 1, 1)
    def spoil_switching(task): sys.setswitchinterval(1)
    def spoil_trace(task): sys.settrace(lambda *_: None)
    def spoil_profile(task): sys.setprofile(lambda *_: None)
    def spoil_stack(task): threading.stack_size(1 << 20)
    def spoil_tracebacks(task): sys.tracebacklimit = 0
    def spoil_faults(task):
        faulthandler.disable()
        faulthandler.unregister(signal.SIGUSR1)
    def spoil_one_signal(task): signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    def spoil_one_hook(task): threading.excepthook = print
    def spoil_thresholds(task): gc.set_threshold(1, 1, 1)
    def spoil_filter(task): logging.root.filters.append(print)
    def spoil_reports(task): logging.raiseExceptions = False
    def spoil_level(task): logging.getLogger("job_orchestration").setLevel(1)
    def spoil_one_name(task): os.environ["HOME"] = "/leaked"
    def spoil_builtin(task): sys.modules["builtins"].exit = print
    def spoil_locale(task):
        locale.setlocale(locale.LC_ALL, "C.UTF-8" if locale.setlocale(locale.LC_ALL) == "C" else "C")
    def spoil_method(task): multiprocessing.set_start_method("spawn")
    def spoil_random(task): random.seed(1)
    def spoil_decimal(task): decimal.getcontext().prec = 3
    def spoil_temporary(task): tempfile.tempdir = "/leaked"
    def spoil_timeout(task): socket.setdefaulttimeout(1)
    def spoil_files(task):
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    def spoil_processors(task): os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    def spoil_builtins(task): sys.modules["builtins"].leaked = print
    def spoil_strings(task): sys.set_int_max_str_digits(0)
    def spoil_memory(task): tracemalloc.start()
    def spoil_coroutines(task): sys.set_coroutine_origin_tracking_depth(3)
    def spoil_tables(task): csv.field_size_limit(sys.maxsize)
    def spoil_dialects(task): csv.register_dialect("leaked", delimiter=";")
    def spoil_network(task): ssl._create_default_https_context = ssl._create_unverified_context
    def spoil_opener(task): urllib.request.install_opener(urllib.request.build_opener())
    def spoil_loop(task): asyncio.run(asyncio.sleep(0))
    def spoil_policy(task):
        class Leaked(asyncio.DefaultEventLoopPolicy): pass
        asyncio.set_event_loop_policy(Leaked())
    def spoil_numpy(task):
        import numpy
        numpy.seterr(all="raise")
        numpy.set_printoptions(precision=1)
        numpy.random.seed(1)
    def spoil_matplotlib(task):
        import matplotlib.pyplot
        matplotlib.use("svg")
        matplotlib.rcParams["font.family"].append("leaked")
        matplotlib.rcParams["font.size"] = 99
        matplotlib.pyplot.figure()
    def spoil_config(task): task.config["model"]["layers"].append(task.config["model"].pop("kind"))
    def spoil_result(task):
        if task.config["id"] != "first":
            task.context.result_of("first")["result"].clear()


    SPOILERS = {name: f for name, f in list(globals().items()) if name.startswith("spoil_")}
    PARENTS = {"child": 0, "host": 1, "worker": 2}


    def kill(who):
        pid = os.getpid()
        for _ in range(PARENTS[who]):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            pid = next(int(line.split()[1]) for line in lines if line.startswith("PPid"))
        os.kill(pid, signal.SIGKILL)
        time.sleep(1000)


    class Step(TaskBase):
        def __init__(self, config):
            self.config = config

        def run(self):
            found = copy.deepcopy(seen(self))
            for name in self.config["spoils"]:
                SPOILERS[name](self)
            run = self.config["outputDir"].replace("/", ".")
            killed = Path(self.config["notes"], f"{run}.{self.config['id']}")
            if self.config["kills"] and not killed.exists():
                killed.touch()
                kill(self.config["kills"])
            return found
"""

NAMES = re.findall(r"def (spoil_\w+)", TASKS)
IDS = ("first", "second", "third", "fourth")


def task(name: str, spoils: list[str], kills: str = "") -> dict[str, object]:
    return {"id": name, "method": "Step", "spoils": spoils, "kills": kills}


def drop(sandbox: Sandbox, name: str, *tasks: dict[str, object], **values: object) -> None:
    model = {"kind": "linear", "layers": [1, 2]}
    sandbox.queue(name, tasks=list(tasks), model=model, seed=7, maxInterruptions=100, **values)


def work(sandbox: Sandbox, **options: object) -> None:
    """Workers, one after the other, until nothing is left to do; some are killed."""
    for _ in range(50):
        worker = sandbox.start("--until-idle", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", **options)
        worker.communicate(timeout=LIMIT)
        if not sandbox.names("Running") and not sandbox.names("ConfigsToRun"):
            return
    raise AssertionError("they go on for ever")


def results(sandbox: Sandbox, run: str) -> list[dict[str, object]]:
    assert run in sandbox.names("Completed"), sandbox.log(run)
    return [e["result"] for e in sandbox.events(run, "task_finished")]


def differing(found: dict[str, object], wanted: dict[str, object]) -> dict[str, object]:
    """What a task saw that it should not have; what differs between runs by their nature is left out."""
    return {key: (found[key], wanted[key]) for key in wanted if found[key] != wanted[key]}


@pytest.fixture
def sandbox(tmp_path):
    sandbox = Sandbox(tmp_path, TASKS)
    yield sandbox
    sandbox.close()


def test_nothing_that_a_task_sets_for_its_process_reaches_the_next(sandbox):
    drop(sandbox, "clean", task("first", []))
    drop(sandbox, "spoiled", task("first", NAMES), task("second", NAMES), task("third", []))
    for name in NAMES:
        drop(sandbox, name, task("first", [name]), task("second", []))
    work(sandbox)
    (wanted,) = results(sandbox, "clean")
    assert wanted["argv"] == [["Tasks.py"], [{}, ["Tasks.py"]], {}]
    assert wanted["result"] == ["kept", [1, 2]]
    first, second, third = results(sandbox, "spoiled")
    assert differing(first, wanted) == {}
    for found in (second, third):
        assert found.pop("result") == first, "the result that it read is the one of the first task"
        assert differing({**found, "result": wanted["result"]}, wanted) == {}
    for name in NAMES:  # most tasks change nothing, so all is read at once; each change alone must be noticed
        assert differing({**results(sandbox, name)[1], "result": wanted["result"]}, wanted) == {}, name


def test_without_putting_back_each_of_them_is_seen(tmp_path):
    line = "                self.put_back(state)\n"
    package = mutant(tmp_path, "executor/task_runner.py", line, line.replace("self.put_back(state)", "pass"))
    sandbox = Sandbox(tmp_path, TASKS)
    for name in NAMES:
        drop(sandbox, name, task("first", [name]), task("second", []))
    work(sandbox, package=package)
    unseen = []
    for name in NAMES:
        first, second = results(sandbox, name)
        if not differing({**second, "result": 0}, {**first, "result": 0}):
            unseen.append(name)
    own = {"spoil_random", "spoil_decimal", "spoil_numpy", "spoil_config", "spoil_result"}
    own.add("spoil_streams")  # the closed stream fails the second task, and its next try is a new process
    assert set(unseen) <= own, "these have a seed, a context or a copy of their own, and are not put back"
    sandbox.close()


def test_kill_anywhere_and_each_task_sees_the_same(sandbox):
    chance = random.Random(11)
    lazy = sandbox.make_repository("lazy", re.sub(r".*# of every run\n", "", TASKS))
    repositories = {"eager": str(sandbox.repository), "lazy": str(lazy)}
    for name, path in repositories.items():
        drop(sandbox, name, task("first", []), pathToTasks=path)
    used = [chance.choice(list(repositories)) for _ in range(12)]
    for number, repository in enumerate(used):
        tasks = [
            task(
                name,
                chance.sample(NAMES, chance.randrange(6)),
                chance.choice(["", "child", "host", "worker"]),
            )
            for name in IDS
        ]
        drop(sandbox, f"run{number}", *tasks, pathToTasks=repositories[repository])
    work(sandbox)
    for number, repository in enumerate(used):
        (wanted,) = results(sandbox, repository)
        first, *others = results(sandbox, f"run{number}")
        assert differing(first, wanted) == {}, number
        assert len(others) == 3
        for found in others:
            assert found.pop("result") == first
            assert differing({**found, "result": wanted["result"]}, wanted) == {}, number
    kills = sum(len(sandbox.events(f"run{number}", "claimed")) for number in range(12))
    assert kills > 20, "the test does not kill"
