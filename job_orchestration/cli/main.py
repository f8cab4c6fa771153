"""Entry point: parse the command line, run one command, return its exit code.

``job-orchestration COMMAND …``, ``python -m job_orchestration -action NAME …`` and ``--action NAME`` are
equivalent. Every long option also works with one dash, as in the first release. An error prints one
sentence with the cause and one with the remedy on stderr; a traceback is a bug.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NoReturn

from job_orchestration.cli import command_table
from job_orchestration.cli.output import VARIABLE, ExitCode
from job_orchestration.diagnostics.errors import OrchestrationError, UsageError
from job_orchestration.processes import standard_streams

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence

    from job_orchestration.cli.command_table import Command

PROGRAM: Final = "job-orchestration"
_COMMAND_OPTION: Final = "--action"


class _Parser(argparse.ArgumentParser):
    """An argument parser that raises `UsageError`."""

    def error(self, message: str) -> NoReturn:
        todo = f"Show its arguments with: {self.prog} --help"
        raise UsageError(f"{self.prog}: {message}", self._meant(message) or todo)

    def _meant(self, message: str) -> str:
        """Return a question that suggests options, if the message is about unknown ones."""
        _, unknown, words = message.partition("unrecognized arguments: ")
        if not unknown:
            return ""
        from job_orchestration.diagnostics import suggestions

        options = [word.partition("=")[0] for word in words.split() if word.startswith("-")]
        near = [n for word in options for n in suggestions.nearest_names(word, self._option_string_actions)]
        return suggestions.did_you_mean(near) if near else ""


def main(argv: Sequence[str] | None = None, *, as_module: bool = False) -> int:
    """Run one command.

    Args:
        argv: Command-line arguments; default: those of this process.
        as_module: whether this is ``python -m job_orchestration``. Without a command it then makes the
            folders of the workspace in the environment, as in the first release; otherwise it prints help.

    Returns:
        The exit code.
    """
    standard_streams.open_missing()
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == [command_table.COMPLETE]:
        from job_orchestration.cli import completion

        return completion.quietly(words[1:])
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if os.name != "posix":
        return _complain(
            "job_orchestration needs Linux or macOS. On Windows, run it in WSL.", ExitCode.WORKSPACE_ERROR
        )
    code = 0
    try:
        code = _run(words, as_module=as_module)
        sys.stdout.flush()
    except OrchestrationError as error:
        return _complain(str(error), error.exit_code)
    except BrokenPipeError:  # the reader of stdout has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return _complain(_in_words(error), ExitCode.WORKSPACE_ERROR)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return code


def _complain(sentence: str, code: int) -> int:
    from job_orchestration.diagnostics.problems import escaped

    with suppress(OSError):  # the terminal may be gone
        print(escaped(sentence), file=sys.stderr)
    return code


def _in_words(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    todo = "Check that its disk is mounted, has space, and is writable"
    if isinstance(error, PermissionError):
        todo = "Ask its owner for the right to do this, or use a workspace of your own"
    return f"The workspace cannot be used: {where}{error.strerror or error}. {todo}."


def _run(words: list[str], *, as_module: bool) -> int:
    words, name = _without_command_option(_with_two_dashes(words))
    workspace, may_page = None, True
    if name is None:
        given = _general().parse_args(words)
        if given.version:
            print(f"{PROGRAM} {_version()}")
            return 0
        name, *words = given.rest or [""]
        workspace = given.workspace
        may_page = not given.no_pager
        if name.lower() == "help":
            name, words, given.help = words[0] if words else "", words[1:], True
        makes_folders = as_module and bool(workspace or os.environ.get(VARIABLE))
        if not name and (given.help or not makes_folders):
            print(_overview())
            return 0
        words += ["--help"] if given.help else []
    command = (
        command_table.COMMANDS[0] if name.lower() in {"", command_table.NOTHING} else command_table.find(name)
    )
    if command is None:
        raise UsageError(f'Unknown command "{name}"', _guess(name))
    return _call(command, words, workspace, may_page=may_page)


def _call(command: Command, words: list[str], workspace: str | None, *, may_page: bool) -> int:
    arguments = _of(command).parse_intermixed_args(words)
    own: str | None = getattr(arguments, "workspace", None)
    arguments.workspace = own or workspace or os.environ.get(VARIABLE, "") or _enclosing(command)
    module, _, function = command.function.partition(":")
    import importlib

    if getattr(arguments, "no_wait", False):
        from job_orchestration.workspace import locks

        locks.may_wait = False

    call: Callable[[Namespace], int] = getattr(importlib.import_module(module), function)
    if may_page and command.is_long and sys.stdout.isatty() and not arguments.no_pager:
        from job_orchestration.cli import pager

        return pager.call_with_pager(call, arguments)
    return call(arguments)


def _enclosing(command: Command) -> str:
    """Return the workspace that the current folder lies in; empty if there is none."""
    from job_orchestration.workspace import layout

    return "" if command.name == "init" else layout.enclosing(os.getcwd())


# -- the words --------------------------------------------------------------------------------------------


def _long_options() -> set[str]:
    flags = {
        flag
        for command in command_table.COMMANDS
        for argument in command.arguments
        for flag in argument.flags
    }
    return {flag for flag in flags if flag.startswith("--")} | {
        _COMMAND_OPTION,
        "--workspace",
        "--no-pager",
        "--help",
        "--version",
    }


def _with_two_dashes(words: list[str]) -> list[str]:
    """Write known long options with two dashes; leave everything after ``--`` unchanged."""
    known = _long_options()
    end = words.index("--") if "--" in words else len(words)
    return [f"-{w}" if f"-{w.partition('=')[0]}" in known else w for w in words[:end]] + words[end:]


def _without_command_option(words: list[str]) -> tuple[list[str], str | None]:
    """Split ``--action NAME`` from the words; return the other words and the name."""
    for at, word in enumerate(words):
        option, equals, value = word.partition("=")
        if word == "--":
            break
        if option != _COMMAND_OPTION:
            continue
        if equals:
            return words[:at] + words[at + 1 :], value
        if at + 1 == len(words):
            raise UsageError(
                f"{_COMMAND_OPTION} names no command", f"Choose from: {', '.join(command_table.names())}"
            )
        return words[:at] + words[at + 2 :], words[at + 1]
    return words, None


def _version() -> str:
    from job_orchestration import __version__

    return __version__


def _guess(name: str) -> str:
    from job_orchestration.diagnostics import suggestions

    if name.lower() in command_table.SYNONYMS:
        return suggestions.did_you_mean([command_table.SYNONYMS[name.lower()]])
    found = [
        c for n in suggestions.nearest_names(name, command_table.names()) if (c := command_table.find(n))
    ]
    if not found:
        return f"List commands with: {PROGRAM} --help"
    return suggestions.did_you_mean([command.name for command in found])


# -- the parsers ------------------------------------------------------------------------------------------


def _general() -> argparse.ArgumentParser:
    """Parse the options before the command, and collect the rest."""
    parser = _Parser(prog=PROGRAM, add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--workspace", metavar="DIR")
    parser.add_argument("--no-pager", action="store_true")
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    return parser


def _of(command: Command) -> argparse.ArgumentParser:
    also = f" Name in the first release: {', '.join(command.aliases)}." if command.aliases else ""
    parser = _Parser(
        prog=f"{PROGRAM} {command.name}",
        description=f"{command.summary[0].upper()}{command.summary[1:]}.{also}",
        epilog=f"Example: {PROGRAM} {command.example}",
        allow_abbrev=False,
    )
    parser.add_argument("--workspace", metavar="DIR", help=f"the workspace; default: ${VARIABLE}")
    if command.is_long:
        parser.add_argument(
            "--no-pager", action="store_true", help="do not show long output in $PAGER on a terminal"
        )
    for argument in command.arguments:
        parser.add_argument(*argument.flags, **argument.options)
    return parser


def _overview() -> str:
    """Return the help of the whole program."""
    summaries = {command.name: command.summary for command in command_table.COMMANDS}
    width = max(map(len, summaries))
    groups = "\n\n".join(
        "\n".join([f"{title}:", *(f"  {name:{width}}  {summaries[name]}" for name in names)])
        for title, names in command_table.GROUPS.items()
    )
    return f"""\
usage: {PROGRAM} [--workspace DIR] [--no-pager] COMMAND ...

Run experiments from a folder of YAML files: checked, pinned to a commit, checkpointed after every task.

{groups}

  --workspace DIR  the workspace; default: ${VARIABLE}
  --no-pager       do not show long output in a pager
  --version        print the version

`{PROGRAM} COMMAND --help` lists the arguments of a command.
The documentation lies in docs/ of the source; `init` puts examples into a workspace.
Exit codes: 0 success, 1 runs of this command failed, 2 usage error, 3 configs or runs were
refused, 4 workspace error, 5 a lock is held and --no-wait was given, 124 --timeout is over,
130 interrupted."""
