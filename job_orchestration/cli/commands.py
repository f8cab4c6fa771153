"""The daily commands on the command line: call the command of the same name and print its result."""

from __future__ import annotations

import os
import sys
import textwrap
from typing import TYPE_CHECKING

from job_orchestration.cli import output, render
from job_orchestration.cli.output import ExitCode
from job_orchestration.workspace import layout

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from job_orchestration.cli.live_view import LiveView
    from job_orchestration.commands.live_view import Frame
    from job_orchestration.commands.log_extracts import Extract
    from job_orchestration.commands.status import Overview
    from job_orchestration.commands.work import Worked
    from job_orchestration.submission.reports import Report
    from job_orchestration.workspace.layout import Workspace


def _code(worked: Worked) -> int:
    if worked.interrupted:
        return ExitCode.INTERRUPTED
    if worked.trouble:
        return ExitCode.WORKSPACE_ERROR
    return ExitCode.RUNS_FAILED if worked.failed else 0


def _workers(arguments: Namespace, workspace: Workspace, say: Callable[[str], None]) -> int:
    """Return the number of workers that was given, or, for ``auto``, that this machine can use."""
    if arguments.workers is not None:
        return int(arguments.workers)
    from job_orchestration.queue import worker_count

    found = worker_count.automatic(workspace)
    say(f"{found.number} {'worker' if found.number == 1 else 'workers'}: {found.reason}.")
    return found.number


def init(arguments: Namespace) -> int:
    """Create or repair a workspace and print the next steps."""
    import shlex

    from job_orchestration.commands.init import init as make
    from job_orchestration.diagnostics.problems import escaped

    made = make(arguments.workspace or layout.locate("").root)  # raises if no workspace is named
    root = made.workspace.root
    created = " ".join([*(f"{folder}/" for folder in made.folders), *made.files])
    output.print_lines(
        [
            f"Workspace {root}{'. Made:' if created else ': everything is there.'}",
            *textwrap.wrap(
                created,
                100,
                initial_indent="  ",
                subsequent_indent="  ",
                break_on_hyphens=False,
                break_long_words=False,
            ),
            *map(escaped, made.notes),
            "",
            "What to do next:",
            f"  1. Drop a YAML file for each experiment into {made.workspace.sources}",
            f"  2. job-orchestration up --workers 2 --workspace {shlex.quote(root)}",
            f"  3. job-orchestration status --workspace {shlex.quote(root)}",
        ]
    )
    return 0


def ready(arguments: Namespace) -> int:
    """Check, pin and queue configs."""
    from job_orchestration.commands.ready import ready as make_ready
    from job_orchestration.submission import reports

    workspace = output.prepared(arguments)
    report = reports.report_as_json(make_ready(workspace, arguments.files))
    if arguments.json:
        output.print_json(report)
    else:
        output.print_lines(reports.lines_of(report))
        if not any(report.values()):
            print("There is nothing to ready in ConfigSources.")
    return ExitCode.REFUSED if report["refused"] else 0


def check(arguments: Namespace) -> int:
    """Check configs without queueing them."""
    from job_orchestration.cli import sweeps
    from job_orchestration.commands.check import examine
    from job_orchestration.diagnostics.problems import escaped
    from job_orchestration.submission import not_taken, reports

    workspace = output.prepared(arguments)
    found = examine(workspace, arguments.files)
    if arguments.json:
        problems = [reports.problems_as_json(e.problems) for e in found]
        output.print_json(
            [
                {"file": e.file, "run": e.run, "commit": e.commit, "problems": p}
                | ({"trials": sweeps.as_json(e)} if e.trials else {})
                for e, p in zip(found, problems, strict=True)
            ]
        )
    else:
        shared = {p: None for e in found for p in e.problems if p.file != e.file}
        output.print_lines(str(problem) for problem in shared)  # what is said of workspace.yaml, once
        for examined in found:
            output.print_lines(sweeps.lines_of(examined))
            output.print_lines(str(problem) for problem in examined.problems if problem not in shared)
            if examined.is_fine:
                print(f"{escaped(examined.file)}: fine, it would become {escaped(examined.run or '')}")
        if not arguments.files:
            output.print_lines(str(problem) for problem in not_taken.find(workspace))
        if not found:
            print("There is nothing to check in ConfigSources.")
    return 0 if all(e.is_fine for e in found) else ExitCode.REFUSED


def work(arguments: Namespace) -> int:
    """Run one or several workers."""
    from job_orchestration.commands.work import work as run_workers

    workspace = output.prepared(arguments)
    if arguments.source:
        from job_orchestration.jobs.queue_work import work_from_queue

        return _code(
            work_from_queue(
                workspace.root,
                arguments.source,
                output.say,
                workers=_workers(arguments, workspace, output.say),
                until_idle=arguments.until_idle,
                seconds=arguments.seconds,
                resources=arguments.resources,
            )
        )
    worked = run_workers(
        workspace,
        output.say,
        workers=_workers(arguments, workspace, output.say),
        until_idle=arguments.until_idle,
        seconds=arguments.seconds,
        resources=arguments.resources,
        pool=arguments.pool,
    )
    return _code(worked)


