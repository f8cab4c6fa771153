"""Check the machine and the disk of a workspace.

How long the disk takes to keep a promise, and what time its files get, is only known by trying: a small file
is written beside the caches and taken away again. Where nothing may be written that is said, and is all.
"""

from __future__ import annotations

import os
import platform
import re
import resource
import statistics
import sys
import time
from contextlib import suppress
from importlib import metadata
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics import durations
from job_orchestration.diagnostics.problems import Diagnostic, Level
from job_orchestration.housekeeping.garbage import PROBE
from job_orchestration.processes import machine_limits
from job_orchestration.workspace import durable, lock_probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from job_orchestration.workspace.layout import Workspace

_GIGA: Final = 1e9
_PACKAGES: Final = ("job-orchestration", "PyYAML", "psutil", "watchdog", "rich")
_EXTRAS: Final = (
    *("geneplexus", "numpy", "pandas", "scikit-learn", "torch", "matplotlib"),
    *("optuna", "sqlalchemy", "pyarrow", "apprise"),
)
_FEW_FILES: Final = 1024
_FEW_WATCHES: Final = 64
_TIGHT, _FULL = 5e9, 2e8
"""Bytes of a disk that are little, and that are hardly any."""
_FEW_INODES: Final = 10_000
_TRIES: Final = 5
_SLOW: Final = 0.1
"""Seconds of a sync that make a checkpoint felt."""
_SKEW, _GREAT_SKEW = 2.0, 60.0
_SHOWN_OPTIONS: Final = re.compile(
    r"rw|ro|vers=.*|proto=.*|hard|soft|softerr|nolock|lock|local_lock=.*|noac|actimeo=.*"
)
"""Mount options that are relevant and not private."""


# -- the machine ------------------------------------------------------------------------------------------


def check_machine() -> Iterator[Diagnostic]:
    """The interpreter, its packages, and what the system grants."""
    import yaml

    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    yield Diagnostic("machine", Level.OK, f"Python {platform.python_version()} on {system}")
    if sys.platform != "linux":
        yield Diagnostic(
            "machine", Level.WARNING, "This is not Linux: what tasks leave behind is found less reliably"
        )
    installed = [f"{name} {version}" for name in (*_PACKAGES, *_EXTRAS) if (version := _version(name))]
    yield Diagnostic("machine", Level.OK, f"Packages: {', '.join(installed)}")
    if not getattr(yaml, "__with_libyaml__", False):
        yield Diagnostic(
            "machine",
            Level.WARNING,
            "PyYAML was built without libyaml, and reads configs ten times slower",
            "Install its wheel: pip install --only-binary :all: --force-reinstall PyYAML",
        )
    yield from _limits()


def _version(name: str) -> str | None:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None


def _limits() -> Iterator[Diagnostic]:
    import psutil

    memory = psutil.virtual_memory()
    cores = machine_limits.usable_cpus()
    free, total = memory.available / _GIGA, memory.total / _GIGA
    yield Diagnostic("machine", Level.OK, f"{cores} cores, {free:.1f} GB of {total:.1f} GB of memory free")
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = files != resource.RLIM_INFINITY and files < _FEW_FILES
    yield Diagnostic(
        "machine",
        Level.WARNING if few else Level.OK,
        f"{files if files != resource.RLIM_INFINITY else 'any number of'} open files are allowed",
        f"Raise it: ulimit -n {_FEW_FILES}" if few else "",
    )
    for name in ("max_user_watches", "max_user_instances"):
        number = _kernel_number(f"/proc/sys/fs/inotify/{name}")
        if number is not None:
            few = number < _FEW_WATCHES
            yield Diagnostic(
                "machine",
                Level.WARNING if few else Level.OK,
                f"inotify {name} is {number}",
                f"Raise it, or drops are noticed later: sysctl fs.inotify.{name}=512" if few else "",
            )


def _kernel_number(path: str) -> int | None:
    with suppress(OSError, ValueError), open(path, encoding="ascii") as file:
        return int(file.read())
    return None


# -- the disk ---------------------------------------------------------------------------------------------


