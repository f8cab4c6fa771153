"""The order in which runs are claimed: by priority, after others, and by what a machine has room for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

from job_orchestration.actions.check import Check
from job_orchestration.actions.hold import release
from job_orchestration.actions.ready import ready_drops
from job_orchestration.actions.retry import retry
from job_orchestration.actions.selection import Choice
from job_orchestration.actions.status import status
from job_orchestration.engine import lineup
from job_orchestration.engine.queue import Queue, Wake
from job_orchestration.files import token, trash
from tests.integration.arena import eventually

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
                raise ValueError("as it was told to")
            super().run()
"""


def order(arena):
    path = arena.notes / "order"
    return path.read_text().split() if path.exists() else []


def waits(arena):
    return {r.run: r.waits_for for r in status(arena.workspace).runs if r.waits_for}


def test_b_jo_29_a_higher_priority_goes_first_and_equals_go_in_their_order(arena):
    for name, priority in (("a", None), ("b", -1), ("c", 10), ("d", 0), ("e", 2)):
        arena.drop(name, "Writes", **({} if priority is None else {"priority": priority}))
    arena.ready()
    arena.work()
    assert order(arena) == ["c", "e", "a", "d", "b"]


def test_b_jo_29_a_run_goes_when_those_it_comes_after_have_completed(arena):
    arena.drop("a", "Writes", after=["c", "b"], priority=9)
    arena.drop("b", "Writes", after="c.yaml", priority=5)
    arena.drop("c", "Writes")
    assert not arena.ready().refused
    assert waits(arena) == {"a": ("c", "b"), "b": ("c",)}
    arena.work()
    assert order(arena) == ["c", "b", "a"]
    assert json.loads(json.dumps(status(arena.workspace).as_json()))["runs"][0]["waits_for"] == []


def test_after_a_run_whose_folder_or_config_is_called_like_a_file_means_that_run(arena):
    arena.queue("c", "Writes", outputDir="out/c.yaml")
    arena.drop("a", "Writes", after=["b", "out/c.yaml"], priority=9)
    arena.drop("b", "Writes", after="c.yaml", outputDir="out/b.yaml")
    arena.drop("c.yaml", "Writes", after="c.yml")
    assert not arena.ready().refused
    assert waits(arena) == {
        "a": ("out/b.yaml", "out/c.yaml"),
        "out/b.yaml": ("c.yaml",),
        "c.yaml": ("out/c.yaml",),
    }
    arena.work()
    assert order(arena) == ["out/c.yaml", "c.yaml", "out/b.yaml", "a"]


def test_a_run_waits_on_for_one_that_failed_and_status_says_so(arena):
    arena.drop("a", "Writes", after=["b"])
    arena.drop("b", "Fails", maxAttempts=1)
    arena.drop("c", "Writes", after=["a"])
    arena.ready()
    arena.work()
    assert waits(arena) == {"a": ("b (failed)",), "c": ("a",)}
    (arena.notes / "mended").touch()
    worker = arena.start("--until-idle")
    retry(arena.workspace, Choice(("b",)))
    arena.ended(worker)
    arena.work()
    assert order(arena) == ["b", "a", "c"]


def test_another_workers_run_lets_those_behind_it_go(arena):
    arena.drop("a", "Writes", after="b")
    arena.drop("b", "Writes")
    arena.ready()
    held = arena.root / "ConfigsToRun" / "b~held.yaml"
    (arena.root / "ConfigsToRun" / "b.yaml").rename(held)
    worker = arena.start()
    eventually(lambda: list((arena.root / "Misc" / "workers").iterdir()))
    assert waits(arena) == {"a": ("b (held)",)}
    release(arena.workspace, Choice(("b",)))
    eventually(lambda: order(arena) == ["b", "a"], seconds=10)
    worker.terminate()
    arena.ended(worker)


