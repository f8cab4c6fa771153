"""What workers and hosts say to each other: one JSON object a packet, descriptors beside it.

`socket.recv_fds` of Python 3.11 ignores its flags and hands out inheritable descriptors, which every
program that a task starts would then keep open; so `receive` calls `recvmsg` itself and asks for
close-on-exec.
"""

from __future__ import annotations

import array
import json
import socket
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

Message = dict[str, Any]
"""A packet's content; its keys are those of the functions that send it."""

_PACKET: Final = 1 << 17
_DESCRIPTORS: Final = 4
_CLOEXEC: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_GONE: Final = (BrokenPipeError, ConnectionResetError)


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends that keep packets apart; each end must live in one process only."""
    kind = socket.SOCK_SEQPACKET if hasattr(socket, "MSG_CMSG_CLOEXEC") else socket.SOCK_DGRAM
    return socket.socketpair(socket.AF_UNIX, kind)


def send(end: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> bool:
    """Send a packet. Returns whether there was still somebody at the other end."""
    data = json.dumps(message).encode()
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    try:
        end.sendmsg([data], ancillary)
    except _GONE:
        return False
    return True


def receive(end: socket.socket) -> tuple[Message, list[int]] | None:
    """The next packet and its descriptors; `None` when the other end is gone, however it went."""
    found = array.array("i")
    space = socket.CMSG_SPACE(_DESCRIPTORS * found.itemsize)
    try:
        data, ancillary, _, _ = end.recvmsg(_PACKET, space, _CLOEXEC)
    except _GONE:
        return None
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(content[: len(content) - len(content) % found.itemsize])
    if not data:
        return None
    return json.loads(data), list(found)
