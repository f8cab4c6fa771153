"""Check the folders, runs and workers of a workspace for problems. Changes nothing.

Each diagnostic comes with a remedy. Runs that move during the check are checked again, so that a moved run is
not reported as lost.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from job_orchestration.config import workspace_defaults
from job_orchestration.diagnostics.problems import Diagnostic, Fault, Level, escaped, named
from job_orchestration.housekeeping import garbage
from job_orchestration.notifications import outbox
from job_orchestration.runs import (
    catalog,
    claims,
    opening,
    outlived_locks,
    token,
    token_header,
    trash,
    unreadable,
)
from job_orchestration.workspace import clock, heartbeats, layout, lock_probe, locks, naming
from job_orchestration.workspace.layout import TOKEN_PLACES, Place
from job_orchestration.workspace.naming import PROBLEMS_SUFFIX, TokenName
from job_orchestration.workspace.safe_reads import READ_ONLY, names_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.workspace.layout import Workspace

_AHEAD: Final = timedelta(seconds=60)
"""Largest difference between the clocks of two machines that causes no warning."""


def check_workspace(workspace: Workspace) -> Iterator[Diagnostic]:
    """Yield the diagnostics of folders, runs and workers."""
    yield from _folders(workspace)
    records = catalog.entries(workspace)
    yield from _refused_drops(workspace)
    yield from _strays(workspace)
    yield from _tokens(workspace, records)
    yield from _orphans(workspace, {r.run for r in records if r.run})
    yield from _openings(workspace)
    yield from _messages(workspace)
    yield from _workers(workspace, records)


def _diagnostic_about(
    topic: str, level: Level, names: Iterable[str], what: str, todo: str
) -> Iterator[Diagnostic]:
    """Yield one diagnostic about names, if there are any."""
    found = sorted(names)
    if found:
        yield Diagnostic(topic, level, f"{what}: {escaped(named(found))}", todo)


# -- folders ----------------------------------------------------------------------------------------------


def _folders(workspace: Workspace) -> Iterator[Diagnostic]:
    parts = (*workspace.folders.values(), workspace.output, workspace.misc)
    missing = [os.path.basename(path) for path in parts if not os.path.isdir(path)]
    mend = "Run: job-orchestration init"
    if not os.path.exists(os.path.join(workspace.misc, "VERSION")):
        missing.append("Misc/VERSION")
    yield from _diagnostic_about("workspace", Level.WARNING, missing, "These parts are missing", mend)
    there = [path for path in parts if os.path.isdir(path)]
    if len({os.stat(path).st_dev for path in there}) > 1:
        yield Diagnostic(
            "workspace",
            Level.PROBLEM,
            "The folders lie on different file systems, where a rename is not one step",
            "Keep all of them on one; link to data from the configs instead",
        )
    if not missing:
        yield Diagnostic(
            "workspace", Level.OK, f"{workspace.root} has all its folders, format {layout.FORMAT}"
        )
        warning = lock_probe.others_may_write(workspace)
        if warning is not None:
            what, _, todo = warning.rpartition(": ")
            yield Diagnostic("workspace", Level.WARNING, what, todo.rstrip("."))
    _, problems = workspace_defaults.defaults(workspace, check_keys=True)
    for problem in problems:
        level = Level.PROBLEM if problem.is_error else Level.WARNING
        yield Diagnostic("workspace", level, str(problem).rstrip("."))


def _refused_drops(workspace: Workspace) -> Iterator[Diagnostic]:
    refused = [
        n.removesuffix(PROBLEMS_SUFFIX) for n in names_in(workspace.sources) if n.endswith(PROBLEMS_SUFFIX)
    ]
    todo = f"Read the file NAME{PROBLEMS_SUFFIX} beside each in ConfigSources, and correct the config"
    yield from _diagnostic_about("configs", Level.WARNING, refused, "These were refused", todo)


def _strays(workspace: Workspace) -> Iterator[Diagnostic]:
    strays = []
    for place, folder in workspace.folders.items():
        names = names_in(folder)
        for name in names:
            known = naming.is_config_name if place is Place.SOURCES else TokenName.parse
            bare = name.removesuffix(PROBLEMS_SUFFIX)
            if not known(name) and (bare == name or bare not in names):
                strays.append(os.path.join(os.path.basename(folder), name))
    yield from _diagnostic_about(
        "configs", Level.WARNING, strays, "These are no configs and are ignored", "Move them away"
    )


# -- runs -------------------------------------------------------------------------------------------------


def _tokens(workspace: Workspace, records: Sequence[RunRecord]) -> Iterator[Diagnostic]:
    runs = [r for r in records if r.place is not Place.SOURCES]
    unfit = 0
    for record in runs:
        error = None if record.is_first_release else _fault_of(workspace, record)
        if error is not None:
            unfit += 1
            place = os.path.relpath(record.path, workspace.root)
            yield Diagnostic("runs", Level.PROBLEM, f"{escaped(place)}: {error.what}", error.todo)
    named = Counter(
        run
        for place in TOKEN_PLACES
        for t in token.scan(workspace.folders[place])
        if (run := token_header.run_of(t.path))
    )
    doubled = [run for run, number in named.items() if number > 1]
    if doubled and any(n > 1 for n in _again(workspace, doubled)):
        yield from _diagnostic_about(
            "runs",
            Level.PROBLEM,
            doubled,
            "More than one token names these runs",
            "Keep one and remove the copies",
        )
    if not unfit:
        counts = Counter(r.place for r in runs)
        summary = ", ".join(f"{n} {place.replace('_', ' ')}" for place, n in sorted(counts.items()))
        yield Diagnostic("runs", Level.OK, f"Every token has its run: {summary or 'there are none'}")


def _again(workspace: Workspace, runs: Sequence[str]) -> list[int]:
    """Count the present tokens of each run again, because a token that moved may have been seen twice."""
    found: dict[str, set[int]] = {run: set() for run in runs}
    for place in reversed(TOKEN_PLACES):
        for each in token.scan(workspace.folders[place]):
            run = token_header.run_of(each.path)
            if run in found:
                with suppress(OSError):
                    found[run].add(os.lstat(each.path).st_ino)
    return [len(inodes) for inodes in found.values()]


def _fault_of(workspace: Workspace, record: RunRecord) -> Fault | None:
    """Return why a worker would refuse a token; `None` if it would not, or the token has moved."""
    path = record.path
    try:
        descriptor = os.open(path, READ_ONLY)
        try:
            claims.inspect(workspace, descriptor)
        finally:
            os.close(descriptor)
    except claims.UnfitTokenError as error:
        return Fault(error.what, error.todo) if os.path.lexists(path) else None
    except OSError as error:
        return unreadable.fault_of(workspace, error) if os.path.lexists(path) else None
    return record.unreadable


def _orphans(workspace: Workspace, known: set[str]) -> Iterator[Diagnostic]:
    """Yield diagnostics of runs in ``Output`` that have no token, even in a second scan."""
    half = [d.run for d in trash.unfinished(workspace) if d.run]
    todo = "They are put back by: job-orchestration gc --yes"
    yield from _diagnostic_about("runs", Level.WARNING, half, "A process died while it moved these", todo)
    lost = set(_runs_below(workspace)) - known - set(half)
    if lost:
        lost -= {run for _, run in catalog.intended(workspace)}
        lost -= {r.run for r in catalog.entries(workspace) if r.run}
    ended = {run for run in lost if trash.is_without_token(workspace, run)}
    todo = "To see them again: job-orchestration restore RUN"
    yield from _diagnostic_about("runs", Level.WARNING, ended, "These have ended and lost their tokens", todo)
    todo = "Copy Output/RUN/config.yaml to ConfigsToRun/NEW.yaml to have one go on, or move it away"
    yield from _diagnostic_about("runs", Level.WARNING, lost - ended, "These have no token", todo)


def _runs_below(workspace: Workspace) -> Iterator[str]:
    for folder, folders, _ in os.walk(workspace.output):
        if folder != workspace.output and opening.is_run(folder):
            folders.clear()
            yield os.path.relpath(folder, workspace.output)


def _openings(workspace: Workspace) -> Iterator[Diagnostic]:
    intents = [name for name in names_in(workspace.opening) if name.endswith(".json")]
    if not intents:
        return
    held = locks.held_inodes(workspace.opening)
    if held is None or os.stat(workspace.opening).st_ino not in held:
        yield Diagnostic(
            "runs",
            Level.WARNING,
            "A ready was cut short while it queued configs",
            "Run it again, and it finishes or undoes what was begun: job-orchestration ready",
        )


def _messages(workspace: Workspace) -> Iterator[Diagnostic]:
    given_up, waiting = outbox.undelivered(workspace), outbox.names(workspace)
    if given_up:
        yield Diagnostic(
            "messages",
            Level.WARNING,
            f"Not delivered and given up: {len(given_up)}, in Misc/outbox/undelivered",
            "See why in Misc/outbox/log. To send them again, move them to Misc/outbox",
        )
    tried = [m for name in waiting if (m := outbox.read(workspace, name)) is not None and m.rounds]
    if tried:
        yield Diagnostic(
            "messages",
            Level.WARNING,
            f"{len(tried)} of {len(waiting)} waiting messages were tried in vain",
            "Try the recipients with: job-orchestration notify --test",
        )


# -- workers ----------------------------------------------------------------------------------------------


def _workers(workspace: Workspace, records: Sequence[RunRecord]) -> Iterator[Diagnostic]:
    living = {heartbeat.worker for heartbeat in catalog.living_workers(workspace)}
    every = heartbeats.read(workspace)
    yield Diagnostic("workers", Level.OK, f"{len(living)} alive: {escaped(named(sorted(living))) or 'none'}")
    yield from _diagnostic_about(
        "workers",
        Level.WARNING,
        every.keys() - living,
        "No heartbeat from these workers: crashed, or on an unreachable machine",
        "Nothing needs to be done: their runs go on with the next worker, and gc takes the rest away",
    )
    interrupted = [r.run or r.config for r in records if r.place is Place.INTERRUPTED]
    yield from _diagnostic_about(
        "workers", Level.WARNING, interrupted, "These runs are interrupted", "Start a worker, and they go on"
    )
    unknown = [r.run or r.config for r in records if r.place is Place.RUNNING and r.held_by is None]
    yield from _diagnostic_about(
        "workers",
        Level.WARNING,
        unknown,
        "The holder of these runs is unknown",
        "Look on the machine in the name of the token; any worker resumes them once their lock is free",
    )
    for name in names_in(workspace.running):
        path = os.path.join(workspace.running, name)
        left = outlived_locks.holders(path)
        if left and os.path.lexists(path):
            run = token_header.run_of(path) or name
            yield Diagnostic(
                "workers",
                Level.WARNING,
                f"The worker of {escaped(run)} is dead, but its lock is held by"
                f" {outlived_locks.named_processes(left)}",
                "The next worker ends what is left of it; without one: kill -KILL "
                + " ".join(map(str, sorted(left))),
            )
    now = clock.now()
    ahead = [heartbeat.hostname for heartbeat in every.values() if _moment(heartbeat.at) - now > _AHEAD]
    yield from _diagnostic_about(
        "clock",
        Level.WARNING,
        set(ahead),
        "The clocks of these machines are ahead of ours",
        "Let NTP set them",
    )
    waste = sum(garbage.size_of(path) for path in garbage.abandoned(workspace))
    if waste:
        yield Diagnostic(
            "workspace", Level.WARNING, f"Dead processes left {waste / 1e6:.1f} MB in Misc", "Run: gc --yes"
        )


def _moment(text: str) -> datetime:
    with suppress(ValueError):
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return datetime.min.replace(tzinfo=UTC)
