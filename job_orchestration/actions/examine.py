"""`check` as a command: what `ready` would say about some files, without queueing them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from job_orchestration.actions import sweeps
from job_orchestration.actions.check import Check, drops_in
from job_orchestration.files import intake
from job_orchestration.model.errors import UsageError
from job_orchestration.model.problem import Problem, escaped
from job_orchestration.rules import naming

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.actions.candidates import Candidate
    from job_orchestration.files.intake import Drop
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.sweep import Search
    from job_orchestration.model.task import Json


@dataclass(frozen=True, slots=True)
class ExaminedTrial:
    """One trial of a sweep."""

    parameters: Mapping[str, Json]
    run: str | None
    is_new: bool
    """Whether it has no run yet, so that `ready` would queue it."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found on a file."""

    file: str
    run: str | None
    """The output folder that it would get."""
    commit: str | None
    """The commit that it would be pinned to."""
    problems: tuple[Problem, ...]
    trials: tuple[ExaminedTrial, ...] = ()
    """What a sweep expands to, or what a search was tried out with; nothing for one not understood."""
    search: Search | None = None

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
    found = [_examined(list(family)) for _, family in groupby(candidates, lambda c: id(c.drop))]
    found += [Examined(file, None, None, tuple(problems)) for file, problems in refused.items()]
    return sorted(found, key=lambda e: e.file)


def _examined(family: Sequence[Candidate]) -> Examined:
    """What was found on a drop, which is one candidate or the trials of a sweep."""
    first = family[0]
    commit = first.code.commit if first.code else None
    if first.trial is None:
        return Examined(first.drop.filename, first.run or None, commit, tuple(first.problems))
    trials = tuple(ExaminedTrial(c.trial.parameters, c.run or None, not c.there) for c in family if c.trial)
    base = next((os.path.dirname(c.run) for c in reversed(family) if c.run), None)
    problems = tuple(sweeps.problems_of(family))
    search = first.order.search if first.order else None
    return Examined(first.drop.filename, base, commit, problems, trials, search)


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
