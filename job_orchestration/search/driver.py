"""Advance searches: open the next trials, from any worker that has time; no server is needed.

A worker advances a search after it has finished one of its trials, and whenever it is idle. It takes the lock
under which runs are opened, without waiting: a process that holds it will be done soon. Under the lock the
runs themselves say which numbers are used, so a trial is opened exactly once even if a process is killed; a
half-made one is recovered as every opening is.
"""

from __future__ import annotations

import importlib.util
import time
from typing import TYPE_CHECKING, Final

from job_orchestration.config import json_floats, parameter_keys
from job_orchestration.diagnostics import secrets
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import Fault, escaped
from job_orchestration.runs import opening
from job_orchestration.runs.catalog import living_workers
from job_orchestration.runs.events import Trial
from job_orchestration.runs.queued_sources import Source
from job_orchestration.search import samplers, search_problems, search_settings, searches
from job_orchestration.workspace import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from job_orchestration.config.config import Json
    from job_orchestration.runs.state import RunState
    from job_orchestration.search.samplers import Sampler
    from job_orchestration.search.search_problems import MetricCheck
    from job_orchestration.search.search_settings import Search, TrialResult
    from job_orchestration.search.searches import SearchOrder
    from job_orchestration.workspace.layout import Workspace

EVERY: Final = 0.25
"""Seconds between two looks of an idle worker at the least."""
SOON: Final = 0.02
"""Seconds after which a worker finds the trials that were opened a moment ago."""
_WAITING: Final = 2.0
"""Seconds after which a search that waits for its metric is looked at again."""
_AGAIN: Final = 30.0
"""Seconds after which a search that could not go on is looked at again."""


def sampler_of(search: Search, folder: str) -> Sampler:
    """Return the sampler of a search.

    Args:
        search: the search.
        folder: for the sampler's own files; it need not exist if the sampler is only checked.

    Raises:
        UsageError: if its method needs a package that is not installed.
    """
    if search.method == "grid":
        return samplers.GridSampler(search.space)
    if search.method == "random":
        return samplers.RandomSampler(search.space, search.seed)
    if search.method not in search_settings.METHODS:
        from job_orchestration.search.sampler_plugins import PluginSampler

        return PluginSampler(search)
    try:
        from job_orchestration.search.optuna_sampler import OptunaSampler
    except ImportError:
        raise UsageError(
            f"The method {search.method} needs Optuna, which is not installed here",
            "Install it: pip install 'job-orchestration[optuna]'",
        ) from None
    return OptunaSampler(search, folder)


def has_package_for(search: Search) -> bool:
    """Return whether the package that a built-in method needs is installed."""
    return search.method in {"grid", "random"} or importlib.util.find_spec("optuna") is not None


def fault_of(search: Search) -> Fault | None:
    """Return why a search's method cannot be used here: its package is missing, or does not work."""
    if search.method not in search_settings.METHODS:
        from job_orchestration.search import sampler_plugins

        return sampler_plugins.fault_of(search)
    if has_package_for(search):
        return None
    what = f"the method {search.method} needs Optuna, which is not installed"
    return Fault(what, "Install it: pip install 'job-orchestration[optuna]'")


