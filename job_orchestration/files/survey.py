"""What is wrong with a workspace: a walk through its folders that changes nothing and believes nothing.

Whatever lies where it should not is told with what to do about it. Runs that move while we look are looked
at once more, so that nothing is called lost which only changed its place.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from job_orchestration.files import beats, history, litter, locks, opening, probe, token, trash
from job_orchestration.files import workspace as workspaces
from job_orchestration.model.finding import Finding, Level
from job_orchestration.model.problem import escaped, named
from job_orchestration.model.run import Place
from job_orchestration.rules import naming
from job_orchestration.rules.naming import PROBLEMS_SUFFIX, TokenName

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from job_orchestration.files.history import RunRecord
    from job_orchestration.files.workspace import Workspace

_AHEAD: Final = timedelta(seconds=60)
"""How far the clocks of two hosts may differ before what they write is confusing."""
_TOKENS: Final = (Place.TO_RUN, Place.RUNNING, Place.COMPLETED, Place.FAILED)


def survey(workspace: Workspace) -> Iterator[Finding]:
    """Everything there is to say about a workspace's folders, runs and workers."""
    yield from _folders(workspace)
    records = history.entries(workspace)
    yield from _drops(workspace)
    yield from _strays(workspace)
    yield from _tokens(workspace, records)
    yield from _orphans(workspace, {r.run for r in records if r.run})
    yield from _openings(workspace)
    yield from _workers(workspace, records)


def _finding(topic: str, level: Level, names: Iterable[str], what: str, todo: str) -> Iterator[Finding]:
    """One finding about all of some names, when there are any."""
    found = sorted(names)
    if found:
        yield Finding(topic, level, f"{what}: {escaped(named(found))}", todo)


# -- folders ----------------------------------------------------------------------------------------------


def _folders(workspace: Workspace) -> Iterator[Finding]:
    parts = (*workspace.folders.values(), workspace.output, workspace.misc)
    missing = [os.path.basename(path) for path in parts if not os.path.isdir(path)]
    mend = "Run: job-orchestration init"
    if not os.path.exists(os.path.join(workspace.misc, "VERSION")):
        missing.append("Misc/VERSION")
    yield from _finding("workspace", Level.WARNING, missing, "These parts are missing", mend)
    there = [path for path in parts if os.path.isdir(path)]
    if len({os.stat(path).st_dev for path in there}) > 1:
        yield Finding(
            "workspace",
            Level.PROBLEM,
            "The folders lie on different file systems, where a rename is not one step",
            "Keep all of them on one; link to data from the configs instead",
        )
    if not missing:
        yield Finding(
            "workspace", Level.OK, f"{workspace.root} has all its folders, format {workspaces.FORMAT}"
        )
        warning = probe.others_may_write(workspace)
        if warning is not None:
            what, _, todo = warning.rpartition(": ")
            yield Finding("workspace", Level.WARNING, what, todo.rstrip("."))
    _, problems = workspaces.defaults(workspace)
    for problem in problems:
        yield Finding("workspace", Level.PROBLEM, str(problem).rstrip("."))


def _drops(workspace: Workspace) -> Iterator[Finding]:
    refused = [
        n.removesuffix(PROBLEMS_SUFFIX) for n in _names(workspace.sources) if n.endswith(PROBLEMS_SUFFIX)
    ]
    todo = f"Read the file NAME{PROBLEMS_SUFFIX} beside each in ConfigSources and mend it"
    yield from _finding("configs", Level.WARNING, refused, "These were refused", todo)


def _strays(workspace: Workspace) -> Iterator[Finding]:
    strays = []
    for place, folder in workspace.folders.items():
        names = _names(folder)
        for name in names:
            known = naming.is_config_name if place is Place.SOURCES else TokenName.parse
            bare = name.removesuffix(PROBLEMS_SUFFIX)
            if not known(name) and (bare == name or bare not in names):
                strays.append(os.path.join(os.path.basename(folder), name))
    yield from _finding(
        "configs", Level.WARNING, strays, "These are no configs, and nobody looks at them", "Move them away"
    )


# -- runs -------------------------------------------------------------------------------------------------


def _tokens(workspace: Workspace, records: Sequence[RunRecord]) -> Iterator[Finding]:
    runs = [r for r in records if r.place is not Place.SOURCES]
    unfit = 0
    for record in runs:
        error = None if record.former else _fault_of(workspace, record.path)
        if error is not None:
            unfit += 1
            place = os.path.relpath(record.path, workspace.root)
            yield Finding("runs", Level.PROBLEM, f"{escaped(place)}: {error.what}", error.todo)
    named = Counter(
        run
        for place in _TOKENS
        for t in token.scan(workspace.folders[place])
        if (run := token.run_of(t.path))
    )
    doubled = [run for run, number in named.items() if number > 1]
    if doubled and any(n > 1 for n in _again(workspace, doubled)):
        yield from _finding(
            "runs",
            Level.PROBLEM,
            doubled,
            "More than one token names these runs",
            "Keep one and remove the copies",
        )
    if not unfit:
        counts = Counter(r.place for r in runs)
        told = ", ".join(f"{n} {place.replace('_', ' ')}" for place, n in sorted(counts.items()))
        yield Finding("runs", Level.OK, f"Every token has its run: {told or 'there are none'}")


