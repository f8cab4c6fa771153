"""Compare what two runs of the same tasks made: each task's result, and every file in the runs' folders.

Files are read as they are on the disk; what a journal says of them does not count. What the program itself
writes into a run's folder, such as its journal and its log, is left out. Tasks may have written anywhere in
the folder: through their store, by ``outputDir``, and by a relative name.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.comparison import file_comparison
from job_orchestration.comparison.deviations import Comparison, Deviation, Tolerance, Verdict
from job_orchestration.runs import working_folder
from job_orchestration.runs.opening import INPUTS
from job_orchestration.runs.state import TaskStatus
from job_orchestration.workspace import safe_reads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from job_orchestration.comparison.unseeded_calls import UnseededCall
    from job_orchestration.runs.state import RunState, TaskState

_OURS: Final = frozenset(
    {
        *("config.yaml", "provenance.json", "journal", "status.yaml", "log.log", "lock.file"),
        *(working_folder.NAME, INPUTS),
    }
)
_CHUNK: Final = 1 << 20
_GONE: Final = "(absent)"


@dataclass(frozen=True, slots=True)
class Side:
    """One of two runs."""

    run: str
    folder: str
    state: RunState


@dataclass(frozen=True, slots=True)
class Verification:
    """What two runs have made, compared."""

    original: str
    rerun: str
    tolerance: Tolerance
    compared: tuple[Comparison, ...]
    """Each result and file: by task and then by name."""
    ignored: tuple[str, ...] = ()
    """The names of files that were left out."""
    unseeded: tuple[UnseededCall, ...] = ()
    """Where the code draws numbers that no seed decides, if nothing recorded explains a difference."""

    @property
    def verdict(self) -> Verdict:
        """The verdict on the whole: that on the part that is least alike."""
        found = {comparison.verdict for comparison in self.compared}
        return next((v for v in reversed(Verdict) if v in found), Verdict.IDENTICAL)

    def count(self, verdict: Verdict) -> int:
        """Return on how many results and files there is this verdict."""
        return sum(comparison.verdict is verdict for comparison in self.compared)

    def as_json(self) -> dict[str, Any]:
        """Return it as ``verify --json`` and the record in both runs have it."""
        return {
            "original": self.original,
            "rerun": self.rerun,
            "verdict": str(self.verdict),
            "rtol": self.tolerance.rtol,
            "atol": self.tolerance.atol,
            **{str(verdict): self.count(verdict) for verdict in Verdict},
            "ignored": list(self.ignored),
            "unseeded": [call.as_json() for call in self.unseeded],
            "compared": [comparison.as_json() for comparison in self.compared],
        }


def verify(before: Side, after: Side, tolerance: Tolerance, ignore: Sequence[str] = ()) -> Verification:
    """Compare the results and files of a rerun with those of its original.

    Args:
        before: the original.
        after: the rerun.
        tolerance: which numbers count as equal.
        ignore: globs of names of files that are left out, such as ``*/timing.json``, or of places in a file,
            such as ``*/run.json: seconds.*``. What `TaskBase.volatile` names is left out, too.

    Raises:
        OSError: the folder of a run cannot be listed.
    """
    tolerance = replace(tolerance, names=_names(before.run, after.run))
    globs = [*ignore, *_volatile(before.state), *_volatile(after.state)]
    old, new = _files(before), _files(after)
    names = sorted({*old, *new})
    ignored = {name for name in names if any(fnmatch.fnmatchcase(name, glob) for glob in globs)}
    results = [*_results(before.state, after.state, tolerance, globs)]
    files = [
        _compare(name, old.get(name), new.get(name), _for(name, tolerance, globs))
        for name in names
        if name not in ignored
    ]
    places = [glob for glob in dict.fromkeys(globs) if ": " in glob]
    return Verification(before.run, after.run, tolerance, (*results, *files), (*sorted(ignored), *places))


def _names(original: str, rerun: str) -> tuple[tuple[str, str], ...]:
    """Return the names that tasks may have written of the rerun, each with that of the original."""
    last = rerun.rpartition("/")[2], original.rpartition("/")[2]
    return tuple(dict.fromkeys(((rerun, original), last)))


def _volatile(state: RunState) -> Iterator[str]:
    """Yield the globs of what tasks say is another each time, with the task's id before them."""
    for task in state.tasks:
        for glob in task.volatile:
            yield f"{task.id}: {glob}" if glob.startswith("result: ") else f"{task.id}/{glob}"


