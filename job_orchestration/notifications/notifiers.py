"""Notifiers: the ways to send a notification, a module each, behind one Protocol.

An entry of ``notify`` names its notifier by a key. Plugins are found through entry points in the group
``job_orchestration.notifiers``; they cannot replace a built-in notifier.
"""

from __future__ import annotations

import importlib
import os
from importlib import metadata
from typing import TYPE_CHECKING, Final, Protocol

from job_orchestration.config import notification_settings
from job_orchestration.diagnostics.errors import NotifierError
from job_orchestration.diagnostics.problems import Fault
from job_orchestration.notifications import targets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from job_orchestration.config.config import Json
    from job_orchestration.config.notification_settings import Recipient
    from job_orchestration.notifications.notification import Notification

GROUP: Final = "job_orchestration.notifiers"
BUILT_IN: Final = {
    "to": "job_orchestration.notifications.apprise:AppriseNotifier",
    "command": "job_orchestration.notifications.command:CommandNotifier",
    "callback": "job_orchestration.notifications.http_callback:CallbackNotifier",
}

_OF_SETTINGS: Final = {
    notification_settings.PUBLIC_KIND: "job_orchestration.notifications.http_callback:PublicCallbackNotifier",
    notification_settings.MAIL_KIND: "job_orchestration.notifications.mail:MailNotifier",
}
"""Notifiers that a setting chooses, and no entry of ``notify``."""


class Notifier(Protocol):
    """One way to send notifications. Created in a process of its own that has a time limit."""

    def send(self, notification: Notification) -> None:
        """Send a notification now.

        Raises:
            NotifierError, Exception: it was not sent; the dispatcher will try again.
        """


def make(recipient: Recipient, environment: Mapping[str, str] | None = None) -> Notifier:
    """Create the notifier for a recipient.

    Args:
        recipient: its kind and target.
        environment: values of the variables in its target; default: this process's environment.

    Raises:
        NotifierError: there is no such notifier, a variable is not set, or the target is invalid.
    """
    try:
        target = targets.expanded(recipient.target, os.environ if environment is None else environment)
    except KeyError as error:
        raise NotifierError(
            f"The environment variable {error.args[0]} is not set",
            "Set it where the workers are started",
        ) from None
    return _kind(recipient.kind)(target)


def _kind(name: str) -> Callable[[Json], Notifier]:
    place = BUILT_IN.get(name) or _OF_SETTINGS.get(name)
    if place is not None:
        module, _, attribute = place.partition(":")
        built_in: Callable[[Json], Notifier] = getattr(importlib.import_module(module), attribute)
        return built_in
    plugins = {point.name: point for point in metadata.entry_points(group=GROUP)}
    if name not in plugins:
        raise NotifierError(*notification_settings.unknown_kind(name, [*BUILT_IN, *sorted(plugins)]))
    plugin: Callable[[Json], Notifier] = plugins[name].load()
    return plugin


def fault_of(recipient: Recipient) -> Fault | None:
    """Return why a recipient can never be reached; sends nothing, so that not every fault is found."""
    missing = [
        name for name in notification_settings.variables_in(recipient.target) if name not in os.environ
    ]
    try:
        if missing:
            _kind(recipient.kind)  # the target can only be checked where the variables are set
        else:
            make(recipient)
    except NotifierError as error:
        return Fault(error.what, error.todo)
    except Exception as error:  # noqa: BLE001  # a plugin may raise anything
        secrets = targets.secrets_of(recipient.target, os.environ)
        what = targets.redacted(f"{type(error).__name__}: {error}", secrets)
        return Fault(f"the notifier {recipient.kind} refuses this: {what}", "See its documentation")
    return None
