"""Digests: what overviews need of the runs that nobody works on, kept so that their journals stay closed.

``Misc/digests/`` may be deleted at any time, and only makes readers quicker. A worker appends what it filed
away, ``ready`` what it queued, and now and then ``ready`` and ``watch`` put all of it into one file
(`files.upkeep`). Readers only read.

A digest is known by its token's inode and the time of its last change. Every move is a rename or a link, and
these change that time; and nobody writes to the journal of a run without moving its token first. So a digest
that fits its token is true, one that does not is ignored, and nothing ever has to be struck out. Whoever
makes one looks at the token first and reads the journal then: should the run go on in between, the digest
fits no token any more.

A file is a row of batches, each appended by one ``write``: a line with the format's number, the length and
the checksum, then JSON. What a crash or a bad disk left of a batch, and what another release wrote, is not
used. One parse of a whole batch costs a few microseconds a run.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.files import durable
from job_orchestration.model.run import Place
from job_orchestration.model.summary import RunSummary
from job_orchestration.rules import summarizing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from job_orchestration.files.token import Claim
    from job_orchestration.files.workspace import Workspace

SETTLED: Final = (Place.TO_RUN, Place.COMPLETED, Place.FAILED)
"""Where tokens lie that nobody works on."""
ENDING: Final = ".digests"
_FORMAT: Final = 1
_HEAD: Final = re.compile(rb"job_orchestration digests %d (\d+) (\d+)\n" % _FORMAT)
_MOST: Final = 1 << 18
"""Bytes of a digest that are kept; a run with thousands of tasks is read from its journal."""
_BATCH: Final = 500
"""Rows of a batch."""
_WIDTH: Final = 3 + len(RunSummary._fields)

Row = list[Any]
"""The token's key and file name, the run's name, and the fields of its summary; or only the first two and
`None` for a token that is no run of ours."""


def folder_of(workspace: Workspace) -> str:
    """Where digests lie."""
    return os.path.join(workspace.misc, "digests")


def key_of(status: os.stat_result) -> str:
    """What a token is known by until it moves."""
    return f"{status.st_ino}.{status.st_ctime_ns}"


def row_of(status: os.stat_result, filename: str, run: str | None, summary: RunSummary | None) -> str | None:
    """A digest as text; `None` when it is too long to be kept."""
    rest = () if run is None or summary is None else summary
    text = text_of([key_of(status), filename, run, *rest])
    return text if len(text) <= _MOST else None


def text_of(row: Row) -> str:
    """A row as it stands in a batch."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))


def summary_of(row: Row) -> RunSummary:
    """The summary in a row."""
    return RunSummary._make(row[3:])


def encode(rows: Sequence[str]) -> bytes:
    """Some rows as batches, of a size that a reader parses in little memory."""
    return b"".join(_batch(rows[at : at + _BATCH]) for at in range(0, len(rows), _BATCH))


def _batch(rows: Sequence[str]) -> bytes:
    data = (",\n".join(rows) + "\n").encode("utf-8", "replace")
    return b"job_orchestration digests %d %d %d\n%b" % (_FORMAT, len(data), zlib.crc32(data), data)


def decode(data: bytes) -> Iterator[Row]:
    """The rows of all whole batches."""
    at = 0
    while head := _HEAD.search(data, at):
        begin, length = head.end(), int(head[1])
        batch = data[begin : begin + length]
        at = begin
        if len(batch) == length and zlib.crc32(batch) == int(head[2]):
            at += length
            with suppress(ValueError, RecursionError):
                rows = json.loads(b"[%b]" % batch)
                yield from (row for row in rows if type(row) is list and len(row) in {3, _WIDTH})


def read(workspace: Workspace) -> dict[str, Row]:
    """All rows by the key of their token; nothing when there are none."""
    found: dict[str, Row] = {}
    for path in paths(workspace):
        with suppress(OSError), open(path, "rb") as file:
            found.update((row[0], row) for row in decode(file.read()))
    return found


def paths(workspace: Workspace) -> list[str]:
    """The files that hold digests."""
    folder = folder_of(workspace)
    with suppress(OSError):
        return sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(ENDING))
    return []


def append(workspace: Workspace, name: str, rows: Sequence[str]) -> None:
    """Add digests to a file; when that fails nobody is the worse for it."""
    if not rows:
        return
    path = os.path.join(folder_of(workspace), f"{name}{ENDING}")
    with suppress(OSError):
        try:
            durable.append_view(path, encode(rows))
        except FileNotFoundError:
            os.mkdir(folder_of(workspace))
            durable.append_view(path, encode(rows))


class Notes:
    """The digests of what one worker filed away, gathered until there is time to write them."""

    def __init__(self, workspace: Workspace, worker: str) -> None:
        self._workspace = workspace
        self._worker = worker
        self._rows: list[str] = []

    def take(self, claim: Claim) -> None:
        """Note a run that was moved to where nobody works on it; it must still be held."""
        with suppress(OSError):
            status = os.fstat(claim.descriptor)
            summary = summarizing.summary_of(claim.state)
            row = row_of(status, os.path.basename(claim.path), claim.run, summary)
            if row is not None:
                self._rows.append(row)

    def write(self) -> None:
        """Write what was noted since the last time."""
        append(self._workspace, self._worker, self._rows)
        self._rows.clear()
