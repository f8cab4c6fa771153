"""The actions of the command line, in one table: every spelling of a command is looked up here.

An action names its function as text, so that ``--help`` imports none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from job_orchestration.cli import flags

if TYPE_CHECKING:
    from job_orchestration.cli.flags import Argument


class Action(NamedTuple):
    """One verb of the command line."""

    name: str
    summary: str
    example: str
    """Its arguments in an example, without the program's name."""
    function: str
    """``module:function``; it gets the parsed arguments and returns the exit code."""
    arguments: tuple[Argument, ...] = ()
    aliases: tuple[str, ...] = ()
    """What the first Job Orchestration called it."""
    reads: bool = False
    """Whether it never changes or locks anything, whatever its arguments; only doctor tries the disk."""


_VERBS: Final = "job_orchestration.cli.verbs"
_KEEPING: Final = "job_orchestration.cli.keeping"
_STEERING: Final = "job_orchestration.cli.steering"

ACTIONS: Final = (
    Action("init", "make or mend a workspace", "init --workspace ~/experiments", f"{_VERBS}:init"),
    Action(
        "ready",
        "check, pin and queue what lies in ConfigSources",
        "ready",
        f"{_VERBS}:ready",
        (flags.JSON,),
        ("readyConfigs",),
    ),
    Action(
        "check",
        "validate without queueing",
        "check ConfigSources/a.yaml",
        f"{_VERBS}:check",
        (flags.FILES, flags.JSON),
    ),
    Action(
        "work",
        "run a worker, or several",
        "work --workers 2 --until-idle",
        f"{_VERBS}:work",
        (flags.WORKERS, flags.UNTIL_IDLE, flags.FOR, flags.RESOURCES, flags.POOL),
        ("runWorker", "newWorker"),
    ),
    Action("watch", "ready whatever is dropped, as it is dropped", "watch", f"{_VERBS}:watch", (flags.JSON,)),
    Action(
        "up",
        "watch and some workers in one command, with a live view",
        "up --workers 2",
        f"{_VERBS}:up",
        (flags.WORKERS, flags.UNTIL_IDLE, flags.RESOURCES),
    ),
    Action(
        "status",
        "who is where, how long still",
        "status --status failed,running",
        f"{_VERBS}:status",
        (flags.SOME, *flags.SELECT, flags.JSON, flags.ALL, flags.WATCH),
        reads=True,
    ),
    Action(
        "progressReport",
        "the same, under the lines of the first Job Orchestration",
        "progressReport",
        f"{_VERBS}:progress_report",
        (flags.JSON, flags.ALL),
        reads=True,
    ),
    Action(
        "logs",
        "a run's log; -f follows it",
        "logs -f a.yaml",
        f"{_VERBS}:logs",
        (flags.RUN, flags.FOLLOW, flags.JSON),
        reads=True,
    ),
    Action(
        "show",
        "one run: state, tasks, provenance, files",
        "show 2026_11_20/bbs",
        f"{_VERBS}:show",
        (flags.RUN, flags.JSON),
        reads=True,
    ),
    Action(
        "results",
        "parameters and results of runs as a table, a file, or into a database",
        "results --best accuracy --top 5",
        "job_orchestration.cli.results:results",
        (flags.SOME, *flags.SELECT, *flags.ARRANGE, *flags.FORMATS),
        reads=True,
    ),
    Action(
        "retry",
        "failed runs go on from their checkpoint",
        "retry a.yaml",
        f"{_STEERING}:retry",
        (flags.RUNS, *flags.SELECT, flags.FROM, flags.FRESH, flags.JSON),
        ("rereadyFailed",),
    ),
    Action(
        "cancel",
        "end runs now; retry has them go on",
        "cancel a.yaml 2026_11_20/bbs",
        f"{_STEERING}:cancel",
        (flags.WHICH, *flags.SELECT, flags.JSON),
    ),
    Action(
        "hold",
        "keep waiting runs from starting",
        "hold --filter 'epochs > 100'",
        f"{_STEERING}:hold",
        (flags.WHICH, *flags.SELECT, flags.JSON),
    ),
    Action(
        "release",
        "let held runs start",
        "release a.yaml",
        f"{_STEERING}:release",
        (flags.WHICH, *flags.SELECT, flags.JSON),
    ),
    Action(
        "gc",
        "free space: shows what can go; with --yes it goes, runs into the trash",
        "gc --keep best:5:accuracy --older-than 30d",
        f"{_KEEPING}:gc",
        (
            flags.ONLY_RUNS,
            *flags.SELECT,
            flags.KEEP,
            flags.OLDER_THAN,
            flags.EMPTY_TRASH,
            flags.YES,
            flags.JSON,
        ),
    ),
    Action(
        "restore",
        "runs come back out of the trash; without a name it is listed",
        "restore 2026_11_20/bbs",
        f"{_KEEPING}:restore",
        (flags.TRASHED, flags.JSON),
    ),
    Action(
        "doctor",
        "what is wrong with this workspace or machine, to be pasted into a report",
        "doctor",
        f"{_KEEPING}:doctor",
        (flags.JSON,),
        reads=True,
    ),
    Action(
        "schema",
        "the JSON Schema of configs, for an editor",
        "schema --workspace-file",
        f"{_KEEPING}:schema",
        (flags.OF_DEFAULTS, flags.JSON),
        reads=True,
    ),
    Action(
        "notify",
        "who is told of what, and what waits to be told; --test tries it",
        "notify --test",
        "job_orchestration.cli.notices:notify",
        (flags.CONFIG, flags.TEST, flags.DELIVER, flags.JSON),
    ),
)

NOTHING: Final = "na"
"""What the first Job Orchestration's menu took for "no action": the folders are made and that is all."""


def find(name: str) -> Action | None:
    """The action of a name, in any case."""
    wanted = name.lower()
    for action in ACTIONS:
        if wanted in {action.name.lower(), *(alias.lower() for alias in action.aliases)}:
            return action
    return None


def names() -> list[str]:
    """All names that `find` knows."""
    return [name for action in ACTIONS for name in (action.name, *action.aliases)]
