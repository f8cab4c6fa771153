"""The line of tokens that may be claimed: the most urgent first, then the oldest.

Some stand beside the line for a while. A run that comes after others waits until they have completed; and
when there is no room for what a run takes of this machine, it is passed over for a moment, and with it
all that come later and would take of what there is too little of: a large run has its turn among small ones.
Nothing here is a truth of its own: it is made again from every scan.
"""

from __future__ import annotations

import heapq
import os
import time
from typing import TYPE_CHECKING, Final

from job_orchestration.files import journal, searches, wants
from job_orchestration.files.token import Token
from job_orchestration.rules.naming import TokenName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from job_orchestration.files.workspace import Workspace
    from job_orchestration.rules.steering import Demand, Wants

LOOK_EVERY: Final = 0.2
"""Seconds between two looks at what others come after; a look that takes long is made more rarely."""
ROOM_EVERY: Final = 0.5
"""Seconds after which room is looked for again that there was not."""
RESUMES_FIRST: Final = 2.0
"""Seconds for which nobody takes what an interrupted run found too little of; it looks again every second."""

_Place = tuple[int, int, int, str]
"""A token's place in the line, the smallest first: its urgency, its age, and what tells equals apart."""


class Lineup:
    """The tokens in ConfigsToRun that wait for nobody but a worker.

    Args:
        workspace: where they lie.
        could: whether this worker could ever give what a run takes; those that it could not are for others.
    """

    def __init__(self, workspace: Workspace, could: Callable[[Demand], bool]) -> None:
        self._workspace = workspace
        self._could = could
        self._lines: dict[Demand, list[_Place]] = {}
        self._known: set[str] = set()
        self._wants: dict[str, tuple[int, Wants]] = {}
        self._wants_before: dict[str, tuple[int, Wants]] = {}
        self._blocked: dict[str, Token] = {}
        self._behind: dict[str, set[str]] = {}
        """Runs that have not completed, and the names of the tokens that come after them."""
        self._blocked_at = 0.0
        self._completed: set[str] = set()
        self._no_room: dict[Demand, tuple[float, frozenset[str]]] = {}
        """When room for as much is looked for again, by the monotonic clock, and what was lacking."""
        self._resuming: dict[Demand, tuple[float, frozenset[str]]] = {}
        """The same for interrupted runs: they are not in this line, and come before all that are."""

    def __bool__(self) -> bool:
        """Whether anybody is in the line; who comes after others that have not completed is not."""
        self._unblock()
        return any(self._lines.values())

    def clear(self) -> None:
        """Forget who stands in line, before a scan tells anew."""
        self._lines.clear()
        self._known.clear()
        self._blocked.clear()
        self._behind.clear()
        self._blocked_at = 0.0
        self._wants_before, self._wants = self._wants, {}

    def wants(self, found: Token) -> Wants:
        """What a token asks for; each is read once."""
        known = self._wants.get(found.path) or self._wants_before.get(found.path)
        if known is None or known[0] != found.mtime_ns:
            known = found.mtime_ns, wants.read(found.path)
        self._wants[found.path] = known
        return known[1]

    def add(self, found: Token) -> None:
        """Put a token into the line, or beside it."""
        if found.filename in self._known or found.filename in self._blocked:
            return
        asked = self.wants(found)
        if asked.resources and not self._could(asked.resources):
            return
        if asked.after:
            self._blocked[found.filename] = found
            self._blocked_at = 0.0
            for run in asked.after:
                self._behind.setdefault(run, set()).add(found.filename)
        else:
            self._push(found, asked)

    def _push(self, found: Token, asked: Wants) -> None:
        self._known.add(found.filename)
        place = -asked.priority, found.mtime_ns, len(found.filename), found.filename
        heapq.heappush(self._lines.setdefault(asked.resources, []), place)

    def pop(self) -> Token | None:
        """The first in line for whom there may be room."""
        now = time.monotonic()
        if self._blocked and now >= self._blocked_at:
            self._unblock()
        full = {
            asked: lacking
            for asked, (until, lacking) in self._no_room.items()
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
        _, mtime, _, filename = heapq.heappop(min(lines, key=lambda line: line[0]))
        self._known.discard(filename)
        name = TokenName.parse(filename)
        assert name is not None
        return Token(self._workspace.to_run, filename, name, mtime)

    def _is_kept_back(
        self, asked: Demand, first: Iterable[frozenset[str]], full: Mapping[Demand, frozenset[str]]
    ) -> bool:
        """Whether somebody who comes earlier waits for room that this one would take away again and again."""
        takes = dict(asked).keys()
        place = self._lines[asked][0]
        earlier = (lacking for other, lacking in full.items() if self._lines[other][0] < place)
        return any(takes & lacking for lacking in (*first, *earlier))

    def no_room(self, found: Token, lacking: frozenset[str]) -> None:
        """Put a token back: there is too little of some of what it takes."""
        asked = self.wants(found)
        now = time.monotonic()
        if found.folder == self._workspace.to_run:
            self._no_room[asked.resources] = now + ROOM_EVERY, lacking
            self._push(found, asked)
        else:
            self._resuming[asked.resources] = now + RESUMES_FIRST, lacking

    def freed(self) -> None:
        """What a run of this worker took is free again."""
        self._no_room.clear()

    def completed(self, run: str) -> None:
        """A run has completed: those that come after it may go now."""
        if run in self._behind:
            self._completed.add(run)
            self._let_go(self._behind.pop(run), set())

    def look_again_in(self) -> float | None:
        """Seconds after which somebody may be let into the line, or through; `None` when nobody waits so."""
        dues = [due for asked, (due, _) in self._no_room.items() if self._lines.get(asked)]
        if self._blocked:
            dues.append(self._blocked_at)
        return max(min(dues) - time.monotonic(), 0.0) if dues else None

    def _unblock(self) -> None:
        began = time.monotonic()
        self._let_go(list(self._blocked), set())
        now = time.monotonic()
        self._blocked_at = now + max(LOOK_EVERY, 20 * (now - began))

    def _let_go(self, filenames: Iterable[str], unfinished: set[str]) -> None:
        """Put those of some tokens into the line that come after nothing any more."""
        for filename in filenames:
            found = self._blocked.get(filename)
            if found is None:
                continue
            asked = self.wants(found)
            if all(self._has_completed(run, unfinished) for run in asked.after):
                del self._blocked[filename]
                self._push(found, asked)

    def _has_completed(self, run: str, unfinished: set[str]) -> bool:
        if run in self._completed:
            return True
        if run in unfinished:
            return False
        completed = journal.has_completed(self._workspace.run_folder(run)) or self._is_ended_search(run)
        (self._completed if completed else unfinished).add(run)
        return completed

    def _is_ended_search(self, name: str) -> bool:
        """Whether it is no run that is waited for, but the folder of a search whose trials have ended."""
        folder = self._workspace.run_folder(name)
        return not os.path.isdir(journal.folder_of(folder)) and searches.standing(self._workspace).get(
            name, False
        )
