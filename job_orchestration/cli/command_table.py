"""Table of all commands, with summary, arguments and aliases.

A command names its function as text, so that ``--help`` imports no command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from job_orchestration.cli import comparison_flags, exchange_flags, flags, function_flags, gene_set_flags

if TYPE_CHECKING:
    from job_orchestration.cli.flags import Argument


class Command(NamedTuple):
    """One command of the command line."""

    name: str
    summary: str
    example: str
    """Its arguments in an example, without the program's name."""
    function: str
    """``module:function``; it gets the parsed arguments and returns the exit code."""
    arguments: tuple[Argument, ...] = ()
    aliases: tuple[str, ...] = ()
    """Names in the first release."""
    alias_function: str = ""
    """The function that these names call, if it is another one."""
    reads: bool = False
    """Whether it changes and locks nothing, with any arguments; only doctor probes the disk."""
    is_long: bool = False
    """Whether its output may be longer than a terminal, which then shows it in a pager."""


_DAILY: Final = "job_orchestration.cli.commands"
_HOUSEKEEPING: Final = "job_orchestration.cli.housekeeping"
_SUBMISSION: Final = "job_orchestration.cli.submission"
_STEERING: Final = "job_orchestration.cli.steering"

COMMANDS: Final = (
    Command("init", "create or repair a workspace", "init --workspace ~/experiments", f"{_DAILY}:init"),
    Command(
        "ready",
        "check, pin and queue the configs in ConfigSources, or files from elsewhere",
        "ready ~/drafts/a.yaml",
        f"{_DAILY}:ready",
        (flags.FILES, flags.NO_WAIT, flags.JSON),
        ("readyConfigs",),
    ),
    Command(
        "submit",
        "check, pin and queue config files from anywhere, and print the names of their runs",
        "submit ~/drafts/a.yaml --set epochs=20 --wait",
        f"{_SUBMISSION}:submit",
        (
            flags.SUBMITTED,
            flags.NAME,
            flags.SET_IN_CONFIG,
            flags.AND_WAIT,
            flags.TIMEOUT,
            flags.NO_WAIT,
            flags.JSON,
        ),
    ),
    Command(
        "run",
        "queue or run one plain function, or map it over a list of arguments",
        "run science.rates.half_life 0.1 unit=min --here",
        "job_orchestration.cli.functions:run",
        (
            *(function_flags.FUNCTION, function_flags.CALLED_WITH),
            *(function_flags.ARGS_LIST, function_flags.PARALLEL, function_flags.UNCOMMITTED),
            *(flags.HERE, flags.NAME, flags.SET_IN_CONFIG, flags.AND_WAIT, flags.TIMEOUT, flags.NO_WAIT),
            *(flags.JSON, function_flags.DEV, *function_flags.OF_PLATFORM),
        ),
    ),
    Command(
        "selftest",
        "queue or run a function that returns its arguments, to try the workspace and its workers",
        "selftest 2 a b hello=world --here",
        "job_orchestration.cli.functions:selftest",
        (
            *(function_flags.NUMBER, function_flags.CALLED_WITH, flags.HERE, flags.NAME, flags.AND_WAIT),
            *(flags.TIMEOUT, flags.NO_WAIT, flags.JSON, function_flags.DEV),
        ),
    ),
    Command(
        "config",
        "show the defaults of the workspace, or set some in workspace.yaml",
        "config maxAttempts=5 graceTime=2m",
        "job_orchestration.cli.functions:config",
        (function_flags.DEFAULTS, function_flags.FORCE, flags.JSON),
    ),
    Command(
        "wait",
        "wait until runs end, and print each end as it comes",
        "wait 2026_11_20/bbs --timeout 4h",
        f"{_SUBMISSION}:wait",
        (flags.AWAITED, *flags.SELECT, flags.TIMEOUT, flags.JSON),
        reads=True,
    ),
    Command(
        "check",
        "check configs without queueing them",
        "check ConfigSources/a.yaml",
        f"{_DAILY}:check",
        (flags.FILES, flags.NO_WAIT, flags.JSON),
    ),
    Command(
        "debug",
        "run one task here, with the code as it is, for breakpoint(); nothing is queued",
        "debug ConfigSources/a.yaml --task train",
        "job_orchestration.cli.debug:debug",
        (flags.SUBJECT, flags.DEBUGGED, flags.FROM_RUN),
    ),
    Command(
        "work",
        "run one or several workers",
        "work --workers 2 --until-idle",
        f"{_DAILY}:work",
        (flags.WORKERS, flags.UNTIL_IDLE, flags.FOR, flags.RESOURCES, flags.POOL, flags.JOB_SOURCE),
        ("runWorker", "newWorker"),
    ),
    Command(
        "watch",
        "watch ConfigSources and queue new configs",
        "watch",
        f"{_DAILY}:watch",
        (flags.NO_WAIT, flags.JSON),
    ),
    Command(
        "up",
        "watch ConfigSources and run workers, with a live view",
        "up --workers 2",
        f"{_DAILY}:up",
        (flags.WORKERS, flags.UNTIL_IDLE, flags.RESOURCES, flags.COLOR),
    ),
    Command(
        "status",
        "list runs with their state and time left",
        "status --status failed,running",
        f"{_DAILY}:status",
        (flags.SOME, *flags.SELECT, flags.WHY, flags.JSON, flags.ALL, flags.WATCH, flags.COLOR),
        reads=True,
    ),
    Command(
        "progressReport",
        "print `status` in the first release's format",
        "progressReport",
        f"{_DAILY}:progress_report",
        (flags.JSON, flags.ALL),
        reads=True,
    ),
    Command(
        "logs",
        "print a run's log or a part of it; -f follows it",
        "logs -f -n 20 a.yaml",
        f"{_DAILY}:logs",
        (flags.RUN, flags.FOLLOW, flags.LINES, flags.TASK, flags.TRY, flags.ERRORS, flags.JSON),
        reads=True,
        is_long=True,
    ),
    Command(
        "show",
        "show one run: state, tasks, provenance, files; or a sweep or search",
        "show 2026_11_20/bbs",
        f"{_DAILY}:show",
        (flags.RUN, flags.JSON),
        reads=True,
        is_long=True,
    ),
    Command(
        "results",
        "show parameters and results of runs as a table, or save them to a file or database",
        "results --best accuracy --top 5",
        "job_orchestration.cli.results:results",
        (flags.SOME, *flags.SELECT, *flags.ARRANGE, *flags.FORMATS),
        reads=True,
        is_long=True,
    ),
    Command(
        "diff",
        "show what differs between runs: parameters, code, packages, results",
        "diff 2026_11_20/a 2026_11_20/b",
        "job_orchestration.cli.comparison:diff",
        (
            comparison_flags.COMPARED,
            comparison_flags.STAT,
            comparison_flags.FULL,
            comparison_flags.HTML,
            flags.JSON,
        ),
        reads=True,
        is_long=True,
    ),
    Command(
        "bisect",
        "find the commit that moved a metric, by rerunning commits between two runs",
        "bisect 2026_11_20/a 2026_11_27/a --metric loss",
        "job_orchestration.cli.bisection:bisect",
        (*comparison_flags.BISECTED, flags.JSON),
    ),
    Command(
        "code",
        "make a git clone of the code that a run executed, or print one of its files",
        "code 2026_11_20/bbs",
        "job_orchestration.cli.code_checkout:code",
        (flags.RUN, comparison_flags.CLONE, comparison_flags.FILE, flags.JSON),
    ),
    Command(
        "retry",
        "queue failed runs again; they resume from their checkpoint, also in mended code",
        "retry a.yaml --commit HEAD",
        f"{_STEERING}:retry",
        (
            flags.RUNS,
            *flags.SELECT,
            flags.FROM,
            flags.FRESH,
            flags.COMMIT,
            flags.SET,
            flags.NO_WAIT,
            flags.JSON,
        ),
        ("rereadyFailed",),
        f"{_STEERING}:retry_today",
    ),
    Command(
        "rerun",
        "run ended runs once more, as new runs in their recorded code, config and seed",
        "rerun 2026_11_20/bbs --commit HEAD --set epochs=5",
        "job_orchestration.cli.rerun:rerun",
        (
            flags.WHICH,
            *flags.SELECT,
            flags.RERUN_COMMIT,
            flags.RERUN_SET,
            flags.RERUN_FROM,
            flags.ENVIRONMENT,
            flags.STRICT,
            flags.HERE,
            flags.VERIFY,
            *flags.TOLERANCE,
            flags.DRY_RUN,
            flags.NO_WAIT,
            flags.JSON,
        ),
    ),
    Command(
        "verify",
        "compare the results and files of reruns with those of their originals",
        "verify 2026_11_20/bbs-rerun --rtol 1e-9",
        "job_orchestration.cli.rerun:verify",
        (
            *(flags.WHICH, *flags.SELECT, flags.AGAINST, *flags.TOLERANCE, flags.ONCE),
            *(flags.NO_WAIT, flags.JSON),
        ),
    ),
    Command(
        "cancel",
        "stop runs now; retry resumes them",
        "cancel a.yaml 2026_11_20/bbs",
        f"{_STEERING}:cancel",
        (flags.WHICH, *flags.SELECT, flags.NO_WAIT, flags.JSON),
    ),
    Command(
        "hold",
        "hold waiting runs: workers do not start them",
        "hold --filter 'epochs > 100'",
        f"{_STEERING}:hold",
        (flags.WHICH, *flags.SELECT, flags.JSON),
    ),
    Command(
        "release",
        "release held runs: workers may start them",
        "release a.yaml",
        f"{_STEERING}:release",
        (flags.WHICH, *flags.SELECT, flags.JSON),
    ),
    Command(
        "export",
        "write ended runs with code and outputs to a folder or ZIP that runs without this program",
        "export 2026_11_20/bbs --to bbs.zip",
        "job_orchestration.cli.exchange:export",
        (flags.WHICH, *flags.SELECT, exchange_flags.TO, exchange_flags.RO_CRATE, flags.JSON),
    ),
    Command(
        "import",
        "take the runs of an export into this workspace",
        "import bbs.zip",
        "job_orchestration.cli.exchange:import_",
        (exchange_flags.PATH, flags.NO_WAIT, flags.JSON),
    ),
    Command(
        "gc",
        "list what can be deleted; --yes deletes it and moves runs to the trash",
        "gc --keep best:5:accuracy --older-than 30d",
        f"{_HOUSEKEEPING}:gc",
        (
            flags.ONLY_RUNS,
            *flags.SELECT,
            flags.KEEP,
            flags.OLDER_THAN,
            flags.EMPTY_TRASH,
            flags.YES,
            flags.NO_WAIT,
            flags.JSON,
        ),
    ),
    Command(
        "restore",
        "move runs out of the trash; without a name, list the trash",
        "restore 2026_11_20/bbs",
        f"{_HOUSEKEEPING}:restore",
        (flags.TRASHED, flags.NO_WAIT, flags.JSON),
    ),
    Command(
        "doctor",
        "check the workspace and the machine; paste the output into a bug report",
        "doctor",
        f"{_HOUSEKEEPING}:doctor",
        (flags.JSON,),
        reads=True,
    ),
    Command(
        "schema",
        "print the JSON Schema of configs, for an editor",
        "schema --workspace-file",
        f"{_HOUSEKEEPING}:schema",
        (flags.OF_DEFAULTS, flags.JSON),
        reads=True,
    ),
    Command(
        "notify",
        "show notification recipients and the outbox; --test sends a message",
        "notify --test",
        "job_orchestration.cli.notifications:notify",
        (flags.CONFIG, flags.TEST, flags.DELIVER, flags.JSON),
    ),
    Command(
        "geneplexus",
        "check gene lists, download GenePlexus's data, or summarize a batch of gene sets",
        "geneplexus check genes.txt --data /data/geneplexus",
        "job_orchestration.cli.gene_sets:geneplexus",
        (
            *(gene_set_flags.WHAT, gene_set_flags.OPERANDS, gene_set_flags.DATA, gene_set_flags.SPECIES),
            *(gene_set_flags.NETWORK, gene_set_flags.FROM, gene_set_flags.ONLY_TABLES),
            *(flags.NO_WAIT, flags.JSON),
        ),
    ),
    Command(
        "serve",
        "answer HTTP requests: submit, watch and steer jobs from other programs",
        "serve --port 8000",
        "job_orchestration.cli.serving:serve",
        (flags.BIND, flags.PORT, flags.NAMES, flags.FUNCTIONS),
    ),
    Command(
        "completion",
        "print the script that completes commands, flags and runs in a shell",
        "completion bash",
        "job_orchestration.cli.completion:completion",
        (flags.SHELL,),
        reads=True,
    ),
)

