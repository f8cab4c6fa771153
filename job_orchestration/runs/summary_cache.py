"""Cache of run summaries: overviews read it instead of the journals of runs that no worker holds.

``Misc/summaries/`` may be deleted at any time; it only makes readers faster. A worker appends the summaries
of the runs that it has released, ``ready`` those of the runs that it has queued. From time to time ``ready``
and ``watch`` merge all files into one (`runs.cache_maintenance`). Readers never write.

A summary's key is its token's inode and change time. Every move is a rename or a link, which update the
change time, and a process moves the token before it writes to the run's journal. So a summary whose key
matches a token is current; one without a matching token is ignored, and no entry is ever invalidated.
A writer reads the token's key before the journal: if the run goes on in between, the key matches no token.

A file is a sequence of batches, each appended by one ``write``: a line with the format's number, the length
and the checksum, then JSON. Damaged batches and those of other releases are skipped. Parsing a whole batch at
once costs a few microseconds per run.
"""

from __future__ import annotations

import json
import os
import re
import stat
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.runs import summaries
from job_orchestration.runs.summaries import RunSummary
from job_orchestration.workspace import durable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from job_orchestration.runs.claims import Claim
    from job_orchestration.workspace.layout import Workspace

ENDING: Final = ".summaries"
_FORMAT: Final = 2
_HEAD: Final = re.compile(rb"job_orchestration summaries %d (\d+) (\d+)\n" % _FORMAT)
_MOST: Final = 1 << 18
"""Largest cached summary, in bytes; a run with thousands of tasks is read from its journal."""
_BATCH: Final = 500
"""Rows of a batch."""
_WIDTH: Final = 3 + len(RunSummary._fields)

Row = list[Any]
"""The token's key and file name, the run's name, and the fields of its summary; or the first two and `None`
for a token that belongs to no run of this format."""


def folder_of(workspace: Workspace) -> str:
    """Return the folder of the cache."""
    return os.path.join(workspace.misc, "summaries")


def key_of(status: os.stat_result) -> str:
    """Return a token's key, which is valid until the token moves."""
    return f"{status.st_ino}.{status.st_ctime_ns}"


def forget(path: str) -> None:
    """Change a token's key, so that views read its run's journal from now on. Best effort."""
    with suppress(OSError):
        status = os.lstat(path)
        if stat.S_ISREG(status.st_mode):
            os.chmod(path, stat.S_IMODE(status.st_mode))  # the mode that it has: its change time is the key


def row_of(status: os.stat_result, filename: str, run: str | None, summary: RunSummary | None) -> str | None:
    """Format a row as text; `None` if it is too long to cache."""
    rest = () if run is None or summary is None else summary
    text = text_of([key_of(status), filename, run, *rest])
    return text if len(text) <= _MOST else None


def text_of(row: Row) -> str:
    """Format a row as one element of a batch."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))


def summary_of(row: Row) -> RunSummary:
    """Return the summary in a row."""
    return RunSummary._make(row[3:])


def encode(rows: Sequence[str]) -> bytes:
    """Encode rows as batches small enough to parse in little memory."""
    return b"".join(_batch(rows[at : at + _BATCH]) for at in range(0, len(rows), _BATCH))


def _batch(rows: Sequence[str]) -> bytes:
    data = (",\n".join(rows) + "\n").encode("utf-8", "replace")
    return b"job_orchestration summaries %d %d %d\n%b" % (_FORMAT, len(data), zlib.crc32(data), data)


def decode(data: bytes) -> Iterator[Row]:
    """Decode the rows of all undamaged batches."""
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
    """Read all rows, by token key."""
    found: dict[str, Row] = {}
    for path in paths(workspace):
        with suppress(OSError), open(path, "rb") as file:
            found.update((row[0], row) for row in decode(file.read()))
    return found


def paths(workspace: Workspace) -> list[str]:
    """List the files of the cache."""
    folder = folder_of(workspace)
    with suppress(OSError):
        return sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(ENDING))
    return []


def append(workspace: Workspace, name: str, rows: Sequence[str]) -> None:
    """Append rows to a file. Best effort: errors are ignored."""
    if not rows:
        return
    path = os.path.join(folder_of(workspace), f"{name}{ENDING}")
    with suppress(OSError):
        try:
            durable.append_view(path, encode(rows))
        except FileNotFoundError:
            os.mkdir(folder_of(workspace))
            durable.append_view(path, encode(rows))


class SummaryCacheWriter:
    """Collects the summaries of runs that one worker has moved, and writes them in batches."""

    def __init__(self, workspace: Workspace, worker: str) -> None:
        self._workspace = workspace
        self._worker = worker
        self._rows: list[str] = []

    def add(self, claim: Claim) -> None:
        """Collect the summary of a claimed run whose token has just moved to a settled place."""
        with suppress(OSError):
            status = os.fstat(claim.descriptor)
            summary = summaries.summary_of(claim.state)
            row = row_of(status, os.path.basename(claim.path), claim.run, summary)
            if row is not None:
                self._rows.append(row)

    def write(self) -> None:
        """Write the summaries collected since the last call."""
        append(self._workspace, self._worker, self._rows)
        self._rows.clear()
