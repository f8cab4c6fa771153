"""`retry`: resume failed runs from their checkpoint, in the code they were queued with or in another commit.

A run can also resume from an earlier task or start from scratch. The journal records that before any output
is moved to the trash, and the next claim moves what is left. Another commit and other parameters are checked
before any run is touched (`submission.continuation`); the `requeued` event carries them.

A retry is a claim like that of a worker: the token moves to Running as an attempt, the journal gets a
`requeued` event, and the token moves on to ConfigsToRun. A crash in between leaves a token in Running, and
the next worker finishes or resumes that run as its journal says.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from job_orchestration.code import newer_commits
from job_orchestration.code.snapshots import CodeStore
from job_orchestration.commands import changes, selection
from job_orchestration.diagnostics.errors import ClaimLostError
from job_orchestration.diagnostics.problems import Fault, Problem, escaped
from job_orchestration.runs import catalog, claims, lifecycle, provenance_file, status_file, trash
from job_orchestration.runs.events import INTENDED, Requeued
from job_orchestration.submission.continuation import ContinuationChecker
from job_orchestration.workspace.layout import Place
from job_orchestration.workspace.naming import TokenName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.commands.selection import Selection
    from job_orchestration.config.config import Json
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.runs.claims import Claim
    from job_orchestration.runs.state import RunState
    from job_orchestration.workspace.layout import Workspace


@dataclass(frozen=True, slots=True)
class RetryResult:
    """Result of `retry`, run by run."""

    runs: tuple[str, ...]
    """Runs that are waiting in ConfigsToRun now."""
    refused: tuple[Problem, ...]
    """Problems of the other runs."""
    warnings: tuple[Problem, ...] = ()
    """What is to be known about the runs that are waiting."""
    commits: Mapping[str, str] = field(default_factory=dict)
    """Run to the commit in which it continues, if it is another one than before."""
    notes: tuple[str, ...] = ()
    """Sentences about all runs: that there is newer code, or why it was not taken."""


def retry(  # one keyword an option of the command
    workspace: Workspace,
    choice: Selection = selection.EVERYTHING,
    reason: str = "asked to go on",
    *,
    task: str | None = None,
    fresh: bool = False,
    commit: str | None = None,
    parameters: Mapping[str, Json] | None = None,
) -> RetryResult:
    """Queue failed runs again, to resume from their checkpoint.

    Args:
        workspace: with all its folders in place.
        choice: which failed runs; those that were cancelled or pruned only if they are named, or if the
            status ``cancelled`` or ``pruned`` is.
        reason: recorded in the journals.
        task: resume from this task; its checkpoint and all later ones are discarded.
        fresh: start from scratch; the old output goes to the trash.
        commit: a revision of the tasks' repository to continue in, ``HEAD``, ``worktree``, or `TODAY`; the
            code that the run was queued with if not given.
        parameters: config key, or ``taskId.key``, to its new value.

    Raises:
        UsageError: if a name matches no run, or more than one, or a run lacks the task.
        OSError: the disk failed; the remaining runs are unchanged.
    """
    records = catalog.entries(workspace)
    _, unsuited = changes.suited(records, choice, _fault_of)
    failed = [r for r in selection.chosen(workspace, records, choice) if r.place is Place.FAILED]
    notes: list[str] = []
    if not (choice.names or choice.statuses & INTENDED):
        intended = [record for record in failed if record.end in INTENDED]
        failed = [record for record in failed if record.end not in INTENDED]
        if intended:
            which = ",".join(sorted({str(record.end) for record in intended}))
            notes.append(f"Cancelled or pruned runs: {len(intended)}. Retry them with: --status {which}")
    for record in failed:
        if task is not None:
            changes.insist_on_task(record, task)
    event = Requeued(reason, task, fresh)
    known = [record for record in failed if record.state is not None and not record.is_first_release]
    refused = [*unsuited, *(_first_release(record) for record in failed if record.is_first_release)]
    warnings: list[Problem] = []
    events = {record.path: event for record in failed if not record.is_first_release}
    if commit is not None or parameters:
        checker = ContinuationChecker(workspace, commit, parameters or {})
        for found in checker.check(known, event):
            refused += [p for p in found.problems if p.is_error]
            events[found.record.path] = found.event
            if found.is_refused:
                del events[found.record.path]
            else:
                warnings += found.problems
        notes += checker.notes
    else:
        notes += _newer_code(workspace, known)
    checked = RetryResult((), tuple(refused), tuple(warnings), notes=tuple(notes))
    return _requeue(workspace, failed, events, checked)


def _requeue(
    workspace: Workspace, failed: Sequence[RunRecord], events: Mapping[str, Requeued], checked: RetryResult
) -> RetryResult:
    """Queue the runs that have an event, and add to the result what became of them."""
    runs: list[str] = []
    refused = list(checked.refused)
    commits: dict[str, str] = {}
    for record in failed:
        if record.path not in events:
            continue
        event = events[record.path]
        problem = changes.guarded(
            workspace,
            os.path.basename(record.path),
            functools.partial(_retry_one, workspace, record, event),
        )
        if problem is not None:
            refused.append(problem)
            continue
        name = record.run or record.config
        runs.append(name)
        if event.code is not None:
            commits[name] = event.code.commit
    return RetryResult(tuple(runs), tuple(refused), checked.warnings, commits, checked.notes)


def _newer_code(workspace: Workspace, records: Sequence[RunRecord]) -> list[str]:
    """Say that there is newer code than what runs failed in."""
    states = [record.state for record in records]
    pairs = [(s.code.work_tree, s.code.commit) for s in states if s and s.code and s.has_failed_by_error]
    trees = newer_commits.newer_trees(CodeStore(Path(workspace.misc)), pairs)
    return [
        f"{escaped(tree)} has newer code ({head[:12]}); to go on in it, use: retry --commit HEAD"
        for tree, head in trees.items()
    ]


def _fault_of(record: RunRecord) -> Fault | None:
    if record.place is Place.FAILED:
        return None
    todo = "Only a run that gave up can be retried"
    if record.place is Place.COMPLETED:
        todo = f"To run it once more: job-orchestration rerun {escaped(record.run or record.config)}"
    return Fault(f"has not failed: it is {record.place.said}", todo)


def _first_release(record: RunRecord) -> Problem:
    return Problem(
        os.path.basename(record.path),
        "The first Job Orchestration made this run, and it has no checkpoint to go on from",
        "Move the file to ConfigSources, with another outputDir, and ready it",
    )


def _retry_one(workspace: Workspace, record: RunRecord, event: Requeued) -> Problem | None:
    filename = os.path.basename(record.path)
    try:
        claim = claims.claim_briefly(workspace, record.path, "retry")
    except claims.UnfitTokenError as error:
        return error.problem(filename)
    if claim is None:
        return changes.taken_meanwhile(filename)
    try:
        if (event.code or event.parameters) and not _is_as_checked(record.state, claim):
            claim.move(workspace.failed, TokenName(claim.name.stem))
            return Problem(filename, "The run has changed since it was checked", "Retry it again")
        claim.journal.write(event, sync=True)
        state = claim.refold()
        trash.put_output_away(workspace, claim.run, state)
        provenance_file.note_changes(claim.run_folder, state)
        status_file.write_status(claim.run_folder, state)
        claim.move(workspace.to_run, TokenName(claim.name.stem))
    except ClaimLostError as error:
        return Problem(filename, error.what, error.todo)
    finally:
        claim.release()
    return None


def _is_as_checked(state: RunState | None, claim: Claim) -> bool:
    """Return whether a run's journal is still the one that was read for the check."""
    return state is not None and lifecycle.counts_of(claim.earlier) == state.counts
