"""What the work tree around the tasks is at this moment. Looking reads only: no ref, index or file changes.

Clean means what a person means by it: the files that git tracks are as the commit has them, and there is no
other file that git was not told to ignore. Bytecode and the workspace never count. Where a person told git to
assume a file unchanged, or to leave it out of a sparse checkout, git's word is taken.

Filters. An attribute ``filter=NAME`` lets a configured command rewrite files between the commit and the work
tree. Those commands are emptied before the status is taken. A filter that only cleans (to strip the results
from notebooks, say) may then show a touched file as modified until the person's own ``git status`` has seen
it. A filter that also smudges (Git LFS, encryption) means that the commit does not hold what the work tree
shows, so a snapshot of it would not be what was checked: such a tree is refused.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from job_orchestration.files import git
from job_orchestration.model.errors import CodeError
from job_orchestration.model.problem import named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True)
class WorkTree:
    """A git work tree as it was when it was looked at."""

    top: Path
    """Absolute, without symbolic links."""
    folder: str
    """The folder of the tasks relative to `top`; ``.`` for the top itself."""
    head: str
    """Forty hex digits."""
    origin: str | None
    """The address of the remote ``origin``, without user names and passwords."""
    branch: str | None
    dirty: tuple[str, ...]
    """Paths relative to `top` that are modified, deleted, staged, or neither tracked nor ignored; sorted."""


_WORKSPACE_NAMES: Final = (
    "ConfigSources",
    "ConfigsToRun",
    "Running",
    "Completed",
    "ConfigsCompleted",
    "Failed",
    "ConfigsFailed",
    "Output",
    "Misc",
    "workspace.yaml",
)
"""What belongs to a workspace that has the tasks' code lying inside it."""

_BYTECODE: Final = (":(top,exclude,glob)**/__pycache__/**", ":(top,exclude,glob)**/*.pyc")
_PATH_SHOWN: Final = 300


def look(path_to_tasks: Path, ignore: Path) -> WorkTree:
    """Look at the work tree around a folder.

    Args:
        path_to_tasks: the folder of ``Tasks.py``.
        ignore: the workspace; where it lies inside the work tree it never counts as dirt. When the tasks lie
            inside the workspace, only the workspace's own folders do not count.

    Raises:
        CodeError: when there is no such folder, it is in no work tree with a commit, git does not trust it,
            or the commit does not hold what the work tree shows (Git LFS and the like).
    """
    path = _resolved(path_to_tasks)
    top = _top_of(path)
    origin, filters = _configuration(top)
    head, branch, dirty = _status(top, filters, _excluded(top, path, ignore.resolve()))
    _refuse_smudged(top, {name for name, smudges in filters.items() if smudges})
    return WorkTree(top, os.path.relpath(path, top), head, origin, branch, dirty)


# -- where it is ------------------------------------------------------------------------------------------


def _resolved(path_to_tasks: Path) -> Path:
    try:
        path = path_to_tasks.resolve()
        if path.is_dir():
            return path
        state = "is not a folder" if path.exists() else "does not exist"
    except (OSError, RuntimeError) as error:  # too long, not ours to see, a loop of links
        reason = error.strerror if isinstance(error, OSError) else "its links lead in a circle"
        path, state = path_to_tasks, f"cannot be looked at: {reason}"
    shown = str(path) if len(str(path)) <= _PATH_SHOWN else f"{str(path)[:_PATH_SHOWN]}…"
    raise CodeError(f"{shown} {state}", "Let pathToTasks name the folder of your Tasks.py")


def _top_of(path: Path) -> Path:
    try:
        said = git.run("rev-parse", "--show-toplevel", folder=str(path))
    except git.GitError as error:
        raise _in_words(error, path) from None
    top = Path(os.fsdecode(said.removesuffix(b"\n")))
    if not path.is_relative_to(top):
        raise CodeError(
            f"{path} is not in the work tree {top} that its repository names",
            "Take core.worktree out of the repository's configuration",
        )
    return top


def _in_words(error: git.GitError, path: Path) -> CodeError:
    if "not a git repository" in error.said:
        return CodeError(
            f"{path} is not in a git work tree",
            "Run `git init` there and commit the tasks, or correct pathToTasks",
        )
    if "must be run in a work tree" in error.said:
        return CodeError(
            f"{path} is in a bare repository or in a .git folder, where no files are checked out",
            "Clone the repository and let pathToTasks name a folder of the clone",
        )
    owned = re.search(r"(?:dubious ownership|unsafe repository).*?'(.+?)'", error.said, re.DOTALL)
    if owned:
        return CodeError(
            f"{owned[1]} belongs to somebody else, and git reads it only when told to",
            f"When you trust it, run: git config --global --add safe.directory '{owned[1]}'",
        )
    return CodeError(f"git cannot read the repository around {path}: {error.reason}", error.todo)


