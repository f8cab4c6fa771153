"""The store of code: every commit that a run was queued with, kept as long as the workspace exists.

``Misc/code.git`` is a bare repository of our own. A commit is *pinned* when ``refs/pins/<commit>`` names it
there. From then on the repository that it came from may change or vanish. The ref is written last, after the
objects are on the disk and the tree is known to be complete, so a pin is never half a pin.

A dirty work tree is *captured* as a commit on top of its head: a private index gets the head's tree and then
the files that the status named, byte for byte. The index and the objects lie in the workspace; nothing is
written into the person's ``.git``. The same content gives the same commit: author and date are fixed.

A *snapshot* is a checkout of a pinned commit, made beside its place and renamed into it, all read-only.
Before a fork server imports one it is compared with stamps of its files, and what was changed is put back.

The store never executes anything that a repository configures. Its ``info/attributes`` overrides all others
and switches off all conversions (line ends, filters, encodings), so bytes stay as they are: the files of a
snapshot are the commit's, even if a checkout would give them other line ends. Its commands read no
configuration but the store's own. The process that serves a fetch gets a configuration that says only that
the source is trusted, which `inspect_work_tree` has established with the person's own.

A repository with SHA-256 objects has a store of its own, ``Misc/code-sha256.git``, for git copies no objects
from one format to the other. The commits of submodules lie in the store of the commit that names them, each
kept by a ref ``refs/submodules/<commit>/<submodule's commit>``, and a snapshot has their files in place. A
partial clone may lack old versions of files: then the commit is copied without its history.

One process writes the store at a time: a kernel lock on its folder, which git and its children inherit, so
that it ends when the last of them does. A process that holds it may therefore remove the lock file that a
kill left.
"""

from __future__ import annotations

import functools
import os
import re
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from job_orchestration.code import capturing, checkouts, git, large_files, snapshot_stamps
from job_orchestration.diagnostics.errors import CodeError
from job_orchestration.workspace import durable, locks

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator
    from contextlib import AbstractContextManager

    from job_orchestration.code.checkouts import PutAway
    from job_orchestration.code.work_tree import WorkTree

__all__ = ["CAPTURER", "CAPTURE_LIMIT", "SCRATCH", "CodeStore"]

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
"""Start of the names of temporary folders in ``Misc``; one whose process has ended may be deleted."""

CAPTURER: Final = "job_orchestration"
"""The author of captured commits."""
_COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_FORMATS: Final = {40: "sha1", 64: "sha256"}
"""The formats of objects, by the length of a commit's name."""


