"""One run that a worker has claimed: execute its tasks until it has ended or is released.

The pure rule `lifecycle.next_step` says what the journal requires; `ClaimedRun.advance` does it step by step.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final, assert_never

from job_orchestration.config.settings import settings_of
from job_orchestration.diagnostics.errors import ClaimLostError, ForkServerError, OrchestrationError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.executor import child_process, code_plans
from job_orchestration.executor.exhaustion import ExhaustedError
from job_orchestration.executor.exit_status import append_to_log, without_secrets
from job_orchestration.executor.messages import attempt_order
from job_orchestration.executor.shared_memory import Verdict
from job_orchestration.executor.silence import STANDSTILL, UNANSWERED
from job_orchestration.processes import reaper
from job_orchestration.runs import (
    artifact_store,
    cancel_requests,
    claims,
    lifecycle,
    provenance_file,
    status_file,
    trash,
    unreadable,
    working_folder,
)
from job_orchestration.runs.events import (
    INTENDED,
    Cancelled,
    Completed,
    GaveUp,
    HandedBack,
    Outcome,
    TaskFailed,
)
from job_orchestration.runs.opening import PROVENANCE
from job_orchestration.runs.state import Status
from job_orchestration.worker import child_end
from job_orchestration.worker.preloads import RunPreloads
from job_orchestration.workspace import clock, failures, safe_reads, temporary_files
from job_orchestration.workspace.layout import VARIABLE, Place
from job_orchestration.workspace.naming import TokenName

if TYPE_CHECKING:
    from job_orchestration.config.config import Json, Settings
    from job_orchestration.executor.fork_server_client import ForkServerClient
    from job_orchestration.executor.messages import Message
    from job_orchestration.executor.shared_memory import Report, SharedPage
    from job_orchestration.queue.resource_pool import Allocation
    from job_orchestration.runs.claims import Claim
    from job_orchestration.worker.services import WorkerServices

_REST: Final = timedelta(seconds=2)
"""Minimum delay of a run whose files could not be used."""
_LISTEN_EVERY: Final = 0.5
"""Seconds between two checks for a cancel request while a task is executed."""


class ClaimedRun:
    """A run that is claimed by this worker.

    Args:
        claim: the run's claim; the caller releases it.
        allocation: the resources that the run may use.
        services: the parts of its worker.
    """

    def __init__(self, claim: Claim, allocation: Allocation, services: WorkerServices) -> None:
        self._claim = claim
        self._allocation = allocation
        self._services = services
        self._workspace = services.workspace
        self._stop_requests = services.stop_requests
        self._fork_server: ForkServerClient | None = None
        self._order: Message = {}
        self._began = 0.0
        self._last_heartbeat: tuple[float, float] | None = None
        """The child's heartbeat while its fork server is silent, and when it was first seen."""
        self.has_failed = False
        """Whether this worker moved the run to Failed, and its end was not intended."""

    @cached_property
    def _settings(self) -> Settings:
        return settings_of(self._claim.state.values)

    @cached_property
    def _preloads(self) -> RunPreloads:
        return RunPreloads(self._claim, self._settings, self._services)

    @property
    def preloaded(self) -> dict[str, dict[str, Json]]:
        """Method to the keys of the config that decide what its class has loaded; empty if nothing was."""
        return self._preloads.loaded

    def is_cancelled(self) -> bool:
        """Whether a cancel request for the run exists."""
        return cancel_requests.reason_for(self._workspace, self._claim.path) is not None

    def advance(self) -> None:
        """Do what the journal requires until the run is no longer in Running."""
        claim = self._claim
        if claim.attempt > 1:
            written = os.path.dirname(claim.journal.path)
            reaper.kill_marked(claim.run, self._workspace.root, VARIABLE, written)
            artifact_store.clear_partial(claim.run_folder)
            temporary_files.collect_in_run(claim.run_folder)
            trash.put_output_away(self._workspace, claim.run, claim.state)
            provenance_file.note_changes(claim.run_folder, claim.state)
        self._services.heartbeat_sender.busy(claim)
        self._back_up()
        self._take_steps()

    def _back_up(self) -> None:
        """Keep what a task could take away from the run's folder: in memory, and in a file beside."""
        claim = self._claim
        with suppress(OSError):
            path = os.path.join(claim.run_folder, PROVENANCE)
            claim.kept[PROVENANCE] = safe_reads.whole(path)
        claim.note_stamps()
        self._services.backup.write(claim.run, claim.kept)

    def _take_steps(self, *, may_go: bool = True) -> None:
        claim = self._claim
        while True:
            match self._services.publisher.publish(claim, self._next_step()):
                case lifecycle.Go(index):
                    if self._stop_requests.urgency(self._settings.grace_time):
                        self._release("the worker stops", None)
                        return
                    if not may_go:
                        self._release("its files could not be used", clock.now() + _REST)
                        return
                    if not self._execute(index):
                        return  # it stays in Running; its next claim counts an interruption
                case lifecycle.Wait(until, reason):
                    self._release(reason, until)
                    return
                case lifecycle.GiveUp(reason, outcome):
                    claim.write(GaveUp(reason, outcome), sync=True)
                    self._say_how_to_go_on(outcome)
                case lifecycle.Finish():
                    claim.write(Completed(), sync=True)
                case lifecycle.FinalMove(place):
                    self._finish_move(place)
                    return
                case unexpected:
                    assert_never(unexpected)

    def defer(self, reason: str, delay: timedelta) -> None:
        """Release a run that the machine or its disk kept from going on, if the release can be written.

        Otherwise it stays in Running and its next claim counts an interruption, which must not use up the
        run; and a run that needs more space than there is would be tried again and again before all others.
        """
        claim = self._claim
        with suppress(OSError, ClaimLostError):
            over = claim.take_back().status in {Status.COMPLETE, Status.FAILED}
            moving = os.fstat(claim.descriptor).st_nlink > 1
            if not (over or moving):  # both are finished by the worker that claims it next
                now = clock.now()
                step = lifecycle.next_step(claim.state, self._settings, now)
                until = step.until if isinstance(step, lifecycle.Wait) else now
                self._release(reason, max(until, now + delay), quiet=not delay)

    def defer_by_disk(self) -> None:
        """Release a run that the disk kept from going on, for a longer time after each such attempt."""
        self.defer(child_end.REASON, child_end.delay_after(self._claim.earlier))

    def set_back(self, error: OSError) -> None:
        """Count an error that is not the disk's as a failed try: the workspace can be written.

        The first of several such errors in a row may have been the disk's and over since: it is not counted.
        """
        if failures.is_of_machine(error) or child_end.may_be_over(error.errno, self._claim.earlier):
            self.defer_by_disk()
            return
        claim = self._claim
        with suppress(OSError, ClaimLostError):
            state = claim.take_back()
            if state.status not in {Status.COMPLETE, Status.FAILED} and state.current is not None:
                what = f"its files could not be used: {unreadable.path_and_words(self._workspace, error)}"
                claim.write(TaskFailed(state.tasks[state.current].id, Outcome.ERROR, what))
                append_to_log(claim, f"The run cannot go on: {what}")
                self._take_steps(may_go=False)

    # -- steps --------------------------------------------------------------------------------------------

    def _next_step(self) -> lifecycle.Next:
        """The step that the journal requires, or the final move if a cancel request precedes it."""
        claim = self._claim
        found = lifecycle.next_step(claim.state, self._settings, clock.now())
        if isinstance(found, lifecycle.Go | lifecycle.Wait):
            reason = cancel_requests.reason_for(self._workspace, claim.path)
            if reason is not None:
                claim.write(Cancelled(reason), sync=True)
                return lifecycle.FinalMove(Place.FAILED)
        return found

    def _release(self, reason: str, until: datetime | None, *, quiet: bool = False) -> None:
        claim = self._claim
        moment = until.isoformat() if until else None
        claim.write(HandedBack(reason, moment), sync=True)
        status_file.write_status(claim.run_folder, claim.state)
        claim.move(self._workspace.to_run, TokenName(claim.name.stem, not_before=moment))
        self._services.heartbeat_sender.moved(claim)
        if not quiet:
            self._say(f"released: {reason}")

    def _finish_move(self, place: Place) -> None:
        claim = self._claim
        status_file.write_status(claim.run_folder, claim.state)
        artifact_store.clear_partial(claim.run_folder)
        working_folder.leave(claim.run_folder, for_good=place is Place.COMPLETED)
        held = claim.path
        claim.move(self._workspace.folders[place], TokenName(claim.name.stem))
        self._services.heartbeat_sender.moved(claim)
        if claim.state.outcome in INTENDED:
            cancel_requests.settle(self._workspace, held)
            pruned = claim.state.outcome is Outcome.PRUNED
            self._say(escaped(claim.state.reason or "pruned") if pruned else "cancelled")
        elif place is Place.FAILED:
            self.has_failed = True
            self._say(f"failed: {escaped(claim.state.reason or '')}")
        else:
            self._say("completed")
        self._services.searches.ended(claim.state)

    def _say(self, sentence: str) -> None:
        self._services.say(f"{escaped(self._claim.run)}: {sentence}")

    def _say_how_to_go_on(self, outcome: Outcome) -> None:
        """Say in the log of a failed run that it can go on in mended code."""
        state = self._claim.state
        if state.code is None or state.current is None or not outcome.counts:
            return
        import shlex

        task, run = state.tasks[state.current].id, shlex.quote(self._claim.run)
        append_to_log(
            self._claim,
            f"To go on from task {task} in mended code, commit it and run: "
            f"job-orchestration retry {run} --commit HEAD",
        )

    # -- tasks --------------------------------------------------------------------------------------------

    def _execute(self, index: int) -> bool:
        """Execute tasks from this one on.

        Returns:
            Whether the child's end is known; otherwise the run stays in Running.

        Raises:
            OSError: the disk, or a limit of the machine, kept the run from going on.
        """
        claim = self._claim
        task = claim.state.tasks[index]
        try:
            plan = code_plans.plan_of(self._workspace, self._services.code, claim.state)
            fork_server = self._services.fork_servers.get(plan)
            if self._preloads.may_help(fork_server) and self._fork_server is None:
                loaded = self._preloads.load(plan, index)
                if loaded is None:
                    return True
                fork_server = loaded
        except (ForkServerError, OrchestrationError) as error:
            if isinstance(error, ForkServerError) and error.was_killed:
                self._services.starts.excuse_kill("the process that imports the tasks was killed")
            if self._stop_requests.urgency(self._settings.grace_time) or self.is_cancelled():
                return True  # the imports were cut short: not the run's fault
            child_end.judge_start(error, self._services.can_write)
            append_to_log(claim, error.what)
            what = without_secrets(claim, error.what.splitlines()[0])
            claim.write(TaskFailed(task.id, Outcome.ERROR, what))
            return True
        again = f", try {task.failures + 1} of {self._settings.max_attempts}" if task.failures else ""
        self._say(f"task {task.id} ({index + 1} of {len(claim.state.tasks)}){again}")
        # An attempt ends with its fork server, even if that dies between two tries.
        is_same = self._fork_server in {None, fork_server}
        self._fork_server = fork_server
        end = self._watch(fork_server) if is_same and self._begin(fork_server) else None
        if end is not None and end["event"] == "silence":
            return self._end_by_force(fork_server, end["stopped"])
        if end is not None and end["event"] == "exhausted":
            raise ExhaustedError(end["error"], os.strerror(end["error"]))
        if end is None:
            report = fork_server.shared_page.report()
            self._services.fork_servers.bury(fork_server)
            with suppress(OSError, ClaimLostError):
                child_end.restore(claim, report)
            if claim.take_back().status is not Status.RUNNING_TASK and claim.journal.written == 1:
                self._services.starts.excuse_kill("its fork server was killed before its first task began")
            self._say("its fork server was killed; the run goes on from its checkpoint")
            append_to_log(
                claim, f"Task {task.id} was interrupted, which is no failed try: its fork server was killed"
            )
            return False
        return self._ended(end, fork_server.shared_page.report())

    def _begin(self, fork_server: ForkServerClient) -> bool:
        """Have the fork server start a child that holds the run's locks; return whether it was reached."""
        claim = self._claim
        locks = (claim.descriptor, claim.journal.descriptor)
        environment = self._allocation.environment
        self._order = attempt_order(claim, self._settings, self._workspace.root, environment)
        if self._preloads.figures:
            self._order["preloaded"] = self._preloads.figures
        self._began = time.monotonic()
        self._last_heartbeat = None
        return fork_server.begin(self._order, (*locks, *self._allocation.descriptors))

    def _watch(self, fork_server: ForkServerClient) -> Message | None:
        """Wait for the end of the child; stop it on request.

        Returns:
            How it ended; the event ``silence`` if the fork server stands still, ``exhausted`` if it could not
            start the child; `None` if it was killed.
        """
        claim, grace_time = self._claim, self._settings.grace_time
        asked, cancelled = 0, False
        while True:
            left = self._stop_requests.seconds_left(grace_time)
            seconds = min(_LISTEN_EVERY, left) if left > 0 else _LISTEN_EVERY
            message = fork_server.wait(seconds, self._services.wake.descriptor)
            if message is None or message["event"] in {"end", "exhausted"}:
                return message
            self._services.wake.clear()
            urgency = self._stop_requests.urgency(grace_time)
            if urgency > asked:
                asked = urgency
                left = max(self._stop_requests.seconds_left(0.0), 0.0)
                grace = min(grace_time, left) if urgency == 1 else 0.0
                fork_server.stop(Outcome.INTERRUPTED, grace)
                from job_orchestration.diagnostics import durations

                self._say(f"asked to stop; it has {durations.text_of(grace)}")
            if not cancelled and self.is_cancelled():
                cancelled = True
                fork_server.stop(Outcome.CANCELLED, child_process.STOP_TIME)
            if not claims.still_ours(claim.path, claim.descriptor):
                fork_server.stop(Outcome.LOST, 0.0)
            if (silence := fork_server.silence.seconds()) >= UNANSWERED:
                asked_for = Outcome.CANCELLED if cancelled else Outcome.INTERRUPTED if asked else None
                due = asked_for or self._passed_limit(fork_server.shared_page)
                if due is not None or silence >= STANDSTILL:
                    return {"event": "silence", "stopped": due}
            if self._services.heartbeat_sender.busy(claim, fork_server.shared_page):
                status_file.write_status(claim.run_folder, claim.refold())
                self._services.publisher.start_dispatcher_if_due()
                self._services.publisher.report_progress(claim, fork_server.shared_page.progress)

    def _passed_limit(self, shared_page: SharedPage) -> Outcome | None:
        """Return the limit that the fork server should have enforced: of the task, or of the run."""
        now, running = time.monotonic(), shared_page.task
        limits, run_limit = self._order["timeouts"], self._order["run_limit"]
        limit = limits[running[0]] if running is not None and running[0] < len(limits) else None
        if running is not None and limit is not None and now - running[1] >= limit:
            return Outcome.TIMEOUT
        if run_limit is not None and now - self._began >= run_limit:
            return Outcome.TIMEOUT
        return Outcome.HANG if running is not None and self._hangs(shared_page.heartbeat, now) else None

    def _hangs(self, heartbeat: float, now: float) -> bool:
        """Whether the child's interpreter has not run for `stallTimeout`, as far as was looked."""
        limit = self._order["stall_timeout"]
        if self._last_heartbeat is None or self._last_heartbeat[0] != heartbeat:
            self._last_heartbeat = heartbeat, now
        return limit is not None and now - self._last_heartbeat[1] >= limit

    def _end_by_force(self, fork_server: ForkServerClient, due: Outcome | None) -> bool:
        """Kill a fork server that stands still, with its child, and record what was due.

        Returns:
            Whether the end is recorded; otherwise the run stays in Running and counts an interruption.
        """
        claim, report = self._claim, fork_server.shared_page.report()
        self._services.fork_servers.bury(fork_server)
        reaper.kill_marked(claim.run, self._workspace.root, VARIABLE, os.path.dirname(claim.journal.path))
        sentence = "its fork server stood still (stopped, or frozen) and was killed"
        self._say(sentence)
        append_to_log(claim, f"This run is interrupted: {sentence}")
        if due is None:
            return False
        end = {"code": -signal.SIGKILL, "verdict": report.verdict, "stopped": due, "oom": None}
        return self._ended(end, report)

    def _ended(self, end: Message, report: Report) -> bool:
        """Record how the child ended; return whether that is recorded."""
        if report.verdict is not Verdict.EXHAUSTED and self._services.starts.succeeded():
            self._services.say("There is room again.")
        return child_end.record(self._claim, end, report, self._services.can_write)
