"""Validate every task of some configs in a child, before any of them is queued.

The request and the answers are files, one JSON object a line and a config each, so that a `validate` that
kills its process is recognised by the missing answer, and harms no other config.
"""

from __future__ import annotations

import json
import os
import re
import traceback
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.code import task_importer
from job_orchestration.config import elements
from job_orchestration.executor import process_exit, task_call, task_folder
from job_orchestration.runs import kept_values
from job_orchestration.TaskBase import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.executor.messages import Message
    from job_orchestration.executor.task_folder import TaskFolder

_MOST_ELEMENTS: Final = 10_000
"""Elements of a mapped task that are validated."""
_MOST_SENTENCES: Final = 5
"""Sentences about elements after which no more are asked for."""
_FIRST_WORD: Final = re.compile(r"[\"'`]?([\w-]+)")


def answer(order: Message, folder: TaskFolder) -> int:
    """Answer a request file line by line; each answer is written in full before the next begins.

    The tasks stand in a working folder that is thrown away, and those of each config find it as new.
    """
    base, number = task_folder.base_of(order), 0
    folder.enter(base)
    touched = folder.touched(base)
    with open(order["request"], encoding="utf-8") as request:
        lines = request.readlines()
    own = os.getpid()
    reply = os.open(order["reply"], os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    for line in lines:
        question = json.loads(line)
        if folder.touched(base) != touched:
            number += 1
            base = f"{task_folder.base_of(order)}~{number}"
            folder.enter(base)
            touched = folder.touched(base)
        else:
            folder.enter_again(base)
        faults = [
            [index, *fault]
            for index, task in enumerate(question["tasks"])
            for fault in _faults(question["values"], task, own, ask=question["ask"])
        ]
        os.write(reply, json.dumps({"number": question["number"], "faults": faults}).encode() + b"\n")
    os.close(reply)
    return 0


def _faults(
    values: dict[str, Any], entry: dict[str, Any], own: int, *, ask: bool
) -> list[tuple[str | bool, ...]]:
    """The faults of one task, each with the fields of a `TaskFault`; `ask` calls its `validate` too."""
    task = {**values, **entry}
    try:
        kind = task_importer.resolve(str(task["method"]))
    except LookupError as error:
        return [(str(error.args[0]), "method", False)]
    if fault := task_call.fault_of(kind):
        return [(fault, "method", False)]
    if not ask:
        return []
    try:
        sentences = sentences_about(kind, task, entry)
        process_exit.end_if_fork(own)
        return [
            (str(what), key_in(str(what), task), isinstance(what, Warning), isinstance(what, NotApplicable))
            for what in sentences
        ]
    except BaseException as error:  # noqa: BLE001  # any exception of a user's code is a fault
        process_exit.end_if_fork(own, error)
        if known := task_importer.explanation(error):
            return [(known, "", False)]
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(frame.filename)}:{frame.lineno}"
        return [(f"its validate() raised {type(error).__name__}: {error} ({where})", "", False)]


def sentences_about(kind: type[Any], task: dict[str, Any], entry: Mapping[str, Any]) -> list[object]:
    """Call the `validate` of a task; of a mapped one for each element that the config itself has.

    Args:
        kind: its class.
        task: its config.
        entry: its entry in the config.
    """
    if elements.given(entry) is None:
        return sentences_of(kind(task))
    base, spread = elements.without(task), not getattr(kind, "is_function", False)
    found: list[object] = []
    for index, element in enumerate((elements.listed(elements.given(entry)) or ())[:_MOST_ELEMENTS]):
        own = elements.values_for(
            kept_values.copy_of(base), kept_values.copy_of(element), index, spread=spread
        )
        for sentence in sentences_of(kind(own)):
            text = f"element {index}: {sentence}"
            found.append(UserWarning(text) if isinstance(sentence, Warning) else text)
        if len(found) >= _MOST_SENTENCES:
            break
    return found


def sentences_of(task: object) -> list[object]:
    """Call a task's `validate`, if it has one; return its sentences, of which a `Warning` refuses nothing."""
    found: Any = task.validate() if hasattr(task, "validate") else []
    if isinstance(found, Coroutine):
        found = task_call.awaited(found)
    return [found] if isinstance(found, str | Warning) else list(found or ())


def key_in(sentence: str, task: Mapping[str, Any]) -> str:
    """Return the key that a sentence begins with, as in "epochs must be positive"; empty if none."""
    word = _FIRST_WORD.match(sentence)
    return word[1] if word and word[1] in task else ""