class CodeStore:
    """The commits and snapshots of a workspace. Its folders are made when they are first needed.

    Args:
        misc: the workspace's ``Misc``.
        kind: the format of the objects; commits of another go to the store of that format by themselves.
    """

    def __init__(self, misc: Path, kind: str = "sha1") -> None:
        self._misc = Path(os.path.abspath(misc))
        self._kind = kind
        self._repository = self._misc / ("code.git" if kind == "sha1" else f"code-{kind}.git")
        self._snapshots = self._misc / "snapshots"

    @property
    def repository(self) -> Path:
        """The bare repository that holds the pinned commits."""
        return self._repository

    def of(self, commit: str) -> CodeStore:
        """Return the store that a commit belongs to by the format of its name."""
        kind = _FORMATS.get(len(commit), self._kind)
        return self if kind == self._kind else CodeStore(self._misc, kind)

    def environment(self) -> dict[str, str]:
        """Return variables that make a git command use the store, and only the store's own configuration."""
        return {
            "GIT_DIR": str(self._repository),
            "GIT_CONFIG_GLOBAL": str(self._repository / "trust"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_COUNT": "0",
        }

    def has(self, commit: str) -> bool:
        """Return whether a commit is pinned; only files are read."""
        if not _COMMIT.fullmatch(commit):
            return False
        if (other := self.of(commit)) is not self:
            return other.has(commit)
        return self._has_ref(f"refs/pins/{commit}")

    def pin(self, tree: WorkTree) -> str:
        """Keep the head of a work tree for good; this costs nothing if it is pinned already.

        Returns:
            The commit.

        Raises:
            CodeError: if it cannot be copied.
        """
        if (other := self.of(tree.head)) is not self:
            return other.pin(tree)
        if not self._is_whole(tree, tree.head):
            self.create()
            with self._writing() as lock:
                if not self._is_whole(tree, tree.head):
                    self._fetch(tree.top, tree.head, lock)
                    modules = self._submodules(tree, tree.head, lock)
                    self._copy_large(tree, tree.head)
                    self._keep(tree.head, modules)
        return tree.head

    def _is_whole(self, tree: WorkTree, commit: str) -> bool:
        """Whether a commit of a work tree is pinned, and no content of a large file was lost since."""
        large = tree.all_large().values()
        return self.has(commit) and large_files.are_kept(large, self._repository)

    def pin_stored(self, commit: str) -> str:
        """Pin a commit whose objects are in the store already: it is in the history of a pinned one.

        Returns:
            The commit.

        Raises:
            CodeError: if the store lacks it, or a submodule's commit that it names.
        """
        if (other := self.of(commit)) is not self:
            return other.pin_stored(commit)
        if not self.has(commit):
            with self._writing():
                self._keep(commit, self._stored_submodules(commit))
        return commit

    def _stored_submodules(self, commit: str) -> list[str]:
        """Return the commits of a stored commit's submodules, and those of theirs."""
        found: list[str] = []
        for path, module in self._links(commit).items():
            try:
                found += [module, *self._stored_submodules(module)]
            except CodeError as error:
                what = f"The commit {commit[:12]} needs {module[:12]} of its submodule {path}"
                raise CodeError(f"{what}, which the workspace does not hold") from error
        return found

    def capture(self, tree: WorkTree) -> str:
        """Keep the content of a dirty work tree as a commit of its own, on top of its head.

        Returns:
            The commit; the head itself if the tree is clean.

        Raises:
            CodeError: if it is too large, or a file cannot be read.
        """
        if (other := self.of(tree.head)) is not self:
            return other.capture(tree)
        if not tree.dirty:
            return self.pin(tree)
        capturing.refuse_bulk(tree, CAPTURE_LIMIT)
        if tree.has_moved_submodules:  # the head alone is not what the work tree shows of them
            self.create()
        else:
            self.pin(tree)
        with self._writing() as lock, self._scratch() as scratch:
            modules: list[str] = []
            if tree.has_moved_submodules:
                self._fetch(tree.top, tree.head, lock)
            commit = self._commit(tree, scratch, lock, modules)
            if not self._is_whole(tree, commit):
                modules += self._submodules(tree, commit, lock, set(modules))
                self._copy_large(tree, commit, but=tree.dirty)
                self._keep(commit, modules)
        return commit

    def snapshot(self, commit: str) -> Path:
        """Return the folder with a pinned commit's files; make it if it does not exist.

        Raises:
            CodeError: if the commit is not pinned.
        """
        if (other := self.of(commit)) is not self:
            return other.snapshot(commit)
        target = self._snapshots / commit
        if _COMMIT.fullmatch(commit) and target.is_dir():
            return target
        if not self.has(commit):
            raise CodeError(
                f"{self._repository} has no commit {commit}", "Ready the config again, from its repository"
            )
        durable.make_folder(str(self._snapshots))
        with self._scratch() as scratch:
            made = self._make(commit, scratch)
            durable.sync_tree(str(made))
            stamps = snapshot_stamps.stamps_of(str(made))
            _put_in_place(made, target)
            checkouts.lock_folders(str(target))
            snapshot_stamps.write(self._stamp_file(commit), stamps)
        return target

    def mend_snapshot(self, commit: str, put_away: PutAway) -> list[str]:
        """Put back what was changed in a snapshot that exists; return the changed, added and missing paths.

        Raises:
            CodeError: if the commit cannot be checked out.
            OSError: if the snapshot cannot be read or written.
        """
        if (other := self.of(commit)) is not self:
            return other.mend_snapshot(commit, put_away)
        target = self._snapshots / commit
        if not target.is_dir():
            return []  # the code lies elsewhere
        stamps = snapshot_stamps.read(self._stamp_file(commit))
        if stamps is not None and not snapshot_stamps.differences(str(target), stamps):
            if not checkouts.are_locked(str(target)):  # an older release made it, or a kill came in between
                with suppress(OSError):  # it may be another user's
                    checkouts.lock_folders(str(target))
            return []
        with self._writing(), self._scratch() as scratch:
            made = self._make(commit, scratch)
            changed = snapshot_stamps.differences(str(target), snapshot_stamps.stamps_of(str(made)))
            checkouts.put_back(made, target, changed, put_away)
            snapshot_stamps.write(self._stamp_file(commit), snapshot_stamps.stamps_of(str(target)))
        return changed

    def foreign_files(self, commit: str) -> list[str]:
        """Return the paths in a snapshot that are not what the commit says; none if that is not known."""
        if (other := self.of(commit)) is not self:
            return other.foreign_files(commit)
        stamps = snapshot_stamps.read(self._stamp_file(commit))
        folder = str(self._snapshots / commit)
        found = [] if stamps is None else snapshot_stamps.differences(folder, stamps)
        return [name for name in found if os.path.lexists(os.path.join(folder, name))]

    def _stamp_file(self, commit: str) -> str:
        return str(self._repository / "stamps" / commit)

    def _make(self, commit: str, scratch: Path) -> Path:
        """Check a commit out into a folder of its own."""
        made = scratch / "tree"
        made.mkdir()
        self._check_out(commit, made, scratch, has_submodules=self._has_ref(f"refs/submodules/{commit}/"))
        large_files.fill(made, self._repository, commit)
        checkouts.make_read_only(made)
        return made

    def _check_out(self, commit: str, folder: Path, scratch: Path, *, has_submodules: bool) -> None:
        """Write the files of a commit into a folder, and those of its submodules into their places in it."""
        index = tempfile.mkdtemp(dir=scratch)
        place = {"GIT_WORK_TREE": str(folder), "GIT_INDEX_FILE": os.path.join(index, "index")}
        self._git("read-tree", "--reset", "-u", "--end-of-options", commit, folder=folder, environment=place)
        for path, module in self._links(commit).items() if has_submodules else ():
            inside = folder / path
            inside.mkdir(exist_ok=True)  # git leaves an empty folder there
            if inside.resolve() != inside:
                raise CodeError(f"The submodule {path} lies behind a link", "Take the link out of the commit")
            self._check_out(module, inside, scratch, has_submodules=True)

    def fault(self, limit: float) -> str | None:
        """Return the problem that ``git fsck`` finds in the store, or `None`; nothing is changed.

        Args:
            limit: time limit in seconds.
        """
        others = [CodeStore(self._misc, kind) for kind in _FORMATS.values() if self._kind == "sha1" != kind]
        if not self._repository.is_dir():
            return next((found for other in others if (found := other.fault(limit))), None)
        try:
            self._git("fsck", "--connectivity-only", "--no-dangling", "--no-progress", limit=limit)
        except CodeError as error:
            return error.what
        return next((found for other in others if (found := other.fault(limit))), None)

    def _has_ref(self, name: str) -> bool:
        """Return whether a ref exists; a name that ends in a slash means any ref below it."""
        if (self._repository / name).exists():
            return True
        try:
            packed = (self._repository / "packed-refs").read_bytes()  # there when a person ran `git gc` in it
        except FileNotFoundError:
            return False
        return f" {name}{'' if name.endswith('/') else chr(10)}".encode() in packed

    # -- the repository -----------------------------------------------------------------------------------

    def _ref(self, commit: str) -> Path:
        return self._repository / "refs" / "pins" / commit

    def create(self) -> None:
        """Make the store, completely or not at all."""
        if self._repository.is_dir():
            return
        durable.make_folder(str(self._misc))
        with self._scratch() as scratch:
            made = scratch / "code.git"
            kinds = {"GIT_DEFAULT_HASH": self._kind, "GIT_DEFAULT_REF_FORMAT": "files"}
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

    def _fetch(self, top: Path, commit: str, lock: int) -> None:
        """Copy a commit and its history. A shallow clone's history ends where it ends there.

        A partial clone lacks old versions of files; the commit alone is copied from it.
        """
        with suppress(FileNotFoundError):
            durable.unlink(str(self._repository / "shallow.lock"))  # left by a kill: we have the lock
        try:
            self._fetch_once(top, commit, lock)
        except git.GitError as error:
            with suppress(git.GitError):
                self._fetch_once(top, commit, lock, "--depth=1")
                return
            raise CodeError(
                f"Commit {commit} of {top} cannot be copied: {error.reason}",
                f"Run `git -C {top} fsck`; a partial clone gets what it lacks by "
                f"`git -C {top} fetch --refetch --no-filter`",
            ) from None

    def _fetch_once(self, top: Path, commit: str, lock: int, *options: str) -> None:
        self._git(
            *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"),
            *("--update-shallow", *options, "--end-of-options", str(top), commit),
            lock=lock,
            environment={"GIT_ALLOW_PROTOCOL": "file"},
        )

    def _copy_large(self, tree: WorkTree, commit: str, but: Container[str] = ()) -> None:
        """Copy the contents that Git LFS keeps beside a commit and its submodules; some paths left out."""
        files = {path: large for path, large in tree.all_large().items() if path not in but}
        if not files:
            return
        with self._scratch() as scratch:
            for large in files.values():
                large_files.keep(large, self._repository, scratch)
            large_files.record(files, self._repository, commit, scratch)

    def _links(self, commit: str) -> dict[str, str]:
        """Return the path and the commit of each submodule of a commit."""
        entries = git.tree_entries(commit, folder=str(self._repository), environment=self.environment())
        return {entry.path: entry.name for entry in entries if entry.is_submodule}

    def _submodules(
        self, tree: WorkTree, commit: str, lock: int, known: Container[str] = frozenset()
    ) -> list[str]:
        """Copy the commits of the submodules of a commit, and those of theirs; return them.

        Args:
            tree: the work tree of the commit.
            commit: its objects are in the store.
            lock: the right to write the store.
            known: commits that are in the store already.
        """
        modules = {module.folder: module for module in tree.submodules}
        if not modules:
            return []
        found: list[str] = []
        for path, wanted in self._links(commit).items():
            if wanted in known:
                continue
            module = modules.get(path)
            if module is None:
                raise capturing.not_captured(path)
            if module.head != wanted:
                raise CodeError(
                    f"The submodule {path} of {tree.top} is at another commit than the repository names",
                    f"Commit that, or go back: git -C {tree.top} submodule update --init --recursive",
                )
            self._fetch(module.top, wanted, lock)
            found += [wanted, *self._submodules(module, wanted, lock, known)]
        return found

    def _commit(self, tree: WorkTree, scratch: Path, lock: int, modules: list[str]) -> str:
        """Make a commit of the head and all differences from it, deleted paths first.

        A status does not list what it cannot look at, as below a link to itself; adding the link replaces it.
        A dirty submodule becomes a commit of its own first; each such commit is added to `modules`.
        """
        date = self._git("log", "-1", "--format=%ct", "--end-of-options", tree.head)
        index = os.path.join(tempfile.mkdtemp(dir=scratch), "index")
        place = {
            "GIT_WORK_TREE": str(tree.top),
            "GIT_INDEX_FILE": index,
            **capturing.signature(date, CAPTURER),
        }
        call = functools.partial(self._git, folder=tree.top, environment=place, lock=lock)
        links = {module.folder: module for module in tree.submodules if module.folder in tree.own_dirty}
        links |= {module.folder: module for module in tree.submodules if module.dirty}
        changed = [path for path in tree.own_dirty if path not in links]
        there = [path for path in changed if capturing.is_there(tree.top, path)]
        call("read-tree", "--end-of-options", tree.head)
        call("update-index", "-z", "--force-remove", "--stdin", feed=capturing.lines(changed))
        call("update-index", "-z", "--add", "--remove", "--replace", "--stdin", feed=capturing.lines(there))
        for path, module in links.items():
            self._fetch(module.top, module.head, lock)
            commit = self._commit(module, scratch, lock, modules) if module.dirty else module.head
            if commit != module.head:
                modules.append(commit)
                modules += self._submodules(module, commit, lock, set(modules))
            call("update-index", "--cacheinfo", f"160000,{commit},{path}")
        return call("commit-tree", "-p", tree.head, "-m", "The work tree as it was found", call("write-tree"))

    def _keep(self, commit: str, modules: Iterable[str] = ()) -> None:
        """Pin a commit, once its objects are durable and its tree is known to be complete.

        The ref is written as the file it is: a temporary name among the refs would be a broken ref.
        """
        for folder, _, _ in os.walk(self._repository / "objects"):
            durable.sync_folder(folder)
        for module in modules:
            self._write_ref(self._repository / "refs" / "submodules" / commit / module, module)
        self._write_ref(self._ref(commit), commit)

    def _write_ref(self, ref: Path, commit: str) -> None:
        durable.make_folder(str(ref.parent))
        with self._scratch() as scratch:
            made = str(scratch / "ref")
            durable.write_new(made, f"{commit}\n".encode())
            durable.rename(made, str(ref))
        durable.sync_folder(str(ref.parent))

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
            environment={**self.environment(), **(environment or {})},
            feed=feed,
            limit=limit,
            hold=lock,
        )
        return os.fsdecode(said).removesuffix("\n")

    def _writing(self) -> AbstractContextManager[int]:
        """Hold the right to write the store; the descriptor goes to the commands that write."""
        return locks.folder_lock(str(self._repository))

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A temporary folder on the workspace's file system."""
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=self._misc) as folder:
            yield Path(folder)


_put_in_place = checkouts.put_in_place
