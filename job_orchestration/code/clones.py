"""An ordinary clone of the code of a run, from the workspace's own store: to read it, or to work in it.

The commit and its history are copied with a fetch; the person's repository is not needed. The files are
those of the snapshot: no line ends, encodings or filters are converted, the submodules are in their places,
each a repository with its history, and files of Git LFS have their contents. No hook, filter or command that
a repository names is started, and no address that it names is contacted.

A file of Git LFS is not what the index says, so git would call it modified. The index is refreshed once with
a filter of our own, which answers with the pointer that the index has: then the clone is clean with Git LFS
and without it, and what is changed and committed later goes through Git LFS as in any other clone.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from job_orchestration.code import capturing, git, large_files
from job_orchestration.diagnostics.errors import CodeError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.workspace import durable, scratch_folders

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.code.snapshots import CodeStore

BRANCH: Final = "main"
"""The branch of a clone if the one of the run is not known, or is no name of a branch."""
_LONG: Final = 900.0
"""Seconds for commands that copy a history or write a whole tree."""
_AS_IT_IS: Final = b"* -text -ident -filter !working-tree-encoding\n"
_SETTLED: Final = 5
"""Seconds that a content of Git LFS is older than the index, which would not be believed otherwise."""
_ADDRESS: Final = re.compile(
    r"(?:https?|ssh|git|file)://[^\s\x00-\x1f\x7f]+|(?:[\w.-]+@)?[\w.-]+:[^:\s\x00-\x1f\x7f-][^:\s\x00-\x1f\x7f]*"
)
"""What may become the remote of a clone: no option of git, no helper program such as ``ext::``."""
_CLEAN: Final = "cat >/dev/null && git cat-file blob :0:%f"
"""Prints what the index has for a file; git quotes the name."""


def clone(store: CodeStore, commit: str, target: Path, branch: str | None, origin: str | None) -> str:
    """Make a clone of a pinned commit in a folder that is absent or empty; all of it or nothing.

    Args:
        store: holds the commit.
        commit: what is checked out.
        target: the folder; its parent exists.
        branch: the name of the branch that is made at the commit, if it is one; else `BRANCH`.
        origin: the address of the remote ``origin``; ignored if it is none.

    Returns:
        The name of the branch.

    Raises:
        CodeError: if the store does not hold all of it.
        OSError: if the folder cannot be written.
    """
    store = store.of(commit)
    if not store.has(commit):
        raise CodeError(
            f"{store.repository} has no commit {commit}", "Look for it with: job-orchestration doctor"
        )
    with scratch_folders.beside(target) as scratch:
        made = scratch / scratch_folders.CLONE
        branch = _branch(branch)
        contents = large_files.contents_of(store.repository, commit)
        _make(store, commit, made, branch, contents)
        if origin is not None and _ADDRESS.fullmatch(origin):
            _in(made, "config", "remote.origin.url", origin)
            _in(made, "config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*")
        durable.rename_folder(str(made), str(target))
    return branch


def _branch(name: str | None) -> str:
    if name:
        with suppress(git.GitError):
            git.run("check-ref-format", f"refs/heads/{name}", folder=os.sep)
            return BRANCH if name.startswith("-") or name == "HEAD" else name
    return BRANCH


def _make(
    store: CodeStore, commit: str, folder: Path, branch: str | None, contents: Mapping[str, Path]
) -> None:
    """Make one repository, and those of its submodules in it."""
    kind = "sha1" if store.repository.name == "code.git" else "sha256"
    words = ("--quiet", "--template=", f"--object-format={kind}", f"--initial-branch={branch or BRANCH}")
    git.run("init", *words, str(folder), folder=str(folder.parent), environment=_OWN)
    _fetch(store, commit, folder)
    overrides = folder / ".git" / "info" / "attributes"
    overrides.parent.mkdir(exist_ok=True)
    overrides.write_bytes(_AS_IT_IS)
    head = ("update-ref", f"refs/heads/{branch}") if branch else ("update-ref", "--no-deref", "HEAD")
    _in(folder, *head, commit)
    _in(folder, "read-tree", "--reset", "-u", "--end-of-options", "HEAD")
    for path, module in _links(store, commit).items():
        inside = folder / path
        inside.mkdir(exist_ok=True)  # git leaves an empty folder there
        if inside.resolve() != inside.absolute():
            raise CodeError(f"The submodule {escaped(path)} lies behind a link", "Look at it with: git log")
        below = {n.removeprefix(f"{path}/"): c for n, c in contents.items() if n.startswith(f"{path}/")}
        inside.rmdir()
        _make(store, module, inside, None, below)
    overrides.unlink()
    _fill(folder, {name: path for name, path in contents.items() if not _is_inside_another(folder, name)})


def _fetch(store: CodeStore, commit: str, folder: Path) -> None:
    """Copy a commit and its history, as far as the store has it."""
    words = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--update-shallow")
    source = str(store.repository)
    trusted = {**_OWN, "GIT_CONFIG_GLOBAL": store.environment()["GIT_CONFIG_GLOBAL"]}
    git.run(
        *("fetch", *words, "--end-of-options", source, commit),
        folder=str(folder),
        environment={**trusted, "GIT_ALLOW_PROTOCOL": "file"},
        limit=_LONG,
    )


def _links(store: CodeStore, commit: str) -> dict[str, str]:
    """Return the path and the commit of each submodule that the store has."""
    entries = git.tree_entries(commit, folder=str(store.repository), environment=store.environment())
    return {entry.path: entry.name for entry in entries if entry.is_submodule}


def _fill(folder: Path, contents: Mapping[str, Path]) -> None:
    """Give the pointers of a repository their contents, and have git take the files for clean."""
    filled = []
    for name, content in contents.items():
        path = folder / name
        if path.is_file() and not path.is_symlink() and path.parent.resolve() == path.parent.absolute():
            mode = path.stat().st_mode
            shutil.copyfile(content, path)
            path.chmod(mode)
            settled = time.time() - _SETTLED
            os.utime(path, (settled, settled))
            kept = folder / ".git" / large_files.place_of(content.name)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(content, kept)
            filled.append(name)
    if filled:
        git.run(
            *("update-index", "-z", "--stdin"),
            folder=str(folder),
            environment={
                n: v for n, v in _OWN.items() if n != "GIT_CONFIG_COUNT"
            },  # the settings are counted
            settings=[("filter.lfs.clean", _CLEAN)],
            feed=capturing.lines(filled),
            limit=_LONG,
        )


def _is_inside_another(folder: Path, name: str) -> bool:
    """Return whether a path lies in a submodule, which is filled on its own."""
    return any((folder / parent / ".git").exists() for parent in list(Path(name).parents)[:-1])


_OWN: Final = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_COUNT": "0"}
"""No configuration but that of the clone, which is ours."""


def _in(folder: Path, *arguments: str) -> None:
    git.run(arguments[0], *arguments[1:], folder=str(folder), environment=_OWN, limit=_LONG)
