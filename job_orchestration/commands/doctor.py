"""`doctor`: diagnose a workspace and this machine, in a report that is safe to paste.

The report shows no environment variables, only relevant mount options, and the home folder as ``~``. The
only thing written is a small probe file, to time the disk.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.code import git
from job_orchestration.code.snapshots import CodeStore
from job_orchestration.diagnostics.errors import WorkspaceError
from job_orchestration.diagnostics.problems import Diagnostic, Level, escaped, named
from job_orchestration.housekeeping import garbage, machine_check, workspace_check
from job_orchestration.runs import catalog
from job_orchestration.workspace import clock, layout
from job_orchestration.workspace.layout import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.workspace.layout import Workspace

_PATIENCE: Final = 20.0
"""Seconds that git may take to check the code store."""


@dataclass(frozen=True, slots=True)
class Report:
    """The diagnostics of a workspace and machine."""

    version: str
    at: str
    """UTC, ISO 8601."""
    diagnostics: tuple[Diagnostic, ...]

    @property
    def counts(self) -> dict[Level, int]:
        """Return the number of diagnostics of each level."""
        found = Counter(f.level for f in self.diagnostics)
        return {level: found[level] for level in Level}

    def as_json(self) -> dict[str, Any]:
        """Return the report as ``doctor --json`` prints it."""
        return {
            "version": self.version,
            "at": self.at,
            "counts": {str(level): number for level, number in self.counts.items()},
            "findings": [{**asdict(f), "level": str(f.level)} for f in self.diagnostics],
        }


def doctor(root: str) -> Report:
    """Check this machine, and the workspace at `root` if there is one."""
    from job_orchestration import __version__

    now = clock.now().isoformat(timespec="seconds")
    found = [_without_home(diagnostic) for diagnostic in _run_checks(root)]
    return Report(__version__, now, tuple(found))


def _run_checks(root: str) -> Iterator[Diagnostic]:
    yield from machine_check.check_machine()
    yield from _git()
    try:
        workspace = layout.locate(root)
    except WorkspaceError as error:
        yield Diagnostic("workspace", Level.PROBLEM, error.what, error.todo)
        return
    for look in (machine_check.check_disk, workspace_check.check_workspace, _code):
        try:
            yield from look(workspace)
        except OSError as error:
            where = escaped(os.fsdecode(error.filename)) if error.filename else workspace.root
            what = f"{where} cannot be looked at: {error.strerror or error}"
            yield Diagnostic(
                "workspace", Level.PROBLEM, what, "See whose it is, and whether the disk is there"
            )


def _without_home(diagnostic: Diagnostic) -> Diagnostic:
    home = os.path.realpath(os.path.expanduser("~"))
    if home == os.sep:
        return diagnostic
    return replace(diagnostic, what=_shortened(diagnostic.what, home), todo=_shortened(diagnostic.todo, home))


def _shortened(text: str, home: str) -> str:
    return text.replace(f"{home}{os.sep}", f"~{os.sep}").replace(home, "~")


# -- git --------------------------------------------------------------------------------------------------


def _git() -> Iterator[Diagnostic]:
    version = git.version()
    if version is None:
        yield Diagnostic(
            "git", Level.PROBLEM, "git was not found", "Install git and make sure that it is on PATH"
        )
    else:
        yield Diagnostic("git", Level.OK, f"git {version}")


def _code(workspace: Workspace) -> Iterator[Diagnostic]:
    """Check the code store, the snapshots and the repositories that runs were pinned from."""
    store = CodeStore(Path(workspace.misc))
    records = catalog.entries(workspace)
    fault = store.fault(_PATIENCE) if git.version() else None
    if fault is not None:
        yield Diagnostic(
            "git", Level.WARNING, f"Misc/code.git: {fault}", "Run there, for all of it: git fsck --full"
        )
    waiting = [
        r for r in records if r.place not in {Place.COMPLETED, Place.SOURCES} and not r.is_first_release
    ]
    commits = {r.state.code.commit: r for r in waiting if r.state and r.state.code}
    missing = [f"{commit[:12]} of {r.run}" for commit, r in commits.items() if not store.has(commit)]
    if missing:
        yield Diagnostic(
            "git",
            Level.PROBLEM,
            f"Misc/code.git lacks what runs need: {escaped(named(sorted(missing)))}",
            "Ready their configs again, from their repositories",
        )
    elif fault is None:
        there = len(garbage.snapshots(workspace))
        yield Diagnostic("git", Level.OK, f"Misc/code.git is sound; {there} snapshots")
    yield from _trust(records)


def _trust(records: Iterable[RunRecord]) -> Iterator[Diagnostic]:
    """Warn about repositories of other users, which git reads only if they are marked as safe."""
    trees = {r.state.code.work_tree for r in records if r.state and r.state.code and r.state.code.work_tree}
    for tree in sorted(t for t in trees if _is_of_another(t)):
        yield Diagnostic(
            "git",
            Level.WARNING,
            f"{escaped(tree)} belongs to another user, so git reads it only if you trust them",
            f"If you do: git config --global --add safe.directory {escaped(tree)}",
        )


def _is_of_another(path: str) -> bool:
    try:
        return os.stat(path).st_uid != os.getuid()
    except OSError:
        return False
