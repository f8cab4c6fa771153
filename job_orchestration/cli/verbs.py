"""The verbs: each calls the action of its name and prints what it gave."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.cli import render
from job_orchestration.files import workspace as workspaces

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable

    from job_orchestration.actions.ready import Report
    from job_orchestration.actions.selection import Choice
    from job_orchestration.actions.status import Overview
    from job_orchestration.actions.work import Worked
    from job_orchestration.cli.live import LiveView
    from job_orchestration.files.workspace import Workspace

_FAILED: Final = 1
_REFUSED: Final = 3
_TROUBLE: Final = 4
_INTERRUPTED: Final = 130


def existing(arguments: Namespace) -> Workspace:
    """The workspace for a verb that only reads."""
    return workspaces.locate(arguments.workspace)


def _prepared(arguments: Namespace) -> Workspace:
    """The workspace for a verb that changes it; a part that it lacks is made."""
    return workspaces.prepare(workspaces.locate(arguments.workspace).root)


def chosen(arguments: Namespace) -> Choice:
    """The runs that the arguments ask for: those of `flags.SELECT`, and names."""
    from job_orchestration.actions.selection import Choice

    return Choice(tuple(arguments.runs), arguments.statuses, arguments.filter)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _print_json(value: Any, indent: int | None = 2) -> None:
    print(json.dumps(value, indent=indent), flush=True)


def _say(line: str) -> None:
    """Print what happens; a worker whose listener has gone, or whose log's disk is full, works on."""
    with suppress(OSError):
        sys.stdout.write(f"{line}\n")  # one write, so that the lines of several workers never mix
        sys.stdout.flush()


def _complain(line: str) -> None:
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def _code(worked: Worked) -> int:
    if worked.interrupted:
        return _INTERRUPTED
    if worked.trouble:
        return _TROUBLE
    return _FAILED if worked.failed else 0


def init(arguments: Namespace) -> int:
    """Make or mend a workspace, and say what to do next."""
    from job_orchestration.actions.init import init as make

    made = make(arguments.workspace or workspaces.locate("").root)  # the latter says that none is named
    root = made.workspace.root
    news = " ".join([*(f"{folder}/" for folder in made.folders), *made.files])
    _print(
        [
            f"Workspace {root}{'. Made:' if news else ': everything is there.'}",
            *textwrap.wrap(
                news,
                100,
                initial_indent="  ",
                subsequent_indent="  ",
                break_on_hyphens=False,
                break_long_words=False,
            ),
            "",
            "What to do next:",
            f"  1. Drop a YAML file for each experiment into {made.workspace.sources}",
            f"  2. job-orchestration up --workers 2 --workspace {root}",
            f"  3. job-orchestration status --workspace {root}",
        ]
    )
    return 0


def ready(arguments: Namespace) -> int:
    """Queue what lies in ConfigSources."""
    from job_orchestration.actions import told
    from job_orchestration.actions.ready import ready as make_ready

    workspace = _prepared(arguments)
    report = told.report_as_json(make_ready(workspace))
    if arguments.json:
        _print_json(report)
    else:
        _print(told.lines_of(report))
        if not any(report.values()):
            print("There is nothing to ready in ConfigSources.")
    return _REFUSED if report["refused"] else 0


def check(arguments: Namespace) -> int:
    """Say what `ready` would say."""
    from job_orchestration.actions import told
    from job_orchestration.actions.examine import examine
    from job_orchestration.cli import sweeps
    from job_orchestration.model.problem import escaped

    found = examine(_prepared(arguments), arguments.files)
    if arguments.json:
        problems = [told.problems_as_json(e.problems) for e in found]
        _print_json(
            [
                {"file": e.file, "run": e.run, "commit": e.commit, "problems": p}
                | ({"trials": sweeps.as_json(e)} if e.trials else {})
                for e, p in zip(found, problems, strict=True)
            ]
        )
    else:
        for examined in found:
            _print(sweeps.lines_of(examined))
            _print(str(problem) for problem in examined.problems)
            if examined.is_fine:
                print(f"{escaped(examined.file)}: fine, it would become {escaped(examined.run or '')}")
        if not found:
            print("There is nothing to check in ConfigSources.")
    return 0 if all(e.is_fine for e in found) else _REFUSED


