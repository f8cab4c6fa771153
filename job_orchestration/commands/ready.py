"""`ready`: check, pin and queue what lies in ConfigSources."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from job_orchestration.runs import cache_maintenance
from job_orchestration.submission import dropped_files, not_taken
from job_orchestration.submission.checker import Checker
from job_orchestration.submission.pipeline import ready_drops

if TYPE_CHECKING:
    import os

    from job_orchestration.submission.reports import Report
    from job_orchestration.workspace.layout import Workspace

_REST: Final = 2.0
"""Seconds without a change after which a file counts as complete if the kernel cannot say who writes it."""
_PATIENCE: Final = 6.0
"""Seconds without progress that `ready` waits for incomplete files."""


def ready(workspace: Workspace) -> Report:
    """Queue the valid configs in ConfigSources, and write a list of problems beside each other file.

    Raises:
        OSError: the disk failed; nothing is lost, and the next `ready` continues.
    """
    settling = dropped_files.Settling(time.monotonic)

    def at_rest(name: str, status: os.stat_result) -> bool:
        return now - status.st_ctime >= _REST or settling.settled(name, status)

    check = Checker(workspace)
    try:
        now = dropped_files.clock_of(workspace.opening)
        report = ready_drops(workspace, check, at_rest, closed_is_whole=True)
        deadline = time.monotonic() + _PATIENCE
        while report.unsettled and time.monotonic() < deadline:
            time.sleep(0.25)
            now = dropped_files.clock_of(workspace.opening)
            more = ready_drops(workspace, check, at_rest, closed_is_whole=True)
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
    report.not_taken = not_taken.find(workspace)
    for filename in report.unsettled:
        report.notes.append(f"{filename} is still being written; it is left for the next time")
    return report
