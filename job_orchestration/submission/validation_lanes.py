"""Imports and validations of several repositories side by side.

A *lane* belongs to the code of one commit: it owns the fork server that has imported the tasks, and does its
jobs one after another. A pass with a single repository does its job in the calling thread. With several, each
lane has a thread, and as many lanes are active as there are CPUs to use. A lane that is still busy after some
seconds gives its place to the next one and goes on beside it: imports that hang use no CPU. The number of
such lanes is bounded too, since each has the memory of its imports. A pass may leave a slow lane at its job,
do other work, and come back for the answers: nothing is begun twice.

What imports print is collected for each lane and passed on when its job is done, so lines of several
repositories are never mixed.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.errors import ForkServerError
from job_orchestration.executor import validation_client
from job_orchestration.executor.fork_server_client import KEPT, ForkServerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import IO

    from job_orchestration.code.task_importer import CodePlan
    from job_orchestration.executor.validation_client import Question, TaskFault
    from job_orchestration.workspace.layout import Workspace

SAID_AFTER: Final = 3.0
"""Seconds after which it is said what is being waited for."""
GIVES_WAY_AFTER: Final = 5.0
"""Seconds after which a lane that is still busy no longer keeps others waiting."""
_SLOW_AT_ONCE: Final = 8
"""Number of lanes that may be busy for longer than that, beside the active ones."""
_MOST_OUTPUT: Final = 1 << 24
"""Bytes that imports may print before all of it is forgotten: they may print without end."""
_LOOK_EVERY: Final = 0.5
"""Seconds between two looks at the lanes if none of them has changed."""


@dataclass(slots=True, eq=False)
class Job:
    """The configs of one commit in one batch."""

    plan: CodePlan
    questions: Sequence[Question]
    limit: float
    """Seconds that the imports, and the validation of one config, may take."""
    sentence: str
    """What is said if it takes long."""
    answers: dict[int, list[TaskFault]] = field(default_factory=dict)
    """Once it is done: the faults by the number of the question."""
    error: Exception | None = None
    is_done: bool = False


class _EndedError(Exception):
    """The process ends; the answers are no longer wanted."""


class _Lane:
    """The fork server of one commit, and its jobs."""

    def __init__(self, lanes: ValidationLanes, workspace: Workspace, plan: CodePlan) -> None:
        self._lanes = lanes
        self.plan = plan
        self.pool = ForkServerPool(workspace, self._is_unwanted)
        self.thread: threading.Thread | None = None
        self.jobs: deque[Job] = deque()
        self.began = 0.0
        self._sentence = ""
        self._output: IO[bytes] | None = None
        self._known: dict[str, list[TaskFault]] = {}
        self._failure: ForkServerError | None = None

    def forget(self) -> None:
        """Start a pass: what was answered in an earlier one may have changed."""
        self._known.clear()
        self._failure = None

    @property
    def is_busy(self) -> bool:
        """Whether its thread has jobs."""
        return self.thread is not None

    @property
    def is_slow(self) -> bool:
        """Whether it has been busy for so long that it keeps no others waiting."""
        return self.is_busy and time.monotonic() - self.began >= GIVES_WAY_AFTER

    def begin(self, job: Job) -> None:
        """Do a job in a thread, after those that it has."""
        self.jobs.append(job)
        if self.thread is not None:
            return
        if self._output is None:
            self._output = tempfile.TemporaryFile("a+b")  # noqa: SIM115  # lives as long as the fork server
            self.pool.output = self._output.fileno()
        self._note_begin(job)
        self.thread = threading.Thread(target=self._do_all, name="validation", daemon=True)
        self.thread.start()

    def do(self, job: Job) -> None:
        """Do a job in the calling thread."""
        self._note_begin(job)
        self._do(job)

    def look(self) -> None:
        """Say what is being waited for, once, if it is time."""
        if self._sentence and time.monotonic() - self.began >= SAID_AFTER:
            self._lanes.say(self._sentence)
            self._sentence = ""
        if self._output is not None and os.fstat(self._output.fileno()).st_size > _MOST_OUTPUT:
            self._output.truncate(0)

    def pass_on_output(self) -> None:
        """Write what its imports have printed to the standard error."""
        if self._output is not None and os.fstat(self._output.fileno()).st_size:
            self._output.seek(0)
            with open(2, "wb", closefd=False) as error:
                shutil.copyfileobj(self._output, error)
            self._output.truncate(0)

    def close(self) -> None:
        """End its fork server; a later job starts another."""
        self.pass_on_output()
        self.pool.close()
        if self._output is not None:
            self._output.close()
            self._output = self.pool.output = None

    def _note_begin(self, job: Job) -> None:
        self.began, self._sentence = time.monotonic(), job.sentence

    def _is_unwanted(self) -> bool:
        if self.thread is None:
            self.look()
        return self._lanes.are_ending

    def _look_in_job(self) -> None:
        if self._is_unwanted():
            raise _EndedError

    def _do_all(self) -> None:
        while True:
            self._do(self.jobs[0])
            with self._lanes.changed:
                self.jobs.popleft().is_done = True
                if not self.jobs:
                    self.thread = None
                self._lanes.changed.notify_all()
                if self.thread is None:
                    return

    def _do(self, job: Job) -> None:
        known = self._known_to(job)
        fresh = [q for q in job.questions if q.number not in known]
        if self._failure is not None:
            job.error = self._failure
            return
        try:
            if fresh:
                fork_server = self.pool.get(self.plan, job.limit)
                known |= validation_client.ask(fork_server, fresh, job.limit, self._look_in_job)
            job.answers = known
        except ForkServerError as error:
            self._failure = job.error = error
        except Exception as error:  # noqa: BLE001  # the caller of the thread raises it
            job.error = error
        if self.is_slow and job.error is None:  # the same is asked again in this pass
            self._known |= {_key_of(q): job.answers[q.number] for q in job.questions}

    def _known_to(self, job: Job) -> dict[int, list[TaskFault]]:
        if not self._known:
            return {}
        keys = {q.number: _key_of(q) for q in job.questions}
        return {number: self._known[key] for number, key in keys.items() if key in self._known}


def _key_of(question: Question) -> str:
    return json.dumps([question.values, question.tasks, question.ask], sort_keys=True)


class ValidationLanes:
    """The lanes of a checker; idle ones stay warm between batches.

    Args:
        workspace: the workspace.
        say: called with one sentence for each lane that takes long, in the calling thread.
    """

    def __init__(self, workspace: Workspace, say: Callable[[str], None]) -> None:
        self.say = say
        self.changed = threading.Condition()
        self.are_ending = False
        self._workspace = workspace
        self._lanes: dict[CodePlan, _Lane] = {}
        """Least recently used first."""

    def start_pass(self) -> None:
        """Forget the answers of the pass before."""
        for plan, lane in list(self._lanes.items()):
            if lane.is_busy or lane.pool.is_warm:
                lane.forget()
            else:
                self._lanes.pop(plan).close()

    def run(self, jobs: Sequence[Job], *, alone: bool, may_be_slow: bool) -> None:
        """Do jobs of different commits.

        Args:
            jobs: in the order in which they begin.
            alone: whether no other configs wait for these.
            may_be_slow: whether to return while lanes that have been busy for some seconds go on; their jobs
                are not done then. The same questions in a later job get the answers of the earlier one.
        """
        if alone and len(jobs) == 1 and not self._busy():
            self._lane_of(jobs[0].plan).do(jobs[0])
            jobs[0].is_done = True
            return
        waiting = deque(jobs)
        with self.changed:
            while True:
                self._begin(waiting)
                for lane in self._busy():
                    lane.look()
                if self._is_enough(jobs, waiting, may_be_slow=may_be_slow):
                    break
                self.changed.wait(_LOOK_EVERY)
        for job in jobs:
            if job.is_done:
                self._lanes[job.plan].pass_on_output()

    def close(self) -> None:
        """End all fork servers, busy ones too."""
        self.are_ending = True
        for lane in self._busy():
            if (thread := lane.thread) is not None:
                thread.join()
        for lane in self._lanes.values():
            lane.close()
        self._lanes.clear()

    def _is_enough(self, jobs: Sequence[Job], waiting: Sequence[Job], *, may_be_slow: bool) -> bool:
        left = [job for job in jobs if not job.is_done]
        if not left:
            return True
        slow = [job for job in left if job in waiting or self._lanes[job.plan].is_slow]
        return may_be_slow and len(slow) == len(left) and all(lane.is_slow for lane in self._busy())

    def _begin(self, waiting: deque[Job]) -> None:
        """Begin the jobs for which there is a place; a lane that is busy already needs no further one."""
        for job in list(waiting):
            lane = self._lanes.get(job.plan)
            if (lane is None or not lane.is_busy) and not self._has_place():
                continue
            waiting.remove(job)
            self._lane_of(job.plan).begin(job)

    def _has_place(self) -> bool:
        from job_orchestration.processes import machine_limits

        busy = self._busy()
        most = max(machine_limits.usable_cpus(), 2)
        return len(busy) < most + _SLOW_AT_ONCE and sum(not lane.is_slow for lane in busy) < most

    def _lane_of(self, plan: CodePlan) -> _Lane:
        """Return the lane of a commit; fork servers of idle ones end, but for those that were used last."""
        lane = self._lanes.pop(plan, None) or _Lane(self, self._workspace, plan)
        idle = [other for other in self._lanes.values() if not other.is_busy and other.pool.is_warm]
        for other in idle[: max(len(idle) - KEPT + 1, 0)]:
            other.close()
        self._lanes[plan] = lane
        return lane

    def _busy(self) -> list[_Lane]:
        return [lane for lane in self._lanes.values() if lane.is_busy]