def _for(name: str, tolerance: Tolerance, globs: Sequence[str]) -> Tolerance:
    """Return the tolerance for one file: with the places in it that are left out."""
    pairs = [glob.partition(": ") for glob in globs if ": " in glob]
    return replace(tolerance, left_out=tuple(p for file, _, p in pairs if fnmatch.fnmatchcase(name, file)))


def _results(
    before: RunState, after: RunState, tolerance: Tolerance, globs: Sequence[str]
) -> Iterator[Comparison]:
    """Compare what the tasks returned."""
    old, new = ({task.id: task for task in state.tasks} for state in (before, after))
    for id_ in dict.fromkeys((*old, *new)):
        name = f"{id_}: result"
        pair = _finished(old.get(id_)), _finished(new.get(id_))
        if pair[0] is None or pair[1] is None:
            old_, new_ = (_GONE if task is None else "finished" for task in pair)
            if old_ != new_:
                yield _unlike(f"{id_}: task", old_, new_)
        elif pair[0].result == pair[1].result and repr(pair[0].result) == repr(pair[1].result):
            yield Comparison(name, Verdict.IDENTICAL)
        else:
            wanted = f"{name}: "
            places = tuple(glob.removeprefix(wanted) for glob in globs if glob.startswith(wanted))
            own = replace(tolerance, left_out=places)
            yield file_comparison.compare_values(name, pair[0].result, pair[1].result, own)


def _finished(task: TaskState | None) -> TaskState | None:
    return task if task is not None and task.status is TaskStatus.FINISHED else None


def _files(side: Side) -> dict[str, str]:
    """Return the path of each file that the tasks of a run made, by its name.

    A task's folder counts under the task's id. A folder of a try that no checkpoint names does not count.
    """
    folders = {task.folder: task.id for task in side.state.tasks if task.folder is not None}
    found = {name: os.path.join(side.folder, name) for name in working_folder.files_in(side.folder)}
    for entry in safe_reads.names_in(side.folder):
        path = os.path.join(side.folder, entry)
        if entry in _OURS or entry.startswith(".") or _is_void(entry, side.state, folders):
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            name = folders.get(entry, entry)
            for below in _below(path):
                found[f"{name}/{os.path.relpath(below, path)}"] = below
        else:
            found[entry] = path
    return found


def _is_void(entry: str, state: RunState, folders: dict[str, str]) -> bool:
    """Return whether a folder holds what a task saved before a crash kept it from finishing."""
    return entry not in folders and any(
        task.folder is not None and (entry == task.id or entry.startswith(f"{task.id}~"))
        for task in state.tasks
    )


def _below(folder: str) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        yield from (os.path.join(parent, name) for name in files)
        yield from (path for name in folders if os.path.islink(path := os.path.join(parent, name)))


def _compare(name: str, before: str | None, after: str | None, tolerance: Tolerance) -> Comparison:
    if before is None or after is None:
        return _unlike(name, *(_GONE if path is None else "a file" for path in (before, after)))
    try:
        if os.path.islink(before) or os.path.islink(after):
            old, new = (
                f"a link to {os.readlink(p)}" if os.path.islink(p) else "a file" for p in (before, after)
            )
            return Comparison(name, Verdict.IDENTICAL) if old == new else _unlike(name, old, new)
        digests = _digest(before), _digest(after)
        if digests[0] == digests[1]:
            return Comparison(name, Verdict.IDENTICAL)
        if max(map(os.path.getsize, (before, after))) > file_comparison.LARGEST:
            return _unlike(name, *digests, method="digest", remark="it is very large")
        most = file_comparison.LARGEST
        contents = safe_reads.whole(before, most), safe_reads.whole(after, most)
        return file_comparison.compare(name, *contents, tolerance)
    except OSError as error:
        return Comparison(name, Verdict.DIFFERENT, remark=f"it cannot be read: {error.strerror or error}")


def _unlike(name: str, before: str, after: str, *, method: str = "presence", remark: str = "") -> Comparison:
    first = (Deviation("", before, after),)
    return Comparison(name, Verdict.DIFFERENT, method, 1, first, remark=remark)


def _digest(path: str) -> str:
    found = hashlib.sha256()
    with safe_reads.plain_file(path) as (descriptor, _):
        while chunk := os.read(descriptor, _CHUNK):
            found.update(chunk)
    return found.hexdigest()
