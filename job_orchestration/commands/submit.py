"""`submit`: check, pin and queue configs that lie anywhere, or in no file at all.

It is one pass of `ready` over these configs only. They never lie in ConfigSources, so no `watch` can take
them meanwhile, several processes and threads can submit at once, and nothing is left of a refused one.
"""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.diagnostics.errors import ConfigRefusedError, OrchestrationError, UsageError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.runs import cache_maintenance
from job_orchestration.submission import run_inputs, submitted_configs
from job_orchestration.submission.checker import Checker
from job_orchestration.submission.pipeline import ready_submitted
from job_orchestration.submission.reports import Queued, Report
from job_orchestration.workspace import temporary_files

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    from job_orchestration.diagnostics.problems import Problem
    from job_orchestration.submission.dropped_files import Drop
    from job_orchestration.submission.submitted_configs import ConfigLike
    from job_orchestration.workspace.layout import Workspace

_ONE_AT_A_TIME: Final = threading.Lock()
"""The names of temporary files tell processes apart, not threads."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One config among several that are submitted together, each with a name and inputs of its own."""

    config: ConfigLike
    name: str | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)


def submit_together(
    workspace: Workspace, check: Checker, submissions: Sequence[Submission]
) -> list[Queued | OrchestrationError]:
    """Queue configs of several people in one pass, which costs little more than one of them.

    Args:
        workspace: with all its folders in place.
        check: a checker that stays warm between passes.
        submissions: the configs; none is a sweep.

    Returns:
        For each what was queued, or why it was not: one is never refused because of another.

    Raises:
        OSError: the disk failed.
    """
    outcomes: dict[int, Queued | OrchestrationError] = {}
    with ExitStack() as stored, _ONE_AT_A_TIME:
        left = dict(enumerate(submissions))
        while left:
            dropped: dict[str, tuple[int, Drop]] = {}
            for number, one in left.items():
                try:
                    drop = _drop_of(workspace, one, stored)
                except (ConfigRefusedError, UsageError) as error:
                    outcomes[number] = error
                    continue
                dropped.setdefault(drop.filename, (number, drop))  # the next pass has others of that name
            report = _pass(workspace, check, [drop for _, drop in dropped.values()])
            for queued in report.queued:
                outcomes[dropped[queued.file][0]] = queued
            for filename, problems in report.refused.items():
                outcomes[dropped[filename][0]] = ConfigRefusedError(_placed(problems, {filename}))
            left = {number: one for number, one in left.items() if number not in outcomes}
    return [outcomes[number] for number in range(len(submissions))]


def _drop_of(workspace: Workspace, one: Submission, stored: ExitStack) -> Drop:
    given = {} if one.name is None else {"outputDir": one.name}
    config = submitted_configs.read(one.config).with_values(given)
    if config.is_sweep:
        raise UsageError("This config is a sweep, which has several runs", "Submit its runs one by one")
    return config.drop(stored.enter_context(run_inputs.stored(workspace, one.inputs)))


def submit(
    workspace: Workspace,
    configs: Sequence[ConfigLike],
    *,
    name: str | None = None,
    parameters: Mapping[str, object] | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> Report:
    """Queue configs that need not lie in ConfigSources; no file of theirs is changed.

    Args:
        workspace: with all its folders in place.
        configs: dicts, paths of YAML files, or their bytes.
        name: the output folder of the run, and so its name, instead of the config's ``outputDir``.
        parameters: dotted key to a new value, in each config.
        inputs: key of the config to a content that becomes a file in the run's folder; the key's value is
            the path of that file.

    Returns:
        The report: what was queued, and the problems of what was refused.

    Raises:
        UsageError: if a file does not exist, or an argument does not suit the config.
        OSError: the disk failed.
    """
    if name is not None and len(configs) > 1:
        raise UsageError("One name is given for several configs", "Submit them one by one")
    given = {} if name is None else {"outputDir": name}
    refused: dict[str, list[Problem]] = {}
    found = []
    for config in configs:
        try:
            found.append(
                submitted_configs.read(_outside(workspace, config)).with_values(
                    {**(parameters or {}), **given}
                )
            )
        except ConfigRefusedError as error:
            refused[error.problems[0].file] = list(error.problems)
    if inputs and any(config.is_sweep for config in found):
        todo = "Name the path of a file in the config instead"
        raise UsageError("A sweep has many runs, and inputs belong to one", todo)
    with run_inputs.stored(workspace, inputs or {}) as paths, _ONE_AT_A_TIME:
        dropped = _distinct([config.drop(paths) for config in found])
        report = _queue(workspace, dropped)
    rewritten = {d.filename for d, c in zip(dropped, found, strict=True) if c.is_rewritten or paths}
    report.refused = {name: _placed(problems, rewritten) for name, problems in report.refused.items()}
    report.queued = [replace(q, warnings=tuple(_placed(q.warnings, rewritten))) for q in report.queued]
    report.refused |= refused
    return report


def _placed(problems: Iterable[Problem], rewritten: Container[str]) -> list[Problem]:
    """Return problems without lines where these are not the author's."""
    return [replace(p, line=0, column=0) if p.file in rewritten else p for p in problems]


def _outside(workspace: Workspace, config: ConfigLike) -> ConfigLike:
    """Refuse a file in ConfigSources, which the next `ready` would queue once more."""
    if isinstance(config, (str, os.PathLike)):
        path = os.path.abspath(os.path.expanduser(os.fspath(config)))
        if os.path.realpath(os.path.dirname(path)) == os.path.realpath(workspace.sources):
            todo = "Queue it with: job-orchestration ready"
            raise UsageError(f"{escaped(os.fspath(config))} lies in ConfigSources already", todo)
    return config


def _distinct(dropped: Sequence[Drop]) -> Sequence[Drop]:
    names = [drop.filename for drop in dropped]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"Two of the configs are named {escaped(twice)}", "Submit them one by one")
    return dropped


def _queue(workspace: Workspace, dropped: Sequence[Drop]) -> Report:
    with _checker(workspace) as check:
        return _pass(workspace, check, dropped)


def _pass(workspace: Workspace, check: Checker, dropped: Sequence[Drop]) -> Report:
    """Make passes until each config is queued or refused; another one is due only if a name was taken."""
    report = Report()
    left = list(dropped)
    while left:
        found = ready_submitted(workspace, check, left)
        report.queued += found.queued
        report.refused |= found.refused
        report.notes += found.notes
        left = [drop for drop in left if drop.filename in set(found.unsettled)]
    cache_maintenance.CacheMaintenance(workspace)()
    temporary_files.collect(workspace)
    return report


@contextmanager
def _checker(workspace: Workspace) -> Iterator[Checker]:
    check = Checker(workspace)
    try:
        yield check
    finally:
        check.close()
