"""Read commits from the workspace's own store of code, with GitPython.

Only ``Misc/code.git`` is opened here: it is a bare repository that this program wrote, and its configuration
names no command. A person's repository is read by `work_tree` through the hardened `git` module instead.
GitPython takes 80 ms to import, so only the functions that need it import it.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from job_orchestration.code import git as command
from job_orchestration.diagnostics.errors import CodeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import git

    from job_orchestration.code.snapshots import CodeStore

_SHA1: Final = 40
"""Length of a commit's name in a repository with SHA-1 objects."""


@dataclass(frozen=True, slots=True)
class CommitDetails:
    """The author, date and subject of a commit."""

    author: str
    """Name, without the address."""
    date: str
    """When the author made it: ISO 8601 with the author's offset."""
    subject: str
    """First line of the message."""


def describe(store: CodeStore, commit: str) -> CommitDetails | None:
    """Return a commit's author, date and subject, or `None` if the store cannot tell them."""
    if not store.has(commit):
        return None
    store = store.of(commit)
    if len(commit) > _SHA1:
        return _described_by_git(store, commit)
    with suppress(CodeError), _opened(store) as repository:
        found = repository.commit(commit)
        date = found.authored_datetime.isoformat()
        subject = str(found.message).strip().partition("\n")[0].strip()
        return CommitDetails(found.author.name or "", date, subject)
    return None


def describe_without_imports(store: CodeStore, commit: str) -> CommitDetails | None:
    """Return the same by one git process, for `ready`, which does not import GitPython."""
    return _described_by_git(store.of(commit), commit)


def files(store: CodeStore, commit: str) -> dict[str, str]:
    """Return the path of each file in a commit, with the hash of its content; submodules' files as well.

    Raises:
        CodeError: if the store does not hold the commit or cannot be read.
    """
    store = store.of(commit)
    if len(commit) > _SHA1:
        return dict(_files_by_git(store, commit, ""))
    with _opened(store) as repository:
        return dict(_blobs(repository, repository.commit(commit).tree, ""))


def content(store: CodeStore, blob: str) -> bytes:
    """Return the content of a file by its hash, as `files` gives it.

    Raises:
        CodeError: if the store does not hold it.
    """
    own = store.of(blob)
    words = ("cat-file", "blob", "--end-of-options", blob)
    return command.run(*words, folder=str(own.repository), environment=own.environment())


def changes(store: CodeStore, a: str, b: str) -> tuple[str, ...]:
    """Return the paths of files added, removed or changed between two commits, sorted.

    Raises:
        CodeError: if the store does not hold a commit or cannot be read.
    """
    before, after = files(store, a), files(store, b)
    return tuple(sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path)))


def _blobs(repository: git.Repo, tree: git.Tree, prefix: str) -> Iterator[tuple[str, str]]:
    for item in tree:
        if item.type == "tree":
            yield from _blobs(repository, item, prefix)
        elif item.type == "submodule":
            yield from _blobs(repository, repository.commit(item.hexsha).tree, f"{prefix}{item.path}/")
        else:
            yield f"{prefix}{item.path}", item.hexsha


def _files_by_git(store: CodeStore, commit: str, prefix: str) -> Iterator[tuple[str, str]]:
    """Return the same of a commit with SHA-256 names, which GitPython does not read."""
    repository, environment = str(store.repository), store.environment()
    for entry in command.tree_entries(commit, folder=repository, environment=environment):
        if entry.is_submodule:
            yield from _files_by_git(store, entry.name, f"{prefix}{entry.path}/")
        else:
            yield f"{prefix}{entry.path}", entry.name


def _described_by_git(store: CodeStore, commit: str) -> CommitDetails | None:
    arguments = ("-1", "--format=%an%x00%aI%x00%s", "--end-of-options", commit)
    with suppress(CodeError, ValueError):
        said = command.run("log", *arguments, folder=str(store.repository), environment=store.environment())
        author, date, subject = said.decode("utf-8", "replace").removesuffix("\n").split("\0")
        return CommitDetails(author, date, subject)
    return None


@contextmanager
def _opened(store: CodeStore) -> Iterator[git.Repo]:
    """Open the store in an environment of its own: GitPython and the git that it starts obey ``GIT_*``."""
    with _environment(store.environment()):
        import git

        unreadable = (git.exc.GitError, git.exc.ODBError, OSError, ValueError, LookupError, ArithmeticError)
        try:
            with git.Repo(store.repository) as repository:
                yield repository
        except unreadable as error:
            raise CodeError(f"The store of code {store.repository} cannot be read: {error}") from error


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Replace the ``GIT_*`` variables of this process, which a hook or a shell may have set, for a while."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("GIT_")}
    own = {**command.ENVIRONMENT, **variables, "GIT_PYTHON_REFRESH": "quiet"}  # a missing git is found later
    try:
        os.environ.update(own)
        yield
    finally:
        for name in own:
            os.environ.pop(name, None)
        os.environ.update(hidden)
