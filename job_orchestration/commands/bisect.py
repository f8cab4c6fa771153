"""`bisect`: find the commit that moved a metric, by rerunning commits between a good and a bad run.

All commits run with the config, the parameters and the seed of the bad run, so that only the code differs.
If the good run differs from it in more than its code, the commit of the good run is tested first: a metric
that is bad there as well was not moved by a commit.

The reruns are ordinary runs that workers take from the queue. The journals say what was run already, so a
second call goes on where the first was killed, and no commit runs twice.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.code import ancestry, commits
from job_orchestration.code.snapshots import CodeStore
from job_orchestration.commands import diff, selection
from job_orchestration.commands.work import arguments
from job_orchestration.comparison import bisection, bisection_records, code_changes, difference
from job_orchestration.comparison.bisection import CommitGraph, Criterion, Step
from job_orchestration.comparison.bisection_records import TestedCommit
from job_orchestration.config import metric_directions
from job_orchestration.diagnostics.errors import UsageError, WorkspaceError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.processes.supervisor import Supervisor
from job_orchestration.runs import catalog, journal, lifecycle
from job_orchestration.runs.events import INTENDED
from job_orchestration.runs.state import Status
from job_orchestration.submission import reruns
from job_orchestration.submission.reruns import Wanted
from job_orchestration.workspace import clock, durable, locks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from job_orchestration.code.commits import CommitDetails
    from job_orchestration.comparison.code_changes import CodeChanges
    from job_orchestration.comparison.difference import Side
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.runs.state import RunState
    from job_orchestration.workspace.layout import Workspace

_SHORTEST: Final = 0.05
_LONGEST: Final = 1.0
"""Seconds between two looks at a run."""
_ENDED: Final = frozenset({Status.COMPLETE, Status.FAILED})


@dataclass(frozen=True, slots=True)
class Bisected:
    """What a bisection has found."""

    good: str
    bad: str
    metric: str
    verdict: str
    """One sentence."""
    commits: int
    """How many there were to choose from."""
    tested: tuple[TestedCommit, ...]
    """In the order in which they were tested; those that were skipped as well."""
    ends: tuple[TestedCommit, ...]
    """The commits of the good and of the bad run, with their metrics as recorded."""
    found: str | None = None
    """The commit that moved the metric; `None` if it is not known."""
    suspects: tuple[str, ...] = ()
    """The commits of which one moved it, if more than one is left."""
    details: CommitDetails | None = None
    parent: str | None = None
    """The first parent of the commit, that `changes` compares it with."""
    changes: CodeChanges | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as ``bisect --json`` prints it."""
        details = self.details
        return {
            "good": self.good,
            "bad": self.bad,
            "metric": self.metric,
            "verdict": self.verdict,
            "commit": self.found,
            "author": details.author if details else None,
            "date": details.date if details else None,
            "subject": details.subject if details else None,
            "parent": self.parent,
            "code": self.changes.as_json() if self.changes else None,
            "suspects": list(self.suspects),
            "commits": self.commits,
            "ends": [one.as_json() for one in self.ends],
            "tested": [one.as_json() for one in self.tested],
        }


def bisect(
    workspace: Workspace,
    ends: tuple[str, str],
    metric: str,
    say: Callable[[str], None],
    *,
    at: float | None = None,
    higher: bool | None = None,
    pause: Callable[[float], None] | None = None,
) -> Bisected:
    """Find the commit that moved a metric.

    Args:
        workspace: with all its folders in place.
        ends: the names of the good and of the bad run.
        metric: a column of `results`, or its last parts.
        say: called with one line per event.
        at: the limit between good and bad; half-way if it is not given.
        higher: bad is whatever is higher (or, if false, lower) than at the good run, instead.
        pause: called with the seconds between two looks at a run, and waits; it may see to a worker
            (`with_worker`). If it is not given, others run the workers.

    Raises:
        UsageError: if a run or the metric is not there, or the two runs do not tell good from bad.
        CodeError: if the workspace does not hold the code between them.
        OSError: the disk failed.
    """
    question = _Question.of(workspace, ends, metric, Criterion(math.nan, math.nan, at, higher))
    folder = bisection_records.folder_of(workspace, question.key)
    durable.make_folder(folder)
    with locks.folder_lock(folder):
        return _Bisection(workspace, question, folder, _Watch(workspace, say, pause)).run()


