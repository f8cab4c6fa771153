"""Tasks that import NumPy are forked, and BLAS in them is as fast as in a script."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from job_orchestration.executor import thread_pools
from tests.integration.harness import Sandbox, mutant

if TYPE_CHECKING:
    from collections.abc import Callable

pytest.importorskip("threadpoolctl")
pytest.importorskip("sklearn")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="forks are the default on Linux alone"),
]

CPUS = thread_pools.usable_cpus()
TASKS = """
    import os
    import subprocess
    import sys
    import time

    import numpy
    import scipy.linalg
    import threadpoolctl

    from job_orchestration.TaskBase import TaskBase

    AT_IMPORT = os.getpid(), os.environ.get("OPENBLAS_NUM_THREADS"), len(os.listdir("/proc/self/task"))

    class Pools(TaskBase):
        def __init__(self, config):
            self.config = config

        def run(self):
            names = ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"]
            program = f"import os; print(*map(os.environ.get, {names}))"
            found = threadpoolctl.threadpool_info()
            return {
                "forked": AT_IMPORT[0] != os.getpid(),
                "at_import": AT_IMPORT[1],
                "blas": sorted({p["num_threads"] for p in found if p["user_api"] == "blas"}),
                "openmp": sorted({p["num_threads"] for p in found if p["user_api"] == "openmp"}),
                "threads_at_import": AT_IMPORT[2],
                "program": subprocess.run(
                    [sys.executable, "-c", program], capture_output=True, text=True
                ).stdout.split(),
            }

    class Product(TaskBase):
        def __init__(self, config):
            self.config = config

        def run(self):
            a = numpy.random.default_rng(1).random((900, 900))
            a @ a
            every, own = time.process_time(), time.thread_time()
            for _ in range(4):
                a @ a
            return (time.thread_time() - own) / (time.process_time() - every)
"""
SEVERAL, ONE = 0.75, 0.95
"""Bounds of the share of the calling thread: lower with several threads, higher with one."""
SCRIPT = """
import time
import numpy
a = numpy.random.default_rng(1).random((900, 900))
a @ a
every, own = time.process_time(), time.thread_time()
for _ in range(4):
    a @ a
print((time.thread_time() - own) / (time.process_time() - every))
"""


@pytest.fixture
def sandbox(tmp_path):
    sandbox = Sandbox(tmp_path, TASKS)
    yield sandbox
    sandbox.close()


def clean() -> dict[str, str]:
    """The variables that a shell usually does not set."""
    return {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}


def pools(sandbox, run: str, **environment: str) -> dict[str, object]:
    said = sandbox.work(**environment)
    assert "leave threads behind" not in said
    assert "threads" not in sandbox.log(run)
    return sandbox.results(run)["pools"]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


def test_numpy_scipy_pandas_and_scikit_learn_are_forked_with_all_cpus(sandbox):
    more = "import numpy\n    import pandas\n    import sklearn.linear_model"
    sandbox.repository = sandbox.make_repository("all_of_them", TASKS.replace("import numpy", more, 1))
    sandbox.queue("all", "Pools")
    found = pools(sandbox, "all")
    assert found["forked"]
    assert found["blas"] == found["openmp"] == [CPUS]
    assert found["at_import"] is None, "Python sees the variables of the shell"
    assert found["program"] == ["None", "None"]


@pytest.mark.parametrize("isolation", ["fork", "spawn"])
def test_a_run_that_requests_cpus_has_pools_of_that_size(sandbox, isolation):
    run = f"one-{isolation}"
    sandbox.queue(run, "Pools", resources={"cpus": 1}, isolation=isolation)
    found = pools(sandbox, run)
    assert found["forked"] is (isolation == "fork")
    assert found["blas"] == [1]
    assert found["program"] == ["None", "1"], "programs that it starts follow"


def test_variables_of_the_shell_win(sandbox):
    sandbox.queue("shell", "Pools", resources={"cpus": 1})
    found = pools(sandbox, "shell", OPENBLAS_NUM_THREADS="3", OMP_NUM_THREADS="2")
    assert found["forked"]
    assert found["blas"] == [3]
    assert found["at_import"] == "3"
    assert found["program"] == ["3", "2"]


def test_a_value_that_the_tasks_set_before_their_imports_counts(sandbox):
    before = 'os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")\n    import numpy'
    sandbox.repository = sandbox.make_repository("setting", TASKS.replace("import numpy", before, 1))
    sandbox.queue("setting", "Pools")
    found = pools(sandbox, "setting")
    assert found["forked"]
    assert found["blas"] == [1]
    assert found["program"][0] == "1"


@pytest.mark.skipif(CPUS < 2, reason="one CPU needs no threads")
def test_without_the_restriction_the_imports_leave_threads_that_forbid_a_fork(sandbox, tmp_path):
    """The test above can fail."""
    copy = mutant(tmp_path, "executor/thread_pools.py", 'os.putenv(_AT_IMPORT, "1")', "pass")
    sandbox.queue("broken", "Pools")
    said = sandbox.work(package=copy)
    found = sandbox.results("broken")["pools"]
    assert found["threads_at_import"] > 1
    assert "leave threads behind" in said
    assert not found["forked"]


@pytest.mark.skipif(CPUS < 2, reason="one CPU needs no threads")
def test_blas_in_a_task_is_shared_among_the_threads_as_in_a_script(sandbox):
    """The share of the CPU time that the calling thread takes: about one half with two threads, all with one.

    A thread that waits for another one spins, so on a busy machine this varies. It is measured up to
    five times, until it is below what one thread can have.
    """

    def script(**environment: str) -> float:
        return float(
            subprocess.run(
                [sys.executable, "-c", SCRIPT],
                check=True,
                capture_output=True,
                text=True,
                env=clean() | environment,
            ).stdout
        )

    def task(run: str, **values: object) -> float:
        sandbox.queue(run, "Product", **values)
        sandbox.work()
        return sandbox.results(run)["product"]

    def part_by(measure: Callable[[int], float]) -> float:
        part = 1.0
        for number in range(5):
            if (part := measure(number)) < SEVERAL:
                break
        return part

    parts = part_by(lambda n: task(f"shared{n}")), part_by(lambda _: script())
    print(f"the calling thread's share of a product: task {parts[0]:.2f}, script {parts[1]:.2f}")
    assert max(parts) < SEVERAL
    assert task("alone", resources={"cpus": 1}) > ONE
    assert script(OPENBLAS_NUM_THREADS="1") > ONE
