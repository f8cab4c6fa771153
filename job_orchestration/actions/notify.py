"""`notify`: who is told of what, what waits to be told, and whether messages arrive."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.files import journal, outbox
from job_orchestration.files import workspace as workspaces
from job_orchestration.model.errors import UsageError
from job_orchestration.model.news import News, NewsKind
from job_orchestration.rules import notifying, reading

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping

    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.news import Recipient
    from job_orchestration.model.task import Json

_LINES: Final = 10


@dataclass(frozen=True, slots=True)
class Told:
    """One recipient, and how telling went when it was tried."""

    who: str
    """Where it is written and how it is told; never an address."""
    on: tuple[str, ...]
    tried: bool = False
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The recipient as ``notify --json`` shows it."""
        found = {"who": self.who, "on": list(self.on)}
        return {**found, "ok": self.error is None, "error": self.error} if self.tried else found


@dataclass(frozen=True, slots=True)
class Notices:
    """Everything about telling in a workspace."""

    recipients: tuple[Told, ...]
    waiting: int
    """Messages in the outbox."""
    undelivered: int
    """Messages that were given up."""
    log: tuple[str, ...]
    """The last tries."""

    def as_json(self) -> dict[str, Any]:
        """What ``notify --json`` prints."""
        return {
            "recipients": [told.as_json() for told in self.recipients],
            "waiting": self.waiting,
            "undelivered": self.undelivered,
            "log": list(self.log),
        }


def notify(workspace: Workspace, config: str | None = None) -> Notices:
    """Look at who is told of what; nothing is changed.

    Args:
        workspace: where to look.
        config: a config's file whose own ``notify`` is meant; that of ``workspace.yaml`` when not given.

    Raises:
        UsageError: the config or ``workspace.yaml`` cannot be read, or names nobody as it should.
    """
    told = tuple(Told(notifying.label_of(r), _events_of(r)) for r in recipients(workspace, config))
    return _notices(workspace, told)


def try_out(workspace: Workspace, config: str | None = None) -> Notices:
    """Send everybody a message now, whatever they asked for, and wait for it."""
    from job_orchestration.notifiers import courier

    name = os.path.basename(workspace.root)
    news = News(
        id=secrets.token_hex(8),
        event=NewsKind.TEST,
        at=journal.now(),
        title=f"{name}: a test of job_orchestration's messages",
        workspace=workspace.root,
        host=socket.gethostname(),
        reason="Somebody tried whether messages arrive. This one has",
    )
    told = []
    for recipient in recipients(workspace, config):
        error = courier.deliver_now(recipient, news)
        told.append(Told(notifying.label_of(recipient), _events_of(recipient), tried=True, error=error))
    return _notices(workspace, tuple(told))


def deliver(workspace: Workspace, say: Callable[[str], None]) -> tuple[Counter[str], bool]:
    """Deliver what waits, as the workers have it done.

    Args:
        workspace: with an outbox, or without.
        say: gets a line for each try.

    Returns:
        How many tries were ``delivered`` and ``failed``, how many messages ``dropped``; and whether nothing
        else was delivering at the same time.
    """
    from job_orchestration.notifiers.courier import Courier

    courier = Courier(workspace, say)
    mine = courier.deliver() or not os.path.isdir(workspace.outbox)
    return courier.counts, mine


def recipients(workspace: Workspace, config: str | None) -> tuple[Recipient, ...]:
    """Who is told, after everything that `ready` would find wrong was found."""
    defaults, problems = workspaces.defaults(workspace)
    if problems:
        raise UsageError(str(problems[0]), "Mend it")
    own, source = {}, notifying.WORKSPACE
    if config is not None:
        own = _read(workspace, config)
        source = notifying.CONFIG if notifying.NOTIFY in own else notifying.WORKSPACE
    values: Mapping[str, Json] = own if source == notifying.CONFIG else {**defaults, **own}
    file = workspaces.DEFAULTS if source == notifying.WORKSPACE else config
    for key, fault in notifying.faults_of(values, source):
        raise UsageError(f"{file}: {key}: {fault.what}", fault.todo)
    callback = {notifying.CALLBACK: values[notifying.CALLBACK]} if notifying.CALLBACK in values else {}
    return notifying.recipients_of({**own, **callback}, defaults)


def _read(workspace: Workspace, config: str) -> dict[str, Json]:
    places = (
        config,
        os.path.join(workspace.sources, config),
        os.path.join(workspace.sources, f"{config}.yaml"),
    )
    path = next((place for place in places if os.path.isfile(place)), None)
    if path is None:
        raise UsageError(f"There is no config {config}", "Name a file, or one in ConfigSources")
    with open(path, "rb") as file:
        root, problems = reading.read(file.read(reading.MAX_BYTES + 1), os.path.basename(path))
    if root is None:
        raise UsageError(str(problems[0]) if problems else f"{config} holds nothing", "Mend it")
    values = reading.plain(root)
    assert isinstance(values, dict)
    return values


def _events_of(recipient: Recipient) -> tuple[str, ...]:
    return tuple(str(kind) for kind in NewsKind if recipient.hears(kind))


def _notices(workspace: Workspace, told: tuple[Told, ...]) -> Notices:
    waiting, given_up = outbox.names(workspace), outbox.undelivered(workspace)
    return Notices(told, len(waiting), len(given_up), tuple(outbox.last_lines(workspace, _LINES)))
