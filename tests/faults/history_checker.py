"""The independent judge: the journals' raw lines and the tasks' own notes, held against what was promised.

It reads files and nothing else, and uses nothing of the product's own reading: a fold that hides a double
cannot hide it here. Two witnesses are compared. The *journals* are the product's word. The *notes* are the
tasks' own: they write, with one `write` each and outside the workspace, when they start, that they still
run, and when they end, stamped by the machine's monotonic clock, and which process had imported them.

Promises, as they are judged:

- one owner: an attempt has one `claimed`, first in its file, of the number of its file; its tasks ran in the
  processes of one fork server
- attempts increase: in time, by the notes; and each builds on no more than what lies in the earlier files
- an attempt that was taken over is silent: no earlier file has more lines than the last `claimed` builds on
- one commit a task: one raw `task_finished` in all files, of an execution that reached its end, and no start
  of that task after it
- acknowledged means durable: the process that starts a task has found the checkpoint of the task before it in
  the journal
- no overlap: the executions of one run never share a moment
- nothing runs without a word: there is a `task_started` for every start that was noted
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NOTE = """
import os, time

HOST = os.getpid()

def note(kind, context, task):
    words = (kind, context.run, task, context.attempt, os.getpid(), HOST, time.monotonic_ns())
    with open(os.environ["STORM_EVENTS"], "ab", buffering=0) as file:
        file.write((" ".join(map(str, words)) + "\\n").encode())
"""
"""What makes a ``Tasks.py`` a witness: ``note("start" | "tick" | "end", self.context, id)``."""


class Note(NamedTuple):
    """One line of a task's own."""

    kind: str
    run: str
    task: str
    attempt: int
    pid: int
    fork_server: int
    at: int
    """Nanoseconds of the monotonic clock."""


@dataclass
class Execution:
    """One process's work on one task, from its first to its last sign of life."""

    task: str
    attempt: int
    pid: int
    fork_server: int
    began: int
    last: int
    ended: bool = False

    @property
    def name(self) -> str:
        return f"{self.task} of attempt {self.attempt} in process {self.pid}"


Lines = dict[int, list[dict[str, Any]]]
"""Attempt to the lines of its file that end and parse."""


@dataclass
class Evidence:
    """What there is to be judged."""

    journals: dict[str, Lines] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def executions(self, run: str) -> list[Execution]:
        """The executions of a run by the time of their start."""
        found: dict[tuple[str, int, int], Execution] = {}
        for note in self.notes:
            if note.run != run:
                continue
            who = (note.task, note.attempt, note.pid)
            if who not in found:
                found[who] = Execution(note.task, note.attempt, note.pid, note.fork_server, note.at, note.at)
            found[who].last = max(found[who].last, note.at)
            found[who].ended |= note.kind == "end"
        return sorted(found.values(), key=lambda e: e.began)


def read(workspace: Path, notes: Path, runs: Sequence[str]) -> Evidence:
    """The history of some runs as it lies on the disk; whole lines only."""
    evidence = Evidence()
    for run in runs:
        evidence.journals[run] = {
            int(path.stem): list(_lines(path))
            for path in sorted((workspace / "Output" / run / "journal").glob("*.jsonl"))
        }
    for line in notes.read_text().split("\n")[:-1]:
        kind, run, task, attempt, pid, fork_server, at = line.split()
        evidence.notes.append(Note(kind, run, task, int(attempt), int(pid), int(fork_server), int(at)))
    return evidence


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().split(b"\n")[:-1]:
        try:
            found = json.loads(line)
        except ValueError:
            continue  # half a line of somebody who was killed, ended by the next writer
        if isinstance(found, dict):
            yield found


def violations(evidence: Evidence, tasks: Sequence[str], *, stale: bool = False) -> list[str]:
    """Everything that was promised and did not hold; empty when all is well.

    Args:
        evidence: of runs that are all in Completed.
        tasks: the ids of each run's tasks, in order.
        stale: whether a holder may write after it was taken over, as one behind a cut network does; then what
            it wrote must only be ignored.
    """
    by_run: dict[str, Evidence] = defaultdict(Evidence)
    for note in evidence.notes:
        by_run[note.run].notes.append(note)
    found = [f"{run}: notes of a run that has no journal" for run in by_run.keys() - evidence.journals.keys()]
    for run, lines in evidence.journals.items():
        executions = by_run[run].executions(run)
        counted = lines if not stale else _without_stale(lines)
        words = [
            *_owners(lines, executions),
            *([] if stale else _silent(lines)),
            *_commits(counted, executions, tasks),
            *_in_time(executions),
            *_acknowledged(counted, executions, tasks),
            *_announced(lines, executions),
        ]
        found += [f"{run}: {word}" for word in words]
    return found


def _claims(lines: Lines) -> dict[int, dict[str, Any]]:
    return {n: f[0] for n, f in lines.items() if n > 0 and f and f[0].get("event") == "claimed"}


