"""Prefer runs whose data this worker has loaded, among the next runs of equal priority.

It is no promise but saves time: which data a run wants is compared by the keys of its config, and a run that
was passed over often enough, or for long enough, has its turn.
"""

from __future__ import annotations

import heapq
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.config.config import specs_of
from job_orchestration.runs import event_codec, journal, token_header
from job_orchestration.runs.events import Readied
from job_orchestration.workspace import safe_reads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.config.config import Json
    from job_orchestration.runs.state import RunState
    from job_orchestration.workspace.layout import Workspace

    Place = tuple[int, int, int, str]

WINDOW: Final = 50
"""Number of waiting runs that are looked at."""
MOST_TIMES: Final = 20
"""How often the first run may be passed over in a row."""
MOST_SECONDS: Final = 60.0
"""For how long the first run may be passed over."""


class PreloadPreference:
    """What a worker has loaded, and which waiting runs want the same."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._commit: str | None = None
        self._loaded: Mapping[str, Mapping[str, Json]] = {}
        self._known: dict[str, tuple[int, bool]] = {}
        self._passed = ("", 0, 0.0)
        """The filename of the first token, how often it was passed over, and since when."""

    def holds(self, state: RunState, loaded: Mapping[str, Mapping[str, Json]]) -> None:
        """Note what a fork server holds for a run: method to the keys that decide it; ignored if empty."""
        if not loaded:
            return
        commit = state.code.commit if state.code else None
        if (commit, loaded) != (self._commit, self._loaded):
            self._commit, self._loaded = commit, loaded
            self._known.clear()

    def pick(self, line: Sequence[Place]) -> Place | None:
        """Return the place of a waiting run to prefer to the first one of a heap; `None`: to none."""
        if not self._loaded:
            return None
        first = line[0]
        filename, times, since = self._passed
        now = time.monotonic()
        if filename != first[3]:
            times, since = 0, now
        if times >= MOST_TIMES or now - since >= MOST_SECONDS:
            return None
        for place in heapq.nsmallest(WINDOW, line):
            if place[0] != first[0]:
                return None
            if self._is_wanted_by(place[3], place[1]):
                if place == first:
                    return None
                self._passed = first[3], times + 1, since
                return place
        return None

    def _is_wanted_by(self, filename: str, mtime: int) -> bool:
        known = self._known.get(filename)
        if known is None or known[0] != mtime:
            self._known[filename] = known = mtime, self._asks_for_it(filename)
        return known[1]

    def _asks_for_it(self, filename: str) -> bool:
        with suppress(OSError):
            run = token_header.run_of(os.path.join(self._workspace.to_run, filename))
            if run is None:
                return False
            data = safe_reads.whole(journal.path_of(self._workspace.run_folder(run), 0))
            entry = event_codec.decode(data.partition(b"\n")[0])
            if entry is None or not isinstance(entry.event, Readied):
                return False
            readied = entry.event
            commit = readied.code.commit if readied.code else None
            specs = {spec.method: spec.merged_with(readied.values) for spec in specs_of(readied.values)}
            return commit == self._commit and all(
                method in specs and values.items() <= specs[method].items()
                for method, values in self._loaded.items()
            )
        return False