def test_after_means_the_run_that_was_readied_last_and_goes_on_meaning_it(arena):
    arena.queue("b", "Writes", outputDir="first/b")
    arena.work()
    arena.drop("b", "Fails", outputDir="second/b", maxAttempts=1)
    arena.ready()
    arena.drop("a", "Writes", after="b")
    arena.drop("a2", "Writes", after="first/b")
    arena.ready()
    assert waits(arena) == {"a": ("second/b",)}
    assert "\nafter:\n- second/b\n" in (arena.output("a") / "config.yaml").read_text()
    (token_bytes,) = {(arena.root / "ConfigsToRun" / "a.yaml").read_bytes()}
    assert b'\n# asks: {"after": ["second/b"]}\n' in token_bytes
    trash.put_away(arena.workspace, "first/b")
    arena.work()
    assert order(arena) == ["first/b"], "the one that a2 came after is gone"
    assert waits(arena) == {"a": ("second/b (failed)",), "a2": ("first/b (gone)",)}


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


def test_what_can_never_be_waited_for_is_refused(arena):
    for name, (after, _) in NEVER.items():
        arena.drop(name, "Writes", after=after)
    arena.drop("fine", "Writes", after=[])
    report = arena.ready()
    assert [queued.file for queued in report.queued] == ["fine.yaml"]
    for name, (_, words) in NEVER.items():
        (problem,) = [p for p in report.refused[f"{name}.yaml"] if words in str(p)]
        assert problem.key == "after"
        assert problem.line


def test_what_comes_after_a_file_that_is_still_written_waits_for_it(arena):
    arena.drop("a", "Writes", after="b")
    arena.drop("b", "Writes", after="c")
    arena.drop("c", "Writes")
    arena.drop("d", "Writes", after="wrong")
    arena.drop("wrong", "Missing")
    check = Check(arena.workspace)
    first = ready_drops(arena.workspace, check, lambda name, _: name != "c.yaml")
    assert sorted(first.unsettled) == ["a.yaml", "b.yaml", "c.yaml"]
    assert sorted(first.refused) == ["d.yaml", "wrong.yaml"]
    again = ready_drops(arena.workspace, check, lambda name, _: name != "wrong.yaml")
    check.close()
    assert [queued.run for queued in again.queued] == ["c", "b", "a"]
    assert list(again.refused) == ["d.yaml"], "nobody waits for a file that was refused as it is"


def test_a_large_batch_is_readied_in_parts_and_each_finds_what_it_comes_after(arena, monkeypatch):
    monkeypatch.setattr("job_orchestration.actions.ready._BATCH", 2)
    for name, after in (("a", ["e"]), ("b", []), ("c", ["a"]), ("d", []), ("e", ["d"])):
        arena.drop(name, "Writes", after=after)
    assert not arena.ready().refused
    arena.work()
    found = order(arena)
    assert sorted(found) == list("abcde")
    assert [name for name in found if name != "b"] == ["d", "e", "a", "c"]


def test_a_queue_reads_each_token_once(arena, monkeypatch):
    for name in "abc":
        arena.drop(name, "Writes", after=["a"] if name == "b" else [], priority=1)
    arena.ready()
    read = []
    real = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *more, **named: (read.append(path), real(path, *more, **named))[1]
    )
    queue = Queue(arena.workspace, Wake())
    for _ in range(5):
        queue.is_empty()
    tokens = [Path(path).name for path in read if str(path).startswith(arena.workspace.to_run)]
    found = [queue.next(), queue.next(), queue.next()]
    queue.close()
    assert sorted(tokens) == ["a.yaml", "b.yaml", "c.yaml"]
    assert [t and t.filename for t in found] == ["a.yaml", "c.yaml", None]
    assert isinstance(found[0], token.Token)


def line_of(arena, monkeypatch, *configs: tuple[str, dict[str, object]]) -> tuple[lineup.Lineup, list[float]]:
    """Configs that were queued in this order, in a line; and the time, which stands still."""
    for name, more in configs:
        arena.queue(name, "Writes", **more)
    now = [100.0]
    monkeypatch.setattr(lineup, "time", SimpleNamespace(monotonic=lambda: now[0]))
    line = lineup.Lineup(arena.workspace, lambda _: True)
    for found in token.scan(arena.workspace.to_run):
        line.add(found)
    return line, now


