"""Put the record of a run back after a task, or a person, has spoilt it.

The record of a run is its journal. After each child a worker compares it with what it has in memory
(`restore`). A claim that finds a record that cannot be read takes the copy that the last worker left
(`runs.record_backup`); where there is none, the run ends as failed, with what is still known (`repair`).

Nothing is deleted: what lies where a file of ours should be gets another name (`durable.move_aside`).
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from job_orchestration.config import json_floats, yaml_reader
from job_orchestration.runs import event_codec, journal, lifecycle, record_backup
from job_orchestration.runs.events import Claimed, Code, GaveUp, JournalEntry, Outcome, Readied, Trial
from job_orchestration.runs.opening import CONFIG, PROVENANCE
from job_orchestration.runs.state import Status
from job_orchestration.workspace import clock, durable, naming, safe_reads
from job_orchestration.workspace.safe_reads import DamagedFileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from job_orchestration.runs.events import Event
    from job_orchestration.runs.token import Token
    from job_orchestration.workspace.layout import Workspace

Stamp: TypeAlias = tuple[int, ...]
"""How a file lies on the disk: which one it is, its kind, its size, and when it was last changed."""

# -- while a worker holds the run ---------------------------------------------------------------------------


def stamps_of(run_folder: str, names: Iterable[str]) -> dict[str, Stamp]:
    """Return how files lie on the disk, by path in the run's folder; what is missing has no stamp."""
    found = {}
    for name in names:
        with suppress(OSError):
            found[name] = _stamp(os.lstat(os.path.join(run_folder, name)))
    return found


def restore(
    run_folder: str,
    writer: journal.Writer,
    kept: Mapping[str, bytes],
    token: int,
    stamps: Mapping[str, Stamp],
) -> list[str]:
    """Put back what the processes of an attempt have taken away from the record. All of them have ended.

    Args:
        run_folder: the run's output folder.
        writer: of this attempt's journal file; it gets another descriptor if its file has to be made again.
        kept: the content of the earlier files of the journal and of the provenance, by path in the folder.
        token: descriptor of the locked token, whose content is that of ``config.yaml``.
        stamps: of the files in `kept`, taken before the attempt's processes began; they save reading.

    Returns:
        The paths in the run's folder of the files that were put back.

    Raises:
        OSError: a file cannot be put back.
    """
    own = os.path.relpath(writer.path, run_folder)
    lost = [
        name
        for name, data in kept.items()
        if name != PROVENANCE and not _is_as_kept(os.path.join(run_folder, name), data, stamps.get(name))
    ]
    if not writer.exists():
        lost.append(own)
    if not lost:
        return []
    _insist_on_folder(run_folder)
    _insist_on_folder(journal.folder_of(run_folder))
    config = os.pread(token, os.fstat(token).st_size, 0)
    rest = {**kept, CONFIG: config}
    lost += [
        n for n in (CONFIG, PROVENANCE) if n in rest and not os.path.lexists(os.path.join(run_folder, n))
    ]
    for name in lost:
        if name == own:
            writer.make_again()
        else:
            _write(os.path.join(run_folder, name), rest[name])
    durable.sync_folder(journal.folder_of(run_folder))
    durable.sync_folder(run_folder)
    return lost


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_dev, status.st_ino, status.st_mode, status.st_size, status.st_ctime_ns


def _is_as_kept(path: str, data: bytes, stamp: Stamp | None) -> bool:
    """Whether a file has this content; it is read only if it has been changed since its stamp was taken."""
    with suppress(OSError):
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size != len(data):
            return False
        return _stamp(status) == stamp or safe_reads.whole(path) == data
    return False


def _write(path: str, data: bytes) -> None:
    durable.move_aside(path)
    durable.write_new(path, data)


def _insist_on_folder(path: str) -> None:
    if os.path.islink(path) and os.path.basename(path) == "journal":
        durable.move_aside(path)
    if not os.path.isdir(path):
        durable.move_aside(path)
        durable.make_folder(path)


# -- when the next claim finds it ---------------------------------------------------------------------------


