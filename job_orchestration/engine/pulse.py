"""What a worker shows of itself: its beat, now and then, and never more often than anybody would look.

With the beat go the digests of the runs that it filed away since the last one.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from job_orchestration.files import beats, digests, journal
from job_orchestration.files.beats import Beat

if TYPE_CHECKING:
    from job_orchestration.engine.page import Page
    from job_orchestration.files.token import Claim
    from job_orchestration.files.workspace import Workspace

EVERY: Final = 2.0
"""Seconds between two beats. Tasks of milliseconds do not each deserve a file."""


class Pulse:
    """The beats of one worker.

    Args:
        workspace: where they are written.
        worker: the worker's name.
        host: the name of this machine.
        pid: the worker's process.
    """

    def __init__(self, workspace: Workspace, worker: str, host: str, pid: int) -> None:
        self._workspace = workspace
        self._beat = Beat(worker, host, pid, journal.now(), "")
        self._at = 0.0
        self._notes = digests.Notes(workspace, worker)

    def idle(self) -> None:
        """Nothing is being run."""
        self._show(replace(self._beat, run=None, attempt=None, task=None, done=None, total=None))

    def busy(self, claim: Claim, page: Page | None = None) -> bool:
        """A run is held; the page tells which task is at work and how far it says it is.

        Returns:
            Whether it was time for a beat: then it is for other views too.
        """
        task, done, total = None, None, None
        running = None if page is None else page.task
        if page is not None and running is not None:
            task = claim.state.tasks[running[0]].id
            done, total = page.progress
        told = bool(done or total)
        return self._show(
            replace(
                self._beat,
                run=claim.run,
                attempt=claim.attempt,
                task=task,
                done=done if told else None,
                total=(total or None) if told else None,
            )
        )

    def moved(self, claim: Claim) -> None:
        """A run was moved to where nobody works on it; it is still held."""
        self._notes.take(claim)

    def end(self) -> None:
        """The worker ends in order."""
        self._notes.write()
        beats.remove(self._workspace, self._beat.worker)

    def _show(self, beat: Beat) -> bool:
        last = self._beat
        if (beat.run, beat.attempt, beat.task, beat.done) != (last.run, last.attempt, last.task, last.done):
            beat = replace(beat, moved_at=journal.now())
        self._beat = beat
        if time.monotonic() - self._at < EVERY:
            return False
        self._at = time.monotonic()
        self._beat = replace(beat, at=journal.now())
        beats.write(self._workspace, self._beat)
        self._notes.write()
        return True
