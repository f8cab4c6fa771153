"""What a task returns, however it ends: a task that returned has finished, and its result is shown."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.integration.harness import LIMIT, Sandbox, eventually

TASKS = """
    import asyncio
    import dataclasses
    import datetime
    import enum
    import signal
    import sys
    import time
    from pathlib import Path
    from typing import NamedTuple

    import numpy

    from job_orchestration import TaskBase


    class Kind(enum.Enum):
        LARGE = "large"


    class Pair(NamedTuple):
        left: int
        right: int


    class Model:
        pass


    @dataclasses.dataclass
    class Score:
        value: float


    class Base(TaskBase):
        def __init__(self, config):
            self.config = config


    class Computed(Base):
        def run(self):
            return {
                "loss": float("nan"),
                "best": float("inf"),
                "limits": [float("inf"), float("-inf")],
                "path": Path("/data"),
                "day": datetime.date(2026, 11, 26),
                "kinds": {"b", "a"},
                "score": Score(0.5),
                "model": Model(),
                "array": numpy.array([[1, 2], [3, numpy.nan]]),
                "number": numpy.float32(0.5),
                "kind": Kind.LARGE,
                "pair": Pair(1, 2),
                "shape": (3, 4),
                "at": datetime.datetime(2026, 11, 26, 12, 30),
                "text": "x" * (1 << 20),
            }


    class Looks(Base):
        def run(self):
            found = self.context.result_of("computed")
            found["kinds"].sort(reverse=True)
            found["limits"].clear()
            return self.context.result_of("computed")


    class Saves(Base):
        def run(self):
            self.context.store.save_json("metrics.json", {"loss": float("nan"), "model": Model()})


    class Reads(Base):
        def run(self):
            return self.context.load_json("saves", "metrics.json")


    class Exits(Base):
        def run(self):
            sys.exit(self.config["code"])


    class Async(Base):
        async def validate(self):
            await asyncio.sleep(0)
            return self.config.get("wrong", [])

        async def run(self):
            await asyncio.sleep(0.01)
            if self.config.get("exits"):
                sys.exit(0)
            return {"x": 0.5}


    class Fails(Base):
        async def run(self):
            await asyncio.sleep(0)
            raise ValueError("so it is")


    class Yields(Base):
        def run(self):
            yield 1


    class YieldsLater(Base):
        def run(self):
            return (x for x in [1])


    class ExitsWhenAsked(Base):
        def run(self):
            if self.context.attempt > 1:
                return "went on"
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            Path(self.config["notes"], "asked").write_text("started")
            time.sleep(1000)
