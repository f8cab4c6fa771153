"""Which run is meant: a run is named by its output folder or by its config's file name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_orchestration.files import worktree
from job_orchestration.model.errors import UsageError
from job_orchestration.model.problem import escaped
from job_orchestration.rules import naming

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_orchestration.files.history import RunRecord


def one(records: Sequence[RunRecord], name: str) -> RunRecord:
    """The only run of a name.

    Args:
        records: all that there are.
        name: an output folder (``Output/`` before it does not matter), or the name of a config or token,
            with or without its ending.

    Raises:
        UsageError: when there is none, or more than one.
    """
    folder = name.rstrip("/").removeprefix("Output/")
    exact = [r for r in records if r.run == folder]
    found = exact or [r for r in records if naming.stem_of(name) in r.names]
    if not found:
        raise UsageError(f"There is no run {escaped(name)}", _guess(records, name))
    if len(found) > 1:
        runs = worktree.named(sorted(escaped(r.run or r.path) for r in found))
        raise UsageError(
            f"{escaped(name)} may mean {len(found)} runs: {runs}", "Name one by its output folder"
        )
    return found[0]


def _guess(records: Sequence[RunRecord], name: str) -> str:
    import difflib

    names = {n for r in records for n in (r.run, r.config) if n}
    close = difflib.get_close_matches(naming.stem_of(name), names, n=3)
    if close:
        return f"Perhaps {' or '.join(escaped(n) for n in close)} is meant"
    return "See what there is with: job-orchestration status"
