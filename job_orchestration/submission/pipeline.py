"""One pass over ``ConfigSources``: read, check, pin, and open runs."""

from __future__ import annotations

import functools
import json
import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from job_orchestration.code import commits, provenance
from job_orchestration.code.provenance import Provenance
from job_orchestration.code.snapshots import CodeStore
from job_orchestration.config import json_floats
from job_orchestration.diagnostics.plurals import counted
from job_orchestration.diagnostics.problems import Problem
from job_orchestration.runs import cache_maintenance, environments, opening, queued_sources, trash
from job_orchestration.search import searches
from job_orchestration.search.driver import SearchDriver
from job_orchestration.submission import (
    acceptance,
    dependencies,
    dropped_files,
    left_out_trials,
    output_folders,
    run_inputs,
    sweep_candidates,
)
from job_orchestration.submission.candidate import failure, guarded
from job_orchestration.submission.reports import Queued, Report
from job_orchestration.workspace import clock, failures, naming, problems_file

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from job_orchestration.code.commits import CommitDetails
    from job_orchestration.config.config import Config, Json
    from job_orchestration.runs.queued_sources import Source
    from job_orchestration.submission.candidate import Candidate
    from job_orchestration.submission.checker import Checker
    from job_orchestration.submission.dropped_files import Drop
    from job_orchestration.workspace.layout import Workspace

_BATCH: Final = 200
"""Number of runs that are opened in one step, and share its sync."""


def ready_drops(
    workspace: Workspace,
    check: Checker,
    settled: Callable[[str, os.stat_result], bool],
    *,
    closed_is_whole: bool = False,
    only: Container[str] | None = None,
) -> Report:
    """Run one pass over ConfigSources.

    Args:
        workspace: the workspace.
        check: checks the files that were read.
        settled: returns whether a file of a name and status has been at rest long enough.
        closed_is_whole: whether a file that no process has open for writing needs no rest.
        only: names of the files to take; default: all configs.
    """
    report = Report()
    check.start_pass()
    with opening.only_one(workspace):
        report.notes += opening.recover(workspace)
        known = queued_sources.left(workspace)
    dropped, report.refused, report.unsettled = dropped_files.read_all(
        workspace, settled, closed_is_whole=closed_is_whole, only=only
    )
    dropped = _without_queued(dropped, known, report)
    dropped = list(dependencies.in_order(dropped))
    late = dependencies.deferred(workspace, dropped, report.unsettled)
    report.unsettled += late
    _ready_all(workspace, check, [drop for drop in dropped if drop.filename not in late], report)
    _write_problems(workspace, report)
    return report


def ready_submitted(workspace: Workspace, check: Checker, submitted: Sequence[Drop]) -> Report:
    """Run one pass over configs that lie in no folder, because a program submits them.

    Args:
        workspace: the workspace.
        check: checks the configs.
        submitted: the configs, each with a name of its own.

    Returns:
        The report; unsettled are the configs whose output folder another process has taken meanwhile.
    """
    report = Report()
    check.start_pass()
    _ready_all(workspace, check, dependencies.in_order(submitted), report)
    return report


def _ready_all(workspace: Workspace, check: Checker, dropped: Sequence[Drop], report: Report) -> None:
    slow: list[Drop] = []
    alone = len(dropped) <= _BATCH
    for start in range(0, len(dropped), _BATCH):
        batch = dropped[start : start + _BATCH]
        # without the lock: it may take minutes
        candidates = check.examine(batch, alone=alone, may_be_slow=True)
        late = _slow_among(workspace, batch, candidates, slow)
        slow += late
        _ready_checked(workspace, [c for c in candidates if c.drop not in late], report)
    for start in range(0, len(slow), _BATCH):
        _ready_checked(workspace, check.examine(slow[start : start + _BATCH]), report)


def _slow_among(
    workspace: Workspace, batch: Sequence[Drop], candidates: Sequence[Candidate], before: Sequence[Drop]
) -> list[Drop]:
    """Return the files whose imports are slow, and those that depend on them or on earlier ones."""
    slow = [*(drop.filename for drop in before), *(c.drop.filename for c in candidates if c.is_slow)]
    late = {*slow, *dependencies.deferred(workspace, batch, slow, also_refused=True)} if slow else set()
    return [drop for drop in batch if drop.filename in late]


def _ready_checked(workspace: Workspace, candidates: Sequence[Candidate], report: Report) -> None:
    """Queue the candidates that are still fit."""
    if candidates:
        with opening.only_one(workspace):
            report.notes += opening.recover(workspace)
            fit = _still_fit(workspace, candidates, report)
            _ready_batch(workspace, fit, opening.taken_stems(workspace), report)


