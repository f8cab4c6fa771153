"""`diff` on the command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from job_orchestration.cli import output
from job_orchestration.cli.results import show_on_terminal
from job_orchestration.comparison import difference, html_report, values
from job_orchestration.diagnostics import durations
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.plurals import counted
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.results import text_formats
from job_orchestration.results.tables import Table

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator, Sequence

    from job_orchestration.comparison.code_changes import CodeChanges, FileChange
    from job_orchestration.comparison.difference import Difference
    from job_orchestration.comparison.values import ValueChange
    from job_orchestration.config.config import Json

_MOST_CHANGES: Final = 10
"""Lines of a section without ``--full``."""
_MOST_LINES: Final = 60
"""Lines of the code's differences without ``--full``."""
_PAIR: Final = 2
_ABSENT: Final = "(absent)"
_SMALL: Final = 1e-4
"""A relative change below 0.01 % is written as a number, not in percent."""


def diff(arguments: Namespace) -> int:
    """Print what differs between two runs, between many, or between one and the work tree."""
    from job_orchestration.commands import diff as command

    workspace = output.existing(arguments)
    runs = command.names_meant(workspace, arguments.runs)
    if arguments.stat and arguments.full:
        raise UsageError("--stat and --full contradict each other", "Choose one of them")
    if arguments.html and arguments.json:
        raise UsageError("--html and --json contradict each other", "Choose one of them")
    if len(runs) == 1:
        _print_code(runs[0], command.diff_work_tree(workspace, runs[0]), arguments)
    elif len(runs) == _PAIR:
        found = command.diff(workspace, *runs)
        if arguments.json:
            output.print_json(found.as_json())
        elif arguments.html:
            print(html_report.of_pair(found))
        else:
            output.print_lines(_lines(found, arguments))
    else:
        _print_many(command.diff_many(workspace, runs), arguments)
    return 0


def _print_code(run: str, code: CodeChanges, arguments: Namespace) -> None:
    if arguments.json:
        output.print_json(code.as_json())
    elif arguments.html:
        print(html_report.of_code(run, code))
    else:
        output.print_lines(code_lines(code, arguments))
        if code.fault is None and not code.files:
            print(f"The code of {escaped(run)} is the same in {escaped(code.after or '')}.")


def _print_many(rows: Sequence[dict[str, Json]], arguments: Namespace) -> None:
    if arguments.json:
        output.print_json(rows)
    elif arguments.html:
        print(html_report.of_many(rows))
    elif sys.stdout.isatty():
        show_on_terminal(Table(tuple(rows[0]), tuple(rows), tuple(rows[0])))
    else:
        output.print_lines(text_formats.markdown_lines(rows[0], rows))


def _lines(found: Difference, arguments: Namespace) -> Iterator[str]:
    yield f"{found.verdict}."
    for part, title in html_report.TITLES.items():
        notes = found.better if part == "results" else None
        yield from _section(title, getattr(found, part), notes, full=arguments.full)
        if part == "parameters":
            yield from code_lines(found.code, arguments)
            yield from _tasks_lines(found.code)
    yield from _limited("Durations of the tasks", list(_durations(found.durations)), full=arguments.full)
    yield from _limited("Usage of the tasks", list(_usage(found.usage)), full=arguments.full)


def _section(
    title: str,
    changes: Sequence[ValueChange],
    better: Callable[[ValueChange], bool | None] | None = None,
    *,
    full: bool,
) -> Iterator[str]:
    width = max((len(escaped(c.name)) for c in (changes if full else changes[:_MOST_CHANGES])), default=0)
    lines = []
    for change in changes:
        before = _ABSENT if change.added else difference.shown(change.before)
        after = _ABSENT if change.removed else difference.shown(change.after)
        notes = _notes(change, better)
        lines.append(f"{escaped(change.name):<{width}}  {before} → {after}{notes}")
    yield from _limited(title, lines, full=full)


def _limited(title: str, lines: Sequence[str], *, full: bool) -> Iterator[str]:
    """Return a part with its title; without ``--full`` only its first lines."""
    if not lines:
        return
    yield ""
    yield f"{title}:"
    shown = lines if full else lines[:_MOST_CHANGES]
    yield from (f"  {line}" for line in shown)
    if len(shown) < len(lines):
        yield f"  … and {len(lines) - len(shown)} more: --full"


def _notes(change: ValueChange, better: Callable[[ValueChange], bool | None] | None) -> str:
    notes, relative = [], change.relative
    if relative is not None:
        notes.append(f"{relative:+.3g}" if abs(relative) < _SMALL else f"{relative:+.2%}")
    if better is not None and (is_better := better(change)) is not None:
        notes.append("better" if is_better else "worse")
    return f"  ({', '.join(notes)})" if notes else ""


def _durations(changes: Sequence[ValueChange]) -> Iterator[str]:
    for change in changes:
        before, after = values.number(change.before), values.number(change.after)
        if before is not None and after is not None:
            yield f"{escaped(change.name)}  {durations.text_of(before)} → {durations.text_of(after)}"


def _usage(changes: Sequence[ValueChange]) -> Iterator[str]:
    """Return a line for each task: its CPU time and its memory."""
    tasks: dict[str, dict[str, ValueChange]] = {}
    for change in changes:
        task, _, what = change.name.rpartition(".")
        tasks.setdefault(task, {})[what] = change
    for task, found in tasks.items():
        parts = [
            f"{word} {_amount(found[what].before, what)} → {_amount(found[what].after, what)}"
            for what, word in (("cpu_s", "CPU"), ("peak_bytes", "memory"))
            if what in found
        ]
        if parts:
            yield f"{escaped(task)}  {', '.join(parts)}"


def _amount(value: Json, what: str) -> str:
    found = values.number(value)
    if found is None:
        return "unknown"
    return durations.text_of(found) if what == "cpu_s" else f"{found / 1e6:.0f} MB"


def _tasks_lines(code: CodeChanges) -> Iterator[str]:
    """Return what differs in the code of tasks that ran in other commits than the rest of their runs."""
    if code.tasks:
        yield ""
        yield "Code of tasks that ran before a retry in other code:"
    for task in code.tasks:
        files = ", ".join(map(escaped, task.files)) or "their files are unknown"
        yield f"  {escaped(task.task)}  {_short(task.before)} → {_short(task.after)}: {files}"


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