GROUPS: Final = {
    "set up": ("init", "config", "selftest", "doctor", "schema", "completion"),
    "queue experiments": ("check", "ready", "submit", "run", "debug"),
    "run them": ("up", "work", "watch"),
    "look at runs": ("status", "logs", "show", "results", "wait", "progressReport"),
    "change runs": ("retry", "cancel", "hold", "release"),
    "compare and repeat": ("diff", "code", "rerun", "verify", "bisect"),
    "keep, move and delete": ("export", "import", "gc", "restore"),
    "tell people and programs": ("notify", "serve"),
    "work with gene sets": ("geneplexus",),
}
"""What the commands are for, in the order of the help; each command is in one group."""

COMPLETE: Final = "__complete"
"""The word with which that script asks for matches; no command of its own."""

NOTHING: Final = "na"
"""Name in the first release's menu for "no action": the folders are made and that is all."""


SYNONYMS: Final = {
    **dict.fromkeys(("start",), "up"),
    **dict.fromkeys(("list", "ls", "ps"), "status"),
    **dict.fromkeys(("stop", "kill", "abort"), "cancel"),
    **dict.fromkeys(("rm", "delete", "remove", "clean"), "gc"),
    **dict.fromkeys(("add", "queue", "enqueue"), "submit"),
    **dict.fromkeys(("log", "tail"), "logs"),
    **dict.fromkeys(("info", "describe"), "show"),
    **dict.fromkeys(("compare", "changes"), "diff"),
}
"""Words of other tools, and the commands that a message suggests for them."""


def find(name: str) -> Command | None:
    """Return the command of this name, in upper or lower case."""
    wanted = name.lower()
    for command in COMMANDS:
        if wanted == command.name.lower():
            return command
        if wanted in {alias.lower() for alias in command.aliases}:
            return command._replace(function=command.alias_function or command.function)
    return None


def names() -> list[str]:
    """Return all names that `find` accepts."""
    return [name for command in COMMANDS for name in (command.name, *command.aliases)]
