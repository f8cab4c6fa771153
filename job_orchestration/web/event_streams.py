"""Server-sent events: the state of a job whenever it changes, until it has ended.

All streams are fed by one task, which looks at the journals of the runs that are watched. So a stream that
waits costs its connection and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.runs import journal
from job_orchestration.web.problem_details import HttpError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from job_orchestration.web.job_service import JobService

LOOK_EVERY: Final = 0.5
_RUNNING_EVERY: Final = 2.0
"""Seconds between two looks at the progress of a run: it is no event of the journal."""
_SIGN_OF_LIFE: Final = 15.0
"""Seconds after which an idle stream sends a comment, so that a client that is gone is noticed."""
MOST_STREAMS: Final = 2000
_ENDED: Final = frozenset({"completed", "failed", "cancelled", "pruned"})
_CHANGING: Final = frozenset({"run_time", "eta"})
"""Keys that change by themselves."""


class _Feed:
    """What is known of one run that is watched."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.number = 1
        self.changed = asyncio.Event()
        self.streams = 0
        self.stamp: object = None
        self.looked = 0.0

    def put(self, job: dict[str, Any]) -> None:
        """Wake the streams, if the job has changed."""
        if {k: v for k, v in job.items() if k not in _CHANGING} != {
            k: v for k, v in self.job.items() if k not in _CHANGING
        }:
            self.number += 1
            self.job = job
            self.changed.set()
            self.changed = asyncio.Event()


class EventStreams:
    """The event streams of a server.

    Args:
        service: the jobs.
    """

    def __init__(self, service: JobService) -> None:
        self._service = service
        self._feeds: dict[str, _Feed] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def count(self) -> int:
        """The number of open streams."""
        return sum(feed.streams for feed in self._feeds.values())

    def close(self) -> None:
        """End the task that looks."""
        if self._task is not None:
            self._task.cancel()

    def open(self, job: dict[str, Any]) -> AsyncIterator[bytes]:
        """Begin a stream.

        Args:
            job: the job as it is now; it is queued.

        Raises:
            HttpError: 503 if there are too many.
        """
        if self.count >= MOST_STREAMS:
            raise HttpError(503, "Too many event streams are open.", headers={"Retry-After": "10"})
        run = str(job["run"])
        feed = self._feeds.get(run)
        if feed is None:
            feed = self._feeds[run] = _Feed(job)
        else:
            feed.put(job)
        feed.streams += 1
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._look())
        return self._events(run, feed)

    async def _events(self, run: str, feed: _Feed) -> AsyncIterator[bytes]:
        try:
            sent = 0
            while True:
                changed = feed.changed
                if feed.number != sent:
                    sent = feed.number
                    yield _event(sent, feed.job)
                    if feed.job["state"] in _ENDED:
                        return
                    continue
                try:
                    await asyncio.wait_for(changed.wait(), _SIGN_OF_LIFE)
                except TimeoutError:
                    yield b": waiting\n\n"
        finally:
            feed.streams -= 1
            if not feed.streams and self._feeds.get(run) is feed:
                del self._feeds[run]

    async def _look(self) -> None:
        """Look at the watched runs again and again, until none is watched."""
        while self._feeds:
            stamps = await asyncio.to_thread(self._stamps, list(self._feeds))
            now = time.monotonic()
            due = []
            for run, stamp in stamps.items():
                feed = self._feeds.get(run)
                if feed is None:
                    continue
                is_running = feed.job["state"] == "running" and now - feed.looked >= _RUNNING_EVERY
                if stamp != feed.stamp or is_running:
                    feed.stamp, feed.looked = stamp, now
                    due.append(run)
            if due:
                with suppress(OSError):  # the next look may do better
                    jobs = await asyncio.to_thread(self._service.jobs_of, due)
                    for run in due:
                        if run in jobs and run in self._feeds:
                            self._feeds[run].put(jobs[run])
            await asyncio.sleep(LOOK_EVERY)

    def _stamps(self, runs: list[str]) -> dict[str, object]:
        return {run: _stamp_of(self._service.place.run_folder(run)) for run in runs}


def _stamp_of(run_folder: str) -> object:
    """Return what changes whenever a journal does."""
    found = []
    with suppress(OSError), os.scandir(journal.folder_of(run_folder)) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            found.append((entry.name, status.st_size, status.st_mtime_ns))
    return sorted(found)


def _event(number: int, job: dict[str, Any]) -> bytes:
    kind = "end" if job["state"] in _ENDED else "status"
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(job)}\n\n".encode("ascii")
