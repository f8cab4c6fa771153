"""Newer commits than the one that a run executes: look for them, and choose one.

A look reads two small files of a person's repository, so that those who list runs may take it. A choice runs
git, reads the repository only, and says why there is none.
"""

from __future__ import annotations

import itertools
import os
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from job_orchestration.code import git, work_tree
from job_orchestration.code.snapshots import CAPTURER
from job_orchestration.diagnostics.errors import CodeError
from job_orchestration.diagnostics.problems import escaped, named

if TYPE_CHECKING:
    from collections.abc import Iterable

    from job_orchestration.code.snapshots import CodeStore
    from job_orchestration.code.work_tree import WorkTree

HEAD: Final = "HEAD"
WORK_TREE: Final = "worktree"
"""In the place of a revision: the files of the work tree as they are, captured."""
_MOST_LOOKED_AT: Final = 5
"""Pairs of a work tree and a commit."""
_COMMIT: Final = re.compile(r"[0-9a-f]{40,64}")
_LENGTHS: Final = (40, 64)
"""Of the names of commits with SHA-1 and SHA-256 objects, which the workspace keeps apart."""
_BEGINNING: Final = re.compile(r"[0-9a-f]{4,64}")
"""Of a commit's name, long enough for git."""


def head_of(top: str) -> str | None:
    """Return the commit that is checked out in a work tree; `None` if its files do not tell."""
    try:
        own = _git_folder(top)
        head = _first_line(os.path.join(own, "HEAD"))
        if not head.startswith("ref: "):
            return head if _COMMIT.fullmatch(head) else None
        common = own
        with suppress(FileNotFoundError):  # it is there in a linked work tree only
            common = os.path.join(own, _first_line(os.path.join(own, "commondir")))
        return _commit_of(common, head.removeprefix("ref: "))
    except (OSError, ValueError):
        return None


def _git_folder(top: str) -> str:
    path = os.path.join(top, ".git")
    if os.path.isdir(path):
        return path
    return os.path.join(top, _first_line(path).removeprefix("gitdir: "))


def _commit_of(folder: str, ref: str) -> str | None:
    with suppress(FileNotFoundError):
        found = _first_line(os.path.join(folder, ref))
        return found if _COMMIT.fullmatch(found) else None
    with open(os.path.join(folder, "packed-refs"), encoding="utf-8", errors="surrogateescape") as file:
        return next((line[:-1].partition(" ")[0] for line in file if line.endswith(f" {ref}\n")), None)


def _first_line(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.readline(4096).rstrip("\n")


def newer_than(store: CodeStore, commit: str, top: str) -> str | None:
    """Return the commit that is checked out in a work tree if it is not the one that a run executes.

    Args:
        store: where the run's commit is kept.
        commit: the commit; one that was captured counts as its parent, the commit that it was captured on.
        top: the top of the work tree.
    """
    head = head_of(top)
    if head is None or head == commit:
        return None
    with suppress(CodeError):  # without its store a run cannot go on, and `doctor` says so
        if head == captured_on(store, commit):
            return None
    return head


def newer_trees(store: CodeStore, pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the work trees that have newer code than runs were executed in, with the commits they have.

    Args:
        store: where the commits of the runs are kept.
        pairs: the work tree and the commit of each run; only the first few are looked at that differ.
    """
    found: dict[str, str] = {}
    for top, commit in itertools.islice(dict.fromkeys(pairs), _MOST_LOOKED_AT):
        if top and top not in found and (head := newer_than(store, commit, top)) is not None:
            found[top] = head
    return found


def captured_on(store: CodeStore, commit: str) -> str | None:
    """Return the commit that a captured one was made on; `None` if it was not captured, or is not pinned.

    Raises:
        CodeError: if the store cannot be read.
    """
    if not store.has(commit):
        return None
    author, parents = _stored(store, commit, "log", "-1", "--format=%an%x00%P").split("\0")
    return parents.strip() if author == CAPTURER else None


def changed_files(store: CodeStore, before: str, after: str) -> tuple[str, ...]:
    """Return the paths of the files that two pinned commits do not have alike, sorted.

    Raises:
        CodeError: if one of them is not pinned.
    """
    said = _stored(store, after, "diff-tree", "-r", "-z", "--name-only", "--no-renames", before)
    return tuple(sorted(filter(None, said.split("\0"))))


def _stored(store: CodeStore, commit: str, *command: str) -> str:
    """Return the output of a git command about a pinned commit."""
    own = store.of(commit)
    said = git.run(*command, commit, folder=str(own.repository), environment=own.environment())
    return os.fsdecode(said)


def choose(store: CodeStore, tree: WorkTree, revision: str, *, may_capture: bool) -> tuple[str, WorkTree]:
    """Pin the commit that a person names.

    Args:
        store: keeps the commit.
        tree: the work tree as it was looked at.
        revision: a revision of its repository, `HEAD` or `WORK_TREE`; also a commit that is pinned already.
        may_capture: whether uncommitted changes may be captured.

    Returns:
        The commit, and the tree that it was pinned from: clean, unless the changes were captured.

    Raises:
        CodeError: there is no such commit, or it cannot be copied.
    """
    if revision == WORK_TREE:
        if not tree.dirty:
            return store.pin(tree), tree
        if not may_capture:
            raise CodeError(
                f"{tree.top} has uncommitted changes: {escaped(named(tree.dirty))}",
                "Commit them and say --commit HEAD, or add --set UNSAFE_ignoreDirtyCheck=true",
            )
        return store.capture(tree), tree
    commit = tree.head if revision == HEAD else _resolved(str(tree.top), revision, {})
    if commit is None:
        commit = pin_stored(store, revision)
    if commit is None:
        raise CodeError(
            f"{tree.top} has no commit {escaped(revision)}",
            "Name a commit, a branch or a tag of it, or HEAD; list them with: git log --oneline",
        )
    if store.has(commit):
        return commit, replace(tree, head=commit, dirty=())
    pinned = work_tree.at_commit(tree, commit)
    return store.pin(pinned), pinned


def pin_stored(store: CodeStore, revision: str) -> str | None:
    """Pin a commit of the store that its whole name, or the beginning of it, means; `None` if none has it.

    A commit in the history of a pinned one is in the store, also if its repository is gone.

    Raises:
        CodeError: the store lacks a part of it.
    """
    if not _BEGINNING.fullmatch(revision):
        return None
    lengths = [len(revision)] if len(revision) in _LENGTHS else _LENGTHS
    found = {
        commit: own
        for own in (store.of("0" * length) for length in lengths)
        if (commit := _resolved(str(own.repository), revision, own.environment())) is not None
    }
    if len(found) != 1:
        return None
    ((commit, own),) = found.items()
    if not own.has(commit):
        from job_orchestration.code import stored_large_files

        stored_large_files.record(own, commit)
    return own.pin_stored(commit)


def _resolved(folder: str, revision: str, environment: dict[str, str]) -> str | None:
    """Return the commit that a revision means in a repository, or `None`."""
    wanted = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    with suppress(git.GitError, FileNotFoundError, NotADirectoryError):
        return os.fsdecode(git.run(*wanted, folder=folder, environment=environment)).strip()
    return None


def tree_of(workspace: str, path_to_tasks: str) -> WorkTree:
    """Look at the work tree around a config's ``pathToTasks``.

    Raises:
        CodeError: there is none, or git cannot read it.
    """
    folder = os.path.join(workspace, os.path.expanduser(path_to_tasks))
    return work_tree.inspect_work_tree(Path(folder), Path(workspace))
