"""`debug` on the command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from job_orchestration.cli import output
from job_orchestration.cli.output import ExitCode
from job_orchestration.diagnostics.problems import escaped

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from job_orchestration.commands.debug import DebugPlan
    from job_orchestration.config.config import TaskSpec

_WIDEST: Final = 500
"""Maximum length of a result, in characters."""
_MOST: Final = 20
"""Maximum number of files that are named."""


def debug(arguments: Namespace) -> int:
    """Run one task of a config in the foreground."""
    from job_orchestration.commands.debug import plan

    found = plan(
        output.existing(arguments), arguments.subject, task=arguments.task, source=arguments.from_run
    )
    for problem in found.problems:
        output.complain(str(problem))
    if any(problem.is_error for problem in found.problems):
        return ExitCode.REFUSED
    for line in _lines_of(found):
        output.complain(line)
    with found.run as run:
        code = _run(found)
        files = run.files()
        folder = run.folder
    if files:
        output.complain(f"Its files are in {folder}; remove the folder when you are done:")
        for name in files[:_MOST]:
            output.complain(f"  {escaped(name)}")
        if len(files) > _MOST:
            output.complain(f"  and {len(files) - _MOST} more")
    return code


def _lines_of(found: DebugPlan) -> list[str]:
    *earlier, last = found.tasks
    code = escaped(found.run.code or "this environment")
    lines = [f"Task {escaped(last.id)} runs here, in the code of {code} as it is now. Nothing is queued."]
    if found.parameters:
        chosen = ", ".join(f"{key} = {value}" for key, value in found.parameters.items())
        lines.append(escaped(f"The first trial of the sweep: {chosen}"))
    if found.taken:
        lines.append(escaped(f"Results of {', '.join(found.taken)} are taken from {found.source}."))
    if earlier:
        names = escaped(", ".join(spec.id for spec in earlier))
        lines.append(f"Runs {names} first; --from-run RUN takes finished tasks from a run instead.")
    return lines


def _run(found: DebugPlan) -> int:
    """Import the code and run the tasks; return the exit code."""
    import bdb

    from job_orchestration.executor import tracebacks

    try:
        found.run.load(found.tasks)
        problems = [p for spec in found.tasks for p in _problems_of(found, spec)]
        for problem in problems:
            output.complain(problem)
        if problems:
            return ExitCode.REFUSED
        for spec in found.tasks:
            value = output.json_line(found.run.run(spec, _warning_of(spec)))
            shown = value if len(value) <= _WIDEST else f"{value[:_WIDEST]}…"
            output.complain(f"Task {escaped(spec.id)} returned {shown}")
    except bdb.BdbQuit:
        output.complain("The debugger was left; the task has not finished.")
        return ExitCode.INTERRUPTED
    except BaseException as error:  # noqa: BLE001  # whatever the code of the tasks raises
        output.complain(tracebacks.text_of(error).rstrip())
        if isinstance(error, KeyboardInterrupt):
            return ExitCode.INTERRUPTED
        if sys.stdin.isatty() and sys.stdout.isatty():
            _look_at(error)
        return ExitCode.RUNS_FAILED
    return 0


def _problems_of(found: DebugPlan, spec: TaskSpec) -> list[str]:
    return [escaped(f"{spec.id}: {problem}") for problem in found.run.validate(spec, _warning_of(spec))]


def _warning_of(spec: TaskSpec) -> Callable[[str], None]:
    return lambda sentence: output.complain(escaped(f"{spec.id}: warning: {sentence}"))


def _look_at(error: BaseException) -> None:
    """Open the debugger where an exception was raised."""
    import pdb  # noqa: T100  # this is the debugger

    from job_orchestration.executor import tracebacks

    found = tracebacks.from_the_task_on(error)
    if found is not None:
        output.complain('The debugger is where it was raised: "u" goes up to the caller, "q" leaves.')
        pdb.post_mortem(found)
