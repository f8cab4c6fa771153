"""What the tasks of this process read, in a form that a later run can compare with its own disk.

Left out: this package, Python and its libraries, whose versions are compared; folders of the system; what
a task has written itself; and declared inputs, which are compared by content.
"""

from __future__ import annotations

import hashlib
import os
import site
import sys
import sysconfig
import tempfile
from contextlib import suppress
from functools import cached_property
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from typing import TYPE_CHECKING, Final

from job_orchestration.code import git, imported_files, observed_reads
from job_orchestration.code.snapshots import CodeStore
from job_orchestration.diagnostics import secrets
from job_orchestration.diagnostics.errors import OrchestrationError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.runs import artifact_store, working_folder
from job_orchestration.runs.opening import INPUTS
from job_orchestration.runs.reuse_records import Traces
from job_orchestration.workspace.safe_reads import names_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from job_orchestration.config.config import Json

_SYSTEM: Final = ("/proc", "/sys", "/dev", "/etc", "/run", "/usr/lib", "/usr/share", "/lib")
_ENDINGS: Final = ("", *SOURCE_SUFFIXES, *EXTENSION_SUFFIXES, ".pyc")
"""What may stand behind the name of a module: of a package nothing."""
MOST_FILES: Final = 2_000
"""Files that are compared one by one; of a task that reads more it cannot be said that nothing changed."""
_SMALL: Final = 16 << 20
"""Bytes of a file that is compared by content if it was touched."""
_TOO_MANY: Final = f"read more than {MOST_FILES:,} files that are not in inputs"
_UNCLEAR: Final = "read files in a way that cannot be followed"


class Places:
    """Where this process has its code, and its run its files.

    Args:
        misc: the workspace's folder ``Misc``.
        commit: the run's commit; `None` if it has no snapshot.
        snapshot: its checkout.
        run_folder: the run's folder.
    """

    def __init__(self, misc: str, commit: str | None, snapshot: str | None, run_folder: str) -> None:
        self.commit = commit
        self.snapshot = snapshot
        self.run_folder = run_folder
        self._misc = misc
        seen = observed_reads.seen
        real = (snapshot, os.path.realpath(snapshot)) if snapshot else ()
        tops = (working_folder.of_run(run_folder), seen.top if seen else "", *real)
        self._tops = tuple(dict.fromkeys(f"{top}{os.sep}" for top in tops if top))
        """Folders that show the top of the snapshot."""

    def committed(self, path: str) -> str | None:
        """Return a path relative to the snapshot, if it is one of it or was one by its name."""
        for path_ in (path, os.path.realpath(path)) if self.snapshot else ():
            for top in self._tops:
                if f"{path_}{os.sep}".startswith(top):
                    return os.path.relpath(path_, top)
        return None

    def content_of(self, relative: str) -> str | None:
        """Return the digest of a file of the snapshot, or of the names in a folder; `None` if not there."""
        assert self.snapshot is not None, "a path in it was found"
        return _content_of(os.path.join(self.snapshot, relative))

    def modules_at(self, name: str) -> list[str]:
        """Return the places of the snapshot that have a module of a name."""
        if self.snapshot is None:
            return []
        below = name.replace(".", os.sep)
        tops = (p for p in dict.fromkeys(sys.path) if f"{p}{os.sep}".startswith(self._tops))
        found = (os.path.join(top, below + ending) for top in tops for ending in _ENDINGS)
        return [os.path.relpath(path, self.snapshot) for path in found if os.path.exists(path)]

    @cached_property
    def tree(self) -> str | None:
        """The tree of the commit; `None` if the store cannot tell."""
        if self.commit is None:
            return None
        from pathlib import Path

        store = CodeStore(Path(self._misc)).of(self.commit)
        with observed_reads.paused(), suppress(OrchestrationError, OSError):
            wanted = ("rev-parse", "--verify", "--end-of-options", f"{self.commit}^{{tree}}")
            return git.run(*wanted, folder=str(store.repository)).decode().strip()
        return None

    def is_foreign(self, path: str) -> bool:
        """Return whether a path is neither of this run nor of the machine's software."""
        return not f"{path}{os.sep}".startswith((self._of_run, f"{self._misc}{os.sep}", *software()))

    @property
    def _of_run(self) -> str:
        return f"{self.run_folder}{os.sep}"


def _content_of(path: str) -> str | None:
    try:
        if os.path.isdir(path):
            names = "\0".join(sorted(os.listdir(path)))
            return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def software() -> tuple[str, ...]:
    """Return the folders of Python, its libraries and the system, each with a slash at the end."""
    if not _found:
        kinds = ("stdlib", "platstdlib", "purelib", "platlib", "include", "scripts")
        folders = {*_SYSTEM, *(p for k in kinds if (p := sysconfig.get_path(k))), site.getusersitepackages()}
        folders |= {*site.getsitepackages(), *({sys.prefix} - {"/usr", "/usr/local", "/"})}
        package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        names = (name for folder in (*folders, package) for name in (folder, os.path.realpath(folder)))
        _found[:] = dict.fromkeys(f"{name}{os.sep}" for name in names)
    return tuple(_found)


_found: Final[list[str]] = []


def submitted(run_folder: str) -> dict[str, str | None]:
    """Return the files that were submitted with a run, relative to its folder, and their digests."""
    folder = os.path.join(run_folder, INPUTS)
    return {f"{INPUTS}/{name}": _content_of(os.path.join(folder, name)) for name in names_in(folder)}