"""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    sandbox = Sandbox(tmp_path_factory.mktemp("returned"), TASKS)
    sandbox.queue("computed", "Computed", "Looks", "Saves", "Reads")
    for name, code in {"zero": 0, "none": None, "text": "so long", "three": 3, "round": 256}.items():
        sandbox.queue(f"exits{name}", "Exits", code=code, maxAttempts=1)
    sandbox.queue("async", "Async", "Computed")
    sandbox.queue("asyncexits", "Async", exits=True)
    sandbox.queue("fails", "Fails", maxAttempts=1)
    sandbox.queue("later", "YieldsLater")
    sandbox.drop("yields", "Yields")
    sandbox.drop("wrong", "Async", wrong=["this is wrong"])
    sandbox.report = sandbox.ready()
    sandbox.said = sandbox.work()
    yield sandbox
    sandbox.close()


def printed(sandbox: Sandbox, *words: str) -> str:
    command = [sys.executable, "-m", "job_orchestration", *words, "--workspace", str(sandbox.root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)
    assert done.stderr == ""
    return done.stdout


def strict(text: str) -> object:
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


ENDINGS = ("", ".problems.txt")

WANTED = {
    "loss": None,
    "best": None,
    "limits": [None, None],
    "path": "/data",
    "day": "2026-11-26",
    "kinds": ["a", "b"],
    "score": {"value": 0.5},
    "model": "a Model (not kept)",
    "array": [[1.0, 2.0], [3.0, None]],
    "number": 0.5,
    "kind": "large",
    "pair": {"left": 1, "right": 2},
    "shape": [3, 4],
    "at": "2026-11-26T12:30:00",
    "text": "a text of 1,048,576 characters (not kept)",
}
"""As ``--json`` shows it."""


def test_what_is_no_json_does_not_fail_a_task_and_is_shown_as_strict_json(sandbox):
    assert "computed" in sandbox.names("Completed")
    shown = strict(printed(sandbox, "show", "computed", "--json"))
    assert shown["tasks"][0]["result"] == WANTED
    for line in (sandbox.output("computed") / "journal" / "000001.jsonl").read_text().splitlines():
        strict(line)


def test_results_show_nan_and_infinity_and_json_has_null(sandbox):
    for words in (["results"], ["results", "--csv"]):
        text = printed(sandbox, *words)
        assert "nan" in text
        assert "inf" in text
    (row,) = (r for r in strict(printed(sandbox, "results", "--json")) if r["run"] == "computed")
    assert row["computed.loss"] is None
    assert row["computed.score.value"] == 0.5
    assert row["saves.loss"] is None, "of a file that it saved"


def test_the_log_names_what_is_not_kept_and_what_to_do_once(sandbox):
    warnings = [line for line in sandbox.log("computed").splitlines() if "is not kept" in line]
    assert len(warnings) == 2
    assert (
        "[WARNI]  result.model: a Model is not kept; "
        "result.text: a text of 1,048,576 characters is too large "
        "to be kept; save them with self.context.store"
    ) in warnings[0]
    assert "metrics.json.model: a Model is not kept" in warnings[1]


def test_the_result_of_a_task_is_a_copy_and_the_same_after_a_resume(sandbox):
    first, second = (task["result"] for task in results(sandbox, "computed")[:2])
    assert first == second


def results(sandbox: Sandbox, run: str) -> list[dict]:
    return strict(printed(sandbox, "show", run, "--json"))["tasks"]


def test_what_was_saved_as_json_is_read_back_by_a_later_task(sandbox):
    saved = strict((sandbox.output("computed") / "saves" / "metrics.json").read_text())
    assert saved == {"loss": {"$float": "nan"}, "model": "a Model (not kept)"}
    text = (sandbox.output("computed") / "journal" / "000001.jsonl").read_text()
    assert '"result": {"loss": {"$float": "nan"}, "model"' in text


@pytest.mark.parametrize("run", ["exitszero", "exitsnone", "exitsround", "asyncexits"])
def test_an_exit_that_a_shell_sees_as_success_ends_a_task_as_finished(sandbox, run):
    assert run in sandbox.names("Completed")
    assert sandbox.events(run, "task_failed") == []


@pytest.mark.parametrize(
    ("run", "words"), [("exitstext", "SystemExit: so long"), ("exitsthree", "SystemExit: 3")]
)
def test_any_other_exit_is_a_failed_try(sandbox, run, words):
    (failure,) = sandbox.events(run, "task_failed")
    assert failure["error"] == words
    assert run in sandbox.names("Failed")


def test_an_async_run_is_awaited(sandbox):
    assert sandbox.results("async")["async"] == {"x": 0.5}
    (failure,) = sandbox.events("fails", "task_failed")
    assert failure["error"] == "ValueError: so it is"


def test_a_generator_is_refused_before_it_is_queued_or_fails_at_once(sandbox):
    refused = {
        report.drop.name if hasattr(report, "drop") else str(report) for report in sandbox.report.refused
    }
    text = repr(sandbox.report.refused)
    assert len(refused) == 2, text
    assert "run() is a generator, so nothing in it was executed" in text
    assert "this is wrong" in text
    (failure,) = sandbox.events("later", "task_failed")
    assert failure["permanent"]
    assert "Return one value" in failure["error"]


def test_a_task_that_exits_because_it_is_asked_to_stop_has_not_finished(tmp_path):
    sandbox = Sandbox(tmp_path, TASKS)
    sandbox.queue("asked", "ExitsWhenAsked")
    worker = sandbox.start()
    eventually((sandbox.notes / "asked").exists)
    worker.terminate()
    sandbox.ended(worker)
    assert sandbox.events("asked", "task_finished") == []
    sandbox.work()
    assert sandbox.results("asked") == {"exitswhenasked": "went on"}
    sandbox.close()
