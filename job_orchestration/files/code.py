"""The store of code: every commit that a run was readied with, kept for as long as the workspace is.

``Misc/code.git`` is a bare repository of our own. A commit is *pinned* when ``refs/pins/<commit>`` names it
there; from then on nothing that happens to the repository it came from matters. The ref is written last, when
the objects are on the disk and the tree was found to be complete, so that a pin is never half a pin.

A dirty work tree is *captured* as a commit on top of its head: a private index gets the head's tree and then
the files that the status named, byte for byte. The index and the objects lie in the workspace; the person's
``.git`` is not written. Same content, same commit: its author is us and its date the head's.

A *snapshot* is a checkout of a pinned commit, made beside its place and renamed into it, its files read-only.

The store never executes what a repository asks for. Its ``info/attributes`` has the last word on attributes
and switches all conversions off (line ends, filters, encodings), so that bytes go in and out as they are: a
snapshot's files are the commit's, also where a checkout would give them other line ends. Its commands read no
configuration but the store's own. The process that serves a fetch gets a configuration that says only that
the source is trusted, which `look` has established with the person's own.

One process writes the store at a time: a kernel lock on its folder, which git and its children inherit, so
that it ends when the last of them does. Whoever holds it may therefore clear the lock file that a kill left.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import re
import stat
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from job_orchestration.files import durable, git
from job_orchestration.files.worktree import WorkTree, look
from job_orchestration.model.errors import CodeError
from job_orchestration.model.problem import named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["CAPTURE_LIMIT", "SCRATCH", "CodeStore", "WorkTree", "look"]

CAPTURE_LIMIT: Final = 50_000_000
"""Bytes of changed and new files that a capture may hold."""

_LONG: Final = 900.0
"""Seconds for commands that copy or hash a whole tree."""

_CONFIG: Final = b"""\
[core]
\tfsync = all
\tfsyncMethod = batch
[gc]
\tauto = 0
[maintenance]
\tauto = false
[fetch]
\tunpackLimit = 1
\tfsckObjects = false
[submodule]
\trecurse = false
"""
_ATTRIBUTES: Final = b"* -text -ident -filter !working-tree-encoding -export-ignore -export-subst\n"
_TRUST: Final = b"[safe]\n\tdirectory = *\n"
SCRATCH: Final = ".making-"
"""How the names of temporary folders in ``Misc`` begin; one that outlived its process may be deleted."""

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_LINK: Final = "160000 "
"""How the entry of a submodule begins in a tree: a commit of another repository."""
_READ_ONLY: Final = ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)


class CodeStore:
    """The commits and snapshots of a workspace. Its folders are made when they are first needed.

    Args:
        misc: the workspace's ``Misc``.
    """

    def __init__(self, misc: Path) -> None:
        self._misc = Path(os.path.abspath(misc))
        self._repository = self._misc / "code.git"
        self._snapshots = self._misc / "snapshots"

    def has(self, commit: str) -> bool:
        """Whether a commit is pinned; looks at files only."""
        if not _COMMIT.fullmatch(commit):
            return False
        if self._ref(commit).is_file():
            return True
        try:
            packed = (self._repository / "packed-refs").read_bytes()  # there when a person ran `git gc` in it
        except FileNotFoundError:
            return False
        return f" refs/pins/{commit}\n".encode() in packed

    def pin(self, tree: WorkTree) -> str:
        """Keep the head of a work tree for good; costs nothing when it is kept already.

        Returns:
            The commit.

        Raises:
            CodeError: when it cannot be copied, or has submodules.
        """
        if not self.has(tree.head):
            self._create()
            with self._writing() as lock:
                if not self.has(tree.head):
                    self._fetch(tree, lock)
                    self._keep(tree.head)
        return tree.head

    def capture(self, tree: WorkTree) -> str:
        """Keep the content of a dirty work tree as a commit of its own, on top of its head.

        Returns:
            The commit; the head itself when the tree is clean.

        Raises:
            CodeError: when there is too much of it, it has submodules, or a file cannot be read.
        """
        self.pin(tree)
        if not tree.dirty:
            return tree.head
        _refuse_bulk(tree)
        with self._writing() as lock, self._scratch() as scratch:
            commit = self._commit(tree, scratch / "index", lock)
            if not self.has(commit):
                self._keep(commit)
        return commit

    def snapshot(self, commit: str) -> Path:
        """The folder with a pinned commit's files, made when it is not there yet.

        Raises:
            CodeError: when the commit is not pinned.
        """
        target = self._snapshots / commit
        if _COMMIT.fullmatch(commit) and target.is_dir():
            return target
        if not self.has(commit):
            raise CodeError(
                f"{self._repository} has no commit {commit}", "Ready the config again, from its repository"
            )
        durable.make_folder(str(self._snapshots))
        with self._scratch() as scratch:
            made = scratch / "tree"
            made.mkdir()
            place = {"GIT_WORK_TREE": str(made), "GIT_INDEX_FILE": str(scratch / "index")}
            self._git(
                "read-tree", "--reset", "-u", "--end-of-options", commit, folder=made, environment=place
            )
            _make_read_only(made)
            durable.sync_tree(str(made))
            _put_in_place(made, target)
        return target

    def fault(self, limit: float) -> str | None:
        """What git finds wrong with the store when it looks at what hangs together; nothing is changed.

        Args:
            limit: seconds that it may take.
        """
        if not self._repository.is_dir():
            return None
        try:
            self._git("fsck", "--connectivity-only", "--no-dangling", "--no-progress", limit=limit)
        except CodeError as error:
            return error.what
        return None

    # -- the repository -----------------------------------------------------------------------------------

    def _ref(self, commit: str) -> Path:
        return self._repository / "refs" / "pins" / commit

    def _create(self) -> None:
        """Make the store, whole or not at all."""
        if self._repository.is_dir():
            return
        durable.make_folder(str(self._misc))
        with self._scratch() as scratch:
            made = scratch / "code.git"
            kinds = {"GIT_DEFAULT_HASH": "sha1", "GIT_DEFAULT_REF_FORMAT": "files"}
            git.run(
                "init", "--bare", "--quiet", "--template=", str(made), folder=str(scratch), environment=kinds
            )
            with (made / "config").open("ab") as file:  # after what git found out about the file system
                file.write(_CONFIG)
            (made / "trust").write_bytes(_TRUST)
            for folder in ("info", "refs/pins"):
                (made / folder).mkdir(exist_ok=True)
            (made / "info" / "attributes").write_bytes(_ATTRIBUTES)
            durable.sync_tree(str(made))
            _put_in_place(made, self._repository)

    def _fetch(self, tree: WorkTree, lock: int) -> None:
        """Copy a commit and its history. A shallow clone's history ends where it ends there."""
        with suppress(FileNotFoundError):
            durable.unlink(str(self._repository / "shallow.lock"))  # nobody alive holds it: we have the lock
        try:
            self._git(
                *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"),
                *("--update-shallow", "--end-of-options", str(tree.top), tree.head),
                lock=lock,
                environment={"GIT_ALLOW_PROTOCOL": "file"},
            )
        except git.GitError as error:
            raise CodeError(
                f"Commit {tree.head} of {tree.top} cannot be copied: {error.reason}",
                "Run `git fsck` there; a partial or shallow clone becomes whole by "
                "`git fetch --refetch` or `git fetch --unshallow`",
            ) from None

    def _commit(self, tree: WorkTree, index: Path, lock: int) -> str:
        """Make a commit of the head and what differs from it. What is gone goes first, being in the way.

        A status does not list what it cannot look at, as below a link to itself; adding the link replaces it.
        """
        date = self._git("log", "-1", "--format=%ct", "--end-of-options", tree.head)
        place = {"GIT_WORK_TREE": str(tree.top), "GIT_INDEX_FILE": str(index), **_signature(date)}
        call = functools.partial(self._git, folder=tree.top, environment=place, lock=lock)
        there = [path for path in tree.dirty if _is_there(tree.top, path)]
        call("read-tree", "--end-of-options", tree.head)
        call("update-index", "-z", "--force-remove", "--stdin", feed=_lines(tree.dirty))
        call("update-index", "-z", "--add", "--remove", "--replace", "--stdin", feed=_lines(there))
        return call("commit-tree", "-p", tree.head, "-m", "The work tree as it was found", call("write-tree"))

    def _keep(self, commit: str) -> None:
        """Pin a commit, once its objects are durable and its tree is known to be complete.

        The ref is written as the file it is: a temporary name among the refs would be a broken ref.
        """
        self._refuse_submodules(commit)
        for folder, _, _ in os.walk(self._repository / "objects"):
            durable.sync_folder(folder)
        ref = str(self._ref(commit))
        with self._scratch() as scratch:
            made = str(scratch / "ref")
            durable.write_new(made, f"{commit}\n".encode())
            durable.rename(made, ref)
        durable.sync_folder(os.path.dirname(ref))

    def _refuse_submodules(self, commit: str) -> None:
        said = self._git("ls-tree", "-r", "-z", "--full-tree", "--end-of-options", commit)
        links = [entry.partition("\t")[2] for entry in said.split("\0") if entry.startswith(_LINK)]
        if links:
            raise _submodules(named(links))

    # -- how it is done -----------------------------------------------------------------------------------

    def _git(
        self,
        *arguments: str,
        folder: Path | None = None,
        environment: dict[str, str] | None = None,
        feed: bytes = b"",
        lock: int | None = None,
        limit: float = _LONG,
    ) -> str:
        command, *rest = arguments
        said = git.run(
            command,
            *rest,
            folder=str(folder or self._repository),
            environment={
                "GIT_DIR": str(self._repository),
                "GIT_CONFIG_GLOBAL": str(self._repository / "trust"),
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_CONFIG_COUNT": "0",
                **(environment or {}),
            },
            feed=feed,
            limit=limit,
            hold=lock,
        )
        return os.fsdecode(said).removesuffix("\n")

    @contextmanager
    def _writing(self) -> Iterator[int]:
        """The right to write the store, as a descriptor for the commands that do."""
        descriptor = os.open(self._repository, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A temporary folder on the workspace's file system."""
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=self._misc) as folder:
            yield Path(folder)


