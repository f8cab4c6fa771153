"""The verbs that steer runs: `cancel`, `hold`, `release` and `retry`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from job_orchestration.actions import told
from job_orchestration.actions.selection import EVERYTHING
from job_orchestration.cli.verbs import chosen
from job_orchestration.files import workspace as workspaces
from job_orchestration.model.errors import UsageError
from job_orchestration.model.problem import escaped

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from job_orchestration.actions.hold import Moved
    from job_orchestration.actions.selection import Choice
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.problem import Problem

_REFUSED: Final = 3


def _workspace(arguments: Namespace) -> Workspace:
    return workspaces.prepare(workspaces.locate(arguments.workspace).root)


def _some(arguments: Namespace) -> Choice:
    """The runs that the arguments ask for; to mean all of them one has to say so."""
    choice = chosen(arguments)
    if choice == EVERYTHING:
        raise UsageError(
            "No run is named", "Name some, or choose them by --status or --filter; '*' means all"
        )
    return choice


def cancel(arguments: Namespace) -> int:
    """End runs now."""
    from job_orchestration.actions.cancel import cancel as end

    ended = end(_workspace(arguments), _some(arguments))
    if arguments.json:
        problems = told.problems_as_json(ended.refused)
        found = {"runs": ended.runs, "asked": ended.asked, "refused": problems, "searches": ended.searches}
        print(json.dumps(found, indent=2))
    else:
        lines = [f"search {escaped(name)}: opens no more trials" for name in ended.searches]
        lines += [f"{escaped(run)}: cancelled" for run in ended.runs]
        lines += [f"{escaped(run)}: asked to end; its worker has not answered yet" for run in ended.asked]
        print("\n".join([*lines, *map(str, ended.refused)]) or "No run that fits can be cancelled.")
    return _REFUSED if ended.refused else 0


def hold(arguments: Namespace) -> int:
    """Keep runs from being claimed."""
    from job_orchestration.actions.hold import hold as keep

    return _moved(arguments, keep(_workspace(arguments), _some(arguments)), "held")


def release(arguments: Namespace) -> int:
    """Let held runs be claimed again."""
    from job_orchestration.actions.hold import release as let_go

    return _moved(arguments, let_go(_workspace(arguments), _some(arguments)), "released; it waits")


def _moved(arguments: Namespace, moved: Moved, how: str) -> int:
    return _shown(arguments, moved.runs, moved.refused, how)


def _shown(arguments: Namespace, runs: Sequence[str], refused: Sequence[Problem], how: str) -> int:
    if arguments.json:
        print(json.dumps({"runs": list(runs), "refused": told.problems_as_json(refused)}, indent=2))
    else:
        lines = [*(f"{escaped(run)}: {how}" for run in runs), *map(str, refused)]
        print("\n".join(lines) or f"No run that fits can be {how.partition(';')[0]}.")
    return _REFUSED if refused else 0


def retry(arguments: Namespace) -> int:
    """Have failed runs go on."""
    from job_orchestration.actions.retry import retry as ask

    if arguments.fresh and arguments.task:
        raise UsageError("--from and --fresh contradict each other", "Give one of them")
    workspace = _workspace(arguments)
    done = ask(workspace, chosen(arguments), task=arguments.task, fresh=arguments.fresh)
    if not (done.runs or done.refused or arguments.json):
        which = "that fits " if arguments.statuses or arguments.filter or arguments.runs else ""
        print(f"No run {which}has failed.")
        return 0
    how = "waits to go on from its checkpoint"
    if arguments.fresh:
        how = "waits to begin anew; its old output is in Misc/trash"
    elif arguments.task:
        how = f"waits to go on from task {escaped(arguments.task)}"
    return _shown(arguments, done.runs, done.refused, how)