class SearchDriver:
    """Advances the searches of a workspace for one worker.

    Args:
        workspace: the workspace of the searches.
        say: called with one line per event.
        report: called with a search that does not go on, and why; once for each reason.
    """

    def __init__(
        self,
        workspace: Workspace,
        say: Callable[[str], None],
        report: Callable[[SearchOrder, str], None] = lambda *_: None,
    ) -> None:
        self._workspace = workspace
        self._say = say
        self._report = report
        self._samplers: dict[str, tuple[Search, Sampler]] = {}
        self._not_before: dict[str, float] = {}
        self._warned: set[str] = set()
        self._changed: set[str] = set()
        """Searches with a trial that ended here since the last `advance`, even if they had ended before."""
        self._looked_at = 0.0

    def ended(self, state: RunState) -> None:
        """Advance the run's search at the next opportunity, if the run is a trial of one."""
        if state.trial is not None and state.trial.number is not None:
            self._changed.add(state.trial.sweep)
            self._not_before.pop(state.trial.sweep, None)
            self.advance()

    def advance_idly(self) -> bool:
        """Call `advance`, unless that was done a moment ago."""
        if time.monotonic() - self._looked_at < EVERY:
            return False
        return self.advance()

    def advance(self) -> bool:
        """Open the trials that are due; return whether there may be a new run."""
        self._looked_at = time.monotonic()
        names = [
            name
            for name in dict.fromkeys((*searches.active(self._workspace), *sorted(self._changed)))
            if self._not_before.get(name, 0.0) <= self._looked_at
        ]
        if not names:
            return False
        try:
            with opening.only_one(self._workspace, wait=False):
                opening.recover(self._workspace)
                self._changed.clear()
                opened = [self._try(name) for name in names]
                return any(opened)
        except BlockingIOError:
            return True
        except OSError as error:
            self._say(f"No search can be advanced now ({error.strerror or error})")
            self._not_before.update(dict.fromkeys(names, self._looked_at + _AGAIN))
            return False

    def _try(self, name: str) -> bool:
        order = None
        try:
            order = searches.read(self._workspace, name)
            if order is not None:
                return self.advance_one(order)
            problem = f"its order cannot be read ({searches.ORDER}). Drop its config again"
        except UsageError as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001  # a fault of one search must not stop the others
            problem = f"it could not be advanced ({error!r})"
        self._say(f"search {escaped(name)}: {problem}")
        if search_problems.record(self._workspace, name, escaped(problem)) and order is not None:
            self._report(order, escaped(problem))
        self._samplers.pop(name, None)
        self._not_before[name] = time.monotonic() + _AGAIN
        return False

    def advance_one(self, order: SearchOrder) -> bool:
        """Open the trials of a search that are due; called under `opening.only_one`."""
        with searches.only_one(self._workspace, order.name):
            return self._advance(order)

    def _advance(self, order: SearchOrder) -> bool:
        known = searches.results(self._workspace, order)
        searches.remember(self._workspace, order, known)
        lacking = next((r.run for r in known if r.complete and r.value is None), None)
        if (
            lacking is not None and order.name not in self._warned
        ):  # a misspelt metric must be reported before the end
            self._warned.add(order.name)
            metric = escaped(order.search.metric)
            self._say(f"search {escaped(order.name)}: {escaped(lacking)} returned no number {metric}")
        if searches.has_ended(self._workspace, order.name):  # a trial was retried, or the search cancelled
            searches.write_state(self._workspace, order, known, at_once=True)
            return False
        checked = search_problems.check_metric(self._workspace, order, known)
        problem = search_problems.missing_metric(order, known, checked)
        if search_problems.record(self._workspace, order.name, problem) and problem is not None:
            self._say(f"search {escaped(order.name)}: {problem}")
            self._report(order, problem)
        new = {} if problem is not None else self._proposed(order, known, checked)
        if new:
            open_trials(self._workspace, order, new)
        is_over = not new and problem is None and all(r.ended for r in known)
        if problem is not None:
            self._not_before[order.name] = time.monotonic() + _WAITING
        searches.write_state(self._workspace, order, known, at_once=is_over)
        if is_over:
            searches.end(self._workspace, order)
            self._samplers.pop(order.name, None)
            best = samplers.best(known, maximize=order.search.maximize)
            outcome = f"the best is {best.run} with {best.value}" if best else "none of them has a value"
            name, ends = escaped(order.name), searches.counts_of_ends(known)
            others = ", ".join(f"{n} {end}" for end, n in ends.items() if n and end != "completed")
            apart = f" ({others})" if others else ""
            self._say(f"search {name}: all {len(known)} trials have ended; {escaped(outcome)}{apart}")
        return bool(new)

    def _proposed(
        self, order: SearchOrder, known: Sequence[TrialResult], metric: MetricCheck
    ) -> dict[int, Mapping[str, Json]]:
        """Return the parameters of the trials that are due, by number."""
        search = order.search
        parallel = search.parallel
        if not metric.is_there:
            # Until a trial has returned the metric, none is queued that no worker is free for: should the
            # name be wrong, they would be computed in vain.
            free = max(search_problems.ENOUGH, len(living_workers(self._workspace))) - metric.lacking
            parallel = min(parallel, free)
        missing = min(parallel - sum(not r.ended for r in known), search.n - len(known))
        if missing <= 0:
            return {}
        made = self._samplers.get(order.name)
        if made is None or made[0].aim != search.aim:
            made = search, sampler_of(search, searches.folder(self._workspace, order.name))
            self._samplers[order.name] = made
        sampler = made[1]
        sampler.observe(known)
        last = max((r.number for r in known), default=0)
        asked = {number: sampler.ask(number) for number in range(last + 1, last + missing + 1)}
        return {number: proposed for number, proposed in asked.items() if proposed is not None}


def open_trials(workspace: Workspace, order: SearchOrder, new: Mapping[int, Mapping[str, Json]]) -> None:
    """Queue trials, given by number; called under `opening.only_one`."""
    taken = opening.taken_stems(workspace)
    opening.open_runs(workspace, [_opening(order, number, new[number], taken) for number in new])


def _opening(
    order: SearchOrder, number: int, parameters: Mapping[str, Json], taken: set[str]
) -> opening.Opening:
    run = f"{order.base}/{searches.label_of(number, parameters)}"
    asked = {order.into: dict(parameters)} if order.into else parameters

    def provenance(digest: str, seed: int) -> bytes:
        own = {
            "run": run,
            "digest": digest,
            "readied_at": clock.timestamp(),
            "seed": seed,
            "sweep": order.name,
            "parameters": secrets.masked_values(dict(parameters)),
        }
        return f"{json_floats.text_of({**order.provenance, **own}, indent=1)}\n".encode()

    checked = opening.CheckedRun(
        Source(f"{order.config}.yaml", (0, 0, 0, 0)),
        run,
        order.config,
        f"{order.name},{number:04d}",
        parameter_keys.values_with({**order.values, "outputDir": run}, asked),
        order.code,
        Trial(order.name, parameters, number=number),
    )
    return opening.prepare(checked, taken, provenance)
