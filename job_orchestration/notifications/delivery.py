"""The dispatcher: a process that delivers the messages in the outbox and exits.

A workspace has one dispatcher at a time, which holds the lock of the outbox. Each delivery is a fork of its
own with a time limit, so that a hanging server or a crashing library ends only that fork. The messages of one
recipient are sent in order; a failing recipient does not delay others, and is tried again after a growing
pause. Messages that are still undelivered wait for the next dispatcher.

A message is given up after a try in vain, if its recipient has failed for three days and twenty dispatchers.
Its own age does not count: when all machines were off for a week, nothing was tried.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from job_orchestration.config import notification_settings, workspace_defaults
from job_orchestration.diagnostics import durations
from job_orchestration.diagnostics.errors import NotifierError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.notifications import notifiers, outbox, targets
from job_orchestration.processes import reaper
from job_orchestration.runs import journal, lifecycle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from job_orchestration.config.config import Json
    from job_orchestration.config.notification_settings import Recipient
    from job_orchestration.notifications.notification import Notification
    from job_orchestration.notifications.outbox import Message
    from job_orchestration.workspace.layout import Workspace

LIMIT: Final = 30.0
"""Time limit of one delivery, in seconds."""
PAUSES: Final = (5.0, 30.0, 120.0)
"""Seconds between tries for the same recipient; after the last one, the next dispatcher tries again."""
TOO_LONG: Final = 3 * 86_400.0
"""Seconds since the first try in vain after which a message is given up."""
LEAST_ROUNDS: Final = 20
"""Number of dispatchers that must have tried in vain as well: a clock may jump ahead."""
_MOST_AT_ONCE: Final = 8
_MOST_BYTES: Final = 4096


class Delivery:
    """One delivery in progress, in a process of its own.

    Args:
        recipient: its notifier and target.
        notification: the message.
    """

    def __init__(self, recipient: Recipient, notification: Notification) -> None:
        self.deadline = time.monotonic() + LIMIT
        self.descriptor, end = os.pipe()
        self._output = b""
        self._secrets = targets.secrets_of(recipient.target, os.environ)
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            _send_and_exit(parent, recipient, notification, end)
        os.close(end)
        with suppress(OSError):  # the child may have done so already, or have exited
            os.setpgid(self._pid, self._pid)

    def ended(self) -> bool:
        """Read the output of the process; return whether it has exited or exceeded its time limit."""
        if select.select([self.descriptor], [], [], 0)[0]:
            data = os.read(self.descriptor, _MOST_BYTES)
            self._output += data
            return not data
        return time.monotonic() >= self.deadline

    def result(self) -> str | None:
        """Stop the process; return the error with secrets masked, or `None` on success."""
        late = time.monotonic() >= self.deadline
        if late:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        os.close(self.descriptor)
        output = self._output.decode("utf-8", "replace")
        if output == _SENT:
            return None
        if output:
            return escaped(targets.redacted(output, self._secrets))[:_MOST_CHARACTERS]
        if late:
            return f"it took longer than {durations.text_of(LIMIT)} and was stopped"
        return f"its process ended without an answer (status {os.waitstatus_to_exitcode(status)})"


_SENT: Final = "\0sent"
_MOST_CHARACTERS: Final = 500
"""Of an error, after its secrets were masked."""


def _send_and_exit(parent: int, recipient: Recipient, notification: Notification, end: int) -> None:
    """Run in the fork: send the notification, write the result to the pipe, and exit."""
    code = 1
    try:
        reaper.die_with_parent(parent)
        os.setpgid(0, 0)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(null, descriptor)
        notifiers.make(recipient).send(notification)
        os.write(end, _SENT.encode())
        code = 0
    except BaseException as error:  # noqa: BLE001  # a service may raise anything; the parent reports it
        name = "" if isinstance(error, NotifierError) else f"{type(error).__name__}: "
        os.write(end, f"{name}{error}".encode("utf-8", "replace")[:_MOST_BYTES])
    finally:
        os._exit(code)


def deliver_now(recipient: Recipient, notification: Notification) -> str | None:
    """Send a notification and wait; return the error, or `None` on success."""
    delivery = Delivery(recipient, notification)
    while not delivery.ended():
        select.select([delivery.descriptor], [], [], max(delivery.deadline - time.monotonic(), 0))
    return delivery.result()


@dataclass(slots=True)
class _RecipientQueue:
    """The messages of one recipient, and the state of their delivery."""

    recipient: Recipient
    messages: list[Message] = field(default_factory=list)
    failures: int = 0
    due: float = 0.0
    delivery: Delivery | None = None
    counted: str = ""
    """Path of the message whose tries were counted for this dispatcher."""
    is_hopeless: bool = False
    """Whether the counted message is given up."""

    @property
    def is_exhausted(self) -> bool:
        """Whether this dispatcher has used up its tries for the recipient."""
        return self.failures > len(PAUSES)


class Dispatcher:
    """Deliver the outbox of a workspace; `deliver` is the main loop.

    Args:
        workspace: the workspace.
        say: called with one line per delivery try.
    """

    def __init__(self, workspace: Workspace, say: Callable[[str], None]) -> None:
        self._workspace = workspace
        self._say = say
        self._queues: dict[tuple[str, str], _RecipientQueue] = {}
        self._known: set[str] = set()
        self._done: set[str] = set()
        """Names of delivered messages; a later message of such a name is the same one, and is removed."""
        self.counts: Counter[str] = Counter()
        """Numbers of tries ``delivered`` and ``failed``, and of messages ``dropped``."""

    def deliver(self) -> bool:
        """Deliver all messages that can be delivered; return `False` if another dispatcher holds the lock.

        After the lock is released, the outbox is read once more for messages that arrived meanwhile.
        """
        was_mine = False
        while True:
            with outbox.only_dispatcher(self._workspace) as mine:
                if not mine:
                    return was_mine
                was_mine = True
                self._empty()
            if not self._new():
                return True

    def _empty(self) -> None:
        while True:
            self._read_new()
            active = [queue for queue in self._queues.values() if queue.messages and not queue.is_exhausted]
            if not active:
                return
            self._start(active)
            self._wait([queue for queue in active if queue.delivery], active)
            for queue in active:
                if queue.delivery is not None and queue.delivery.ended():
                    self._ended(queue)

    # -- messages -----------------------------------------------------------------------------------------

    def _new(self) -> list[str]:
        names = outbox.names(self._workspace)
        for name in self._done.intersection(names):
            outbox.remove(os.path.join(self._workspace.outbox, name))
        return [name for name in names if name not in self._known]

    def _read_new(self) -> None:
        """Read new messages and group them by recipient."""
        new = self._new()
        if not new:
            return
        defaults, _ = workspace_defaults.defaults(self._workspace)
        found = []
        for name in new:
            self._known.add(name)
            message = outbox.read(self._workspace, name)
            if message is None:
                outbox.give_up(self._workspace, os.path.join(self._workspace.outbox, name))
            else:
                found.append(message)
        for message in sorted(found, key=lambda m: m.notification.at):
            try:
                recipient = self._recipient(message, defaults)
            except Exception as error:  # noqa: BLE001  # one run that cannot be read keeps back only its own
                how = f"left for later: its run cannot be read ({error})"
                self._note(message.notification, message.key, how)
                continue
            if recipient is None:
                self._note(
                    message.notification, message.key, "dropped: its recipient is gone from the config"
                )
                self.counts["dropped"] += 1
                outbox.remove(message.path)
            else:
                key = recipient.kind, repr(recipient.target)
                self._queues.setdefault(key, _RecipientQueue(recipient)).messages.append(message)

    def _recipient(self, message: Message, defaults: Mapping[str, Json]) -> Recipient | None:
        """Look up the recipient of a message in the config or ``workspace.yaml``; `None` if it is gone."""
        own: Mapping[str, Json] = {}
        if message.source == notification_settings.CONFIG and message.notification.run is not None:
            own = self._config_of(message.notification.run)
        configured: Sequence[Recipient] = notification_settings.recipients_of(own, defaults)
        return next((r for r in configured if (r.source, r.key) == (message.source, message.key)), None)

    def _config_of(self, run: str) -> Mapping[str, Json]:
        try:
            return lifecycle.fold(journal.read(self._workspace.run_folder(run))).values
        except OSError:
            return {}  # views say that it cannot be read; the messages of other runs go on

    # -- deliveries ---------------------------------------------------------------------------------------

    def _start(self, queues: Sequence[_RecipientQueue]) -> None:
        going = sum(queue.delivery is not None for queue in queues)
        for queue in queues:
            if going < _MOST_AT_ONCE and queue.delivery is None and time.monotonic() >= queue.due:
                queue.delivery = Delivery(queue.recipient, queue.messages[0].notification)
                going += 1

    def _wait(self, going: Sequence[_RecipientQueue], queues: Sequence[_RecipientQueue]) -> None:
        """Wait until a delivery ends or is due, at most a second: new messages may arrive."""
        moments = [queue.delivery.deadline if queue.delivery else queue.due for queue in queues]
        seconds = min(max(min(moments) - time.monotonic(), 0.0), 1.0)
        if len(going) < len(queues) and len(going) >= _MOST_AT_ONCE:
            seconds = 1.0
        select.select([queue.delivery.descriptor for queue in going if queue.delivery], [], [], seconds)

    def _ended(self, queue: _RecipientQueue) -> None:
        assert queue.delivery is not None
        message = queue.messages[0]
        error = queue.delivery.result()
        queue.delivery = None
        if error is None:
            queue.messages.pop(0)
            queue.failures = 0
            outbox.remove(message.path)
            self._done.add(os.path.basename(message.path))
            self.counts["delivered"] += 1
            self._note(message.notification, targets.label_of(queue.recipient), "delivered")
            return
        queue.failures += 1
        self.counts["failed"] += 1
        if self._gives_up(queue):
            how = f"failed: {error} Given up: its recipient has failed for three days."
            self._note(message.notification, targets.label_of(queue.recipient), how)
            return
        then = "later"
        if not queue.is_exhausted:
            pause = PAUSES[queue.failures - 1]
            queue.due = time.monotonic() + pause
            then = f"in {durations.text_of(pause)}"
        self._note(
            message.notification, targets.label_of(queue.recipient), f"failed: {error} Tried again {then}."
        )

    def _gives_up(self, queue: _RecipientQueue) -> bool:
        """Count a try in vain of the first message, and give it up if there were enough.

        The next one inherits the count, so that it is given up after one try of its own.
        """
        message = queue.messages[0]
        if queue.counted != message.path:
            queue.counted = message.path
            now = outbox.file_clock(self._workspace)
            first = now if message.first_tried_at is None else min(message.first_tried_at, now)
            message = outbox.note_rounds(message, message.rounds + 1, first)
            queue.messages[0] = message
            queue.is_hopeless = now - first > TOO_LONG and message.rounds >= LEAST_ROUNDS
        if not queue.is_hopeless:
            return False
        outbox.give_up(self._workspace, message.path)
        queue.messages.pop(0)
        queue.failures = 0
        self.counts["given up"] += 1
        if queue.messages and message.first_tried_at is not None:
            following = queue.messages[0]
            queue.messages[0] = outbox.note_rounds(following, message.rounds, message.first_tried_at)
        return True

    def _note(self, notification: Notification, to: str, how: str) -> None:
        line = f"{notification.id} {notification.event} {escaped(notification.run or '-')} to {to}: {how}"
        outbox.log(self._workspace, line)
        self._say(line)
