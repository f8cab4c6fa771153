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
"""

from __future__ import annotations

import errno
import functools
import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING, Final, NamedTuple

from job_orchestration.diagnostics.errors import CodeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LIMIT: Final = 30.0
"""Seconds that a command may take; one that copies or hashes a whole tree gets more.

Git waits without end for a FIFO in the place of a file that it reads."""

_HARDENED: Final = ("--no-pager", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
ENVIRONMENT: Final = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
}
"""Variables that every git command gets."""
_KEPT = re.compile(
    r"GIT_(CONFIG_(GLOBAL|SYSTEM|NOSYSTEM|COUNT|KEY_\d+|VALUE_\d+)|EXEC_PATH"
    r"|CEILING_DIRECTORIES|DISCOVERY_ACROSS_FILESYSTEM)"
)

_FULL: Final = {os.strerror(number): number for number in (errno.ENOSPC, errno.EDQUOT)}
"""What git says when it cannot write; reading a repository never leads to it."""
_PROGRAM: Final = "git"
_SUBMODULE: Final = "160000"
"""Mode of a tree's entry that is a commit of another repository."""


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
        """The most informative line of git's output."""
        lines = [line.strip() for line in self.said.splitlines() if line.strip()]
        messages = [line for line in lines if line.startswith(("fatal: ", "error: "))]
        return (messages or lines or ["it gave no reason"])[0].removeprefix("fatal: ").removeprefix("error: ")


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
    into: int | None = None,
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
        into: the descriptor of a file that gets what it writes; then nothing is returned.

    Raises:
        GitError: when it fails or takes too long.
        CodeError: when there is no git.
        OSError: when the disk is full.
    """
    process = _start(
        [_PROGRAM, *_HARDENED, "-C", folder, command, *arguments],
        {**_own_environment(), **ENVIRONMENT, **_configuration(settings), **(environment or {})},
        hold,
        into,
    )
    try:
        output, said = process.communicate(feed, limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with the helpers that it started, which hold its pipes
        process.communicate()
        from job_orchestration.diagnostics import durations

        raise GitError(command, f"it did not finish in {durations.text_of(limit)}") from None
    if process.returncode not in accept:
        complaint = said.decode("utf-8", "backslashreplace")
        for reason, number in _FULL.items():
            if reason in complaint:
                raise OSError(number, reason)  # git is well: it is the disk that it writes to
        raise GitError(command, complaint)
    return output or b""


def _start(
    command: list[str], environment: dict[str, str], hold: int | None, into: int | None
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if into is None else into,
            stderr=subprocess.PIPE,
            env=environment,
            pass_fds=() if hold is None else (hold,),
            start_new_session=True,
        )
    except FileNotFoundError:
        raise CodeError("git was not found", "Install git and make sure that it is on PATH") from None


class TreeEntry(NamedTuple):
    """A file, link or submodule of a commit."""

    path: str
    mode: str
    name: str
    """Of its object; of a submodule the commit."""

    @property
    def is_submodule(self) -> bool:
        """Whether it is the commit of a submodule."""
        return self.mode == _SUBMODULE


def tree_entries(
    commit: str, *, folder: str, environment: Mapping[str, str] | None = None
) -> list[TreeEntry]:
    """Return the entries of a commit, at any depth, sorted by path as git sorts them.

    Raises:
        CodeError: as `run` raises it.
        OSError: when the disk is full.
    """
    words = ("-r", "-z", "--full-tree", "--end-of-options", commit)
    found = []
    for record in os.fsdecode(run("ls-tree", *words, folder=folder, environment=environment)).split("\0")[
        :-1
    ]:
        about, _, path = record.partition("\t")
        mode, _, name = about.split(" ")
        found.append(TreeEntry(path, mode, name))
    return found


@functools.cache
def version() -> str | None:
    """The version of git, ``None`` when there is no git."""
    try:
        return os.fsdecode(run("version", folder="/")).removeprefix("git version ").strip()
    except CodeError:
        return None


def _own_environment() -> dict[str, str]:
    """The variables of this process, without those that would point git elsewhere; in English."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith("GIT_") or _KEPT.fullmatch(n)}
    return {**kept, "LANGUAGE": "C", "LC_ALL": "C"}


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
