"""The server: uvicorn on one socket, patient with slow tasks and not with slow clients."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.notifications import outbox
from job_orchestration.processes import supervisor
from job_orchestration.web import access_tokens
from job_orchestration.web.app import make_app
from job_orchestration.web.guard import Access

if TYPE_CHECKING:
    from collections.abc import Callable

    from job_orchestration.workspace.layout import Workspace

_HEAD_LIMIT: Final = 10.0
"""Seconds in which the head of a request must have come."""
_SEND_LIMIT: Final = 60.0
"""Seconds in which a client must take some of what is sent."""
_LOOK_EVERY: Final = 5.0
_DELIVER_EVERY: Final = 60.0
"""Seconds between two starts of a process that delivers what was left."""
_GRACE: Final = 3
_BACKLOG: Final = 512
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a server is reached."""

    address: str = "127.0.0.1"
    port: int = 8000
    names: tuple[str, ...] = field(default_factory=tuple)
    """Names of the server besides its address and those of this machine for itself."""
    functions: bool = False
    """Whether the calls of the first web application need no token."""


class ImpatientProtocol(H11Protocol):
    """Closes a connection whose next request does not come in time, or whose client takes no answer."""

    _deadline: asyncio.TimerHandle | None = None
    _abortion: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Take some bytes; begin or end to wait for the head of a request."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._wait_for_head()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """End to wait."""
        self._stop_waiting()
        self._go_on()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begin to wait for the client to take what was sent."""
        super().pause_writing()
        self._abortion = self.loop.call_later(_SEND_LIMIT, self.transport.abort)

    def resume_writing(self) -> None:
        """End to wait for the client."""
        self._go_on()
        super().resume_writing()

    def _go_on(self) -> None:
        if self._abortion is not None:
            self._abortion.cancel()
            self._abortion = None

    def _wait_for_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(_HEAD_LIMIT, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self.conn.their_state is h11.IDLE:
            self.transport.close()


def serve(workspace: Workspace, options: ServerOptions, say: Callable[[str], None]) -> None:
    """Answer requests until a signal asks to stop.

    Args:
        workspace: with all its folders in place.
        options: how the server is reached.
        say: called with one line per event.

    Raises:
        UsageError: if the address cannot be used.
        WorkspaceError: if the token is not safe.
    """
    listening = _socket_of(options)
    address, port = listening.getsockname()[:2]
    if options.functions and not ipaddress.ip_address(address).is_loopback:
        listening.close()
        raise UsageError(
            "--functions answers without a token, so it is for this machine only", "Leave out --bind"
        )
    token = access_tokens.read_or_make(workspace)
    names = frozenset(name.lower() for name in (*_LOCAL, options.address, *options.names))
    app = make_app(workspace.root, Access(token, names, options.functions))
    shown = f"[{address}]" if ":" in address else address
    say(f"Listening on http://{shown}:{port}")
    say(f"The token of clients is in {access_tokens.path_of(workspace)}")
    config = uvicorn.Config(
        app,
        http=ImpatientProtocol,
        ws="none",
        loop="asyncio",
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=_GRACE,
        backlog=_BACKLOG,
    )
    asyncio.run(_serve(uvicorn.Server(config), workspace, listening))


async def _serve(server: uvicorn.Server, workspace: Workspace, listening: socket.socket) -> None:
    deliveries = asyncio.create_task(_deliver(workspace))
    try:
        await server.serve(sockets=[listening])
    finally:
        deliveries.cancel()
        with suppress(asyncio.CancelledError):
            await deliveries


async def _deliver(workspace: Workspace) -> None:
    """Have messages delivered that were left by a process that was killed."""
    process: subprocess.Popen[bytes] | None = None
    started = -_DELIVER_EVERY
    while True:
        if process is not None and process.poll() is not None:
            process = None
        is_due = process is None and time.monotonic() - started >= _DELIVER_EVERY
        if is_due and await asyncio.to_thread(_is_left, workspace):
            started = time.monotonic()
            command = supervisor.program(["notify", "--deliver", "--workspace", workspace.root])
            null: Any = subprocess.DEVNULL
            process = subprocess.Popen(command, stdin=null, stdout=null, stderr=null, start_new_session=True)  # noqa: ASYNC220
        await asyncio.sleep(_LOOK_EVERY)


def _is_left(workspace: Workspace) -> bool:
    with suppress(OSError):
        return bool(outbox.names(workspace)) and not outbox.has_dispatcher(workspace)
    return False


def _socket_of(options: ServerOptions) -> socket.socket:
    try:
        family, kind, number, _, where = socket.getaddrinfo(
            options.address, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, number)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"The server cannot listen on {options.address}, port {options.port}: {error}",
            "Choose another --port",
        ) from None
    return listening
