"""A commit as files that travel: a pack with its tree, its submodules, and the contents of Git LFS.

The pack holds the commit without its history. It comes from anywhere, so git checks every object in it, and
every object that the commit needs must be there before it is pinned. No hook, filter or configuration comes
with it.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from job_orchestration.code import git, large_files
from job_orchestration.code.large_files import LargeFile
from job_orchestration.code.snapshots import SCRATCH
from job_orchestration.diagnostics.errors import CodeError
from job_orchestration.workspace import durable, locks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.code.snapshots import CodeStore

PACK: Final = "commit.pack"
LARGE: Final = "lfs"
"""The folder beside the pack with the contents of Git LFS, each named by its digest."""
_LONG: Final = 900.0
_COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class PackedCommit(NamedTuple):
    """What a pack holds."""

    commit: str
    modules: tuple[str, ...]
    """The commits of its submodules, and those of theirs."""
    large: Mapping[str, str]
    """The paths of the files of Git LFS, each with its digest."""

    @property
    def is_well_formed(self) -> bool:
        """Whether these can be names of commits and digests."""
        names = (self.commit, *self.modules)
        return all(map(_COMMIT.fullmatch, names)) and all(map(_DIGEST.fullmatch, self.large.values()))


def write(store: CodeStore, commit: str, folder: Path) -> PackedCommit:
    """Write the pack of a pinned commit, and what Git LFS keeps of it, into an empty folder.

    Raises:
        CodeError: if the store does not hold all of it.
    """
    store = store.of(commit)
    if not store.has(commit):
        raise CodeError(
            f"{store.repository} has no commit {commit}", "Look for it with: job-orchestration doctor"
        )
    modules = tuple(_modules(store, commit))
    listed = _in(store, "rev-list", "--objects", "--no-object-names", "--no-walk", commit, *modules)
    with (folder / PACK).open("xb") as pack:  # git would make it in the store, and move it from there
        _in(store, "pack-objects", "-q", "--stdout", feed=listed, into=pack.fileno())
    contents = large_files.contents_of(store.repository, commit)
    for content in contents.values():
        (folder / LARGE).mkdir(exist_ok=True)
        shutil.copyfile(content, folder / LARGE / content.name)
    return PackedCommit(commit, modules, {path: content.name for path, content in contents.items()})


def read(store: CodeStore, packed: PackedCommit, folder: Path) -> None:
    """Take a commit from its pack into the store and pin it; nothing happens if it is pinned already.

    Args:
        store: the store.
        packed: what the pack is said to hold.
        folder: has the pack; no other process changes its files.

    Raises:
        CodeError: if an object is damaged or lacking.
        OSError: if the store cannot be written.
    """
    store = store.of(packed.commit)
    if store.has(packed.commit):
        return
    store.create()
    with (
        locks.folder_lock(str(store.repository)),
        tempfile.TemporaryDirectory(prefix=SCRATCH, dir=store.repository.parent) as scratch,
    ):
        placed = _place(store, folder / PACK, Path(scratch))
        try:
            _insist_on_all(store, packed)
            for digest in dict.fromkeys(packed.large.values()):
                source = folder / LARGE / digest
                large = LargeFile("", digest, source.stat().st_size, str(source))
                large_files.keep(large, store.repository, Path(scratch))
        except (CodeError, OSError):
            for path in placed:
                durable.unlink(path)
            raise
        files = {path: LargeFile(path, digest, 0, "") for path, digest in packed.large.items()}
        large_files.record(files, store.repository, packed.commit, Path(scratch))
        _note_lacking_parents(store, (packed.commit, *packed.modules))
    store.pin_stored(packed.commit)


def _place(store: CodeStore, pack: Path, scratch: Path) -> list[str]:
    """Check every object of a pack and move it into the store; return the paths of its files."""
    made, index = scratch / "in.pack", scratch / "in.idx"
    shutil.copyfile(pack, made)
    said = _in(store, "index-pack", "--fsck-objects", "-o", str(index), str(made))
    name = os.fsdecode(said).split()[-1]
    target = store.repository / "objects" / "pack" / f"pack-{name}"
    if os.path.lexists(f"{target}.idx"):
        return []
    durable.make_folder(str(target.parent))
    for source, ending in ((made, "pack"), (index, "idx")):
        durable.sync_file(str(source))
        durable.rename(str(source), f"{target}.{ending}")  # a pack without an index is not read
    durable.sync_folder(str(target.parent))
    return [f"{target}.idx", f"{target}.pack"]


def _insist_on_all(store: CodeStore, packed: PackedCommit) -> None:
    """Raise an error if an object that a commit needs is not there."""
    for commit in (packed.commit, *packed.modules):
        _in(store, "cat-file", "-e", f"{commit}^{{commit}}")
    _in(store, "rev-list", "--objects", "--no-walk", "--quiet", packed.commit, *packed.modules)
    if missing := set(_modules(store, packed.commit)) - set(packed.modules):
        raise CodeError(
            f"The code lacks the commit {min(missing)[:12]} of a submodule", "Export the run again"
        )


def _note_lacking_parents(store: CodeStore, commits: Sequence[str]) -> None:
    """Tell git that the history of these commits ends with them, where the store has no parent."""
    path = store.repository / "shallow"
    known = path.read_text(encoding="ascii").split() if path.is_file() else []
    cut = [commit for commit in commits if commit not in known and _lacks_parent(store, commit)]
    if cut:
        durable.replace(str(path), "".join(f"{commit}\n" for commit in (*known, *cut)).encode())


def _lacks_parent(store: CodeStore, commit: str) -> bool:
    head = _in(store, "cat-file", "commit", commit).partition(b"\n\n")[0].decode("ascii", "replace")
    parents = [line.removeprefix("parent ") for line in head.splitlines() if line.startswith("parent ")]
    asked = "".join(f"{parent}\n" for parent in parents).encode()
    return bool(parents) and b" missing\n" in _in(store, "cat-file", "--batch-check", feed=asked)


def _modules(store: CodeStore, commit: str) -> list[str]:
    """Return the commits of the submodules that the store has for a commit, and those of theirs."""
    said = _in(store, "ls-tree", "-r", "-z", "--full-tree", "--end-of-options", commit)
    records = os.fsdecode(said).split("\0")[:-1]
    found: list[str] = []
    for about in (record.partition("\t")[0].split(" ") for record in records):
        if about[0] == "160000":
            found += [about[2], *_modules(store, about[2])]
    return found


def _in(store: CodeStore, command: str, *arguments: str, feed: bytes = b"", into: int | None = None) -> bytes:
    return git.run(
        command,
        *arguments,
        folder=str(store.repository),
        environment=store.environment(),
        feed=feed,
        limit=_LONG,
        into=into,
    )
