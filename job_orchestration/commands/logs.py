"""`logs`: print or follow the log of a run."""

from __future__ import annotations

import codecs
import os
import time
from typing import TYPE_CHECKING, Final

from job_orchestration.commands import selection
from job_orchestration.commands.log_extracts import Extract, Extractor, lines_in
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.runs import catalog, journal, lifecycle
from job_orchestration.runs.state import Status
from job_orchestration.workspace import safe_reads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from job_orchestration.workspace.layout import Workspace

LOG: Final = "log.log"
WHOLE: Final = Extract()
_CHUNK: Final = 1 << 16
_REACH: Final = 1 << 14
"""Bytes at the end of a followed log that may still change: more than the executor overwrites."""
_LOOKED_AT: Final = 2000
"""Lines at the end of a log in which its last error is looked for."""
_FEW: Final = 5
_FEW_ERRORS: Final = 25
_LOOK_AGAIN: Final = 0.2
"""Seconds between reads of a followed log."""


def path_of(workspace: Workspace, name: str) -> str:
    """Return the path of a run's log, which may not exist yet.

    Raises:
        UsageError: if the name matches no run, more than one, or a config that is not queued yet.
    """
    record = selection.one(catalog.entries(workspace), name)
    if record.run is None:
        raise UsageError(
            f"{escaped(name)} was not readied yet, so it has no log", "Run: job-orchestration ready"
        )
    return os.path.join(workspace.run_folder(record.run), LOG)


def logs(
    workspace: Workspace,
    name: str,
    *,
    follow: bool = False,
    wanted: Extract = WHOLE,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[str]:
    """Yield the log of a run, or a part of it, in pieces.

    Args:
        workspace: the workspace of the run.
        name: the name of the run.
        follow: yield new text until the run has ended, and lines that were overwritten again; restart if the
            log is cut.
        wanted: the part of the log.
        pause: called with the seconds to wait for more.

    Returns:
        Text; bytes that are not UTF-8 are replaced.

    Raises:
        UsageError: if the name matches no run, or more than one; if the run has no such task; while the text
            is read, if there was no such try.
    """
    path = path_of(workspace, name)
    if wanted.task is not None:
        _check_task(os.path.dirname(path), wanted.task)
    if wanted.needs_lines:
        return _extracted(_pieces(path, 0, follow=follow, pause=pause), wanted, follow=follow)
    at = 0 if wanted.lines is None else _begin_of_last(path, wanted.lines)
    return filter(None, _pieces(path, at, follow=follow, pause=pause))


def last_lines(run_folder: str, failed: str | None = None) -> tuple[str, ...]:
    """Return the end of a run's log: its last lines, or those of its last error.

    Args:
        run_folder: the folder of the run.
        failed: the id of a task whose errors are wanted, if the end of the log has some.
    """
    path = os.path.join(run_folder, LOG)
    if not os.path.isfile(path):  # a FIFO would be waited for
        return ()
    pieces = _pieces(path, _begin_of_last(path, _LOOKED_AT), follow=False, pause=time.sleep)
    wanted = Extract(_FEW) if failed is None else Extract(_FEW_ERRORS, failed, errors=True)
    extractor = Extractor(wanted)
    for line in lines_in(pieces):
        if line is not None:
            for _ in extractor.add(line):
                pass
    found = tuple(extractor.release())
    return found if found or failed is None else last_lines(run_folder)


def _check_task(run_folder: str, task: str) -> None:
    """Refuse a task that the run does not have; for a run of the first release only its log could tell."""
    ids = [state.id for state in lifecycle.fold(journal.read(run_folder)).tasks]
    if ids and task not in ids:
        from job_orchestration.diagnostics import suggestions

        near = suggestions.nearest_names(task, ids)
        todo = suggestions.did_you_mean([escaped(n) for n in near] or [escaped(n) for n in ids])
        raise UsageError(f"The run has no task {escaped(task)}", todo)


def _extracted(pieces: Iterator[str | None], wanted: Extract, *, follow: bool) -> Iterator[str]:
    extractor = Extractor(wanted)
    for line in lines_in(pieces):
        for shown in extractor.release() if line is None else extractor.add(line):
            yield f"{shown}\n"
    for shown in extractor.release():
        yield f"{shown}\n"
    tries = extractor.tries if wanted.task is None else {wanted.task: extractor.tries.get(wanted.task, 0)}
    most = max(tries.values(), default=0)
    if wanted.number is not None and wanted.number > most and not follow:
        of = "" if wanted.task is None else f" of {escaped(wanted.task)}"
        raise UsageError(
            f"The log has no try {wanted.number}{of}", f"It has {most}; leave --try out to see all"
        )


def _pieces(path: str, at: int, *, follow: bool, pause: Callable[[float], None]) -> Iterator[str | None]:
    """Yield the text of a log from a byte on; `None` whenever all that is there has been read."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    shown = b""
    while True:
        over = not follow or _has_ended(os.path.dirname(path))  # asked first: what follows it is in the log
        if (now := _first_change(path, at, shown)) != at:
            if now and (text := _back_to_line(shown[len(shown) - at + now :])):
                yield text
            at, shown = now, shown[: len(shown) - at + now] if now else b""
            decoder.reset()
        while data := _read(path, at):
            at += len(data)
            shown = (shown + data)[-_REACH:]
            if text := decoder.decode(data):
                yield text
        if over:
            break
        yield None
        pause(_LOOK_AGAIN)
    if text := decoder.decode(b"", final=True):
        yield text


def _begin_of_last(path: str, lines: int) -> int:
    """Return where the last lines of a file begin; an unfinished line counts as one."""
    at = size = _size(path)
    ends = 0
    while lines and at:
        begin = max(0, at - _CHUNK)
        data = _read(path, begin, at - begin)
        if at == size and not data.endswith(b"\n"):
            ends += 1
        position = len(data)
        while (position := data.rfind(b"\n", 0, position)) >= 0:
            ends += 1
            if ends > lines:
                return begin + position + 1
        at = begin
    return 0 if lines else size


def _first_change(path: str, at: int, shown: bytes) -> int:
    """Return where the first line begins that is no longer what was shown; `at` if there is none.

    Lines that a program overwrites, such as a progress bar, change at the end of the log. A log that was cut
    begins anew, at 0.
    """
    begin = at - len(shown)
    now = _read(path, begin, len(shown))
    if now == shown:
        return at
    same = len(os.path.commonprefix((now, shown)))  # noqa: RUF071  # these are no paths
    if not same:
        return at if _size(path) >= at else 0
    return begin + (shown.rfind(b"\n", 0, same) + 1 or same)


def _back_to_line(shown: bytes) -> str:
    """What brings a terminal from the end of some text to where the text began, or to a new line."""
    if b"\n" in shown:
        return "" if shown.endswith(b"\n") else "\n"
    return f"\r{' ' * len(shown.decode('utf-8', 'replace'))}\r"


def _read(path: str, at: int, length: int = _CHUNK) -> bytes:
    try:
        with safe_reads.plain_file(path) as (descriptor, _):
            return os.pread(descriptor, length, at)
    except FileNotFoundError:
        return b""


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _has_ended(run_folder: str) -> bool:
    if not journal.attempts(run_folder):
        return True  # the first Job Orchestration made it, or it is gone
    try:
        return lifecycle.fold(journal.read(run_folder)).status in {Status.COMPLETE, Status.FAILED}
    except OSError:
        return True  # it cannot be read, so its end would never be seen
