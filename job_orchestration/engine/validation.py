"""A child that asks every task of some configs whether it is content: before anything is queued.

The request and the answers are files, one JSON object a line and a config each, so that a `validate` that
kills its process is known by the answer that is missing, and harms no other config.
"""

from __future__ import annotations

import json
import os
import traceback
from typing import TYPE_CHECKING, Any

from job_orchestration.engine import loading

if TYPE_CHECKING:
    from job_orchestration.engine.messages import Message


def answer(order: Message) -> int:
    """Answer a request file line by line; each answer is whole in the reply file before the next begins."""
    with open(order["request"], encoding="utf-8") as request:
        lines = request.readlines()
    reply = os.open(order["reply"], os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    for line in lines:
        question = json.loads(line)
        findings = [
            [index, what]
            for index, task in enumerate(question["tasks"])
            for what in _findings({**question["values"], **task}, ask=question["ask"])
        ]
        os.write(reply, json.dumps({"number": question["number"], "findings": findings}).encode() + b"\n")
    os.close(reply)
    return 0


def _findings(task: dict[str, Any], *, ask: bool) -> list[str]:
    """What is wrong with one task; with `ask` its own `validate` is called as well."""
    try:
        kind = loading.resolve(str(task["method"]))
    except LookupError as error:
        return [str(error.args[0])]
    if not ask:
        return []
    try:
        found = kind(task).validate() if hasattr(kind, "validate") else []
        if isinstance(found, str):
            return [found]
        return [str(what) for what in found or ()]
    except BaseException as error:  # noqa: BLE001  # whatever a user's code raises is a finding
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(frame.filename)}:{frame.lineno}"
        return [f"its validate() raised {type(error).__name__}: {error} ({where})"]
