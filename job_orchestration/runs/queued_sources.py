"""Remove dropped files whose runs are queued, each only if it is still the file that was read.

A person may replace the file at any moment, also between a look at it and its removal. So the file is moved
aside, looked at there, and put back if it is another one.

A file that cannot be removed (it belongs to another user, in a folder with the sticky bit) would be queued
again and again. So a note in ``Misc/opening/`` says that it was queued; each pass tries to remove it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from job_orchestration.workspace import durable, failures, safe_reads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.workspace.layout import Workspace

NOTED: Final = ".queued"
"""End of the name of a note in ``Misc/opening/``."""
_ASIDE: Final = "~queued"
"""End of a source's hidden name while it is removed; a config's own name never has a ``~``."""


class Source(NamedTuple):
    """The file in ConfigSources that a run is made from; removed after opening if it is unchanged."""

    filename: str
    identity: tuple[int, ...]


def remove(workspace: Workspace, sources: Mapping[Source, str]) -> None:
    """Remove sources whose runs are all queued; one that cannot be removed is noted.

    Args:
        workspace: the workspace.
        sources: each with the run, or the folder of the runs, that it became.
    """
    for source, run in sources.items():
        try:
            _remove(workspace, source.filename, source.identity)
        except OSError as error:
            if failures.concerns_all(error):
                raise
            note = {"source": source.filename, "identity": source.identity, "run": run}
            durable.replace(_note_of(workspace, source.filename), json.dumps(note).encode())
    durable.sync_folder(workspace.sources)


def _note_of(workspace: Workspace, filename: str) -> str:
    digest = hashlib.sha256(os.fsencode(filename)).hexdigest()[:16]
    return os.path.join(workspace.opening, f"{digest}{NOTED}")


def left(workspace: Workspace) -> dict[Source, str]:
    """Try again to remove the sources that could not be removed; return what is left, with their runs."""
    found: dict[Source, str] = {}
    for name in safe_reads.names_in(workspace.opening):
        if not name.endswith(NOTED):
            continue
        path = os.path.join(workspace.opening, name)
        with suppress(OSError, ValueError, KeyError, TypeError):
            note = json.loads(safe_reads.whole(path))
            source = Source(str(note["source"]), tuple(note["identity"]))
            with suppress(OSError):
                _remove(workspace, source.filename, source.identity)
            if _is_still(os.path.join(workspace.sources, source.filename), source.identity):
                found[source] = str(note["run"])
            else:
                durable.unlink(path)
    return found


def is_among(source: Source, known: Mapping[Source, str]) -> str | None:
    """Return the run of a source that was queued before; the device of a file may change with a restart."""
    _, *wanted = source.identity
    return next(
        (r for s, r in known.items() if s.filename == source.filename and list(s.identity[1:]) == wanted),
        None,
    )


def _remove(workspace: Workspace, filename: str, identity: Sequence[int]) -> None:
    """Remove a source unless another file has taken its place since it was read."""
    path, aside = os.path.join(workspace.sources, filename), _aside(workspace, filename)
    if not _is_still(path, identity):
        return
    with suppress(FileNotFoundError):
        durable.rename(path, aside)
        if _is_still(aside, identity):
            durable.unlink(aside)
        else:
            _put_back(workspace, filename)


def _is_still(path: str, identity: Sequence[int]) -> bool:
    _, *known = identity  # the device number may change with a restart
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    return [found.st_ino, found.st_size, found.st_mtime_ns] == known


def _aside(workspace: Workspace, filename: str) -> str:
    return os.path.join(workspace.sources, f".{filename}{_ASIDE}")


def _put_back(workspace: Workspace, filename: str) -> None:
    """Give a file that was moved aside its name again, or a numbered one if a newer file has that name."""
    aside = _aside(workspace, filename)
    stem, dot, ending = filename.rpartition(".")
    for n in itertools.count(1):
        path = os.path.join(workspace.sources, filename if n == 1 else f"{stem}-{n}{dot}{ending}")
        if os.path.lexists(path):
            if not os.path.samestat(os.lstat(path), os.lstat(aside)):
                continue
        elif os.path.isdir(aside) and not os.path.islink(aside):
            durable.rename(aside, path)  # a folder has no second name
            return
        else:
            try:
                durable.link(aside, path)
            except FileExistsError:  # it appeared in this moment
                continue
        durable.unlink(aside)
        return


def put_all_back(workspace: Workspace) -> None:
    """Put back what an interrupted process moved aside."""
    for name in os.listdir(workspace.sources):
        if name.startswith(".") and name.endswith(_ASIDE):
            try:
                _put_back(workspace, name[1 : -len(_ASIDE)])
            except OSError as error:
                if failures.concerns_all(error):
                    raise
