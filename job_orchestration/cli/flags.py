"""Arguments of the commands, each defined once, with the parser of its value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from job_orchestration.cli import flag_values

if TYPE_CHECKING:
    from collections.abc import Mapping


class Argument(NamedTuple):
    """One argument of a command, in the form that `argparse` takes."""

    flags: tuple[str, ...]
    options: Mapping[str, Any]


JSON = Argument(("--json",), {"action": "store_true", "help": "print JSON on stdout, messages on stderr"})
COLOR = Argument(
    ("--color",),
    {
        "choices": ("auto", "always", "never"),
        "default": "auto",
        "help": "default: auto, on a terminal, unless NO_COLOR is set; FORCE_COLOR means always",
    },
)
RUN = Argument(("run",), {"metavar": "RUN", "help": "an output folder below Output/, or a config name"})
RUNS = Argument(("runs",), {"metavar": "RUN", "nargs": "*", "help": "default: all failed runs"})
WHICH = Argument(
    ("runs",), {"metavar": "RUN", "nargs": "*", "help": "output folders, config names, or globs"}
)
FROM = Argument(
    ("--from",), {"metavar": "TASK", "dest": "task", "help": "run this task and all later tasks again"}
)
BIND = Argument(
    ("--bind",),
    {
        "metavar": "ADDRESS",
        "default": "127.0.0.1",
        "help": "the address to listen on; default: 127.0.0.1, this machine only",
    },
)
PORT = Argument(
    ("--port",),
    {"metavar": "N", "type": flag_values.port, "help": "default: 8000; 0 means any that is free"},
)
NAMES = Argument(
    ("--name",),
    {
        "metavar": "NAME",
        "action": "append",
        "dest": "names",
        "default": [],
        "help": "a name by which clients call this server; requests for other names are refused",
    },
)
FUNCTIONS = Argument(
    ("--functions",),
    {
        "action": "store_true",
        "help": "answer the calls of GenePlexus's first web application, on port 7071 and without a token",
    },
)
NO_WAIT = Argument(
    ("--no-wait",),
    {"action": "store_true", "help": "if another process holds a lock, do not wait: exit with code 5"},
)
FRESH = Argument(
    ("--fresh",),
    {"action": "store_true", "help": "start from the beginning; the old output moves to Misc/trash"},
)
COMMIT = Argument(
    ("--commit",),
    {
        "metavar": "REV",
        "help": "go on in this commit of the tasks' repository, such as HEAD; worktree: with uncommitted"
        " changes, if the config says UNSAFE_ignoreDirtyCheck",
    },
)
SET = Argument(
    ("--set",),
    {
        "metavar": "KEY=VALUE",
        "type": flag_values.assignment,
        "action": "append",
        "dest": "parameters",
        "default": [],
        "help": "go on with this value; TASK.KEY=VALUE for one task. Repeatable",
    },
)
RERUN_COMMIT = Argument(
    ("--commit",),
    {
        "metavar": "REV",
        "help": "run in this commit instead of the recorded one: HEAD, a revision of the tasks' repository,"
        " or a commit that the workspace keeps; worktree: with uncommitted changes",
    },
)
RERUN_SET = Argument(
    ("--set",),
    {
        "metavar": "KEY=VALUE",
        "type": flag_values.assignment,
        "action": "append",
        "dest": "parameters",
        "default": [],
        "help": "run with this value; TASK.KEY=VALUE for one task, KEY.PART=VALUE in a mapping. Repeatable",
    },
)
RERUN_FROM = Argument(
    ("--from",),
    {
        "metavar": "TASK",
        "dest": "task",
        "help": "run from this task on; take results and files of the tasks before it from the original",
    },
)
STRICT = Argument(
    ("--strict",),
    {"action": "store_true", "help": "refuse if packages, Python, machine or inputs are not as they were"},
)
ENVIRONMENT = Argument(
    ("--env",),
    {
        "choices": ["recorded"],
        "help": "install the recorded packages once, and run with them instead of the worker's (extra [env])",
    },
)
HERE = Argument(
    ("--here",), {"action": "store_true", "help": "run it now, in this terminal, and follow its log"}
)
VERIFY = Argument(
    ("--verify",),
    {
        "action": "store_true",
        "help": "wait for the end, and compare results and files with the original's; exit code 1: different",
    },
)
TOLERANCE = (
    Argument(
        ("--rtol",),
        {
            "metavar": "SHARE",
            "type": flag_values.tolerance,
            "help": "numbers that differ by this share of the larger one count as equal; default: 1e-6",
        },
    ),
    Argument(
        ("--atol",),
        {
            "metavar": "X",
            "type": flag_values.tolerance,
            "help": "numbers that differ by this much count as equal; default: 0",
        },
    ),
    Argument(
        ("--ignore",),
        {
            "metavar": "GLOB",
            "action": "append",
            "help": "leave out files such as '*/timing.json'. Repeatable",
        },
    ),
)
AGAINST = Argument(
    ("--against",), {"metavar": "RUN", "help": "compare with this run instead of the original"}
)
ONCE = Argument(("--once",), {"action": "store_true", "help": "keep a verdict that is there already"})
DRY_RUN = Argument(("--dry-run",), {"action": "store_true", "help": "check only; queue nothing"})
FILES = Argument(
    ("files",),
    {
        "metavar": "FILE",
        "nargs": "*",
        "help": "configs by path, or by name or glob in ConfigSources; default: all of ConfigSources",
    },
)
SUBMITTED = Argument(
    ("files",), {"metavar": "FILE", "nargs": "+", "help": "configs by path; - reads one from standard input"}
)
NAME = Argument(
    ("--name",),
    {"metavar": "RUN", "help": "name of the run: its output folder, instead of the config's outputDir"},
)
SET_IN_CONFIG = Argument(
    ("--set",),
    {
        "metavar": "KEY=VALUE",
        "type": flag_values.assignment,
        "action": "append",
        "dest": "parameters",
        "default": [],
        "help": "use this value in the config; TASK.KEY=VALUE for one task. Repeatable",
    },
)
AND_WAIT = Argument(
    ("--wait",), {"action": "store_true", "help": "wait until the runs end; exit as `wait` does"}
)
TIMEOUT = Argument(
    ("--timeout",),
    {
        "metavar": "TIME",
        "type": flag_values.duration,
        "help": "wait no longer than this, such as 4h; then exit with 124",
    },
)
AWAITED = Argument(
    ("runs",),
    {
        "metavar": "RUN",
        "nargs": "*",
        "help": "runs, globs, sweeps or searches; default: all runs that have not ended",
    },
)
SUBJECT = Argument(
    ("subject",),
    {
        "metavar": "CONFIG|RUN",
        "help": "a config by path, name or glob, or a run, whose finished tasks are kept",
    },
)
DEBUGGED = Argument(
    ("--task",),
    {
        "metavar": "TASK",
        "help": "run this task; default: the first, of a run the first that has not finished",
    },
)
FROM_RUN = Argument(
    ("--from-run",),
    {
        "metavar": "RUN",
        "help": "take results and files of earlier tasks from this run instead of running them",
    },
)
WORKERS = Argument(
    ("--workers",),
    {
        "metavar": "N",
        "type": flag_values.workers,
        "default": 1,
        "help": "number of workers; auto: one for each CPU that may be used, or fewer if runs ask for more"
        " CPUs or memory; default: 1",
    },
)
UNTIL_IDLE = Argument(
    ("--until-idle",), {"action": "store_true", "help": "exit if no run is waiting or running"}
)
FOR = Argument(
    ("--for",),
    {
        "metavar": "TIME",
        "type": flag_values.duration,
        "dest": "seconds",
        "help": "exit within this time, such as 4h",
    },
)
JOB_SOURCE = Argument(
    ("--from",),
    {
        "metavar": "SOURCE",
        "dest": "source",
        "help": "take jobs from azure-queue, or azure-queue:NAME, of QUEUECONNECTIONSTRING (extra [azure])",
    },
)
SELECT = (
    Argument(
        ("--status",),
        {
            "metavar": "WORDS",
            "type": flag_values.statuses,
            "dest": "statuses",
            "default": frozenset(),
            "help": "only runs with one of these states or outcomes, such as failed,interrupted or timeout",
        },
    ),
    Argument(
        ("--filter",),
        {
            "metavar": "EXPRESSION",
            "type": flag_values.expression,
            "help": "only runs for which this is true, such as 'model == \"Conv\" and epochs > 3'",
        },
    ),
)
"""Select runs besides by name; `output.selected` makes a `Selection` of them."""
SOME = Argument(
    ("runs",),
    {"metavar": "RUN", "nargs": "*", "help": "names or globs such as '2026_*'; default: all"},
)
RESOURCES = Argument(
    ("--resources",),
    {
        "metavar": "NAME=N,…",
        "type": flag_values.resources,
        "help": "resources for runs here, such as gpus=2,licence=4",
    },
)
POOL = Argument(
    ("--pool",),
    {
        "metavar": "NAME",
        "type": flag_values.name,
        "help": "share the resources with workers of the same pool on this machine",
    },
)
FOLLOW = Argument(("-f", "--follow"), {"action": "store_true", "help": "follow the log until the run ends"})
LINES = Argument(
    ("-n", "--lines"), {"metavar": "N", "type": flag_values.count, "help": "only the last N lines"}
)
TASK = Argument(("--task",), {"metavar": "TASK", "help": "only what this task wrote"})
TRY = Argument(
    ("--try",),
    {
        "metavar": "N",
        "type": flag_values.positive,
        "dest": "number",
        "help": "only the N-th try of a task, from 1",
    },
)
ERRORS = Argument(
    ("--errors",),
    {"action": "store_true", "help": "only errors and tracebacks; without --try, of each task's last try"},
)
ALL = Argument(("--all",), {"action": "store_true", "help": "show every run"})
WHY = Argument(("--why",), {"action": "store_true", "help": "say of each run why it does not run"})
WATCH = Argument(("--watch",), {"action": "store_true", "help": "refresh until Ctrl-C"})

ARRANGE = (
    Argument(
        ("--best",),
        {
            "metavar": "FIGURE",
            "help": "the run with the best value of this figure, by default the highest",
        },
    ),
    Argument(("--lowest",), {"action": "store_true", "help": "take the lowest value as the best"}),
    Argument(("--top",), {"metavar": "N", "type": flag_values.positive, "help": "the first N rows"}),
    Argument(("--sort",), {"metavar": "COLUMN", "help": "sort by this column"}),
    Argument(("--descending",), {"action": "store_true", "help": "sort from high to low"}),
    Argument(
        ("--group-by",),
        {
            "metavar": "COLUMNS",
            "type": flag_values.words,
            "default": (),
            "help": "show mean, std, min and max of each group",
        },
    ),
    Argument(
        ("--columns",),
        {
            "metavar": "COLUMNS",
            "type": flag_values.words,
            "default": (),
            "help": "show only these columns, in this order",
        },
    ),
)
FORMATS = (
    JSON,
    Argument(("--ndjson",), {"action": "store_true", "help": "print one JSON object per line"}),
    Argument(("--csv",), {"action": "store_true", "help": "print comma-separated values"}),
    Argument(("--md",), {"action": "store_true", "help": "print a Markdown table"}),
    Argument(("--parquet",), {"metavar": "FILE", "help": "write a Parquet file (extra [parquet])"}),
    Argument(
        ("--to",),
        {"metavar": "URL", "help": "save to a database: sqlite:///results.db, or others (extra [database])"},
    ),
    Argument(
        ("--table",),
        {"metavar": "NAME", "default": "results", "help": "table in the database; default: results"},
    ),
)
OF_DEFAULTS = Argument(
    ("--workspace-file",), {"action": "store_true", "help": "print the schema of workspace.yaml"}
)

ONLY_RUNS = Argument(
    ("runs",),
    {
        "metavar": "RUN",
        "nargs": "*",
        "help": "only these completed or failed runs (names or globs), except those that --keep protects",
    },
)
TRASHED = Argument(
    ("runs",),
    {"metavar": "RUN", "nargs": "*", "help": "an output folder, a config name, a trash entry, or a glob"},
)
KEEP = Argument(
    ("--keep",),
    {
        "metavar": "WHICH",
        "type": flag_values.keep,
        "action": "append",
        "help": "last:N, best:N:METRIC (the highest), lowest:N:METRIC; METRIC is task.key or key of a"
        " task's result. Repeatable; all other completed runs can be deleted",
    },
)
OLDER_THAN = Argument(
    ("--older-than",),
    {
        "metavar": "TIME",
        "type": flag_values.age,
        "help": "only runs that ended longer ago than this, such as 30d; 0: all",
    },
)
EMPTY_TRASH = Argument(
    ("--empty-trash",),
    {"action": "store_true", "help": "delete only trash, for good, that is older than --older-than"},
)
YES = Argument(("--yes",), {"action": "store_true", "help": "delete instead of only listing"})
CONFIG = Argument(
    ("config",), {"metavar": "FILE", "nargs": "?", "help": "show the recipients of this config"}
)
TEST = Argument(
    ("--test",), {"action": "store_true", "help": "send each recipient a test message and show the result"}
)
DELIVER = Argument(("--deliver",), {"action": "store_true", "help": "deliver the outbox now"})
SHELL = Argument(("shell",), {"choices": ("bash", "zsh", "fish"), "help": "the shell"})
