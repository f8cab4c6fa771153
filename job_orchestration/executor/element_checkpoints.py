"""The checkpoints of a mapped task: two files with a line for each element that has ended."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from job_orchestration.config import json_floats
from job_orchestration.workspace import durable, safe_reads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_orchestration.config.config import Json

RESULTS: Final = "results.ndjson"
ERRORS: Final = "errors.ndjson"
EARLIER_ERRORS: Final = "errors.earlier.ndjson"
"""The errors of a try in which no element succeeded; the next one runs the elements again."""
_SYNC_EVERY: Final = 0.2
"""Seconds between two syncs of the checkpoints: what a power cut may cost is this much work."""


@dataclass(slots=True)
class Checkpoints:
    """The two files, open for appending."""

    folder: str
    done: dict[int, bool]
    """Number of an element that has ended to whether it has a result."""
    _results: int
    _errors: int
    _unsynced: set[int] = field(default_factory=set)
    _synced_at: float = field(default_factory=time.monotonic)

    @property
    def failed(self) -> int:
        """The number of elements that have an error."""
        return len(self.done) - sum(self.done.values())

    def add(self, index: int, line: bytes, *, is_error: bool) -> None:
        """Write the line of an element that has ended, and sync what is due.

        Raises:
            OSError: the disk refuses.
        """
        descriptor = self._errors if is_error else self._results
        durable.append(descriptor, line, self.folder)
        self.done[index] = not is_error
        self._unsynced.add(descriptor)
        if time.monotonic() - self._synced_at > _SYNC_EVERY:
            self.sync()

    def sync(self) -> None:
        """Sync what was written since the last time."""
        for descriptor in sorted(self._unsynced):
            durable.sync(descriptor, self.folder)
        self._unsynced.clear()
        self._synced_at = time.monotonic()

    def close(self) -> None:
        """Close the files."""
        os.close(self._results)
        os.close(self._errors)

    def forget_errors(self) -> str:
        """Have the next try run the elements with an error again; return the path of the errors now."""
        path = os.path.join(self.folder, EARLIER_ERRORS)
        durable.rename(os.path.join(self.folder, ERRORS), path)
        return path

    def sorted_lines(self, name: str) -> bytes:
        """Return the lines of one of the files by the number of the element, each element once."""
        lines = _lines_in(safe_reads.whole(os.path.join(self.folder, name)))
        return b"".join(lines[index] + b"\n" for index in sorted(lines))


def opened(folder: str, found: Sequence[Json]) -> Checkpoints:
    """Open the checkpoints of an earlier attempt, or new ones; those of other elements do not count.

    Args:
        folder: where the checkpoints of the task lie.
        found: the elements.

    Raises:
        OSError: the disk refuses.
    """
    own = os.path.join(folder, f"elements-{_digest(found)}")
    durable.make_folder(own)
    done: dict[int, bool] = {}
    descriptors: list[int] = []
    for name in (RESULTS, ERRORS):
        path = os.path.join(own, name)
        descriptor = durable.open_log(path)
        descriptors.append(descriptor)
        whole = safe_reads.whole(path)
        end = whole.rfind(b"\n") + 1
        if end < len(whole):  # a kill has cut the last line
            durable.truncate(descriptor, end, path)
        is_result = name == RESULTS
        done.update(dict.fromkeys((i for i in _lines_in(whole[:end]) if 0 <= i < len(found)), is_result))
    durable.sync_folder(own)
    return Checkpoints(own, done, descriptors[0], descriptors[1])


def _lines_in(data: bytes) -> dict[int, bytes]:
    lines = {}
    for line in data.splitlines():
        with suppress(ValueError, KeyError, TypeError):  # a task may have written something else
            lines[int(json.loads(line)["index"])] = line
    return lines


def _digest(found: Sequence[Json]) -> str:
    """Return what is the same if and only if the elements are."""
    text = json_floats.text_of(list(found), sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:12]