def _still_fit(workspace: Workspace, candidates: Sequence[Candidate], report: Report) -> list[Candidate]:
    """Return the candidates for which still holds what was checked without the lock.

    A file that another process has queued meanwhile is gone. The others are left for the next pass.
    """
    families: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        families.setdefault(candidate.drop.filename, []).append(candidate)
    left = []
    for filename, family in families.items():
        path = os.path.join(workspace.sources, filename)
        is_fine = all(candidate.config is not None for candidate in family)
        holds = family[0].drop.is_still(path)
        if holds and is_fine:
            with suppress(OSError):  # opening it meets the same error, and refuses it
                holds = output_folders.still_hold(workspace, family)
        if not holds:
            left.append(filename)
    late = dependencies.deferred(workspace, [f[0].drop for f in families.values()], left) if left else []
    out = {*left, *late}
    report.unsettled += [
        f
        for f, family in families.items()
        if f in out and (family[0].drop.is_submitted or os.path.lexists(os.path.join(workspace.sources, f)))
    ]
    fit = [candidate for candidate in candidates if candidate.drop.filename not in out]
    dependencies.resolve(workspace, fit)
    for candidate in fit:
        candidate.problems[:] = dict.fromkeys(candidate.problems)
    return fit


def _ready_batch(
    workspace: Workspace, candidates: Sequence[Candidate], taken: set[str], report: Report
) -> None:
    fine: list[Candidate] = []
    families: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        if candidate.config is not None and not candidate.there and candidate.order is None:
            guarded([candidate], functools.partial(_clear_output, workspace, candidate))
        if candidate.trial is not None:
            families.setdefault(candidate.drop.filename, []).append(candidate)
        else:
            fine.append(candidate)
    _open(workspace, fine, taken, report)
    for filename, family in families.items():
        if all(c.config is not None for c in family):
            queue = _ready_sweep if family[0].order is None else _ready_search
            guarded(family[:1], functools.partial(queue, workspace, family, taken, report))
        if any(c.config is None for c in family):
            report.refused[filename] = sweep_candidates.problems_of(family)


def _without_queued(dropped: Sequence[Drop], known: Mapping[Source, str], report: Report) -> list[Drop]:
    """Refuse the files that were queued before and cannot be removed; return the others."""
    fresh = []
    for drop in dropped:
        run = queued_sources.is_among(drop.source, known) if known else None
        if run is None:
            fresh.append(drop)
        else:
            what = f"it was queued as {run}, and cannot be removed from ConfigSources"
            report.refused[drop.filename] = [
                Problem(drop.filename, what, "Remove it; it is not queued again")
            ]
    return fresh


def _ready_sweep(workspace: Workspace, family: Sequence[Candidate], taken: set[str], report: Report) -> None:
    """Queue the trials of a sweep that have no run yet, and remove its file."""
    fresh = [candidate for candidate in family if not candidate.there]
    for start in range(0, len(fresh), _BATCH):
        _open(workspace, fresh[start : start + _BATCH], taken, report)
    if any(candidate.config is None for candidate in family):
        return  # the trials that could be opened stay queued, and are not queued again
    left_out_trials.record(workspace, family)
    _remove_source(workspace, family[0].drop, os.path.dirname(family[0].run))
    if len(fresh) < len(family):
        there = len(family) - len(fresh)
        report.notes.append(
            f"{family[0].drop.filename}: {there} of its {counted(len(family), 'trial')} have runs already;"
            f" {len(fresh) or 'none'} {'was' if len(fresh) == 1 else 'were'} queued"
        )
    if not family[0].drop.is_submitted:
        problems_file.clear_problems(Path(workspace.sources), family[0].drop.filename)


def _remove_source(workspace: Workspace, drop: Drop, run: str) -> None:
    if not drop.is_submitted:
        queued_sources.remove(workspace, {drop.source: run})


def _ready_search(workspace: Workspace, family: Sequence[Candidate], _: set[str], report: Report) -> None:
    """Start a search or continue it: open its first trials; workers open the others."""
    candidate = family[0]
    order, config = candidate.order, candidate.config
    assert order is not None, "a search has an order"
    assert config is not None, "it is fine"
    common = json.loads(_provenance(workspace, candidate, "", 0))
    order = replace(
        order, values=_values_of(workspace, candidate, config), code=candidate.code, provenance=common
    )
    is_new = searches.write(workspace, order)
    _remove_source(workspace, candidate.drop, order.base)
    SearchDriver(workspace, report.notes.append).advance_one(order)
    if is_new:
        report.queued.append(Queued(candidate.drop.filename, order.base, "", tuple(candidate.problems)))
    else:
        report.notes.append(
            f"{candidate.drop.filename}: the search {order.name} goes on, to {order.search.n} trials"
        )


