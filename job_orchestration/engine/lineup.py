"""The line of tokens that may be claimed: the most urgent first, then the oldest.

Some stand beside the line for a while. A run that comes after others waits until they have completed; and
when there is no room for what a run takes of this machine, all that take the same are passed over, and the
others are not kept waiting, unless they would take of the same and are less urgent, or as urgent and later
than one that has been passed over for long. Nothing here is a truth of its own: it is made again from every
scan.
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
    from collections.abc import Callable, Iterable

    from job_orchestration.files.workspace import Workspace
    from job_orchestration.rules.steering import Demand, Wants

LOOK_EVERY: Final = 0.2
"""Seconds between two looks at what others come after; a look that takes long is made more rarely."""
ROOM_EVERY: Final = 0.5
"""Seconds after which room is looked for again that there was not."""
PATIENCE: Final = 600.0
"""Seconds for which later ones that are as urgent may take what somebody waits for."""

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
        self._no_room: dict[Demand, float] = {}
        """When room for as much is looked for again, by the monotonic clock."""
        self._passed_over: dict[Demand, float] = {}
        """Since when there has been no room for as much, by the same clock."""
        self._tried: tuple[Demand, float] = ((), 0.0)
        """What the one that came last out of the line takes, and since when there had been no room for it."""

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
        full = [asked for asked, line in self._lines.items() if line and self._no_room.get(asked, 0.0) > now]
        lines = {
            asked: line
            for asked, line in self._lines.items()
            if line and asked not in full and not any(self._keeps_back(first, asked, now) for first in full)
        }
        if not lines:
            return None
        asked = min(lines, key=lambda asked: lines[asked][0])
        _, mtime, _, filename = heapq.heappop(lines[asked])
        self._tried = asked, self._passed_over.pop(asked, now)
        self._known.discard(filename)
        name = TokenName.parse(filename)
        assert name is not None
        return Token(self._workspace.to_run, filename, name, mtime)

    def _keeps_back(self, first: Demand, other: Demand, now: float) -> bool:
        """Whether somebody waits for room that others would take away again and again."""
        if dict(first).keys().isdisjoint(dict(other)):
            return False
        theirs, its = self._lines[first][0], self._lines[other][0]
        if theirs[0] == its[0]:
            return theirs < its and now - self._passed_over.get(first, now) > PATIENCE
        return theirs[0] < its[0]

    def no_room(self, found: Token) -> None:
        """Put a token back: there is no room for what it takes, nor for others that take as much."""
        asked = self.wants(found)
        now = time.monotonic()
        self._no_room[asked.resources] = now + ROOM_EVERY
        tried, since = self._tried
        self._passed_over.setdefault(asked.resources, since if tried == asked.resources else now)
        if found.folder == self._workspace.to_run:
            self._push(found, asked)

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
        dues = [due for asked, due in self._no_room.items() if self._lines.get(asked)]
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
