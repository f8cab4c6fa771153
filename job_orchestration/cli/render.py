"""Text output of commands. Values from file names, configs and tasks are escaped."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Final, Self

from job_orchestration.cli import forecast_text, usage_text
from job_orchestration.diagnostics import durations, sizes
from job_orchestration.diagnostics.plurals import counted
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.runs.events import INTENDED
from job_orchestration.workspace.layout import ACTIVE_PLACES, Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from job_orchestration.commands.live_view import Frame
    from job_orchestration.commands.show import Shown, ShownFile
    from job_orchestration.commands.status import Overview, StatusEntry
    from job_orchestration.config.config import Json
    from job_orchestration.runs.state import Change

HEADER: Final = (
    *(
        "place",
        "run",
        "task",
        "worker",
        "elapsed",
        "waited",
        "progress",
        "left",
        "ends",
        "waits for",
        "verified",
        "note",
        "error",
    ),
)
MOST_ROWS: Final = 200
"""Maximum number of table rows without ``--all``."""
STYLES: Final[Mapping[str, str]] = {
    Place.RUNNING: "green",
    Place.INTERRUPTED: "yellow",
    Place.HELD: "cyan",
    Place.FAILED: "red",
    Place.COMPLETED: "dim",
    "cancelled": "dim",
    "pruned": "dim",
}
_SHOWN_ABOVE: Final = frozenset(
    {"run", "config", "digest", "commit", "readied_at", "author", "authored_at", "subject", "packages_digest"}
)
_MOST_AHEAD: Final = 2
"""Maximum number of awaited runs in a line."""
_MINUTE, _HOUR = 60, 3600
_SHORTEST_WAIT: Final = 1.0
"""Seconds of waiting from which on it is shown."""
_WIDEST: Final = 100
"""Maximum length of an error in a table, in characters."""
_STOPPING: Final = (
    "Stopping: running tasks have their graceTime to end. Ctrl-C or SIGTERM again ends them at once."
)


def words(place: str) -> str:
    """Return the name of a place with spaces."""
    return place.replace("_", " ")


def cells(entry: StatusEntry) -> tuple[str, ...]:
    """Return one table row, in the order of `HEADER`."""
    error = (entry.error or "").partition("\n")[0]
    return (
        words(entry.state),
        escaped(entry.run or entry.config),
        task_of(entry),
        escaped(entry.held_by or ""),
        "" if entry.elapsed_s is None else durations.text_of(entry.elapsed_s),
        waited(entry),
        "" if entry.progress is None else f"{entry.progress:.0%}",
        forecast_text.left(entry.eta_s, entry.eta_p90_s)
        if entry.place in ACTIVE_PLACES and entry.run
        else "",
        forecast_text.until(entry.eta_at, entry.eta_p90_at),
        _waits_for(entry),
        entry.verdict or "",
        note_of(entry),
        escaped(error if len(error) <= _WIDEST else f"{error[:_WIDEST]}…"),
    )


def waited(entry: StatusEntry) -> str:
    """Return the waiting of a run, if it is worth a word."""
    seconds = entry.waiting_s or 0.0
    return "" if seconds < _SHORTEST_WAIT else durations.text_of(seconds)


def note_of(entry: StatusEntry) -> str:
    """Return the note, with the try of a task that is not at its first one."""
    is_again = (entry.try_number or 0) > 1 and entry.place in ACTIVE_PLACES
    return ", ".join(filter(None, (entry.note, _try_of(entry) if is_again else "")))


def _try_of(entry: StatusEntry) -> str:
    return f"try {entry.try_number} of {entry.most_tries}" if entry.try_number else ""


def _waits_for(entry: StatusEntry) -> str:
    """Name up to two of the awaited runs (a sweep may have hundreds); those that need a user come first."""
    some = sorted(entry.waits_for, key=lambda run: not run.endswith(")"))[:_MOST_AHEAD]
    more = len(entry.waits_for) - len(some)
    return escaped(", ".join(some)) + (f" and {more} more" if more else "")


def task_of(entry: StatusEntry) -> str:
    """Return the current task, its number and the count."""
    if entry.task_count is None:
        return ""
    if entry.task_index is None:
        return f"{entry.task_count}/{entry.task_count}"
    return f"{escaped(entry.task or '')} {entry.task_index + 1}/{entry.task_count}"


def counts_line(found: Overview) -> str:
    """Return the number of runs in each place that has any, in one line.

    Refused configs are apart from other sources, and cancelled and pruned runs from failed ones.
    """
    counts = {str(place): n for place, n in found.counts.items()}
    apart = {end: n for end, n in found.ends.items() if end in INTENDED and n}
    counts[Place.FAILED] -= sum(apart.values())
    sources = counts.pop(Place.SOURCES, 0) - found.refused
    dropped = [counted(sources, "source")] * bool(sources) + [f"{found.refused} refused"] * bool(
        found.refused
    )
    return ", ".join([*dropped, *(f"{n} {words(name)}" for name, n in {**counts, **apart}.items() if n)])


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Align rows in columns; omit columns that are empty below their header."""
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
    """Yield the lines below the table: omitted rows, time left and counts."""
    if len(found.runs) > most:
        yield f"… and {len(found.runs) - most} more; status --all shows them"
    if found.is_explained:
        yield from _reasons(found.runs[:most])
    if sentence := forecast_text.summary(found.forecast):
        yield f"{sentence[0].upper()}{sentence[1:]}."
    if found.families:
        from job_orchestration.cli import family_lines

        yield from family_lines.lines(found.families)
    for search, problem in found.searches:
        yield f"Search {escaped(search)}: {problem.rstrip('.')}."
    if found.undelivered:
        what = counted(found.undelivered, "message was", "messages were")
        yield f"{what} not delivered; see why with: notify."
    if found.hint:
        yield f"{found.hint}."
    if not any(found.counts.values()):
        yield "There is no config yet. Drop one into ConfigSources, then run: job-orchestration up"
    if line := counts_line(found):
        yield line


