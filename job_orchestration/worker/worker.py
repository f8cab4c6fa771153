"""The life of a worker: claim runs, advance them one at a time, rest, until asked to stop.

The loop is short on purpose: take the next token, allocate the resources of its run, try to claim it, and let
`ClaimedRun` advance it until it has ended or is released. A run that causes an error of ours is released and
stays where it is; the worker goes on with the next one.
"""

from __future__ import annotations

import os
import random
import select
import signal
import socket
import string
import time
import traceback
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from job_orchestration.code.snapshots import CodeStore
from job_orchestration.diagnostics.errors import ClaimLostError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.executor.exhaustion import ExhaustedError
from job_orchestration.executor.exit_status import append_to_log
from job_orchestration.executor.fork_server_client import ForkServerPool
from job_orchestration.notifications.publisher import Publisher
from job_orchestration.processes import identity, reaper
from job_orchestration.processes.wakeup import WakeupPipe
from job_orchestration.queue.queue import Queue
from job_orchestration.queue.resource_pool import NO_ALLOCATION, ResourcePool
from job_orchestration.runs import claims, environments, summary_cache, unreadable
from job_orchestration.runs.outlived_locks import OutlivedLocks
from job_orchestration.runs.record_backup import BackupWriter
from job_orchestration.runs.state import Status
from job_orchestration.search import driver
from job_orchestration.worker import heartbeat, verification_start
from job_orchestration.worker.child_end import DiskError
from job_orchestration.worker.claimed_run import ClaimedRun
from job_orchestration.worker.failed_starts import FailedStarts
from job_orchestration.worker.heartbeat import HeartbeatSender
from job_orchestration.worker.services import WorkerServices
from job_orchestration.worker.stop_requests import StopRequests
from job_orchestration.workspace import durable, lock_probe, problems_file, temporary_files
from job_orchestration.workspace.naming import worker_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from job_orchestration.queue.resource_pool import Allocation
    from job_orchestration.runs.claims import Claim
    from job_orchestration.runs.token import Token
    from job_orchestration.worker.options import WorkerOptions
    from job_orchestration.workspace.layout import Workspace

_LAST_CALL: Final = 30.0
"""Seconds before the end of a walltime after which no more runs are claimed."""
_PAUSE: Final = 1.0
"""Seconds between two checks of a disk that could not be written."""
_LONGEST_PAUSE: Final = 10.0
"""The most seconds between two looks at a workspace that could not be used."""


