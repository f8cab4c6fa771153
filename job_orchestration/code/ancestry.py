"""How two pinned commits are related, from the workspace's own store of code."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from job_orchestration.code import git

if TYPE_CHECKING:
    from job_orchestration.code.snapshots import CodeStore

_LIMIT = 300.0
"""Seconds; a history may have a million commits."""
_NONE = 1
"""Exit code of ``git merge-base`` if there is none."""


def common(store: CodeStore, one: str, other: str) -> tuple[str, ...]:
    """Return the best common ancestors of two commits; none if the store knows of none.

    Raises:
        CodeError: if the store does not hold the commits.
    """
    said = _run(store, one, "merge-base", "--all", "--end-of-options", one, other, accept=(0, _NONE))
    return tuple(said.split())


def between(store: CodeStore, one: str, other: str) -> dict[str, tuple[str, ...]]:
    """Return the commits that are ancestors of one commit and not of the other, with their parents.

    Each commit counts as its own ancestor. The newest come first; a parent comes after its children.

    Raises:
        CodeError: if the store does not hold the commits.
    """
    said = _run(store, one, "rev-list", "--parents", "--topo-order", "--end-of-options", f"{one}...{other}")
    lines = (line.split(" ") for line in said.splitlines())
    return {commit: tuple(parents) for commit, *parents in lines}


def _run(store: CodeStore, commit: str, command: str, *arguments: str, accept: tuple[int, ...] = (0,)) -> str:
    own = store.of(commit)
    folder, environment = str(own.repository), own.environment()
    said = git.run(command, *arguments, folder=folder, environment=environment, limit=_LIMIT, accept=accept)
    return os.fsdecode(said)
