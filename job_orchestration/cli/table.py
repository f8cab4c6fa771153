"""The actions of the command line, in one table: every spelling of a command is looked up here.

An action names its function as text, so that ``--help`` imports none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Argument(NamedTuple):
    """One argument of an action, as `argparse` wants it."""

    flags: tuple[str, ...]
    options: Mapping[str, Any]


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


def _positive(text: str) -> int:
    import argparse

    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)


def _duration(text: str) -> float:
    import argparse

    from job_orchestration.rules.settings import parse_duration

    seconds = parse_duration(text)
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 90s, 30m or 4h")
    return seconds


def _resources(text: str) -> dict[str, int]:
    import argparse

    from job_orchestration.rules.settings import parse_resources

    parts = [part.partition("=") for part in text.split(",")]
    found = parse_resources({name: int(n) if n.isdecimal() else n for name, _, n in parts})
    if found is None or len(found) < len(parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as gpus=2,memory=64G,licence=4")
    return dict(found)


def _name(text: str) -> str:
    import argparse

    if not text.replace(".", "").replace("-", "").isalnum() or text.startswith("."):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name of letters, digits, '.' and '-'")
    return text


_JSON = Argument(("--json",), {"action": "store_true", "help": "print JSON on stdout, messages on stderr"})
_RUN = Argument(("run",), {"metavar": "RUN", "help": "an output folder below Output/, or a config's name"})
_RUNS = Argument(("runs",), {"metavar": "RUN", "nargs": "*", "help": "all failed runs when none is named"})
_SOME_RUNS = Argument(
    ("runs",), {"metavar": "RUN", "nargs": "+", "help": "output folders, or configs' names"}
)
_FROM = Argument(
    ("--from",), {"metavar": "TASK", "dest": "task", "help": "this task and those behind it run again"}
)
_FRESH = Argument(
    ("--fresh",), {"action": "store_true", "help": "begin anew; the old output goes to Misc/trash"}
)
_FILES = Argument(
    ("files",), {"metavar": "FILE", "nargs": "*", "help": "all of ConfigSources when none is named"}
)
_WORKERS = Argument(
    ("--workers",), {"metavar": "N", "type": _positive, "default": 1, "help": "how many workers (1)"}
)
_UNTIL_IDLE = Argument(
    ("--until-idle",), {"action": "store_true", "help": "end when nothing waits and nothing runs"}
)
_FOR = Argument(
    ("--for",),
    {"metavar": "TIME", "type": _duration, "dest": "seconds", "help": "be gone after this time, such as 4h"},
)
_RESOURCES = Argument(
    ("--resources",),
    {"metavar": "NAME=N,…", "type": _resources, "help": "what runs may take here, such as gpus=2,licence=4"},
)
_POOL = Argument(
    ("--pool",),
    {"metavar": "NAME", "type": _name, "help": "share them with the workers of this name on this machine"},
)
_FOLLOW = Argument(("-f", "--follow"), {"action": "store_true", "help": "go on until the run has ended"})

_VERBS: Final = "job_orchestration.cli.verbs"
_STEERING: Final = "job_orchestration.cli.steering"

ACTIONS: Final = (
    Action("init", "make or mend a workspace", "init --workspace ~/experiments", f"{_VERBS}:init"),
    Action(
        "ready",
        "check, pin and queue what lies in ConfigSources",
        "ready",
        f"{_VERBS}:ready",
        (_JSON,),
        ("readyConfigs",),
    ),
    Action(
        "check", "validate without queueing", "check ConfigSources/a.yaml", f"{_VERBS}:check", (_FILES, _JSON)
    ),
    Action(
        "work",
        "run a worker, or several",
        "work --workers 2 --until-idle",
        f"{_VERBS}:work",
        (_WORKERS, _UNTIL_IDLE, _FOR, _RESOURCES, _POOL),
        ("runWorker", "newWorker"),
    ),
    Action("watch", "ready whatever is dropped, as it is dropped", "watch", f"{_VERBS}:watch", (_JSON,)),
    Action(
        "up",
        "watch and some workers in one command, with a live view",
        "up --workers 2",
        f"{_VERBS}:up",
        (_WORKERS, _UNTIL_IDLE, _RESOURCES),
    ),
    Action("status", "who is where, how long still", "status --json", f"{_VERBS}:status", (_JSON,)),
    Action(
        "progressReport",
        "the same, under the lines of the first Job Orchestration",
        "progressReport",
        f"{_VERBS}:progress_report",
        (_JSON,),
    ),
    Action("logs", "a run's log; -f follows it", "logs -f a.yaml", f"{_VERBS}:logs", (_RUN, _FOLLOW, _JSON)),
    Action(
        "show",
        "one run: state, tasks, provenance, files",
        "show 2026_11_20/bbs",
        f"{_VERBS}:show",
        (_RUN, _JSON),
    ),
    Action(
        "retry",
        "failed runs go on from their checkpoint",
        "retry a.yaml",
        f"{_STEERING}:retry",
        (_RUNS, _FROM, _FRESH, _JSON),
        ("rereadyFailed",),
    ),
    Action(
        "cancel",
        "end runs now; retry has them go on",
        "cancel a.yaml 2026_11_20/bbs",
        f"{_STEERING}:cancel",
        (_SOME_RUNS, _JSON),
    ),
    Action(
        "hold", "keep waiting runs from starting", "hold a.yaml", f"{_STEERING}:hold", (_SOME_RUNS, _JSON)
    ),
    Action("release", "let held runs start", "release a.yaml", f"{_STEERING}:release", (_SOME_RUNS, _JSON)),
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
