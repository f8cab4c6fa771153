"""`rerun` and `verify` on the command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.cli import output, verification_text
from job_orchestration.cli.output import ExitCode
from job_orchestration.cli.steering import some
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.plurals import counted
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.submission import reports

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from job_orchestration.commands.rerun import NewRun, RerunResult
    from job_orchestration.commands.verify import How, VerifyResult
    from job_orchestration.config.config import Json
    from job_orchestration.submission.environment_changes import EnvironmentChange
    from job_orchestration.workspace.layout import Workspace

_MOST_PACKAGES: Final = 12


def rerun(arguments: Namespace) -> int:
    """Queue new runs in the recorded code, config and seed of ended ones, or with changes."""
    from job_orchestration.commands.rerun import rerun as queue

    workspace, how = output.prepared(arguments), _how(arguments)
    _insist_on_sense(arguments)
    done = queue(
        workspace,
        some(arguments),
        commit=_commit(arguments),
        parameters=_parameters(arguments),
        task=arguments.task,
        recorded_environment=arguments.env is not None,
        strict=arguments.strict,
        verify=how.as_wish() if arguments.verify else None,
        dry_run=arguments.dry_run,
    )
    found = _as_json(done)
    if not arguments.json:
        output.print_lines(_lines(done, is_dry=arguments.dry_run))
    for line in (*map(str, done.warnings), *done.notes):
        output.complain(line)
    code: int = ExitCode.REFUSED if done.refused else ExitCode.OK
    if done.runs and not arguments.dry_run and (arguments.here or arguments.verify):
        code = max(_finish(arguments, workspace, done, found), code)
    if arguments.json:
        output.print_json(found)
    return code


def verify(arguments: Namespace) -> int:
    """Compare what reruns made with what their originals made."""
    from job_orchestration.commands.verify import verify as compare

    how = _how(arguments)
    done = compare(
        output.prepared(arguments), some(arguments), how, against=arguments.against, once=arguments.once
    )
    if arguments.json:
        output.print_json({"verified": done.verified, "refused": reports.problems_as_json(done.refused)})
    else:
        output.print_lines(_verdicts(done))
        if not (done.verified or done.refused):
            print("No rerun that fits has completed.")
    for line in done.notes:
        output.complain(line)
    return ExitCode.REFUSED if done.refused else int(done.is_different)


# -- the arguments ----------------------------------------------------------------------------------------


def _insist_on_sense(arguments: Namespace) -> None:
    if (arguments.rtol, arguments.atol, arguments.ignore) != (None, None, None) and not arguments.verify:
        raise UsageError("--rtol, --atol and --ignore say how to verify", "Add --verify")
    if arguments.commit == "":
        raise UsageError("--commit names no commit", "Name one, such as HEAD")
    if arguments.dry_run and (arguments.here or arguments.verify):
        raise UsageError("--dry-run runs nothing", "Leave out --here and --verify")


def _commit(arguments: Namespace) -> str | None:
    return arguments.commit  # type: ignore[no-any-return]  # argparse knows no types


def _parameters(arguments: Namespace) -> dict[str, Json]:
    parameters = dict(arguments.parameters)
    if len(parameters) < len(arguments.parameters):
        raise UsageError("--set names a key twice", "Give each key once")
    return parameters


def _how(arguments: Namespace) -> How:
    from job_orchestration.commands.verify import How

    ignore = None if arguments.ignore is None else tuple(arguments.ignore)
    return How(arguments.rtol, arguments.atol, ignore)


# -- what is printed --------------------------------------------------------------------------------------


def _as_json(done: RerunResult) -> dict[str, Any]:
    return {
        "runs": [new.as_json() for new in done.runs],
        "refused": reports.problems_as_json(done.refused),
        "warnings": reports.problems_as_json(done.warnings),
    }


def _lines(done: RerunResult, *, is_dry: bool) -> Iterator[str]:
    shown: tuple[EnvironmentChange, ...] = ()
    for new in done.runs:
        yield f"{escaped(new.run)}: {'would be' if is_dry else 'is'} queued, {_what(new)}"
        if new.changes and new.changes != shown:
            yield "  not as it was:"
            yield from _changes(new)
        elif new.changes:
            yield "  not as it was: the same as above"
        shown = new.changes
    yield from map(str, done.refused)
    if not (done.runs or done.refused):
        yield "No run that fits has ended."


def _changes(new: NewRun) -> Iterator[str]:
    """Yield a line for each thing that is not as it was; of many packages the first."""
    packages = [change for change in new.changes if change.kind == "package"]
    others = [change for change in new.changes if change.kind != "package"]
    yield from (f"    {change}" for change in (*packages[:_MOST_PACKAGES], *others))
    if (left := len(packages) - _MOST_PACKAGES) > 0:
        yield f"    and {counted(left, 'package')} more; --json names all"


def _what(new: NewRun) -> str:
    code = f" in commit {new.commit[:12]}" if new.commit else ""
    return f"a rerun of {escaped(new.original)}{code}, seed {new.seed}"


def _verdicts(done: VerifyResult) -> Iterator[str]:
    for record in done.verified:
        yield from verification_text.lines_of(record)
    yield from map(str, done.refused)


# -- here, and until the end ------------------------------------------------------------------------------


def _finish(arguments: Namespace, workspace: Workspace, done: RerunResult, found: dict[str, Any]) -> int:
    """Execute the new runs here, or wait for their end, and compare them; return the exit code."""
    runs = [new.run for new in done.runs]
    if arguments.here:
        from job_orchestration.commands.run_here import run_here

        stems = {new.run: new.stem for new in done.runs}
        log = sys.stderr if arguments.json else sys.stdout
        if run_here(
            workspace, stems, output.complain, lambda text: print(text, end="", file=log, flush=True)
        ):
            return ExitCode.INTERRUPTED
    from job_orchestration.commands import verify as verification
    from job_orchestration.commands.selection import Selection
    from job_orchestration.commands.wait import wait
    from job_orchestration.runs.catalog import living_workers

    if not arguments.here and not living_workers(workspace):
        output.complain("No worker is there: start one with `job-orchestration work`, or give --here")
    ends = {end.run: end.end for end in wait(workspace, Selection(tuple(runs))).ends}
    completed = tuple(run for run in runs if ends.get(run) == "completed")
    failed = [run for run in runs if run not in completed]
    if not arguments.json:
        output.print_lines(f"{escaped(run)}: has not completed; see why with: show" for run in failed)
        if arguments.here and not arguments.verify:
            output.print_lines(f"{escaped(run)}: completed" for run in completed)
    found["failed"] = failed
    is_different = False
    if arguments.verify and completed:
        verified = verification.verify(workspace, Selection(completed), once=True)
        found["verified"] = verified.verified
        is_different = verified.is_different or bool(verified.refused)
        if not arguments.json:
            output.print_lines(_verdicts(verified))
    return ExitCode.RUNS_FAILED if failed or is_different else ExitCode.OK
