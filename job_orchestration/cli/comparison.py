"""`diff` on the command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from job_orchestration.cli import output
from job_orchestration.cli.results import show_on_terminal
from job_orchestration.comparison import difference
from job_orchestration.diagnostics import durations
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.plurals import counted
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.results import text_formats
from job_orchestration.results.tables import Table

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Sequence

    from job_orchestration.comparison.code_changes import CodeChanges, FileChange
    from job_orchestration.comparison.difference import Difference
    from job_orchestration.comparison.values import ValueChange
    from job_orchestration.config.config import Json

_MOST_CHANGES: Final = 10
"""Lines of a section without ``--full``."""
_MOST_LINES: Final = 60
"""Lines of the code's differences without ``--full``."""
_TITLES: Final = {
    "parameters": "Parameters",
    "settings": "Settings of the run",
    "packages": "Packages",
    "environment": "Environment",
    "results": "Results",
}
_PAIR: Final = 2
_ABSENT: Final = "(absent)"
_SMALL: Final = 1e-4
"""A relative change below 0.01 % is written as a number, not in percent."""


def diff(arguments: Namespace) -> int:
    """Print what differs between two runs, between many, or between one and the work tree."""
    from job_orchestration.commands import diff as command

    workspace, runs = output.existing(arguments), arguments.runs
    if arguments.stat and arguments.full:
        raise UsageError("--stat and --full contradict each other", "Choose one of them")
    if len(runs) == 1:
        code = command.diff_work_tree(workspace, runs[0])
        if arguments.json:
            output.print_json(code.as_json())
        else:
            output.print_lines(code_lines(code, arguments))
            if code.fault is None and not code.files:
                print(f"The code of {escaped(runs[0])} is the same in {escaped(code.after or '')}.")
    elif len(runs) == _PAIR:
        found = command.diff(workspace, *runs)
        if arguments.json:
            output.print_json(found.as_json())
        else:
            output.print_lines(_lines(found, arguments))
    else:
        _print_many(command.diff_many(workspace, runs), as_json=arguments.json)
    return 0


def _print_many(rows: Sequence[dict[str, Json]], *, as_json: bool) -> None:
    if as_json:
        output.print_json(rows)
    elif sys.stdout.isatty():
        show_on_terminal(Table(tuple(rows[0]), tuple(rows), tuple(rows[0])))
    else:
        output.print_lines(text_formats.markdown_lines(rows[0], rows))


def _lines(found: Difference, arguments: Namespace) -> Iterator[str]:
    yield f"{found.verdict}."
    for part, title in _TITLES.items():
        yield from _section(title, getattr(found, part), full=arguments.full)
        if part == "parameters":
            yield from code_lines(found.code, arguments)
    yield from _durations(found.durations)


def _section(title: str, changes: Sequence[ValueChange], *, full: bool) -> Iterator[str]:
    if not changes:
        return
    yield ""
    yield f"{title}:"
    shown = changes if full else changes[:_MOST_CHANGES]
    width = max(len(escaped(change.name)) for change in shown)
    for change in shown:
        before = _ABSENT if change.added else difference.shown(change.before)
        after = _ABSENT if change.removed else difference.shown(change.after)
        yield f"  {escaped(change.name):<{width}}  {before} → {after}{_percent(change.relative)}"
    if len(shown) < len(changes):
        yield f"  … and {len(changes) - len(shown)} more: --full"


def _percent(relative: float | None) -> str:
    if relative is None:
        return ""
    return f"  ({relative:+.3g})" if abs(relative) < _SMALL else f"  ({relative:+.2%})"


def _durations(changes: Sequence[ValueChange]) -> Iterator[str]:
    both = [c for c in changes if isinstance(c.before, float | int) and isinstance(c.after, float | int)]
    if not both:
        return
    yield ""
    yield "Durations of the tasks:"
    for change in both:
        before, after = (durations.text_of(float(value)) for value in (change.before, change.after))  # type: ignore[arg-type]  # numbers, see above
        yield f"  {escaped(change.name)}  {before} → {after}"


def code_lines(code: CodeChanges, arguments: Namespace) -> Iterator[str]:
    """Return what differs between two versions of the code, as ``--stat`` and ``--full`` ask for it."""
    if code.before == code.after or not (code.files or code.fault or code.others):
        return
    yield ""
    after = code.after or "none"
    yield f"Code: {_short(code.before)} → {after if after.startswith('/') else _short(code.after)}"
    if code.fault:
        yield f"  {escaped(code.fault)}"
        return
    for file in code.files:
        yield f"  {_summary(file)}"
    if code.others:
        others = counted(code.others, "other file has", "other files have")
        yield f"  {others} changed that no task of these runs imported"
    if not arguments.stat:
        yield from _patch([line for file in code.files for line in file.patch], full=arguments.full)


def _short(commit: str | None) -> str:
    return commit[:12] if commit else "none"


def _summary(file: FileChange) -> str:
    lines = "not text" if file.added is None else f"lines: {file.added} added, {file.removed} removed"
    status = "" if file.status == "changed" else f"{file.status}, "
    return f"{escaped(file.path)} ({status}{lines})"


def _patch(lines: Sequence[str], *, full: bool) -> Iterator[str]:
    if not lines:
        return
    yield ""
    shown = lines if full else lines[:_MOST_LINES]
    yield from (f"  {line}" for line in shown)
    if len(shown) < len(lines):
        yield f"  … and {len(lines) - len(shown)} more lines: --full"