def _reasons(entries: Iterable[StatusEntry]) -> Iterator[str]:
    """Yield why runs do not run, a line each."""
    rows = [(escaped(e.run or e.config), escaped(why_of(e))) for e in entries if e.why]
    if rows:
        yield "Why runs do not run:"
        yield from (f"  {line}" for line in table([("", ""), *rows]) if line)


def why_of(entry: StatusEntry) -> str:
    """Return the reasons why a run does not run in one line."""
    return "; ".join(reason.text.partition("\n")[0] for reason in entry.why or ())


def first_release_report(found: Overview, workers: int) -> Iterator[str]:
    """Yield the lines of the first release's ``progressReport``."""
    busy = [e for e in found.runs if e.place in ACTIVE_PLACES]
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


def _local(moment: str | None, *, with_zone: bool = False) -> str:
    """Return a moment in the time of this machine, in whole seconds."""
    if moment is None:
        return ""
    at = datetime.fromisoformat(moment).astimezone()
    return f"{at:%Y-%m-%d %H:%M:%S %z}" if with_zone else f"{at:%Y-%m-%d %H:%M:%S}"


def shown(found: Shown) -> Iterator[str]:
    """``show`` in plain lines."""
    entry = found.entry
    facts = {
        "run": entry.run,
        "config": entry.config,
        "place": words(entry.state),
        "status": entry.status,
        "try": _try_of(entry).removeprefix("try "),
        "worker": entry.held_by or entry.worker,
        "commit": entry.commit,
        **_commit_facts(found),
        "readied": _local(entry.readied_at, with_zone=True),
        "started": _local(entry.started_at),
        "ended": _local(entry.ended_at),
        "elapsed": "" if entry.elapsed_s is None else durations.text_of(entry.elapsed_s),
        "waited": waited(entry),
        "time left": "" if entry.eta_s is None else forecast_text.left(entry.eta_s, entry.eta_p90_s),
        "ends": forecast_text.until(entry.eta_at, entry.eta_p90_at),
        "waits for": ", ".join(entry.waits_for),
        "why": why_of(entry),
        "note": entry.note,
        "outcome": entry.outcome,
        "error": entry.error,
        "rerun of": found.rerun_of,
        **usage_text.facts(found),
        **_folder_facts(found),
    }
    yield from fact_lines(facts)
    yield from (*_verified(found), *usage_text.preloads(found), *usage_text.inputs(found))
    if found.tasks:
        yield ""
        yield from table(_task_rows(found))
        yield from _reuse_lines(found)
    if found.changes:
        yield ""
        yield from table([("changed", "attempt", "commit", "set"), *map(_change, found.changes)])
    yield from _values("parameters", {k: v for k, v in found.parameters.items() if not k.endswith(".method")})
    yield from _values("results", {column: found.results[column] for column in found.headline})
    if found.provenance:
        yield ""
        yield from fact_lines({k: v for k, v in found.provenance.items() if _is_new(k, v)})
    if found.files:
        yield ""
        yield from table(
            [("file", "size"), *((escaped(name), size) for name, size in map(_sized, found.files))]
        )
    if found.log:
        yield ""
        yield "end of the log:"
        yield from (f"  {escaped(line)}" for line in found.log)


