"""`notify`: show notification recipients and the outbox, send a test message, deliver what is pending."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.config import notification_settings, workspace_defaults, yaml_reader
from job_orchestration.config.notification_settings import NotificationEvent
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.notifications import outbox, targets
from job_orchestration.notifications.notification import Notification
from job_orchestration.workspace import clock, layout

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping

    from job_orchestration.config.config import Json
    from job_orchestration.config.notification_settings import Recipient
    from job_orchestration.workspace.layout import Workspace

_LINES: Final = 10


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """A recipient, and the outcome of its test message if one was sent."""

    who: str
    """Label: where the recipient is configured and by which notifier; never an address."""
    on: tuple[str, ...]
    tried: bool = False
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the recipient as ``notify --json`` prints it."""
        found = {"who": self.who, "on": list(self.on)}
        return {**found, "ok": self.error is None, "error": self.error} if self.tried else found


@dataclass(frozen=True, slots=True)
class NotificationStatus:
    """Recipients, outbox counts and delivery log of a workspace."""

    recipients: tuple[RecipientStatus, ...]
    waiting: int
    """Messages in the outbox."""
    undelivered: int
    """Messages that were not delivered after all tries."""
    log: tuple[str, ...]
    """The most recent delivery tries, one line each."""

    def as_json(self) -> dict[str, Any]:
        """Return what ``notify --json`` prints."""
        return {
            "recipients": [r.as_json() for r in self.recipients],
            "waiting": self.waiting,
            "undelivered": self.undelivered,
            "log": list(self.log),
        }


def notify(workspace: Workspace, config: str | None = None) -> NotificationStatus:
    """Return the recipients with their events, and the outbox. Changes nothing.

    Args:
        workspace: the workspace to read.
        config: a config file whose ``notify`` is read; default: that of ``workspace.yaml``.

    Raises:
        UsageError: the config or ``workspace.yaml`` cannot be read, or has an invalid recipient.
    """
    statuses = tuple(
        RecipientStatus(targets.label_of(r), _events_of(r)) for r in recipients(workspace, config)
    )
    return _with_outbox(workspace, statuses)


def try_out(workspace: Workspace, config: str | None = None) -> NotificationStatus:
    """Send a test message to every recipient, regardless of its events, and wait for delivery."""
    from job_orchestration.notifications import delivery

    name = os.path.basename(workspace.root)
    notification = Notification(
        id=secrets.token_hex(8),
        event=NotificationEvent.TEST,
        at=clock.timestamp(),
        title=f"{name}: a test of job_orchestration's messages",
        workspace=workspace.root,
        hostname=socket.gethostname(),
        reason="Sent by notify --test. Messages to this recipient arrive",
    )
    statuses = []
    for recipient in recipients(workspace, config):
        error = delivery.deliver_now(recipient, notification)
        statuses.append(
            RecipientStatus(targets.label_of(recipient), _events_of(recipient), tried=True, error=error)
        )
    return _with_outbox(workspace, tuple(statuses))


def deliver(workspace: Workspace, say: Callable[[str], None]) -> tuple[Counter[str], bool]:
    """Deliver the messages in the outbox, as workers do.

    Args:
        workspace: the workspace; its outbox may be missing.
        say: called with one line per delivery try.

    Returns:
        The number of tries ``delivered`` and ``failed`` and of messages ``dropped``; and whether this process
        had the outbox to itself.
    """
    from job_orchestration.notifications.delivery import Dispatcher

    dispatcher = Dispatcher(workspace, say)
    mine = dispatcher.deliver() or not os.path.isdir(workspace.outbox)
    return dispatcher.counts, mine


def recipients(workspace: Workspace, config: str | None) -> tuple[Recipient, ...]:
    """Return the recipients, validated as `ready` does.

    Raises:
        UsageError: the config or ``workspace.yaml`` cannot be read, or has an invalid recipient.
    """
    defaults, problems = workspace_defaults.defaults(workspace)
    if problems:
        raise UsageError(str(problems[0]), "Correct it")
    own, source = {}, notification_settings.WORKSPACE
    if config is not None:
        own = _read(workspace, config)
        source = (
            notification_settings.CONFIG
            if notification_settings.NOTIFY in own
            else notification_settings.WORKSPACE
        )
    values: Mapping[str, Json] = own if source == notification_settings.CONFIG else {**defaults, **own}
    file = layout.DEFAULTS if source == notification_settings.WORKSPACE else config
    for key, fault in notification_settings.faults_of(values, source):
        raise UsageError(f"{file}: {key}: {fault.what}", fault.todo)
    copied = (notification_settings.CALLBACK, notification_settings.NOTIFY_ADDRESS)
    inherited = {key: values[key] for key in copied if key in values}
    return notification_settings.recipients_of({**own, **inherited}, defaults)


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
        root, problems = yaml_reader.read(file.read(yaml_reader.MAX_BYTES + 1), os.path.basename(path))
    if root is None:
        raise UsageError(str(problems[0]) if problems else f"{config} holds nothing", "Correct it")
    values = yaml_reader.plain(root)
    assert isinstance(values, dict)
    return values


def _events_of(recipient: Recipient) -> tuple[str, ...]:
    return tuple(str(kind) for kind in NotificationEvent if recipient.gets(kind))


def _with_outbox(workspace: Workspace, statuses: tuple[RecipientStatus, ...]) -> NotificationStatus:
    waiting, given_up = outbox.names(workspace), outbox.undelivered(workspace)
    return NotificationStatus(
        statuses, len(waiting), len(given_up), tuple(outbox.last_lines(workspace, _LINES))
    )
