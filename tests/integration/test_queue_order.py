"""The order in which runs are claimed: by priority, after others, and by what a machine has room for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from job_orchestration.commands.hold import release
from job_orchestration.commands.retry import retry
from job_orchestration.commands.selection import Selection
from job_orchestration.commands.status import status
from job_orchestration.processes.wakeup import WakeupPipe
from job_orchestration.queue import scheduler
from job_orchestration.queue.queue import Queue
from job_orchestration.runs import token, trash
from job_orchestration.submission.checker import Checker
from job_orchestration.submission.pipeline import ready_drops
from tests.integration.harness import eventually

pytestmark = pytest.mark.slow

TASKS = r"""
    import os
    import time
    from pathlib import Path

    from job_orchestration import TaskBase


    class Base(TaskBase):
        def __init__(self, config):
            self.config = config
            self.notes = Path(config["notes"])


    class Writes(Base):
        def run(self):
            with (self.notes / "order").open("a") as file:
                file.write(f"{self.context.run} ")


    class Fails(Writes):
        def run(self):
            if not (self.notes / "mended").exists():
                raise ValueError("as the test asked")
            super().run()
"""


def order(sandbox):
    path = sandbox.notes / "order"
    return path.read_text().split() if path.exists() else []


def waits(sandbox):
    return {r.run: r.waits_for for r in status(sandbox.workspace).runs if r.waits_for}


@pytest.mark.seed_fault("B-JO-29")
def test_a_higher_priority_goes_first_and_equals_go_in_their_order(sandbox):
    for name, priority in (("a", None), ("b", -1), ("c", 10), ("d", 0), ("e", 2)):
        sandbox.drop(name, "Writes", **({} if priority is None else {"priority": priority}))
    sandbox.ready()
    sandbox.work()
    assert order(sandbox) == ["c", "e", "a", "d", "b"]


@pytest.mark.seed_fault("B-JO-29")
def test_a_run_goes_when_those_it_comes_after_have_completed(sandbox):
    sandbox.drop("a", "Writes", after=["c", "b"], priority=9)
    sandbox.drop("b", "Writes", after="c.yaml", priority=5)
    sandbox.drop("c", "Writes")
    assert not sandbox.ready().refused
    assert waits(sandbox) == {"a": ("c", "b"), "b": ("c",)}
    sandbox.work()
    assert order(sandbox) == ["c", "b", "a"]
    assert json.loads(json.dumps(status(sandbox.workspace).as_json()))["runs"][0]["waits_for"] == []


def test_after_a_run_whose_folder_or_config_is_called_like_a_file_means_that_run(sandbox):
    sandbox.queue("c", "Writes", outputDir="out/c.yaml")
    sandbox.drop("a", "Writes", after=["b", "out/c.yaml"], priority=9)
    sandbox.drop("b", "Writes", after="c.yaml", outputDir="out/b.yaml")
    sandbox.drop("c.yaml", "Writes", after="c.yml")
    assert not sandbox.ready().refused
    assert waits(sandbox) == {
        "a": ("out/b.yaml", "out/c.yaml"),
        "out/b.yaml": ("c.yaml",),
        "c.yaml": ("out/c.yaml",),
    }
    sandbox.work()
    assert order(sandbox) == ["out/c.yaml", "c.yaml", "out/b.yaml", "a"]


def test_a_run_waits_on_for_one_that_failed_and_status_says_so(sandbox):
    sandbox.drop("a", "Writes", after=["b"])
    sandbox.drop("b", "Fails", maxAttempts=1)
    sandbox.drop("c", "Writes", after=["a"])
    sandbox.ready()
    sandbox.work()
    assert waits(sandbox) == {"a": ("b (failed)",), "c": ("a",)}
    (sandbox.notes / "mended").touch()
    worker = sandbox.start("--until-idle")
    retry(sandbox.workspace, Selection(("b",)))
    sandbox.ended(worker)
    sandbox.work()
    assert order(sandbox) == ["b", "a", "c"]


def test_another_workers_run_lets_those_behind_it_go(sandbox):
    sandbox.drop("a", "Writes", after="b")
    sandbox.drop("b", "Writes")
    sandbox.ready()
    held = sandbox.root / "ConfigsToRun" / "b~held.yaml"
    (sandbox.root / "ConfigsToRun" / "b.yaml").rename(held)
    worker = sandbox.start()
    eventually(lambda: list((sandbox.root / "Misc" / "workers").iterdir()))
    assert waits(sandbox) == {"a": ("b (held)",)}
    release(sandbox.workspace, Selection(("b",)))
    eventually(lambda: order(sandbox) == ["b", "a"], seconds=10)
    worker.terminate()
    sandbox.ended(worker)


def test_after_means_the_run_that_was_readied_last_and_goes_on_meaning_it(sandbox):
    sandbox.queue("b", "Writes", outputDir="first/b")
    sandbox.work()
    sandbox.drop("b", "Fails", outputDir="second/b", maxAttempts=1)
    sandbox.ready()
    sandbox.drop("a", "Writes", after="b")
    sandbox.drop("a2", "Writes", after="first/b")
    sandbox.ready()
    assert waits(sandbox) == {"a": ("second/b",)}
    assert "\nafter:\n- second/b\n" in (sandbox.output("a") / "config.yaml").read_text()
    (token_bytes,) = {(sandbox.root / "ConfigsToRun" / "a.yaml").read_bytes()}
    assert b'\n# asks: {"after": ["second/b"]}\n' in token_bytes
    trash.put_away(sandbox.workspace, "first/b")
    sandbox.work()
    assert order(sandbox) == ["first/b"], "the one that a2 came after is gone"
    assert waits(sandbox) == {"a": ("second/b (failed)",), "a2": ("first/b (gone)",)}


NEVER = {
    "a1": (["nothing"], "nothing is neither a run nor a config"),
    "b1": (["b1"], "in a circle: b1 after b1"),
    "c1": (["c2"], "in a circle: c1 after c2 after c3 after c1"),
    "c2": (["c3"], "in a circle: c2 after c3 after c1 after c2"),
    "c3": (["c1"], "in a circle"),
    "d1": (["d2"], "d2.yaml, which it comes after, was refused"),
    "d2": ([1], "a list is not the name of a config"),
    "e1": (["e2"], "e2.yaml, which it comes after, was refused"),
    "e2": (["e3"], "e3.yaml, which it comes after, was refused"),
    "e3": (["elsewhere"], "elsewhere is neither a run nor a config"),
}


def test_what_can_never_be_waited_for_is_refused(sandbox):
    for name, (after, _) in NEVER.items():
        sandbox.drop(name, "Writes", after=after)
    sandbox.drop("fine", "Writes", after=[])
    report = sandbox.ready()
    assert [queued.file for queued in report.queued] == ["fine.yaml"]
    for name, (_, words) in NEVER.items():
        (problem,) = [p for p in report.refused[f"{name}.yaml"] if words in str(p)]
        assert problem.key.partition("[")[0] == "after"
        assert problem.line


def test_what_comes_after_a_file_that_is_still_written_waits_for_it(sandbox):
    sandbox.drop("a", "Writes", after="b")
    sandbox.drop("b", "Writes", after="c")
    sandbox.drop("c", "Writes")
    sandbox.drop("d", "Writes", after="wrong")
    sandbox.drop("wrong", "Missing")
    check = Checker(sandbox.workspace)
    first = ready_drops(sandbox.workspace, check, lambda name, _: name != "c.yaml")
    assert sorted(first.unsettled) == ["a.yaml", "b.yaml", "c.yaml"]
    assert sorted(first.refused) == ["d.yaml", "wrong.yaml"]
    again = ready_drops(sandbox.workspace, check, lambda name, _: name != "wrong.yaml")
    check.close()
    assert [queued.run for queued in again.queued] == ["c", "b", "a"]
    assert list(again.refused) == ["d.yaml"], "a refused file that is unchanged is not waited for"


def test_a_large_batch_is_readied_in_parts_and_each_finds_what_it_comes_after(sandbox, monkeypatch):
    monkeypatch.setattr("job_orchestration.submission.pipeline._BATCH", 2)
    for name, after in (("a", ["e"]), ("b", []), ("c", ["a"]), ("d", []), ("e", ["d"])):
        sandbox.drop(name, "Writes", after=after)
    assert not sandbox.ready().refused
    sandbox.work()
    found = order(sandbox)
    assert sorted(found) == list("abcde")
    assert [name for name in found if name != "b"] == ["d", "e", "a", "c"]


def test_a_queue_reads_each_token_once(sandbox, monkeypatch):
    for name in "abc":
        sandbox.drop(name, "Writes", after=["a"] if name == "b" else [], priority=1)
    sandbox.ready()
    read = []
    real = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *more, **named: (read.append(path), real(path, *more, **named))[1]
    )
    queue = Queue(sandbox.workspace, WakeupPipe())
    for _ in range(5):
        queue.is_empty()
    tokens = [Path(path).name for path in read if str(path).startswith(sandbox.workspace.to_run)]
    found = [queue.next(), queue.next(), queue.next()]
    queue.close()
    assert sorted(tokens) == ["a.yaml", "b.yaml", "c.yaml"]
    assert [t and t.filename for t in found] == ["a.yaml", "c.yaml", None]
    assert isinstance(found[0], token.Token)


def line_of(
    sandbox, monkeypatch, *configs: tuple[str, dict[str, object]]
) -> tuple[scheduler.Scheduler, list[float]]:
    """Configs that were queued in this order, in a line; and the time, which stands still."""
    for name, more in configs:
        sandbox.queue(name, "Writes", **more)
    now = [100.0]
    monkeypatch.setattr(scheduler, "time", SimpleNamespace(monotonic=lambda: now[0]))
    line = scheduler.Scheduler(sandbox.workspace, lambda _: True)
    for found in token.scan(sandbox.workspace.to_run):
        line.add(found)
    return line, now


def come(line: scheduler.Scheduler) -> list[str]:
    """Who may come now, one after the other."""
    return [found.name.stem for found in iter(line.pop, None)]


def test_a_large_run_has_its_turn_among_small_ones(sandbox, monkeypatch):
    gpus = frozenset({"gpus"})
    line, now = line_of(
        sandbox,
        monkeypatch,
        ("older", {"resources": {"gpus": 1}}),
        ("large", {"resources": {"gpus": 2, "cpus": 1}}),
        ("small", {"resources": {"gpus": 1}}),
        ("urgent", {"resources": {"gpus": 1, "cpus": 2}, "priority": 1}),
        ("other", {"resources": {"cpus": 1}}),
    )
    tokens = {found.name.stem: found for found in token.scan(sandbox.workspace.to_run)}
    assert [line.pop(), line.pop(), line.pop()] == [tokens[name] for name in ("urgent", "older", "large")]
    line.defer(tokens["large"], gpus)
    line.add(tokens["older"])  # released, it keeps its age
    assert come(line) == ["older", "other"], "the small one would go before the large one for ever"
    now[0] += scheduler.RETRY_RESOURCES_EVERY / 2
    line.freed()
    assert come(line) == ["large", "small"]


def test_an_interrupted_run_whose_resources_are_lacking_comes_before_all_that_take_the_same(
    sandbox, monkeypatch
):
    line, now = line_of(
        sandbox,
        monkeypatch,
        ("urgent", {"resources": {"gpus": 1}, "priority": 9}),
        ("other", {"resources": {"cpus": 1}}),
        ("large", {"resources": {"gpus": 2}}),
    )
    large = next(t for t in token.scan(sandbox.workspace.to_run) if t.name.stem == "large")
    running = Path(sandbox.workspace.running, "large~g000001~lab.1.abc.yaml")
    os.rename(large.path, running)
    (interrupted,) = token.scan(sandbox.workspace.running)
    line.clear()
    for found in token.scan(sandbox.workspace.to_run):
        line.add(found)
    line.defer(interrupted, frozenset({"gpus"}))
    line.freed()
    assert come(line) == ["other"]
    now[0] += scheduler.RESUMES_FIRST + 0.1
    assert come(line) == ["urgent"], "somebody has taken it, or it would have been passed over again"


SPACE = {"lr": {"uniform": [0, 1]}}


def test_after_a_sweep_means_all_its_trials_whenever_it_was_readied(sandbox):
    sweep = {"grid": {"lr": [1, 2]}}
    sandbox.drop("many", "Writes", outputDir="family", sweep=sweep)
    sandbox.drop("a", "Writes", after="many")
    assert not sandbox.ready().refused
    for name, meant in (("b", "many"), ("c", "family"), ("d", "family/lr=2")):
        sandbox.queue(name, "Writes", after=meant)
    both = ("family/lr=1", "family/lr=2")
    assert waits(sandbox) == {"a": both, "b": both, "c": both, "d": both[1:]}
    sandbox.work()
    assert set(order(sandbox)[2:]) == set("abcd")


def test_after_a_search_means_when_all_its_trials_have_ended(sandbox):
    search = {"method": "random", "n": 3, "parallel": 1, "metric": "writes.x", "space": SPACE}
    sandbox.drop("best", "Writes", priority=9, after="tune")
    sandbox.drop("tune", "Writes", outputDir="tuned", sweep={"search": search})
    assert not sandbox.ready().refused
    sandbox.queue("too", "Writes", after="tune")
    sandbox.queue("also", "Writes", after="tuned")
    assert waits(sandbox) == dict.fromkeys(("also", "best", "too"), ("tuned",))
    sandbox.work()
    assert [name.partition("/")[0] for name in order(sandbox)][:3] == ["tuned"] * 3
    assert set(order(sandbox)[3:]) == {"best", "too", "also"}
    assert not waits(sandbox)
