"""`rerun`: queue ended runs once more, as new runs in their recorded code, config and seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.commands import changes, selection
from job_orchestration.commands.verify import require_comparable
from job_orchestration.runs import catalog
from job_orchestration.submission import reruns
from job_orchestration.submission.reruns import Wanted
from job_orchestration.workspace import layout
from job_orchestration.workspace.layout import Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.commands.selection import Selection
    from job_orchestration.config.config import Json
    from job_orchestration.diagnostics.problems import Fault, Problem
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.submission.environment_changes import EnvironmentChange
    from job_orchestration.submission.reruns import Rerun
    from job_orchestration.workspace.layout import Workspace

_NOT_HERE: Final = (
    "Rerun it in a workspace of your own: write it with export, and take it over there with import"
)
_UNENDED: Final = changes.Unended(
    not_recorded="no commit and no seed",
    if_first_release="Move its file to ConfigSources, with another outputDir, and ready it",
    if_not_ended="Only a run that has ended can be rerun",
    if_unreadable="Drop its config again",
)


@dataclass(frozen=True, slots=True)
class NewRun:
    """A rerun that is queued, or with a dry run would be."""

    run: str
    original: str
    commit: str | None
    seed: int
    stem: str
    """The stem of its token; empty with a dry run."""
    warnings: tuple[Problem, ...] = ()
    changes: tuple[EnvironmentChange, ...] = ()
    """What is not as it was when the original was executed."""

    def as_json(self) -> dict[str, Any]:
        """Return it as ``rerun --json`` has it."""
        differences = [change.as_json() for change in self.changes]
        own = {"run": self.run, "rerun_of": self.original, "commit": self.commit, "seed": self.seed}
        return {**own, "differences": differences}


@dataclass(frozen=True, slots=True)
class RerunResult:
    """Result of `rerun`, run by run."""

    runs: tuple[NewRun, ...]
    refused: tuple[Problem, ...]
    """Problems of the runs that have no rerun."""
    notes: tuple[str, ...] = ()
    """Sentences about all runs."""

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is to be known about the new runs."""
        return tuple(problem for new in self.runs for problem in new.warnings)


def rerun(
    workspace: Workspace,
    choice: Selection,
    *,
    commit: str | None = None,
    parameters: Mapping[str, Json] | None = None,
    task: str | None = None,
    recorded_environment: bool = False,
    strict: bool = False,
    verify: Mapping[str, Json] | None = None,
    dry_run: bool = False,
) -> RerunResult:
    """Queue a new run for each of some ended runs.

    Args:
        workspace: with all its folders in place.
        choice: which runs; those that have not ended are refused if they are named, and left out otherwise.
        commit: a revision of the tasks' repository, ``HEAD``, ``worktree``, or a commit of the workspace's
            store; the recorded commit if not given.
        parameters: config key, or ``taskId.key``, to its new value.
        recorded_environment: install the recorded packages once for each distinct set, and run with these.
        strict: refuse a run if packages, Python, machine or inputs are not as they were.
        task: take the checkpoints of the tasks before this one from the original, which stays as it is.
        verify: with which ``rtol``, ``atol`` and ``ignore`` the new runs are to be compared with the
            originals once they have completed; `None`: they are not. An original must have completed.
        dry_run: check only; queue nothing.

    Raises:
        UsageError: if a name matches no run, or more than one.
        WorkspaceError: if this user cannot write into the workspace.
        OSError: the disk failed.
    """
    layout.require_writable(workspace, _NOT_HERE)
    records = catalog.entries(workspace)
    _, unsuited = changes.suited(records, choice, _fault_of)
    ended = [r for r in selection.chosen(workspace, records, choice) if _fault_of(r) is None]
    if verify is not None:
        unsuited += require_comparable(ended)
        ended = [record for record in ended if record.place is Place.COMPLETED]
    if task is not None:
        for record in ended:
            changes.insist_on_task(record, task)
    wanted = Wanted(
        commit=commit,
        parameters=parameters or {},
        task=task,
        has_recorded_environment=recorded_environment,
        is_strict=strict,
        verify=verify,
    )
    checked, notes = reruns.check(workspace, ended, wanted)
    done = [r for r in checked if not r.is_refused] if dry_run else reruns.queue(workspace, checked)
    refused = [*unsuited, *(p for r in checked if r.is_refused for p in r.problems if p.is_error)]
    return RerunResult(tuple(map(_new_run, done)), tuple(refused), notes)


def _new_run(found: Rerun) -> NewRun:
    return NewRun(
        found.run,
        found.original,
        found.commit,
        found.state.seed,
        found.stem,
        tuple(found.problems),
        found.changes,
    )


def _fault_of(record: RunRecord) -> Fault | None:
    return changes.fault_unless_ended(record, _UNENDED)
