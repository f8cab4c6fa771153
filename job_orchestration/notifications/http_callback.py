"""The notifier `callback`, also used for ``callbackUrl``: an HTTP POST of one JSON object.

The object has the fields of the notification and those that GenePlexus's job manager defines for callbacks:
``jobname``, ``status`` and ``status_code``.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from job_orchestration.config import notification_settings
from job_orchestration.config.notification_settings import NotificationEvent
from job_orchestration.diagnostics.errors import NotifierError

if TYPE_CHECKING:
    from job_orchestration.config.config import Json
    from job_orchestration.notifications.notification import Notification

TIMEOUT: Final = 20.0
"""Seconds without an answer after which a server counts as unreachable."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Make a redirection an error: a redirected POST would become a GET without its body."""

    def redirect_request(self, *_: Any) -> None:
        """Do not follow the redirection."""


class CallbackNotifier:
    """Post a notification to a URL; any 2xx answer is success.

    Args:
        target: the URL; ``{run}`` and ``{name}`` in it become the names of the run and of its config.

    Raises:
        NotifierError: it is not an http or https URL.
    """

    def __init__(self, target: Json) -> None:
        fault = notification_settings.fault_of_url(target)
        if fault is not None or not isinstance(target, str) or not urlsplit(target).hostname:
            raise NotifierError(*(fault or ("this is not an address", "Write one with http:// or https://")))
        self._url = target

    def send(self, notification: Notification) -> None:
        """Post a notification.

        Raises:
            NotifierError: the server cannot be reached, or its answer is not 2xx.
        """
        url = self._url
        for name, value in (("run", notification.run), ("name", notification.config)):
            url = url.replace(f"{{{name}}}", quote(value or "", safe=""))
        code, status = _status_of(notification)
        content = {
            **notification.as_json(),
            "jobname": notification.config,
            "status": status,
            "status_code": code,
        }
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Idempotency-Key": notification.id,
            "User-Agent": "job_orchestration",
        }
        request = urllib.request.Request(url, json.dumps(content).encode(), headers, method="POST")  # noqa: S310  # the scheme was checked
        opener = urllib.request.build_opener(_NoRedirects)
        try:
            with opener.open(request, timeout=TIMEOUT):
                pass
        except urllib.error.HTTPError as error:
            error.close()
            raise NotifierError(f"The server answered with code {error.code} ({error.reason})") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise NotifierError(f"The server cannot be reached: {reason}") from None


def _status_of(notification: Notification) -> tuple[int, str]:
    """Return the status code and word that GenePlexus's job manager uses."""
    match notification.event:
        case NotificationEvent.COMPLETED:
            return 200, "Completed"
        case NotificationEvent.GAVE_UP if notification.outcome == "timeout":
            return 504, "Timeout"
        case NotificationEvent.GAVE_UP:
            return 500, "Failed"
        case _:
            return 202, "Accepted"
