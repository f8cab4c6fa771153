"""`cancel`, `hold`, `release` and `retry` on the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from job_orchestration.cli import output
from job_orchestration.cli.output import ExitCode
from job_orchestration.commands.selection import EVERYTHING
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.submission import reports

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Sequence

    from job_orchestration.commands.changes import Changes
    from job_orchestration.commands.retry import RetryResult
    from job_orchestration.commands.selection import Selection
    from job_orchestration.diagnostics.problems import Problem


def some(arguments: Namespace) -> Selection:
    """Return the selected runs; refuse an empty selection, since all runs need an explicit '*'."""
    choice = output.selected(arguments)
    if choice == EVERYTHING:
        raise UsageError(
            "No run is named", "Name some, or choose them by --status or --filter; '*' means all"
        )
    return choice


def cancel(arguments: Namespace) -> int:
    """End runs now."""
    from job_orchestration.commands.cancel import cancel as end

    ended = end(output.prepared(arguments), some(arguments))
    if arguments.json:
        problems = reports.problems_as_json(ended.refused)
        found = {"runs": ended.runs, "asked": ended.asked, "refused": problems, "searches": ended.searches}
        print(json.dumps(found, indent=2))
    else:
        lines = [f"search {escaped(name)}: opens no more trials" for name in ended.searches]
        lines += [f"{escaped(run)}: cancelled" for run in ended.runs]
        lines += [f"{escaped(run)}: asked to end; its worker has not answered yet" for run in ended.asked]
        print("\n".join([*lines, *map(str, ended.refused)]) or "No run that fits can be cancelled.")
    return ExitCode.REFUSED if ended.refused else 0


def hold(arguments: Namespace) -> int:
    """Hold waiting runs: workers do not claim them."""
    from job_orchestration.commands.hold import hold as keep

    return _moved(arguments, keep(output.prepared(arguments), some(arguments)), "held")


def release(arguments: Namespace) -> int:
    """Let held runs be claimed again."""
    from job_orchestration.commands.hold import release as let_go

    return _moved(arguments, let_go(output.prepared(arguments), some(arguments)), "released; it waits")


def _moved(arguments: Namespace, moved: Changes, how: str) -> int:
    return _shown(arguments, moved.runs, moved.refused, how)


def _shown(arguments: Namespace, runs: Sequence[str], refused: Sequence[Problem], how: str) -> int:
    if arguments.json:
        print(json.dumps({"runs": list(runs), "refused": reports.problems_as_json(refused)}, indent=2))
    else:
        lines = [*(f"{escaped(run)}: {how}" for run in runs), *map(str, refused)]
        print("\n".join(lines) or f"No run that fits can be {how.partition(';')[0]}.")
    return ExitCode.REFUSED if refused else 0


def retry(arguments: Namespace) -> int:
    """Queue failed runs again, from their checkpoint by default."""
    return _retried(arguments, arguments.commit)


def retry_today(arguments: Namespace) -> int:
    """Queue failed runs again as the first release did: in the code of today, if that is committed."""
    from job_orchestration.submission.continuation import TODAY

    return _retried(arguments, TODAY if arguments.commit is None else arguments.commit)


def _retried(arguments: Namespace, commit: str | None) -> int:
    from job_orchestration.commands.retry import retry as ask

    if arguments.fresh and arguments.task:
        raise UsageError("--from and --fresh contradict each other", "Give one of them")
    if commit == "" and arguments.commit is not None:
        raise UsageError("--commit names no commit", "Name one, such as HEAD")
    parameters = dict(arguments.parameters)
    if len(parameters) < len(arguments.parameters):
        raise UsageError("--set names a key twice", "Give each key once")
    done = ask(
        output.prepared(arguments),
        output.selected(arguments),
        task=arguments.task,
        fresh=arguments.fresh,
        commit=commit,
        parameters=parameters,
    )
    if not (done.runs or done.refused or arguments.json):
        which = "that fits " if arguments.statuses or arguments.filter or arguments.runs else ""
        print("\n".join([f"No run {which}has failed.", *done.notes]))
        return 0
    if arguments.json:
        _print_retried(done, with_details=commit is not None or bool(parameters))
    else:
        print("\n".join([*_ways(done, arguments), *map(str, done.refused)]))
    for line in (*map(str, done.warnings), *done.notes):
        output.complain(line)
    return ExitCode.REFUSED if done.refused else 0


def _ways(done: RetryResult, arguments: Namespace) -> Iterator[str]:
    """Yield a line for each run that goes on."""
    how = "waits to go on from its checkpoint"
    if arguments.fresh:
        how = "waits to begin anew; its old output is in Misc/trash"
    elif arguments.task:
        how = f"waits to go on from task {escaped(arguments.task)}"
    for run in done.runs:
        code = f", in commit {done.commits[run][:12]}" if run in done.commits else ""
        yield f"{escaped(run)}: {how}{code}"


def _print_retried(done: RetryResult, *, with_details: bool) -> None:
    found = {"runs": list(done.runs), "refused": reports.problems_as_json(done.refused)}
    if with_details:
        found |= {"commits": dict(done.commits), "warnings": reports.problems_as_json(done.warnings)}
    print(json.dumps(found, indent=2))
