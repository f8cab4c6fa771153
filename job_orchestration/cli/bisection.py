"""`bisect` on the command line."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from job_orchestration.cli import comparison, output
from job_orchestration.cli.output import ExitCode
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import escaped

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from job_orchestration.commands.bisect import Bisected
    from job_orchestration.comparison.bisection_records import TestedCommit


def bisect(arguments: Namespace) -> int:
    """Find the commit that moved a metric."""
    from job_orchestration.commands.bisect import bisect as find
    from job_orchestration.commands.bisect import with_worker

    if sum((arguments.at is not None, arguments.higher, arguments.lower)) > 1:
        raise UsageError("--at, --higher and --lower contradict each other", "Choose one of them")
    workspace = output.prepared(arguments)
    say = output.complain if arguments.json else output.say
    with with_worker(workspace, say) if arguments.here else nullcontext() as pause:
        done = find(
            workspace,
            (arguments.good, arguments.bad),
            arguments.metric,
            say,
            at=arguments.at,
            higher=True if arguments.higher else False if arguments.lower else None,
            pause=pause,
        )
    if arguments.json:
        output.print_json(done.as_json())
    else:
        output.print_lines(_lines(done, arguments))
    return ExitCode.OK if done.found is not None else ExitCode.RUNS_FAILED


def _lines(done: Bisected, arguments: Namespace) -> Iterator[str]:
    yield ""
    yield f"{escaped(done.verdict)}."
    if done.details is not None:
        about = done.details
        yield f"  {escaped(about.author)}, {about.date}: {escaped(about.subject)}"
    yield from (f"  {commit[:12]}" for commit in done.suspects)
    yield ""
    yield f"{escaped(done.metric)} of the commits that were tested:"
    good, bad = done.ends
    yield from (_line(one) for one in (good, *done.tested, bad))
    if done.changes is not None:
        yield from comparison.code_lines(done.changes, arguments)


def _line(one: TestedCommit) -> str:
    run = f"  ({escaped(one.run)})" if one.run else ""
    if one.value is None:
        return f"  {one.commit[:12]}  skipped: {escaped(one.reason or 'it has not ended')}{run}"
    return f"  {one.commit[:12]}  {one.value:g}  {'bad' if one.is_bad else 'good'}{run}"