def _without_stale(lines: Lines) -> Lines:
    """The lines that the last claim builds on, and its own."""
    claims = _claims(lines)
    if not claims:
        return {0: lines.get(0, [])}
    last = max(claims)
    counts = {int(n): int(count) for n, count in claims[last].get("builds_on", {}).items()}
    return {**{n: lines[n][:count] for n, count in counts.items() if n in lines}, last: lines[last]}


def _owners(lines: Lines, executions: Sequence[Execution]) -> Iterator[str]:
    if [e.get("event") for e in lines.get(0, [])] != ["readied"]:
        yield "its first file is not one readied"
    for number, found in lines.items():
        if [e.get("seq") for e in found] != list(range(1, len(found) + 1)):
            yield f"attempt {number} is not numbered from 1 on"
        if not number or not found:
            continue
        claimed = [n for n, e in enumerate(found) if e["event"] == "claimed"]
        if claimed != [0]:
            yield f"attempt {number} has its claimed at {claimed}, and not first and once"
        elif found[0]["attempt"] != number:
            yield f"attempt {number} says that it is attempt {found[0]['attempt']}"
    fork_servers: dict[int, set[int]] = defaultdict(set)
    for execution in executions:
        fork_servers[execution.attempt].add(execution.fork_server)
    for number, servers in fork_servers.items():
        if len(servers) > 1:
            yield f"attempt {number} ran in {len(servers)} hosts"
        if number not in _claims(lines):
            yield f"attempt {number} ran and had never claimed"


def _silent(lines: Lines) -> Iterator[str]:
    """No attempt writes after a later claim, and none builds on more events than exist."""
    for number, claim in _claims(lines).items():
        counts = {int(n): int(count) for n, count in claim.get("builds_on", {}).items()}
        for earlier in (n for n in lines if n < number):
            seen, there = counts.get(earlier, 0), len(lines[earlier])
            if seen > there:
                yield f"attempt {number} builds on {seen} events of attempt {earlier}, which has {there}"
            elif seen < there:
                yield f"attempt {earlier} went on to write after attempt {number} had begun"


def _commits(lines: Lines, executions: Sequence[Execution], tasks: Sequence[str]) -> Iterator[str]:
    finished: dict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for number, found in lines.items():
        for event in found:
            if event["event"] == "task_finished":
                finished[event["task"]].append((number, event))
            elif event["event"] == "task_started" and finished[event["task"]]:
                yield f"{event['task']} was started by attempt {number} after it had finished"
    for task in tasks:
        if len(finished[task]) != 1:
            yield f"{task} finished {len(finished[task])} times"
            continue
        ((number, event),) = finished[task]
        own = [e for e in executions if e.task == task]
        pid = (event.get("result") or {}).get("pid")
        if not [e for e in own if (e.attempt, e.pid, e.ended) == (number, pid, True)]:
            yield f"{task} finished in attempt {number} by process {pid}, which never came to its end"
        elif (own[-1].attempt, own[-1].pid) != (number, pid):
            yield f"{task} ran once more, as {own[-1].name}, after it had finished"


def _in_time(executions: Sequence[Execution]) -> Iterator[str]:
    """Executions are sorted by their start; each must have ended before the next began."""
    last = None
    for execution in executions:
        if last is not None and execution.began < last.last:
            shared = (last.last - execution.began) / 1e6
            yield f"{last.name} and {execution.name} overlap by {shared:.1f} ms"
        if last is None or execution.last > last.last:
            last = execution
    for one, two in itertools.pairwise(executions):
        if two.attempt < one.attempt:
            yield f"attempt {two.attempt} went on after attempt {one.attempt} had begun"


def _acknowledged(lines: Lines, executions: Sequence[Execution], tasks: Sequence[str]) -> Iterator[str]:
    """A start of a task means that the checkpoint of the one before it lies in the journal, further up."""
    order = [(n, event) for n in sorted(lines) for event in lines[n]]
    done: set[str] = set()
    checkpoints: dict[str, int] = {}
    for number, event in order:
        if event["event"] == "task_finished":
            done.add(event["task"])
            checkpoints.setdefault(event["task"], number)
        elif event["event"] == "task_started":
            missing = [t for t in tasks[: tasks.index(event["task"])] if t not in done]
            if missing:
                yield f"attempt {number} started {event['task']} before {', '.join(missing)} had a checkpoint"
    for execution in executions:
        for task in tasks[: tasks.index(execution.task)]:
            if checkpoints.get(task, execution.attempt + 1) > execution.attempt:
                yield f"{execution.name} ran without a checkpoint of {task}"


def _announced(lines: Lines, executions: Sequence[Execution]) -> Iterator[str]:
    said = defaultdict(int)
    for number, found in lines.items():
        for event in found:
            if event["event"] == "task_started":
                said[number, event["task"]] += 1
    for execution in executions:
        said[execution.attempt, execution.task] -= 1
        if said[execution.attempt, execution.task] < 0:
            yield f"{execution.name} ran without a word in the journal"