def come(line: lineup.Lineup) -> list[str]:
    """Who may come now, one after the other."""
    return [found.name.stem for found in iter(line.pop, None)]


def test_a_large_run_has_its_turn_among_small_ones(arena, monkeypatch):
    gpus = frozenset({"gpus"})
    line, now = line_of(
        arena,
        monkeypatch,
        ("older", {"resources": {"gpus": 1}}),
        ("large", {"resources": {"gpus": 2, "cpus": 1}}),
        ("small", {"resources": {"gpus": 1}}),
        ("urgent", {"resources": {"gpus": 1, "cpus": 2}, "priority": 1}),
        ("other", {"resources": {"cpus": 1}}),
    )
    tokens = {found.name.stem: found for found in token.scan(arena.workspace.to_run)}
    assert [line.pop(), line.pop(), line.pop()] == [tokens[name] for name in ("urgent", "older", "large")]
    line.no_room(tokens["large"], gpus)
    line.add(tokens["older"])  # handed back, it is as old as it was
    assert come(line) == ["older", "other"], "the small one would go before the large one for ever"
    now[0] += lineup.ROOM_EVERY / 2
    line.freed()
    assert come(line) == ["large", "small"]


def test_an_interrupted_run_for_which_there_is_no_room_comes_before_all_that_take_the_same(
    arena, monkeypatch
):
    line, now = line_of(
        arena,
        monkeypatch,
        ("urgent", {"resources": {"gpus": 1}, "priority": 9}),
        ("other", {"resources": {"cpus": 1}}),
        ("large", {"resources": {"gpus": 2}}),
    )
    large = next(t for t in token.scan(arena.workspace.to_run) if t.name.stem == "large")
    running = Path(arena.workspace.running, "large~g000001~lab.1.abc.yaml")
    os.rename(large.path, running)
    (interrupted,) = token.scan(arena.workspace.running)
    line.clear()
    for found in token.scan(arena.workspace.to_run):
        line.add(found)
    line.no_room(interrupted, frozenset({"gpus"}))
    line.freed()
    assert come(line) == ["other"]
    now[0] += lineup.RESUMES_FIRST + 0.1
    assert come(line) == ["urgent"], "somebody has taken it, or it would have been passed over again"


SPACE = {"lr": {"uniform": [0, 1]}}


def test_after_a_sweep_means_all_its_trials_whenever_it_was_readied(arena):
    sweep = {"grid": {"lr": [1, 2]}}
    arena.drop("many", "Writes", outputDir="family", sweep=sweep)
    arena.drop("a", "Writes", after="many")
    assert not arena.ready().refused
    for name, meant in (("b", "many"), ("c", "family"), ("d", "family/lr=2")):
        arena.queue(name, "Writes", after=meant)
    both = ("family/lr=1", "family/lr=2")
    assert waits(arena) == {"a": both, "b": both, "c": both, "d": both[1:]}
    arena.work()
    assert set(order(arena)[2:]) == set("abcd")


def test_after_a_search_means_when_all_its_trials_have_ended(arena):
    search = {"method": "random", "n": 3, "parallel": 1, "metric": "writes.x", "space": SPACE}
    arena.drop("best", "Writes", priority=9, after="tune")
    arena.drop("tune", "Writes", outputDir="tuned", sweep={"search": search})
    assert not arena.ready().refused
    arena.queue("too", "Writes", after="tune")
    arena.queue("also", "Writes", after="tuned")
    assert waits(arena) == dict.fromkeys(("also", "best", "too"), ("tuned",))
    arena.work()
    assert [name.partition("/")[0] for name in order(arena)][:3] == ["tuned"] * 3
    assert set(order(arena)[3:]) == {"best", "too", "also"}
    assert not waits(arena)