def collect(
    places: Places, earlier: Collection[str], inputs: Collection[str] = ()
) -> tuple[Traces, str | None]:
    """Return what was read so far, and why it is not enough to say later that nothing changed, if so.

    Args:
        places: where this process has its code and files.
        earlier: the folders of the finished tasks, relative to the run's folder.
        inputs: the paths of the declared inputs.
    """
    seen = observed_reads.seen
    if seen is None or seen.has_doubts:
        return Traces(), _UNCLEAR
    own = tuple(
        os.path.join(places.run_folder, name, "")
        for name in (*earlier, artifact_store.PARTIAL, artifact_store.RESUME, INPUTS)
    )
    committed: dict[str, str | None] = {}
    files: dict[str, Json] = {}
    for path, stamp in [*seen.opened.items(), *((path, True) for path in seen.listed)]:
        if (relative := places.committed(path)) is not None:
            committed[relative] = places.content_of(relative)
        elif f"{path}{os.sep}".startswith(os.path.join(places.run_folder, "")):
            if not f"{path}{os.sep}".startswith(own):
                return Traces(), f"read {escaped(os.path.relpath(path, places.run_folder))} of its own run"
        elif places.is_foreign(path) and path not in inputs and not _is_temporary(path):
            if secrets.masked(path) != path:
                return Traces(), "opened a file that is named by what may be a secret"
            files[path] = _content_of(path) if isinstance(stamp, bool) else _known(path, stamp)
        if len(committed) + len(files) > MOST_FILES:
            return Traces(), _TOO_MANY
    files |= {path: _known(path, stamp) for path, stamp in _modules_elsewhere(places)}
    first = set(imported_files.first_ones())
    later = {name: places.content_of(name) or "" for name in imported_files.known_ones() if name not in first}
    looked_for = {name: places.modules_at(name) for name in seen.modules} if places.snapshot else {}
    tree = (places.tree or "") if seen.has_programs and places.snapshot else None
    outside = next(
        (path for path in seen.written if places.is_foreign(path) and _is_left(places, path)), None
    )
    return Traces(later, looked_for, committed, files, tree), (
        None if outside is None else f"wrote {escaped(secrets.masked(outside))}, which is outside of its run"
    )


def _modules_elsewhere(places: Places) -> Iterator[tuple[str, observed_reads.Stamp]]:
    """Yield the modules that are neither of the snapshot nor of an installed version."""
    for path in dict.fromkeys(observed_reads.loaded_files()):
        if places.is_foreign(path) and places.committed(path) is None:
            stamp = observed_reads.stamp_of(path)
            if stamp is not None:
                yield path, stamp


def _is_temporary(path: str) -> bool:
    """Return whether a file was one for a while: it lies among such and is gone."""
    return path.startswith(os.path.join(tempfile.gettempdir(), "")) and not os.path.lexists(path)


def _is_left(places: Places, path: str) -> bool:
    return os.path.isfile(path) and places.committed(path) is None


def difference(traces: Traces, places: Places) -> str | None:
    """Return the first difference between what an earlier task read and what it would read now."""
    for name, digest in traces.modules.items():
        if places.snapshot is None or places.content_of(name) != digest:
            return f"module {escaped(name)} changed"
    for name, found in traces.looked_for.items():
        if places.modules_at(name) != found:
            return f"module {escaped(name)} is found elsewhere"
    for name, content in traces.committed.items():
        if places.snapshot is None or places.content_of(name) != content:
            return f"committed file {escaped(name)} changed"
    for path, known in traces.files.items():
        if not _is_same(path, known):
            return f"file {escaped(path)} changed"
    if traces.tree is not None and traces.tree != places.tree:
        return "it starts programs, and a committed file changed"
    return None


def _known(path: str, stamp: observed_reads.Stamp | None) -> Json:
    """Return a file as it is compared later: its stamp, and a digest if it is small; `None` for none."""
    if stamp is None:
        return None
    is_small = stamp[0] <= _SMALL and stamp == observed_reads.stamp_of(path)
    return [*stamp, _content_of(path) if is_small else None]


def _is_same(path: str, known: Json) -> bool:
    if isinstance(known, str):
        return _content_of(path) == known
    stamp = observed_reads.stamp_of(path)
    if not isinstance(known, list) or stamp is None:
        return stamp is None and known is None
    *before, content = known
    return list(stamp) == before or (content is not None and _content_of(path) == content)


def files_of_run(run_folder: str, but: Path | str | None = None) -> dict[str, tuple[int, int]]:
    """Return the files of a run that no task's store and none of our own are, with their stamps.

    Args:
        run_folder: the run's folder.
        but: the name of a folder in it that is left out.
    """
    found: dict[str, tuple[int, int]] = {}
    with suppress(OSError):
        names = [name for name in os.listdir(run_folder) if not name.startswith(_OURS) and name != but]
        paths = [os.path.join(run_folder, name) for name in names]
        paths += [os.path.join(parent, n) for p in paths for parent, _, ns in os.walk(p) for n in ns]
        paths += [os.path.join(run_folder, name) for name in working_folder.files_in(run_folder)]
        for path in paths:
            if not os.path.isdir(path) or os.path.islink(path):
                status = os.lstat(path)
                found[os.path.relpath(path, run_folder)] = status.st_size, status.st_mtime_ns
    return found


_OURS: Final = (
    *("config.yaml", "provenance.json", "status.yaml", "log.log", "journal", "search.yaml"),
    *(working_folder.NAME, artifact_store.PARTIAL, artifact_store.RESUME),
)
"""What the names of our own files begin with, temporary ones included."""
