"""The second check of a batch: choose the output folder of each candidate, and so the name of its run."""

from __future__ import annotations

import functools
import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from job_orchestration.diagnostics import problems
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.runs import opening
from job_orchestration.submission import sweep_candidates
from job_orchestration.submission.candidate import guarded
from job_orchestration.workspace import clock, naming

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from job_orchestration.config.config import Config
    from job_orchestration.diagnostics.problems import Fault
    from job_orchestration.submission.candidate import Candidate
    from job_orchestration.workspace.layout import Workspace


def choose(workspace: Workspace, candidates: Sequence[Candidate]) -> None:
    """Give each candidate its run, or a problem."""
    now = clock.local_now()
    families: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        if candidate.trial is not None:
            families.setdefault(candidate.drop.filename, []).append(candidate)
    for family in families.values():
        guarded(family, functools.partial(sweep_candidates.choose_runs, workspace, family, now))
    claimed = _Claimed()
    for candidate in candidates:
        guarded([candidate], functools.partial(_choose_run, workspace, candidate, claimed, now))


def still_hold(workspace: Workspace, family: Sequence[Candidate]) -> bool:
    """Return whether the folders that were chosen for one dropped file may still be used.

    A check takes its time, in which another process may have queued runs.
    """
    if family[0].trial is not None:
        again = [replace(candidate, problems=[], there=False) for candidate in family]
        sweep_candidates.choose_runs(workspace, again, clock.local_now())
        if [c.there for c in again] != [c.there for c in family]:
            return False
    claimed = _Claimed()
    for candidate in family:
        config = candidate.checked.config
        if config is not None and not candidate.there:
            if _fault_of_run(workspace, candidate.run, config, claimed) is not None:
                return False
            claimed.add(candidate)
    return True


def _choose_run(workspace: Workspace, candidate: Candidate, claimed: _Claimed, now: datetime) -> None:
    config = candidate.checked.config
    if config is None or candidate.there:
        return
    rendered: str | Fault = candidate.run
    if candidate.trial is None:
        commit = candidate.code.commit if candidate.code else None
        rendered = naming.render_output_dir(config.output_dir, name=config.name, now=now, commit=commit)
        if isinstance(rendered, str) and "{time}" in config.output_dir:
            taken = claimed.runs
            rendered = naming.numbered(rendered, lambda run: run in taken or _exists(workspace, run))
    if not rendered:
        return  # a trial without a folder: its problem is noted
    fault = rendered if not isinstance(rendered, str) else _fault_of_run(workspace, rendered, config, claimed)
    if fault is not None:
        candidate.run = ""
        candidate.add(fault.what, fault.todo, "outputDir")
    elif isinstance(rendered, str):
        candidate.run = rendered
        claimed.add(candidate)


def _exists(workspace: Workspace, run: str) -> bool:
    return os.path.lexists(workspace.run_folder(run))


def _fault_of_run(workspace: Workspace, run: str, config: Config, claimed: _Claimed) -> Fault | None:
    todo = "Choose another outputDir"
    obstacle = _obstacle(workspace, run)
    if obstacle is not None:
        return problems.Fault(obstacle, todo)
    above = opening.enclosing_run(workspace, run) or next(
        (r for r in _ancestors(run) if r in claimed.runs), None
    )
    if above is not None:
        return problems.Fault(f"Output/{run} would lie inside the run {above}", todo)
    if run in claimed.runs:
        other = claimed.runs[run]
        return problems.Fault(
            f"{escaped(other)}, a config of the same pass, has the same output folder {run}", todo
        )
    below = claimed.above.get(run)
    if below is not None:
        return problems.Fault(f"the run {below} would lie inside Output/{run}", todo)
    if _exists(workspace, run) and not config.settings.overwrite_output:
        return problems.Fault(
            f"The path {run} already exists in Output",
            f"{todo}, or say overwriteOutputFine: true to have the old one moved to Misc/trash",
        )
    return None


class _Claimed:
    """The output folders chosen so far by the candidates of a batch."""

    def __init__(self) -> None:
        self.runs: dict[str, str] = {}
        """Run → the file that it is made from."""
        self.above: dict[str, str] = {}
        """Folder → a run inside it."""

    def add(self, candidate: Candidate) -> None:
        """Note the folder of a candidate."""
        self.runs[candidate.run] = candidate.drop.filename
        self.above.update(dict.fromkeys(_ancestors(candidate.run), candidate.run))


def _ancestors(run: str) -> list[str]:
    parts = run.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def _obstacle(workspace: Workspace, run: str) -> str | None:
    """Return why a run's folder cannot be created: what is in its path, or the rights of a folder above."""
    nearest = ""
    for above in (*_ancestors(run), run):
        path = workspace.run_folder(above)
        if os.path.islink(path):
            return f"Output/{run} leads through a symbolic link"
        if above != run and os.path.lexists(path):
            if not os.path.isdir(path):
                return f"Output/{above} is a file, and a folder is needed there"
            nearest = above
    if nearest and not os.access(workspace.run_folder(nearest), os.W_OK | os.X_OK):
        return f"nothing can be written into Output/{nearest}, which belongs to {_owner(workspace, nearest)}"
    return None


def _owner(workspace: Workspace, folder: str) -> str:
    import pwd

    number = os.stat(workspace.run_folder(folder)).st_uid
    with suppress(KeyError):
        return pwd.getpwuid(number).pw_name
    return f"the user {number}"
