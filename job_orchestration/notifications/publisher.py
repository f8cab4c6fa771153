"""The publisher: turn events of runs and of the queue into messages in the outbox.

It writes messages and starts a dispatcher, a process of its own, that delivers them. So a broken mail server
costs a worker nothing, and a run's messages are on the disk before the run moves to its final folder. Without
recipients, publishing costs one look at a clock.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.config import notification_settings, workspace_defaults
from job_orchestration.config.notification_settings import NotificationEvent
from job_orchestration.config.settings import settings_of
from job_orchestration.diagnostics import secrets
from job_orchestration.diagnostics.plurals import counted
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.notifications import outbox
from job_orchestration.notifications.notification import Notification, title_of
from job_orchestration.processes import reaper
from job_orchestration.processes.supervisor import program
from job_orchestration.runs import journal, lifecycle, run_times
from job_orchestration.runs.events import INTENDED, Outcome
from job_orchestration.runs.state import Status
from job_orchestration.workspace import clock, layout, safe_reads
from job_orchestration.workspace.layout import FINAL_PLACES, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from job_orchestration.config.config import Json
    from job_orchestration.config.notification_settings import Recipient
    from job_orchestration.runs.claims import Claim
    from job_orchestration.runs.lifecycle import Next
    from job_orchestration.runs.state import RunState, TaskState
    from job_orchestration.search.searches import SearchOrder
    from job_orchestration.workspace.layout import Workspace

_DEFAULTS_EVERY: Final = 2.0
"""Seconds between checks of ``workspace.yaml`` for changes."""
_DISPATCHER_EVERY: Final = 600.0
"""Seconds between dispatchers for messages that could not be delivered."""
_DUE_CHECK_EVERY: Final = 30.0
"""Seconds between checks whether a dispatcher is due for messages that were left."""
_EMPTY_FOR: Final = 10.0
"""Seconds for which a queue is empty before a staying worker reports it: more runs may be on their way."""
_EMPTY_CHECK_EVERY: Final = 1.0
"""Seconds between checks whether the queue is empty."""
_EXIT_WAIT: Final = 5.0
"""Seconds for which an idle worker that exits waits for its dispatcher: its machine may go with it."""
_PROGRESS_EVERY: Final = 10.0
"""Seconds between two messages about the progress of a run at the least."""
_LOG_LINES: Final = 20
_LOG_BYTES: Final = 16_384


class Publisher:
    """Publish the notifications of one process.

    Args:
        workspace: the workspace.
        hostname: the name of this machine.
        say: called with a sentence if a notification could not be queued.
    """

    def __init__(self, workspace: Workspace, hostname: str, say: Callable[[str], None]) -> None:
        self._workspace = workspace
        self._hostname = hostname
        self._say = say
        self._defaults: Mapping[str, Json] = {}
        self._version: tuple[int, int] | None = None
        self._checked = -_DEFAULTS_EVERY
        self._due_checked = -_DUE_CHECK_EVERY
        self._started = -_DISPATCHER_EVERY
        self._dispatchers: set[int] = set()
        self._dispatcher_due = False
        """Whether a dispatcher that is starting or exiting may miss the last message."""
        self._worked = False
        self._empty_checked = -_EMPTY_CHECK_EVERY
        self._stalled: set[tuple[str, int, str | None]] = set()
        self._empty_since: float | None = None
        self._begun: tuple[str, int] | None = None
        """The run and attempt whose start was published last."""
        self._progress: tuple[float, float | None, str] = (-_PROGRESS_EVERY, None, "")
        """When progress was published last, its value, and the name of the message."""

    # -- events -------------------------------------------------------------------------------------------

    def publish(self, claim: Claim, step: Next) -> Next:
        """Publish the event that a run's next step implies, before the step is done; return the step."""
        self._worked, self._empty_since = True, None
        self._read_defaults()
        values = claim.state.values
        if (
            notification_settings.NOTIFY in self._defaults
            or notification_settings.NOTIFY in values
            or notification_settings.CALLBACK in values
            or notification_settings.NOTIFY_ADDRESS in values
        ):
            kind = _kind_of(claim.state, step)
            if kind is not None:
                self._guarded(lambda: self._publish_run(claim.run, claim.state, kind))
            if isinstance(step, lifecycle.Go) and self._begun != (claim.run, claim.attempt):
                self._begun = claim.run, claim.attempt
                self._progress = (time.monotonic(), None, "")
                self._guarded(lambda: self._publish_run(claim.run, claim.state, NotificationEvent.STARTED))
        return step

    def report_accepted(self, run: str, state: RunState) -> None:
        """Publish that a run is about to be queued; its folder is made, and no worker can claim it yet."""
        self._read_defaults()
        self._guarded(lambda: self._publish_run(run, state, NotificationEvent.ACCEPTED))

    def report_progress(self, claim: Claim, progress: tuple[float, float]) -> None:
        """Publish the progress of a running task, if its config asks for that, at most once in a while.

        Args:
            claim: the run.
            progress: how much is done, and of how much.
        """
        if not claim.state.values.get(notification_settings.CALLBACK_PROGRESS):
            return
        done, total = progress
        value = min(max(done / total, 0.0), 1.0) if total > 0 else None
        at, last, _ = self._progress
        if value is None or value == last or time.monotonic() - at < _PROGRESS_EVERY:
            return
        self._guarded(lambda: self._publish_progress(claim, value))

    def report_stalled(self, run: str, reason: str) -> None:
        """Publish that a running run seems stalled, once for each start of a task.

        Args:
            run: its name.
            reason: the symptom, a sentence without its full stop.
        """
        self._read_defaults()
        self._guarded(lambda: self._publish_stalled(run, reason))

    def report_no_worker(self, since: str, waiting: int) -> None:
        """Publish that runs wait and no worker is alive.

        Args:
            since: when this was first seen; it identifies the notification.
            waiting: the number of runs that wait.
        """
        runs = counted(waiting, "run waits", "runs wait")
        title = f"{runs} and no worker is alive"
        self._guarded(
            lambda: self._publish_for_workspace(NotificationEvent.STALLED, since, title, {"waiting": waiting})
        )

    def report_search(self, order: SearchOrder, problem: str) -> None:
        """Publish that a search does not go on; `problem` is a sentence without its full stop."""
        self._read_defaults()
        self._guarded(lambda: self._publish_search(order, problem))

    def publish_if_queue_empty(self, is_empty: Callable[[], bool], *, leaving: bool) -> None:
        """Publish, once, that the queue is empty. Called while this worker can claim nothing.

        Args:
            is_empty: returns whether nothing waits or runs; called only if there is a recipient.
            leaving: whether this worker exits if the queue is empty.
        """
        self.start_dispatcher_if_due()
        now = time.monotonic()
        if not self._worked or (now < self._empty_checked + _EMPTY_CHECK_EVERY and not leaving):
            return
        self._empty_checked = now
        self._read_defaults()
        if not any(r.gets(NotificationEvent.QUEUE_EMPTY) for r in self._recipients({})):
            self._worked = False
            return
        if not is_empty():
            self._empty_since = None
            return
        self._empty_since = now if self._empty_since is None else self._empty_since
        if leaving or now - self._empty_since >= _EMPTY_FOR:
            self._worked = False
            self._guarded(self._publish_queue_empty)

    def start_dispatcher_if_due(self) -> None:
        """Start a dispatcher for messages that were left, if one is due."""
        now = time.monotonic()
        if self._dispatcher_due:
            self._guarded(self._start_dispatcher)
        if now - self._due_checked >= _DUE_CHECK_EVERY:
            self._due_checked = now
            self._has_dispatcher()  # reaps those that have exited
            if now - self._started >= _DISPATCHER_EVERY:
                self._guarded(self._start_dispatcher)

    def close(self, *, patient: bool) -> None:
        """Stop publishing; with `patient`, wait a little for the dispatcher."""
        deadline = time.monotonic() + _EXIT_WAIT
        while patient and (self._dispatcher_due or self._has_dispatcher()) and time.monotonic() < deadline:
            if not outbox.names(self._workspace):
                break
            self.start_dispatcher_if_due()
            time.sleep(0.02)

    # -- messages -----------------------------------------------------------------------------------------

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001  # no error of a notification stops a worker
            self._say(f"Notification could not be queued: {error}")

    def _read_defaults(self) -> None:
        """Read ``workspace.yaml`` if it has changed; an unreadable file changes nothing."""
        now = time.monotonic()
        if now - self._checked < _DEFAULTS_EVERY:
            return
        self._checked = now
        try:
            status = os.stat(os.path.join(self._workspace.root, layout.DEFAULTS))
            version = status.st_ino, status.st_mtime_ns
            if version == self._version:
                return
            defaults, problems = workspace_defaults.defaults(self._workspace)
        except FileNotFoundError:
            self._defaults, self._version = {}, None
        except OSError:
            return
        else:
            self._version = version
            if not problems:
                self._defaults = defaults

    def _recipients(self, own: Mapping[str, Json]) -> tuple[Recipient, ...]:
        return notification_settings.recipients_of(own, self._defaults)

    def _publish_run(
        self, run: str, state: RunState, kind: NotificationEvent, reason: str | None = None
    ) -> None:
        interested = [r for r in self._recipients(state.values) if r.gets(kind)]
        if (
            state.outcome in INTENDED
        ):  # a person or a search wanted it so; only a program that waits must know
            interested = [r for r in interested if r.key == notification_settings.CALLBACK]
        if interested:
            self._put(self._notification_of(run, state, kind, reason), interested)

    def _publish_progress(self, claim: Claim, value: float) -> None:
        """Publish progress; a message about less of it that was not delivered yet is taken back."""
        kind = NotificationEvent.PROGRESS
        interested = [r for r in self._recipients(claim.state.values) if r.gets(kind)]
        if not interested:
            return
        found = replace(self._notification_of(claim.run, claim.state, kind, None), progress=value)
        self._put(found, interested)
        _, _, before = self._progress
        if before:
            outbox.remove_all(self._workspace, kind, before)
        self._progress = time.monotonic(), value, found.id

    def _publish_stalled(self, run: str, reason: str) -> None:
        try:
            state = lifecycle.fold(journal.read(self._workspace.run_folder(run)))
        except OSError:
            return  # views say that it cannot be read
        task = None if state.current is None else state.tasks[state.current]
        start = run, state.attempt, task.started_at if task else None
        if start not in self._stalled:
            self._stalled.add(start)
            self._publish_run(run, state, NotificationEvent.STALLED, reason)

    def _notification_of(
        self, run: str, state: RunState, kind: NotificationEvent, reason: str | None
    ) -> Notification:
        folder = self._workspace.run_folder(run)
        ended = kind in notification_settings.ENDS
        task = None
        if state.tasks:
            task = state.tasks[-1 if state.current is None else state.current]
        at = _moment_of(state, task, kind) or clock.timestamp()
        cause = None if kind in _BEFORE_ENDS else reason or (state.reason if ended else None) or state.error
        known = secrets.values_in(os.environ) | secrets.values_in(state.values)
        cause = cause and secrets.masked(cause, known)
        now = clock.timestamp() if kind is NotificationEvent.STALLED else at
        return Notification(
            id=self._id_of(run, kind, at),
            event=kind,
            at=now,
            title=escaped(title_of(kind, run, task.id if task else None, cause, state.outcome)),
            workspace=self._workspace.root,
            hostname=self._hostname,
            run=run,
            config=state.config,
            outcome=_outcome_of(state, kind, task.outcome if task else None),
            reason=None if kind is NotificationEvent.COMPLETED else cause,
            task=task.id if task and kind is not NotificationEvent.COMPLETED else None,
            attempt=state.attempt,
            tries=task.tries if task and kind is not NotificationEvent.COMPLETED else None,
            elapsed_s=run_times.worked(state, datetime.fromisoformat(now)),
            waiting_s=run_times.waited(state),
            try_number=_try_of(state, kind, task),
            most_tries=settings_of(state.values).max_attempts,
            output=folder,
            dashboard=self._dashboard(run),
            progress=1.0 if kind is NotificationEvent.COMPLETED else None,
            log=() if kind in _BEFORE_ENDS else _masked_lines(folder, known),
        )

    def _publish_search(self, order: SearchOrder, problem: str) -> None:
        kind = NotificationEvent.STALLED
        interested = [r for r in self._recipients(order.values) if r.gets(kind)]
        if interested:
            notification = Notification(
                id=self._id_of("search", order.name, problem),
                event=kind,
                at=clock.timestamp(),
                title=f"search {escaped(order.name)}: {problem}",
                workspace=self._workspace.root,
                hostname=self._hostname,
                config=order.config,
                reason=problem,
                output=self._workspace.run_folder(order.base),
            )
            self._put(notification, interested)

    def _publish_queue_empty(self) -> None:
        folders = (self._workspace.to_run, self._workspace.running)
        moment = ".".join(str(os.stat(folder).st_mtime_ns) for folder in folders)
        if outbox.was_sent(self._workspace, str(NotificationEvent.QUEUE_EMPTY), moment):
            return
        counts = {
            str(p): sum(n.endswith(".yaml") for n in os.listdir(self._workspace.folders[p]))
            for p in FINAL_PLACES
        }
        self._publish_for_workspace(
            NotificationEvent.QUEUE_EMPTY, moment, "Nothing waits or runs any more", counts
        )
        outbox.note_sent(self._workspace, str(NotificationEvent.QUEUE_EMPTY), moment)

    def _publish_for_workspace(
        self, kind: NotificationEvent, moment: str, title: str, counts: Mapping[str, int]
    ) -> None:
        """Publish an event of the whole workspace to the recipients in ``workspace.yaml``."""
        self._read_defaults()
        interested = [r for r in self._recipients({}) if r.gets(kind)]
        if not interested:
            return
        name = os.path.basename(self._workspace.root)
        notification = Notification(
            id=self._id_of("", kind, moment),
            event=kind,
            at=clock.timestamp(),
            title=escaped(f"{name}: {title}"),
            workspace=self._workspace.root,
            hostname=self._hostname,
            dashboard=self._dashboard(""),
            counts=counts,
        )
        self._put(notification, interested)

    def _id_of(self, *parts: str) -> str:
        return hashlib.sha256("\0".join((self._workspace.root, *parts)).encode()).hexdigest()[:16]

    def _dashboard(self, run: str) -> str | None:
        url = self._defaults.get("dashboardUrl")
        return url.replace("{run}", run) if isinstance(url, str) else None

    def _put(self, notification: Notification, recipients: Sequence[Recipient]) -> None:
        outbox.put(self._workspace, notification, recipients)
        self._start_dispatcher()

    # -- the dispatcher -----------------------------------------------------------------------------------

    def _has_dispatcher(self) -> bool:
        """Reap exited dispatchers; return whether one that this process started is still alive."""
        for pid in list(self._dispatchers):
            ended = True
            with suppress(ChildProcessError):
                ended = os.waitpid(pid, os.WNOHANG)[0] != 0
            if ended:
                self._dispatchers.discard(pid)
                reaper.lasting.discard(pid)
        return bool(self._dispatchers)

    def _start_dispatcher(self) -> None:
        """Start a dispatcher unless one is running; a running one reads the outbox again before it exits.

        One that is alive without the lock may be starting or exiting, so it is checked again later.
        """
        self._started = time.monotonic()
        busy = outbox.has_dispatcher(self._workspace) or not outbox.names(self._workspace)
        self._dispatcher_due = not busy and self._has_dispatcher()
        if busy or self._dispatcher_due:
            return
        command = program(["notify", "--deliver", "--workspace", self._workspace.root])
        environment = {k: v for k, v in os.environ.items() if k != reaper.MARK}
        null: list[Any] = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)]
        pid = os.posix_spawn(
            command[0],
            command,
            environment,
            file_actions=null,
            setpgroup=0,  # Ctrl-C reaches only the worker
        )
        self._dispatchers.add(pid)
        reaper.lasting.add(pid)


