"""The environment variables of applications around GenePlexus: defaults below everything else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from job_orchestration.workspace import layout

if TYPE_CHECKING:
    from collections.abc import Mapping

JOBS: Final = ("JOBS_PATH", "JOB_PATH", layout.VARIABLE)
"""The folder of the jobs: a workspace."""
DATA: Final = "DATA_PATH"
"""The folder of GenePlexus's data; its tasks read this variable themselves."""
CALLBACK: Final = "CALLBACK_URL"
QUEUE: Final = "QUEUECONNECTIONSTRING"


def jobs_path(environment: Mapping[str, str] = os.environ) -> str:
    """Return the folder of the jobs; empty if no variable names it."""
    return next((environment[name] for name in JOBS if environment.get(name)), "")


def callback_url(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the address that is called when a job has ended; `None` if there is none."""
    url = environment.get(CALLBACK, "")
    return called_for_each_job(url) if url.startswith(("http://", "https://")) else None


def called_for_each_job(url: str) -> str:
    """Return an address with the job's name behind it, unless it says itself where the name belongs."""
    return url if "{" in url else f"{url.rstrip('/')}/{{run}}"


def queue_connection(environment: Mapping[str, str] = os.environ) -> str:
    """Return the connection string of the queue; empty if there is none."""
    return environment.get(QUEUE, "")
