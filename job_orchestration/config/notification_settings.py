"""Read the keys ``notify`` and ``callbackUrl``: recipients, their events, and faults.

An entry of ``notify`` names its notifier by one key (``to``, ``command``, ``callback`` or that of a plugin)
and may have ``on``. ``notify`` of ``workspace.yaml`` is never copied into a config: recipients are not part
of an experiment, and an address may hold a password. A config's own ``notify`` replaces it, even if it is
``null``. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from job_orchestration.config.settings import shown
from job_orchestration.diagnostics.problems import Fault, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from job_orchestration.config.config import Json


class NotificationEvent(StrEnum):
    """An event that recipients can subscribe to; `docs/notifications.md` defines each."""

    ACCEPTED = "accepted"
    """A run was queued."""
    STARTED = "started"
    """A worker has begun an attempt."""
    PROGRESS = "progress"
    """A task has reported progress; only callbacks get it."""
    COMPLETED = "completed"
    FAILED = "failed"
    """A try of a task failed, and another one will follow."""
    GAVE_UP = "gave_up"
    QUEUE_EMPTY = "queue_empty"
    STALLED = "stalled"
    TEST = "test"
    """Sent by ``notify --test``."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """A recipient of notifications."""

    source: str
    """Where it is configured: ``workspace`` or ``config``."""
    key: str
    """Its dotted key, such as ``notify[0]``."""
    kind: str
    """Its notifier: ``to``, ``command``, ``callback``, or the name of a plugin."""
    target: Json
    """Argument of the notifier: an address or a command. It may hold secrets, so it is never shown."""
    on: frozenset[NotificationEvent] = frozenset()

    def gets(self, kind: NotificationEvent) -> bool:
        """Return whether the recipient gets an event; recipients of ``failed`` also get the last failure."""
        return kind in self.on or (kind is NotificationEvent.GAVE_UP and NotificationEvent.FAILED in self.on)


NOTIFY: Final = "notify"
CALLBACK: Final = "callbackUrl"
CALLBACK_PROGRESS: Final = "callbackProgress"
CALLBACK_PUBLIC: Final = "callbackPublicOnly"
CALLBACK_FLAGS: Final = (CALLBACK_PROGRESS, CALLBACK_PUBLIC)
"""The keys that say how the callback is called: true or false."""
PUBLIC_KIND: Final = "public_callback"
"""The notifier of callbacks that may only call public addresses."""
NOTIFY_ADDRESS: Final = "notifyAddress"
"""The key of a config whose address gets mail."""
MAIL_SERVER: Final = "mailServer"
"""The key of ``workspace.yaml`` that names the server for it."""
MAIL_KIND: Final = "mail"
NEVER_COPIED: Final = frozenset({NOTIFY, MAIL_SERVER})
"""The keys of ``workspace.yaml`` that are never copied into a config."""
CONFIG: Final = "config"
WORKSPACE: Final = "workspace"

ENDS: Final = frozenset({NotificationEvent.COMPLETED, NotificationEvent.GAVE_UP})
OF_CALLBACKS: Final = ENDS | {NotificationEvent.ACCEPTED, NotificationEvent.STARTED}
"""The events that a ``callbackUrl`` gets, with or without progress."""
OF_ADDRESSES: Final = ENDS | {NotificationEvent.ACCEPTED}
"""The events of which ``notifyAddress`` gets mail."""
DEFAULT_ON: Final[Mapping[str, frozenset[NotificationEvent]]] = {
    CONFIG: frozenset({NotificationEvent.COMPLETED, NotificationEvent.GAVE_UP, NotificationEvent.STALLED}),
    WORKSPACE: frozenset(
        {NotificationEvent.GAVE_UP, NotificationEvent.QUEUE_EMPTY, NotificationEvent.STALLED}
    ),
}
"""Events of an entry without ``on``; chosen so that 3,000 runs do not send 3,000 mails."""

NOT_OFFERED: Final = frozenset({NotificationEvent.TEST, NotificationEvent.PROGRESS})
"""The events that ``on`` cannot name."""
_OFFERED: Final = tuple(kind for kind in NotificationEvent if kind not in NOT_OFFERED)
_EXAMPLE: Final = 'Write an entry such as `{to: "mailto://user:${PASSWORD}@host", on: [gave_up]}`'
VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


# -- recipients -------------------------------------------------------------------------------------------


def recipients_of(own: Mapping[str, Json], defaults: Mapping[str, Json]) -> tuple[Recipient, ...]:
    """Return the recipients of a run's notifications, without invalid entries.

    Args:
        own: the run's resolved config.
        defaults: the present values of ``workspace.yaml``.
    """
    source, values = (CONFIG, own) if NOTIFY in own else (WORKSPACE, defaults)
    found = [r for key, entry in _entries(values.get(NOTIFY)) if (r := _recipient(entry, source, key))]
    url = own.get(CALLBACK)
    if isinstance(url, str) and url:
        progress = {NotificationEvent.PROGRESS} if own.get(CALLBACK_PROGRESS) is True else frozenset()
        kind = PUBLIC_KIND if own.get(CALLBACK_PUBLIC) is True else "callback"
        found.append(Recipient(CONFIG, CALLBACK, kind, url, OF_CALLBACKS | progress))
    address = own.get(NOTIFY_ADDRESS)
    if isinstance(address, str) and fault_of_address(address) is None:
        server = defaults.get(MAIL_SERVER)
        target: list[Json] = [server if isinstance(server, str) else "", address]
        found.append(Recipient(CONFIG, NOTIFY_ADDRESS, MAIL_KIND, target, OF_ADDRESSES))
    return tuple(found)


def _entries(value: Json) -> Iterator[tuple[str, Json]]:
    if isinstance(value, list):
        yield from ((f"{NOTIFY}[{number}]", entry) for number, entry in enumerate(value))
    elif value is not None:
        yield NOTIFY, value


def _recipient(entry: Json, source: str, key: str) -> Recipient | None:
    if isinstance(entry, str):
        entry = {"to": entry}
    if not isinstance(entry, dict) or _fault_of_entry(entry, source) is not None:
        return None
    (kind,) = entry.keys() - {"on"}
    on = entry.get("on")
    events = [on] if isinstance(on, str) else on if isinstance(on, list) else []
    subscribed = frozenset(NotificationEvent(str(event)) for event in events) or DEFAULT_ON[source]
    return Recipient(source, key, kind, entry[kind], subscribed)


# -- faults -----------------------------------------------------------------------------------------------


def faults_of(values: Mapping[str, Json], source: str) -> Iterator[tuple[str, Fault]]:
    """Yield the faults of ``notify`` and ``callbackUrl``, each with its key; notifiers check the targets."""
    for key, entry in _entries(values.get(NOTIFY)):
        fault = _fault_of_entry({"to": entry} if isinstance(entry, str) else entry, source)
        if fault is not None:
            yield key, fault
    url = values.get(CALLBACK)
    if url is not None and (fault := fault_of_url(url)):
        yield CALLBACK, fault
    for key, fault_of in ((NOTIFY_ADDRESS, fault_of_address), (MAIL_SERVER, fault_of_server)):
        if values.get(key) is not None and (fault := fault_of(values[key])):
            yield key, fault
    for key in CALLBACK_FLAGS:
        if not isinstance(values.get(key), bool | None):
            yield key, Fault(f"{shown(values[key])} is not true or false", "Write true or false")


def _fault_of_entry(entry: Json, source: str) -> Fault | None:
    if not isinstance(entry, dict):
        return Fault(f"{shown(entry)} is not a recipient", _EXAMPLE)
    kinds = entry.keys() - {"on"}
    if len(kinds) != 1:
        found = f"{', '.join(sorted(kinds))} are several notifiers" if kinds else "it has no notifier"
        return Fault(f"{found}, and an entry needs exactly one", _EXAMPLE)
    (kind,) = kinds
    if not _is_target(entry[kind]):
        return Fault(f"{kind} is not a text, or a list of texts", _EXAMPLE)
    return _fault_of_on(entry["on"], source) if "on" in entry else None


def _is_target(value: Json) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(part, str) and part for part in value)
    return isinstance(value, str) and bool(value.strip())


def _fault_of_on(on: Json, source: str) -> Fault | None:
    names = ", ".join(_OFFERED)
    events = [on] if isinstance(on, str) else on
    if not isinstance(events, list) or not events:
        return Fault(f"on is {shown(on)}, and a list of events is needed", f"Choose from: {names}")
    for event in events:
        if event not in _OFFERED:
            return Fault(f"there is no event {shown(event)}", f"Choose from: {names}")
        if event == NotificationEvent.QUEUE_EMPTY and source == CONFIG:
            return Fault("queue_empty is about the whole workspace", "Ask for it in workspace.yaml")
    return None


def fault_of_url(url: Json) -> Fault | None:
    """Return why a URL cannot be called, or `None`."""
    remedy = "Write an address such as https://example.org/runs/{run}"
    if not isinstance(url, str):
        return Fault(f"{shown(url)} is not an address", remedy)
    if url.startswith("${"):
        return None
    try:
        parts = urlsplit(VARIABLE.sub("1", url))
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s\0-\x1f]", url):
        return Fault("this is not an address that begins with http:// or https:// and a host", remedy)
    return None


_ADDRESS: Final = re.compile(r"[^\s@<>,;:\"()\[\]\\\0-\x1f]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")


def fault_of_address(address: Json) -> Fault | None:
    """Return why a text cannot be one person's address of mail, or `None`."""
    if isinstance(address, str) and len(address) <= 254 and _ADDRESS.fullmatch(address):  # noqa: PLR2004 - RFC 5321
        return None
    return Fault(f"{shown(address)} is no address of mail", "Write one such as you@example.org")


def fault_of_server(url: Json) -> Fault | None:
    """Return why a text cannot be the address of a mail server, or `None`."""
    remedy = "Write smtp://user:${PASSWORD}@mail.example.org:587?from=jobs@example.org, or smtps://"
    try:
        parts = urlsplit(VARIABLE.sub("1", url)) if isinstance(url, str) else None
        usable = (
            parts is not None and parts.scheme in {"smtp", "smtps"} and parts.hostname and parts.port != 0
        )
    except ValueError:
        usable = False
    return None if usable else Fault("this is not the address of a mail server", remedy)


# -- secrets ----------------------------------------------------------------------------------------------


def variables_in(target: Json) -> list[str]:
    """Return the environment variables that a target names as ``${NAME}``."""
    texts = target if isinstance(target, list) else [target]
    return [name for text in texts if isinstance(text, str) for name in VARIABLE.findall(text)]


def unknown_kind(kind: str, known: list[str]) -> Fault:
    """Return the fault of an entry with an unknown notifier."""
    return Fault(f"there is no notifier {quoted(kind)}", f"Choose from: {', '.join(known)}")
