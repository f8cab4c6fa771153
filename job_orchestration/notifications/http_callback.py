"""The notifier `callback`, also used for ``callbackUrl``: an HTTP POST of one JSON object.

The object has the fields of the notification and those that GenePlexus's job manager defines for callbacks:
``jobname``, ``status``, ``status_code``, ``message``, ``run_time``, ``progress`` and ``links``. If the
environment has ``CALLBACK_SECRET``, the header ``X-Signature`` signs the body with it.

A config from the network may name any address, also of a service that only this machine can reach. For such
configs there is a second notifier: it looks the name up once, refuses addresses that are not public, and
connects to the address that it has checked, so that a name server cannot change its mind in between.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ipaddress
import json
import os
import socket
import ssl
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from job_orchestration.config import notification_settings
from job_orchestration.config.notification_settings import NotificationEvent
from job_orchestration.diagnostics.errors import NotifierError
from job_orchestration.runs import status_codes
from job_orchestration.workspace.layout import Place

if TYPE_CHECKING:
    from job_orchestration.config.config import Json
    from job_orchestration.notifications.notification import Notification

TIMEOUT: Final = 20.0
"""Seconds without an answer after which a server counts as unreachable."""
PUBLIC_TIMEOUT: Final = 5.0
"""The same for an address that a stranger may have named."""
SECRET: Final = "CALLBACK_SECRET"  # noqa: S105  # the name of a variable
"""The environment variable that holds the key of signatures."""


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

    timeout = TIMEOUT

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
        body = json.dumps(body_of(notification)).encode()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Idempotency-Key": notification.id,
            "User-Agent": "job_orchestration",
            **signature_of(body, os.environ.get(SECRET)),
        }
        request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310  # the scheme was checked
        try:
            with self._opener(url).open(request, timeout=self.timeout):
                pass
        except urllib.error.HTTPError as error:
            error.close()
            raise NotifierError(f"The server answered with code {error.code} ({error.reason})") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise NotifierError(f"The server cannot be reached: {reason}") from None

    def _opener(self, _: str) -> urllib.request.OpenerDirector:
        return urllib.request.build_opener(_NoRedirects)


class PublicCallbackNotifier(CallbackNotifier):
    """The same, for an address that must be public: not of this machine, its network or its cloud."""

    timeout = PUBLIC_TIMEOUT

    def _opener(self, url: str) -> urllib.request.OpenerDirector:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        pinned = public_address_of(parts.hostname or "", port)
        return urllib.request.build_opener(
            urllib.request.ProxyHandler({}), _NoRedirects, _PinnedHandler(pinned), _PinnedTlsHandler(pinned)
        )


def body_of(notification: Notification) -> dict[str, Any]:
    """Return the JSON object of a callback."""
    code = _status_of(notification)
    message = notification.reason or notification.title
    links = {"self": f"/jobs/{quote(notification.run)}"} if notification.run else {}
    if notification.dashboard:
        links["dashboard"] = notification.dashboard
    return {
        **notification.as_json(),
        "jobname": notification.config,
        "status": status_codes.job_status_codes[code],
        "status_code": code,
        "message": message,
        "run_time": notification.elapsed_s,
        "links": links,
    }


def signature_of(body: bytes, secret: str | None) -> dict[str, str]:
    """Return the header that signs a body with HMAC-SHA256; no header without a secret."""
    if not secret:
        return {}
    return {"X-Signature": f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"}


def _status_of(notification: Notification) -> int:
    """Return the status code that GenePlexus's job manager uses."""
    match notification.event:
        case NotificationEvent.COMPLETED:
            return status_codes.COMPLETED
        case NotificationEvent.GAVE_UP:
            return status_codes.of_place(Place.FAILED, notification.outcome).code
        case _:
            return status_codes.ACCEPTED


# -- public addresses -------------------------------------------------------------------------------------


def public_address_of(hostname: str, port: int) -> str:
    """Return the address of a server, if all of its addresses are public.

    Raises:
        NotifierError: the name is unknown, or one of its addresses is not public.
    """
    try:
        found = socket.getaddrinfo(hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotifierError(f"The server cannot be reached: {error}") from None
    addresses = [str(address[0]) for *_, address in found]
    if not addresses or not all(map(is_public, addresses)):
        raise NotifierError(
            "This address is not public, and a config from the network may call only public ones",
            "The owner of the workspace can name the host in callbackHosts of workspace.yaml",
        )
    return addresses[0]


def is_public(text: str) -> bool:
    """Return whether an IP address belongs to the public internet, also one that is wrapped in another."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        wrapped = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            wrapped.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if not all(is_public(str(inner)) for inner in wrapped if inner is not None):
            return False
        if address.ipv4_mapped is not None:
            return True
    return address.is_global and not address.is_multicast and not address.is_reserved


_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class _Pinned(http.client.HTTPConnection):
    """A connection to an address that was checked, whatever the name means by now."""

    pinned = ""

    def connect(self) -> None:
        self.sock = socket.create_connection((self.pinned, self.port), self.timeout)


class _PinnedTls(http.client.HTTPSConnection):
    """The same with TLS, whose certificate must be that of the name."""

    pinned = ""

    def connect(self) -> None:
        plain = socket.create_connection((self.pinned, self.port), self.timeout)
        self.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=self.host)


class _PinnedHandler(urllib.request.HTTPHandler):
    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        def connection(hostname: str, /, **more: Any) -> _Pinned:
            made = _Pinned(hostname, **more)
            made.pinned = self._address
            return made

        return self.do_open(connection, req)


class _PinnedTlsHandler(urllib.request.HTTPSHandler):
    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        def connection(hostname: str, /, **more: Any) -> _PinnedTls:
            made = _PinnedTls(hostname, **more)
            made.pinned = self._address
            return made

        return self.do_open(connection, req)
