"""The notifier `to`: mail, Slack, Teams and a hundred more services, by apprise (the extra ``[notify]``)."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

from job_orchestration.config.notification_settings import NotificationEvent
from job_orchestration.diagnostics.errors import NotifierError
from job_orchestration.notifications.notification import text_of

if TYPE_CHECKING:
    from job_orchestration.config.config import Json
    from job_orchestration.notifications.notification import Notification

_TYPES = {
    NotificationEvent.COMPLETED: "success",
    NotificationEvent.GAVE_UP: "failure",
    NotificationEvent.FAILED: "warning",
}


class AppriseNotifier:
    """Send a notification to one or more addresses.

    Args:
        target: the address, or a list of them.

    Raises:
        NotifierError: apprise is not installed, or does not accept an address.
    """

    def __init__(self, target: Json) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its services import deprecated modules
            self._apprise = _imported()
            self._services = self._apprise.Apprise()
            for address in target if isinstance(target, list) else [target]:
                self._add(str(address))

    def _add(self, address: str) -> None:
        scheme, found, _ = address.partition("://")
        if not found:
            raise NotifierError(
                "this is no address such as mailto://user:${PASSWORD}@host",
                "See https://appriseit.com for the addresses of all services. To run a program, use command",
            )
        if scheme.lower() not in self._apprise.NotificationManager():
            raise NotifierError(
                f"apprise knows no service {scheme}://", "See https://appriseit.com for the services it knows"
            )
        service = self._apprise.Apprise.instantiate(address, suppress_exceptions=True)
        if not service or not self._services.add(service):
            raise NotifierError(
                f"the address {scheme}://… lacks something that this service needs",
                f"See https://appriseit.com for the addresses of {scheme}",
            )

    def send(self, notification: Notification) -> None:
        """Send a notification.

        Raises:
            NotifierError: the service did not accept it.
        """
        logging.getLogger("apprise").propagate = False
        with self._apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as log:
            sent = self._services.notify(
                title=notification.title,
                body=text_of(notification),
                notify_type=_TYPES.get(notification.event, "info"),
                body_format="text",
            )
            error = " ".join(log.getvalue().split())
        if not sent:
            raise NotifierError(error or "The service did not accept the message", "")


def _imported() -> Any:
    try:
        import apprise
    except ImportError:
        raise NotifierError(
            "apprise, which sends to such addresses, is not installed",
            "Install it with: pip install 'job-orchestration[notify]'. Or run a program with command",
        ) from None
    return apprise
