"""A run's journal: one file an attempt, one writer at a time, append-only, one JSON object a line.

A line counts when it ends and parses. Half a line, from a writer that was killed or a disk that was full,
is not an event and never was one; whoever writes next ends it first, in a way that shows it.
`task_finished` and the final events are synced before anybody acts on them; the others only need to survive
their process, and a page in the kernel's cache does.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from math import isfinite
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from job_orchestration.files import durable
from job_orchestration.model import event as events
from job_orchestration.model.errors import ClaimLostError
from job_orchestration.model.event import Code, Entry, Event, Output
from job_orchestration.model.run import Outcome, Status
from job_orchestration.model.sweep import Trial
from job_orchestration.rules import lifecycle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from job_orchestration.model.task import Json

Journal: TypeAlias = dict[int, list[Entry]]
"""Attempt to its valid events; 0 is the file that `ready` wrote."""

_KINDS: Final[dict[str, type[Any]]] = {
    "readied": events.Readied,
    "claimed": events.Claimed,
    "task_started": events.TaskStarted,
    "task_finished": events.TaskFinished,
    "task_failed": events.TaskFailed,
    "cancelled": events.Cancelled,
    "requeued": events.Requeued,
    "handed_back": events.HandedBack,
    "completed": events.Completed,
    "gave_up": events.GaveUp,
}
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}
_FIELDS: Final = {kind: tuple((f.name, f.default) for f in fields(kind)) for kind in _KINDS.values()}
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    **dict.fromkeys(("config", "digest", "worker", "host", "task", "error", "reason"), (str,)),
    **dict.fromkeys(("seed", "attempt", "pid", "number"), (int,)),
    **dict.fromkeys(("duration_s", "delay_s"), (int, float, NoneType)),
    **dict.fromkeys(("folder", "not_before"), (str, NoneType)),
    "values": (dict,),
    **dict.fromkeys(("permanent", "fresh"), (bool,)),
}
"""What a field of an event may be; of those not named here `_typed` makes something else."""
_quoted: Final = json.encoder.encode_basestring
_PAGE: Final = 1 << 16
_TORN: Final = b" (torn)\n"
"""Ends half a line, so that it can never be taken for a whole one: it may lack nothing but its newline."""
_DEEPEST: Final = 100
"""Levels of a return value. What is nested nearly as deep as the interpreter's stack could be written by one
process and not be read by another."""
_FILE: Final = re.compile(r"(\d{6,})\.jsonl")


def now() -> str:
    """The present as journals write it: UTC, ISO 8601, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def kind_of(event: Event) -> str:
    """The name of an event's kind, as it stands in the journal."""
    return _NAMES[type(event)]


def encode(entry: Entry) -> bytes:
    """One line, its newline included. What is empty is left out."""
    event = entry.event
    parts = [f'{{"seq": {entry.seq}, "at": {_json(entry.at)}, "event": "{kind_of(event)}"']
    for name, default in _FIELDS[type(event)]:
        value = getattr(event, name)
        if value is default and value in (None, False, ()):  # a task may well have returned False
            continue
        parts.append(f'"{name}": {_json(value)}')
    return (", ".join(parts) + "}\n").encode("utf-8", "replace")


def _json(value: object) -> str:
    """A value as JSON; the plain ones without the machinery that the others need, for a child's sake."""
    if type(value) is str:
        return _quoted(value)
    if type(value) is int:
        return str(value)
    return json.dumps(value, default=_plain, ensure_ascii=False, allow_nan=False)


def _plain(value: object) -> object:
    if isinstance(value, (Code, Output, Trial)):
        return {f.name: getattr(value, f.name) for f in fields(value)}
    return dict(value)  # type: ignore[call-overload]  # the only other values are mappings


def _number(text: str) -> float:
    """A float as JSON has them: a number that is too large for one, NaN and infinity are none."""
    if not isfinite(value := float(text)):
        raise ValueError(text)
    return value


_DECODER: Final = json.JSONDecoder(parse_float=_number, parse_constant=_number)


