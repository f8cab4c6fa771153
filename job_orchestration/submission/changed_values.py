"""Check new values for some parameters of a run that was queued before."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from job_orchestration.config import validation, yaml_writer
from job_orchestration.config.config import specs_of
from job_orchestration.config.parameter_keys import split_key, values_with
from job_orchestration.config.settings import RULES
from job_orchestration.diagnostics.problems import Problem, Severity, escaped, named
from job_orchestration.diagnostics.suggestions import did_you_mean, nearest_names
from job_orchestration.runs.state import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from job_orchestration.config.config import Json
    from job_orchestration.runs.state import RunState

    _Make = Callable[..., Problem]

_IDENTITY: Final = frozenset(
    {
        *("outputDir", "tasks", "name", "sweep", "after", "priority", "resources", "overwriteOutputFine"),
    }
)
"""Keys that name the run, or that the queue reads in its token."""
_OF_QUEUE: Final = frozenset({"priority", "resources"})
"""Those of them that a new run may have as it likes."""
_PLACE: Final = frozenset({"pathToTasks", "pathToModuleCode"})
"""Keys that only count when a commit is chosen."""
_OF_TASK: Final = frozenset({"id", "method"})
_ANEW: Final = "Drop a config with the new value, and another outputDir, into ConfigSources"


def problems_of(
    state: RunState,
    parameters: Mapping[str, Json],
    path: str,
    *,
    with_commit: bool,
    is_new: bool = False,
) -> list[Problem]:
    """Return what is wrong with new values for a run, and what is to be said about them.

    Args:
        state: the run as it will be, with the values that it has now.
        parameters: config key, or ``taskId.key``, to its new value.
        path: the run's token.
        with_commit: whether a commit is chosen as well.
        is_new: whether they are for a new run, which is not in the queue yet.
    """
    filename = os.path.basename(path)
    if not with_commit and (places := sorted(_PLACE & parameters.keys())):
        todo = "Say from where, with --commit HEAD"
        return [Problem(filename, "the run's code was copied when it was queued", todo, places[0])]
    found = [p for key in parameters for p in _of_key(state, key, filename, is_new=is_new)]
    if any(problem.is_error for problem in found):
        return found
    before = {(p.key, p.what) for p in _checked(state.values, filename, state.config)}
    after = _checked(values_with(state.values, parameters), filename, state.config)
    return [*found, *(p for p in after if (p.key, p.what) not in before)]


def _checked(values: Mapping[str, Json], filename: str, name: str) -> list[Problem]:
    checked = validation.read_and_check(yaml_writer.to_yaml(values), filename, name, {})
    return [replace(problem, line=0, column=0) for problem in checked.problems]


def _of_key(state: RunState, key: str, filename: str, *, is_new: bool) -> Iterator[Problem]:
    specs = {spec.id: spec for spec in specs_of(state.values)}
    owner, name = split_key(key, specs)

    def problem(what: str, todo: str, severity: Severity = Severity.ERROR) -> Problem:
        return Problem(filename, what, todo, key, severity=severity)

    fixed = _OF_TASK if owner else _IDENTITY - (_OF_QUEUE if is_new else frozenset())
    if name in fixed or not name:
        yield problem(f"{escaped(name or key)} cannot change once a run is queued", _ANEW)
        return
    if state.trial is not None and key in state.trial.parameters:
        yield problem(f"the sweep {escaped(state.trial.sweep)} chose it for this trial", _ANEW)
        return
    if owner is None and "." in key and key not in state.values:
        ids = nearest_names(key.partition(".")[0], specs)
        todo = did_you_mean([f"{ids[0]}.{key.partition('.')[2]}"]) if ids else ""
        todo = todo or f"Its tasks are {escaped(named(specs))}; to change a part of a mapping, set it whole"
        yield problem(f"the run has no task {escaped(key.partition('.')[0])}", todo)
        return
    finished = [t.id for t in state.tasks if t.status is TaskStatus.FINISHED]
    if owner in finished:
        todo = f"To run it again with the new value, add --from {escaped(owner)}"
        yield problem(f"task {escaped(owner)} has finished and does not run again", todo)
        return
    if owner is None:
        yield from _of_top_level(state, name, finished, problem)
    known = {*state.values, *(k for spec in specs.values() for k in spec.parameters)}
    if name not in known and name not in validation.KNOWN_KEYS and (near := nearest_names(name, known)):
        yield problem(f"the config had no {escaped(name)}", did_you_mean(near), Severity.WARNING)


def _of_top_level(state: RunState, name: str, finished: list[str], problem: _Make) -> Iterator[Problem]:
    """Look at who has a value of their own, and who has run with the old value."""
    specs = specs_of(state.values)
    waiting = [spec for spec in specs if spec.id not in finished]
    if waiting and all(name in spec.parameters for spec in waiting):
        todo = f"Set {escaped(waiting[0].id)}.{escaped(name)} instead"
        yield problem(f"each task that will run has its own {escaped(name)}, which counts", todo)
        return
    saw = [spec.id for spec in specs if spec.id in finished and name not in spec.parameters]
    if saw and name in state.values and name not in RULES:
        whom = "it" if len(saw) == 1 else "them"
        todo = f"To run {whom} again with the new one, add --from {escaped(saw[0])}"
        yield problem(f"{escaped(named(saw))} ran with the old value", todo, Severity.WARNING)
