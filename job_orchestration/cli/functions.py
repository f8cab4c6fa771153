"""`run`, `selftest` and `config` on the command line."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from job_orchestration.cli import output
from job_orchestration.cli.output import ExitCode
from job_orchestration.cli.submission import print_report, wait_for_runs
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import escaped

if TYPE_CHECKING:
    from argparse import Namespace

    from job_orchestration.commands.run import FunctionCall
    from job_orchestration.config.config import Json
    from job_orchestration.submission.reports import Report
    from job_orchestration.workspace.layout import Workspace

_OF_PLATFORM: Final = ("noisy", "print_logs", "cpu_job", "cpu_image", "gpu_image")


def run(arguments: Namespace) -> int:
    """Queue a run of a plain function, or run it here."""
    from job_orchestration.commands.run import run as queue

    for name in _OF_PLATFORM:
        if getattr(arguments, name) is not None:
            output.complain(
                f"--{name} has no effect: there is no platform of DL jobs here, and a run has a log"
            )
    workspace = output.prepared(arguments)
    report = queue(
        workspace,
        _call(arguments),
        os.getcwd(),
        name=arguments.name,
        parameters=dict(arguments.parameters),
        uncommitted=arguments.uncommitted,
    )
    print_report(report, is_json=arguments.json)
    return ExitCode.REFUSED if report.refused else _finish(arguments, workspace, report)


def _call(arguments: Namespace) -> FunctionCall:
    from job_orchestration.commands.run import FunctionCall, elements_in

    args, kwargs = _arguments_of(arguments)
    found = None if arguments.args_list is None else elements_in(arguments.args_list)
    if arguments.parallel is not None and found is None:
        raise UsageError("--parallel says how many elements run at a time", "Give --args-list as well")
    return FunctionCall(arguments.function, args, kwargs, found, arguments.parallel)


def _arguments_of(arguments: Namespace) -> tuple[list[Json], dict[str, Json]]:
    kwargs = {name: value for name, value in arguments.words if name is not None}
    given = [name for name, _ in arguments.words if name is not None]
    if twice := next((name for name in given if given.count(name) > 1), None):
        raise UsageError(f"{escaped(twice)} is given twice", "Give each keyword argument once")
    return [value for name, value in arguments.words if name is None], kwargs


def selftest(arguments: Namespace) -> int:
    """Queue a run whose function returns its arguments, or run it here."""
    from job_orchestration.commands.selftest import selftest as queue

    workspace = output.prepared(arguments)
    report = queue(workspace, arguments.number, *_arguments_of(arguments), name=arguments.name)
    print_report(report, is_json=arguments.json)
    return ExitCode.REFUSED if report.refused else _finish(arguments, workspace, report)


def config(arguments: Namespace) -> int:
    """Set defaults of the workspace, and print all of them."""
    from job_orchestration.commands.config import config as set_defaults
    from job_orchestration.config.yaml_writer import to_yaml

    found = set_defaults(output.prepared(arguments), dict(arguments.values), force=arguments.force)
    if arguments.json:
        output.print_json(found)
    elif found:
        print(to_yaml(found).decode(), end="")
    else:
        output.complain("workspace.yaml sets no defaults.")
    return 0


def _finish(arguments: Namespace, workspace: Workspace, report: Report) -> int:
    """Run what was queued here, or wait for it, if that is asked for; return the exit code."""
    from job_orchestration.commands.selection import Selection

    runs = {queued.run: os.path.splitext(queued.token)[0] for queued in report.queued}
    if arguments.here or arguments.dev:
        from job_orchestration.commands.run_here import run_here

        log = sys.stderr if arguments.json else sys.stdout
        if run_here(workspace, runs, output.complain, lambda text: print(text, end="", file=log, flush=True)):
            return ExitCode.INTERRUPTED
        return wait_for_runs(workspace, Selection(tuple(runs)), arguments)
    if arguments.wait:
        return wait_for_runs(workspace, Selection(tuple(runs)), arguments)
    return 0
