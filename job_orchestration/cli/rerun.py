"""`rerun` on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_orchestration.cli import output
from job_orchestration.cli.output import ExitCode
from job_orchestration.cli.steering import some
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.submission import reports

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from job_orchestration.commands.rerun import NewRun, RerunResult
    from job_orchestration.config.config import Json


def rerun(arguments: Namespace) -> int:
    """Queue new runs in the recorded code, config and seed of ended ones, or with changes."""
    from job_orchestration.commands.rerun import rerun as queue

    done = queue(
        output.prepared(arguments),
        some(arguments),
        commit=_commit(arguments),
        parameters=_parameters(arguments),
        dry_run=arguments.dry_run,
    )
    if arguments.json:
        output.print_json(_as_json(done))
    else:
        output.print_lines(_lines(done, is_dry=arguments.dry_run))
    for line in (*map(str, done.warnings), *done.notes):
        output.complain(line)
    return ExitCode.REFUSED if done.refused else ExitCode.OK


def _commit(arguments: Namespace) -> str | None:
    if arguments.commit == "":
        raise UsageError("--commit names no commit", "Name one, such as HEAD")
    return arguments.commit  # type: ignore[no-any-return]  # argparse knows no types


def _parameters(arguments: Namespace) -> dict[str, Json]:
    parameters = dict(arguments.parameters)
    if len(parameters) < len(arguments.parameters):
        raise UsageError("--set names a key twice", "Give each key once")
    return parameters


def _as_json(done: RerunResult) -> dict[str, object]:
    return {
        "runs": [new.as_json() for new in done.runs],
        "refused": reports.problems_as_json(done.refused),
        "warnings": reports.problems_as_json(done.warnings),
    }


def _lines(done: RerunResult, *, is_dry: bool) -> Iterator[str]:
    for new in done.runs:
        yield f"{escaped(new.run)}: {'would be' if is_dry else 'is'} queued, {_what(new)}"
    yield from map(str, done.refused)
    if not (done.runs or done.refused):
        yield "No run that fits has ended."


def _what(new: NewRun) -> str:
    code = f" in commit {new.commit[:12]}" if new.commit else ""
    return f"a rerun of {escaped(new.original)}{code}, seed {new.seed}"
