"""The courier: delivers what waits in the outbox, and ends.

One at a time works for a workspace, because it holds the lock of the outbox. Each delivery is a fork of its
own with a time limit, so that a server that hangs, or a library that crashes, ends only that. A recipient's
messages go one after the other; one that fails holds up no other recipient's, and is tried again after a
growing pause. What could not be delivered then waits for the next courier, for three days at the most.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from job_orchestration import notifiers
from job_orchestration.engine import sweep
from job_orchestration.files import journal, outbox
from job_orchestration.files import workspace as workspaces
from job_orchestration.model.errors import NotifierError
from job_orchestration.model.event import Readied
from job_orchestration.model.problem import escaped
from job_orchestration.rules import notifying

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from job_orchestration.files.outbox import Message
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.news import News, Recipient
    from job_orchestration.model.task import Json

LIMIT: Final = 30.0
"""Seconds that one delivery may take."""
PAUSES: Final = (5.0, 30.0, 120.0)
"""Seconds between two tries for the same recipient; after the last one the next courier goes on."""
TOO_OLD: Final = 3 * 86_400.0
"""Seconds after which a message is given up."""
_MOST_AT_ONCE: Final = 8
_MOST_BYTES: Final = 4096


class Delivery:
    """One message on its way: a process of its own that tells it.

    Args:
        recipient: who is told.
        news: what.
    """

    def __init__(self, recipient: Recipient, news: News) -> None:
        self.deadline = time.monotonic() + LIMIT
        self.descriptor, end = os.pipe()
        self._said = b""
        self._secrets = notifying.secrets_of(recipient.target, os.environ)
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            _tell_and_leave(parent, recipient, news, end)
        os.close(end)
        with suppress(OSError):  # it may have done so itself already, or have ended
            os.setpgid(self._pid, self._pid)

    def ended(self) -> bool:
        """Take up what it says; whether it has ended, or its time has."""
        if select.select([self.descriptor], [], [], 0)[0]:
            data = os.read(self.descriptor, _MOST_BYTES)
            self._said += data
            return not data
        return time.monotonic() >= self.deadline

    def result(self) -> str | None:
        """End it; returns why it failed, without any secret, or `None` when it succeeded."""
        late = time.monotonic() >= self.deadline
        if late:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        os.close(self.descriptor)
        said = self._said.decode("utf-8", "replace")
        if said == _TOLD:
            return None
        if said:
            return escaped(notifying.redacted(said, self._secrets))
        if late:
            return f"it took longer than {LIMIT:g} s and was stopped"
        return f"its process ended without a word (status {os.waitstatus_to_exitcode(status)})"


_TOLD: Final = "\0told"


def _tell_and_leave(parent: int, recipient: Recipient, news: News, end: int) -> None:
    """What the fork does: tell, say how that went, and end."""
    code = 1
    try:
        sweep.die_with_parent(parent)
        os.setpgid(0, 0)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(nowhere, descriptor)
        notifiers.make(recipient).tell(news)
        os.write(end, _TOLD.encode())
        code = 0
    except BaseException as error:  # noqa: BLE001  # whatever a service raises is told to the parent
        name = "" if isinstance(error, NotifierError) else f"{type(error).__name__}: "
        os.write(end, f"{name}{error}".encode("utf-8", "replace")[:_MOST_BYTES])
    finally:
        os._exit(code)


def deliver_now(recipient: Recipient, news: News) -> str | None:
    """Tell somebody something and wait for it; returns why that failed."""
    delivery = Delivery(recipient, news)
    while not delivery.ended():
        select.select([delivery.descriptor], [], [], max(delivery.deadline - time.monotonic(), 0))
    return delivery.result()


@dataclass(slots=True)
class _Line:
    """The messages of one recipient, and how telling it goes."""

    recipient: Recipient
    messages: list[Message] = field(default_factory=list)
    failures: int = 0
    due: float = 0.0
    delivery: Delivery | None = None

    @property
    def is_hopeless(self) -> bool:
        """Whether this courier has tried often enough."""
        return self.failures > len(PAUSES)


class Courier:
    """One courier; `deliver` is its life.

    Args:
        workspace: whose outbox it empties.
        say: gets a line for each try.
    """

    def __init__(self, workspace: Workspace, say: Callable[[str], None]) -> None:
        self._workspace = workspace
        self._say = say
        self._lines: dict[tuple[str, str], _Line] = {}
        self._taken: set[str] = set()
        self._done: set[str] = set()
        """The names of what was delivered; who puts the same into the outbox again means the same."""
        self._own: dict[str, Mapping[str, Json]] = {}
        self.counts: Counter[str] = Counter()
        """How many tries were ``delivered``, ``failed``; how many messages were ``dropped``."""

    def deliver(self) -> bool:
        """Deliver what can be; returns whether this one was at it, and not another courier.

        A message that comes while the lock is being let go of is looked for once more after that.
        """
        was_mine = False
        while True:
            with outbox.only_courier(self._workspace) as mine:
                if not mine:
                    return was_mine
                was_mine = True
                self._empty()
            if not self._new():
                return True

    def _empty(self) -> None:
        while True:
            self._take_in()
            open_ = [line for line in self._lines.values() if line.messages and not line.is_hopeless]
            if not open_:
                return
            self._start(open_)
            self._wait([line for line in open_ if line.delivery], open_)
            for line in open_:
                if line.delivery is not None and line.delivery.ended():
                    self._ended(line)

    # -- messages -----------------------------------------------------------------------------------------

    def _new(self) -> list[str]:
        names = outbox.names(self._workspace)
        for name in self._done.intersection(names):
            outbox.remove(os.path.join(self._workspace.outbox, name))
        return [name for name in names if name not in self._taken]

    def _take_in(self) -> None:
        """Sort new messages by whom they are for."""
        new = self._new()
        if not new:
            return
        defaults, _ = workspaces.defaults(self._workspace)
        found = []
        for name in new:
            self._taken.add(name)
            message = outbox.read(self._workspace, name)
            if message is None:
                outbox.give_up(self._workspace, os.path.join(self._workspace.outbox, name))
            elif _age(message) > TOO_OLD:
                self._note(message.news, message.key, "given up: it is older than three days")
                outbox.give_up(self._workspace, message.path)
            else:
                found.append(message)
        for message in sorted(found, key=lambda m: m.news.at):
            recipient = self._recipient(message, defaults)
            if recipient is None:
                self._note(message.news, message.key, "dropped: nobody asks for it any more")
                self.counts["dropped"] += 1
                outbox.remove(message.path)
            else:
                key = recipient.kind, repr(recipient.target)
                self._lines.setdefault(key, _Line(recipient)).messages.append(message)

    def _recipient(self, message: Message, defaults: Mapping[str, Json]) -> Recipient | None:
        """Whom a message is for, by what is written where it asks to look."""
        own: Mapping[str, Json] = {}
        if message.source == notifying.CONFIG and message.news.run is not None:
            own = self._config_of(message.news.run)
        everybody: Sequence[Recipient] = notifying.recipients_of(own, defaults)
        return next((r for r in everybody if (r.source, r.key) == (message.source, message.key)), None)

    def _config_of(self, run: str) -> Mapping[str, Json]:
        entries, _ = journal.read_file(self._workspace.run_folder(run), 0)
        events = [entry.event for entry in entries if isinstance(entry.event, Readied)]
        return events[0].values if events else {}

    # -- deliveries ---------------------------------------------------------------------------------------

    def _start(self, lines: Sequence[_Line]) -> None:
        going = sum(line.delivery is not None for line in lines)
        for line in lines:
            if going < _MOST_AT_ONCE and line.delivery is None and time.monotonic() >= line.due:
                line.delivery = Delivery(line.recipient, line.messages[0].news)
                going += 1

    def _wait(self, going: Sequence[_Line], lines: Sequence[_Line]) -> None:
        """Wait for a delivery to end, for one to be due, or a second: there may be new messages."""
        moments = [line.delivery.deadline if line.delivery else line.due for line in lines]
        seconds = min(max(min(moments) - time.monotonic(), 0.0), 1.0)
        if len(going) < len(lines) and len(going) >= _MOST_AT_ONCE:
            seconds = 1.0
        select.select([line.delivery.descriptor for line in going if line.delivery], [], [], seconds)

    def _ended(self, line: _Line) -> None:
        assert line.delivery is not None
        message = line.messages[0]
        why = line.delivery.result()
        line.delivery = None
        if why is None:
            line.messages.pop(0)
            line.failures = 0
            outbox.remove(message.path)
            self._done.add(os.path.basename(message.path))
            self.counts["delivered"] += 1
            self._note(message.news, notifying.label_of(line.recipient), "delivered")
            return
        line.failures += 1
        self.counts["failed"] += 1
        then = "later"
        if not line.is_hopeless:
            pause = PAUSES[line.failures - 1]
            line.due = time.monotonic() + pause
            then = f"in {pause:g} s"
        self._note(message.news, notifying.label_of(line.recipient), f"failed: {why} Tried again {then}.")

    def _note(self, news: News, to: str, how: str) -> None:
        line = f"{news.id} {news.event} {escaped(news.run or '-')} to {to}: {how}"
        outbox.log(self._workspace, line)
        self._say(line)


def _age(message: Message) -> float:
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(message.news.at)).total_seconds()
    except (ValueError, TypeError):
        return TOO_OLD + 1
