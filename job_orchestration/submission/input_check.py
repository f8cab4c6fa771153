"""The check of a batch's inputs: whether each path and glob names a file that can be read."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from job_orchestration.config.settings import settings_of
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.runs import input_files
from job_orchestration.submission.candidate import guarded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_orchestration.submission.candidate import Candidate


def check(candidates: Sequence[Candidate]) -> None:
    """Add a problem for each of the inputs that is missing; each is looked for once."""
    known: dict[tuple[str, str], bool] = {}
    for candidate in candidates:
        if candidate.checked.values.get("inputs"):
            guarded([candidate], functools.partial(_check_inputs, candidate, known))


def _check_inputs(candidate: Candidate, known: dict[tuple[str, str], bool]) -> None:
    written = candidate.checked.values["inputs"]
    base = _base_of(candidate)
    for pattern in settings_of({"inputs": written}).inputs:
        key = f"inputs[{written.index(pattern)}]" if isinstance(written, list) else "inputs"
        is_relative = not os.path.isabs(os.path.expanduser(pattern))
        if is_relative and base is None:
            if candidate.checked.path_to_tasks is None:
                todo = "Write an absolute path, or ~ for a home folder"
                candidate.add(
                    f"{escaped(pattern)} is a relative path, and there is no pathToTasks", todo, key
                )
            continue  # else its code has a problem of its own
        if (base or "", pattern) not in known:
            known[base or "", pattern] = input_files.names_something(pattern, base or "/")
        if not known[base or "", pattern]:
            candidate.add(*_problem(candidate, pattern, is_relative=is_relative), key)


def _base_of(candidate: Candidate) -> str | None:
    """Return where relative inputs begin: where the tasks stand."""
    plan = candidate.plan
    if plan is None or plan.snapshot is None:
        return None
    return os.path.join(plan.snapshot, plan.folder)


def _problem(candidate: Candidate, pattern: str, *, is_relative: bool) -> tuple[str, str]:
    path = os.path.expanduser(pattern)
    shown = escaped(pattern)
    work_tree = candidate.tree.top / candidate.tree.folder if candidate.tree else None
    if is_relative and work_tree is not None and input_files.names_something(pattern, str(work_tree)):
        whole = escaped(os.path.normpath(os.path.join(work_tree, path)))
        return (
            f"the input {shown} is not in the commit, so no task finds it there (is it ignored by git?)",
            f"Write {whole}, or commit it",
        )
    if os.path.exists(path) and not is_relative and os.path.lexists(path):
        return (
            f"the input {shown} cannot be read, or is no file and no folder",
            "Name a file that you may read",
        )
    where = "; a relative path begins at the committed files of pathToTasks" if is_relative else ""
    return f"the input {shown} is not there{where}", "Correct the path, or bring the file"
