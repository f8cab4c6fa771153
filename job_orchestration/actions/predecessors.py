"""``after:``: which runs a config comes after, decided once and for all when it is readied.

A name means a config that is readied in the same go, else the run of that output folder, else the run of
that config that was readied last. The name or the folder of a sweep means all trials that it has by then;
that of a search means the search, whose trials nobody knows yet. The resolved config holds the runs' names,
so a config that is dropped again later changes nothing for those that wait already; nor can runs ever come
to wait for each other in a circle, except within one go, where it is refused.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from job_orchestration.actions import sweeps
from job_orchestration.files import journal, token
from job_orchestration.model.event import Readied
from job_orchestration.model.problem import escaped
from job_orchestration.model.run import Place
from job_orchestration.rules import naming, reading, settings, steering

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from job_orchestration.actions.candidates import Candidate
    from job_orchestration.files.intake import Drop
    from job_orchestration.files.workspace import Workspace

_KEY = "after"


def in_order(drops: Sequence[Drop]) -> Sequence[Drop]:
    """Drops, each behind those that it comes after, so that a large batch may be readied in parts."""
    if not any(b"after" in drop.data for drop in drops):
        return drops
    stems: dict[str, list[str]] = {}
    for drop in drops:
        stems.setdefault(naming.stem_of(drop.filename), []).append(drop.filename)
    after = {d.filename: [f for n in _names_in(d) for f in stems.get(_config(n, stems), ())] for d in drops}
    by_name = {drop.filename: drop for drop in drops}
    return [by_name[filename] for filename in steering.ordered(after)]


def put_off(workspace: Workspace, drops: Sequence[Drop], unsettled: Sequence[str]) -> list[str]:
    """The drops that come after a file which somebody is still writing: they wait until it is whole.

    Args:
        workspace: where they lie.
        drops: those that are whole, in their order.
        unsettled: the files that are not. One with its problems beside it may stay so for long, and nobody
            waits for it.
    """
    coming = {
        naming.stem_of(name)
        for name in unsettled
        if not os.path.lexists(os.path.join(workspace.sources, f"{name}{naming.PROBLEMS_SUFFIX}"))
    }
    late: list[str] = []
    for drop in drops if coming else ():
        if any(_config(name, coming) in coming for name in _names_in(drop)):
            late.append(drop.filename)
            coming.add(naming.stem_of(drop.filename))
    return late


def _config(name: str, known: Container[str]) -> str:
    """The config that a name means among those of the same go: that of its file will do."""
    return name if name in known else naming.stem_of(name)


def _names_in(drop: Drop) -> tuple[str, ...]:
    if b"after" not in drop.data:
        return ()
    root, _ = reading.read(drop.data, drop.filename)
    values = None if root is None else reading.plain(root)
    return settings.settings_of(values).after if isinstance(values, dict) else ()


def resolve(workspace: Workspace, candidates: Sequence[Candidate]) -> None:
    """Find the runs that candidates come after; one that names none that will ever be gets a problem."""
    asking = [c for c in candidates if c.checked.config is not None and c.checked.config.settings.after]
    if not asking:
        return
    batch: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        batch.setdefault(naming.stem_of(candidate.drop.filename), []).append(candidate)
    after = {
        name: [_config(n, batch) for c in group if c.checked.config for n in c.checked.config.settings.after]
        for name, group in batch.items()
    }
    for candidate in asking:
        circle = steering.circle(after, naming.stem_of(candidate.drop.filename))
        if circle:
            way = " after ".join(escaped(name) for name in circle)
            candidate.add(f"configs come after each other in a circle: {way}", "Break it", _KEY)
    known = _Runs(workspace)
    ordered = {name: n for n, name in enumerate(steering.ordered(after))}
    asking.sort(key=lambda c: ordered[naming.stem_of(c.drop.filename)])
    for candidate in asking:
        _resolve_one(candidate, batch, known)


def _resolve_one(candidate: Candidate, batch: dict[str, list[Candidate]], known: _Runs) -> None:
    assert candidate.checked.config is not None
    runs: list[str] = []
    for name in candidate.checked.config.settings.after:
        together = batch.get(_config(name, batch), ())
        refused = next((c.drop.filename for c in together if c.config is None), None)
        if refused is not None and candidate not in together:
            candidate.add(
                f"{escaped(refused)}, which it comes after, was refused", "Mend that one first", _KEY
            )
        found = [c.order.base if c.order else c.run for c in together] or known.named(name)
        if not found:
            candidate.add(
                f"{escaped(name)} is neither a run nor a config that is readied in the same go",
                "Name a config, or an output folder; drop what comes first together with it, or before",
                _KEY,
            )
        runs += found
    candidate.after = tuple(dict.fromkeys(runs))


class _Runs:
    """The runs that there are, looked up by the names that people give them."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._tokens: list[token.Token] | None = None

    def named(self, name: str) -> list[str]:
        """The run that a name means, or the trials of a sweep, or the folder of a search; if there is one."""
        folder = name.rstrip("/").removeprefix("Output/")
        if token.is_inside_output(folder):
            if os.path.isdir(journal.folder_of(self._workspace.run_folder(folder))):
                return [folder]
            family = self._trials_in(folder)
            if family:
                return family
        if self._tokens is None:
            places = (Place.TO_RUN, Place.RUNNING, Place.COMPLETED, Place.FAILED)
            self._tokens = [t for place in places for t in token.scan(self._workspace.folders[place])]
        stem = naming.stem_of(name)
        found = [self._readied(t, stem) for t in self._tokens if self._may_be(t.name.stem, stem)]
        if not any(found):
            return []
        _, run, is_trial = max(f for f in found if f is not None)
        return self._trials_in(os.path.dirname(run)) if is_trial else [run]

    def _trials_in(self, folder: str) -> list[str]:
        """The trials of a sweep in a folder, or the folder when they are those of a search."""
        try:
            names = sorted(os.listdir(self._workspace.run_folder(folder)))
        except (FileNotFoundError, NotADirectoryError):
            return []
        folders = {f"{folder}/{name}": self._workspace.run_folder(f"{folder}/{name}") for name in names}
        found = {run: sweeps.trial_of(path) for run, path in folders.items() if os.path.isdir(path)}
        if any(trial is not None and trial.number is not None for trial in found.values()):
            return [folder]
        return [run for run, trial in found.items() if trial is not None]

    def _may_be(self, token_stem: str, stem: str) -> bool:
        return token_stem == stem or re.match(re.escape(stem) + r"(,|-\d+\Z)", token_stem) is not None

    def _readied(self, found: token.Token, stem: str) -> tuple[str, str, bool] | None:
        """When a token's run was readied, its name, and whether it is a trial; `None`: another config's."""
        run = token.run_of(found.path)
        if run is None or not token.is_inside_output(run):
            return None
        entries, _ = journal.read_file(self._workspace.run_folder(run), 0)
        if not entries or not isinstance(entries[0].event, Readied):
            return None
        is_meant = stem in {entries[0].event.config, found.name.stem}
        is_trial = entries[0].event.trial is not None and found.name.stem != stem
        return (entries[0].at, run, is_trial) if is_meant else None
