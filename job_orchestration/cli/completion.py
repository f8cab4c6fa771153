"""Completion of command lines: commands, flags, statuses, runs and configs.

``job-orchestration completion SHELL`` prints a short script. On each Tab the script calls
``job-orchestration __complete SHELL …``, which prints records that end in NUL: first a hint (``files`` and
``folders`` let the shell complete paths, ``words`` does not), then a line for each match. For bash a match is
quoted here, since bash inserts it as it is; zsh and fish quote what they insert. A match may be any name that
a file can have, so no script evaluates one.

A Tab must never print a message: whatever goes wrong, there are no matches.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from job_orchestration.cli import command_table
from job_orchestration.cli.output import VARIABLE

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable, Iterator, Sequence

    from job_orchestration.cli.command_table import Command
    from job_orchestration.cli.flags import Argument

WORDS, FILES, FOLDERS = "words", "files", "folders"
_PATHS: Final = {"FILE": FILES, "PATH": FILES, "DIR": FOLDERS, "DIR|ZIP": FILES}
"""Which paths the shell completes, by the metavar of an argument."""
_OPTIONS: Final = {"--workspace": "DIR", "--action": "COMMAND", "-action": "COMMAND"}
"""Options of every command that take a value, with its metavar."""


class Match(NamedTuple):
    """One way to go on."""

    word: str
    about: str = ""


class Found(NamedTuple):
    """What completes a word."""

    matches: Sequence[Match] = ()
    hint: str = WORDS
    start: str = ""
    """Of a list or of ``--option=value``: what stands before the part that is completed."""


def completion(arguments: Namespace) -> int:
    """Print the script for a shell."""
    from importlib import resources

    script = resources.files("job_orchestration.cli").joinpath(f"completion.{arguments.shell}")
    sys.stdout.write(script.read_text(encoding="utf-8"))
    return 0


def answer(words: Sequence[str]) -> int:
    """Print what completes a command line.

    Args:
        words: the shell; then, of bash, the line up to the cursor and the characters at which it breaks
            words; of the others the words before the cursor, and the one at the cursor.
    """
    from job_orchestration.cli import bash_words

    shell, *rest = words
    if shell == "bash":
        line = bash_words.Line.parse(rest[0], rest[1] if len(rest) > 1 else "")
        found = complete(line.before, line.word)
        records = [found.hint, *(line.insert(f"{found.start}{match.word}") for match in found.matches)]
    else:
        word = rest[-1] if rest else ""
        if shell == "fish":
            word = bash_words.Line.parse(word, "").word  # fish gives it with its quotes
        found = complete(rest[:-1], word)
        between = "\0" if shell == "zsh" else "\t"
        can = [m for m in found.matches if shell == "zsh" or not {"\t", "\n"} & set(m.word)]
        records = [found.hint, *(f"{found.start}{match.word}{between}{match.about}" for match in can)]
    data = "".join(f"{record}\0" for record in records)
    sys.stdout.buffer.write(data.encode("utf-8", "surrogateescape"))
    return 0


def complete(before: Sequence[str], word: str) -> Found:
    """Return what completes a word.

    Args:
        before: the words before it, the program first, without quotes.
        word: the word up to the cursor.
    """
    words = list(before[1:])
    workspace = _value_of("--workspace", words) or os.environ.get(VARIABLE, "")
    command, rest = _command_of(words)
    option, equals, value = word.partition("=")
    metavar = _value_wanted(command, option) if equals else None
    if metavar:
        return _fitting(_values(metavar, command, workspace, value), value, f"{option}=")
    metavar = _value_wanted(command, words[-1]) if words else None
    if metavar:
        return _fitting(_values(metavar, command, workspace, word), word)
    if word.startswith("-"):
        return _fitting(_options(command), word)
    if command is None or words[0] == "help":
        return _fitting(_values("COMMAND", None, "", word), word)
    metavar = _positional(command, rest)
    return _fitting(_values(metavar, command, workspace, word), word) if metavar else Found()


def _fitting(found: Found, word: str, start: str = "") -> Found:
    listed = word[: word.rindex(",") + 1] if found.start == "," and "," in word else ""
    wanted = word[len(listed) :]
    matches = [match for match in found.matches if match.word.startswith(wanted)]
    return Found(matches, found.hint if not matches else WORDS, f"{start}{listed}")


# -- the command line -------------------------------------------------------------------------------------


def _value_of(option: str, words: Sequence[str]) -> str | None:
    """Return the value of an option, if it is given; ``~`` and variables may stand in it."""
    for at, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in {option, option[1:]} and (equals or at + 1 < len(words)):
            return os.path.expanduser(os.path.expandvars(value if equals else words[at + 1]))
    return None


def _command_of(words: Sequence[str]) -> tuple[Command | None, list[str]]:
    """Return the command of a line, and the words after it."""
    named = _value_of("--action", words)
    rest = list(words)
    while rest and rest[0].startswith("-"):
        rest = rest[2 if rest[0] in {*_OPTIONS, "-workspace"} else 1 :]
    if named is not None:
        return command_table.find(named), rest
    return (command_table.find(rest[0]), rest[1:]) if rest else (None, [])


def _arguments(command: Command | None) -> Sequence[Argument]:
    return command.arguments if command is not None else ()


def _takes_value(argument: Argument) -> bool:
    return "action" not in argument.options or argument.options["action"] == "append"


def _metavar(argument: Argument) -> str:
    choices = argument.options.get("choices")
    return "|".join(choices) if choices else str(argument.options.get("metavar", ""))


def _value_wanted(command: Command | None, option: str) -> str | None:
    """Return the metavar of an option's value; `None` if it takes none, or is no option."""
    names = {option, f"-{option}"} if option.startswith("-") else set()
    for argument in _arguments(command):
        if names & set(argument.flags) and _takes_value(argument):
            return _metavar(argument) or "VALUE"
    return next((_OPTIONS[name] for name in names if name in _OPTIONS), None)


