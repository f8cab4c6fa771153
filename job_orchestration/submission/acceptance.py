"""Messages that a run was accepted.

They are written before a worker can claim the run, so that no later message overtakes them.
"""

from __future__ import annotations

import functools
import logging
import socket
from typing import TYPE_CHECKING

from job_orchestration.config import notification_settings, workspace_defaults
from job_orchestration.config.notification_settings import NotificationEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from job_orchestration.notifications.publisher import Publisher
    from job_orchestration.runs.opening import Opening
    from job_orchestration.runs.state import RunState
    from job_orchestration.workspace.layout import Workspace


def announcer(workspace: Workspace, openings: Iterable[Opening]) -> Callable[[str, RunState], None] | None:
    """Return what publishes that a run was accepted; `None` if no recipient of these runs asks for it."""
    defaults, _ = workspace_defaults.defaults(workspace)
    for one in openings:
        recipients = notification_settings.recipients_of(one.readied.values, defaults)
        if any(recipient.gets(NotificationEvent.ACCEPTED) for recipient in recipients):
            return _publisher(workspace).report_accepted
    return None


@functools.cache
def _publisher(workspace: Workspace) -> Publisher:
    """Return the publisher of this process, which reaps the dispatchers that it has started."""
    from job_orchestration.notifications.publisher import Publisher

    return Publisher(workspace, socket.gethostname(), logging.getLogger("job_orchestration").warning)
