"""Check a batch of dropped files without queueing them.

The checks are a list of steps: pin the code, choose the output folders, ask the tasks, check the
recipients, resolve ``after``. Each step adds to the candidates what the next one needs. A problem of one
step does not stop the next, as far as it can still check: all problems of a file are reported in one pass,
and a bad file never stops the others. Costs per repository are paid once a batch: one look at the work tree,
one pin, one fork server. Several repositories are imported and validated side by side.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from job_orchestration.config import workspace_defaults
from job_orchestration.config.validation import Checked
from job_orchestration.diagnostics.problems import Problem
from job_orchestration.submission import (
    dependencies,
    input_check,
    left_out_trials,
    output_folders,
    recipient_check,
    sweep_candidates,
    task_check,
)
from job_orchestration.submission.candidate import Candidate, failure
from job_orchestration.submission.code_pinning import CodePinning
from job_orchestration.submission.validation_lanes import ValidationLanes
from job_orchestration.workspace import layout, locks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from job_orchestration.config.config import Json
    from job_orchestration.submission.dropped_files import Drop
    from job_orchestration.workspace.layout import Workspace


class Checker:
    """Check one batch after another; warm fork servers and pins are kept between batches.

    Args:
        workspace: with all its folders in place.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._lanes = ValidationLanes(workspace, locks.say)
        self._code = CodePinning(workspace)

    def close(self) -> None:
        """End the fork servers."""
        self._lanes.close()

    def start_pass(self) -> None:
        """Start a pass: its batches all use the state that each repository has now."""
        self._code.start_pass()
        self._lanes.start_pass()

    def examine(
        self, dropped: Sequence[Drop], *, alone: bool = True, may_be_slow: bool = False
    ) -> list[Candidate]:
        """Run all checks on some dropped files; each candidate returns with all its problems.

        Args:
            dropped: the files.
            alone: whether no other files wait for these.
            may_be_slow: whether to return the candidates whose tasks are imported or validated slowly as slow
                if others wait; they have to be checked again, which begins nothing twice.
        """
        defaults, problems = workspace_defaults.defaults(self.workspace, check_keys=True)
        if "sweep" in defaults:
            todo = "Write it into the config that it is for"
            problems.append(Problem(layout.DEFAULTS, "a sweep is no default", todo, "sweep"))
        candidates = [c for drop in dropped for c in _candidates_of(drop, defaults)]
        for candidate in candidates:
            candidate.problems += problems
        for step in self._steps(defaults, alone=alone, may_be_slow=may_be_slow):
            step(candidates)
        for candidate in candidates:
            candidate.problems.sort(key=lambda p: (p.line, p.column))
        return candidates

    def _steps(
        self, defaults: Mapping[str, Json], *, alone: bool, may_be_slow: bool
    ) -> Sequence[Callable[[list[Candidate]], None]]:
        return (
            functools.partial(self._code.pin, alone=alone, may_be_slow=may_be_slow),
            functools.partial(output_folders.choose, self.workspace),
            functools.partial(
                task_check.check, self.workspace, self._lanes, alone=alone, may_be_slow=may_be_slow
            ),
            left_out_trials.take_out,
            input_check.check,
            functools.partial(recipient_check.check, defaults=defaults),
            functools.partial(dependencies.resolve, self.workspace),
        )


def _candidates_of(drop: Drop, defaults: Mapping[str, Json]) -> list[Candidate]:
    """Return the candidates of a dropped file; a single one with a problem if it cannot be parsed."""
    try:
        return sweep_candidates.candidates_of(drop, defaults)
    except Exception as error:  # noqa: BLE001  # whatever one file holds, the others are queued
        refused = Candidate(drop, Checked(None, (), {}, (), None))
        refused.add(*failure(error))
        return [refused]
