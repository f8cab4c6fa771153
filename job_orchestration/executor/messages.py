"""Messages between workers and fork servers: one JSON object a packet, with descriptors.

`socket.recv_fds` of Python 3.11 ignores its flags and hands out inheritable descriptors, which every
program that a task starts would then keep open; so `receive` calls `recvmsg` itself and asks for
close-on-exec.
"""

from __future__ import annotations

import array
import json
import os
import socket
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from job_orchestration.config.config import specs_of
from job_orchestration.config.settings import parse_duration
from job_orchestration.executor import shared_memory
from job_orchestration.processes import reaper
from job_orchestration.runs import submitted_files
from job_orchestration.runs.state import TaskStatus
from job_orchestration.workspace.layout import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.config.config import Json, Settings
    from job_orchestration.runs.claims import Claim
    from job_orchestration.runs.state import RunState

Message = dict[str, Any]
"""The content of a packet; the function that sends it decides its keys."""

START: Final = "start"
"""The key of what `start_of` returns."""
REUSE: Final = "reuse"
"""The key of the workspace's folder, for a run whose tasks may take earlier checkpoints."""
INPUTS: Final = "inputs"
"""The key of the patterns of a run's input files."""
_PACKET: Final = 1 << 16
"""Bytes of the longest message that is sent in a packet; a longer one is sent as a file in memory."""
_LONG: Final = {"long": True}
_DESCRIPTORS: Final = 8
_FINISHED: Final = TaskStatus.FINISHED
_CLOEXEC: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_GONE: Final = (BrokenPipeError, ConnectionResetError)


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends that keep packets apart; each end must live in one process only."""
    kind = socket.SOCK_SEQPACKET if hasattr(socket, "MSG_CMSG_CLOEXEC") else socket.SOCK_DGRAM
    return socket.socketpair(socket.AF_UNIX, kind)


def send(end: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> bool:
    """Send a packet; return whether the other end was still open."""
    data = json.dumps(message).encode()
    if len(data) > _PACKET:
        return _send_file(end, data, descriptors)
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    try:
        end.sendmsg([data], ancillary)
    except _GONE:
        return False
    return True


def receive(end: socket.socket) -> tuple[Message, list[int]] | None:
    """Return the next packet and its descriptors; `None` if the other end is closed."""
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
    message = json.loads(data)
    return (_content(found.pop()) if message == _LONG else message), list(found)


def _send_file(end: socket.socket, data: bytes, descriptors: Sequence[int]) -> bool:
    """Send a message that is too long for a packet, as an unnamed file whose descriptor is the last."""
    file = unnamed_file(data)
    try:
        return send(end, _LONG, [*descriptors, file])
    finally:
        os.close(file)


def unnamed_file(data: bytes) -> int:
    """Return the descriptor of a file without a name that holds some bytes."""
    file = shared_memory.unnamed()
    at = 0
    while at < len(data):
        at += os.pwrite(file, data[at:], at)
    return file


def _content(file: int) -> Message:
    try:
        found: Message = json.loads(os.pread(file, os.fstat(file).st_size, 0))
        return found
    finally:
        os.close(file)


class FinishedTask(NamedTuple):
    """What later tasks can ask of a task that has its checkpoint."""

    result: Json
    folder: str | None


class TaskStart(NamedTuple):
    """A task at the start of a child."""

    id: str
    is_finished: bool
    """Whether it has its checkpoint."""
    tries: int
    failures: int


def start_of(state: RunState, folder: str) -> Message:
    """Return what a child needs of the state of its run. The code of a task may remove the journal."""
    trial = state.trial
    return {
        "values": submitted_files.located(state.values, folder),
        "seed": state.seed,
        "commit": state.code.commit if state.code else None,
        "tasks": [
            TaskStart(task.id, task.status is _FINISHED, task.tries, task.failures) for task in state.tasks
        ],
        "finished": {
            task.id: FinishedTask(task.result, task.folder)
            for task in state.tasks
            if task.status is _FINISHED
        },
        "trial": None if trial is None else [trial.sweep, trial.parameters, trial.digest, trial.number],
    }


def attempt_order(claim: Claim, settings: Settings, workspace: str, allocation: Mapping[str, str]) -> Message:
    """Return the message that makes a fork server fork a child for an attempt.

    Args:
        claim: the run.
        settings: its limits and retries.
        workspace: the workspace's folder.
        allocation: environment variables that name the resources allocated to the run.
    """
    own = [spec.parameters.get("timeout") for spec in specs_of(claim.state.values)]
    limits = [None if limit is None else parse_duration(limit) for limit in own]
    spent = sum(task.duration_s or 0.0 for task in claim.state.tasks)
    return {
        "kind": "attempt",
        "run": claim.run,
        "folder": claim.run_folder,
        "attempt": claim.attempt,
        START: start_of(claim.state, claim.run_folder),
        "token": claim.path,
        "written": claim.journal.written,
        "isolation": settings.isolation,
        "timeouts": limits if any(limits) else [],
        "run_limit": None if settings.timeout is None else max(settings.timeout - spent, 0.0),
        "stall_timeout": settings.stall_timeout,
        "grace_time": settings.grace_time,
        "memory_limit": settings.memory_limit,
        "max_attempts": settings.max_attempts,
        "log": os.path.join(claim.run_folder, "log.log"),
        "log_limit": settings.log_limit,
        "allocation": dict(allocation),
        "cpus": dict(settings.resources).get("cpus"),
        "environment": {reaper.MARK: f"{claim.run}#{claim.attempt}", VARIABLE: workspace},
        **({REUSE: workspace} if settings.reuse else {}),
        **({INPUTS: list(settings.inputs)} if settings.inputs else {}),
    }