def _signature(date: str) -> dict[str, str]:
    """Who made a captured commit and when: always the same, so that the same content is the same commit."""
    return {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "job_orchestration"), ("EMAIL", ""), ("DATE", f"@{date} +0000"))
    }


def _refuse_bulk(tree: WorkTree) -> None:
    nested = [path for path in tree.dirty if path.endswith("/")]
    if nested:  # git does not look into a repository inside the work tree
        raise _submodules(named(nested))
    sizes = {}
    for path in tree.dirty:
        with suppress(OSError):
            sizes[path] = (tree.top / path).lstat().st_size
    if sum(sizes.values()) > CAPTURE_LIMIT:
        biggest = sorted(sizes, key=sizes.__getitem__, reverse=True)
        shown = named(f"{path} ({sizes[path] / 1e6:.1f} MB)" for path in biggest)
        raise CodeError(
            f"The changes in {tree.top} come to {sum(sizes.values()) / 1e6:.0f} MB, more than the "
            f"{CAPTURE_LIMIT // 1_000_000} MB that a capture may hold: {shown}",
            "Let .gitignore name data and results, or commit the changes",
        )


def _is_there(top: Path, path: str) -> bool:
    """Whether a path of a tree is something to capture: not a folder, and not seen through a link to one."""
    full = os.path.join(top, path)
    folder = os.path.dirname(full)
    is_folder = os.path.isdir(full) and not os.path.islink(full)
    return os.path.lexists(full) and not is_folder and os.path.realpath(folder) == folder


def _lines(paths: Iterable[str]) -> bytes:
    return b"".join(os.fsencode(path) + b"\0" for path in paths)


def _submodules(names: str) -> CodeError:
    return CodeError(
        f"The repository holds other repositories, which are not captured: {names}",
        "Install them as packages, copy their files into the repository, or keep them elsewhere",
    )


def _make_read_only(folder: Path) -> None:
    for parent, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(parent, name)
            if not os.path.islink(path):
                os.chmod(path, os.stat(path).st_mode & _READ_ONLY)


def _put_in_place(made: Path, target: Path) -> None:
    """Give a finished folder its name; where another process was first, its folder is as good."""
    try:
        durable.rename_folder(str(made), str(target))
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
