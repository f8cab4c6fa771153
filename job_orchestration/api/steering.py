"""Change runs by the commands of the same names; what a command refuses is an exception here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from job_orchestration.api.background import Background
from job_orchestration.api.reading import selection_of
from job_orchestration.commands import selection
from job_orchestration.diagnostics.errors import RunRefusedError, UsageError
from job_orchestration.diagnostics.problems import Problem, escaped, named
from job_orchestration.runs import catalog
from job_orchestration.workspace import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from job_orchestration.api.reading import Named, Reader
    from job_orchestration.commands.selection import Selection


def retry(
    reader: Reader,
    choice: Selection,
    *,
    task: str | None,
    fresh: bool,
    commit: str | None,
    parameters: Mapping[str, Any] | None,
) -> Sequence[str]:
    """Queue failed runs again; return their names."""
    from job_orchestration.commands.retry import retry as queue

    done = queue(
        prepared(reader),
        choice,
        "asked from Python",
        task=task,
        fresh=fresh,
        commit=commit,
        parameters=parameters,
    )
    return _checked(done.runs, done.refused)


def rerun(
    reader: Reader,
    choice: Selection,
    *,
    commit: str | None,
    parameters: Mapping[str, Any] | None,
    task: str | None = None,
    recorded_environment: bool = False,
    strict: bool = False,
) -> Sequence[str]:
    """Queue new runs; return their names."""
    from job_orchestration.commands.rerun import rerun as queue

    done = queue(
        *(prepared(reader), _some(choice)),
        commit=commit,
        parameters=parameters,
        task=task,
        recorded_environment=recorded_environment,
        strict=strict,
    )
    return _checked([new.run for new in done.runs], done.refused)


def verify(
    reader: Reader,
    names: Sequence[Named | str],
    *,
    against: str | None,
    rtol: float | None,
    atol: float | None,
    ignore: Sequence[str] | None,
) -> list[dict[str, Any]]:
    """Compare reruns with their originals; return the record of each pair."""
    from job_orchestration.commands.verify import How
    from job_orchestration.commands.verify import verify as compare

    how = How(rtol, atol, None if ignore is None else tuple(ignore))
    done = compare(prepared(reader), _some(selection_of(names)), how, against=against)
    if done.refused:
        raise RunRefusedError(done.refused, [str(record["rerun"]) for record in done.verified])
    return [dict(record) for record in done.verified]


def bisect(
    reader: Reader,
    ends: tuple[str, str],
    metric: str,
    say: Callable[[str], None] | None,
    *,
    at: float | None,
    higher: bool | None,
    here: bool,
) -> dict[str, Any]:
    """Find the commit that moved a metric."""
    from job_orchestration.commands.bisect import bisect as find

    workspace = prepared(reader)
    workers: list[Background] = []

    def pause(seconds: float) -> None:
        if not any(one.is_alive for one in workers) and not catalog.living_workers(workspace):
            workers.append(Background(["work", "--workspace", workspace.root], say))
        time.sleep(seconds)

    try:
        found = find(
            workspace,
            ends,
            metric,
            say or (lambda _: None),
            at=at,
            higher=higher,
            pause=pause if here else None,
        )
    finally:
        for one in workers:
            one.stop()
    return found.as_json()


def cancel(reader: Reader, choice: Selection) -> Sequence[str]:
    """End runs; return the names of those that have ended."""
    from job_orchestration.commands.cancel import cancel as end

    done = end(prepared(reader), _some(choice))
    if done.asked:
        todo = "Its worker will end it when it can; wait for it"
        raise UsageError(f"No worker has answered yet for {named(map(escaped, done.asked))}", todo)
    return _checked(done.runs, done.refused)


def hold(reader: Reader, choice: Selection) -> Sequence[str]:
    """Hold waiting runs; return their names."""
    from job_orchestration.commands.hold import hold as keep

    done = keep(prepared(reader), _some(choice))
    return _checked(done.runs, done.refused)


def release(reader: Reader, choice: Selection) -> Sequence[str]:
    """Release held runs; return their names."""
    from job_orchestration.commands.hold import release as let_go

    done = let_go(prepared(reader), _some(choice))
    return _checked(done.runs, done.refused)


def export(reader: Reader, choice: Selection, to: str, *, ro_crate: bool) -> str:
    """Write ended runs into a folder or an archive; return its path."""
    from job_orchestration.commands.export import export as write

    return write(reader.workspace, _some(choice), to, ro_crate=ro_crate).path


def import_runs(reader: Reader, path: str) -> Sequence[str]:
    """Take the runs of an export over; return their names here."""
    from job_orchestration.commands.import_runs import import_runs as take_over

    done = take_over(prepared(reader), path).runs
    faults = [Problem(one.original, one.fault.what, one.fault.todo) for one in done if one.fault is not None]
    return _checked([one.run for one in done if one.run is not None], faults)


def wait(reader: Reader, names: Sequence[Named | str], timeout: float | None) -> list[str]:
    """Wait until runs have ended; return their names in the order of their ends.

    Raises:
        TimeoutError: if some have not ended in time.
        UsageError: if the folder of one was deleted.
    """
    from job_orchestration.commands.wait import GONE
    from job_orchestration.commands.wait import wait as wait_for

    waited = wait_for(reader.workspace, selection_of(names), timeout=timeout)
    if waited.left:
        raise TimeoutError(f"not ended within {timeout:g} s: {named(map(escaped, waited.left))}")
    if gone := [end.run for end in waited.ends if end.end == GONE]:
        raise UsageError(f"There is no run {named(map(escaped, gone))}", "Its folder was deleted meanwhile")
    return [end.run for end in waited.ends]


def prepared(reader: Reader) -> layout.Workspace:
    """Return the workspace with all its folders in place, for what changes it."""
    return layout.prepare(reader.workspace.root)


def _some(choice: Selection) -> Selection:
    if choice == selection.EVERYTHING:
        raise UsageError("No run is named", "Name some, or choose them by status or filter; '*' means all")
    return choice


def _checked(runs: Iterable[str], refused: Sequence[Problem]) -> Sequence[str]:
    done = tuple(runs)
    if refused:
        raise RunRefusedError(refused, done)
    return done
