"""`ready`: check, pin and queue what lies in ConfigSources."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from job_orchestration.actions import predecessors, sweeps
from job_orchestration.actions.check import Check, drops_in
from job_orchestration.engine.searching import Searches
from job_orchestration.files import intake, journal, opening, provenance, searches, token, trash, upkeep
from job_orchestration.model.event import Readied
from job_orchestration.model.provenance import Provenance
from job_orchestration.rules import naming, steering, trials, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from job_orchestration.actions.candidates import Candidate
    from job_orchestration.files.intake import Drop
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.config import Config
    from job_orchestration.model.problem import Problem
    from job_orchestration.model.sweep import Trial
    from job_orchestration.model.task import Json

_BATCH: Final = 200
"""Runs that are opened as one step: what is synced once a batch is shared by so many."""
_REST: Final = 2.0
"""Seconds without any change after which a file counts as whole, if nobody has it open for writing."""
_PATIENCE: Final = 6.0
"""Seconds without any progress that `ready` waits for files that somebody is still writing."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A config that was queued."""

    file: str
    run: str
    token: str
    warnings: tuple[Problem, ...] = ()
    trial: Trial | None = None
    """Which one, for a run of a sweep."""
    commit: str | None = None
    """Of its code; none for a search, whose trials have it."""


@dataclass(slots=True)
class Report:
    """What became of the drops of one go."""

    queued: list[Queued] = field(default_factory=list)
    refused: dict[str, list[Problem]] = field(default_factory=dict)
    unsettled: list[str] = field(default_factory=list)
    """Files that somebody is still writing; they are left for the next time."""
    notes: list[str] = field(default_factory=list)
    """What was mended of an earlier go that was cut short."""


def ready(workspace: Workspace) -> Report:
    """Queue everything in ConfigSources that is fine, and write beside each other file what is wrong with it.

    Raises:
        OSError: what the disk says; nothing is lost by it, and the next `ready` goes on.
    """
    settling = intake.Settling(time.monotonic)

    def at_rest(name: str, status: os.stat_result) -> bool:
        return now - status.st_ctime >= _REST or settling.settled(name, status)

    check = Check(workspace)
    try:
        now = intake.clock_of(workspace.opening)
        report = ready_drops(workspace, check, at_rest)
        deadline = time.monotonic() + _PATIENCE
        while report.unsettled and time.monotonic() < deadline:
            time.sleep(0.25)
            now = intake.clock_of(workspace.opening)
            more = ready_drops(workspace, check, at_rest)
            report.queued += more.queued
            report.refused.update(more.refused)
            for queued in more.queued:
                report.refused.pop(queued.file, None)
            report.notes += more.notes
            if len(more.unsettled) < len(report.unsettled):  # a large batch takes longer than the patience
                deadline = time.monotonic() + _PATIENCE
            report.unsettled = more.unsettled
    finally:
        check.close()
    upkeep.Upkeep(workspace)()
    for filename in report.unsettled:
        report.notes.append(f"{filename} is still being written; it is left for the next time")
    return report


def ready_drops(workspace: Workspace, check: Check, settled: Callable[[str, os.stat_result], bool]) -> Report:
    """One go through ConfigSources; `settled` tells of a file's name and status whether it is at rest."""
    report = Report()
    check.look_anew()
    with opening.only_one(workspace):
        report.notes += opening.recover(workspace)
        drops, report.refused, report.unsettled = drops_in(workspace, settled)
        drops = list(predecessors.in_order(drops))
        late = predecessors.put_off(workspace, drops, report.unsettled)
        report.unsettled += late
        drops = [drop for drop in drops if drop.filename not in late]
        taken = opening.taken_stems(workspace) if drops else set()
        for start in range(0, len(drops), _BATCH):
            _ready_batch(workspace, check, drops[start : start + _BATCH], taken, report)
    _write_problems(workspace, report)
    return report


def _ready_batch(
    workspace: Workspace, check: Check, drops: Sequence[Drop], taken: set[str], report: Report
) -> None:
    fine: list[Candidate] = []
    families: dict[str, list[Candidate]] = {}
    for candidate in check.examine(drops):
        if candidate.config is not None and not candidate.there and candidate.order is None:
            _make_room(workspace, candidate)
        if candidate.trial is not None:
            families.setdefault(candidate.drop.filename, []).append(candidate)
        elif candidate.config is None:
            report.refused[candidate.drop.filename] = candidate.problems
        else:
            fine.append(candidate)
    _open(workspace, fine, taken, report)
    for filename, family in families.items():
        if any(c.config is None for c in family):
            report.refused[filename] = sweeps.problems_of(family)
        elif family[0].order is not None:
            _ready_search(workspace, family[0], report)
        else:
            _ready_sweep(workspace, family, taken, report)


def _ready_sweep(workspace: Workspace, family: Sequence[Candidate], taken: set[str], report: Report) -> None:
    """Queue the trials of a sweep that have no run yet; its file goes when each of them has one."""
    fresh = [candidate for candidate in family if not candidate.there]
    for start in range(0, len(fresh), _BATCH):
        _open(workspace, fresh[start : start + _BATCH], taken, report)
    opening.remove_sources(workspace, [family[0].drop])
    if len(fresh) < len(family):
        there = len(family) - len(fresh)
        report.notes.append(
            f"{family[0].drop.filename}: {there} of its {len(family)} trials have runs already;"
            f" {len(fresh) or 'none'} {'was' if len(fresh) == 1 else 'were'} queued"
        )
    intake.clear_problems(Path(workspace.sources), family[0].drop.filename)


