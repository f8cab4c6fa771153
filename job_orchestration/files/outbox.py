"""``Misc/outbox/``: what is still to be told, one file for each piece of news and recipient.

A message is on the disk before the run that it is about is filed away, so that a worker may die at any
moment. Its name is made from what it says, so that whoever comes to tell the same again writes the same file.
It goes when it was delivered. A message says whom it is for by the key that names the recipient and not by
the address: no secret is copied here, and who mends an address has what waits delivered to the new one.

``undelivered/`` keeps what nobody could deliver, with the reason; ``told/`` remembers what is to be told
only once; ``log`` has a line for each try.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from job_orchestration.files import durable, journal
from job_orchestration.model.news import News

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.news import Recipient

_SUFFIX: Final = ".json"
_MOST_OF_A_LOG: Final = 1_000_000
"""Bytes; then it begins anew."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message that waits."""

    path: str
    source: str
    """``workspace`` or ``config``, as in `Recipient`."""
    key: str
    news: News


def put(workspace: Workspace, news: News, recipients: Sequence[Recipient]) -> None:
    """Have something told to some recipients; when this returns, it survives a power cut.

    Raises:
        OSError: what the disk says; some recipients may be told nevertheless.
    """
    durable.make_folder(workspace.outbox)
    for recipient in recipients:
        key = re.sub(r"\W", "", recipient.key)
        name = f"{news.event}~{news.id}~{recipient.source}.{key}{_SUFFIX}"
        content = {"source": recipient.source, "key": recipient.key, "news": news.as_json()}
        durable.replace(os.path.join(workspace.outbox, name), json.dumps(content, indent=1).encode())


def names(workspace: Workspace) -> list[str]:
    """The names of the messages that wait."""
    return _names(workspace.outbox)


def _names(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(_SUFFIX))
    except (FileNotFoundError, NotADirectoryError):
        return []


def read(workspace: Workspace, name: str) -> Message | None:
    """One message; `None` when it has gone, or is none."""
    path = os.path.join(workspace.outbox, name)
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        with open(path, "rb") as file:
            found = json.load(file)
        return Message(path, str(found["source"]), str(found["key"]), News.from_json(found["news"]))
    return None


def remove(path: str) -> None:
    """Take a message away that was delivered. Not synced: after a power cut it may be delivered again."""
    with suppress(FileNotFoundError):
        durable.unlink(path)


def give_up(workspace: Workspace, path: str) -> None:
    """Put a message, or what is none, among those that nobody could deliver."""
    folder = _undelivered(workspace)
    durable.make_folder(folder)
    with suppress(FileNotFoundError):
        durable.rename(path, os.path.join(folder, os.path.basename(path)))


def _undelivered(workspace: Workspace) -> str:
    return os.path.join(workspace.outbox, "undelivered")


def undelivered(workspace: Workspace) -> list[str]:
    """The names of the messages that nobody could deliver."""
    return _names(_undelivered(workspace))


# -- only one, only once ----------------------------------------------------------------------------------


@contextmanager
def only_courier(workspace: Workspace) -> Iterator[bool]:
    """Be the only one who delivers, unless somebody is already; tells which."""
    try:
        descriptor = os.open(workspace.outbox, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:  # nothing was ever told here
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or a file system that cannot: then nobody delivers twice either
        os.close(descriptor)
        yield False
        return
    try:
        yield True
    finally:
        os.close(descriptor)


def has_courier(workspace: Workspace) -> bool:
    """Whether somebody delivers at this moment."""
    with only_courier(workspace) as free:
        return not free and os.path.isdir(workspace.outbox)


def was_told(workspace: Workspace, subject: str, what: str) -> bool:
    """Whether `note_told` was called for this subject with the same text, and no other since."""
    return os.path.exists(_note(workspace, subject, what))


def note_told(workspace: Workspace, subject: str, what: str) -> None:
    """Remember what was last told about a subject, in a name."""
    path = _note(workspace, subject, what)
    durable.make_folder(os.path.dirname(path))
    with suppress(FileExistsError):
        os.close(durable.create(path))
    for name in os.listdir(os.path.dirname(path)):
        if name.startswith(f"{subject}~") and name != os.path.basename(path):
            with suppress(FileNotFoundError):
                durable.unlink(os.path.join(os.path.dirname(path), name))


def _note(workspace: Workspace, subject: str, what: str) -> str:
    return os.path.join(workspace.outbox, "told", f"{subject}~{what}")


# -- the log ----------------------------------------------------------------------------------------------


def log_path(workspace: Workspace) -> str:
    """Where a line is written for each try to deliver."""
    return os.path.join(workspace.outbox, "log")


def log(workspace: Workspace, sentence: str) -> None:
    """Add a line to the log; a full disk stops nobody."""
    path = log_path(workspace)
    with suppress(OSError):
        if os.path.exists(path) and os.path.getsize(path) > _MOST_OF_A_LOG:
            os.replace(path, f"{path}.old")
        with open(path, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{journal.now()} {sentence}\n")


def last_lines(workspace: Workspace, count: int) -> list[str]:
    """The last lines of the log."""
    with suppress(OSError), open(log_path(workspace), encoding="utf-8", errors="replace") as file:
        return file.read().splitlines()[-count:]
    return []