_BEFORE_ENDS: Final = frozenset(
    {NotificationEvent.ACCEPTED, NotificationEvent.STARTED, NotificationEvent.PROGRESS}
)
"""Events of a run that goes well so far: neither a cause nor the log belongs to them."""


def _kind_of(state: RunState, step: Next) -> NotificationEvent | None:
    """Return the event that a step implies, if any."""
    match step:
        case lifecycle.FinalMove(place):
            return NotificationEvent.COMPLETED if place is Place.COMPLETED else NotificationEvent.GAVE_UP
        case lifecycle.Go() | lifecycle.Wait() if state.status is Status.FAILED_TASK:
            task = state.tasks[state.current or 0]
            return NotificationEvent.FAILED if task.outcome is not None and task.outcome.counts else None
        case _:
            return None


def _moment_of(state: RunState, task: TaskState | None, kind: NotificationEvent) -> str | None:
    """Return the time of the event by the journal: the same if another worker publishes it again."""
    if kind in notification_settings.ENDS:
        return state.ended_at
    if kind is NotificationEvent.ACCEPTED:
        return state.readied_at
    if kind is NotificationEvent.STARTED:
        return state.working_since
    if task is None or kind is NotificationEvent.PROGRESS:
        return None
    return task.started_at if kind is NotificationEvent.STALLED else task.ended_at


def _outcome_of(state: RunState, kind: NotificationEvent, last: Outcome | None) -> str | None:
    found = (
        state.outcome
        if kind in notification_settings.ENDS
        else last
        if kind is NotificationEvent.FAILED
        else None
    )
    return None if found is None else str(found)


def _try_of(state: RunState, kind: NotificationEvent, task: TaskState | None) -> int | None:
    """Return the number of the try that an event is about."""
    if kind is NotificationEvent.FAILED and task is not None:
        return task.failures
    return state.try_number


def _masked_lines(folder: str, known: frozenset[str]) -> tuple[str, ...]:
    return tuple(secrets.masked("\n".join(_last_lines(folder)), known).splitlines())


def _last_lines(folder: str) -> tuple[str, ...]:
    """Return the last lines of a run's log, safe to print."""
    with suppress(OSError):
        data = safe_reads.tail(os.path.join(folder, "log.log"), _LOG_BYTES)
        lines = data.decode("utf-8", "replace").splitlines()
        return tuple(escaped(line) for line in lines[-_LOG_LINES:])
    return ()
