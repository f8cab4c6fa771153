"""The actions of the command line, in one table: every spelling of a command is looked up here.

An action names its function as text, so that ``--help`` imports none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.rules.filtering import Filter
    from job_orchestration.rules.keeping import Keep


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
    reads: bool = False
    """Whether it never changes or locks anything, whatever its arguments; only doctor tries the disk."""


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


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _statuses(text: str) -> frozenset[str]:
    import argparse

    from job_orchestration.actions.selection import statuses_of

    try:
        return statuses_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _filter(text: str) -> Filter:
    import argparse

    from job_orchestration.rules.filtering import FilterError, parse

    try:
        return parse(text)
    except FilterError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _keep(text: str) -> Keep:
    import argparse

    from job_orchestration.rules.keeping import parse_keep

    found = parse_keep(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not last:N, best:N:METRIC or lowest:N:METRIC")
    return found


_JSON = Argument(("--json",), {"action": "store_true", "help": "print JSON on stdout, messages on stderr"})
_RUN = Argument(("run",), {"metavar": "RUN", "help": "an output folder below Output/, or a config's name"})
_RUNS = Argument(("runs",), {"metavar": "RUN", "nargs": "*", "help": "all failed runs when none is named"})
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
_SELECT = (
    Argument(
        ("--status",),
        {
            "metavar": "WORDS",
            "type": _statuses,
            "dest": "statuses",
            "default": frozenset(),
            "help": "only those that any of these words fits, such as failed,interrupted or timeout",
        },
    ),
    Argument(
        ("--filter",),
        {
            "metavar": "EXPRESSION",
            "type": _filter,
            "help": "only those that it is true of, such as 'model == \"Conv\" and epochs > 3'",
        },
    ),
)
"""What narrows down the runs of a verb, besides their names; `cli.verbs` makes a `Choice` of it."""
_SOME = Argument(
    ("runs",),
    {"metavar": "RUN", "nargs": "*", "help": "names or globs such as '2026_*'; all when none is given"},
)
_FOLLOW = Argument(("-f", "--follow"), {"action": "store_true", "help": "go on until the run has ended"})
_ALL = Argument(("--all",), {"action": "store_true", "help": "show every run, however many there are"})
_WATCH = Argument(("--watch",), {"action": "store_true", "help": "look again and again until Ctrl-C"})

_ARRANGE = (
    Argument(
        ("--best",), {"metavar": "FIGURE", "help": "the best run by a figure, the highest; with --top N more"}
    ),
    Argument(("--lowest",), {"action": "store_true", "help": "the lowest is the best"}),
    Argument(("--top",), {"metavar": "N", "type": _positive, "help": "the first N rows"}),
    Argument(("--sort",), {"metavar": "COLUMN", "help": "in the order of a column"}),
    Argument(("--descending",), {"action": "store_true", "help": "in the opposite order"}),
    Argument(
        ("--group-by",),
        {"metavar": "COLUMNS", "type": _words, "default": (), "help": "mean, std, min and max of each group"},
    ),
    Argument(
        ("--columns",),
        {"metavar": "COLUMNS", "type": _words, "default": (), "help": "these only, in this order"},
    ),
)
_FORMATS = (
    _JSON,
    Argument(("--ndjson",), {"action": "store_true", "help": "a JSON object a line"}),
    Argument(("--csv",), {"action": "store_true", "help": "comma-separated values"}),
    Argument(("--md",), {"action": "store_true", "help": "a table in Markdown"}),
    Argument(("--parquet",), {"metavar": "FILE", "help": "write a Parquet file (extra [parquet])"}),
    Argument(
        ("--to",),
        {"metavar": "URL", "help": "into a database: sqlite:///results.db, or others (extra [database])"},
    ),
    Argument(("--table",), {"metavar": "NAME", "default": "results", "help": "the table in it (results)"}),
)
_OF_DEFAULTS = Argument(("--workspace-file",), {"action": "store_true", "help": "that of workspace.yaml"})

_ONLY_RUNS = Argument(
    ("runs",),
    {"metavar": "RUN", "nargs": "*", "help": "only these, completed or failed, as far as --keep lets them"},
)
_TRASHED = Argument(
    ("runs",), {"metavar": "RUN", "nargs": "*", "help": "an output folder, a config's name, or an entry's"}
)
_KEEP = Argument(
    ("--keep",),
    {
        "metavar": "WHICH",
        "type": _keep,
        "action": "append",
        "help": "last:N, best:N:METRIC (the highest), lowest:N:METRIC; METRIC is task.key or key of what"
        " a task returned. May be given several times; all other completed runs can go",
    },
)
_OLDER_THAN = Argument(
    ("--older-than",),
    {"metavar": "TIME", "type": _duration, "help": "only what ended longer ago than this, such as 30d"},
)
_EMPTY_TRASH = Argument(
    ("--empty-trash",), {"action": "store_true", "help": "only, and for good: trash that is --older-than"}
)
_YES = Argument(("--yes",), {"action": "store_true", "help": "do it"})
_CONFIG = Argument(
    ("config",), {"metavar": "FILE", "nargs": "?", "help": "the config whose own notify is meant"}
)
_TEST = Argument(
    ("--test",), {"action": "store_true", "help": "send everybody a message, and say how it went"}
)
_DELIVER = Argument(("--deliver",), {"action": "store_true", "help": "deliver what waits, now"})

_VERBS: Final = "job_orchestration.cli.verbs"
_KEEPING: Final = "job_orchestration.cli.keeping"

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
        (_WORKERS, _UNTIL_IDLE, _FOR),
        ("runWorker", "newWorker"),
    ),
    Action("watch", "ready whatever is dropped, as it is dropped", "watch", f"{_VERBS}:watch", (_JSON,)),
    Action(
        "up",
        "watch and some workers in one command, with a live view",
        "up --workers 2",
        f"{_VERBS}:up",
        (_WORKERS, _UNTIL_IDLE),
    ),
    Action(
        "status",
        "who is where, how long still",
        "status --status failed,running",
        f"{_VERBS}:status",
        (_SOME, *_SELECT, _JSON, _ALL, _WATCH),
        reads=True,
    ),
    Action(
        "progressReport",
        "the same, under the lines of the first Job Orchestration",
        "progressReport",
        f"{_VERBS}:progress_report",
        (_JSON, _ALL),
        reads=True,
    ),
    Action(
        "logs",
        "a run's log; -f follows it",
        "logs -f a.yaml",
        f"{_VERBS}:logs",
        (_RUN, _FOLLOW, _JSON),
        reads=True,
    ),
    Action(
        "show",
        "one run: state, tasks, provenance, files",
        "show 2026_11_20/bbs",
        f"{_VERBS}:show",
        (_RUN, _JSON),
        reads=True,
    ),
    Action(
        "results",
        "parameters and results of runs as a table, a file, or into a database",
        "results --best accuracy --top 5",
        "job_orchestration.cli.results:results",
        (_SOME, *_SELECT, *_ARRANGE, *_FORMATS),
        reads=True,
    ),
    Action(
        "retry",
        "failed runs go on from their checkpoint",
        "retry a.yaml",
        f"{_VERBS}:retry",
        (_RUNS, *_SELECT, _JSON),
        ("rereadyFailed",),
    ),
    Action(
        "gc",
        "free space: shows what can go; with --yes it goes, runs into the trash",
        "gc --keep best:5:accuracy --older-than 30d",
        f"{_KEEPING}:gc",
        (_ONLY_RUNS, _KEEP, _OLDER_THAN, _EMPTY_TRASH, _YES, _JSON),
    ),
    Action(
        "restore",
        "runs come back out of the trash; without a name it is listed",
        "restore 2026_11_20/bbs",
        f"{_KEEPING}:restore",
        (_TRASHED, _JSON),
    ),
    Action(
        "doctor",
        "what is wrong with this workspace or machine, to be pasted into a report",
        "doctor",
        f"{_KEEPING}:doctor",
        (_JSON,),
        reads=True,
    ),
    Action(
        "schema",
        "the JSON Schema of configs, for an editor",
        "schema --workspace-file",
        f"{_KEEPING}:schema",
        (_OF_DEFAULTS, _JSON),
        reads=True,
    ),
    Action(
        "notify",
        "who is told of what, and what waits to be told; --test tries it",
        "notify --test",
        "job_orchestration.cli.notices:notify",
        (_CONFIG, _TEST, _DELIVER, _JSON),
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
