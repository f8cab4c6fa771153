"""Have the tasks of many configs validated: the client of `executor.task_validation`."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from job_orchestration.executor import exhaustion
from job_orchestration.executor.silence import STANDSTILL
from job_orchestration.runs.events import Outcome
from job_orchestration.workspace import temporary_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from job_orchestration.config.config import Json
    from job_orchestration.executor.fork_server_client import ForkServerClient

SILENCE_LIMIT: Final = 120.0
"""Seconds that the `validate` methods of one config may take together."""
_LOG_LIMIT: Final = 1 << 22
"""Bytes that are kept of what the tasks print: a `validate` may print without end."""
_KILLED: Final = "the process that validates was killed. Run ready again"
_STOPPED: Final = "its validate() stopped the process that validates, which did not answer for a minute"


@dataclass(frozen=True, slots=True)
class Question:
    """One config's tasks; the constructor of each gets the config's values overlaid by the task's own."""

    number: int
    values: dict[str, Json]
    tasks: tuple[dict[str, Json], ...]
    ask: bool
    """Whether to call `validate`, or only to find the classes."""


@dataclass(frozen=True, slots=True)
class TaskFault:
    """One fault of one task."""

    task: int
    """Its index; -1 if unknown."""
    what: str
    key: str = ""
    """The key that it is about; empty if unknown."""
    is_warning: bool = False
    """Whether the config is queued in spite of it."""
    leaves_out: bool = False
    """Whether a trial of a sweep is left out because of it, and the others are queued."""


def ask(
    fork_server: ForkServerClient,
    questions: Sequence[Question],
    limit: float | None = None,
    waiting: Callable[[], object] = lambda: None,
) -> dict[int, list[TaskFault]]:
    """Have a child of a fork server answer the questions; if one kills the child, its answer says how.

    Args:
        fork_server: it has imported the tasks.
        questions: one for each config.
        limit: seconds that one config's `validate` methods may take; `SILENCE_LIMIT` if not given.
        waiting: called about every second.

    Returns:
        The faults by the number of the question; an empty list for a valid config.
    """
    answers: dict[int, list[TaskFault]] = {}
    left = list(questions)
    while left:
        found, end = _ask_once(fork_server, left, SILENCE_LIMIT if limit is None else limit, waiting)
        answers.update(found)
        left = [q for q in left if q.number not in answers]
        if not left:
            break
        answers[left[0].number] = [TaskFault(-1, end)]
        del left[0]
        if fork_server.is_gone():
            for question in left:
                answers[question.number] = [TaskFault(-1, _KILLED)]
            break
    return answers


def _ask_once(
    fork_server: ForkServerClient, questions: Sequence[Question], limit: float, waiting: Callable[[], object]
) -> tuple[dict[int, list[TaskFault]], str]:
    with tempfile.TemporaryDirectory(prefix=temporary_files.SYSTEM_PREFIX) as folder:
        request, reply, log = (os.path.join(folder, name) for name in ("request", "reply", "log"))
        with open(request, "w", encoding="utf-8") as file:
            for question in questions:
                line = {name: getattr(question, name) for name in question.__slots__}
                file.write(json.dumps(line) + "\n")
        with open(reply, "wb"):
            pass
        order = {
            "kind": "validate",
            "request": request,
            "reply": reply,
            "log": log,
            "log_limit": _LOG_LIMIT,
            "isolation": "fork",
            "environment": {},
        }
        end = _wait(fork_server, reply, limit, waiting) if fork_server.begin(order) else _KILLED
        with open(reply, encoding="utf-8") as file:
            found = [json.loads(line) for line in file if line.endswith("\n")]
        return {a["number"]: [TaskFault(*one) for one in a["faults"]] for a in found}, end


def _wait(fork_server: ForkServerClient, reply: str, limit: float, waiting: Callable[[], object]) -> str:
    """Wait for the end of the child; return how the config that it validated ended it."""
    size, since = 0, time.monotonic()
    late = False
    while True:
        message = fork_server.wait(1.0)
        waiting()
        if message is None:
            return _KILLED
        if message["event"] == "exhausted":
            raise exhaustion.ExhaustedError(message["error"], os.strerror(message["error"]))
        if message["event"] == "end":
            break
        if fork_server.silence.seconds() >= STANDSTILL:
            fork_server.kill()
            return _STOPPED
        if os.path.getsize(reply) > size:
            size, since = os.path.getsize(reply), time.monotonic()
        if not late and time.monotonic() - since > limit:
            late = True
            fork_server.stop(Outcome.TIMEOUT, 1.0)
    if late:
        from job_orchestration.diagnostics import durations

        return f"its validate() took longer than {durations.text_of(limit)} and was stopped"
    code = int(message["code"])
    last = _last_line(os.path.join(os.path.dirname(reply), "log"))
    if code < 0:
        return f"its validate() crashed ({signal.Signals(-code).name}){last}"
    return f"its validate() ended the process with exit code {code}{last}"


def _last_line(log: str) -> str:
    """The last line that the child printed, as the end of a sentence."""
    with open(log, encoding="utf-8", errors="replace") as file:
        lines = file.read()[-10_000:].split("\n")
    said = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f", and said last: {said[:200]}" if said else ""
