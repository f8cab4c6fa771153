"""Notifiers: each tells news to somebody in one way. One file each, one Protocol.

An entry of ``notify`` names its notifier by a key. Those of other packages are found through their entry
points in the group ``job_orchestration.notifiers``; what is built in cannot be replaced.
"""

from __future__ import annotations

import importlib
import os
from importlib import metadata
from typing import TYPE_CHECKING, Final, Protocol

from job_orchestration.model.errors import NotifierError
from job_orchestration.rules import notifying
from job_orchestration.rules.naming import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from job_orchestration.model.news import News, Recipient
    from job_orchestration.model.task import Json

GROUP: Final = "job_orchestration.notifiers"
BUILT_IN: Final = {
    "to": f"{GROUP}.apprise:AppriseNotifier",
    "command": f"{GROUP}.command:CommandNotifier",
    "callback": f"{GROUP}.callback:CallbackNotifier",
}


class Notifier(Protocol):
    """Tells news in one way. It is made in a process of its own, which is ended when it takes too long."""

    def tell(self, news: News) -> None:
        """Tell it, now.

        Raises:
            NotifierError, Exception: it was not told; it will be tried again.
        """


def make(recipient: Recipient, environment: Mapping[str, str] | None = None) -> Notifier:
    """The notifier for a recipient.

    Args:
        recipient: who is to be told.
        environment: where variables of its target are looked up; this process's when not given.

    Raises:
        NotifierError: there is none, or the target is nothing that it can use.
    """
    try:
        target = notifying.expanded(recipient.target, os.environ if environment is None else environment)
    except KeyError as error:
        raise NotifierError(
            f"The environment variable {error.args[0]} is not set",
            "Set it where the workers are started",
        ) from None
    return _kind(recipient.kind)(target)


def _kind(name: str) -> Callable[[Json], Notifier]:
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        made: Callable[[Json], Notifier] = getattr(importlib.import_module(module), attribute)
        return made
    plugins = {point.name: point for point in metadata.entry_points(group=GROUP)}
    if name not in plugins:
        raise NotifierError(*notifying.unknown_kind(name, [*BUILT_IN, *sorted(plugins)]))
    found: Callable[[Json], Notifier] = plugins[name].load()
    return found


def fault_of(recipient: Recipient) -> Fault | None:
    """Why a recipient could never be told, as far as that can be seen without telling."""
    missing = [name for name in notifying.variables_in(recipient.target) if name not in os.environ]
    try:
        if missing:
            _kind(recipient.kind)  # the target can only be judged where the variables are set
        else:
            make(recipient)
    except NotifierError as error:
        return Fault(error.what, error.todo)
    except Exception as error:  # noqa: BLE001  # whatever a plugin raises
        secrets = notifying.secrets_of(recipient.target, os.environ)
        what = notifying.redacted(f"{type(error).__name__}: {error}", secrets)
        return Fault(f"the notifier {recipient.kind} refuses this: {what}", "See what it takes")
    return None