def _verified(found: Shown) -> Iterator[str]:
    """Yield the last verdicts on a run."""
    if found.verifications:
        from job_orchestration.cli import verification_text

        yield ""
        yield "verified:"
        yield from (f"  {line}" for line in verification_text.summaries(found.verifications))


def _task_rows(found: Shown) -> list[tuple[str, ...]]:
    """Return the table of a run's tasks; their commits are in it if they differ."""
    several = len(set(found.commits.values())) > 1
    rows = [
        (
            t.id,
            t.method,
            str(t.status),
            str(t.tries),
            "" if t.duration_s is None else durations.text_of(t.duration_s),
            str(len(t.outputs)),
            *usage_text.cells(t.usage),
            found.commits.get(t.id, "")[:12] if several else "",
            t.error or "",
        )
        for t in found.tasks
    ]
    used = ("cpu", "memory", "read", "written")
    header = ("task", "method", "status", "tries", "took", "files", *used, "commit", "error")
    return [header, *(tuple(map(escaped, row)) for row in rows)]


def _reuse_lines(found: Shown) -> Iterator[str]:
    """Yield, of a run with ``reuse``, where each task comes from, or why it ran."""
    for task in found.tasks:
        if task.reused_from is not None:
            yield f"task {escaped(task.id)} taken from {escaped(task.reused_from)}"
        elif task.not_reused is not None:
            yield f"task {escaped(task.id)} ran: {escaped(task.not_reused)}"


def _change(change: Change) -> tuple[str, ...]:
    """Return a table row of a retry in other code or with other parameters."""
    chosen = ", ".join(f"{key} = {value}" for key, value in change.parameters.items())
    return change.at, str(change.attempt), (change.commit or "")[:12], escaped(chosen)


def _folder_facts(found: Shown) -> dict[str, str | None]:
    """Return the folder of a run, and from where it was imported, if it was."""
    origin = (found.provenance or {}).get("imported")
    if not isinstance(origin, dict):
        return {"folder": found.folder}
    where = f"from {origin.get('from')}, where it is {origin.get('run')}"
    return {"imported": where, "folder": found.folder}


def _values(title: str, values: Mapping[str, Json]) -> Iterator[str]:
    """Yield a section of parameters or results."""
    if not values:
        return
    from job_orchestration.results.text_formats import short

    yield ""
    yield f"{title}:"
    yield from fact_lines({name: short(value) for name, value in values.items()})


def _commit_facts(found: Shown) -> dict[str, str]:
    """Author, date and subject of the commit, if they are known."""
    if found.commit is None:
        return {}
    return {"author": found.commit.author, "authored": found.commit.date, "subject": found.commit.subject}


def fact_lines(facts: Mapping[str, object]) -> Iterator[str]:
    """Align names and values in two columns; omit what is empty."""
    kept = {k: v for k, v in facts.items() if v not in {None, ""}}
    width = max(map(len, kept), default=0)
    for name, value in kept.items():
        yield f"{escaped(name):{width}}  {escaped(str(value))}"


def _is_new(key: str, value: object) -> bool:
    """Return whether a fact of the provenance is short, and is not shown above or meant for programs."""
    if key in _SHOWN_ABOVE or (key, value) == ("folder", "."):
        return False
    return isinstance(value, int | float) or (isinstance(value, str) and "\n" not in value)


def _sized(file: ShownFile) -> tuple[str, str]:
    return file.name, "" if file.bytes is None else sizes.text_of(file.bytes)


def without_controls(pieces: Iterable[str]) -> Iterator[str]:
    """Escape control characters of a log for a terminal; keep line ends and tabs."""
    for piece in pieces:
        yield "".join(
            c if c in "\n\t" or c.isprintable() else escaped(c) for c in piece.replace("\r\n", "\n")
        )


class PlainView:
    """View of ``up`` without a terminal: prints a line for each change."""

    def __init__(self) -> None:
        self._last = ""
        self._reasons: frozenset[str] = frozenset()
        self._has_said_stop = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, line: str) -> None:
        """Print a line; ignore errors."""
        with suppress(OSError):
            print(line, flush=True)

    def show(self, frame: Frame) -> None:
        """Print counts and reasons that have changed, and once that running tasks are asked to stop."""
        line = counts_line(frame.overview)
        if line != self._last and line:
            self.say(line)
        self._last = line
        reasons = [f"{escaped(e.run or e.config)}: {escaped(why_of(e))}" for e in frame.waiting]
        for reason in reasons:
            if reason not in self._reasons:
                self.say(reason)
        self._reasons = frozenset(reasons)
        if frame.stopping and frame.overview.counts[Place.RUNNING] and not self._has_said_stop:
            self._has_said_stop = True
            self.say(_STOPPING)
