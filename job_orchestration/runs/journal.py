"""Read and append a run's journal: one file per attempt, one writer at a time, one JSON object a line.

A line is an event if it ends with a newline and parses (`runs.event_codec`). Half a line, left by a killed
writer or a full disk, is not an event; the next writer marks it as torn before it appends.
A whole line that is none, where later events or a later attempt build on it, is damage: the file is refused,
because a checkpoint may be missing, and a finished task must never run again.
`task_finished` and the final events are synced before any process acts on them. The other events only need to
survive their process, and the kernel's page cache does.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from job_orchestration.diagnostics.errors import ClaimLostError
from job_orchestration.runs import event_codec, events, lifecycle
from job_orchestration.runs.events import JournalEntry
from job_orchestration.runs.state import Status
from job_orchestration.workspace import clock, durable
from job_orchestration.workspace.safe_reads import READ_ONLY, DamagedFileError, names_in, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from job_orchestration.runs.events import Event

Journal: TypeAlias = dict[int, list[JournalEntry]]
"""Attempt number to its valid events; 0 is the file that `ready` wrote."""

_TORN: Final = b" (torn)\n"
"""Ends half a line, which may lack only its newline, so that it never parses as an event."""
_TORN_END: Final = _TORN.rstrip(b"\n")
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
    """Read the valid events of one file; also return whether its last line is torn.

    Raises:
        OSError: the file cannot be read, or is no plain file.
    """
    found, torn, _ = parse(content(run_folder, attempt))
    return found, torn


class _Damage(NamedTuple):
    """Lines of a file that are no events, or lines that are missing."""

    within: bool
    """Whether events follow whose numbers say that something is missing before them."""
    line: int
    """The number of the first such line, from 1."""


def content(run_folder: str, attempt: int) -> bytes:
    """Return the bytes of an attempt's file; empty if there is none."""
    try:
        return whole(path_of(run_folder, attempt))
    except FileNotFoundError:
        return b""


def parse(data: bytes) -> tuple[list[JournalEntry], bool, _Damage | None]:
    """Parse the content of a journal file: its events, whether its last line is torn, and what is damaged.

    A writer numbers its events without gaps, and continues after a line that is none with the number that
    this line would have had. So a gap shows that an event was there, and was read, before it was damaged.
    """
    lines = data.split(b"\n")
    torn = lines.pop() != b""
    found: list[JournalEntry] = []
    expected, odd = 1, 0
    gap: _Damage | None = None
    for number, line in enumerate(lines, 1):
        entry = event_codec.decode(line) if line else None
        if entry is not None:
            if entry.seq > expected:
                gap = gap or _Damage(True, odd or number)
            found.append(entry)
            expected, odd = entry.seq + 1, 0
        elif line and event_codec.is_of_later_release(line):
            expected += 1
        elif line and not (line.endswith(_TORN_END) or b"\0" in line):
            odd = odd or number
    return found, torn, gap or (_Damage(False, odd) if odd else None)


def read(
    run_folder: str, numbers: Iterable[int] | None = None, *, kept: dict[str, bytes] | None = None
) -> Journal:
    """Read the whole journal of a run, void events included; `runs.lifecycle.fold` skips those.

    Args:
        run_folder: the run's output folder.
        numbers: the existing attempts; listed from the folder if not given.
        kept: gets the content of each file, by path in the run's folder.

    Raises:
        DamagedFileError: a file is no plain file, has damaged lines, or lacks events that a later attempt
            builds on.
        OSError: a file cannot be read.
    """
    found, damage = _read(run_folder, attempts(run_folder) if numbers is None else numbers, kept)
    if damage is not None:  # a worker may have gone on between two reads
        found, damage = _read(run_folder, attempts(run_folder), kept)
    if damage is not None:
        raise DamagedFileError(*damage)
    return found


def name_of(attempt: int) -> str:
    """Return the path of the journal file of an attempt in the run's folder."""
    return f"journal/{attempt:06d}.jsonl"


def _read(
    run_folder: str, numbers: Iterable[int], kept: dict[str, bytes] | None
) -> tuple[Journal, tuple[str, str] | None]:
    """Read the files of these attempts; also return the path of a damaged one, and what is wrong with it."""
    found: Journal = {}
    damages: dict[int, _Damage] = {}
    for n in numbers:
        data = content(run_folder, n)
        if kept is not None and data:
            kept[name_of(n)] = data
        found[n], _, damage = parse(data)
        if damage is not None:
            damages[n] = damage
    builds_on = lifecycle.builds_on(found)
    for n, damage in damages.items():
        if damage.within or n not in builds_on:
            return found, (path_of(run_folder, n), f"line {damage.line} is damaged")
    for n, count in builds_on.items():
        if len(found.get(n, ())) < count:
            missing = count - len(found.get(n, ()))
            return found, (path_of(run_folder, n), f"it lacks {missing} of the events that were read from it")
    return found, None


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
    descriptor = os.open(path, READ_ONLY)
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
        self.last = b""
        """The line that was written last."""
        self.was_spoilt = False
        """Whether `resume` found that the file did not begin with what this process knows of it."""
        self.known = b""
        """What this process has written or read, from the file's beginning if `resume` was called."""

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
        self.last = line
        self.known += line
        return entry

    def _sync(self, length: int) -> None:
        """Sync; on failure remove the last line, because later fsyncs would report success without it."""
        try:
            durable.sync(self.descriptor, self.path)
        except OSError:
            with suppress(OSError):
                durable.truncate(self.descriptor, os.fstat(self.descriptor).st_size - length, self.path)
            raise

    def resume(self, run_folder: str, attempt: int, lines: bytes = b"") -> list[JournalEntry]:
        """Continue the file after another process: count its events and end a torn line.

        What this process has written or read before is written again if it is no longer there.

        Args:
            run_folder: the run's output folder.
            attempt: the attempt's number.
            lines: what the other process is known to have written.

        Raises:
            ClaimLostError: the file was moved or removed, so its readers would miss what is written here.
        """
        if not self.exists():
            raise ClaimLostError(
                f"The journal of {run_folder} was moved or removed while the run went on",
                "Restore the folder from a copy, or ready the config again",
            )
        data = content(run_folder, attempt)
        known = self.known + lines
        self.was_spoilt = not data.startswith(known)
        if self.was_spoilt:
            data = known
            durable.truncate(self.descriptor, 0, self.path)
            durable.append(self.descriptor, data, self.path)
            durable.sync(self.descriptor, self.path)
        entries, torn, _ = parse(data)
        if torn:
            durable.append(self.descriptor, _TORN, self.path)
            data += _TORN
        self.known = data
        self.written = len(entries)
        return entries

    def exists(self) -> bool:
        """Whether the path still leads to the file that is written here."""
        with suppress(OSError):
            return os.path.samestat(os.lstat(self.path), os.fstat(self.descriptor))
        return False

    def make_again(self) -> None:
        """Write the file anew after somebody removed or replaced it; its content is in the descriptor."""
        data = os.pread(self.descriptor, os.fstat(self.descriptor).st_size, 0)
        durable.move_aside(self.path)
        made = durable.create(self.path)
        durable.append(made, data, self.path)
        durable.sync(made, self.path)
        os.close(self.descriptor)
        self.descriptor = made


def has_own_environment(written: Mapping[int, Sequence[JournalEntry]]) -> bool:
    """Return whether the tasks of a run do not run in the environment of its worker."""
    first = next(iter(written.get(0, ())), None)
    return (
        first is not None
        and isinstance(first.event, events.Readied)
        and first.event.own_environment is not None
    )
