"""Files and logs of runs as responses that no browser executes.

A task writes what it likes, so a browser that shows one of its files in our name would execute a stranger's
script. Each file is sent as an attachment, with a type that means text, data or an image, and nothing else.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from fastapi.responses import StreamingResponse

from job_orchestration.web.problem_details import HttpError
from job_orchestration.workspace import safe_reads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

_CHUNK: Final = 1 << 16
_LOOK_EVERY: Final = 0.5
_SILENT_FOR: Final = 3600.0
"""Seconds without a new line after which a followed log is no longer followed."""
MOST_FOLLOWERS: Final = 200
TEXT: Final = "text/plain; charset=utf-8"
BYTES: Final = "application/octet-stream"
_TYPES: Final = {
    **dict.fromkeys((".txt", ".log", ".yaml", ".yml", ".tsv", ".csv", ".md", ".gmt", ".jsonl", ".py"), TEXT),
    ".json": "application/json",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
}


def file_response(folder: str, path: str) -> StreamingResponse:
    """Return a file below a folder, as it is now.

    Raises:
        HttpError: 404 if it is gone, or is no plain file there.
    """
    reading = safe_reads.plain_file_below(folder, path)
    try:
        with reading as (descriptor, size):
            copy = os.dup(descriptor)
    except OSError:
        raise HttpError(404, "There is no such file.") from None
    os.set_blocking(copy, True)
    kind = _TYPES.get(os.path.splitext(path)[1].lower(), BYTES)
    headers = {"Content-Disposition": disposition_of(os.path.basename(path)), "Content-Length": str(size)}
    return StreamingResponse(_pieces(copy, size), media_type=kind, headers=headers)


def disposition_of(name: str) -> str:
    """Return the header that makes a browser save a file; whatever its name holds stays in the name."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._- ") else "_" for c in name)
    encoded = quote(name.encode("utf-8", "replace"), safe="")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"


def _pieces(descriptor: int, size: int) -> Iterator[bytes]:
    """Yield as many bytes as were promised, whatever happens to the file meanwhile."""
    at = 0
    try:
        while at < size:
            data = os.pread(descriptor, min(_CHUNK, size - at), at)
            data = data or bytes(min(_CHUNK, size - at))  # it was cut: the promised length is kept
            at += len(data)
            yield data
    finally:
        os.close(descriptor)


class LogFollowers:
    """Sends logs that grow, as long as their runs live."""

    def __init__(self) -> None:
        self.count = 0

    def follow(self, path: str, has_ended: Callable[[], bool]) -> StreamingResponse:
        """Return a log with what is added to it, until its run has ended.

        Raises:
            HttpError: 503 if too many logs are followed.
        """
        if self.count >= MOST_FOLLOWERS:
            raise HttpError(503, "Too many logs are being followed.", headers={"Retry-After": "10"})
        self.count += 1
        return StreamingResponse(self._grown(path, has_ended), media_type=TEXT)

    async def _grown(self, path: str, has_ended: Callable[[], bool]) -> AsyncIterator[bytes]:
        at, silent = 0, 0.0
        try:
            while silent < _SILENT_FOR:
                over = await asyncio.to_thread(has_ended)  # asked first: what follows it is in the log
                while data := await asyncio.to_thread(read_from, path, at):
                    at, silent = at + len(data), 0.0
                    yield data
                if over:
                    return
                await asyncio.sleep(_LOOK_EVERY)
                silent += _LOOK_EVERY
        finally:
            self.count -= 1


def read_from(path: str, at: int) -> bytes:
    """Return some bytes of a log; none if there are no more, or there is no plain file."""
    try:
        with safe_reads.plain_file(path) as (descriptor, _):
            return os.pread(descriptor, _CHUNK, at)
    except OSError:
        return b""
