"""The three tasks of a search for parameters, by the names of the first Job Orchestration.

``StartHyperparameterOptimization`` writes a search down, and from then on workers open its trials, several
at a time. A trial is a run of two tasks: ``HyperparameterTrial`` runs the task that ``testMethod`` names,
whose return value is the score; ``HyperparameterEvaluate`` brings the list of results up to date and, in
the last trial, says which was best.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.code import task_importer
from job_orchestration.configBase import TaskWithInitAndValidate
from job_orchestration.diagnostics import problems
from job_orchestration.diagnostics.errors import PermanentError
from job_orchestration.hyperparameter_optimisation.space import doubts_of, problems_of, space_of
from job_orchestration.runs import journal, lifecycle, opening
from job_orchestration.search import samplers, searches, trials
from job_orchestration.search.driver import has_package_for
from job_orchestration.search.search_settings import Search
from job_orchestration.search.searches import SearchOrder
from job_orchestration.workspace import clock, layout, naming, safe_reads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.runs.state import RunState
    from job_orchestration.workspace.layout import Workspace

TRIAL: Final = "HyperparameterTrial"
EVALUATE: Final = "HyperparameterEvaluate"
_AT_A_TIME: Final = {"grid": 32, "random": 32, "tpe": 4}


class StartHyperparameterOptimization(TaskWithInitAndValidate):
    """Begin a search."""

    reusable = False

    optimisationMethod: str
    baseOutputDir: str
    testMethod: str
    resultsFilepath: str
    params: list[dict[str, Any]]

    def validate(self) -> list[str | Warning]:  # type: ignore[override]  # a warning is more than the first had
        """Return the problems of the search and those that the task of its first trial reports."""
        return [*self._problems(), *doubts_of(self.raw_dict)]

    def _problems(self) -> list[str]:
        found = super().validate() or problems_of(self.raw_dict)
        if found:
            return found
        search = _search_of(self.raw_dict)
        if not has_package_for(search):
            return ["tpe needs Optuna: pip install 'job-orchestration[optuna]'"]
        base = _rendered(self.raw_dict, "a" * 40)
        if isinstance(base, problems.Fault):
            return [f"baseOutputDir: {base.what}"]
        tried_out = samplers.corners(search.space)[:1]
        return [what for parameters in tried_out for what in _trial_problems(self.raw_dict, parameters)]

    def run(self) -> dict[str, Any]:
        """Record the search; a second time changes nothing."""
        workspace = _workspace()
        state = _state(workspace, self.context.run)
        with opening.only_one(workspace):
            order = _order(workspace, self.context.run, state)
            searches.write(workspace, order)
        return {"search": order.name, "folder": order.base, "trials": order.search.n}


class HyperparameterTrial(TaskWithInitAndValidate):
    """Run the task whose parameters are searched; its return value is the score."""

    reusable = False

    testMethod: str
    paramVals: dict[str, Any]

    def validate(self) -> list[str]:
        """Return the problems that the task reports."""
        return super().validate() or _trial_problems(self.raw_dict, self.paramVals)

    def run(self) -> Any:
        """Run the task."""
        task = _tested(self.raw_dict, self.paramVals)
        task.context = self.context
        return task.run()


class HyperparameterEvaluate(TaskWithInitAndValidate):
    """Update the list of results; at the end of the search report the best parameters."""

    reusable = False

    resultsFilepath: str

    def run(self) -> None:
        """Look at all trials of the search."""
        workspace = _workspace()
        trial = _state(workspace, self.context.run).trial
        order = searches.read(workspace, trial.sweep) if trial else None
        if order is None:
            raise PermanentError(f"{self.context.run} is no trial of a search that is still there")
        with searches.only_one(workspace, order.name):
            known = searches.results(workspace, order)
            is_over = searches.is_over(order, known)
            searches.write_results_file(workspace, order, known, at_once=is_over)
        best = samplers.best(known, maximize=True)
        if is_over and best is not None:
            shown = {**best.parameters, "result": best.value}
            self.context.log.info("The maximum setting of params found is: %s", shown)


def _workspace() -> Workspace:
    return layout.locate(os.environ.get(layout.VARIABLE, ""))


def _state(workspace: Workspace, run: str) -> RunState:
    entries, _ = journal.read_file(workspace.run_folder(run), 0)
    return lifecycle.fold({0: entries})


def _search_of(raw: Mapping[str, Any]) -> Search:
    method, space = raw["optimisationMethod"], space_of(raw)
    parallel = raw.get("parallelTrials", _AT_A_TIME[method])
    search = Search(method, space, TRIAL, raw.get("numberTrials") or 1, parallel=parallel)
    if method != "grid":
        return search
    whole = len(samplers.GridSampler(space))
    n = min(raw.get("numberTrials") or whole, whole)
    return Search(method, space, TRIAL, n, parallel=parallel)


def _rendered(raw: Mapping[str, Any], commit: str | None, name: str = "search") -> str | problems.Fault:
    now = clock.local_now()
    return naming.render_output_dir(raw["baseOutputDir"], name=name, now=now, commit=commit)


def _order(workspace: Workspace, run: str, state: RunState) -> SearchOrder:
    """Return the search of a run; the one that it recorded before if it is run again."""
    raw = state.values
    digest = trials.digest_of(raw, {"": run}, str(raw["baseOutputDir"]))
    name, before = searches.name_for(workspace, state.config, digest)
    if before is not None:
        return before
    base = _rendered(raw, state.code.commit if state.code else None, state.config)
    if isinstance(base, problems.Fault):
        raise PermanentError(f"baseOutputDir: {base.what}. {base.todo}")
    base = naming.numbered(base, lambda folder: searches.is_used(workspace, folder))
    above = opening.enclosing_run(workspace, f"{base}/0001")
    if above is not None:
        raise PermanentError(f"baseOutputDir {base} lies in the run {above}. Choose another one")
    pair: list[Any] = [
        {"id": TRIAL, "method": TRIAL, "paramVals": {}},
        {"id": EVALUATE, "method": EVALUATE},
    ]
    provenance = json.loads(safe_reads.whole(os.path.join(workspace.run_folder(run), opening.PROVENANCE)))
    return SearchOrder(
        name,
        base,
        state.config,
        _search_of(raw),
        {**raw, "tasks": pair},
        digest,
        state.code,
        provenance,
        into=f"{TRIAL}.paramVals",
        results_file=str(raw["resultsFilepath"]),
    )


def _tested(raw: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
    kind = task_importer.resolve(raw["testMethod"])
    own = {"id": f"hyperparameterOptimisation_{kind.__name__}", "method": kind.__name__}
    return kind({**raw, **parameters, **own})


def _trial_problems(raw: Mapping[str, Any], parameters: Mapping[str, Any]) -> list[str]:
    try:
        task = _tested(raw, parameters)
    except LookupError as error:
        return [f"testMethod: {error.args[0]}"]
    found = task.validate() if hasattr(task, "validate") else []
    return [str(what) for what in ([found] if isinstance(found, str) else found or ())]
