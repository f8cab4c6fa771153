"""`logs`: a part of a log, also while it grows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.integration.harness import LIMIT, PACKAGE, Sandbox, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TASKS = """
    import asyncio, logging, os, time
    from pathlib import Path

    from job_orchestration import TaskBase


    class Load(TaskBase):
        def run(self):
            print("loading")
            logging.error("a row is bad")


    class Train(TaskBase):
        def run(self):
            print("training")
            if not Path(self.config["notes"], "mended").exists():
                raise RuntimeError("no\\nsuccess") from ValueError("cause")


    class Grows(TaskBase):
        def run(self):
            print("first", flush=True)
            for word in ("second", "third"):
                while not Path(self.config["notes"], word).exists():
                    time.sleep(0.01)
                logging.error(word) if word == "second" else print(word)


    class Awaits(TaskBase):
        async def run(self):
            await asyncio.sleep(0)
            raise KeyError("awaited")


    class Yields(TaskBase):
        def run(self):
            return (x for x in "ab")


    class Asks(TaskBase):
        def run(self):
            self.context.result_of("other")
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A workspace with a run that failed twice, one that failed and was retried, and three others."""
    made = Sandbox(tmp_path_factory.mktemp("logs"), TASKS)
    few = {"maxAttempts": 2, "retryDelay": "0s"}
    made.queue("mended", "Load", "Train", **few)
    made.work()
    (made.notes / "mended").touch()
    log = cli(made, "retry", "mended")
    assert "checkpoint" in log, log
    made.work()
    (made.notes / "mended").unlink()
    made.queue("failed", "Load", "Train", **few)
    for method in ("Awaits", "Yields", "Asks"):
        made.queue(method.lower(), method, maxAttempts=1)
    made.work()
    yield made
    made.close()


def begin(place: Sandbox, *words: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "job_orchestration", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JOB_ORCHESTRATION_WORKSPACE": str(place.root), "PYTHONPATH": str(PACKAGE.parent)}
        | more,
    )


def cli(place: Sandbox, *words: str, code: int = 0, error: str = "") -> str:
    process = begin(place, *words)
    output, complaint = process.communicate(timeout=LIMIT)
    assert process.returncode == code, (output, complaint)
    assert error in complaint if error else not complaint
    return output


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def rest_of(process: subprocess.Popen[str]) -> list[str]:
    """What a command prints until it ends; it must end well."""
    with process:
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
    assert process.returncode == 0
    return lines


def test_the_last_lines_are_those_of_the_log(place: Sandbox) -> None:
    lines = place.log("failed").splitlines(keepends=True)
    assert cli(place, "logs", "failed", "-n", "3") == "".join(lines[-3:])
    assert cli(place, "logs", "failed", "--lines", "999") == cli(place, "logs", "failed") == "".join(lines)
    assert json.loads(cli(place, "logs", "failed", "-n", "1", "--json")) == {"text": lines[-1]}
    assert cli(place, "logs", "failed", "-n", "0", "-f") == ""
    cli(place, "logs", "failed", "-n", "-1", code=2, error="not a number")


def test_a_task_and_a_try_are_chosen(place: Sandbox) -> None:
    load = cli(place, "logs", "failed", "--task", "load")
    assert "loading" in load
    assert "training" not in load
    whole = cli(place, "logs", "failed", "--task", "train")
    first = cli(place, "logs", "failed", "--task", "train", "--try", "1")
    second = cli(place, "logs", "failed", "--try", "2")
    assert whole == first + second
    assert first.count("training") == second.count("training") == 1
    cli(place, "logs", "failed", "--task", "trian", code=2, error="Did you mean train?")
    cli(place, "logs", "failed", "--task", "load", "--try", "2", code=2, error="no try 2 of load. It has 1")


def test_errors_are_those_of_the_last_tries_with_their_tracebacks(place: Sandbox) -> None:
    errors = cli(place, "logs", "failed", "--errors").splitlines()
    assert "a row is bad" in errors[0]
    assert sum("Task train failed" in line for line in errors) == 1
    assert errors[1] == "ValueError: cause" or errors[1].startswith("Traceback"), errors
    assert "success" in errors, "the second line of the message"
    assert not [line for line in errors if "training" in line or "INFO" in line]
    assert "train" not in cli(place, "logs", "failed", "--errors", "--task", "load")


def test_show_ends_with_the_last_error_or_the_last_lines(place: Sandbox) -> None:
    shown = cli(place, "show", "failed").partition("end of the log:\n")[2]
    assert shown.splitlines()[0].endswith("Traceback (most recent call last):") or "ValueError" in shown
    assert "Task train failed" in shown
    assert "a row is bad" not in shown, "of the task that failed"
    shown = cli(place, "show", "mended").partition("end of the log:\n")[2]
    lines = place.log("mended").splitlines()[-5:]
    assert shown == "".join(f"  {line}\n" for line in lines)


def test_a_completed_run_has_no_errors_of_the_tries_before(place: Sandbox) -> None:
    assert cli(place, "logs", "mended", "--errors", "--task", "train", error="no errors of task train") == ""
    assert "RuntimeError: no" in cli(place, "logs", "mended", "--errors", "--task", "train", "--try", "1")
    assert cli(place, "logs", "mended", "--try", "3").count("training") == 1


@pytest.mark.parametrize("run", ["failed", "awaits", "yields", "asks"])
def test_a_traceback_begins_in_the_code_of_the_task(place: Sandbox, run: str) -> None:
    lines = cli(place, "logs", run, "--errors").splitlines()
    frames = [line for line in lines if line.startswith("  File ")]
    assert frames or run == "yields"
    assert all("Tasks.py" in line for line in frames[:1]), frames
    assert run == "asks" or not [line for line in frames if "executor" in line or "asyncio" in line]


@pytest.mark.slow
def test_what_is_followed_is_filtered_as_it_grows(place: Sandbox) -> None:
    place.queue("grows", "Load", "Grows")
    worker = place.start("--until-idle")
    log = place.output("grows") / "log.log"
    eventually(lambda: log.exists() and "first\n" in log.read_text(), "the log")
    errors = begin(place, "logs", "-f", "grows", "--errors", "-n", "1")
    task = begin(place, "logs", "-f", "grows", "--task", "grows")
    last = begin(place, "logs", "-f", "grows", "-n", "1")
    assert "a row is bad" in line_of(errors)
    assert "Running task with id: grows" in line_of(task)
    assert line_of(last) == "first\n"
    (place.notes / "second").touch()
    assert "second" in line_of(errors)
    (place.notes / "third").touch()
    place.ended(worker)
    assert rest_of(errors) == []
    rest = rest_of(task)
    assert [line[-5:] for line in rest[:3]] == ["first", "econd", "third"]
    assert rest_of(last) == rest[1:]


def test_a_long_log_is_read_from_its_end(place: Sandbox, tmp_path: Path) -> None:
    log = place.output("asks") / "log.log"
    kept = log.read_bytes()
    log.write_bytes(b"".join(b"%d%s\n" % (i, b"x" * (i % 40)) for i in range(200_000)) + b"rest")
    try:
        lines = cli(place, "logs", "asks", "-n", "5000").splitlines()
        assert len(lines) == 5000
        assert lines[0].startswith("195001x")
        assert lines[-1] == "rest"
    finally:
        log.write_bytes(kept)
