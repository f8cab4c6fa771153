"""The notifier behind ``notifyAddress``: mail with text and HTML, through ``mailServer``."""

from __future__ import annotations

import html
import smtplib
import socket
import ssl
from email.message import EmailMessage
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, unquote, urlsplit

from job_orchestration.config import notification_settings
from job_orchestration.config.notification_settings import NotificationEvent
from job_orchestration.diagnostics.errors import NotifierError
from job_orchestration.notifications.notification import text_of

if TYPE_CHECKING:
    from job_orchestration.config.config import Json
    from job_orchestration.notifications.notification import Notification

_LIMIT: Final = 20.0
"""Seconds for one answer of the server."""
_PORTS: Final = {"smtp": 587, "smtps": 465}
_GREETINGS: Final = {
    NotificationEvent.ACCEPTED: "Your job was accepted and waits for its turn.",
    NotificationEvent.COMPLETED: "Your job has completed.",
    NotificationEvent.GAVE_UP: "Your job has ended without results.",
}


class MailNotifier:
    """Send a notification by mail.

    Args:
        target: the address of the server and that of the person.

    Raises:
        NotifierError: if one of the two is wrong or missing.
    """

    def __init__(self, target: Json) -> None:
        assert isinstance(target, list)
        server, self._to = (str(part) for part in target)
        if not server:
            raise NotifierError(
                "there is no server to send mail with",
                f"Name one in workspace.yaml: {notification_settings.MAIL_SERVER}",
            )
        fault = notification_settings.fault_of_server(server)
        if fault is not None:
            raise NotifierError(fault.what, fault.todo)
        parts = urlsplit(server)
        self._hostname = parts.hostname or ""
        self._is_tls = parts.scheme == "smtps"
        self._port = parts.port or _PORTS[parts.scheme]
        self._user, self._word = unquote(parts.username or ""), unquote(parts.password or "")
        sender = parse_qs(parts.query).get("from", [""])[0]
        is_address = notification_settings.fault_of_address(self._user) is None
        self._from = sender or (self._user if is_address else f"job-orchestration@{socket.getfqdn()}")

    def send(self, notification: Notification) -> None:
        """Send a notification.

        Raises:
            NotifierError: the server did not take it.
        """
        message = self._message(notification)
        try:
            with self._connected() as server:
                server.send_message(message)
        except (OSError, smtplib.SMTPException) as error:
            raise NotifierError(f"The mail server did not take the message: {error}", "") from None

    def _connected(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self._is_tls:
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self._hostname, self._port, timeout=_LIMIT, context=context
            )
        else:
            server = smtplib.SMTP(self._hostname, self._port, timeout=_LIMIT)
            server.ehlo()
            if server.has_extn("starttls"):
                server.starttls(context=context)
                server.ehlo()
        if self._user:
            server.login(self._user, self._word)
        return server

    def _message(self, notification: Notification) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = " ".join(notification.title.split())
        message["From"] = self._from
        message["To"] = self._to
        message["Message-ID"] = f"<{notification.id}@{self._hostname}>"
        message["Auto-Submitted"] = "auto-generated"
        greeting = _GREETINGS.get(notification.event, "")
        text = text_of(notification)
        message.set_content(f"{greeting}\n\n{text}\n" if greeting else f"{text}\n")
        message.add_alternative(_html(notification, greeting, text), subtype="html")
        return message


def _html(notification: Notification, greeting: str, text: str) -> str:
    """Return the message as a page without scripts, styles from elsewhere, or images."""
    link = notification.dashboard or ""
    shown = f'<p><a href="{html.escape(link)}">{html.escape(link)}</a></p>' if _is_web(link) else ""
    return (
        f"<!DOCTYPE html><html><body><h2>{html.escape(notification.title)}</h2>"
        f"<p>{html.escape(greeting)}</p>{shown}<pre>{html.escape(text)}</pre></body></html>\n"
    )


def _is_web(link: str) -> bool:
    return link.startswith(("http://", "https://"))
