"""A worker: claims runs, has their tasks run by a host, and files the tokens away, until it is told to go.

The loop is short on purpose: take the next token, try to claim it, and ask the pure rule
`lifecycle.next_step` what the journal wants done, until the run has ended or belongs to nobody again. A run
that makes trouble is let go of and stays where it is; the worker goes on with the next.
"""

from __future__ import annotations

import math
import os
import random
import select
import signal
import socket
import string
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, assert_never

from job_orchestration.engine import pulse, searching, supervision, sweep
from job_orchestration.engine.endings import note, reading_of, seconds_since
from job_orchestration.engine.herald import Herald
from job_orchestration.engine.hosts import Host, Hosts
from job_orchestration.engine.loading import CodePlan, modules_named
from job_orchestration.engine.orders import Orders, order_for
from job_orchestration.engine.page import Verdict
from job_orchestration.engine.pulse import Pulse
from job_orchestration.engine.queue import Queue, Wake
from job_orchestration.engine.room import NOTHING, Room
from job_orchestration.files import durable, intake, probe, requests, store, token, trash, views
from job_orchestration.files.code import CodeStore
from job_orchestration.files.workspace import VARIABLE
from job_orchestration.model.errors import ClaimLostError, HostError, OrchestrationError
from job_orchestration.model.event import Cancelled, Completed, GaveUp, HandedBack, TaskFailed
from job_orchestration.model.problem import escaped
from job_orchestration.model.run import Outcome, Place, Status
from job_orchestration.rules import checking, lifecycle
from job_orchestration.rules.naming import TokenName, worker_name

if TYPE_CHECKING:
    from types import FrameType

    from job_orchestration.engine.messages import Message
    from job_orchestration.files.token import Claim, Token
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.config import Settings

_LAST_CALL: Final = 30.0
"""Seconds before the end of a walltime at which no more runs are taken."""
_LEAVING: Final = 1.0
"""Seconds that it takes to kill what does not listen, and to hand its run back."""
_PAUSE: Final = 1.0
"""Seconds between two looks at a disk that could not be written."""
_LISTEN_EVERY: Final = 0.5
"""Seconds between two looks whether somebody asks for the end of the run that is at work."""
_PUT_OFF: Final = timedelta(seconds=2)
"""How long a run waits at the least that the disk kept from going on."""

Say = Callable[[str], None]


