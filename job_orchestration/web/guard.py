"""The guard: what every request passes before a route sees it.

It refuses names of the server that it does not have (DNS rebinding), foreign origins (a site that a browser
visits), clients without the token, bodies that are too large, too slow or no JSON (a form of a foreign site),
and too many requests. An answer says what is wrong, and no browser executes any of it.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from job_orchestration.web import problem_details

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from job_orchestration.web.metrics import Metrics

MOST_BYTES: Final = 1 << 20
"""The largest body of a request."""
_PIECE_LIMIT: Final = 10.0
"""Seconds in which the next piece of a body must come …"""
_BODY_LIMIT: Final = 60.0
"""… and in which all of it must have come."""
_DRAIN_LIMIT: Final = 1.0
_MOST_DRAINED: Final = 256
"""Seconds, and pieces of a body, for which a client that sends too much is listened to."""
_MOST_CLIENTS: Final = 10_000
_OPEN: Final = frozenset({"/healthz"})
"""Paths that need no token."""
_FUNCTIONS: Final = frozenset({"/api", "/api/enqueue", "/api/testfn", "/api/check"})
"""Paths that need none with ``--functions``: they name jobs that the owner has prepared."""
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask, and how often."""

    token: str
    names: frozenset[str]
    """The names of the server, without a port."""
    functions: bool = False
    """Whether the calls of the first web application need no token."""
    rate: float = 200.0
    """Requests of one address in a second …"""
    burst: float = 1000.0
    """… and at once."""


class _Refused(Exception):  # noqa: N818  # an answer, no error
    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.response = problem_details.answer(status, detail, headers=headers)


class Guard:
    """Checks each request, and adds the headers of safety to each answer.

    Args:
        app: what answers the requests that pass.
        access: who may ask.
        metrics: counts the answers.
    """

    def __init__(self, app: ASGIApp, access: Access, metrics: Metrics) -> None:
        self._app = app
        self._access = access
        self._metrics = metrics
        self._buckets: dict[str, tuple[float, float]] = {}
        """Address of a client to its remaining requests, and when that was."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        status = 0

        async def guarded_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name.lower() for name, _ in message["headers"]}
                added = [
                    (n.encode(), v.encode()) for n, v in HEADERS.items() if n.lower().encode() not in given
                ]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        try:
            try:
                self._check(scope)
                body = await _body(scope, receive)
            except _Refused as refused:
                await refused.response(scope, receive, guarded_send)
            else:
                await self._app(scope, _replay(body, receive), guarded_send)
        finally:
            self._metrics.count(scope["method"], status, time.monotonic() - began)

    def _check(self, scope: Scope) -> None:
        headers = _headers(scope)
        authority = headers.get("host", "")
        if _name_of(authority) not in self._access.names:
            raise _Refused(421, "This server does not have that name. Start it with --name NAME if it does.")
        origin = headers.get("origin")
        if origin is not None and not _is_own(origin, authority, scope):
            raise _Refused(403, "Requests of other origins are refused.")
        self._count(scope)
        self._authorize(scope, headers)

    def _count(self, scope: Scope) -> None:
        """Refuse a client that asks too often."""
        client = str((scope.get("client") or ("",))[0])
        now = time.monotonic()
        left, since = self._buckets.pop(client, (self._access.burst, now))
        left = min(self._access.burst, left + (now - since) * self._access.rate)
        if len(self._buckets) >= _MOST_CLIENTS:
            self._buckets.pop(next(iter(self._buckets)))
        self._buckets[client] = max(left - 1.0, 0.0), now
        if left < 1.0:
            raise _Refused(429, "Too many requests. Ask again in a second.", {"Retry-After": "1"})

    def _authorize(self, scope: Scope, headers: dict[str, str]) -> None:
        """Refuse a client without the token."""
        scope.setdefault("state", {})["has_token"] = False
        kind, _, shown = headers.get("authorization", "").partition(" ")
        shown = shown.strip() if kind.lower() == "bearer" else headers.get("x-functions-key", "")
        if hmac.compare_digest(shown.encode("latin-1", "replace"), self._access.token.encode()):
            scope["state"]["has_token"] = True
            return
        path = scope["path"].rstrip("/")
        if path in _OPEN or (self._access.functions and path in _FUNCTIONS and not shown):
            return
        detail = "A token is needed: Authorization: Bearer TOKEN. It is in Misc/serve/token of the workspace."
        raise _Refused(401, detail, {"WWW-Authenticate": "Bearer"})


def _headers(scope: Scope) -> dict[str, str]:
    """Return the headers; one that came twice has no meaning that all agree on, so it is refused."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        if key in found and key in {"host", "origin", "authorization", "content-type"}:
            raise _Refused(400, f"The header {key} came twice.")
        found[key] = value.decode("latin-1")
    return found


def _name_of(authority: str) -> str:
    """Return the name in a Host header, without its port."""
    try:
        return (urlsplit(f"//{authority}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_own(origin: str, authority: str, scope: Scope) -> bool:
    return origin.lower() == f"{scope.get('scheme', 'http')}://{authority}".lower()


async def _body(scope: Scope, receive: Receive) -> bytes:
    """Return the whole body of a request, if it is JSON, small and in time."""
    headers = _headers(scope)
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MOST_BYTES:
        await _drain(receive)
        raise _Refused(413, f"The body may have {MOST_BYTES} bytes at most.", {"Connection": "close"})
    deadline = time.monotonic() + _BODY_LIMIT
    data = bytearray()
    while True:
        seconds = min(_PIECE_LIMIT, deadline - time.monotonic())
        try:
            message = await asyncio.wait_for(receive(), max(seconds, 0.01))
        except TimeoutError:
            raise _Refused(408, "The body came too slowly.", {"Connection": "close"}) from None
        if message["type"] == "http.disconnect":
            return bytes(data)
        data += message.get("body", b"")
        if len(data) > MOST_BYTES:
            await _drain(receive)
            raise _Refused(413, f"The body may have {MOST_BYTES} bytes at most.", {"Connection": "close"})
        if not message.get("more_body", False):
            break
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if data and kind != "application/json":
        raise _Refused(415, "The body must be JSON: Content-Type: application/json.")
    return bytes(data)


async def _drain(receive: Receive) -> None:
    """Read on for a moment: a client that is still sending would not see the answer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_LIMIT):
            for _ in range(_MOST_DRAINED):
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return


def _replay(body: bytes, receive: Receive) -> Any:
    """Return a `receive` that gives a body that was read, and then waits for the end of the connection."""
    given = False

    async def again() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return again