@contextmanager
def with_worker(workspace: Workspace, say: Callable[[str], None]) -> Iterator[Callable[[float], None]]:
    """Return the `pause` of a bisection that runs a worker, in a process of its own, if there is none.

    Raises:
        WorkspaceError: in `pause`, if the worker has ended by itself.
        KeyboardInterrupt: in `pause`, if a signal asked to stop.
    """
    with Supervisor(lambda _, line: say(line)) as pool:

        def pause(seconds: float) -> None:
            if not pool.members and not catalog.living_workers(workspace):
                # asked each time: the worker of a killed bisection outlives it for a moment
                pool.start("worker", *arguments(workspace, until_idle=False))
            is_left = pool.turn(seconds)
            if pool.interrupted:
                raise KeyboardInterrupt
            if pool.members and not is_left:
                raise WorkspaceError("The worker has ended", "See what it said above")

        yield pause
        pool.stop()
        while pool.turn(_LONGEST):
            pass


@dataclass(frozen=True, slots=True)
class _Question:
    """The two runs, what is between them, and what is asked."""

    good: Side
    bad: Side
    record: RunRecord
    """Of the bad run."""
    metric: str
    criterion: Criterion
    graph: CommitGraph

    @classmethod
    def of(cls, workspace: Workspace, ends: tuple[str, str], metric: str, asked: Criterion) -> _Question:
        records = catalog.entries(workspace)
        good, bad = (diff.side_of(workspace, selection.one(records, name)) for name in ends)
        column = selection.column_of(metric, {*good.results, *bad.results})
        criterion = replace(asked, good=_metric(good, column), bad=_metric(bad, column))
        if criterion.fault is not None:
            what = criterion.fault[0].upper() + criterion.fault[1:]
            raise UsageError(what, "Choose other runs, or another limit with --at, --higher or --lower")
        if asked.at is None and asked.higher is None:
            _insist_on_a_loss(good, bad, column, criterion)
        graph = _graph_between(workspace, good, bad)
        return cls(good, bad, selection.one(records, bad.run), column, criterion, graph)

    @property
    def key(self) -> dict[str, Any]:
        """What makes it the same question."""
        return {
            "good": self.good.run,
            "bad": self.bad.run,
            "commits": [self.graph.good, self.graph.bad],
            "configs": [self.good.state.digest, self.bad.state.digest],
            "metric": self.metric,
            "at": self.criterion.at,
            "higher": self.criterion.higher,
        }

    @property
    def differs_in_more(self) -> bool:
        """Whether something else than the code may have moved the metric."""
        commit = self.graph.bad
        found = difference.between(self.good, self.bad, code_changes.without(commit, commit, ""))
        return bool(found.causes) or found.seeds[0] != found.seeds[1]


def _insist_on_a_loss(good: Side, bad: Side, column: str, found: Criterion) -> None:
    """Refuse ends of which the bad one is better, by what the configs say of the metric."""
    is_highest_best = metric_directions.agreed([good.state.values, bad.state.values], column)
    if is_highest_best is not None and (found.bad > found.good) is is_highest_best:
        word = "maximize" if is_highest_best else "minimize"
        raise UsageError(
            f"{escaped(column)} is better in {escaped(bad.run)}, since metricDirections says {word}",
            "Name the runs in the other order, or say what is bad with --higher or --lower",
        )


def _metric(side: Side, column: str) -> float:
    value = side.results.get(column)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(
            f"{escaped(side.run)} has no number {escaped(column)}",
            "See its results with: job-orchestration show",
        )
    return float(value)


def _graph_between(workspace: Workspace, good: Side, bad: Side) -> CommitGraph:
    if good.state.code is None or bad.state.code is None:
        run = good.run if good.state.code is None else bad.run
        raise UsageError(
            f"{escaped(run)} has no code of its own", "Compare the runs with: job-orchestration diff"
        )
    ends = good.state.code.commit, bad.state.code.commit
    if ends[0] == ends[1]:
        raise UsageError(
            f"Both runs executed the commit {ends[0][:12]}", "See what differs with: job-orchestration diff"
        )
    store = CodeStore(Path(workspace.misc))
    bases = ancestry.common(store, *ends) if len(ends[0]) == len(ends[1]) else ()
    if not bases:
        raise UsageError(
            f"The workspace knows no commit that leads to both {ends[0][:12]} and {ends[1][:12]}",
            "If the repository is a shallow clone, run there: git fetch --unshallow; then queue both again",
        )
    return CommitGraph(ancestry.between(store, *ends), *ends, bases)


