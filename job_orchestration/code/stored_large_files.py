"""Files of Git LFS in a commit that the store has in its history, but never pinned.

Only the contents of pinned commits are kept. So the pointers of such a commit are looked up among these; one
whose content was never kept makes the commit unusable, for a task would read the pointer in its place.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from job_orchestration.code import commits, large_files
from job_orchestration.code.large_files import LargeFile
from job_orchestration.code.snapshots import SCRATCH
from job_orchestration.diagnostics.errors import CodeError
from job_orchestration.diagnostics.problems import escaped, named

if TYPE_CHECKING:
    from job_orchestration.code.snapshots import CodeStore

_ATTRIBUTES: Final = ".gitattributes"
_MARK: Final = b"filter=lfs"


def record(store: CodeStore, commit: str) -> None:
    """Write down the files of Git LFS in a commit, as pinning it from its repository would.

    Raises:
        CodeError: if the store does not hold the commit, or one of the contents.
    """
    files = commits.files(store, commit)
    attributes = [blob for path, blob in files.items() if path.rpartition("/")[2] == _ATTRIBUTES]
    if not any(_MARK in commits.content(store, blob) for blob in attributes):
        return
    pointers = large_files.pointers(store.repository, files, store.environment())
    found = {path: LargeFile(path, digest, size, "") for path, (digest, size) in pointers.items()}
    lost = [p for p, large in found.items() if not large_files.are_kept([large], store.repository)]
    if lost:
        raise CodeError(
            f"The workspace does not hold the content that Git LFS has for {escaped(named(lost))} "
            f"of the commit {commit[:12]}",
            "Let pathToTasks name a clone that has it",
        )
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=store.repository.parent) as scratch:
        large_files.record(found, store.repository, commit, Path(scratch))