def _again(workspace: Workspace, runs: Sequence[str]) -> list[int]:
    """How many different files name each run, now: one that moved may have been met twice."""
    found: dict[str, set[int]] = {run: set() for run in runs}
    for place in reversed(_TOKENS):
        for each in token.scan(workspace.folders[place]):
            run = token.run_of(each.path)
            if run in found:
                with suppress(OSError):
                    found[run].add(os.lstat(each.path).st_ino)
    return [len(inodes) for inodes in found.values()]


def _fault_of(workspace: Workspace, path: str) -> token.UnfitTokenError | None:
    """Why a worker would refuse a token; `None` also for one that has moved on."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            token.inspect(workspace, descriptor)
        except token.UnfitTokenError as error:
            return error if os.path.lexists(path) else None
        finally:
            os.close(descriptor)
    return None


def _orphans(workspace: Workspace, known: set[str]) -> Iterator[Finding]:
    """Runs in ``Output`` that no token stands for, also when they are looked for once more."""
    half = [d.run for d in trash.unfinished(workspace) if d.run]
    todo = "They are put back by: job-orchestration gc --yes"
    yield from _finding("runs", Level.WARNING, half, "These were moved half-way when somebody died", todo)
    lost = set(_runs_below(workspace)) - known - set(half)
    if lost:
        lost -= {run for _, run in history.intended(workspace)}
        lost -= {r.run for r in history.entries(workspace) if r.run}
    ended = {run for run in lost if trash.is_without_token(workspace, run)}
    todo = "To see them again: job-orchestration restore RUN"
    yield from _finding("runs", Level.WARNING, ended, "These have ended and lost their tokens", todo)
    todo = "Copy Output/RUN/config.yaml to ConfigsToRun/NEW.yaml to have one go on, or move it away"
    yield from _finding("runs", Level.WARNING, lost - ended, "No token stands for these", todo)


def _runs_below(workspace: Workspace) -> Iterator[str]:
    for folder, folders, _ in os.walk(workspace.output):
        if folder != workspace.output and opening.is_run(folder):
            folders.clear()
            yield os.path.relpath(folder, workspace.output)


def _openings(workspace: Workspace) -> Iterator[Finding]:
    intents = [name for name in _names(workspace.opening) if name.endswith(".json")]
    if not intents:
        return
    held = locks.held_inodes(workspace.opening)
    if held is None or os.stat(workspace.opening).st_ino not in held:
        yield Finding(
            "runs",
            Level.WARNING,
            "A ready was cut short while it queued configs",
            "Run it again, and it finishes or undoes what was begun: job-orchestration ready",
        )


# -- workers ----------------------------------------------------------------------------------------------


def _workers(workspace: Workspace, records: Sequence[RunRecord]) -> Iterator[Finding]:
    living = {beat.worker for beat in history.living_workers(workspace)}
    every = beats.read(workspace)
    yield Finding("workers", Level.OK, f"{len(living)} alive: {escaped(named(sorted(living))) or 'none'}")
    yield from _finding(
        "workers",
        Level.WARNING,
        every.keys() - living,
        "These died without a word, or are on a host that is cut off",
        "Nothing needs to be done: their runs go on with the next worker, and gc takes the rest away",
    )
    interrupted = [r.run or r.config for r in records if r.place is Place.INTERRUPTED]
    yield from _finding(
        "workers", Level.WARNING, interrupted, "These runs are interrupted", "Start a worker, and they go on"
    )
    unknown = [r.run or r.config for r in records if r.place is Place.RUNNING and r.held_by is None]
    yield from _finding(
        "workers",
        Level.WARNING,
        unknown,
        "Nobody knows who holds these runs",
        "Look on the host that the name of the token tells; any worker takes them up once their lock is free",
    )
    now = datetime.now(UTC)
    ahead = [beat.host for beat in every.values() if _moment(beat.at) - now > _AHEAD]
    yield from _finding(
        "clock", Level.WARNING, set(ahead), "The clocks of these hosts are ahead of ours", "Let NTP set them"
    )
    waste = sum(litter.size_of(path) for path in litter.abandoned(workspace))
    if waste:
        yield Finding(
            "workspace", Level.WARNING, f"Dead processes left {waste / 1e6:.1f} MB in Misc", "Run: gc --yes"
        )


def _moment(text: str) -> datetime:
    with suppress(ValueError):
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return datetime.min.replace(tzinfo=UTC)


def _names(folder: str) -> list[str]:
    with suppress(OSError):
        return sorted(os.listdir(folder))
    return []