class Worker:
    """A worker; `work` is its loop.

    Args:
        workspace: with all its folders in place.
        options: how to work.
        say: called with one line per event.
    """

    def __init__(self, workspace: Workspace, options: WorkerOptions, say: Callable[[str], None]) -> None:
        letters = "".join(random.SystemRandom().choices(string.ascii_lowercase + string.digits, k=3))
        self.workspace = workspace
        self.options = options
        self.say = say
        self.hostname = socket.gethostname()
        self.name = worker_name(self.hostname, os.getpid(), letters)
        self.failed = 0
        """Number of runs that this worker moved to Failed."""
        self._collected_at = -temporary_files.COLLECT_EVERY
        self.unreadable = 0
        """Number of runs that it left where they are, because they cannot be read."""
        self._resource_pool = ResourcePool(workspace, options.pool or self.name, options.resources, say)
        self._stop_requests = StopRequests(options.seconds)
        self._run: ClaimedRun | None = None
        self._environment_digest: str | None = None
        publisher = Publisher(workspace, self.hostname, say)
        self._services = WorkerServices(
            workspace=workspace,
            code=CodeStore(Path(workspace.misc)),
            fork_servers=ForkServerPool(workspace, self._is_ending, say),
            heartbeat_sender=HeartbeatSender(
                *(workspace, self.name, self.hostname, identity.own()),
                pool=options.pool,
                resources=self._resource_pool.capacity,
            ),
            publisher=publisher,
            searches=driver.SearchDriver(workspace, say, publisher.report_search),
            starts=FailedStarts(),
            stop_requests=self._stop_requests,
            wake=WakeupPipe(),
            backup=BackupWriter(workspace, self.name),
            can_write=self._can_write,
            say=say,
        )

    @property
    def was_stopped(self) -> bool:
        """Whether it got a stop signal."""
        return self._stop_requests.signals > 0

    def work(self) -> int:
        """Work until asked to stop, or until idle; return the number of failed runs.

        Raises:
            WorkspaceError: if the locks of the workspace's file system cannot be trusted.
        """
        lock_probe.require_locks(self.workspace)
        warning = lock_probe.others_may_write(self.workspace)
        if warning is not None:
            self.say(warning)
        reaper.become_subreaper()
        signal.set_wakeup_fd(self._services.wake.signal_end, warn_on_full_buffer=False)
        self._stop_requests.stop_signals.handle()
        outlived_locks = OutlivedLocks(self.say)
        queue = Queue(
            *(self.workspace, self._services.wake, self._resource_pool.could, outlived_locks.look, self.say),
            only=self.options.only,
        )
        try:
            self._work_on(queue)
            if (
                self._stop_requests.signals <= 1 and self.options.only is None
            ):  # a single signal may only mean that no work is left
                with suppress(OSError):
                    self._services.publisher.publish_if_queue_empty(queue.is_empty, leaving=True)
        finally:
            with suppress(OSError):
                self.unreadable = queue.unreadable
            queue.close()
            self._services.fork_servers.close()
            if self.options.pool is None:
                self._resource_pool.close()
            self._services.heartbeat_sender.end()
            self._services.backup.close()
            self._services.publisher.close(patient=not self.was_stopped)
        return self.failed

    def _work_on(self, queue: Queue) -> None:
        """Work until asked to stop, or until idle; what the system refuses for a moment is waited for."""
        troubles = 0
        while not self._stop_requests.urgency(_LAST_CALL):
            try:
                if self._turn(queue):
                    return
            except OSError as error:
                troubles += 1
                if troubles == 1:
                    self.say(f"The workspace cannot be used ({_words_of(error)}). Waiting until it can.")
                self._rest_for(min(_PAUSE * troubles, _LONGEST_PAUSE))
                continue
            if troubles:
                troubles = 0
                self.say("The workspace can be used again.")

    def _turn(self, queue: Queue) -> bool:
        """Work at the next run, or rest; return whether the worker is to end because it is idle."""
        found = queue.next()
        if found is not None:
            self._begin(found, queue)
            return False
        if time.monotonic() - self._collected_at >= temporary_files.COLLECT_EVERY:
            self._collected_at = time.monotonic()
            temporary_files.collect(self.workspace)
        if self.options.only is None:
            if self._services.searches.advance_idly():
                self._rest(driver.SOON)
                return False
            self._services.publisher.publish_if_queue_empty(
                lambda: self._is_over(queue), leaving=self.options.until_idle
            )
        if self.options.until_idle and self._is_over(queue):
            return True
        self._rest(queue.look_again_in())
        return False

    def _is_over(self, queue: Queue) -> bool:
        """Whether no run waits or is running, and no search goes on."""
        return queue.is_empty() and (self.options.only is not None or not self._services.searches.advance())

    def _is_ending(self) -> bool:
        """Whether this worker is to stop, or a cancel request for its run exists."""
        return self._stop_requests.urgency(0) > 0 or (self._run is not None and self._run.is_cancelled())

    def _rest(self, seconds: float) -> None:
        self._services.heartbeat_sender.idle()
        poll = select.poll()
        poll.register(self._services.wake.descriptor, select.POLLIN)
        poll.poll(min(seconds, heartbeat.EVERY) * 1000 + 1)
        self._services.wake.clear()

    def _rest_for(self, seconds: float) -> None:
        """Rest so long, whatever happens in the folders meanwhile, or until asked to stop."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._stop_requests.urgency(0):
            self._rest(left)

    def _begin(self, found: Token, queue: Queue) -> None:
        allocation = self._resource_pool.take(queue.resource_request(found))
        if isinstance(allocation, frozenset):
            queue.defer(found, allocation)
            return
        try:
            with allocation:
                self._try(found, allocation, queue)
        except ExhaustedError as error:
            self._wait_for_resources(error)
        except DiskError as error:
            self._pause(error)
        if allocation is not NO_ALLOCATION:
            queue.freed()

    def _try(self, found: Token, allocation: Allocation, queue: Queue) -> None:
        """Claim a run and advance it; an error of ours releases it and ends no worker."""
        claim = self._claim(found, queue)
        if claim is None:
            return
        queue.claimed(found)
        self._run = run = ClaimedRun(claim, allocation, self._services)
        try:
            run.advance()
        except ClaimLostError as error:
            self.say(str(error))
        except ExhaustedError:
            run.defer("there was no room for its process", timedelta(0))
            raise
        except DiskError:
            run.defer_by_disk()
            raise
        except OSError as error:
            if not self._can_write():
                run.defer_by_disk()
                raise DiskError(error.errno, error.strerror) from error
            run.set_back(error)
        except Exception as error:  # noqa: BLE001  # an error of one run must not affect others
            append_to_log(claim, traceback.format_exc())
            self.say(f"{escaped(claim.run)}: could not be advanced ({error!r}); its log says more")
        finally:
            self._run = None
            self.failed += run.has_failed
            claim.release()
            if claim.state.status is Status.COMPLETE:
                queue.completed(claim.run)
            queue.holds(claim.state, run.preloaded)
        self._follow_up(claim)

    def _follow_up(self, claim: Claim) -> None:
        """Do what a run that has ended asks for besides: its verification, the summary of its batch."""
        state = claim.state
        if state.status is Status.COMPLETE and state.verify is not None:
            verification_start.verify(self.workspace, claim.run, self._is_ending, self.say)
        if "genesetsFrom" in state.values and state.status in {Status.COMPLETE, Status.FAILED}:
            from job_orchestration.worker import batch_summary_start

            batch_summary_start.summarize(self.workspace, claim.run, state, self._is_ending, self.say)

    def _environment(self) -> str | None:
        """Return the digest of this worker's environment, which is stored once; `None` if it cannot be."""
        if self._environment_digest is None:
            from job_orchestration.code import provenance

            with suppress(OSError):
                found = provenance.environment()
                self._environment_digest = environments.store(self.workspace, found)
        return self._environment_digest

    def _wait_for_resources(self, error: ExhaustedError) -> None:
        """Wait before the next start, longer each time."""
        starts = self._services.starts
        if not starts.number:
            self.say(f"There is no room for another process ({error.strerror}). Waiting until there is.")
        self._rest_for(starts.add())

    def _claim(self, found: Token, queue: Queue) -> Claim | None:
        """Claim the run of a token; `None` if that cannot be done now, and the queue knows why."""
        try:
            claim = claims.claim(self.workspace, found, self.name, self.hostname, self._environment())
        except claims.UnfitTokenError as error:
            queue.set_aside(found)
            self.say(f"{escaped(found.filename)}: {error}")
            problems_file.write_problems(Path(found.folder), found.filename, [error.problem(found.filename)])
            return None
        except OSError as error:
            if not self._can_write():
                raise DiskError(error.errno, error.strerror) from error
            self._leave(found, queue, error)
            return None
        if claim is None:
            queue.put_back(found)
        return claim

    def _leave(self, found: Token, queue: Queue, error: OSError) -> None:
        """Leave a run alone whose error is not the disk's: others go on, and it is tried again later."""
        if queue.leave(found):
            summary_cache.forget(found.path)
            fault = unreadable.fault_of(self.workspace, error)
            self.say(f"{escaped(found.name.stem)}: {fault.what}. {fault.todo}. Other runs go on.")

    def _pause(self, error: OSError) -> None:
        """Wait until a durable write succeeds again."""
        self.say(f"The workspace cannot be written ({error.strerror or error}). Waiting until it can.")
        while not self._stop_requests.urgency(0):
            self._rest(_PAUSE)
            if self._can_write():
                self.say("The workspace can be written again.")
                return

    def _can_write(self) -> bool:
        """Whether a durable write succeeds: the evidence that an error is not the disk's."""
        trial = os.path.join(self.workspace.workers, f"{self.name}.trial")
        with suppress(FileNotFoundError):
            os.unlink(trial)
        with suppress(OSError):
            durable.write_new(trial, b"\0" * 4096)
            os.unlink(trial)
            return True
        return False


def _words_of(error: OSError) -> str:
    """Return what the system says, and about which file."""
    return f"{error.strerror or error}{f': {escaped(str(error.filename))}' if error.filename else ''}"
