"""What this process runs on: the part of provenance that is the same for every run it readies."""

from __future__ import annotations

import copy
import functools
import getpass
import os
import platform
import re
import socket
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from job_orchestration.files import git

if TYPE_CHECKING:
    from job_orchestration.model.task import Json


def environment() -> dict[str, Json]:
    """Python, packages, host and user; found out once a process, and a copy for each caller.

    Returns:
        ``python`` (version, implementation, executable), ``platform`` (system, release, machine,
        description), ``host``, ``user``, ``cpu_count``, ``git`` and ``job_orchestration`` (a version, or
        ``None`` where it is not installed), ``packages`` (each installed distribution's name to its version).
    """
    return copy.deepcopy(_environment())


@functools.cache
def _environment() -> dict[str, Json]:
    packages = _packages()
    return {
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": sys.executable,
        },
        "platform": {
            "system": platform.system(),
            "release": platform.release(),
            "machine": platform.machine(),
            "description": platform.platform(),
        },
        "host": socket.gethostname(),
        "user": _user(),
        "cpu_count": os.cpu_count(),
        "git": git.version(),
        "job_orchestration": packages.get("job-orchestration"),
        "packages": packages,
    }


def _packages() -> dict[str, Json]:
    """Installed distributions, by normalised name. The first on ``sys.path`` is the one that is imported."""
    found: dict[str, Json] = {}
    for distribution in metadata.distributions():
        about = distribution.metadata
        if "Name" in about and "Version" in about:  # an interrupted uninstallation leaves neither
            found.setdefault(re.sub(r"[-_.]+", "-", about["Name"]).lower(), about["Version"])
    return dict(sorted(found.items()))


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a number that has no name
        return str(os.getuid())
