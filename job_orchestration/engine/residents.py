"""Who works in which folder: what a process calls its working directory must not be taken away from it.

A host stays in the folder of its snapshot for as long as its worker, or whoever watches, keeps it warm, and
every child that it forks begins there. The kernel tells of the processes of this host, as far as they are
ours; of all others only their workers' beats are known.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from job_orchestration.files.history import living_workers

if TYPE_CHECKING:
    from job_orchestration.files.workspace import Workspace


def working_folders() -> frozenset[str]:
    """The working directories of all processes of this host that we may look at."""
    import psutil

    return frozenset(p.info["cwd"] for p in psutil.process_iter(["cwd"]) if p.info["cwd"])


def are_all_seen(workspace: Workspace) -> bool:
    """Whether every living worker is on this host and tells us where it works."""
    import psutil

    for beat in living_workers(workspace):
        if beat.host != socket.gethostname():
            return False
        try:
            psutil.Process(beat.pid).cwd()
        except psutil.NoSuchProcess:
            continue
        except (psutil.Error, OSError):
            return False
    return True


def is_used(folder: str, working: frozenset[str]) -> bool:
    """Whether somebody works in a folder or below it."""
    return any(path == folder or path.startswith(folder + os.sep) for path in working)