def decode(line: bytes) -> Entry | None:
    """The event of a whole line, or `None` for what is not one."""
    try:
        found = _DECODER.decode(line.decode())
        kind = _KINDS[found.pop("event")]
        seq, at = int(found.pop("seq")), found.pop("at")
        if datetime.fromisoformat(at).tzinfo is None:
            return None
        return Entry(seq, at, kind(**_typed(found)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None


def _typed(found: dict[str, Any]) -> dict[str, Any]:
    """The fields of an event, which are what they should be.

    Raises:
        TypeError: when one is not; or another error of those that `decode` expects.
    """
    for name, value in found.items():
        if name in _TYPES and not isinstance(value, _TYPES[name]):
            raise TypeError(name)
    if "outcome" in found:
        found["outcome"] = Outcome(found["outcome"])
    if "code" in found:
        found["code"] = Code(**{name: _text(value) for name, value in found["code"].items()})
    if "trial" in found:
        found["trial"] = _trial(**found["trial"])
    if "outputs" in found:
        found["outputs"] = tuple(Output(**o) for o in found["outputs"])
    if "builds_on" in found:
        found["builds_on"] = {int(k): int(v) for k, v in found["builds_on"].items()}
    return found


def _trial(sweep: str, parameters: dict[str, Json], digest: str = "", number: int | None = None) -> Trial:
    if not isinstance(parameters, dict) or not isinstance(number, int | None):
        raise TypeError(parameters)
    return Trial(_text(sweep), parameters, _text(digest), number)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def folder_of(run_folder: str) -> str:
    """Where the journal of a run lies."""
    return os.path.join(run_folder, "journal")


def path_of(run_folder: str, attempt: int) -> str:
    """The journal file of one attempt."""
    return os.path.join(run_folder, "journal", f"{attempt:06d}.jsonl")


def attempt_of(path: str) -> int:
    """The number of the attempt whose journal file lies at `path`."""
    return int(os.path.basename(path).partition(".")[0])


def attempts(run_folder: str) -> list[int]:
    """The numbers of a journal's files, in order; gaps are legal."""
    try:
        names = os.listdir(folder_of(run_folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(m[1]) for name in names if (m := _FILE.fullmatch(name)))


def whole(path: str) -> bytes:
    """All bytes of a file, by as few system calls as it takes: this is read for every run."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, _PAGE)
        while len(data) >= _PAGE and (more := os.read(descriptor, len(data))):
            data += more
            if len(more) < _PAGE:
                break
        return data
    finally:
        os.close(descriptor)


def read_file(run_folder: str, attempt: int) -> tuple[list[Entry], bool]:
    """The valid events of one file, and whether its last line is torn."""
    try:
        data = whole(path_of(run_folder, attempt))
    except FileNotFoundError:
        return [], False
    lines = data.split(b"\n")
    torn = lines.pop() != b""
    return [entry for line in lines if line and (entry := decode(line)) is not None], torn


def read(run_folder: str, numbers: Iterable[int] | None = None) -> Journal:
    """The whole journal of a run, void events included; `rules.lifecycle.fold` leaves those out.

    Args:
        run_folder: the run's output folder.
        numbers: the attempts that there are, if that is known.
    """
    known = attempts(run_folder) if numbers is None else numbers
    return {n: read_file(run_folder, n)[0] for n in known}


def has_completed(run_folder: str) -> bool:
    """Whether a run has completed, told by its last events alone where they tell it."""
    last = max(attempts(run_folder), default=0)
    entries, _ = read_file(run_folder, last)
    if entries and isinstance(entries[-1].event, events.Completed):
        return True
    if last == 0 or len(entries) > 1:
        return False
    return lifecycle.fold(read(run_folder)).status is Status.COMPLETE  # it was claimed only to be filed away


def keep(run_folder: str, attempt: int) -> None:
    """Make an attempt's events durable: its writer may have died between a line and its sync."""
    path = path_of(run_folder, attempt)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        durable.sync(descriptor, path)
    finally:
        os.close(descriptor)


def wait_meant(run_folder: str) -> float | None:
    """Seconds that the run was to wait when it was last handed back, by the clock of whoever did that."""
    last = max(attempts(run_folder), default=0)
    entries, _ = read_file(run_folder, last)
    if not entries or not isinstance(entries[-1].event, events.HandedBack):
        return None
    until = entries[-1].event.not_before
    if until is None:
        return None
    return (datetime.fromisoformat(until) - datetime.fromisoformat(entries[-1].at)).total_seconds()


class Writer:
    """The one writer of a journal file at this moment.

    Args:
        descriptor: open for appending; the writer does not close it.
        written: how many valid events the file holds already.
    """

    def __init__(self, descriptor: int, path: str, written: int = 0) -> None:
        self.descriptor = descriptor
        self.path = path
        self.written = written

    def write(self, event: Event, *, sync: bool = False) -> Entry:
        """Append an event; with `sync` it is on the disk when this returns.

        Raises:
            OSError: the attempt must end; what was written of the line is void.
        """
        entry = Entry(self.written + 1, now(), event)
        line = encode(entry)
        durable.append(self.descriptor, line, self.path)
        if sync:
            self._sync(len(line))
        self.written += 1
        return entry

    def _sync(self, length: int) -> None:
        """Sync, or take the last line back: after a failed fsync every later one says that all is well."""
        try:
            durable.sync(self.descriptor, self.path)
        except OSError:
            with suppress(OSError):
                durable.truncate(self.descriptor, os.fstat(self.descriptor).st_size - length, self.path)
            raise

    def resume(self, run_folder: str, attempt: int) -> list[Entry]:
        """Take the file over from another process: count its events, and end a torn line.

        Raises:
            ClaimLostError: when the file was taken away, so that nothing written to it would ever be read.
        """
        if not self._is_there():
            raise ClaimLostError(
                f"The journal of {run_folder} was taken away while the run went on",
                "Put the folder back from a copy, or ready the config anew",
            )
        entries, torn = read_file(run_folder, attempt)
        if torn:
            durable.append(self.descriptor, _TORN, self.path)
        self.written = len(entries)
        return entries

    def _is_there(self) -> bool:
        with suppress(OSError):
            return os.path.samestat(os.stat(self.path), os.fstat(self.descriptor))
        return False


def _is_deeper(value: Json, levels: int) -> bool:
    found = [value]
    for _ in range(levels):
        found = [
            below
            for each in found
            if isinstance(each, (list, dict))
            for below in (each.values() if isinstance(each, dict) else each)
        ]
    return bool(found)


def strict_json(value: object) -> Json:
    """A task's return value as JSON can say it; NumPy's scalars count as the numbers that they are.

    Raises:
        ValueError: with a sentence of what cannot be kept.
    """
    if value is None or type(value) is bool:
        return value
    limit = 1 << 20

    def scalar(found: object) -> object:
        item = getattr(found, "item", None)
        if callable(item) and getattr(found, "ndim", None) == 0:
            return item()
        raise TypeError(f"a value of type {type(found).__name__} cannot be written as JSON")

    try:
        text = json.dumps(value, default=scalar, allow_nan=False)
        kept: Json = json.loads(text) if len(text) <= limit else None
        deep = text.count("[") + text.count("{") > _DEEPEST and _is_deeper(kept, _DEEPEST)
    except RecursionError:
        deep = True
    except TypeError as error:
        raise ValueError(str(error)) from None
    except ValueError as error:
        known = {"Circ": "it contains itself", "Out ": "NaN and infinity cannot be written as JSON"}
        raise ValueError(known.get(str(error)[:4], f"it holds a number that is too long: {error}")) from None
    if deep:
        raise ValueError("it is nested too deeply, or contains itself")
    if len(text) > limit:
        raise ValueError(f"it is {len(text)} bytes long as JSON, and {limit} are kept")
    return kept
