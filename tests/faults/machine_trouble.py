"""Trouble of a machine, injected into the processes of the product for as long as a file is there.

`environment` gives the variables for a command; `Trouble.begin` and `Trouble.end` say when it is in trouble.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

SITE = '''
import builtins, os, sys

FAULT = os.environ.get("TROUBLE_FAULT", "")
IS_FORK_SERVER = any("fork_server import main" in word for word in sys.orig_argv)


def fault(kind, path=""):
    """Raise what the file asks for, if it is about this kind of call and this path."""
    try:
        with builtins.open(FAULT) as file:
            wanted, number, part = file.read().split("|")
    except (OSError, ValueError):
        return
    if kind == wanted and part in str(path):
        descriptor = os.open(FAULT + ".hits", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, b"x")
        os.close(descriptor)
        raise OSError(int(number), os.strerror(int(number)))


def guard(module, name, kind, only_fork_server=None):
    call = getattr(module, name)

    def guarded(*arguments, **more):
        if only_fork_server is None or only_fork_server == IS_FORK_SERVER:
            fault(kind, arguments[0] if arguments else "")
        return call(*arguments, **more)

    setattr(module, name, guarded)


if FAULT:
    guard(os, "fork", "fork", True)
    guard(os, "pidfd_open", "pidfd", True)
    guard(os, "pipe", "pipe", True)
    guard(os, "posix_spawn", "spawn", True)
    guard(os, "memfd_create", "memfd", False)
    guard(os, "scandir", "list")
    guard(os, "listdir", "list")
    import _posixsubprocess, subprocess
    guard(subprocess, "_fork_exec", "exec", False)
    import threading
    start = threading.Thread.start

    def guarded_start(thread):
        try:
            fault("thread", thread._target)
        except OSError:
            raise RuntimeError("can't start new thread") from None
        start(thread)

    threading.Thread.start = guarded_start
    if os.environ.get("TROUBLE_INOTIFY"):
        import ctypes
        from watchdog.observers import inotify_c

        def refuse(number):
            def call(*_):
                ctypes.set_errno(number)
                return -1
            return call

        if os.environ["TROUBLE_INOTIFY"] == "instances":
            inotify_c.inotify_init = refuse(24)
        else:
            inotify_c.inotify_add_watch = refuse(28)
'''


class Trouble:
    """The file that a test writes and the processes of the product read.

    Args:
        folder: where it and the module ``sitecustomize`` lie.
    """

    def __init__(self, folder: Path) -> None:
        self._site = folder / "trouble"
        self._site.mkdir()
        (self._site / "sitecustomize.py").write_text(SITE)
        self._fault = self._site / "fault"
        self._hits = self._site / "fault.hits"

    def environment(self, **more: str) -> dict[str, str]:
        """The variables of a process that meets it."""
        package = Path(__file__).parent.parent.parent
        path = os.pathsep.join(map(str, (self._site, package)))
        return {"PYTHONPATH": path, "TROUBLE_FAULT": str(self._fault), **more}

    def begin(self, kind: str, number: int = errno.EAGAIN, path: str = "") -> None:
        """Have calls of a kind fail from now on; a file's or a function's name may restrict them."""
        self._hits.unlink(missing_ok=True)
        temporary = self._fault.with_suffix(".new")
        temporary.write_text(f"{kind}|{number}|{path}")
        temporary.rename(self._fault)

    def end(self) -> None:
        """Have all calls succeed again."""
        self._fault.unlink(missing_ok=True)

    @property
    def hits(self) -> int:
        """How many calls have failed since `begin`."""
        return self._hits.stat().st_size if self._hits.exists() else 0
