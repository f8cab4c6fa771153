"""The file with the classes of the tasks: is it there, and if not, what may be meant."""

from __future__ import annotations

import os
from typing import Final

from job_orchestration.diagnostics.problems import Fault, escaped
from job_orchestration.workspace.safe_reads import names_in

TASKS: Final = "Tasks.py"


def has_tasks_file(folder: str) -> bool:
    """Return whether a folder has the file."""
    return os.path.isfile(os.path.join(folder, TASKS))


def missing_tasks_file(folder: str, what: str) -> Fault | None:
    """Return the fault of a folder without ``Tasks.py``; `None` if it has one.

    Args:
        folder: the folder to look into.
        what: the sentence about it, without its full stop.
    """
    if has_tasks_file(folder):
        return None
    names = names_in(folder)
    near = next((name for name in names if name.lower() in {"tasks.py", "task.py"}), None)
    if near is not None:
        return Fault(what, f"Did you mean {escaped(near)}? Rename it to {TASKS}")
    below = next((n for n in names if os.path.isfile(os.path.join(folder, n, TASKS))), None)
    if below is not None:
        return Fault(what, f"Did you mean its folder {escaped(below)}? Write that into pathToTasks")
    return Fault(what, f"Let pathToTasks name the folder of your {TASKS}, and commit the file")
