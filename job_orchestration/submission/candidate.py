"""A candidate: a dropped file on its way to the queue, with its problems so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from job_orchestration.diagnostics.problems import Problem, Severity, escaped
from job_orchestration.workspace import failures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from job_orchestration.code.task_importer import CodePlan
    from job_orchestration.code.work_tree import WorkTree
    from job_orchestration.config.config import Config
    from job_orchestration.config.validation import Checked
    from job_orchestration.runs.events import Code, Trial
    from job_orchestration.search.searches import SearchOrder
    from job_orchestration.submission.dropped_files import Drop


@dataclass(slots=True)
class Candidate:
    """A possible run: a dropped file, or one trial of its sweep."""

    drop: Drop
    checked: Checked
    problems: list[Problem] = field(default_factory=list)
    code: Code | None = None
    tree: WorkTree | None = None
    plan: CodePlan | None = None
    run: str = ""
    after: tuple[str, ...] = ()
    """The runs that must be completed before this one is claimed."""
    trial: Trial | None = None
    label: str = ""
    """The name of the trial's folder in the sweep's folder."""
    there: bool = False
    """Whether this trial has a run already, named by `run`."""
    is_slow: bool = False
    """Whether its tasks are still being imported or validated; it is checked again after the others."""
    left_out: str = ""
    """Why this trial is left out of its sweep; empty if it is not."""
    beside: tuple[tuple[str, str], ...] = ()
    """The trials of its sweep that are left out, each by its label, with the reason."""
    order: SearchOrder | None = None
    """The search, if this is one of the trials that check it."""

    @property
    def config(self) -> Config | None:
        """The config; `None` if a problem prevents it from being queued."""
        return None if any(p.is_error for p in self.problems) else self.checked.config

    def add(self, what: str, todo: str = "", key: str = "", severity: Severity = Severity.ERROR) -> None:
        """Add a problem at the position of a key."""
        line, column = self.checked.place(key) if key else (0, 0)
        self.problems.append(Problem(self.drop.filename, what, todo, key, line, column, severity))


def guarded(candidates: Iterable[Candidate], call: Callable[[], object]) -> None:
    """Run a step of some candidates; if it fails, only they are refused.

    Raises:
        OSError: if the disk or the machine failed, which every other candidate would meet as well.
    """
    try:
        call()
    except Exception as error:
        if failures.concerns_all(error):
            raise
        problem = failure(error)
        for candidate in candidates:
            candidate.add(*problem)


def failure(error: Exception) -> tuple[str, str]:
    """Return what is wrong with a config whose check or opening failed, and what to do about it."""
    what = f"it cannot be queued: {escaped(failures.reason_of(error))[:500]}"
    if isinstance(error, OSError):
        return what, "See whose that is, and choose another place or name"
    return what, "Take out what is unusual in it; if you think that it is right, report it with the config"
