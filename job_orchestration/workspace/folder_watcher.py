"""Watch folders with watchdog: events are hints, and every reader scans as well.

Only a file that was renamed into a folder is complete at once. By default watchdog reports it like a file
that was just created, so full events are requested, which tell the two apart.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from watchdog.observers.api import BaseObserver, ObservedWatch

    from job_orchestration.workspace.layout import Workspace

logging.getLogger("watchdog").setLevel(logging.CRITICAL)
"""Silenced: it warns of events that arrive while it stops. Scans replace a watch that fails."""

_APPEARED: Final[list[type[FileSystemEvent]]] = [
    *(DirCreatedEvent, DirMovedEvent, FileCreatedEvent, FileMovedEvent, FileClosedEvent)
]
"""Requested events. Without a filter each read of a file would cause an event for every watcher."""


def sentence_about(trouble: str, seconds: float) -> str:
    """Return a sentence for a command that has to do without a watch."""
    return (
        f"New files are noticed only every {seconds:g} s: this system can watch no more folders ({trouble})."
        " Raise fs.inotify.max_user_instances and max_user_watches, or end programs that watch many files."
    )


class FolderWatcher(FileSystemEventHandler):
    """Collects names that appear in folders of a workspace, as far as the system reports them.

    The workspace itself is watched too, because the watch of a folder that is removed and created again
    reports nothing.

    Args:
        workspace: the workspace of the folders.
        folders: the paths to watch.
        ring: called in another thread for each event that makes a scan worthwhile.
    """

    def __init__(self, workspace: Workspace, folders: Iterable[str], ring: Callable[[], None]) -> None:
        self._folders = tuple(folders)
        self._root = workspace.root
        self._ring = ring
        self._observer: BaseObserver | None = None
        self._watches: dict[str, ObservedWatch] = {}
        self.seen: deque[tuple[str, bool]] = deque(maxlen=100_000)
        """Paths of files that appeared, and whether they were renamed in; a scan finds the overflow."""
        self.renewed = True
        """Whether a watched folder was created again, so that a scan is due."""
        self.trouble = ""
        """Why nothing is watched, so that only scans find anything; empty if all is well."""

    def start(self) -> None:
        """Start watching; if the system refuses, `trouble` says why."""
        try:
            self._observer = _observer()
            for folder in (self._root, *self._folders):
                self._watch(folder)
            self._observer.start()
        except (OSError, RuntimeError) as error:  # no inotify instance, watch, descriptor or thread is left
            self.trouble = getattr(error, "strerror", None) or str(error)
            self.stop()

    def stop(self) -> None:
        """Stop the watching thread."""
        observer, self._observer = self._observer, None
        if observer is None:
            return
        with suppress(OSError, RuntimeError):
            observer.unschedule_all()
            if observer.is_alive():
                observer.stop()
                observer.join()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Record a file that appeared, or a watched folder that was created again."""
        if event.event_type not in {"created", "moved", "closed"}:
            return
        moved = event.event_type == "moved"
        path = os.fsdecode(event.dest_path if moved else event.src_path)  # empty: moved out of the folder
        if path in self._folders:
            self._watch(path)
            self.renewed = True
        elif os.path.dirname(path) not in self._folders:
            return
        elif not event.is_directory:
            self.seen.append((path, moved))
        self._ring()

    def _watch(self, folder: str) -> None:
        """Watch a folder, replacing the watch of an earlier folder of this name.

        The library would keep the earlier watch, which reports nothing.
        """
        observer = self._observer
        if observer is None:  # stopped meanwhile
            return
        old = self._watches.pop(folder, None)
        with suppress(OSError, KeyError):
            if old is not None:
                observer.unschedule(old)
        with suppress(OSError, KeyError, RuntimeError):  # removed again, or no watches left: scans must do
            self._watches[folder] = observer.schedule(self, folder, event_filter=_APPEARED)


def _observer() -> BaseObserver:
    if sys.platform == "linux":
        from watchdog.observers.inotify import InotifyObserver

        return InotifyObserver(generate_full_events=True)
    else:  # noqa: RET505  # mypy knows by this that it is another platform's
        return Observer()