def check_disk(workspace: Workspace) -> Iterator[Diagnostic]:
    """The file system of a workspace: its kind, its space, its locks, how quick it is, and its clock."""
    kind, options = lock_probe.mounted(lock_probe.mounts(), lock_probe.device_of(workspace.root))
    shown = sorted(option for option in options if _SHOWN_OPTIONS.fullmatch(option))
    yield Diagnostic(
        "disk", Level.OK, f"File system {kind or 'of unknown type'} ({', '.join(shown) or 'no options'})"
    )
    if kind in {"tmpfs", "ramfs"}:
        yield Diagnostic(
            "disk",
            Level.WARNING,
            "The workspace lies in memory and is gone after a restart",
            "Move it to a disk",
        )
    if kind in {"nfs", "nfs4"} and options & {"soft", "softerr"}:
        yield Diagnostic(
            "disk",
            Level.WARNING,
            "The NFS mount is soft: a server that is slow looks like a disk that fails",
            "Mount it hard",
        )
    yield from _space(workspace)
    fault = lock_probe.fault_of_place(workspace.root)
    if fault is not None:
        yield Diagnostic("locks", Level.PROBLEM, *fault)
    yield from _tried(workspace, locks_matter=fault is None)


def _space(workspace: Workspace) -> Iterator[Diagnostic]:
    found = os.statvfs(workspace.root)
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    level = Level.PROBLEM if free < _FULL else Level.WARNING if free < min(_TIGHT, total / 10) else Level.OK
    todo = "" if level is Level.OK else "See what can go with: job-orchestration gc"
    yield Diagnostic("disk", level, f"{free / _GIGA:.1f} GB of {total / _GIGA:.1f} GB are free", todo)
    if found.f_files:  # some file systems make inodes as they are needed, and count none
        level = Level.OK if found.f_favail >= _FEW_INODES else Level.WARNING
        todo = "" if level is Level.OK else "Remove small files; the disk takes no more of them soon"
        yield Diagnostic("disk", level, f"{found.f_favail} of {found.f_files} inodes are free", todo)


def _tried(workspace: Workspace, *, locks_matter: bool) -> Iterator[Diagnostic]:
    path = os.path.join(workspace.misc, f"{PROBE}{os.getpid()}")
    try:
        times, skew = _try(path)
        fault = lock_probe.fault_of_locks(path)
    except OSError as error:
        what = f"Nothing can be written here ({error.strerror}), so disk, locks and clock were not tried"
        yield Diagnostic("disk", Level.WARNING, what, "Workers need to be able to write here")
        return
    finally:
        with suppress(OSError):
            durable.unlink(path)
    usual = statistics.median(times)
    slow = usual > _SLOW
    yield Diagnostic(
        "disk",
        Level.WARNING if slow else Level.OK,
        f"A sync takes {usual * 1000:.1f} ms (the longest of {_TRIES}: {max(times) * 1000:.1f} ms)",
        "Every checkpoint waits for one; keep tasks longer than that, or move the workspace" if slow else "",
    )
    if locks_matter:
        works = Diagnostic("locks", Level.OK, "A lock keeps a second holder out")
        yield works if fault is None else Diagnostic("locks", Level.PROBLEM, *fault)
    yield _clock(skew)


def _try(path: str) -> tuple[list[float], float]:
    """Seconds that some syncs took, and how far the file's clock is ahead of ours."""
    times = []
    descriptor = durable.create(path, 0o600)
    try:
        for _ in range(_TRIES):
            durable.append(descriptor, bytes(512), path)
            began = time.perf_counter()
            durable.sync(descriptor, path)
            times.append(time.perf_counter() - began)
        skew = os.fstat(descriptor).st_mtime - time.time()
    finally:
        os.close(descriptor)
    return times, skew


def _clock(skew: float) -> Diagnostic:
    level = Level.OK if abs(skew) < _SKEW else Level.WARNING if abs(skew) < _GREAT_SKEW else Level.PROBLEM
    if level is Level.OK:
        return Diagnostic(
            "clock", level, f"The files' clock and ours differ by less than {durations.text_of(_SKEW)}"
        )
    side = "ahead of" if skew > 0 else "behind"
    return Diagnostic(
        "clock", level, f"The files' clock is {durations.text_of(abs(skew))} {side} ours", "Let NTP set both"
    )
