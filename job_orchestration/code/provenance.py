"""The provenance of a run: its commit, config, seed, and the environment of the process that queued it."""

from __future__ import annotations

import copy
import functools
import getpass
import os
import platform
import re
import socket
import sys
from dataclasses import dataclass, field, fields
from importlib import metadata
from typing import TYPE_CHECKING, Final, cast

from job_orchestration.code import git
from job_orchestration.diagnostics.problems import escaped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.config.config import Json

_PROGRAMS: Final = frozenset({"job-orchestration", "jo"})
"""Names under which the command line is installed."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """The content of ``provenance.json``. ``None``: absent or unknown."""

    run: str
    config: str
    """The name of the config: the stem of the dropped file."""
    digest: str
    """sha256 of ``config.yaml``, in hex."""
    readied_at: str
    """UTC, ISO 8601."""
    seed: int
    commit: str | None = None
    """The commit that the run executes; a captured one is only in ``Misc/code.git``."""
    folder: str | None = None
    """The folder of ``Tasks.py``, relative to the top of the commit's tree."""
    work_tree: str | None = None
    """The work tree that the commit was pinned from; it may be gone since."""
    branch: str | None = None
    origin: str | None = None
    """The address of the repository's remote ``origin``, without credentials."""
    github_repository: str | None = None
    """The value of ``githubRepository`` in the config; never contacted."""
    sweep: str | None = None
    """The sweep that the run is a trial of."""
    parameters: Mapping[str, Json] | None = None
    """The parameters that the sweep chose for this run."""
    dirty: tuple[str, ...] = ()
    """The files that were captured from a dirty work tree, relative to its top."""
    argv: tuple[str, ...] = ()
    """The command that queued the run; of a program that embeds the product only its name."""
    source: str | None = None
    """The dropped file as the author wrote it, with comments and placeholders."""
    environment: Mapping[str, Json] = field(default_factory=dict)
    """Of the process that queued it: ``python``, ``platform``, ``host``, ``user``, ``packages``, …"""

    def as_json(self) -> dict[str, Json]:
        """Return one flat object; the keys of the environment stand beside the others."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "environment"}
        plain = {k: [escaped(e) for e in v] if isinstance(v, tuple) else v for k, v in own.items()}
        return {**self.environment, **cast("dict[str, Json]", plain)}


def command_line(argv: Sequence[str]) -> tuple[str, ...]:
    """Return the command that queues a run, without the arguments of a program that is not ours.

    A program that embeds the product may get passwords as arguments, and provenance is kept and shown.
    """
    name = os.path.basename(argv[0]) if argv else ""
    is_module = name == "__main__.py" and os.path.basename(os.path.dirname(argv[0])) == "job_orchestration"
    is_ours = is_module or name.removesuffix(".exe") in _PROGRAMS
    return tuple(argv) if is_ours else (name,)


def environment() -> dict[str, Json]:
    """Return Python, packages, machine and user; found once in a process, copied for each caller.

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
    """Return the installed distributions by normalised name. The first on ``sys.path`` is imported."""
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