def _ready_search(workspace: Workspace, candidate: Candidate, report: Report) -> None:
    """Begin a search, or go on with it; its first trials are opened, and workers open the others."""
    order, config = candidate.order, candidate.config
    assert order is not None, "a search has an order"
    assert config is not None, "it is fine"
    common = json.loads(_provenance(candidate, "", 0))
    order = replace(order, values=_values_of(candidate, config), code=candidate.code, provenance=common)
    is_new = searches.write(workspace, order)
    opening.remove_sources(workspace, [candidate.drop])
    Searches(workspace, report.notes.append).advance_one(order)
    if is_new:
        report.queued.append(Queued(candidate.drop.filename, order.base, "", tuple(candidate.problems)))
    else:
        report.notes.append(
            f"{candidate.drop.filename}: the search {order.name} goes on, to {order.search.n} trials"
        )


def _open(workspace: Workspace, candidates: Sequence[Candidate], taken: set[str], report: Report) -> None:
    openings = [_opening(candidate, taken) for candidate in candidates]
    opened = opening.open_runs(workspace, openings, may_wait=True)
    upkeep.note_opened(workspace, "ready", opened)
    for candidate, one in zip(candidates, opened, strict=True):
        queued = Queued(
            candidate.drop.filename,
            candidate.run,
            os.path.basename(one.path),
            tuple(candidate.problems),
            candidate.trial,
            candidate.code.commit if candidate.code else None,
        )
        report.queued.append(queued)


def _make_room(workspace: Workspace, candidate: Candidate) -> None:
    if os.path.lexists(workspace.run_folder(candidate.run)):
        fault = trash.put_away(workspace, candidate.run)
        if fault is not None:
            candidate.add(fault.what, fault.todo, "outputDir")


def _values_of(candidate: Candidate, config: Config) -> dict[str, Json]:
    """A config's values, with the names of the runs that it comes after."""
    return {**config.values, **({"after": list(candidate.after)} if candidate.after else {})}


def _opening(candidate: Candidate, taken: set[str]) -> opening.Opening:
    config = candidate.config
    assert config is not None
    values = {**_values_of(candidate, config), "outputDir": candidate.run}
    data = writing.to_yaml(values, comment=f"{token.HEADER}{candidate.run}\n{steering.comment_of(values)}")
    digest = hashlib.sha256(data).hexdigest()
    seed = config.settings.seed
    if seed is None:
        seed = random.SystemRandom().getrandbits(32)
    name = f"{config.name},{candidate.label}" if candidate.trial else config.name
    stem = naming.numbered(trials.bounded(name, naming.MOST_STEM_BYTES), lambda n: n in taken)
    taken.add(stem)
    return opening.Opening(
        candidate.drop,
        candidate.run,
        stem,
        data,
        _provenance(candidate, digest, seed),
        Readied(config.name, digest, values, seed, candidate.code, candidate.trial),
        keeps_source=candidate.trial is not None,
    )


def _provenance(candidate: Candidate, digest: str, seed: int) -> bytes:
    tree, code = candidate.tree, candidate.code
    repository = candidate.checked.values.get("githubRepository")
    found = Provenance(
        run=candidate.run,
        config=naming.stem_of(candidate.drop.filename),
        digest=digest,
        readied_at=journal.now(),
        seed=seed,
        commit=code.commit if code else None,
        folder=code.folder if code else None,
        work_tree=code.work_tree if code else None,
        branch=tree.branch if tree else None,
        origin=tree.origin if tree else None,
        github_repository=str(repository) if repository is not None else None,
        sweep=candidate.trial.sweep if candidate.trial else None,
        parameters=candidate.trial.parameters if candidate.trial else None,
        dirty=tree.dirty if tree and code and code.commit != tree.head else (),
        argv=tuple(sys.argv),
        source=candidate.drop.data.decode("utf-8", "replace"),
    )
    own = json.dumps(found.as_json(), indent=1, ensure_ascii=False)
    return f"{own[:-2]},\n{_environment()[2:]}\n".encode("utf-8", "backslashreplace")


@functools.cache
def _environment() -> str:
    """The part of every provenance that is the same for all runs that this process readies, as text."""
    return json.dumps(provenance.environment(), indent=1, ensure_ascii=False)


def _write_problems(workspace: Workspace, report: Report) -> None:
    folder = Path(workspace.sources)
    for filename, problems in report.refused.items():
        intake.write_problems(folder, filename, problems)
    for filename in dict.fromkeys(queued.file for queued in report.queued):
        intake.clear_problems(folder, filename)
    _clear_orphans(folder, report.refused)


def _clear_orphans(folder: Path, refused: Iterable[str]) -> None:
    """Take problems files away whose config is gone: it was mended under another name, or given up."""
    kept = set(refused)
    for name in os.listdir(folder):
        filename = name.removesuffix(naming.PROBLEMS_SUFFIX)
        if filename != name and filename not in kept and not os.path.lexists(folder / filename):
            intake.clear_problems(folder, filename)