def work(arguments: Namespace) -> int:
    """Work off what waits."""
    from job_orchestration.actions.work import work as work_off

    workspace = _prepared(arguments)
    worked = work_off(
        workspace,
        _say,
        workers=arguments.workers,
        until_idle=arguments.until_idle,
        seconds=arguments.seconds,
        resources=arguments.resources,
        pool=arguments.pool,
    )
    return _code(worked)


def watch(arguments: Namespace) -> int:
    """Ready whatever is dropped, until a signal says to stop."""
    from job_orchestration.actions import told
    from job_orchestration.actions.watch import watch as watch_on

    workspace = _prepared(arguments)

    def tell(report: Report) -> None:
        data = told.report_as_json(report)
        if arguments.json:
            _say(json.dumps(data))
        else:
            for line in told.lines_of(data):
                _say(line)

    watch_on(workspace, tell, _complain)
    return _INTERRUPTED


def up(arguments: Namespace) -> int:
    """Watch and work in one command."""
    from job_orchestration.actions.up import up as watch_and_work

    workspace = _prepared(arguments)
    with _view() as view:
        worked = watch_and_work(
            workspace,
            view.say,
            view.show,
            workers=arguments.workers,
            until_idle=arguments.until_idle,
            resources=arguments.resources,
        )
    return _code(worked)


def _view() -> LiveView | render.PlainView:
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return render.PlainView()
    from job_orchestration.cli.live import LiveView

    return LiveView()


def status(arguments: Namespace) -> int:
    """Show who is where, once or again and again."""
    import gc

    from job_orchestration.actions.status import status as look

    gc.disable()  # a hundred thousand runs are many objects, and none of them is garbage before the end
    workspace, choice = existing(arguments), chosen(arguments)
    if not arguments.watch:
        found = look(workspace, choice=choice)
        if not found.runs and (arguments.runs or arguments.statuses or arguments.filter):
            _complain("No run fits.")
        _show_overview(found, arguments)
        return 0
    from job_orchestration.actions.live import look_on

    gc.enable()
    if arguments.json:
        look_on(workspace, lambda frame: _print_json(frame.overview.as_json(), indent=None), choice)
    with _view() as view:
        look_on(workspace, view.show, choice)
    return 0


def progress_report(arguments: Namespace) -> int:
    """Show the same under the lines that the first Job Orchestration printed."""
    from job_orchestration.actions.status import status as look
    from job_orchestration.files.history import living_workers

    workspace = existing(arguments)
    found = look(workspace)
    if not arguments.json:
        _print(render.former_report(found, len(living_workers(workspace))))
        print()
    _show_overview(found, arguments)
    return 0


def _show_overview(found: Overview, arguments: Namespace) -> None:
    if arguments.json:
        _print_json(found.as_json(), indent=2 if len(found.runs) <= render.MOST_ROWS else None)
        return
    most = len(found.runs) if arguments.all else render.MOST_ROWS
    if sys.stdout.isatty():
        from job_orchestration.cli.live import print_overview

        print_overview(found, most)
    else:
        _print(render.overview(found, most))


def show(arguments: Namespace) -> int:
    """Show one run."""
    from job_orchestration.actions.show import show as look

    found = look(existing(arguments), arguments.run)
    if arguments.json:
        _print_json(found.as_json())
    else:
        _print(render.shown(found))
    return 0


def logs(arguments: Namespace) -> int:
    """Print a run's log as it is, or made safe for a terminal."""
    from job_orchestration.actions.logs import logs as read

    pieces = read(existing(arguments), arguments.run, follow=arguments.follow)
    if arguments.json:
        for piece in pieces:
            _print_json({"text": piece}, indent=None)
        return 0
    for piece in render.without_controls(pieces) if sys.stdout.isatty() else pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    return 0
