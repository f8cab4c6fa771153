"""`submit` and `wait` on the command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from job_orchestration.cli import output
from job_orchestration.cli.output import ExitCode
from job_orchestration.diagnostics.plurals import counted

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from job_orchestration.commands.selection import Selection
    from job_orchestration.commands.wait import RunEnd, Waited
    from job_orchestration.submission.reports import Report
    from job_orchestration.workspace.layout import Workspace


def submit(arguments: Namespace) -> int:
    """Queue configs from anywhere; print the names of the runs, and problems on stderr."""
    from job_orchestration.commands.submit import submit as queue

    workspace = output.prepared(arguments)
    configs = [sys.stdin.buffer.read() if name == "-" else name for name in arguments.files]
    found = queue(workspace, configs, name=arguments.name, parameters=dict(arguments.parameters))
    print_report(found, is_json=arguments.json)
    runs = [queued.run for queued in found.queued]
    code = 0
    if arguments.wait and runs:
        from job_orchestration.commands.selection import Selection

        code = wait_for_runs(workspace, Selection(tuple(runs)), arguments)
    return ExitCode.REFUSED if found.refused else code


def print_report(found: Report, *, is_json: bool) -> None:
    """Print the names of the queued runs, and problems on stderr; or all of it as JSON."""
    from job_orchestration.diagnostics.problems import escaped
    from job_orchestration.submission import reports

    if is_json:
        output.print_json(reports.report_as_json(found))
        return
    for refused in found.refused.values():
        for problem in refused:
            output.complain(str(problem))
    for queued in found.queued:
        for problem in queued.warnings:
            output.complain(str(problem))
    for note in found.notes:
        output.complain(escaped(note))
    output.print_lines(escaped(queued.run) for queued in found.queued)
    sys.stdout.flush()


def wait(arguments: Namespace) -> int:
    """Wait until runs have ended; print each end as it comes."""
    return wait_for_runs(output.existing(arguments), output.selected(arguments), arguments)


def wait_for_runs(workspace: Workspace, choice: Selection, arguments: Namespace) -> int:
    """Wait until runs have ended, print each end as it comes, and return the exit code."""
    from job_orchestration.commands.wait import wait as wait_for

    def report(end: RunEnd) -> None:
        if arguments.json:
            output.print_json(end.as_json(), indent=None)
        else:
            print(_line_of(end), flush=True)

    def warn_without_workers() -> None:
        from job_orchestration.runs import catalog

        if sys.stderr.isatty() and not catalog.living_workers(workspace):
            output.complain("No worker is running yet. Start one elsewhere with: job-orchestration work")

    waited = wait_for(workspace, choice, report, arguments.timeout, warn_without_workers)
    if waited.left:
        output.complain(_still_going(waited.left))
    elif not waited.ends:
        output.complain("There is nothing to wait for.")
    return _code(waited)


def _code(waited: Waited) -> int:
    if any(not end.is_well for end in waited.ends):
        return ExitCode.RUNS_FAILED
    return ExitCode.TIMEOUT if waited.left else 0


def _line_of(end: RunEnd) -> str:
    from job_orchestration.diagnostics import durations
    from job_orchestration.diagnostics.problems import escaped

    after = "" if end.elapsed_s is None else f" after {durations.text_of(end.elapsed_s)}"
    task = f" in task {escaped(end.task)}" if end.task is not None and not end.is_well else ""
    error = f": {escaped((end.error or '').partition(chr(10))[0])}" if end.error else ""
    return f"{escaped(end.run)}: {end.end}{task}{after}{error}"


def _still_going(names: Sequence[str]) -> str:
    from job_orchestration.diagnostics.problems import escaped, named

    some = counted(len(names), "has not ended", "have not ended")
    return f"The time is over; {some}: {named(map(escaped, names))}"
