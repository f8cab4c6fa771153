"""The arguments that actions take, each described once, with the reading of its value.

What a value means is asked of the rules only when one is given, so that ``--help`` imports none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.rules.filtering import Filter
    from job_orchestration.rules.keeping import Keep


class Argument(NamedTuple):
    """One argument of an action, as `argparse` wants it."""

    flags: tuple[str, ...]
    options: Mapping[str, Any]


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


JSON = Argument(("--json",), {"action": "store_true", "help": "print JSON on stdout, messages on stderr"})
RUN = Argument(("run",), {"metavar": "RUN", "help": "an output folder below Output/, or a config's name"})
RUNS = Argument(("runs",), {"metavar": "RUN", "nargs": "*", "help": "all failed runs when none is named"})
WHICH = Argument(
    ("runs",), {"metavar": "RUN", "nargs": "*", "help": "output folders, configs' names, or globs"}
)
FROM = Argument(
    ("--from",), {"metavar": "TASK", "dest": "task", "help": "this task and those behind it run again"}
)
FRESH = Argument(
    ("--fresh",), {"action": "store_true", "help": "begin anew; the old output goes to Misc/trash"}
)
FILES = Argument(
    ("files",), {"metavar": "FILE", "nargs": "*", "help": "all of ConfigSources when none is named"}
)
WORKERS = Argument(
    ("--workers",), {"metavar": "N", "type": _positive, "default": 1, "help": "how many workers (1)"}
)
UNTIL_IDLE = Argument(
    ("--until-idle",), {"action": "store_true", "help": "end when nothing waits and nothing runs"}
)
FOR = Argument(
    ("--for",),
    {"metavar": "TIME", "type": _duration, "dest": "seconds", "help": "be gone after this time, such as 4h"},
)
SELECT = (
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
SOME = Argument(
    ("runs",),
    {"metavar": "RUN", "nargs": "*", "help": "names or globs such as '2026_*'; all when none is given"},
)
RESOURCES = Argument(
    ("--resources",),
    {"metavar": "NAME=N,…", "type": _resources, "help": "what runs may take here, such as gpus=2,licence=4"},
)
POOL = Argument(
    ("--pool",),
    {"metavar": "NAME", "type": _name, "help": "share them with the workers of this name on this machine"},
)
FOLLOW = Argument(("-f", "--follow"), {"action": "store_true", "help": "go on until the run has ended"})
ALL = Argument(("--all",), {"action": "store_true", "help": "show every run, however many there are"})
WATCH = Argument(("--watch",), {"action": "store_true", "help": "look again and again until Ctrl-C"})

ARRANGE = (
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
FORMATS = (
    JSON,
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
OF_DEFAULTS = Argument(("--workspace-file",), {"action": "store_true", "help": "that of workspace.yaml"})

ONLY_RUNS = Argument(
    ("runs",),
    {
        "metavar": "RUN",
        "nargs": "*",
        "help": "only these or such globs, completed or failed, as far as --keep lets them",
    },
)
TRASHED = Argument(
    ("runs",),
    {"metavar": "RUN", "nargs": "*", "help": "an output folder, a config's name, an entry's, or a glob"},
)
KEEP = Argument(
    ("--keep",),
    {
        "metavar": "WHICH",
        "type": _keep,
        "action": "append",
        "help": "last:N, best:N:METRIC (the highest), lowest:N:METRIC; METRIC is task.key or key of what"
        " a task returned. May be given several times; all other completed runs can go",
    },
)
OLDER_THAN = Argument(
    ("--older-than",),
    {"metavar": "TIME", "type": _duration, "help": "only what ended longer ago than this, such as 30d"},
)
EMPTY_TRASH = Argument(
    ("--empty-trash",), {"action": "store_true", "help": "only, and for good: trash that is --older-than"}
)
YES = Argument(("--yes",), {"action": "store_true", "help": "do it"})
CONFIG = Argument(
    ("config",), {"metavar": "FILE", "nargs": "?", "help": "the config whose own notify is meant"}
)
TEST = Argument(
    ("--test",), {"action": "store_true", "help": "send everybody a message, and say how it went"}
)
DELIVER = Argument(("--deliver",), {"action": "store_true", "help": "deliver what waits, now"})
