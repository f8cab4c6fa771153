"""``after:``: resolve the runs that a config depends on, once, when it is queued.

A name means a config of the same pass, else the run of that output folder, else the run of that config that
was queued last. The name or folder of a sweep means all trials that it has by then; that of a search means
the search, whose trials are not known yet. The resolved config holds the runs' names, so a config that is
dropped again later changes nothing for runs that wait already. Runs can form no circle, except within one
pass, where it is refused.
"""

from __future__ import annotations

import functools
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from job_orchestration.config import scheduling, settings, yaml_reader
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.runs import claims, journal, token, token_header
from job_orchestration.runs.events import Readied
from job_orchestration.submission import sweep_candidates
from job_orchestration.submission.candidate import guarded
from job_orchestration.workspace import naming, safe_reads
from job_orchestration.workspace.layout import TOKEN_PLACES

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from job_orchestration.submission.candidate import Candidate
    from job_orchestration.submission.dropped_files import Drop
    from job_orchestration.workspace.layout import Workspace

_KEY = "after"


def in_order(dropped: Sequence[Drop]) -> Sequence[Drop]:
    """Sort dropped files so that each follows its dependencies, and a large batch can be queued in parts."""
    if not any(b"after" in drop.data for drop in dropped):
        return dropped
    stems: dict[str, list[str]] = {}
    for drop in dropped:
        stems.setdefault(naming.stem_of(drop.filename), []).append(drop.filename)
    after = {d.filename: [f for n in _names_in(d) for f in stems.get(_config(n, stems), ())] for d in dropped}
    by_name = {drop.filename: drop for drop in dropped}
    return [by_name[filename] for filename in scheduling.ordered(after)]


def deferred(
    workspace: Workspace, dropped: Sequence[Drop], unsettled: Sequence[str], *, also_refused: bool = False
) -> list[str]:
    """Return the dropped files that depend on a file still being written: they wait until it is complete.

    Args:
        workspace: the workspace.
        dropped: the complete files, sorted.
        unsettled: the incomplete files. One with a problems file beside it may stay so for long and is not
            waited for.
        also_refused: whether to wait for those as well.
    """
    coming = {
        naming.stem_of(name)
        for name in unsettled
        if also_refused
        or not os.path.lexists(os.path.join(workspace.sources, f"{name}{naming.PROBLEMS_SUFFIX}"))
    }
    late: list[str] = []
    for drop in dropped if coming else ():
        if any(_config(name, coming) in coming for name in _names_in(drop)):
            late.append(drop.filename)
            coming.add(naming.stem_of(drop.filename))
    return late


def _config(name: str, known: Container[str]) -> str:
    """Return the config that a name means in the same pass; a file name means its config."""
    return name if name in known else naming.stem_of(name)


def _names_in(drop: Drop) -> tuple[str, ...]:
    if b"after" not in drop.data:
        return ()
    root, _ = yaml_reader.read(drop.data, drop.filename)
    values = None if root is None else yaml_reader.plain(root)
    return settings.settings_of(values).after if isinstance(values, dict) else ()


def resolve(workspace: Workspace, candidates: Sequence[Candidate]) -> None:
    """Find the runs that candidates depend on; a name without a run or config is a problem."""
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
        circle = scheduling.circle(after, naming.stem_of(candidate.drop.filename))
        if circle:
            way = " after ".join(escaped(name) for name in circle)
            candidate.add(f"configs come after each other in a circle: {way}", "Break it", _KEY)
    known = _Runs(workspace)
    ordered = {name: n for n, name in enumerate(scheduling.ordered(after))}
    asking.sort(key=lambda c: ordered[naming.stem_of(c.drop.filename)])
    for candidate in asking:
        guarded([candidate], functools.partial(_resolve_one, candidate, batch, known))


def _resolve_one(candidate: Candidate, batch: dict[str, list[Candidate]], known: _Runs) -> None:
    assert candidate.checked.config is not None
    runs: list[str] = []
    written = candidate.checked.values.get(_KEY)
    for name in candidate.checked.config.settings.after:
        key = f"{_KEY}[{written.index(name)}]" if isinstance(written, list) else _KEY
        group = batch.get(_config(name, batch), ())
        refused = next((c.drop.filename for c in group if c.config is None), None)
        if refused is not None and candidate not in group:
            candidate.add(
                f"{escaped(refused)}, which it comes after, was refused", "Correct that config first", key
            )
        found = [c.order.base if c.order else c.run for c in group] or known.named(name)
        if not found:
            candidate.add(
                f"{escaped(name)} is neither a run nor a config of the same pass",
                "Name a config or an output folder, and drop that config before this one or with it",
                key,
            )
        runs += found
    candidate.after = tuple(dict.fromkeys(runs))


class _Runs:
    """The existing runs, looked up by the names that people use."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._tokens: list[token.Token] | None = None

    def named(self, name: str) -> list[str]:
        """Return the run of a name, the trials of a sweep, or the folder of a search, if there is one."""
        folder = name.rstrip("/").removeprefix("Output/")
        if claims.is_inside_output(folder):
            if os.path.isdir(journal.folder_of(self._workspace.run_folder(folder))):
                return [folder]
            family = self._trials_in(folder)
            if family:
                return family
        if self._tokens is None:
            self._tokens = [t for place in TOKEN_PLACES for t in token.scan(self._workspace.folders[place])]
        stem = naming.stem_of(name)
        found = [self._readied(t, stem) for t in self._tokens if self._may_be(t.name.stem, stem)]
        if not any(found):
            return []
        _, run, is_trial = max(f for f in found if f is not None)
        return self._trials_in(os.path.dirname(run)) if is_trial else [run]

    def _trials_in(self, folder: str) -> list[str]:
        """Return the trials of a sweep in a folder, or the folder itself if it is a search's."""
        names: list[str] = []
        with suppress(OSError):  # a name that is too long, or a folder of another user
            names = safe_reads.names_in(self._workspace.run_folder(folder))
        folders = {f"{folder}/{name}": self._workspace.run_folder(f"{folder}/{name}") for name in names}
        found = {run: sweep_candidates.trial_of(path) for run, path in folders.items() if os.path.isdir(path)}
        if any(trial is not None and trial.number is not None for trial in found.values()):
            return [folder]
        return [run for run, trial in found.items() if trial is not None]

    def _may_be(self, token_stem: str, stem: str) -> bool:
        return token_stem == stem or re.match(re.escape(stem) + r"(,|-\d+\Z)", token_stem) is not None

    def _readied(self, found: token.Token, stem: str) -> tuple[str, str, bool] | None:
        """Return when a token's run was queued, its name, whether it is a trial; `None`: other config."""
        run = token_header.run_of(found.path)
        if run is None or not claims.is_inside_output(run):
            return None
        try:
            entries, _ = journal.read_file(self._workspace.run_folder(run), 0)
        except OSError:  # it cannot be read, and so not be found by its config's name
            return None
        if not entries or not isinstance(entries[0].event, Readied):
            return None
        is_meant = stem in {entries[0].event.config, found.name.stem}
        is_trial = entries[0].event.trial is not None and found.name.stem != stem
        return (entries[0].at, run, is_trial) if is_meant else None
