"""Files of Git LFS: a commit holds a pointer, and the content lies beside the repository's objects.

A pointer is a text of a few lines with the sha256 and the size of the content. The clone keeps contents in
``lfs/objects/aa/bb/<sha256>`` of its git folder, and the store of code keeps copies under the same names, so
that a snapshot holds what the work tree shows when the clone is gone. No program of Git LFS is started.
``lfs/commits/<commit>.json`` in the store names the large files of a commit.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from job_orchestration.code import git
from job_orchestration.diagnostics.errors import CodeError
from job_orchestration.diagnostics.problems import named
from job_orchestration.workspace import durable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_POINTER: Final = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*"
    rb"oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,18})\n"
)
_MOST_OF_A_POINTER: Final = 1024
"""Bytes; a longer file is no pointer, as Git LFS says."""
_CHUNK: Final = 1 << 20
_READ_ONLY: Final = 0o444


@dataclass(frozen=True, slots=True)
class LargeFile:
    """A file that a commit has as a pointer."""

    path: str
    """In its repository."""
    digest: str
    """sha256 of its content, in hex."""
    size: int
    source: str
    """A file that has the content."""


def pointer_in(data: bytes) -> tuple[str, int] | None:
    """The digest and the size that a pointer names; `None` if the text is no pointer."""
    match = _POINTER.fullmatch(data) if len(data) <= _MOST_OF_A_POINTER else None
    return (match[1].decode(), int(match[2])) if match else None


def large_files(top: Path, blobs: Mapping[str, str]) -> tuple[LargeFile, ...]:
    """Find the contents of the files that a commit keeps in Git LFS.

    Args:
        top: the work tree.
        blobs: the paths that have the filter ``lfs``, each with the name of its blob in the commit.

    Raises:
        CodeError: if a content is not on this machine.
    """
    found_pointers = pointers(top, blobs)
    if not found_pointers:
        return ()
    storage = _storage(top)
    found, absent = [], []
    for path, (digest, size) in found_pointers.items():
        source = _source(top / path, storage, digest, size)
        if source is None:
            absent.append(path)
        else:
            found.append(LargeFile(path, digest, size, source))
    if absent:
        raise CodeError(
            f"Git LFS has the content of {named(absent)} of {top} elsewhere, not on this machine",
            f"Bring it: git -C {top} lfs pull",
        )
    return tuple(found)


def has_content(path: Path, large: LargeFile) -> bool:
    """Whether a file of a work tree has the content that its pointer names."""
    return _size(path) == large.size and _digest(path) == large.digest


def keep(large: LargeFile, store: Path, scratch: Path) -> None:
    """Copy a content durably into the store of code, under its digest; costs nothing when it is there.

    Raises:
        CodeError: if the content is not what its digest says.
    """
    target = _place(store, large.digest)
    if target.exists():
        return
    made = scratch / large.digest
    digest = hashlib.sha256()
    with open(large.source, "rb") as source, open(made, "xb") as copy:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            copy.write(chunk)
    if digest.hexdigest() != large.digest:
        raise CodeError(f"{large.source} is damaged: it is not what its name says", "Run there: git lfs fsck")
    made.chmod(_READ_ONLY)
    durable.sync_file(str(made))
    durable.make_folder(str(target.parent))
    durable.rename(str(made), str(target))
    durable.sync_folder(str(target.parent))


def are_kept(files: Iterable[LargeFile], store: Path) -> bool:
    """Whether the store of code has all these contents."""
    return all(_place(store, large.digest).is_file() for large in files)


def record(files: Mapping[str, LargeFile], store: Path, commit: str, scratch: Path) -> None:
    """Write down durably which files of a commit have their contents in the store."""
    if not files:
        return
    target = _record(store, commit)
    made = str(scratch / "record")
    text = json.dumps({path: large.digest for path, large in files.items()}, indent=1)
    durable.write_new(made, f"{text}\n".encode())
    durable.make_folder(str(target.parent))
    durable.rename(made, str(target))
    durable.sync_folder(str(target.parent))


def fill(tree: Path, store: Path, commit: str) -> None:
    """Give the pointers in a checked-out commit their contents.

    Raises:
        CodeError: if the store has lost one.
    """
    for name, content in contents_of(store, commit).items():
        path = tree / name
        if path.parent.resolve() == path.parent and path.is_file() and not path.is_symlink():
            _replace(path, content)


def contents_of(store: Path, commit: str) -> dict[str, Path]:
    """Return the paths of a pinned commit that Git LFS keeps, each with the file that has its content.

    Raises:
        CodeError: if the store has lost one.
    """
    try:
        digests = json.loads(_record(store, commit).read_bytes())
    except FileNotFoundError:
        return {}
    found = {name: _place(store, digest) for name, digest in digests.items()}
    lost = next((name for name, content in found.items() if not content.is_file()), None)
    if lost is not None:
        raise CodeError(
            f"The content of {lost} is gone from {store}", "Ready the config again, from its clone"
        )
    return found


def _record(store: Path, commit: str) -> Path:
    return store / "lfs" / "commits" / f"{commit}.json"


def _replace(path: Path, content: Path) -> None:
    """One content serves all snapshots, unless a file of it can be executed or the disk cannot link."""
    executable = path.stat().st_mode & 0o111
    path.unlink()
    if not executable:
        with suppress(OSError):
            os.link(content, path)
            return
    shutil.copyfile(content, path)
    path.chmod(_READ_ONLY | executable)


def place_of(digest: str) -> Path:
    """Return where a git folder keeps a content, relative to the folder."""
    return Path("lfs", "objects", digest[:2], digest[2:4], digest)


def _place(store: Path, digest: str) -> Path:
    return store / place_of(digest)


def pointers(
    top: Path, blobs: Mapping[str, str], environment: Mapping[str, str] | None = None
) -> dict[str, tuple[str, int]]:
    """Return the digest and the size that each pointer among some blobs of a repository names, by path."""
    names = "".join(f"{blob}\n" for blob in blobs.values()).encode()
    said = (
        git.run(
            "cat-file", "--batch-check=%(objectsize)", folder=str(top), feed=names, environment=environment
        )
        .decode()
        .split("\n")
    )
    small = [
        path
        for path, size in zip(blobs, said, strict=False)
        if size.isdigit() and int(size) <= _MOST_OF_A_POINTER
    ]
    wanted = "".join(f"{blobs[path]}\n" for path in small).encode()
    data = git.run("cat-file", "--batch", folder=str(top), feed=wanted, environment=environment)
    found = {}
    for path in small:
        head, _, data = data.partition(b"\n")
        size = int(head.rsplit(b" ", 1)[1])
        if pointer := pointer_in(data[:size]):
            found[path] = pointer
        data = data[size + 1 :]
    return found


def _storage(top: Path) -> str:
    """The folder of the contents that a clone has."""
    common = os.fsdecode(git.run("rev-parse", "--git-common-dir", folder=str(top)).removesuffix(b"\n"))
    chosen = os.fsdecode(
        git.run("config", "--get", "lfs.storage", folder=str(top), accept=(0, 1)).removesuffix(b"\n")
    )
    folder = os.path.join(top, common)
    return os.path.join(folder, chosen or "lfs", "objects")


def _source(path: Path, storage: str, digest: str, size: int) -> str | None:
    kept = Path(storage, digest[:2], digest[2:4], digest)
    if _size(kept) == size:
        return str(kept)
    if _size(path) == size and _digest(path) == digest:
        return str(path)
    return None


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return -1


def _digest(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
