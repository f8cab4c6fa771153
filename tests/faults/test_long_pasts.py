"""A run with a long past goes on: its message is of any length, and idle attempts leave no files for good."""

from __future__ import annotations

import json
import os
from datetime import timedelta

import pytest

from job_orchestration.executor import messages
from job_orchestration.runs import claims, event_codec, journal, lifecycle, token
from job_orchestration.runs.events import Claimed, HandedBack, JournalEntry, TaskStarted
from job_orchestration.worker import child_end
from tests.faults.workspace_files import names
from tests.integration.harness import Sandbox

TASKS = """
    from job_orchestration import TaskBase


    class Quick(TaskBase):
        def __init__(self, config):
            self.config = config

        def run(self):
            return self.context.attempt
"""
AT = "2026-01-01T00:00:00.000000+00:00"
MANY, SOME = 20_000, 40


def deferred(
    reason: str, until: str | None, attempt: int = 1, builds_on: dict[int, int] | None = None
) -> bytes:
    """The journal file of an attempt in which nothing was achieved."""
    found = (
        Claimed(attempt, "gone.1.abc", "gone", 1, builds_on or {}),
        TaskStarted("quick", attempt),
        HandedBack(reason, until),
    )
    return b"".join(event_codec.encode(JournalEntry(n, AT, event)) for n, event in enumerate(found, 1))


def give_past(sandbox: Sandbox, run: str, number: int, reason: str, until: str | None) -> None:
    folder = sandbox.output(run) / "journal"
    (folder / "000001.jsonl").write_bytes(deferred(reason, until))
    for n in range(2, number):
        os.link(folder / "000001.jsonl", folder / f"{n:06d}.jsonl")
    known = {0: 1, **dict.fromkeys(range(1, number), 3)}
    (folder / f"{number:06d}.jsonl").write_bytes(deferred(reason, until, number, known))


@pytest.mark.slow
def test_a_run_with_a_long_past_goes_on_and_its_past_is_folded(folder):
    sandbox = Sandbox(folder, TASKS)
    for isolation in ("fork", "spawn"):
        sandbox.queue(isolation, "Quick", isolation=isolation)
        give_past(sandbox, isolation, MANY, "the worker stops", None)
    sandbox.queue("idle", "Quick")
    give_past(sandbox, "idle", SOME, child_end.REASON, AT)
    said = sandbox.work()
    assert names(sandbox.root, "Completed") == ["fork", "idle", "spawn"], said
    for run, number in (("fork", MANY), ("spawn", MANY), ("idle", SOME)):
        last = sandbox.output(run) / "journal" / f"{number + 1:06d}.jsonl"
        (finished,) = [
            e for e in map(json.loads, last.read_text().splitlines()) if e["event"] == "task_finished"
        ]
        assert finished["result"] == number + 1
    left = sorted(p.name for p in (sandbox.output("idle") / "journal").glob("*.jsonl"))
    assert left == [f"{n:06d}.jsonl" for n in (0, 1, SOME, SOME + 1)]
    sandbox.close()


def test_folding_changes_nothing_but_the_number_of_tries(tmp_path):
    sandbox = Sandbox(tmp_path, TASKS)
    sandbox.queue("idle", "Quick")
    give_past(sandbox, "idle", SOME, child_end.REASON, AT)
    folder = str(sandbox.output("idle"))
    before = lifecycle.fold(journal.read(folder))
    (waiting,) = token.scan(sandbox.workspace.to_run)
    claim = claims.claim(sandbox.workspace, waiting, "gone.1.abc", "gone")
    assert claim is not None
    assert claim.state == lifecycle.fold(journal.read(folder))
    assert (claim.state.started_at, claim.state.interruptions) == (before.started_at, 0)
    assert claim.state.tasks[0].failures == before.tasks[0].failures == 0
    claim.release()
    sandbox.close()


@pytest.mark.parametrize("length", [10, 1 << 16, 1 << 17, 1 << 20, 1 << 24])
def test_messages_of_any_length_arrive_with_their_descriptors(length):
    ours, theirs = messages.pair()
    sent = os.pipe()
    assert messages.send(ours, {"text": "x" * length}, sent)
    message, descriptors = messages.receive(theirs)
    assert message == {"text": "x" * length}
    assert [os.fstat(d).st_ino for d in descriptors] == [os.fstat(d).st_ino for d in sent]
    for descriptor in (*sent, *descriptors):
        os.close(descriptor)
    ours.close()
    theirs.close()


def test_the_wait_of_a_run_that_is_deferred_grows_to_minutes():
    waits, past = [], {}
    for n in range(1, 12):
        wait = child_end.delay_after(past)
        waits.append(wait)
        until = (
            f"2026-01-01T00:{int(wait.total_seconds()) // 60:02d}:{int(wait.total_seconds()) % 60:02d}+00:00"
        )
        past[n] = event_codec_of(deferred(child_end.REASON, until, n))
    assert waits[:4] == [timedelta(seconds=2 * 2**n) for n in range(4)]
    assert waits[-1] == timedelta(minutes=5)


def event_codec_of(data: bytes) -> list[JournalEntry]:
    return journal.parse(data)[0]
