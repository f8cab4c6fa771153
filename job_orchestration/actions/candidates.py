"""Candidates: drops on their way to the queue, with everything that was found on them so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from job_orchestration.model.problem import Problem, Severity

if TYPE_CHECKING:
    from job_orchestration.engine.loading import CodePlan
    from job_orchestration.files.intake import Drop
    from job_orchestration.files.searches import Order
    from job_orchestration.files.worktree import WorkTree
    from job_orchestration.model.config import Config
    from job_orchestration.model.event import Code
    from job_orchestration.model.sweep import Trial
    from job_orchestration.rules.checking import Checked


@dataclass(slots=True)
class Candidate:
    """A run that may be: a drop, or one trial of the sweep that a drop is."""

    drop: Drop
    checked: Checked
    problems: list[Problem] = field(default_factory=list)
    code: Code | None = None
    tree: WorkTree | None = None
    plan: CodePlan | None = None
    run: str = ""
    after: tuple[str, ...] = ()
    """The runs that must have completed before it is claimed."""
    trial: Trial | None = None
    label: str = ""
    """The trial's name: that of its folder in the sweep's."""
    there: bool = False
    """Whether this trial has a run already, which is then `run`."""
    order: Order | None = None
    """The search, for a trial that it is tried out with."""

    @property
    def config(self) -> Config | None:
        """The config, as long as nothing was found that keeps it from being queued."""
        return None if any(p.is_error for p in self.problems) else self.checked.config

    def add(self, what: str, todo: str = "", key: str = "", severity: Severity = Severity.ERROR) -> None:
        """Note a finding at the place of a key."""
        line, column = self.checked.place(key) if key else (0, 0)
        self.problems.append(Problem(self.drop.filename, what, todo, key, line, column, severity))