# -- how it is configured ---------------------------------------------------------------------------------


def _configuration(top: Path) -> tuple[str | None, dict[str, bool]]:
    """The address of ``origin``, and of each configured filter whether it changes files on their way out."""
    wanted = r"^(remote\.origin\.url|filter\..*)$"
    nothing_found = 1
    said = git.run("config", "-z", "--get-regexp", wanted, folder=str(top), accept=(0, nothing_found))
    origin: str | None = None
    filters: dict[str, bool] = {}
    for record in os.fsdecode(said).split("\0")[:-1]:
        name, _, value = record.partition("\n")
        if name == "remote.origin.url":
            origin = origin or without_credentials(value)
        elif name.count(".") > 1:
            driver, _, variable = name.removeprefix("filter.").rpartition(".")
            smudges = variable in {"smudge", "process"} and value not in {"", "cat"}
            filters[driver] = filters.get(driver, False) or smudges
    return origin, filters


def without_credentials(url: str) -> str:
    """An address without the user name and password that the web kind may carry, nor the password of any."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.rpartition("@")[2]
    user, at, host = parts.netloc.rpartition("@")
    if not (parts.scheme and at):
        return url
    keep = "" if parts.scheme in {"http", "https", "ftp", "ftps"} else user.partition(":")[0] + at
    return parts._replace(netloc=keep + host).geturl()


# -- what differs -----------------------------------------------------------------------------------------


def _excluded(top: Path, path: Path, workspace: Path) -> list[str]:
    """Pathspecs of what never counts as dirt."""
    if not workspace.is_relative_to(top):
        return [*_BYTECODE]
    names = _WORKSPACE_NAMES if path.is_relative_to(workspace) else (".",)
    inside = (os.path.relpath(workspace / name, top) for name in names)
    return [*_BYTECODE, *(f":(top,exclude,literal){name}" for name in inside)]


def _status(
    top: Path, filters: Iterable[str], excluded: list[str]
) -> tuple[str, str | None, tuple[str, ...]]:
    """The commit, the branch and the dirty paths, in one command."""
    emptied = [
        (f"filter.{name}.{variable}", value)
        for name in filters
        for variable, value in (("clean", ""), ("smudge", ""), ("process", ""), ("required", "false"))
    ]
    said = git.run(
        *("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--no-renames"),
        *("--ignore-submodules=dirty", "--", ":(top)", *excluded),
        folder=str(top),
        settings=emptied,
    )
    records = os.fsdecode(said).split("\0")[:-1]
    headers = dict(record[2:].split(" ", 1) for record in records if record.startswith("# "))
    head, branch = headers["branch.oid"], headers["branch.head"]
    if head == "(initial)":
        raise CodeError(f"{top} has no commit yet", "Commit the tasks there: git add . && git commit")
    return head, None if branch == "(detached)" else branch, tuple(sorted(set(_paths(records))))


def _paths(records: Iterable[str]) -> Iterator[str]:
    """The path of each entry; what kind of entry it is says how many fields precede it."""
    fields = {"1": 8, "u": 10, "?": 1}
    for record in records:
        if record[0] in fields:
            yield record.split(" ", fields[record[0]])[-1]


def _refuse_smudged(top: Path, smudging: set[str]) -> None:
    filtered = git.run(
        *("ls-files", "-z", "--", ":(top)", ":(top,exclude,attr:!filter)", ":(top,exclude,attr:-filter)"),
        folder=str(top),
    )
    if not filtered:
        return
    said = git.run("check-attr", "-z", "--stdin", "filter", folder=str(top), feed=filtered)
    fields = os.fsdecode(said).split("\0")[:-1]
    filter_of = dict(zip(fields[0::3], fields[2::3], strict=True))
    large = sorted({path for path, name in filter_of.items() if name == "lfs"})
    if large:
        raise CodeError(
            f"Git LFS keeps {named(large)} of {top} outside the commit, so the commit alone cannot bring the "
            "data back",
            "Keep data outside of the code's repository and let the config say where; "
            "`git lfs migrate export` takes it out of LFS",
        )
    rewritten = sorted({path for path, name in filter_of.items() if name in smudging})
    if rewritten:
        raise CodeError(
            f"A filter command of git rewrites {named(rewritten)} of {top}, so the commit does not hold what "
            "the work tree shows",
            "Keep such files outside of the code's repository, or take `filter=` out of .gitattributes",
        )
