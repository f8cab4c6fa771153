"""`check`: validate configs as `ready` does, without queueing them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from job_orchestration.diagnostics.problems import Problem
from job_orchestration.submission import chosen_files, dropped_files, sweep_candidates
from job_orchestration.submission.checker import Checker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.config.config import Json
    from job_orchestration.search.search_settings import Search
    from job_orchestration.submission.candidate import Candidate
    from job_orchestration.submission.dropped_files import Drop
    from job_orchestration.workspace.layout import Workspace


@dataclass(frozen=True, slots=True)
class ExaminedTrial:
    """One trial of a sweep."""

    parameters: Mapping[str, Json]
    run: str | None
    is_new: bool
    """Whether it has no run yet, so that `ready` would queue it."""


@dataclass(frozen=True, slots=True)
class Examined:
    """Result of checking one file."""

    file: str
    run: str | None
    """The output folder it would get."""
    commit: str | None
    """The commit it would be pinned to."""
    problems: tuple[Problem, ...]
    trials: tuple[ExaminedTrial, ...] = ()
    """The trials of a sweep, or the sample trials of a search; empty if it is invalid."""
    search: Search | None = None

    @property
    def is_fine(self) -> bool:
        """Return whether it would be queued."""
        return not any(p.is_error for p in self.problems)


def examine(workspace: Workspace, files: Sequence[str] = ()) -> list[Examined]:
    """Run all checks of `ready` on configs.

    Args:
        workspace: with all its folders in place.
        files: configs, by path, or by name or glob in ConfigSources; default: everything there.

    Raises:
        UsageError: if a file does not exist.
    """
    dropped, refused = _read_files(workspace, files) if files else _dropped(workspace)
    check = Checker(workspace)
    try:
        candidates = check.examine(dropped)
    finally:
        check.close()
    found = [_examined(list(family)) for _, family in groupby(candidates, lambda c: id(c.drop))]
    found += [Examined(file, None, None, tuple(problems)) for file, problems in refused.items()]
    return sorted(found, key=lambda e: e.file)


def _examined(family: Sequence[Candidate]) -> Examined:
    """Combine the candidates of one dropped file: a single one, or the trials of a sweep."""
    first = family[0]
    commit = first.code.commit if first.code else None
    if first.trial is None:
        return Examined(first.drop.filename, first.run or None, commit, tuple(first.problems))
    trials = tuple(ExaminedTrial(c.trial.parameters, c.run or None, not c.there) for c in family if c.trial)
    base = next((os.path.dirname(c.run) for c in reversed(family) if c.run), None)
    problems = tuple(sweep_candidates.problems_of(family))
    search = first.order.search if first.order else None
    return Examined(first.drop.filename, base, commit, problems, trials, search)


def _dropped(workspace: Workspace) -> tuple[list[Drop], dict[str, list[Problem]]]:
    dropped, refused, unsettled = dropped_files.read_all(workspace, lambda _name, _status: True)
    return dropped, {**refused, **{name: [_unsettled(name)] for name in unsettled}}


def _read_files(workspace: Workspace, files: Sequence[str]) -> tuple[list[Drop], dict[str, list[Problem]]]:
    dropped: list[Drop] = []
    refused: dict[str, list[Problem]] = {}
    for chosen in chosen_files.find(workspace, files):
        found = chosen.read()
        if isinstance(found, Problem):
            refused[chosen.name] = [found]
        else:
            dropped.append(found)
    return dropped, refused


def _unsettled(name: str) -> Problem:
    return Problem(name, "this file is still being written", "Look again when it is whole")