def _positional(command: Command, words: Sequence[str]) -> str | None:
    """Return the metavar of the argument without an option that comes next; `None` if there is none."""
    given, is_value = 0, False
    for word in words:
        if is_value:
            is_value = False
        elif word.startswith("-"):
            is_value = "=" not in word and _value_wanted(command, word) is not None
        else:
            given += 1
    for argument in command.arguments:
        if argument.flags[0].startswith("-"):
            continue
        if argument.options.get("nargs") in {"*", "+"} or given == 0:
            return _metavar(argument)
        given -= 1
    return None


def _options(command: Command | None) -> Found:
    own = [
        Match(flag, _short(argument.options.get("help", "")))
        for argument in _arguments(command)
        for flag in argument.flags
        if flag.startswith("-")
    ]
    rest = [Match("--workspace", "the workspace"), Match("--help", "list the arguments")]
    if command is None or command.is_long:
        rest.append(Match("--no-pager", "do not show long output in a pager"))
    return Found([*own, *rest, *([] if command else [Match("--version", "print the version")])])


def _short(text: str) -> str:
    return text.partition(";")[0].replace("\n", " ")


# -- the values -------------------------------------------------------------------------------------------


def _values(metavar: str, command: Command | None, workspace: str, word: str) -> Found:
    if metavar == "COMMAND":
        return Found([Match(c.name, _short(c.summary)) for c in command_table.COMMANDS])
    if metavar == "WORDS":
        from job_orchestration.commands.selection import STATUSES

        return Found([Match(status) for status in STATUSES], start=",")
    if metavar.islower():
        return Found([Match(choice) for choice in metavar.split("|")])
    kinds = set(metavar.split("|"))
    found: list[Match] = []
    if kinds & {"RUN", "CONFIG", "FILE", "GOOD", "BAD"}:
        found = _names(kinds, command, workspace, word)
    return Found(found, next((_PATHS[kind] for kind in (metavar, *kinds) if kind in _PATHS), WORDS))


def _names(kinds: set[str], command: Command | None, workspace: str, word: str) -> list[Match]:
    from job_orchestration.cli import completed_names
    from job_orchestration.diagnostics.errors import OrchestrationError
    from job_orchestration.workspace import layout

    try:
        place = layout.locate(workspace or layout.enclosing(os.getcwd()))
    except (OrchestrationError, OSError):
        return []
    name = command.name if command is not None else ""
    found: Iterator[tuple[str, str]] | Iterable[tuple[str, str]] = ()
    if "RUN" in kinds or kinds & {"GOOD", "BAD"}:
        found = completed_names.runs(place, name, word)
    elif name in {"ready", "check", "notify"}:
        found = completed_names.dropped(place)
    if "CONFIG" in kinds:
        found = [*found, *completed_names.dropped(place)]
    return [Match(*one) for one in found]


def quietly(words: Sequence[str]) -> int:
    """Print what completes a command line; print nothing if anything goes wrong."""
    result: Any = 1
    try:
        result = answer(words)
        sys.stdout.flush()
    except Exception:  # noqa: BLE001  # a message would be printed into the line that is being written
        return 1
    return int(result)
