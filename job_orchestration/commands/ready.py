"""`ready`: check, pin and queue what lies in ConfigSources."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.problems import Problem
from job_orchestration.runs import cache_maintenance
from job_orchestration.submission import chosen_files, dropped_files, not_taken
from job_orchestration.submission.checker import Checker
from job_orchestration.submission.pipeline import ready_drops
from job_orchestration.submission.reports import Report
from job_orchestration.workspace import temporary_files

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from job_orchestration.submission.dropped_files import Drop
    from job_orchestration.workspace.layout import Workspace

_REST: Final = 2.0
"""Seconds without a change after which a file counts as complete if the kernel cannot say who writes it."""
_PATIENCE: Final = 6.0
"""Seconds without progress that `ready` waits for incomplete files."""


def ready(workspace: Workspace, files: Sequence[str] = ()) -> Report:
    """Queue the valid configs in ConfigSources, and write a list of problems beside each other file.

    Args:
        workspace: with all its folders in place.
        files: only these, by path, name or glob; a file from elsewhere is copied into ConfigSources first,
            and the copy is removed if it is refused. Default: all of ConfigSources.

    Raises:
        UsageError: if there is no file of a name.
        OSError: the disk failed; nothing is lost, and the next `ready` continues.
    """
    if not files:
        report = _ready(workspace, None, ())
        report.not_taken = not_taken.find(workspace)
        return report
    refused: dict[str, list[Problem]] = {}
    only: dict[str, None] = {}
    copies: dict[str, Drop] = {}
    for chosen in chosen_files.find(workspace, files):
        copied = None if chosen.is_dropped else chosen_files.copy(workspace, chosen)
        if isinstance(copied, Problem):
            refused[chosen.name] = [copied]
            continue
        only[chosen.name] = None
        if copied is not None:
            copies[chosen.name] = copied
    report = _ready(workspace, only, copies) if only else Report()
    for name, copied in copies.items():
        if name in report.refused:
            chosen_files.remove_copy(workspace, copied)
    report.refused |= refused
    report.notes += _taken_by_others(workspace, only, report)
    return report


def _taken_by_others(workspace: Workspace, names: Iterable[str], report: Report) -> Iterator[str]:
    """Yield a sentence for each file that another pass took at the same time."""
    known = {queued.file for queued in report.queued} | report.refused.keys() | set(report.unsettled)
    for name in names:
        is_known = name in known or any(note.startswith(f"{name}: ") for note in report.notes)
        if not is_known and not os.path.lexists(os.path.join(workspace.sources, name)):
            yield f"{name}: another `ready` or `watch` took it at the same time; see `status`"


def _ready(workspace: Workspace, only: Container[str] | None, whole: Iterable[str]) -> Report:
    """Make passes until all files are complete, or none was completed for a while."""
    settling = dropped_files.Settling(time.monotonic)
    for name in whole:
        settling.whole(name)

    def at_rest(name: str, status: os.stat_result) -> bool:
        return now - status.st_ctime >= _REST or settling.settled(name, status)

    check = Checker(workspace)
    try:
        now = dropped_files.clock_of(workspace.opening)
        report = ready_drops(workspace, check, at_rest, closed_is_whole=True, only=only)
        deadline = time.monotonic() + _PATIENCE
        while report.unsettled and time.monotonic() < deadline:
            time.sleep(0.25)
            now = dropped_files.clock_of(workspace.opening)
            more = ready_drops(workspace, check, at_rest, closed_is_whole=True, only=only)
            report.queued += more.queued
            report.refused.update(more.refused)
            for queued in more.queued:
                report.refused.pop(queued.file, None)
            report.notes += more.notes
            if len(more.unsettled) < len(report.unsettled):  # a large batch takes longer than the patience
                deadline = time.monotonic() + _PATIENCE
            report.unsettled = more.unsettled
    finally:
        check.close()
    cache_maintenance.CacheMaintenance(workspace)()
    temporary_files.collect(workspace)
    for filename in report.unsettled:
        report.notes.append(f"{filename} is still being written; it is left for the next time")
    return report
