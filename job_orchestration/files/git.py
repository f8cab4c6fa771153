"""The one place that runs git, in a way that lets a repository decide nothing.

A repository brings its own configuration, and configuration names commands: a file system monitor, hooks,
pagers, aliases, remote helpers, filters. The tasks' repository may come from anybody, and pinning it must
not execute it. So every command here runs

- with ``core.fsmonitor`` and hooks off, no pager, no prompts, no optional locks (no index is refreshed);
- without the ``GIT_*`` variables of our own environment, which a hook or a shell may have set and which would
  point git elsewhere; only those that say where a *person's* configuration lies are kept, because
  ``safe.directory`` is their word on whom to trust;
- with replacement objects off: a commit is what its name says;
- with no transport (the store of code allows itself ``file``), so that a partial clone fetches nothing;
- with a time limit, and in English.

Filters have no switch; `worktree` empties those it finds and `code` overrides the attributes that ask for
them. What is left: git itself parses the repository's files, and a git with a hole there is a hole here.

GitPython is imported when the first command runs; it takes as long as ten commands do.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
from typing import TYPE_CHECKING, Final

from job_orchestration.model.errors import CodeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LIMIT: Final = 120.0
"""Seconds that a command may take; one that copies or hashes a whole tree gets more."""

_HARDENED: Final = ("--no-pager", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
_ENVIRONMENT: Final = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
}
_KEPT = re.compile(
    r"GIT_(CONFIG_(GLOBAL|SYSTEM|NOSYSTEM|COUNT|KEY_\d+|VALUE_\d+)|EXEC_PATH"
    r"|CEILING_DIRECTORIES|DISCOVERY_ACROSS_FILESYSTEM)"
)

_FULL: Final = {os.strerror(number): number for number in (errno.ENOSPC, errno.EDQUOT)}
"""What git says when it cannot write; reading a repository never leads to it."""
_NOT_FOUND: Final = 127
"""What ``env`` returns for a program that is not there."""


class GitError(CodeError):
    """A git command failed.

    Attributes:
        said: everything that git wrote to its standard error.
    """

    def __init__(self, command: str, said: str) -> None:
        self.said = said
        super().__init__(
            f"git {command} failed: {self.reason}", "Mend what git complains about and try again"
        )

    @property
    def reason(self) -> str:
        """The one line of what git said that tells most."""
        lines = [line.strip() for line in self.said.splitlines() if line.strip()]
        told = [line for line in lines if line.startswith(("fatal: ", "error: "))]
        return (told or lines or ["it gave no reason"])[0].removeprefix("fatal: ").removeprefix("error: ")


def run(
    command: str,
    *arguments: str,
    folder: str,
    environment: Mapping[str, str] | None = None,
    settings: Iterable[tuple[str, str]] = (),
    feed: bytes = b"",
    limit: float = LIMIT,
    hold: int | None = None,
    accept: tuple[int, ...] = (0,),
) -> bytes:
    """Run one git command and return what it wrote.

    Args:
        command: the git command, as in ``status``.
        arguments: its arguments.
        folder: where it runs.
        environment: variables over the hardened ones.
        settings: configuration for this command, over every file's; names may hold any character.
        feed: what it reads from its standard input.
        limit: seconds after which it is killed.
        hold: a descriptor that git and its children inherit: a lock on it ends with the last of them.
        accept: exit codes that are no failure.

    Raises:
        GitError: when it fails or takes too long.
        CodeError: when there is no git.
        OSError: when the disk is full.
    """
    missing = CodeError("git was not found", "Install git and make sure that it is on PATH")
    try:
        from git import Git
        from git.exc import GitCommandNotFound
    except ImportError:  # GitPython looks for git while it is imported
        raise missing from None
    variables = {**_ENVIRONMENT, **_configuration(settings), **(environment or {})}
    with tempfile.TemporaryFile() as standard_input:
        standard_input.write(feed)
        standard_input.seek(0)
        try:
            status, output, said = Git().execute(
                [*_without_variables(), _program(), *_HARDENED, "-C", folder, command, *arguments],
                istream=standard_input,
                env=variables,
                kill_after_timeout=limit,
                with_extended_output=True,
                with_exceptions=False,
                stdout_as_string=False,
                strip_newline_in_stdout=False,
                pass_fds=() if hold is None else (hold,),
            )
        except GitCommandNotFound:
            raise missing from None
    if said.startswith("Timeout: "):
        raise GitError(command, f"it did not finish in {limit:g} seconds")
    if status == _NOT_FOUND:
        raise missing
    if status not in accept:
        for reason, number in _FULL.items():
            if reason in said:
                raise OSError(number, reason)  # git is well: it is the disk that it writes to
        raise GitError(command, said)
    assert isinstance(output, bytes)
    return output


def version() -> str | None:
    """The version of git, ``None`` when there is no git."""
    try:
        return os.fsdecode(run("version", folder="/")).removeprefix("git version ").strip()
    except CodeError:
        return None


def _program() -> str:
    from git import Git

    return Git.GIT_PYTHON_GIT_EXECUTABLE or "git"


def _without_variables() -> list[str]:
    """A command prefix that takes variables away, which GitPython can only add."""
    unwanted = [name for name in os.environ if name.startswith("GIT_") and not _KEPT.fullmatch(name)]
    return ["env", *(part for name in unwanted for part in ("-u", name))] if unwanted else []


def _configuration(settings: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Settings as variables, after those there are already; ``-c`` would cut a name at its first ``=``."""
    given = os.environ.get("GIT_CONFIG_COUNT", "")
    first = int(given) if given.isdecimal() else 0
    variables = {}
    count = first
    for count, (name, value) in enumerate(settings, first + 1):
        variables[f"GIT_CONFIG_KEY_{count - 1}"] = name
        variables[f"GIT_CONFIG_VALUE_{count - 1}"] = value
    return {**variables, "GIT_CONFIG_COUNT": str(count)} if count > first else {}
