"""Tables in HTML for notebooks; whatever comes from a config, a task or a file's name is escaped. Pure."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics import durations
from job_orchestration.diagnostics.problems import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from job_orchestration.commands.status import StatusEntry

MOST_ROWS: Final = 100
"""Rows of a table; a notebook keeps its output."""
_LONGEST: Final = 200
HEADER: Final = ("run", "status", "task", "progress", "time", "left", "error")


def table(header: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """Return a table."""
    head = "".join(f"<th>{_text(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    above = f"<caption>{_text(caption)}</caption>" if caption else ""
    return f"<table>{above}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def cells(entry: StatusEntry) -> tuple[str, ...]:
    """Return the row of a run, in the order of `HEADER`."""
    elapsed, left = entry.elapsed_s, entry.eta_s
    task = "" if entry.task is None else entry.task
    number = f" ({(entry.task_index or 0) + 1} of {entry.task_count})" if task and entry.task_count else ""
    return (
        entry.run or entry.config,
        entry.state.replace("_", " "),
        f"{task}{number}",
        "" if entry.progress is None else f"{entry.progress:.0%}",
        "" if elapsed is None else durations.text_of(elapsed),
        "" if left is None or entry.ended_at else f"~{durations.text_of(left, coarse=True)}",
        (entry.error or "").partition("\n")[0],
    )


def _text(value: object) -> str:
    text = escaped(str(value))
    return escape(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
