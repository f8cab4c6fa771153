"""Who comes into ConfigSources, and how: a file that was renamed in is whole at once.

The watching library tells a file that was renamed in from another folder like one that was just begun,
unless it is asked for all it knows; so it is asked. Events are hints and may be lost: whoever relies on
them looks at the folder as well.
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
    from collections.abc import Callable

    from watchdog.observers.api import BaseObserver, ObservedWatch

    from job_orchestration.files.workspace import Workspace

APPEARED: Final[list[type[FileSystemEvent]]] = [
    *(DirCreatedEvent, DirMovedEvent, FileCreatedEvent, FileMovedEvent, FileClosedEvent)
]
"""What is to be told. Otherwise each reading of a file there would be an event to everybody who waits."""


class Watches:
    """The folders that somebody is told of; none is told of once it is gone, until it is watched again."""

    def __init__(self, observer: BaseObserver, handler: FileSystemEventHandler) -> None:
        self._observer = observer
        self._handler = handler
        self._known: dict[str, ObservedWatch] = {}

    def watch(self, folder: str) -> None:
        """Watch a folder; one of this name that was watched before is another and is not heard of any more.

        The library would go on with the old watch, as if it still told anything.
        """
        old = self._known.pop(folder, None)
        with suppress(OSError, KeyError):
            if old is not None:
                self._observer.unschedule(old)
        with suppress(OSError, KeyError):  # gone again, or no watches left: looking alone must do
            self._known[folder] = self._observer.schedule(self._handler, folder, event_filter=APPEARED)


class Arrivals(FileSystemEventHandler):
    """The names that were renamed into ConfigSources, as far as the system tells.

    The workspace itself is watched too, since a folder that is removed and made anew is another one.

    Args:
        workspace: whose drops they are.
        ring: called by another thread whenever it is worth looking.
    """

    def __init__(self, workspace: Workspace, ring: Callable[[], None]) -> None:
        self._root = workspace.root
        self._folder = workspace.sources
        self._ring = ring
        self._observer = _observer()
        self._watches = Watches(self._observer, self)
        self.whole: deque[str] = deque(maxlen=100_000)
        """Names of files that came whole; the oldest are forgotten, and have to be at rest then."""

    def start(self) -> None:
        """Begin to watch."""
        self._watches.watch(self._root)
        self._watches.watch(self._folder)
        with suppress(OSError):  # no watches left on this system: looking alone must do
            self._observer.start()

    def stop(self) -> None:
        """End the watching thread."""
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Note a file that was renamed in, and whatever else makes a look worth while."""
        if event.event_type not in {"created", "moved", "closed"}:
            return
        moved = event.event_type == "moved"
        path = os.fsdecode(event.dest_path if moved else event.src_path)  # empty: moved to somewhere else
        if path == self._folder:
            self._watches.watch(path)
        elif os.path.dirname(path) == self._folder:
            if moved:
                self.whole.append(os.path.basename(path))
        else:
            return
        self._ring()


def _observer() -> BaseObserver:
    logging.getLogger("watchdog").setLevel(logging.CRITICAL)  # it complains when it is stopped between events
    if sys.platform == "linux":
        from watchdog.observers.inotify import InotifyObserver

        return InotifyObserver(generate_full_events=True)
    else:  # noqa: RET505  # mypy knows by this that it is another platform's
        return Observer()
