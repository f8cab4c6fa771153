"""Read and append a run's journal: one file per attempt, one writer at a time, one JSON object a line.

A line is an event if it ends with a newline and parses (`runs.event_codec`). Half a line, left by a killed
writer or a full disk, is not an event; the next writer marks it as torn before it appends.
`task_finished` and the final events are synced before any process acts on them. The other events only need to
survive their process, and the kernel's page cache does.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from job_orchestration.diagnostics.errors import ClaimLostError
from job_orchestration.runs import event_codec, events, lifecycle
from job_orchestration.runs.events import JournalEntry
from job_orchestration.runs.state import Status
from job_orchestration.workspace import clock, durable
from job_orchestration.workspace.safe_reads import names_in, whole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from job_orchestration.runs.events import Event

Journal: TypeAlias = dict[int, list[JournalEntry]]
"""Attempt number to its valid events; 0 is the file that `ready` wrote."""

_TORN: Final = b" (torn)\n"
"""Ends half a line, which may lack only its newline, so that it never parses as an event."""
_FILE: Final = re.compile(r"(\d{6,})\.jsonl")


def folder_of(run_folder: str) -> str:
    """Return the journal folder of a run."""
    return os.path.join(run_folder, "journal")


def path_of(run_folder: str, attempt: int) -> str:
    """Return the journal file of an attempt."""
    return os.path.join(run_folder, "journal", f"{attempt:06d}.jsonl")


def attempt_of(path: str) -> int:
    """Return the attempt number of the journal file at `path`."""
    return int(os.path.basename(path).partition(".")[0])


def attempts(run_folder: str) -> list[int]:
    """List the attempt numbers of a journal's files in ascending order; gaps are legal."""
    return sorted(int(m[1]) for name in names_in(folder_of(run_folder)) if (m := _FILE.fullmatch(name)))


def read_file(run_folder: str, attempt: int) -> tuple[list[JournalEntry], bool]:
    """Read the valid events of one file; also return whether its last line is torn."""
    try:
        data = whole(path_of(run_folder, attempt))
    except FileNotFoundError:
        return [], False
    lines = data.split(b"\n")
    torn = lines.pop() != b""
    return [entry for line in lines if line and (entry := event_codec.decode(line)) is not None], torn


def read(run_folder: str, numbers: Iterable[int] | None = None) -> Journal:
    """Read the whole journal of a run, void events included; `runs.lifecycle.fold` skips those.

    Args:
        run_folder: the run's output folder.
        numbers: the existing attempts; listed from the folder if not given.
    """
    known = attempts(run_folder) if numbers is None else numbers
    return {n: read_file(run_folder, n)[0] for n in known}


def has_completed(run_folder: str) -> bool:
    """Return whether a run has completed; reads only the last file if that is sufficient."""
    last = max(attempts(run_folder), default=0)
    entries, _ = read_file(run_folder, last)
    if entries and isinstance(entries[-1].event, events.Completed):
        return True
    if last == 0 or len(entries) > 1:
        return False
    return lifecycle.fold(read(run_folder)).status is Status.COMPLETE  # claimed only to move its token


def sync(run_folder: str, attempt: int) -> None:
    """Sync an attempt's file: its writer may have died between a write and its sync."""
    path = path_of(run_folder, attempt)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        durable.sync(descriptor, path)
    finally:
        os.close(descriptor)


def requested_delay(run_folder: str) -> float | None:
    """Return the delay in seconds requested at the last `handed_back` event, by that writer's clock."""
    last = max(attempts(run_folder), default=0)
    entries, _ = read_file(run_folder, last)
    if not entries or not isinstance(entries[-1].event, events.HandedBack):
        return None
    until = entries[-1].event.not_before
    if until is None:
        return None
    return (datetime.fromisoformat(until) - datetime.fromisoformat(entries[-1].at)).total_seconds()


class Writer:
    """The current writer of a journal file.

    Args:
        descriptor: open for appending; the caller closes it.
        written: number of valid events already in the file.
    """

    def __init__(self, descriptor: int, path: str, written: int = 0) -> None:
        self.descriptor = descriptor
        self.path = path
        self.written = written

    def write(self, event: Event, *, sync: bool = False) -> JournalEntry:
        """Append an event; with `sync`, return after it is on the disk.

        Raises:
            OSError: the line is void and the attempt must end.
        """
        entry = JournalEntry(self.written + 1, clock.timestamp(), event)
        line = event_codec.encode(entry)
        durable.append(self.descriptor, line, self.path)
        if sync:
            self._sync(len(line))
        self.written += 1
        return entry

    def _sync(self, length: int) -> None:
        """Sync; on failure remove the last line, because later fsyncs would report success without it."""
        try:
            durable.sync(self.descriptor, self.path)
        except OSError:
            with suppress(OSError):
                durable.truncate(self.descriptor, os.fstat(self.descriptor).st_size - length, self.path)
            raise

    def resume(self, run_folder: str, attempt: int) -> list[JournalEntry]:
        """Continue the file after another process: count its events and end a torn line.

        Raises:
            ClaimLostError: the file was moved or removed, so its readers would miss what is written here.
        """
        if not self._exists():
            raise ClaimLostError(
                f"The journal of {run_folder} was moved or removed while the run went on",
                "Restore the folder from a copy, or ready the config again",
            )
        entries, torn = read_file(run_folder, attempt)
        if torn:
            durable.append(self.descriptor, _TORN, self.path)
        self.written = len(entries)
        return entries

    def _exists(self) -> bool:
        with suppress(OSError):
            return os.path.samestat(os.stat(self.path), os.fstat(self.descriptor))
        return False
