"""Queues of Azure Storage (the extra ``[azure]``): put a job on one, and the messages that lie on it.

A message is the JSON object ``{"jobname": NAME}``, in Base64 as Azure Functions writes and reads messages.
Bare names, ``{"jobnames": [NAME]}`` and messages without Base64 are understood too.
"""

from __future__ import annotations

import base64
import binascii
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.diagnostics.errors import JobNotFoundError, UsageError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.jobs import environment, job_names
from job_orchestration.jobs.launchers import LaunchError
from job_orchestration.runs import status_codes

if TYPE_CHECKING:
    from job_orchestration.jobs.stores import Store

QUEUE: Final = "jobprocessing"
"""The name of the queue of GenePlexus's web application."""
POISON: Final = "-poison"
"""Ending of the name of the queue of messages that were set aside."""
_OPTIONS: Final = {
    "connection_timeout": 10,
    "read_timeout": 30,
    "retry_total": 2,
    "retry_backoff_factor": 0.2,
}


def connect(connection: str, name: str = QUEUE) -> Any:
    """Return the client of a queue, which is created if it does not exist.

    Args:
        connection: the connection string; if empty, that of ``QUEUECONNECTIONSTRING``.
        name: of the queue.

    Raises:
        UsageError: if there is no connection string, or the library is not installed.
        LaunchError: if the queue cannot be reached.
    """
    text = connection or environment.queue_connection()
    if not text:
        raise UsageError("No queue is given", f"Set {environment.QUEUE} to its connection string")
    try:
        from azure.core.exceptions import AzureError, ResourceExistsError
        from azure.storage.queue import QueueClient
    except ImportError:
        raise UsageError(
            "The library of the queue is not installed", "Run: pip install 'job-orchestration[azure]'"
        ) from None
    try:
        client = QueueClient.from_connection_string(text, name, **_OPTIONS)
        with suppress(ResourceExistsError):
            client.create_queue()
    except ValueError as error:
        raise UsageError(f"The connection string of the queue is wrong: {error}", "Copy it again") from None
    except AzureError as error:
        raise unreachable(name, error) from None
    return client


def unreachable(name: str, error: Exception) -> LaunchError:
    """Return the error of a queue that does not answer."""
    reason = escaped(" ".join(str(error).split())[:300])
    return LaunchError(f"The queue {escaped(name)} cannot be used: {reason}", "Try again later")


def text_of(job: str) -> str:
    """Return the text of a message about a job."""
    return base64.b64encode(json.dumps({"jobname": job}).encode()).decode()


def jobs_in(text: str) -> list[str]:
    """Return the safe names of the jobs that a message is about.

    Raises:
        UsageError: if it names none.
    """
    with suppress(UsageError):
        if job_names.path_friendly_job_name(text) == text:
            return [text]  # letters, digits and hyphens only
    with suppress(binascii.Error, ValueError):
        text = base64.b64decode(text, validate=True).decode()
    found: Any = text
    with suppress(ValueError):
        found = json.loads(text)
    if isinstance(found, dict):
        found = found.get("jobnames", found.get("jobname"))
    names = [str(found)] if isinstance(found, str | int) else found
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise UsageError(f"The message {escaped(text[:100])} names no job", 'Write {"jobname": NAME}')
    return [job_names.path_friendly_job_name(name) for name in names]


class AzureQueueLauncher:
    """Puts jobs on a queue, from which ``work --from azure-queue`` takes them. Never waits for a job.

    A job that is put on it twice is executed once.

    Args:
        connection: the connection string; default: that of ``QUEUECONNECTIONSTRING``.
        queue: the name of the queue.
        results_store: if given, only jobs that are in it are put on the queue.
    """

    def __init__(
        self, connection: str = "", queue: str = QUEUE, *, results_store: Store | None = None
    ) -> None:
        self.queue = queue
        self._client = connect(connection, queue)
        self._store = results_store

    def launch(self, job_name: str) -> int:
        """Put a job on the queue; return 202. See `Launcher`."""
        from azure.core.exceptions import AzureError

        safe = job_names.path_friendly_job_name(job_name)
        if self._store is not None and not self._store.exists(safe):
            raise JobNotFoundError(f"There is no job {escaped(safe)}", "Create it and save its inputs")
        try:
            self._client.send_message(text_of(safe), time_to_live=-1)
        except AzureError as error:
            raise unreachable(self.queue, error) from None
        return status_codes.ACCEPTED
