"""Take jobs from a queue in the cloud, and keep their messages leased until the jobs have ended.

A received message is invisible to other consumers for the time of its lease, which is renewed while its job
lives and given up only after the job has ended, in whatever way. A consumer that dies loses its leases: the
next one gets the messages, finds the runs of their jobs in the workspace, and waits for their ends. Since a
job is the run of its name, it is executed once however often its message is received. A message that cannot
become a run is received again a few times, then set aside with the reason.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.diagnostics.errors import OrchestrationError
from job_orchestration.diagnostics.problems import escaped, named
from job_orchestration.jobs import azure_queue, running
from job_orchestration.workspace import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from job_orchestration.jobs.launchers import LocalLauncher

MOST_RECEIPTS: Final = 5
"""How often a message may be received before it is set aside."""
PAUSE: Final = 5
"""Seconds until a message that could not become a run is received again."""
LEASE: Final = 60
"""Seconds for which a message is invisible after each renewal."""
_RENEWALS: Final = 3
"""A lease is renewed after this part of it."""


@dataclass(slots=True)
class _Held:
    """A message whose jobs are queued and have not all ended."""

    message: Any
    jobs: Sequence[str]
    renewed_at: float = field(default_factory=time.monotonic)


class QueueConsumer:
    """Takes messages, queues their jobs, and deletes each message after its jobs have ended.

    Args:
        connection: the connection string of the queue.
        launcher: queues jobs in the workspace.
        say: called with one line per event.
        queue: the name of the queue.
        most: how many messages to hold at a time.
        lease: seconds.
        pause: seconds until a message that could not become a run is received again.
    """

    def __init__(
        self,
        connection: str,
        launcher: LocalLauncher,
        say: Callable[[str], None],
        *,
        queue: str = azure_queue.QUEUE,
        most: int = 8,
        lease: int = LEASE,
        pause: int = PAUSE,
    ) -> None:
        self._client = azure_queue.connect(connection, queue)
        self._set_aside = azure_queue.connect(connection, f"{queue}{azure_queue.POISON}")
        self._launcher = launcher
        self._say = say
        self._queue = queue
        self._most = most
        self._lease = lease
        self._pause = pause
        self._held: dict[str, _Held] = {}

    @property
    def jobs(self) -> Sequence[str]:
        """The jobs whose messages it holds."""
        return [job for held in self._held.values() for job in held.jobs]

    def turn(self) -> bool:
        """Renew leases, delete the messages of ended jobs, take new ones; return whether it took any.

        Raises:
            LaunchError: if the queue cannot be reached.
        """
        from azure.core.exceptions import AzureError

        try:
            self._finish()
            self._renew()
            return self._receive()
        except AzureError as error:
            raise azure_queue.unreachable(self._queue, error) from None

    def release(self) -> None:
        """Give up all leases, so that another consumer gets the messages at once."""
        from azure.core.exceptions import AzureError

        for held in self._held.values():
            try:
                self._client.update_message(held.message, visibility_timeout=0)
            except AzureError:
                continue  # its lease ends by itself
        self._held.clear()

    def _receive(self) -> bool:
        free = self._most - len(self._held)
        if free <= 0:
            return False
        found = self._client.receive_messages(
            max_messages=min(free, 32), messages_per_page=min(free, 32), visibility_timeout=self._lease
        )
        took = False
        for message in found:
            took = True
            try:
                self._hold(message)
            except (OrchestrationError, OSError) as error:
                self._refuse(message, str(error))
        return took

    def _hold(self, message: Any) -> None:
        jobs = azure_queue.jobs_in(message.content)
        for job in jobs:
            self._launcher.launch(job)
        self._held[message.id] = _Held(message, jobs)
        self._say(f"Took {named(map(escaped, jobs))} from the queue {escaped(self._queue)}.")

    def _refuse(self, message: Any, reason: str) -> None:
        """Let a message come back later, or set it aside if it has come too often."""
        count = message.dequeue_count or 1
        if count < MOST_RECEIPTS:
            self._client.update_message(message, visibility_timeout=self._pause)
            return
        record = {
            "message": message.content,
            "reason": reason,
            "receipts": count,
            "at": clock.now().isoformat(),
        }
        self._set_aside.send_message(json.dumps(record), time_to_live=-1)
        self._client.delete_message(message)
        target = escaped(f"{self._queue}{azure_queue.POISON}")
        self._say(f"Set a message aside in the queue {target}: {escaped(reason)}")

    def _finish(self) -> None:
        """Delete the messages whose jobs have ended, after their results lie in the store."""
        from azure.core.exceptions import HttpResponseError

        target, store = self._launcher.target, self._launcher.results_store
        for id_, held in list(self._held.items()):
            ended = [target.status(job) for job in held.jobs]
            if not all(status.has_ended for status in ended):
                continue
            for job in held.jobs:
                running.publish(target, store, job)
            del self._held[id_]
            try:
                self._client.delete_message(held.message)
            except HttpResponseError as error:
                if not _is_lost(error):
                    raise
            for status in ended:
                self._say(f"{escaped(status.name)}: {status.message}")

    def _renew(self) -> None:
        from azure.core.exceptions import HttpResponseError

        for id_, held in list(self._held.items()):
            if time.monotonic() - held.renewed_at < self._lease / _RENEWALS:
                continue
            at = time.monotonic()
            try:
                renewed = self._client.update_message(held.message, visibility_timeout=self._lease)
            except HttpResponseError as error:
                if not _is_lost(error):
                    raise
                del self._held[id_]
                jobs = named(map(escaped, held.jobs))
                self._say(f"The lease of {jobs} was lost. Another consumer waits for the end now.")
                continue
            held.message.pop_receipt = renewed.pop_receipt
            held.renewed_at = at


def _is_lost(error: Any) -> bool:
    """Return whether a message is not ours any more: it was received elsewhere, or deleted."""
    return error.status_code in {400, 404} and error.error_code in {"PopReceiptMismatch", "MessageNotFound"}