class Worker:
    """One worker; `work` is its life.

    Args:
        workspace: with all its folders in place.
        orders: how to work.
        say: gets a sentence for each thing that happens.
    """

    def __init__(self, workspace: Workspace, orders: Orders, say: Say) -> None:
        letters = "".join(random.SystemRandom().choices(string.ascii_lowercase + string.digits, k=3))
        self.workspace = workspace
        self.orders = orders
        self.say = say
        self.host_name = socket.gethostname()
        self.name = worker_name(self.host_name, os.getpid(), letters)
        self.failed = 0
        """Runs that this worker saw give up."""
        self._hosts = Hosts(workspace, self._wants_to_end)
        self._code = CodeStore(Path(workspace.misc))
        self._pulse = Pulse(workspace, self.name, self.host_name, os.getpid())
        self._herald = Herald(workspace, self.host_name, say)
        self._room = Room(workspace, orders.pool or self.name, orders.resources, say)
        self._share = NOTHING
        self._claim: Claim | None = None
        self._host: Host | None = None
        self._stops = 0
        self._over_at = None if orders.seconds is None else time.monotonic() + orders.seconds
        self._wake = Wake()
        self._searches = searching.Searches(workspace, say)

    @property
    def was_stopped(self) -> bool:
        """Whether a signal told it to end."""
        return self._stops > 0

    # -- its life -----------------------------------------------------------------------------------------

    def work(self) -> int:
        """Work until told to stop, or until idle; returns how many runs gave up.

        Raises:
            WorkspaceError: when the locks of the workspace's file system cannot be trusted.
        """
        probe.require_locks(self.workspace)
        warning = probe.others_may_write(self.workspace)
        if warning is not None:
            self.say(warning)
        sweep.become_subreaper()
        signal.set_wakeup_fd(self._wake.signal_end, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        queue = Queue(self.workspace, self._wake, self._room.could)
        try:
            while not self._urgency(_LAST_CALL):
                found = queue.next()
                if found is not None:
                    self._begin(found, queue)
                    continue
                if self._searches.advance_idly():
                    self._rest(searching.SOON)
                    continue
                self._herald.at_rest(lambda: self._is_over(queue), leaving=self.orders.until_idle)
                if self.orders.until_idle and self._is_over(queue):
                    break
                self._rest(queue.look_again_in())
            if self._stops <= 1:  # it may be told to stop just because nothing is left to do
                self._herald.at_rest(queue.is_empty, leaving=True)
        finally:
            queue.close()
            self._hosts.close()
            if self.orders.pool is None:
                self._room.close()
            self._pulse.end()
            self._herald.close(patient=not self.was_stopped)
        return self.failed

    def _is_over(self, queue: Queue) -> bool:
        """Whether nothing waits or runs, and no search goes on."""
        return queue.is_empty() and not self._searches.advance()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stops += 1

    def _urgency(self, grace: float) -> int:
        """How urgently this worker is to stop: 0 not at all, 1 politely, 2 and more at once.

        Args:
            grace: seconds that politeness takes, so that a walltime is kept and not overrun by it.
        """
        return max(self._stops, int(self._left(grace) <= 0))

    def _wants_to_end(self) -> bool:
        """Whether this worker is to stop, or somebody asked for the end of the run that it has."""
        return self._urgency(0) > 0 or (self._claim is not None and self._is_cancelled(self._claim))

    def _is_cancelled(self, claim: Claim) -> bool:
        return requests.reason_for(self.workspace, claim.path) is not None

    def _left(self, grace: float) -> float:
        """Seconds until the end of the walltime begins, which is `grace` long."""
        if self._over_at is None or self.orders.seconds is None:
            return math.inf
        return self._over_at - min(grace + _LEAVING, self.orders.seconds / 2) - time.monotonic()

    def _rest(self, seconds: float) -> None:
        self._pulse.idle()
        poll = select.poll()
        poll.register(self._wake.descriptor, select.POLLIN)
        poll.poll(min(seconds, pulse.EVERY) * 1000 + 1)
        self._wake.clear()

    def _begin(self, found: Token, queue: Queue) -> None:
        share = self._room.take(queue.demand(found))
        if isinstance(share, frozenset):
            queue.no_room(found, share)
            return
        try:
            with share:
                self._share = share
                self._try(found, queue)
        except OSError as error:
            self._pause(error)
        if share is not NOTHING:
            queue.freed()

    def _try(self, found: Token, queue: Queue) -> None:
        try:
            claim = token.claim(self.workspace, found, self.name, self.host_name)
        except token.UnfitTokenError as error:
            queue.set_aside(found)
            self.say(f"{escaped(found.filename)}: {error}")
            intake.write_problems(Path(found.folder), found.filename, [error.problem(found.filename)])
            return
        if claim is None:
            queue.put_back(found)
            return
        self._claim = claim
        try:
            self._advance(claim)
        except ClaimLostError as error:
            self.say(str(error))
        except OSError:
            self._put_off(claim)
            raise
        except Exception as error:  # noqa: BLE001  # whatever is wrong with one run, the others go on
            note(claim, traceback.format_exc())
            self.say(f"{escaped(claim.run)}: could not be advanced ({error!r}); its log says more")
        finally:
            self._claim = self._host = None
            claim.release()
            if claim.state.status is Status.COMPLETE:
                queue.completed(claim.run)

    def _put_off(self, claim: Claim) -> None:
        """Hand back a run that the disk kept from going on, if the disk can still be told so.

        Otherwise it stays in Running and its next claim counts an interruption, of which it must not die; and
        a run that needs more space than there is would be tried again and again before all others.
        """
        with suppress(OSError, ClaimLostError):
            over = claim.take_back().status in {Status.COMPLETE, Status.FAILED}
            moving = os.fstat(claim.descriptor).st_nlink > 1
            if not (over or moving):  # both are finished by whoever claims it next
                now = datetime.now(UTC)
                step = lifecycle.next_step(claim.state, checking.settings_of(claim.state.values), now)
                until = step.until if isinstance(step, lifecycle.Wait) else now
                self._hand_back(claim, "the disk kept it from going on", max(until, now + _PUT_OFF))

    def _pause(self, error: OSError) -> None:
        """Wait until the disk takes a durable write again; what could not be written stays as it was."""
        self.say(f"The workspace cannot be written ({error.strerror or error}). Waiting until it can.")
        trial = os.path.join(self.workspace.workers, f"{self.name}.trial")
        while not self._urgency(0):
            self._rest(_PAUSE)
            with suppress(OSError):
                durable.write_new(trial, b"\0" * 4096)
                os.unlink(trial)
                self.say("The workspace can be written again.")
                return

    # -- one run ------------------------------------------------------------------------------------------

    def _advance(self, claim: Claim) -> None:
        """Do what the journal wants done until the run is somewhere else than in Running."""
        if claim.attempt > 1:
            written = os.path.dirname(claim.journal.path)
            sweep.kill_marked(claim.run, self.workspace.root, VARIABLE, written)
            store.clear_partial(claim.run_folder)
            trash.put_output_away(self.workspace, claim.run, claim.state)
        settings = checking.settings_of(claim.state.values)
        self._pulse.busy(claim)
        while True:
            match self._herald.tell(claim, self._next_step(claim, settings)):
                case lifecycle.Go(index):
                    if self._urgency(settings.grace_time):
                        self._hand_back(claim, "the worker stops", None)
                        return
                    if not self._go(claim, settings, index):
                        return  # it stays in Running; whoever claims it next sees that it was interrupted
                case lifecycle.Wait(until, reason):
                    self._hand_back(claim, reason, until)
                    return
                case lifecycle.GiveUp(reason, outcome):
                    claim.write(GaveUp(reason, outcome), sync=True)
                case lifecycle.Finish():
                    claim.write(Completed(), sync=True)
                case lifecycle.FileAway(place):
                    self._file_away(claim, place)
                    return
                case unexpected:
                    assert_never(unexpected)

    def _next_step(self, claim: Claim, settings: Settings) -> lifecycle.Next:
        """What the journal wants done, unless somebody asked for the end of what is still to be done."""
        found = lifecycle.next_step(claim.state, settings, datetime.now(UTC))
        if isinstance(found, lifecycle.Go | lifecycle.Wait):
            reason = requests.reason_for(self.workspace, claim.path)
            if reason is not None:
                claim.write(Cancelled(reason), sync=True)
                return lifecycle.FileAway(Place.FAILED)
        return found

    def _hand_back(self, claim: Claim, reason: str, until: datetime | None) -> None:
        moment = until.isoformat() if until else None
        claim.write(HandedBack(reason, moment), sync=True)
        views.write_status(claim.run_folder, claim.state)
        claim.move(self.workspace.to_run, TokenName(claim.name.stem, not_before=moment))
        self._pulse.moved(claim)
        self.say(f"{escaped(claim.run)}: handed back: {reason}")

    def _file_away(self, claim: Claim, place: Place) -> None:
        views.write_status(claim.run_folder, claim.state)
        store.clear_partial(claim.run_folder)
        held = claim.path
        claim.move(self.workspace.folders[place], TokenName(claim.name.stem))
        self._pulse.moved(claim)
        if claim.state.outcome is Outcome.CANCELLED:
            requests.settle(self.workspace, held)
            self.say(f"{escaped(claim.run)}: cancelled")
        elif place is Place.FAILED:
            self.failed += 1
            self.say(f"{escaped(claim.run)}: failed: {escaped(claim.state.reason or '')}")
        else:
            self.say(f"{escaped(claim.run)}: completed")
        self._searches.ended(claim.state)

    def _go(self, claim: Claim, settings: Settings, index: int) -> bool:
        """Have the tasks run. Returns whether this worker still has the run and knows what became of it."""
        task = claim.state.tasks[index]
        try:
            host = self._hosts.get(self._plan(claim))
        except (HostError, OrchestrationError) as error:
            if self._urgency(settings.grace_time) or self._is_cancelled(claim):
                return True  # the imports were cut short: nobody's fault
            note(claim, error.what)
            claim.write(TaskFailed(task.id, Outcome.ERROR, error.what.splitlines()[0]))
            return True
        where = f"task {task.id} ({index + 1} of {len(claim.state.tasks)})"
        self.say(f"{escaped(claim.run)}: attempt {claim.attempt}, {where}")
        locks = (claim.descriptor, claim.journal.descriptor)
        order = order_for(claim, settings, self.workspace.root, self._share)
        is_same = self._host in {None, host}  # an attempt is over when its host is, between two tries as well
        self._host = host
        sent = is_same and host.begin(order, (*locks, *self._share.descriptors))
        end = self._watch(claim, host, settings) if sent else None
        if end is None:
            self._hosts.bury(host)
            self.say(f"{escaped(claim.run)}: its host was killed; the run goes on from its checkpoint")
            note(claim, f"Attempt {claim.attempt} was interrupted: its host was killed")
            return False
        return self._ended(claim, end)

    def _plan(self, claim: Claim) -> CodePlan:
        modules = modules_named(t.method for t in claim.state.tasks)
        code = claim.state.code
        if code is None:
            return CodePlan(modules=modules, fallback=self.workspace.root)
        snapshot = str(self._code.snapshot(code.commit))
        return CodePlan(snapshot, code.folder, code.work_tree, modules, bytecode=self.workspace.bytecode)

    def _watch(self, claim: Claim, host: Host, settings: Settings) -> Message | None:
        """Wait for the end of an attempt's child, passing on what this worker is told meanwhile."""
        asked, cancelled = 0, False
        while True:
            left = self._left(settings.grace_time)
            seconds = min(_LISTEN_EVERY, left) if left > 0 else _LISTEN_EVERY
            message = host.wait(seconds, self._wake.descriptor)
            if message is None or message["event"] == "end":
                return message
            self._wake.clear()
            urgency = self._urgency(settings.grace_time)
            if urgency > asked:
                asked = urgency
                grace = min(settings.grace_time, max(self._left(0.0), 0.0)) if urgency == 1 else 0.0
                host.stop(Outcome.INTERRUPTED, grace)
                self.say(f"{escaped(claim.run)}: asked to stop; it has {grace:g} s")
            if not cancelled and self._is_cancelled(claim):
                cancelled = True
                host.stop(Outcome.CANCELLED, supervision.STOP_TIME)
            if not token.still_ours(claim.path, claim.descriptor):
                host.stop(Outcome.LOST, 0.0)
            if self._pulse.busy(claim, host.page):
                views.write_status(claim.run_folder, claim.refold())
                self._herald.glance()

    def _ended(self, claim: Claim, end: Message) -> bool:
        """Take the journal over from the child and write down what it could not say itself."""
        verdict, stopped = Verdict(end["verdict"]), end["stopped"] and Outcome(end["stopped"])
        state = claim.take_back()
        if verdict is Verdict.LOST or stopped is Outcome.LOST:
            raise ClaimLostError(f"Attempt {claim.attempt} at {claim.run} was taken over by another worker")
        if verdict is Verdict.DISK:
            raise OSError(end["code"], os.strerror(max(end["code"], 0)))
        index = state.current
        if verdict is Verdict.FAILED and index is not None and stopped is None:
            # Told to stop by somebody else, perhaps by itself: an interruption, or it would do so for ever.
            return state.tasks[index].outcome is not Outcome.INTERRUPTED
        if verdict in {Verdict.DONE, Verdict.FAILED, Verdict.STOPPED} or index is None:
            return True
        if stopped in {Outcome.INTERRUPTED, Outcome.CANCELLED}:
            return True  # its try is void; the next step hands the run back, or cancels it
        outcome, error = reading_of(end["code"], stopped, oom=end["oom"])
        if state.status is not Status.RUNNING_TASK:
            error = f"{error} before the task began"
        task = state.tasks[index]
        spent = seconds_since(task.started_at) if state.status is Status.RUNNING_TASK else None
        claim.write(TaskFailed(task.id, outcome, error, spent))
        note(claim, f"Task {task.id} failed: {error}")
        return True
