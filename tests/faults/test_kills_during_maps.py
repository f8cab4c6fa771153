"""A function that is mapped over ten thousand elements is killed twenty times, and has each of them once."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from contextlib import suppress
from datetime import datetime

import psutil
import pytest

from job_orchestration.functions import nd_json
from tests.integration.harness import eventually

TASKS = """
    import os

    from job_orchestration import TaskBase


    class Empty(TaskBase):
        def run(self):
            return None


    def square(value, executed):
        descriptor = os.open(executed, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, b"%d\\n" % value)
        os.close(descriptor)
        if value % 1000 == 999:
            raise ValueError(value)
        return value * value


    def same(value):
        return value
"""
NUMBER = 10_000
KILLS = 20
PARALLEL = 2


def family(worker):
    """The worker, its fork server, the task and the processes of the elements, as far as they are there."""
    with suppress(psutil.NoSuchProcess):
        return [worker.pid, *(child.pid for child in psutil.Process(worker.pid).children(recursive=True))]
    return [worker.pid]


@pytest.mark.slow
def test_ten_thousand_elements_survive_twenty_kills_each_of_them_once(sandbox):
    executed = sandbox.folder / "executed"
    executed.touch()
    entry = {"id": "map", "method": "Tasks:square", "foreach": NUMBER, "parallel": PARALLEL}
    sandbox.queue(
        "a", tasks=[{**entry, "kwargs": {"executed": str(executed)}}], maxInterruptions=100, maxAttempts=100
    )
    chance = random.Random(19)
    worker = sandbox.start()
    for kill in range(KILLS):
        goal = (kill + 1) * NUMBER // (KILLS + 2)
        eventually(lambda goal=goal: executed.read_bytes().count(b"\n") >= goal, what=f"kill {kill}")
        victims = family(worker)
        chosen = victims if kill % 3 == 0 else [chance.choice(victims[: 1 if kill % 3 == 1 else 3])]
        for pid in chosen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if worker.pid in chosen:
            worker.wait()
            worker = sandbox.start()
    worker.kill()
    sandbox.work()
    assert sandbox.names("Completed") == ["a"], sandbox.log("a")[-2000:]
    folder = sandbox.output("a") / "map"
    results, errors = nd_json.read(folder / "results.ndjson"), nd_json.read(folder / "errors.ndjson")
    assert [line["index"] for line in results] == [i for i in range(NUMBER) if i % 1000 != 999]
    assert all(line["result"] == line["element"] ** 2 for line in results)
    assert [line["index"] for line in errors] == [999 + 1000 * i for i in range(10)]
    times = Counter(map(int, executed.read_text().split()))
    again = sum(times.values()) - NUMBER
    assert len(times) == NUMBER
    assert again <= (KILLS + 1) * PARALLEL, "only what was at work at a kill may run again"


@pytest.mark.slow
def test_an_element_costs_less_than_a_task(sandbox, show_figure):
    tasks = [{"id": f"t{i}", "method": "Empty"} for i in range(300)]
    sandbox.queue("tasks", tasks=tasks)
    sandbox.queue("map", tasks=[{"id": "map", "method": "Tasks:same", "foreach": NUMBER}])
    sandbox.work()

    def seconds(run, last):
        (start, *_), (end,) = sandbox.events(run, "task_started"), sandbox.events(run, last)
        at = [datetime.fromisoformat(event["at"]) for event in (start, end)]
        return (at[1] - at[0]).total_seconds()

    task, element = seconds("tasks", "completed") / 300, seconds("map", "completed") / NUMBER
    show_figure(f"a task {task * 1e3:.2f} ms, an element {element * 1e3:.2f} ms")
    assert element <= 1.5 * task