def watch(arguments: Namespace) -> int:
    """Queue new configs until a signal asks to stop."""
    from job_orchestration.commands.watch import watch as watch_on
    from job_orchestration.submission import reports

    workspace = output.prepared(arguments)

    def show_report(report: Report) -> None:
        data = reports.report_as_json(report)
        if arguments.json:
            output.say(output.json_line(data))
        else:
            for line in reports.lines_of(data):
                output.say(line)

    watch_on(workspace, show_report, output.complain)
    return ExitCode.INTERRUPTED


def up(arguments: Namespace) -> int:
    """Watch ConfigSources and run workers."""
    from job_orchestration.commands.up import up as watch_and_work

    workspace = output.prepared(arguments)
    with _view(arguments.color) as view:
        worked = watch_and_work(
            workspace,
            view.say,
            view.show,
            workers=_workers(arguments, workspace, view.say),
            until_idle=arguments.until_idle,
            resources=arguments.resources,
        )
    return _code(worked)


def _view(color: str) -> LiveView | render.PlainView:
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return render.PlainView()
    from job_orchestration.cli.live_view import LiveView

    return LiveView(color)


def status(arguments: Namespace) -> int:
    """List runs with their state and time left, once or repeatedly."""
    import gc

    from job_orchestration.commands.status import status as look

    gc.disable()  # 100,000 runs are many objects, and all are needed until the end
    workspace, choice = output.existing(arguments), output.selected(arguments)
    if not arguments.watch:
        found = look(workspace, choice=choice, why=arguments.why)
        if not found.runs and (arguments.runs or arguments.statuses or arguments.filter):
            output.complain("No run fits.")
        _show_overview(found, arguments)
        return 0
    from job_orchestration.commands.live_view import look_on

    gc.enable()
    if arguments.json:

        def print_frame(frame: Frame) -> None:
            output.print_json(frame.overview.as_json(), indent=None)

        look_on(workspace, print_frame, choice, why=arguments.why)
    with _view(arguments.color) as view:
        look_on(workspace, view.show, choice, why=arguments.why)
    return 0


def progress_report(arguments: Namespace) -> int:
    """Print `status` in the first release's format."""
    from job_orchestration.commands.status import status as look
    from job_orchestration.runs.catalog import living_workers

    workspace = output.existing(arguments)
    found = look(workspace)
    if not arguments.json:
        output.print_lines(render.first_release_report(found, len(living_workers(workspace))))
        print()
    _show_overview(found, arguments)
    return 0


def _show_overview(found: Overview, arguments: Namespace) -> None:
    if arguments.json:
        output.print_json(found.as_json(), indent=2 if len(found.runs) <= render.MOST_ROWS else None)
        return
    most = len(found.runs) if arguments.all else render.MOST_ROWS
    color = getattr(arguments, "color", "auto")  # progressReport has none
    forced = os.environ.get("FORCE_COLOR") and not os.environ.get("NO_COLOR")
    if sys.stdout.isatty() or color == "always" or (color == "auto" and forced):
        from job_orchestration.cli.live_view import print_overview

        print_overview(found, most, color)
    else:
        output.print_lines(render.overview(found, most))


def show(arguments: Namespace) -> int:
    """Show one run, or a sweep or search."""
    from job_orchestration.cli import family_text
    from job_orchestration.commands.show import Shown
    from job_orchestration.commands.show import show as look

    found = look(output.existing(arguments), arguments.run)
    if arguments.json:
        output.print_json(found.as_json())
    else:
        output.print_lines(render.shown(found) if isinstance(found, Shown) else family_text.shown(found))
    return 0


def logs(arguments: Namespace) -> int:
    """Print a run's log or a part of it; on a terminal, escape control characters."""
    from job_orchestration.commands.log_extracts import Extract
    from job_orchestration.commands.logs import logs as read

    wanted = Extract(arguments.lines, arguments.task, arguments.number, arguments.errors)
    pieces = read(output.existing(arguments), arguments.run, follow=arguments.follow, wanted=wanted)
    is_empty = True
    if not arguments.json and sys.stdout.isatty():
        pieces = render.without_controls(pieces)
    for piece in pieces:
        is_empty = False
        if arguments.json:
            output.print_json({"text": piece}, indent=None)
        else:
            sys.stdout.write(piece)
            sys.stdout.flush()
    if is_empty and wanted.lines != 0:
        output.complain(f"The log has no {'errors' if wanted.errors else 'lines'}{_of(wanted)}.")
    return 0


def _of(wanted: Extract) -> str:
    from job_orchestration.diagnostics.problems import escaped

    number = "" if wanted.number is None else f" in try {wanted.number}"
    return number + ("" if wanted.task is None else f" of task {escaped(wanted.task)}")
