"""What is printed for people. Whatever a file name or a task may have put into it is escaped."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from job_orchestration.cli import times
from job_orchestration.model.problem import escaped
from job_orchestration.model.run import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from job_orchestration.actions.live import Frame
    from job_orchestration.actions.show import Shown
    from job_orchestration.actions.status import Entry, Overview

HEADER: Final = (
    *("place", "run", "task", "worker", "elapsed", "progress", "left", "ends", "waits for", "note", "error"),
)
MOST_ROWS: Final = 200
"""Rows of a table that a person may want to see without having asked for all."""
STYLES: Final = {
    Place.RUNNING: "green",
    Place.INTERRUPTED: "yellow",
    Place.HELD: "cyan",
    Place.FAILED: "red",
    Place.COMPLETED: "dim",
}
_MOST_AHEAD: Final = 2
"""Runs of those that one comes after that fit into a line."""
_IN_PROGRESS: Final = frozenset({Place.TO_RUN, Place.RUNNING, Place.INTERRUPTED})
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_WIDEST: Final = 100
"""Characters of an error that fit into a line."""


def words(place: str) -> str:
    """A place as a person says it."""
    return place.replace("_", " ")


def duration(seconds: float | None) -> str:
    """Seconds in the two largest units that say something."""
    if seconds is None:
        return ""
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, size, below, smaller in (("d", _DAY, "h", _HOUR), ("h", _HOUR, "m", _MINUTE)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller:02} {below}"
    return f"{whole // _MINUTE} m {whole % _MINUTE:02} s"


def cells(entry: Entry) -> tuple[str, ...]:
    """One row of the table, in the order of `HEADER`."""
    error = (entry.error or "").partition("\n")[0]
    return (
        words(entry.place),
        escaped(entry.run or entry.config),
        task_of(entry),
        escaped(entry.held_by or ""),
        duration(entry.elapsed_s),
        "" if entry.progress is None else f"{entry.progress:.0%}",
        times.left(entry.eta_s, entry.eta_p90_s) if entry.place in _IN_PROGRESS and entry.run else "",
        times.until(entry.eta_at, entry.eta_p90_at),
        _waits_for(entry),
        entry.note or "",
        escaped(error if len(error) <= _WIDEST else f"{error[:_WIDEST]}…"),
    )


def _waits_for(entry: Entry) -> str:
    """Some of what a run comes after, for a sweep may be hundreds; what will not end by itself first."""
    some = sorted(entry.waits_for, key=lambda run: not run.endswith(")"))[:_MOST_AHEAD]
    more = len(entry.waits_for) - len(some)
    return escaped(", ".join(some)) + (f" and {more} more" if more else "")


def task_of(entry: Entry) -> str:
    """The task that is next, and which of how many it is."""
    if entry.task_count is None:
        return ""
    if entry.task_index is None:
        return f"{entry.task_count}/{entry.task_count}"
    return f"{escaped(entry.task or '')} {entry.task_index + 1}/{entry.task_count}"


def counts_line(counts: Mapping[Place, int]) -> str:
    """How many there are of each, in one line."""
    return ", ".join(f"{n} {words(place)}" for place, n in counts.items())


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows as lines with aligned columns; a column that is empty below its header is left out."""
    used = [i for i in range(len(rows[0])) if any(row[i] for row in rows[1:])]
    widths = {i: max(len(row[i]) for row in rows) for i in used}
    for row in rows:
        yield "  ".join(f"{row[i]:{widths[i]}}" for i in used).rstrip()


def overview(found: Overview, most: int = MOST_ROWS) -> Iterator[str]:
    """``status`` in plain lines."""
    if found.runs:
        yield from table([HEADER, *(cells(e) for e in found.runs[:most])])
    yield from below(found, most)


def below(found: Overview, most: int) -> Iterator[str]:
    """What stands below the table: how much more there is, how long it will take, and the counts."""
    if len(found.runs) > most:
        yield f"… and {len(found.runs) - most} more; status --all shows them"
    if sentence := times.forecast(found.forecast):
        yield f"{sentence[0].upper()}{sentence[1:]}."
    yield counts_line(found.counts)


def former_report(found: Overview, workers: int) -> Iterator[str]:
    """The lines of the first Job Orchestration's ``progressReport``."""
    busy = [e for e in found.runs if e.place in _IN_PROGRESS]
    yield f"Number in progress {len(busy)}"
    for task, number in Counter(e.task if e.attempt else None for e in busy).items():
        yield f"{escaped(str(task))} {number}"
    yield f"Number of running workers: {workers}"
    whole = found.forecast.eta_s if workers else found.forecast.work_s
    if found.forecast.unknown or (busy and whole is None):
        yield "Expected time remaining: unknown"
        return
    left = whole or 0.0
    yield f"Expected time remaining: {left // _HOUR:.0f}h{left % _HOUR // _MINUTE:.0f}m{left % _MINUTE:.0f}s"


def shown(found: Shown) -> Iterator[str]:
    """``show`` in plain lines."""
    entry = found.entry
    facts = {
        "run": entry.run,
        "config": entry.config,
        "place": words(entry.place),
        "status": entry.status,
        "attempt": entry.attempt,
        "worker": entry.held_by or entry.worker,
        "commit": entry.commit,
        "readied": entry.readied_at,
        "started": entry.started_at,
        "ended": entry.ended_at,
        "elapsed": duration(entry.elapsed_s),
        "time left": "" if entry.eta_s is None else times.left(entry.eta_s, entry.eta_p90_s),
        "ends": times.until(entry.eta_at, entry.eta_p90_at),
        "waits for": ", ".join(entry.waits_for),
        "note": entry.note,
        "outcome": entry.outcome,
        "error": entry.error,
        "folder": found.folder,
    }
    yield from _facts(facts)
    if found.tasks:
        header = ("task", "method", "status", "tries", "took", "files", "error")
        rows = [
            (
                t.id,
                t.method,
                str(t.status),
                str(t.tries),
                duration(t.duration_s),
                str(len(t.outputs)),
                t.error or "",
            )
            for t in found.tasks
        ]
        yield ""
        yield from table([header, *([escaped(cell) for cell in row] for row in rows)])
    if found.provenance:
        yield ""
        yield from _facts({k: v for k, v in found.provenance.items() if _is_short(v)})
    if found.files:
        yield ""
        yield f"files: {'  '.join(escaped(name) for name in found.files)}"


def _facts(facts: Mapping[str, object]) -> Iterator[str]:
    kept = {k: v for k, v in facts.items() if v not in {None, ""}}
    width = max(map(len, kept), default=0)
    for name, value in kept.items():
        yield f"{escaped(name):{width}}  {escaped(str(value))}"


def _is_short(value: object) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and "\n" not in value)


def without_controls(pieces: Iterable[str]) -> Iterator[str]:
    """Pieces of a log made safe for a terminal; line ends and tabs stay."""
    for piece in pieces:
        yield "".join(
            c if c in "\n\t" or c.isprintable() else escaped(c) for c in piece.replace("\r\n", "\n")
        )


class PlainView:
    """What ``up`` prints where nobody looks at a terminal: a line when something changed."""

    def __init__(self) -> None:
        self._last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, line: str) -> None:
        """Print a line; nobody needs to listen."""
        with suppress(OSError):
            print(line, flush=True)

    def show(self, frame: Frame) -> None:
        """Print how many runs are where, when that has changed."""
        line = counts_line(frame.overview.counts)
        if line != self._last:
            self.say(line)
        self._last = line