def _open(workspace: Workspace, candidates: Sequence[Candidate], taken: set[str], report: Report) -> None:
    openings: list[opening.Opening] = []
    for candidate in candidates:
        if candidate.config is None:
            continue
        guarded([candidate], lambda c=candidate: openings.append(_opening(workspace, c, taken)))  # type: ignore[misc]
    of_run = {candidate.run: candidate for candidate in candidates}

    def refuse(one: opening.Opening, error: OSError) -> None:
        of_run[one.run].add(*failure(error))

    announce = acceptance.announcer(workspace, openings)
    opened = opening.open_runs(workspace, openings, may_wait=True, refuse=refuse, before_queued=announce)
    cache_maintenance.note_opened(workspace, "ready", opened)
    for one in opened:
        candidate = of_run[one.run]
        queued = Queued(
            candidate.drop.filename,
            candidate.run,
            os.path.basename(one.path),
            tuple(candidate.problems),
            candidate.trial,
            candidate.code.commit if candidate.code else None,
        )
        report.queued.append(queued)
    for candidate in candidates:
        if candidate.config is None and candidate.trial is None:
            report.refused[candidate.drop.filename] = candidate.problems


def _clear_output(workspace: Workspace, candidate: Candidate) -> None:
    if os.path.lexists(workspace.run_folder(candidate.run)):
        fault = trash.put_away(workspace, candidate.run)
        if fault is not None:
            candidate.add(fault.what, fault.todo, "outputDir")


def _values_of(workspace: Workspace, candidate: Candidate, config: Config) -> dict[str, Json]:
    """Return a config's values, with the names of the runs that it depends on and the paths of its inputs."""
    after: dict[str, Json] = {"after": list(candidate.after)} if candidate.after else {}
    inputs = run_inputs.in_run(workspace, candidate.run, candidate.drop)
    return {**config.values, **after, **inputs}


def _opening(workspace: Workspace, candidate: Candidate, taken: set[str]) -> opening.Opening:
    config = candidate.config
    assert config is not None
    checked = opening.CheckedRun(
        candidate.drop.source,
        candidate.run,
        config.name,
        f"{config.name},{candidate.label}" if candidate.trial else config.name,
        {**_values_of(workspace, candidate, config), "outputDir": candidate.run},
        candidate.code,
        candidate.trial,
        keeps_source=candidate.drop.is_submitted,
        inputs=tuple(path for _, path in candidate.drop.inputs),
    )
    return opening.prepare(checked, taken, functools.partial(_provenance, workspace, candidate))


def _provenance(workspace: Workspace, candidate: Candidate, digest: str, seed: int) -> bytes:
    tree, code = candidate.tree, candidate.code
    repository = candidate.checked.values.get("githubRepository")
    details = _commit_details(workspace, tree.head if tree else code.commit) if code else None
    found = Provenance(
        run=candidate.run,
        config=naming.stem_of(candidate.drop.filename),
        digest=digest,
        readied_at=clock.timestamp(),
        seed=seed,
        commit=code.commit if code else None,
        author=details.author if details else None,
        authored_at=details.date if details else None,
        subject=details.subject if details else None,
        folder=code.folder if code else None,
        work_tree=code.work_tree if code else None,
        branch=tree.branch if tree else None,
        origin=tree.origin if tree else None,
        github_repository=str(repository) if repository is not None else None,
        sweep=candidate.trial.sweep if candidate.trial else None,
        parameters=candidate.trial.parameters if candidate.trial else None,
        dirty=tree.dirty if tree and code and code.commit != tree.head else (),
        argv=provenance.command_line(sys.argv),
        source=run_inputs.source_in_run(candidate.drop, candidate.run),
    )
    own = json_floats.text_of(found.as_json(), indent=1, ensure_ascii=False)
    return f"{own[:-2]},\n{_environment(workspace)[2:]}\n".encode("utf-8", "backslashreplace")


@functools.cache
def _environment(workspace: Workspace) -> str:
    """Return the part of the provenance that all runs queued by this process share, as text."""
    return json.dumps(environments.of_this_process(workspace), indent=1, ensure_ascii=False)


@functools.cache
def _commit_details(workspace: Workspace, commit: str) -> CommitDetails | None:
    return commits.describe_without_imports(CodeStore(Path(workspace.misc)), commit)


def _write_problems(workspace: Workspace, report: Report) -> None:
    folder = Path(workspace.sources)
    changes: dict[str, Callable[[], None]] = {
        filename: functools.partial(problems_file.write_problems, folder, filename, problems)
        for filename, problems in report.refused.items()
    }
    gone = [*(queued.file for queued in report.queued), *_orphans(folder, report.refused)]
    for filename in dict.fromkeys(gone):
        if filename not in changes:
            changes[filename] = functools.partial(problems_file.clear_problems, folder, filename)
    for filename, change in changes.items():
        try:
            change()
        except OSError as error:
            if failures.concerns_all(error):
                raise
            cause = error.strerror or str(error)
            report.notes.append(f"{filename}{naming.PROBLEMS_SUFFIX} cannot be changed: {cause}")


def _orphans(folder: Path, refused: Iterable[str]) -> list[str]:
    """Return the configs that have a problems file and are gone: corrected under another name, or deleted."""
    kept = set(refused)
    named = [
        name.removesuffix(naming.PROBLEMS_SUFFIX)
        for name in os.listdir(folder)
        if name.endswith(naming.PROBLEMS_SUFFIX)
    ]
    return [n for n in named if n not in kept and not os.path.lexists(folder / n)]
