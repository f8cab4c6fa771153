"""The herald: what a worker does so that somebody is told.

It only puts messages into the outbox and sees to it that a courier, a process of its own, delivers them. So
whatever is wrong with a mail server costs a worker nothing, and a run's messages are on the disk before the
run is filed away. A workspace where nobody asked to be told pays one look at a clock for it.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.engine import sweep
from job_orchestration.engine.pool import program
from job_orchestration.files import journal, outbox
from job_orchestration.files import workspace as workspaces
from job_orchestration.model.news import News, NewsKind
from job_orchestration.model.problem import escaped
from job_orchestration.model.run import Outcome, Place, Status
from job_orchestration.rules import lifecycle, notifying

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from job_orchestration.files.token import Claim
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.news import Recipient
    from job_orchestration.model.run import RunState, TaskState
    from job_orchestration.model.task import Json
    from job_orchestration.rules.lifecycle import Next

_LOOK_EVERY: Final = 2.0
"""Seconds after which ``workspace.yaml`` is looked at again."""
_COURIER_EVERY: Final = 600.0
"""Seconds between two couriers for what could not be delivered."""
_GLANCE_EVERY: Final = 30.0
"""Seconds between two looks into the outbox for what others left."""
_QUIET: Final = 10.0
"""Seconds that a queue is empty before a worker that stays says so: more may be readied at this moment."""
_REST_EVERY: Final = 1.0
"""Seconds between two looks whether that is so."""
_FAREWELL: Final = 5.0
"""Seconds that a worker which ends of its own accord leaves its courier: its machine may go with it."""
_LOG_LINES: Final = 20
_LOG_BYTES: Final = 16_384


class Herald:
    """What one process has told.

    Args:
        workspace: whose news it is.
        host: the name of this machine.
        say: gets a sentence when something could not be noted down.
    """

    def __init__(self, workspace: Workspace, host: str, say: Callable[[str], None]) -> None:
        self._workspace = workspace
        self._host = host
        self._say = say
        self._defaults: Mapping[str, Json] = {}
        self._version: tuple[int, int] | None = None
        self._looked = -_LOOK_EVERY
        self._glanced = -_GLANCE_EVERY
        self._sent = -_COURIER_EVERY
        self._couriers: set[int] = set()
        self._owed = False
        """Whether a courier that is beginning or ending may not see the last message."""
        self._worked = False
        self._rested = -_REST_EVERY
        self._stuck: set[tuple[str, int, str | None]] = set()
        self._empty_since: float | None = None

    # -- what happened ------------------------------------------------------------------------------------

    def tell(self, claim: Claim, step: Next) -> Next:
        """Tell of a run what its next step shows, before that is done; returns the step."""
        self._worked, self._empty_since = True, None
        self._look()
        values = claim.state.values
        if notifying.NOTIFY in self._defaults or notifying.NOTIFY in values or notifying.CALLBACK in values:
            kind = _kind_of(claim.state, step)
            if kind is not None:
                self._guarded(lambda: self._tell_run(claim.run, claim.state, kind))
        return step

    def stuck(self, run: str, reason: str) -> None:
        """Tell that a run which somebody works on seems to stand still; once for each start of a task.

        Args:
            run: its name.
            reason: a sentence of what is seen, without its full stop.
        """
        self._look()
        self._guarded(lambda: self._tell_stuck(run, reason))

    def abandoned(self, since: str, waiting: int) -> None:
        """Tell that runs wait and no worker is alive.

        Args:
            since: when that was first seen; the same for the same news.
            waiting: how many.
        """
        runs = "1 run waits" if waiting == 1 else f"{waiting} runs wait"
        title = f"{runs} and no worker is alive"
        self._guarded(lambda: self._tell_all(NewsKind.STUCK, since, title, {"waiting": waiting}))

    def at_rest(self, is_empty: Callable[[], bool], *, leaving: bool) -> None:
        """Nothing can be claimed at this moment: tell when nothing waits or runs any more, once.

        Args:
            is_empty: whether that is so; only called when somebody wants to know.
            leaving: whether this worker ends when it is so.
        """
        self.glance()
        now = time.monotonic()
        if not self._worked or (now < self._rested + _REST_EVERY and not leaving):
            return
        self._rested = now
        self._look()
        if not any(r.hears(NewsKind.QUEUE_EMPTY) for r in self._recipients({})):
            self._worked = False
            return
        if not is_empty():
            self._empty_since = None
            return
        self._empty_since = now if self._empty_since is None else self._empty_since
        if leaving or now - self._empty_since >= _QUIET:
            self._worked = False
            self._guarded(self._tell_empty)

    def glance(self) -> None:
        """Now and then, see to it that somebody delivers what was left."""
        now = time.monotonic()
        if self._owed:
            self._guarded(self._send_courier)
        if now - self._glanced >= _GLANCE_EVERY:
            self._glanced = now
            self._is_out()  # collects those that have ended
            if now - self._sent >= _COURIER_EVERY:
                self._guarded(self._send_courier)

    def close(self, *, patient: bool) -> None:
        """End; a patient one waits a little for its courier."""
        deadline = time.monotonic() + _FAREWELL
        while patient and (self._owed or self._is_out()) and time.monotonic() < deadline:
            if not outbox.names(self._workspace):
                break
            self.glance()
            time.sleep(0.02)

    # -- how it is told -----------------------------------------------------------------------------------

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001  # whatever is wrong with telling, the work goes on
            self._say(f"Somebody who asked to be told will not be: {error}")

    def _look(self) -> None:
        """Take up what ``workspace.yaml`` says now; what cannot be read changes nothing."""
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        try:
            status = os.stat(os.path.join(self._workspace.root, workspaces.DEFAULTS))
            version = status.st_ino, status.st_mtime_ns
            if version == self._version:
                return
            defaults, problems = workspaces.defaults(self._workspace)
        except FileNotFoundError:
            self._defaults, self._version = {}, None
        except OSError:
            return
        else:
            self._version = version
            if not problems:
                self._defaults = defaults

    def _recipients(self, own: Mapping[str, Json]) -> tuple[Recipient, ...]:
        return notifying.recipients_of(own, self._defaults)

    def _tell_run(self, run: str, state: RunState, kind: NewsKind, reason: str | None = None) -> None:
        wanting = [r for r in self._recipients(state.values) if r.hears(kind)]
        if state.outcome is Outcome.CANCELLED:  # who cancelled it knows; a program that waits for it does not
            wanting = [r for r in wanting if r.key == notifying.CALLBACK]
        if wanting:
            self._put(self._news_of(run, state, kind, reason), wanting)

    def _tell_stuck(self, run: str, reason: str) -> None:
        state = lifecycle.fold(journal.read(self._workspace.run_folder(run)))
        task = None if state.current is None else state.tasks[state.current]
        start = run, state.attempt, task.started_at if task else None
        if start not in self._stuck:
            self._stuck.add(start)
            self._tell_run(run, state, NewsKind.STUCK, reason)

    def _news_of(self, run: str, state: RunState, kind: NewsKind, reason: str | None) -> News:
        folder = self._workspace.run_folder(run)
        ended = kind in notifying.ENDS
        task = None
        if state.tasks:
            task = state.tasks[-1 if state.current is None else state.current]
        at = _moment_of(state, task, kind) or journal.now()
        why = reason or (state.reason if ended else None) or state.error
        now = journal.now() if kind is NewsKind.STUCK else at
        return News(
            id=self._id_of(run, kind, at),
            event=kind,
            at=now,
            title=escaped(notifying.title_of(kind, run, task.id if task else None, why)),
            workspace=self._workspace.root,
            host=self._host,
            run=run,
            config=state.config,
            outcome=_outcome_of(state, kind, task.outcome if task else None),
            reason=None if kind is NewsKind.COMPLETED else why,
            task=task.id if task and kind is not NewsKind.COMPLETED else None,
            attempt=state.attempt,
            tries=task.tries if task and kind is not NewsKind.COMPLETED else None,
            elapsed_s=_seconds(state.started_at, now),
            output=folder,
            dashboard=self._dashboard(run),
            log=_last_lines(folder),
        )

    def _tell_empty(self) -> None:
        folders = (self._workspace.to_run, self._workspace.running)
        moment = ".".join(str(os.stat(folder).st_mtime_ns) for folder in folders)
        if outbox.was_told(self._workspace, str(NewsKind.QUEUE_EMPTY), moment):
            return
        ends = (Place.COMPLETED, Place.FAILED)
        counts = {
            str(p): sum(n.endswith(".yaml") for n in os.listdir(self._workspace.folders[p])) for p in ends
        }
        self._tell_all(NewsKind.QUEUE_EMPTY, moment, "Nothing waits or runs any more", counts)
        outbox.note_told(self._workspace, str(NewsKind.QUEUE_EMPTY), moment)

    def _tell_all(self, kind: NewsKind, moment: str, title: str, counts: Mapping[str, int]) -> None:
        """Tell those who asked in ``workspace.yaml`` of something that is about no single run."""
        self._look()
        wanting = [r for r in self._recipients({}) if r.hears(kind)]
        if not wanting:
            return
        name = os.path.basename(self._workspace.root)
        news = News(
            id=self._id_of("", kind, moment),
            event=kind,
            at=journal.now(),
            title=escaped(f"{name}: {title}"),
            workspace=self._workspace.root,
            host=self._host,
            dashboard=self._dashboard(""),
            counts=counts,
        )
        self._put(news, wanting)

    def _id_of(self, *parts: str) -> str:
        return hashlib.sha256("\0".join((self._workspace.root, *parts)).encode()).hexdigest()[:16]

    def _dashboard(self, run: str) -> str | None:
        url = self._defaults.get("dashboardUrl")
        return url.replace("{run}", run) if isinstance(url, str) else None

    def _put(self, news: News, recipients: Sequence[Recipient]) -> None:
        outbox.put(self._workspace, news, recipients)
        self._send_courier()

    # -- the courier --------------------------------------------------------------------------------------

    def _is_out(self) -> bool:
        """Whether a courier that this process started still lives."""
        for pid in list(self._couriers):
            ended = True
            with suppress(ChildProcessError):
                ended = os.waitpid(pid, os.WNOHANG)[0] != 0
            if ended:
                self._couriers.discard(pid)
                sweep.lasting.discard(pid)
        return bool(self._couriers)

    def _send_courier(self) -> None:
        """Start the process that delivers, unless one is at it; that one looks again before it ends.

        Of one that lives without the lock nobody knows whether it will look, so it is seen to later.
        """
        self._sent = time.monotonic()
        busy = outbox.has_courier(self._workspace) or not outbox.names(self._workspace)
        self._owed = not busy and self._is_out()
        if busy or self._owed:
            return
        command = program(["notify", "--deliver", "--workspace", self._workspace.root])
        environment = {k: v for k, v in os.environ.items() if k != sweep.MARK}
        nowhere: list[Any] = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)]
        pid = os.posix_spawn(
            command[0],
            command,
            environment,
            file_actions=nowhere,
            setpgroup=0,  # Ctrl-C is for the worker
        )
        self._couriers.add(pid)
        sweep.lasting.add(pid)


def _kind_of(state: RunState, step: Next) -> NewsKind | None:
    """What there is to tell before a step is done."""
    match step:
        case lifecycle.FileAway(place):
            return NewsKind.COMPLETED if place is Place.COMPLETED else NewsKind.GAVE_UP
        case lifecycle.Go() | lifecycle.Wait() if state.status is Status.FAILED_TASK:
            task = state.tasks[state.current or 0]
            return NewsKind.FAILED if task.outcome is not None and task.outcome.counts else None
        case _:
            return None


def _moment_of(state: RunState, task: TaskState | None, kind: NewsKind) -> str | None:
    """When it happened, by the journal: the same for whoever tells it again."""
    if kind in notifying.ENDS:
        return state.ended_at
    if task is None:
        return None
    return task.started_at if kind is NewsKind.STUCK else task.ended_at


def _outcome_of(state: RunState, kind: NewsKind, last: Outcome | None) -> str | None:
    found = state.outcome if kind in notifying.ENDS else last if kind is NewsKind.FAILED else None
    return None if found is None else str(found)


def _seconds(since: str | None, until: str) -> float | None:
    if since is None:
        return None
    return max((datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds(), 0.0)


def _last_lines(folder: str) -> tuple[str, ...]:
    """The last lines of a run's log, safe to print."""
    with suppress(OSError), open(os.path.join(folder, "log.log"), "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _LOG_BYTES, 0))
        lines = file.read(_LOG_BYTES).decode("utf-8", "replace").splitlines()
        return tuple(escaped(line) for line in lines[-_LOG_LINES:])
    return ()