def repair(workspace: Workspace, token: Token, data: bytes, run: str, error: Exception) -> None:
    """Make the journal of a run readable again. The caller has locked its token.

    If the worker that held the run left a copy, the run goes on from there. Otherwise the run gets a
    `gave_up` event that says what is damaged; a retry goes on from what could still be read.

    Args:
        workspace: the run's workspace.
        token: the token, as it was found.
        data: the content of the token.
        run: the run's name.
        error: what reading the journal met.

    Raises:
        OSError: it could not be written.
    """
    folder = workspace.run_folder(run)
    _insist_on_folder(folder)
    _insist_on_folder(journal.folder_of(folder))
    copy = record_backup.read(workspace, run)
    whole = _put_back(folder, copy)
    whole &= _readied(folder, data, copy.get(PROVENANCE))
    found: journal.Journal = {}
    for number in journal.attempts(folder):
        found[number], is_sound = _salvage(folder, number)
        whole &= is_sound
    known = lifecycle.counts_of(found)
    worker, number = token.name.worker or "", token.name.generation
    whole &= all(known.get(n, 0) >= count for n, count in lifecycle.builds_on(found).items())
    if copy and number and not found.get(number):
        _begin(folder, number, worker, known)
    elif not whole and lifecycle.fold(found).status not in {Status.COMPLETE, Status.FAILED}:
        reason = f"the record of the run is damaged: {_words_of(error, workspace)}"
        latest = max(number, *journal.attempts(folder))
        _begin(folder, latest + 1, worker, known, GaveUp(reason, Outcome.LOST))
    durable.sync_folder(journal.folder_of(folder))
    durable.sync_folder(folder)


def _words_of(error: Exception, workspace: Workspace) -> str:
    if isinstance(error, DamagedFileError):
        return f"{os.path.relpath(os.fsdecode(error.filename), workspace.root)}: {error.strerror}"
    return str(error)


def _put_back(folder: str, copy: Mapping[str, bytes]) -> bool:
    """Write the files of a copy that are not as they were; return whether there is a copy."""
    for name, data in copy.items():
        path = os.path.join(folder, name)
        if name == PROVENANCE:
            if not os.path.lexists(path):
                _write(path, data)
            continue
        with suppress(OSError):
            if safe_reads.whole(path).startswith(data):
                continue
        _write(path, data)
    return bool(copy)


def _salvage(folder: str, number: int) -> tuple[list[JournalEntry], bool]:
    """Return the events of a file before the first damage; a damaged file is written anew with only these."""
    path = journal.path_of(folder, number)
    try:
        data = safe_reads.whole(path)
    except DamagedFileError:
        durable.move_aside(path)
        return [], False
    entries, _, damage = journal.parse(data)
    if damage is None:
        return entries, True
    lines = data.split(b"\n")[: damage.line - 1]
    kept = b"".join(line + b"\n" for line in lines)
    _write(path, kept)
    return journal.parse(kept)[0], False


def _begin(folder: str, number: int, worker: str, known: Mapping[int, int], *events: GaveUp) -> None:
    """Write an attempt's file: that it was claimed, and what else is known of it."""
    path = journal.path_of(folder, number)
    claimed = Claimed(number, worker or "?", worker.partition(".")[0] or "?", 0, dict(known))
    every: list[Event] = [claimed, *events]
    entries = [JournalEntry(n, clock.timestamp(), event) for n, event in enumerate(every, 1)]
    _write(path, b"".join(map(event_codec.encode, entries)))


def _readied(folder: str, data: bytes, provenance: bytes | None) -> bool:
    """Write the journal's first file if it is lost; return whether it was there."""
    digest = hashlib.sha256(data).hexdigest()
    path = journal.path_of(folder, 0)
    with suppress(OSError):
        entries, _, damage = journal.parse(safe_reads.whole(path))
        first = entries[0].event if entries and damage is None else None
        if isinstance(first, Readied):
            return True
    known: Any = {}
    with suppress(OSError, ValueError):
        known = json_floats.value_of(provenance or safe_reads.whole(os.path.join(folder, PROVENANCE)))
    if not isinstance(known, dict) or known.get("digest") != digest:
        known = {}
    root, _ = yaml_reader.read(data, CONFIG)
    values: Any = yaml_reader.plain(root) if root is not None else {}
    run = str(values.get("outputDir", ""))
    event = Readied(
        str(known.get("config") or naming.stem_of(os.path.basename(run))),
        digest,
        values,
        known["seed"] if isinstance(known.get("seed"), int) else 0,
        _code(known),
        Trial(known["sweep"], known.get("parameters") or {}) if known.get("sweep") else None,
    )
    entry = JournalEntry(1, str(known.get("readied_at") or clock.timestamp()), event)
    _write(path, event_codec.encode(entry))
    if not os.path.lexists(os.path.join(folder, CONFIG)):
        _write(os.path.join(folder, CONFIG), data)
    return False


def _code(known: Mapping[str, Any]) -> Code | None:
    if not known.get("commit"):
        return None
    return Code(str(known["commit"]), str(known.get("folder") or "."), str(known.get("work_tree") or ""))
