"""Name temporary files, and find those that a killed process left behind.

A file is written under a temporary name and then renamed. A process that is killed between the two leaves the
temporary file, which nothing else ever uses. Its name holds the process id of its writer. It lives for
milliseconds, so it is abandoned once it is ten minutes old and no process of that id lives here, or once it
is a day old: a writer may be stopped for a while, and another machine's process ids say nothing here.

`find` looks where the product writes and at the names that it writes; whatever else lies there may be a
person's or a task's own. ``Output`` is walked only if asked for, since it may hold many thousands of folders.
"""

from __future__ import annotations

import os
import re
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from job_orchestration.workspace.naming import PROBLEMS_SUFFIX
from job_orchestration.workspace.safe_reads import names_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    class Workspace(Protocol):
        """The folders that are looked into; `layout`, which writes files itself, is above this module."""

        @property
        def root(self) -> str:
            """The workspace itself."""

        @property
        def misc(self) -> str:
            """Its folder ``Misc``."""

        @property
        def opening(self) -> str:
            """The folder of intents."""

        @property
        def workers(self) -> str:
            """The folder of heartbeats."""

        @property
        def outbox(self) -> str:
            """The folder of notifications."""

        @property
        def output(self) -> str:
            """The folder of all runs."""

        @property
        def folders(self) -> Mapping[Any, str]:
            """The folders of tokens and drops."""


ABANDONED: Final = 600.0
"""Age in seconds of an abandoned file whose writer does not live here."""
ANYWAY: Final = 86_400.0
"""Age in seconds after which a file is abandoned whatever lives here."""
COLLECT_EVERY: Final = 3600.0
"""Seconds between two collections of a process that goes on."""
SYSTEM_PREFIX: Final = "job_orchestration."
"""Start of the names of temporary folders outside the workspace."""

_OURS: Final = re.compile(r".+\.tmp([0-9]+)")
_BY_RUN: Final = re.compile(
    r"(?:config\.yaml|status\.yaml|search\.yaml|results\.[a-z]+|provenance\.json|log\.log)\.tmp([0-9]+)"
)
_BY_PLACE: Final = re.compile(
    rf"(?:.+{re.escape(PROBLEMS_SUFFIX)}\.tmp|\.copy\.|\..+\.ya?ml\.)([0-9]+)", re.IGNORECASE
)
"""Beside tokens and dropped files: problems files, copies, and what a program drops through the package."""
_TRIAL: Final = re.compile(r".+\.([0-9]+)\.[a-z0-9]+\.trial")
"""What a worker writes to see whether the disk can be written again."""
_OF_VALIDATION: Final = frozenset({"request", "reply", "log"})


def name_of(path: str) -> str:
    """Return the temporary name of a file that this process is about to write."""
    return f"{path}.tmp{os.getpid()}"


def collect(workspace: Workspace, *, runs: bool = False) -> int:
    """Delete what was abandoned; return how much that was. Best effort: errors are ignored.

    Args:
        workspace: the workspace.
        runs: whether to look into the folders of the runs too.
    """
    found = find(workspace, runs=runs)
    for path in found:
        with suppress(OSError):
            os.unlink(path)
    now = time.time()
    return len(found) + _collect_submitted(workspace, now) + _collect_of_system(now)


def collect_in_run(run_folder: str) -> None:
    """Delete the temporary files of a run that this process holds: every other writer is dead."""
    for name in names_in(run_folder):
        if _BY_RUN.fullmatch(name):
            with suppress(OSError):
                os.unlink(os.path.join(run_folder, name))


def find(workspace: Workspace, *, runs: bool = False) -> list[str]:
    """Return the paths of abandoned files in the workspace."""
    now = time.time()
    places = _places_of(workspace)
    found = [path for folder, names in places for path in _abandoned_in(folder, names, now)]
    if runs:
        for folder in _run_folders(workspace):
            found += _abandoned_in(folder, _BY_RUN, now)
    return found


def _places_of(workspace: Workspace) -> list[tuple[str, re.Pattern[str]]]:
    misc, searches = workspace.misc, os.path.join(workspace.misc, "searches")
    bisections = os.path.join(misc, "bisections")
    reuse = os.path.join(misc, "reuse")
    owned = (
        *(misc, workspace.opening, workspace.workers, workspace.outbox, searches),
        *(os.path.join(workspace.outbox, name) for name in ("undelivered", "sent_once")),
        *(os.path.join(misc, name) for name in ("summaries", "trash", "cancel")),
        *(os.path.join(misc, name) for name in ("packages", "environments", "inputs", "hashes", "cache")),
        *(
            os.path.join(folder, name)
            for folder in (searches, bisections, reuse)
            for name in names_in(folder)
        ),
    )
    return [
        (workspace.root, re.compile(r"workspace\.yaml\.tmp([0-9]+)")),
        *((folder, _BY_PLACE) for folder in workspace.folders.values()),
        *((folder, _OURS) for folder in owned),
        (workspace.workers, _TRIAL),
    ]


def _abandoned_in(folder: str, names: re.Pattern[str], now: float) -> Iterator[str]:
    for name in names_in(folder):
        match = names.fullmatch(name)
        if match is not None:
            path = os.path.join(folder, name)
            if _is_abandoned(path, int(match[1]), now):
                yield path


def _is_abandoned(path: str, pid: int, now: float) -> bool:
    with suppress(OSError):
        status = os.lstat(path)
        age = now - status.st_mtime
        is_file = stat.S_ISREG(status.st_mode)
        return is_file and (age > ANYWAY or (age > ABANDONED and not os.path.exists(f"/proc/{pid}")))
    return False


def _run_folders(workspace: Workspace) -> Iterator[str]:
    """Yield the folders of runs and searches, without those that tasks made inside."""
    for folder, folders, _ in os.walk(workspace.output):
        yield folder
        if "journal" in folders:
            folders.clear()


def _collect_submitted(workspace: Workspace, now: float) -> int:
    """Delete the inputs that a killed process was about to submit; return the number of folders."""
    import shutil

    top, number = os.path.join(workspace.misc, "submitted"), 0
    for name in names_in(top):
        path = os.path.join(top, name)
        pid = name.partition(".")[0]
        with suppress(OSError):
            age = now - os.lstat(path).st_mtime
            if age > ANYWAY or (age > ABANDONED and pid.isdecimal() and not os.path.exists(f"/proc/{pid}")):
                shutil.rmtree(path)
                number += 1
    return number


def _collect_of_system(now: float) -> int:
    """Delete the folders in which a killed process had tasks validated; return their number."""
    import shutil
    import tempfile

    top, number = tempfile.gettempdir(), 0
    for name in names_in(top):
        path = os.path.join(top, name)
        with suppress(OSError):
            if not name.startswith(SYSTEM_PREFIX):
                continue
            status = os.lstat(path)
            is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
            if is_own and now - status.st_mtime > ANYWAY and set(os.listdir(path)) <= _OF_VALIDATION:
                shutil.rmtree(path)
                number += 1
    return number
