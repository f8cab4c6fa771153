"""`check` as a command: what `ready` would say about some files, without queueing them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from job_orchestration.actions.check import Check, drops_in
from job_orchestration.files import intake
from job_orchestration.model.errors import UsageError
from job_orchestration.model.problem import Problem, escaped
from job_orchestration.rules import naming

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_orchestration.files.intake import Drop
    from job_orchestration.files.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found on a file."""

    file: str
    run: str | None
    """The output folder that it would get."""
    commit: str | None
    """The commit that it would be pinned to."""
    problems: tuple[Problem, ...]

    @property
    def is_fine(self) -> bool:
        """Whether it would be queued."""
        return not any(p.is_error for p in self.problems)


def examine(workspace: Workspace, files: Sequence[str] = ()) -> list[Examined]:
    """Look at configs in every way that `ready` does.

    Args:
        workspace: with all its folders in place.
        files: where the configs lie; everything in ConfigSources when there are none.

    Raises:
        UsageError: when a file does not exist.
    """
    drops, refused = _taken_in(files) if files else _dropped(workspace)
    check = Check(workspace)
    try:
        candidates = check.examine(drops)
    finally:
        check.close()
    found = [
        Examined(c.drop.filename, c.run or None, c.code.commit if c.code else None, tuple(c.problems))
        for c in candidates
    ]
    found += [Examined(file, None, None, tuple(problems)) for file, problems in refused.items()]
    return sorted(found, key=lambda e: e.file)


def _dropped(workspace: Workspace) -> tuple[list[Drop], dict[str, list[Problem]]]:
    drops, refused, unsettled = drops_in(workspace, lambda _name, _status: True)
    return drops, {**refused, **{name: [_unsettled(name)] for name in unsettled}}


def _taken_in(files: Sequence[str]) -> tuple[list[Drop], dict[str, list[Problem]]]:
    drops: list[Drop] = []
    refused: dict[str, list[Problem]] = {}
    for file in files:
        folder, name = os.path.split(os.path.abspath(file))
        if not os.path.lexists(file):
            raise UsageError(f"There is no file {escaped(file)}", "Name a config, or none for ConfigSources")
        fault = naming.stem_problem(name)
        taken = intake.take_in(Path(folder), name, settled=lambda _: True)
        if fault is not None:
            refused[name] = [Problem(name, fault.what, fault.todo)]
        elif taken is None or isinstance(taken, Problem):
            refused[name] = [taken or _unsettled(name)]
        else:
            drops.append(taken)
    return drops, refused


def _unsettled(name: str) -> Problem:
    return Problem(name, "somebody is still writing this file", "Look again when it is whole")
