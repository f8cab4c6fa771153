"""Asking the tasks of many configs whether they are content: `ready`'s end of `engine.validation`."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from job_orchestration.model.run import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_orchestration.engine.hosts import Host
    from job_orchestration.model.task import Json

SILENCE_LIMIT: Final = 120.0
"""Seconds that the `validate` methods of one config may take together."""


@dataclass(frozen=True, slots=True)
class Question:
    """One config's tasks; the constructor of each gets the config's values overlaid by the task's own."""

    number: int
    values: dict[str, Json]
    tasks: tuple[dict[str, Json], ...]
    ask: bool
    """Whether to call `validate`, or only to look for the classes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one task."""

    task: int
    """Its index; -1 when it cannot be told which task of the config it was."""
    what: str


def ask(host: Host, questions: Sequence[Question]) -> dict[int, list[Finding]]:
    """Have a host's child answer the questions; one that kills the child is answered by how it died.

    Returns:
        The findings by the question's number; an empty list for a config that is fine.
    """
    answers: dict[int, list[Finding]] = {}
    left = list(questions)
    while left:
        found, end = _ask_once(host, left)
        answers.update(found)
        left = [q for q in left if q.number not in answers]
        if not left:
            break
        answers[left[0].number] = [Finding(-1, end)]
        del left[0]
        if host.is_gone():
            for question in left:
                answers[question.number] = [
                    Finding(-1, "the process that validates was killed. Run ready again")
                ]
            break
    return answers


def _ask_once(host: Host, questions: Sequence[Question]) -> tuple[dict[int, list[Finding]], str]:
    with tempfile.TemporaryDirectory(prefix="job_orchestration.") as folder:
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
            "isolation": "fork",
            "environment": {},
        }
        end = (
            _wait(host, reply)
            if host.begin(order)
            else "the process that validates was killed. Run ready again"
        )
        with open(reply, encoding="utf-8") as file:
            found = [json.loads(line) for line in file if line.endswith("\n")]
        return {a["number"]: [Finding(i, what) for i, what in a["findings"]] for a in found}, end


def _wait(host: Host, reply: str) -> str:
    """Wait for the child's end; returns how the config that it was at ended it."""
    size, since = 0, time.monotonic()
    late = False
    while True:
        message = host.wait(1.0)
        if message is None:
            return "the process that validates was killed. Run ready again"
        if message["event"] == "end":
            break
        if os.path.getsize(reply) > size:
            size, since = os.path.getsize(reply), time.monotonic()
        if not late and time.monotonic() - since > SILENCE_LIMIT:
            late = True
            host.stop(Outcome.TIMEOUT, 1.0)
    if late:
        return f"its validate() took longer than {SILENCE_LIMIT:.0f} s and was stopped"
    code = int(message["code"])
    last = _last_line(os.path.join(os.path.dirname(reply), "log"))
    if code < 0:
        return f"its validate() crashed ({signal.Signals(-code).name}){last}"
    return f"its validate() ended the process with exit code {code}{last}"


def _last_line(log: str) -> str:
    """What the child said last, as the end of a sentence."""
    with open(log, encoding="utf-8", errors="replace") as file:
        lines = file.read()[-10_000:].split("\n")
    said = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f", and said last: {said[:200]}" if said else ""
