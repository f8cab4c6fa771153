"""`doctor`: what is wrong with a workspace or a machine, made to be pasted into a report.

It shows no environment variables, no options of mounts but those that matter, and the home folder as ``~``.
It asks and looks; the one thing that it writes is a small file, to see how the disk does.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.files import git, history, litter, machine, survey
from job_orchestration.files import workspace as workspaces
from job_orchestration.files.code import CodeStore
from job_orchestration.model.errors import WorkspaceError
from job_orchestration.model.finding import Finding, Level
from job_orchestration.model.problem import escaped, named
from job_orchestration.model.run import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from job_orchestration.files.history import RunRecord
    from job_orchestration.files.workspace import Workspace

_PATIENCE: Final = 20.0
"""Seconds that git may look at the store of code."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found."""

    version: str
    at: str
    """UTC, ISO 8601."""
    findings: tuple[Finding, ...]

    @property
    def counts(self) -> dict[Level, int]:
        """How many findings there are of each level."""
        found = Counter(f.level for f in self.findings)
        return {level: found[level] for level in Level}

    def as_json(self) -> dict[str, Any]:
        """The report as ``doctor --json`` shows it."""
        return {
            "version": self.version,
            "at": self.at,
            "counts": {str(level): number for level, number in self.counts.items()},
            "findings": [{**asdict(f), "level": str(f.level)} for f in self.findings],
        }


def doctor(root: str) -> Report:
    """Look at a machine, and at the workspace at `root` as far as there is one."""
    from job_orchestration import __version__

    now = datetime.now(UTC).isoformat(timespec="seconds")
    found = [_without_home(finding) for finding in _findings(root)]
    return Report(__version__, now, tuple(found))


def _findings(root: str) -> Iterator[Finding]:
    yield from machine.machine()
    yield from _git()
    try:
        workspace = workspaces.locate(root)
    except WorkspaceError as error:
        yield Finding("workspace", Level.PROBLEM, error.what, error.todo)
        return
    for look in (machine.disk, survey.survey, _code):
        try:
            yield from look(workspace)
        except OSError as error:
            where = escaped(os.fsdecode(error.filename)) if error.filename else workspace.root
            what = f"{where} cannot be looked at: {error.strerror or error}"
            yield Finding("workspace", Level.PROBLEM, what, "See whose it is, and whether the disk is there")


def _without_home(finding: Finding) -> Finding:
    home = os.path.realpath(os.path.expanduser("~"))
    if home == os.sep:
        return finding
    return replace(finding, what=_shortened(finding.what, home), todo=_shortened(finding.todo, home))


def _shortened(text: str, home: str) -> str:
    return text.replace(f"{home}{os.sep}", f"~{os.sep}").replace(home, "~")


# -- git --------------------------------------------------------------------------------------------------


def _git() -> Iterator[Finding]:
    version = git.version()
    if version is None:
        yield Finding(
            "git", Level.PROBLEM, "git was not found", "Install git and make sure that it is on PATH"
        )
    else:
        yield Finding("git", Level.OK, f"git {version}")


def _code(workspace: Workspace) -> Iterator[Finding]:
    """The store of code, the snapshots, and the repositories that runs were pinned from."""
    store = CodeStore(Path(workspace.misc))
    records = history.entries(workspace)
    fault = store.fault(_PATIENCE) if git.version() else None
    if fault is not None:
        yield Finding(
            "git", Level.WARNING, f"Misc/code.git: {fault}", "Run there, for all of it: git fsck --full"
        )
    waiting = [r for r in records if r.place not in {Place.COMPLETED, Place.SOURCES} and not r.former]
    commits = {r.state.code.commit: r for r in waiting if r.state and r.state.code}
    missing = [f"{commit[:12]} of {r.run}" for commit, r in commits.items() if not store.has(commit)]
    if missing:
        yield Finding(
            "git",
            Level.PROBLEM,
            f"Misc/code.git lacks what runs need: {escaped(named(sorted(missing)))}",
            "Ready their configs again, from their repositories",
        )
    elif fault is None:
        there = len(litter.snapshots(workspace))
        yield Finding("git", Level.OK, f"Misc/code.git is sound; {there} snapshots")
    yield from _trust(records)


def _trust(records: Iterable[RunRecord]) -> Iterator[Finding]:
    """Repositories of somebody else, which git reads only for those who said that they trust them."""
    trees = {r.state.code.work_tree for r in records if r.state and r.state.code and r.state.code.work_tree}
    for tree in sorted(t for t in trees if _is_of_another(t)):
        yield Finding(
            "git",
            Level.WARNING,
            f"{escaped(tree)} belongs to somebody else, so git reads it only if you trust them",
            f"If you do: git config --global --add safe.directory {escaped(tree)}",
        )


def _is_of_another(path: str) -> bool:
    try:
        return os.stat(path).st_uid != os.getuid()
    except OSError:
        return False
