"""From the words of a command line to an exit code.

``job-orchestration VERB …``, ``python -m job_orchestration -action NAME …`` and ``--action NAME`` are the
same, and every long option may be written with one dash, as the first Job Orchestration had it. Whatever
goes wrong is one sentence of what and one of what to do on stderr; a traceback would be a fault of ours.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Final, NoReturn

from job_orchestration.cli import table
from job_orchestration.model.errors import OrchestrationError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_orchestration.cli.table import Action

PROGRAM: Final = "job-orchestration"
VARIABLE: Final = "JOB_ORCHESTRATION_WORKSPACE"
INTERRUPTED: Final = 130
_TROUBLE: Final = 4
_ACTION: Final = "--action"


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are ours."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}", f"See what it takes with: {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: its words; those of this process when not given.

    Returns:
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if os.name != "posix":
        return _complain("job_orchestration needs Linux or macOS. On Windows, run it in WSL.", _TROUBLE)
    code = 0
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except OrchestrationError as error:
        return _complain(str(error), error.exit_code)
    except BrokenPipeError:  # whoever read what we print has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return _complain(_in_words(error), _TROUBLE)
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _complain(sentence: str, code: int) -> int:
    from job_orchestration.model.problem import escaped

    print(escaped(sentence), file=sys.stderr)
    return code


def _in_words(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return (
        f"The workspace cannot be used: {where}{error.strerror or error}. "
        "Look whether its disk is there, has space, and lets you write."
    )


def _run(words: list[str]) -> int:
    words, name = _without_action(_with_two_dashes(words))
    workspace = None
    if name is None:
        given = _general().parse_args(words)
        if given.version:
            print(f"{PROGRAM} {_version()}")
            return 0
        name, *words = given.rest or [""]
        workspace = given.workspace
        if given.help and not name:
            print(_overview())
            return 0
        words += ["--help"] if given.help else []
    action = table.ACTIONS[0] if name.lower() in {"", table.NOTHING} else table.find(name)
    if action is None:
        raise UsageError(f"There is no action {name}", _guess(name))
    return _call(action, words, workspace)


def _call(action: Action, words: list[str], workspace: str | None) -> int:
    arguments = _of(action).parse_intermixed_args(words)
    own: str | None = getattr(arguments, "workspace", None)
    arguments.workspace = own or workspace or os.environ.get(VARIABLE, "")
    module, _, function = action.function.partition(":")
    import importlib

    code: int = getattr(importlib.import_module(module), function)(arguments)
    return code


# -- the words --------------------------------------------------------------------------------------------


def _long_options() -> set[str]:
    flags = {flag for action in table.ACTIONS for argument in action.arguments for flag in argument.flags}
    return {flag for flag in flags if flag.startswith("--")} | {
        _ACTION,
        "--workspace",
        "--help",
        "--version",
    }


def _with_two_dashes(words: list[str]) -> list[str]:
    """The words with every long option spelt as ours are; what follows ``--`` stays as it is."""
    known = _long_options()
    end = words.index("--") if "--" in words else len(words)
    return [f"-{w}" if f"-{w.partition('=')[0]}" in known else w for w in words[:end]] + words[end:]


def _without_action(words: list[str]) -> tuple[list[str], str | None]:
    """The words without ``--action NAME``, and the name."""
    for at, word in enumerate(words):
        option, equals, value = word.partition("=")
        if word == "--":
            break
        if option != _ACTION:
            continue
        if equals:
            return words[:at] + words[at + 1 :], value
        if at + 1 == len(words):
            raise UsageError(f"{_ACTION} names no action", f"Choose from: {', '.join(table.names())}")
        return words[:at] + words[at + 2 :], words[at + 1]
    return words, None


def _version() -> str:
    from job_orchestration import __version__

    return __version__


def _guess(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name.lower(), {n.lower(): n for n in table.names()}, n=1)
    found = table.find(close[0]) if close else None
    return f"Perhaps {found.name} is meant" if found else f"See what there is with: {PROGRAM} --help"


# -- the parsers ------------------------------------------------------------------------------------------


def _general() -> argparse.ArgumentParser:
    """What may stand before the verb, and everything else."""
    parser = _Parser(prog=PROGRAM, add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--workspace", metavar="DIR")
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    return parser


def _of(action: Action) -> argparse.ArgumentParser:
    also = f" In the first Job Orchestration: {', '.join(action.aliases)}." if action.aliases else ""
    parser = _Parser(
        prog=f"{PROGRAM} {action.name}",
        description=f"{action.summary[0].upper()}{action.summary[1:]}.{also}",
        epilog=f"Example: {PROGRAM} {action.example}",
        allow_abbrev=False,
    )
    parser.add_argument("--workspace", metavar="DIR", help=f"the workspace; otherwise {VARIABLE} names it")
    for argument in action.arguments:
        parser.add_argument(*argument.flags, **argument.options)
    return parser


def _overview() -> str:
    """The help of the program as a whole."""
    width = max(len(action.name) for action in table.ACTIONS)
    verbs = "\n".join(f"  {action.name:{width}}  {action.summary}" for action in table.ACTIONS)
    return f"""\
usage: {PROGRAM} [--workspace DIR] VERB ...

Experiments from a folder of YAML files: checked, pinned to a commit, checkpointed after every task.

verbs:
{verbs}

  --workspace DIR  the workspace; otherwise {VARIABLE} names it
  --version        the version of this program

`{PROGRAM} VERB --help` says what a verb takes. Without a verb the workspace is made or mended.
Exit codes: 0 fine, 1 runs that this command ended have failed, 2 usage, 3 configs were refused,
4 trouble with the workspace, 130 interrupted."""
