"""The outbox, ``Misc/outbox/``: messages that wait for delivery, one file per notification and recipient.

A message is on the disk before its run moves to its final folder, so that no crash of a worker loses it. Its
name is derived from the notification, so that publishing the same notification again writes the same file. It
is removed after delivery. A message stores the key of its recipient, not the address: no secret is copied
here, and after a correction of the address, waiting messages go to the new one.

``undelivered/`` keeps messages that could not be delivered; ``sent_once/`` remembers notifications that are
sent only once; ``log`` has a line for each try.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from job_orchestration.notifications.notification import Notification
from job_orchestration.workspace import clock, durable, locks, safe_reads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from job_orchestration.config.notification_settings import Recipient
    from job_orchestration.workspace.layout import Workspace

_SUFFIX: Final = ".json"
_MOST_OF_A_LOG: Final = 1_000_000
"""Bytes after which a new log is begun."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message that waits for delivery."""

    path: str
    source: str
    """``workspace`` or ``config``, as in `Recipient`."""
    key: str
    notification: Notification
    rounds: int = 0
    """Number of dispatchers that tried it in vain, or tried those before it to the same recipient."""
    first_tried_at: float | None = None
    """When the first of them did, in Unix seconds of the clock that dates files here; `None` if none did."""


def put(workspace: Workspace, notification: Notification, recipients: Sequence[Recipient]) -> None:
    """Write a message for each recipient; on return, the messages survive a power cut.

    Raises:
        OSError: a message could not be written; those of other recipients may be in the outbox.
    """
    durable.make_folder(workspace.outbox)
    for recipient in recipients:
        key = re.sub(r"\W", "", recipient.key)
        name = f"{notification.event}~{notification.id}~{recipient.source}.{key}{_SUFFIX}"
        content = {"source": recipient.source, "key": recipient.key, "news": notification.as_json()}
        durable.replace(os.path.join(workspace.outbox, name), json.dumps(content, indent=1).encode())


def names(workspace: Workspace) -> list[str]:
    """Return the names of the messages that wait for delivery."""
    return _names(workspace.outbox)


def _names(folder: str) -> list[str]:
    return [name for name in safe_reads.names_in(folder) if name.endswith(_SUFFIX)]


def read(workspace: Workspace, name: str) -> Message | None:
    """Read a message; `None` if it is gone or invalid."""
    path = os.path.join(workspace.outbox, name)
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        with open(path, "rb") as file:
            found = json.load(file)
        tried = found.get("first_tried_at")
        return Message(
            path,
            str(found["source"]),
            str(found["key"]),
            Notification.from_json(found["news"]),
            int(found.get("rounds", 0)),
            None if tried is None else float(tried),
        )
    return None


def note_rounds(message: Message, rounds: int, first_tried_at: float) -> Message:
    """Write into a message how often and since when its recipient was tried in vain."""
    noted = replace(message, rounds=rounds, first_tried_at=first_tried_at)
    content = {
        "source": noted.source,
        "key": noted.key,
        "rounds": rounds,
        "first_tried_at": first_tried_at,
        "news": noted.notification.as_json(),
    }
    durable.replace(noted.path, json.dumps(content, indent=1).encode())
    return noted


def file_clock(workspace: Workspace) -> float:
    """Return the time, in Unix seconds, of the clock that dates the files of the outbox.

    On a network disk it is the server's: a machine whose own clock is ahead counts no message as old.
    """
    os.utime(workspace.outbox)
    return os.stat(workspace.outbox).st_mtime


def remove(path: str) -> None:
    """Remove a delivered message. Not synced: after a power cut it may be delivered again."""
    with suppress(FileNotFoundError):
        durable.unlink(path)


def remove_all(workspace: Workspace, event: str, id_: str) -> None:
    """Remove the messages of a notification that were not delivered yet."""
    for name in names(workspace):
        if name.startswith(f"{event}~{id_}~"):
            remove(os.path.join(workspace.outbox, name))


def give_up(workspace: Workspace, path: str) -> None:
    """Move a message, or an invalid file, to ``undelivered/``."""
    folder = _undelivered(workspace)
    durable.make_folder(folder)
    with suppress(FileNotFoundError):
        durable.rename(path, os.path.join(folder, os.path.basename(path)))


def _undelivered(workspace: Workspace) -> str:
    return os.path.join(workspace.outbox, "undelivered")


def undelivered(workspace: Workspace) -> list[str]:
    """Return the names of the messages that could not be delivered."""
    return _names(_undelivered(workspace))


# -- locks and markers ------------------------------------------------------------------------------------


@contextmanager
def only_dispatcher(workspace: Workspace) -> Iterator[bool]:
    """Hold the lock of the outbox, if it is free; the value is whether this process holds it."""
    with ExitStack() as held:
        try:
            held.enter_context(locks.folder_lock(workspace.outbox, wait=False))
            is_ours = True
        except FileNotFoundError:  # no notification was ever queued here
            is_ours = False
        except OSError as error:  # held, or a file system without locks: nothing is delivered twice then
            if error.filename is not None:
                raise
            is_ours = False
        yield is_ours


def has_dispatcher(workspace: Workspace) -> bool:
    """Return whether a dispatcher holds the lock of the outbox."""
    with only_dispatcher(workspace) as free:
        return not free and os.path.isdir(workspace.outbox)


def was_sent(workspace: Workspace, subject: str, text: str) -> bool:
    """Return whether the last `note_sent` for this subject had the same text."""
    return os.path.exists(_note(workspace, subject, text))


def note_sent(workspace: Workspace, subject: str, text: str) -> None:
    """Remember the last notification about a subject, in the name of an empty file."""
    path = _note(workspace, subject, text)
    durable.make_folder(os.path.dirname(path))
    with suppress(FileExistsError):
        os.close(durable.create(path))
    for name in os.listdir(os.path.dirname(path)):
        if name.startswith(f"{subject}~") and name != os.path.basename(path):
            with suppress(FileNotFoundError):
                durable.unlink(os.path.join(os.path.dirname(path), name))


def _note(workspace: Workspace, subject: str, text: str) -> str:
    return os.path.join(workspace.outbox, "sent_once", f"{subject}~{text}")


# -- the log ----------------------------------------------------------------------------------------------


def log_path(workspace: Workspace) -> str:
    """Return the path of the delivery log."""
    return os.path.join(workspace.outbox, "log")


def log(workspace: Workspace, sentence: str) -> None:
    """Append a line to the log; best effort: errors are ignored."""
    path = log_path(workspace)
    with suppress(OSError):
        if os.path.exists(path) and os.path.getsize(path) > _MOST_OF_A_LOG:
            os.replace(path, f"{path}.old")
        with open(path, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{clock.timestamp()} {sentence}\n")


def last_lines(workspace: Workspace, count: int) -> list[str]:
    """Return the last lines of the log."""
    with suppress(OSError), open(log_path(workspace), encoding="utf-8", errors="replace") as file:
        return file.read().splitlines()[-count:]
    return []
