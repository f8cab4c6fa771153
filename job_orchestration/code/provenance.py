"""The provenance of a run: its commit, config, seed, and the environment of the process that queued it.

Secrets are masked here, before anything is written; only ``source``, the author's file, is kept as it is.
"""

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
from typing import TYPE_CHECKING, Final, cast

from job_orchestration.code import git, installed_packages, machine
from job_orchestration.diagnostics import secrets
from job_orchestration.diagnostics.problems import escaped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.config.config import Json

_PROGRAMS: Final = frozenset({"job-orchestration", "jo"})
"""Names under which the command line is installed."""
_VARIABLES: Final = re.compile(
    r"(?:OMP|GOMP|KMP|MKL|OPENBLAS|GOTO|BLIS|VECLIB|NUMEXPR|NUMBA|CUDA|CUDNN|CUBLAS|NCCL|NVIDIA|HIP|ROCR|PYTHON"
    r"|TF|XLA|JAX|TORCH|PYTORCH|TOKENIZERS|MALLOC|LC)_?.*|LANG|LANGUAGE|TZ|LD_PRELOAD|LD_LIBRARY_PATH"
    r"|CONDA_PREFIX|CONDA_DEFAULT_ENV|VIRTUAL_ENV"
)
_NO_VARIABLE: Final = re.compile(
    "PYTHON(?:UNBUFFERED|DONTWRITEBYTECODE|STARTUP|_HISTORY|_COLORS|BREAKPOINT|FAULTHANDLER)|TF_CLI.*"
)
"""Those among them that do not."""
"""Environment variables that may change what a task computes."""
_LONGEST: Final = 2000
"""Characters of a variable's value that are kept."""


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
    """Of the process that queued it: ``python``, ``platform``, ``host``, ``user``, ``machine``, …"""
    author: str | None = None
    """Of the commit; of captured changes the commit that they were made on."""
    authored_at: str | None = None
    subject: str | None = None

    def as_json(self) -> dict[str, Json]:
        """Return one flat object; the keys of the environment stand beside the others."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in {"environment", "source"}}
        plain = {k: [escaped(e) for e in v] if isinstance(v, tuple) else v for k, v in own.items()}
        hidden = cast("dict[str, Json]", secrets.masked_values(plain, known=secrets.values_in(os.environ)))
        return {**self.environment, **hidden, "source": self.source}


def command_line(argv: Sequence[str]) -> tuple[str, ...]:
    """Return the command that queues a run, without the arguments of a program that is not ours.

    A program that embeds the product may get passwords as arguments, and provenance is kept and shown.
    """
    name = os.path.basename(argv[0]) if argv else ""
    is_module = name == "__main__.py" and os.path.basename(os.path.dirname(argv[0])) == "job_orchestration"
    is_ours = is_module or name.removesuffix(".exe") in _PROGRAMS
    return secrets.masked_words(argv) if is_ours else (name,)


def environment() -> dict[str, Json]:
    """Return Python, packages, machine and user; found once in a process, copied for each caller.

    Returns:
        ``python`` (version, implementation, executable), ``platform`` (system, release, machine,
        description), ``host``, ``user``, ``cpu_count``, ``machine`` (cpu, memory_bytes, gpus), ``variables``
        (those that may matter, without secrets), ``job_orchestration`` (a version, or ``None`` where it is
        not installed), ``packages`` (each installed distribution's name to its version) and ``editable`` (of
        those that are installed as editable ``folder`` and ``commit``).
    """
    return copy.deepcopy(_environment())


@functools.cache
def _environment() -> dict[str, Json]:
    packages, editable = installed_packages.installed()
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
        "machine": machine.described(),
        "variables": variables(os.environ),
        "job_orchestration": packages.get("job-orchestration"),
        "packages": packages,
        "editable": editable,
    }


def git_version() -> str | None:
    """Return the version of git, which only `ready` records: a worker runs code that is pinned already."""
    return git.version()


def variables(environ: Mapping[str, str]) -> dict[str, Json]:
    """Return the environment variables that may change what a task computes, without secrets."""
    found: dict[str, Json] = {
        name: escaped(value[:_LONGEST])
        for name, value in sorted(environ.items())
        if _VARIABLES.fullmatch(name) and not _NO_VARIABLE.fullmatch(name)
    }
    return cast("dict[str, Json]", secrets.masked_values(found, known=secrets.values_in(environ)))


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a number that has no name
        return str(os.getuid())
