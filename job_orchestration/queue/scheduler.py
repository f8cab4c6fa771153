"""Order claimable tokens by priority, then age.

Some tokens are set aside for a while. A run that comes after others waits until they have completed. If this
machine lacks resources for a run, the run is passed over for a moment, together with every later run that
would use a resource that is lacking: so a large run has its turn among small ones. Among the next runs of
equal priority those are preferred whose data this worker has loaded (`preload_preference`). The order is no
state of its own: every scan makes it again.
"""

from __future__ import annotations

import heapq
import os
import time
from typing import TYPE_CHECKING, Final

from job_orchestration.queue.preload_preference import PreloadPreference
from job_orchestration.runs import journal, token_header
from job_orchestration.runs.token import Token
from job_orchestration.search import searches
from job_orchestration.workspace.naming import TokenName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from job_orchestration.config.scheduling import Requirements, ResourceRequest
    from job_orchestration.workspace.layout import Workspace

LOOK_EVERY: Final = 0.2
"""Seconds between two checks of `after` runs at the least; a check that takes long is made more rarely."""
RETRY_RESOURCES_EVERY: Final = 0.5
"""Seconds after which resources that were lacking are tried again."""
RESUMES_FIRST: Final = 2.0
"""Seconds for which a resource that an interrupted run lacks is kept for it; it is tried every second."""

_Place = tuple[int, int, int, str]
"""A token's place in the order, smallest first: priority, age, and a tie-breaker."""