class _Watch:
    """Waits for runs, and says what happens."""

    def __init__(
        self, workspace: Workspace, say: Callable[[str], None], pause: Callable[[float], None] | None
    ) -> None:
        self.say = say
        self._workspace = workspace
        self._pause = pause

    def end_of(self, run: str) -> RunState | None:
        """Wait until a run has ended, and return its state; `None` if it is gone."""
        seconds, folder = _SHORTEST, self._workspace.run_folder(run)
        if self._pause is None and not catalog.living_workers(self._workspace):
            todo = "start one with `job-orchestration work`, or call this again with --here"
            self.say(f"No worker is running: {todo}. Waiting for {escaped(run)}.")
        pause = self._pause or time.sleep
        while True:
            if not journal.attempts(folder):
                return None
            state = lifecycle.fold(journal.read(folder))
            if state.status in _ENDED:
                return state
            pause(seconds)
            seconds = min(2 * seconds, _LONGEST)


class _Bisection:
    """One call of `bisect`."""

    def __init__(self, workspace: Workspace, question: _Question, folder: str, watch: _Watch) -> None:
        self._workspace = workspace
        self._question = question
        self._folder = folder
        self._watch = watch
        self._criterion = question.criterion
        self._graph = question.graph
        self._store = CodeStore(Path(workspace.misc))
        self._tested = {one.commit: one for one in bisection_records.read(folder)}
        self._known = self._earlier_reruns()

    def run(self) -> Bisected:
        """Test commits until nothing more can be learned."""
        if self._question.differs_in_more and (verdict := self._control()):
            return self._result(verdict, Step((), None))
        while (step := self._step()).test is not None:
            self._watch.say(_progress(step))
            self._test(step.test)
        if step.found == self._graph.bad and (verdict := self._refutation()):
            return self._result(verdict, Step((), None))
        return self._result(self._verdict(step), step)

    def _step(self) -> Step:
        verdicts = {c: one.is_bad for c, one in self._tested.items() if one.is_bad is not None}
        skipped = {c for c, one in self._tested.items() if one.reason is not None}
        return bisection.next_step(self._graph, verdicts, skipped)

    def _control(self) -> str | None:
        """Test the commit of the good run in the config of the bad one; return the verdict if that is bad."""
        commit = self._graph.good
        if commit not in self._tested or self._tested[commit].value is None:
            self._watch.say("The runs differ in more than their code: the commit of the good one comes first")
        one = self._test(commit)
        if one.value is None:
            return None
        if one.is_bad:
            good, bad, metric = self._question.good.run, self._question.bad.run, self._question.metric
            place = f"in the code of {good}, with the config and seed of {bad}"
            return f"No commit moved {metric}: {place}, it is {one.value:g} as well"
        if self._criterion.higher is not None:
            self._criterion = replace(self._criterion, good=one.value)
        return None

    def _refutation(self) -> str | None:
        """Return the verdict if the metric of the bad run does not come again in its own commit."""
        if not self._question.differs_in_more:
            return None
        one = self._test(self._graph.bad)
        if one.is_bad is not False or one.value is None:
            return None
        metric, bad = self._question.metric, self._question.bad.run
        return f"No commit moved {metric}: a rerun of {bad} in its own code has {one.value:g}"

    # -- one commit ---------------------------------------------------------------------------------------

    def _test(self, commit: str) -> TestedCommit:
        """Run a commit, unless it was run before, and keep its metric."""
        known = self._tested.get(commit, TestedCommit(commit))
        run = known.run or self._known.get(commit)
        if run is None:
            run, reason = self._queue(commit)
            if run is None:
                return self._keep(replace(known, reason=reason))
        if known.run is None:
            known = self._keep(replace(known, run=run, reason=None))
        state = self._watch.end_of(run)
        if state is None:
            return known if known.value is not None else self._keep(replace(known, reason="its run is gone"))
        return self._keep(self._judged(known, run, state))

    def _judged(self, known: TestedCommit, run: str, state: RunState) -> TestedCommit:
        if state.status is not Status.COMPLETE:
            intended = state.outcome in INTENDED
            said = str(state.outcome) if intended else state.error or state.reason or "it failed"
            return replace(known, reason=said.partition("\n")[0], value=None, is_bad=None)
        record = selection.one(catalog.entries(self._workspace), run)
        value = selection.row_of(self._workspace, record, clock.now(), []).results.get(self._question.metric)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return replace(known, reason=f"it has no number {self._question.metric}", value=None, is_bad=None)
        return replace(known, value=float(value), is_bad=self._criterion.is_bad(value), reason=None)

    def _queue(self, commit: str) -> tuple[str | None, str | None]:
        """Queue a rerun of the bad run in a commit; return its name, or why it cannot run."""
        found, _ = reruns.check(self._workspace, [self._question.record], Wanted(commit))
        queued = reruns.queue(self._workspace, found)
        if queued:
            return queued[0].run, None
        problem = next(problem for problem in found[0].problems if problem.is_error)
        return None, problem.what

    def _keep(self, one: TestedCommit) -> TestedCommit:
        if self._tested.get(one.commit) != one:
            self._tested[one.commit] = one
            bisection_records.write(self._folder, self._question.key, list(self._tested.values()))
            if one.reason is not None:
                self._watch.say(f"{one.commit[:12]}: skipped: {escaped(one.reason)}")
            elif one.value is not None:
                self._watch.say(f"{one.commit[:12]}: {one.value:g}, {'bad' if one.is_bad else 'good'}")
            else:
                self._watch.say(f"{one.commit[:12]}: {escaped(one.run or '')} is queued")
        return one

    def _earlier_reruns(self) -> dict[str, str]:
        """Return the reruns of the bad run that differ in their commit only, by commit."""
        wanted = self._question.bad.state
        found: dict[str, str] = {}
        for record in catalog.entries(self._workspace):
            run = record.run or ""
            if reruns.ENDING not in run or (state := record.state) is None or state.code is None:
                continue
            is_same = state.rerun_of == self._question.bad.run and state.seed == wanted.seed
            if is_same and not state.changes and _content(state) == _content(wanted):
                found.setdefault(state.code.commit, run)
        return found

    # -- the end ------------------------------------------------------------------------------------------

    def _verdict(self, step: Step) -> str:
        metric, criterion = self._question.metric, self._criterion
        if step.found is None:
            number = len(step.suspects)
            return f"One of {number} commits moved {metric}; the others between them cannot be tested"
        values = criterion.bad, criterion.good
        before, after = values if step.backwards else values[::-1]
        return f"{step.found[:12]} moved {metric} ({before:g} → {after:g})"

    def _result(self, verdict: str, step: Step) -> Bisected:
        question, found = self._question, step.found
        parent, changes, details = None, None, None
        if found is not None:
            details = commits.describe(self._store, found)
            parent = next(iter(self._graph.parents[found]), None)
        if found is not None and parent is not None:
            folders = {s.state.code.folder for s in (question.good, question.bad) if s.state.code}
            imported = diff.imported(question.good.state) | diff.imported(question.bad.state)
            changes = code_changes.between_commits(self._store, parent, found, folders, imported)
        ends = (
            TestedCommit(self._graph.good, question.good.run, question.criterion.good, is_bad=False),
            TestedCommit(self._graph.bad, question.bad.run, question.criterion.bad, is_bad=True),
        )
        return Bisected(
            good=question.good.run,
            bad=question.bad.run,
            metric=question.metric,
            verdict=verdict,
            commits=len(self._graph.parents),
            tested=tuple(self._tested.values()),
            ends=ends,
            found=found,
            suspects=step.suspects if found is None else (),
            details=details,
            parent=parent,
            changes=changes,
        )


def _content(state: RunState) -> dict[str, Any]:
    """Return what a config says, without its place."""
    left_out = {"outputDir", *reruns.NOT_REPEATED}
    return {key: value for key, value in state.values.items() if key not in left_out}


def _progress(step: Step) -> str:
    number = len(step.suspects)
    more = math.ceil(math.log2(number)) if number > 1 else 0
    return f"{number} commits left, about {more} more to test"