class Scheduler:
    """The tokens in ConfigsToRun that need only a worker.

    Args:
        workspace: the workspace of the tokens.
        could: whether this worker could ever allocate a request; other runs are left for other workers.
    """

    def __init__(self, workspace: Workspace, could: Callable[[ResourceRequest], bool]) -> None:
        self._workspace = workspace
        self._could = could
        self.preference = PreloadPreference(workspace)
        self._lines: dict[ResourceRequest, list[_Place]] = {}
        self._known: set[str] = set()
        self._requirements: dict[str, tuple[int, Requirements]] = {}
        self._earlier_requirements: dict[str, tuple[int, Requirements]] = {}
        self._blocked: dict[str, Token] = {}
        self._behind: dict[str, set[str]] = {}
        """Runs that have not completed, with the filenames of the tokens that come after them."""
        self._blocked_at = 0.0
        self._completed: set[str] = set()
        self._lacking: dict[ResourceRequest, tuple[float, frozenset[str]]] = {}
        """When such a request is tried again, by the monotonic clock, and which resources were lacking."""
        self._resuming: dict[ResourceRequest, tuple[float, frozenset[str]]] = {}
        """The same for interrupted runs, which are not in this order and precede all of it."""

    def __bool__(self) -> bool:
        """Whether any token could be claimed; those that wait for other runs could not."""
        self._unblock()
        return any(self._lines.values())

    def clear(self) -> None:
        """Forget all tokens, before a scan adds them again."""
        self._lines.clear()
        self._known.clear()
        self._blocked.clear()
        self._behind.clear()
        self._blocked_at = 0.0
        self._earlier_requirements, self._requirements = self._requirements, {}

    def requirements(self, found: Token) -> Requirements:
        """The requirements of a token, read once for each version of its file."""
        known = self._requirements.get(found.path) or self._earlier_requirements.get(found.path)
        if known is None or known[0] != found.mtime_ns:
            known = found.mtime_ns, token_header.read_requirements(found.path)
        self._requirements[found.path] = known
        return known[1]

    def add(self, found: Token) -> None:
        """Add a token, or set it aside until the runs that it comes after have completed."""
        if found.filename in self._known or found.filename in self._blocked:
            return
        asked = self.requirements(found)
        if asked.resources and not self._could(asked.resources):
            return
        if asked.after:
            self._blocked[found.filename] = found
            self._blocked_at = 0.0
            for run in asked.after:
                self._behind.setdefault(run, set()).add(found.filename)
        else:
            self._push(found, asked)

    def _push(self, found: Token, asked: Requirements) -> None:
        self._known.add(found.filename)
        place = -asked.priority, found.mtime_ns, len(found.filename), found.filename
        heapq.heappush(self._lines.setdefault(asked.resources, []), place)

    def pop(self) -> Token | None:
        """Remove and return the first token whose resources may be available."""
        now = time.monotonic()
        if self._blocked and now >= self._blocked_at:
            self._unblock()
        full = {
            asked: lacking
            for asked, (until, lacking) in self._lacking.items()
            if until > now and self._lines.get(asked)
        }
        first = [lacking for until, lacking in self._resuming.values() if until > now]
        lines = [
            line
            for asked, line in self._lines.items()
            if line and asked not in full and not self._is_kept_back(asked, first, full)
        ]
        if not lines:
            return None
        line = min(lines, key=lambda line: line[0])
        preferred = self.preference.pick(line)
        if preferred is None:
            preferred = heapq.heappop(line)
        else:
            line.remove(preferred)
            heapq.heapify(line)
        _, mtime, _, filename = preferred
        self._known.discard(filename)
        name = TokenName.parse(filename)
        assert name is not None
        return Token(self._workspace.to_run, filename, name, mtime)

    def _is_kept_back(
        self,
        asked: ResourceRequest,
        first: Iterable[frozenset[str]],
        full: Mapping[ResourceRequest, frozenset[str]],
    ) -> bool:
        """Whether an earlier run lacks a resource that this one would use."""
        takes = dict(asked).keys()
        place = self._lines[asked][0]
        earlier = (lacking for other, lacking in full.items() if self._lines[other][0] < place)
        return any(takes & lacking for lacking in (*first, *earlier))

    def defer(self, found: Token, lacking: frozenset[str]) -> None:
        """Put a token back, since some of its resources are lacking."""
        asked = self.requirements(found)
        now = time.monotonic()
        if found.folder == self._workspace.to_run:
            self._lacking[asked.resources] = now + RETRY_RESOURCES_EVERY, lacking
            self._push(found, asked)
        else:
            self._resuming[asked.resources] = now + RESUMES_FIRST, lacking

    def freed(self) -> None:
        """Note that a run of this worker released its resources."""
        self._lacking.clear()

    def completed(self, run: str) -> None:
        """Note that a run has completed, and admit those that come after it."""
        if run in self._behind:
            self._completed.add(run)
            self._admit(self._behind.pop(run), set())

    def look_again_in(self) -> float | None:
        """Seconds after which another token may become claimable; `None` if none is set aside."""
        dues = [due for asked, (due, _) in self._lacking.items() if self._lines.get(asked)]
        if self._blocked:
            dues.append(self._blocked_at)
        return max(min(dues) - time.monotonic(), 0.0) if dues else None

    def _unblock(self) -> None:
        began = time.monotonic()
        self._admit(list(self._blocked), set())
        now = time.monotonic()
        self._blocked_at = now + max(LOOK_EVERY, 20 * (now - began))

    def _admit(self, filenames: Iterable[str], unfinished: set[str]) -> None:
        """Add the tokens of these filenames that come after no unfinished run any more."""
        for filename in filenames:
            found = self._blocked.get(filename)
            if found is None:
                continue
            asked = self.requirements(found)
            if all(self._has_completed(run, unfinished) for run in asked.after):
                del self._blocked[filename]
                self._push(found, asked)

    def _has_completed(self, run: str, unfinished: set[str]) -> bool:
        if run in self._completed:
            return True
        if run in unfinished:
            return False
        try:
            completed = journal.has_completed(self._workspace.run_folder(run)) or self._is_ended_search(run)
        except OSError:
            completed = False  # it cannot be read now
        (self._completed if completed else unfinished).add(run)
        return completed

    def _is_ended_search(self, name: str) -> bool:
        """Whether the name is no run, but a search whose trials have all ended."""
        folder = self._workspace.run_folder(name)
        return not os.path.isdir(journal.folder_of(folder)) and searches.standing(self._workspace).get(
            name, False
        )
