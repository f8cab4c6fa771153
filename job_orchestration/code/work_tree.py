"""Inspect the work tree around the tasks, read-only: no ref, index or file changes.

Clean means what a person means by it: the files that git tracks are as the commit has them, and there is no
other file that git does not ignore. What editors and systems leave behind (`workspace.ignored_names`) and the
workspace never count. If a person has git assume a file unchanged, or to leave it out of a sparse checkout,
git's answer counts.

Submodules are work trees of their own and are looked at in the same way, each by a hardened command: git
itself would start others there that obey the submodule's configuration. A submodule that is not checked out
is a problem.

Filters. An attribute ``filter=NAME`` lets a configured command rewrite files between the commit and the work
tree. Those commands are emptied before the status is taken. A filter that only cleans (to strip the results
from notebooks, say) may then show a touched file as modified until the person's own ``git status`` has seen
it. A filter that also smudges (encryption, say) means that the commit does not hold what the work tree
shows, so a snapshot of it would not be what was checked: such a tree is refused. Files of Git LFS are known
by their pointers (`code.large_files`); one that is not on this machine is a problem.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from job_orchestration.code import git, special_files
from job_orchestration.code.large_files import LargeFile, has_content, large_files
from job_orchestration.diagnostics.errors import CodeError
from job_orchestration.diagnostics.problems import named
from job_orchestration.workspace.ignored_names import IGNORED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class WorkTree:
    """A git work tree as it was when it was looked at."""

    top: Path
    """Absolute, without symbolic links."""
    folder: str
    """The folder of the tasks relative to `top`; ``.`` for the top itself."""
    head: str
    """Forty hex digits, or 64 of a repository with SHA-256 objects."""
    origin: str | None
    """The address of the remote ``origin``, without user names and passwords."""
    branch: str | None
    dirty: tuple[str, ...]
    """Paths relative to `top` that are modified, deleted, staged, or neither tracked nor ignored; sorted.

    Those inside submodules are among them."""
    submodules: tuple[WorkTree, ...] = ()
    """The submodules of the commit; `folder` is where each lies in this work tree."""
    large: tuple[LargeFile, ...] = ()
    """The files that the commit keeps in Git LFS, those in submodules aside."""

    def all_large(self) -> dict[str, LargeFile]:
        """The files in Git LFS, those in submodules among them, by their paths in this work tree."""
        found = {file.path: file for file in self.large}
        for module in self.submodules:
            found |= {f"{module.folder}/{path}": file for path, file in module.all_large().items()}
        return found

    @property
    def has_moved_submodules(self) -> bool:
        """Whether a submodule, or one of its own, is at another commit than its parent names."""
        return any(m.folder in self.own_dirty or m.has_moved_submodules for m in self.submodules)

    @property
    def own_dirty(self) -> tuple[str, ...]:
        """The dirty paths that are not inside a submodule; a submodule at another commit is one of them."""
        inside = tuple(f"{submodule.folder}/" for submodule in self.submodules)
        return tuple(path for path in self.dirty if not path.startswith(inside)) if inside else self.dirty


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
"""Never dirty, even if tracked: a run writes it."""
_LFS: Final = "lfs"
"""The name of Git LFS among filters."""
_SUBMODULE: Final = "160000"
"""The mode of a submodule in a tree: a commit of another repository."""
_PATH_SHOWN: Final = 300


def inspect_work_tree(path_to_tasks: Path, ignore: Path, ignored_files: Sequence[str] = ()) -> WorkTree:
    """Look at the work tree around a folder.

    Args:
        path_to_tasks: the folder of ``Tasks.py``.
        ignore: the workspace; where it lies inside the work tree it never counts as dirt. When the tasks lie
            inside the workspace, only the workspace's own folders do not count.
        ignored_files: patterns of further untracked files that do not count, as in a ``.gitignore``.

    Raises:
        CodeError: when there is no such folder, it is in no work tree with a commit, git does not trust it,
            or the commit does not hold what the work tree shows (a filter, an absent submodule).
    """
    path = _resolved(path_to_tasks)
    special_files.refuse_around(path)
    top = _top_of(path)
    patterns = (*IGNORED, *ignored_files)
    return _inspect(top, os.path.relpath(path, top), path, ignore.resolve(), patterns)


def _inspect(top: Path, folder: str, path: Path, workspace: Path, patterns: Sequence[str]) -> WorkTree:
    origin, filters = _configuration(top)
    excluded = _excluded(top, path, workspace)
    head, branch, changed = _status(top, filters, excluded)
    entries = _entries(top, head)
    large = _large_files(top, {name for name, smudges in filters.items() if smudges}, entries)
    contents = {file.path: file for file in large}
    changed = [
        path for path in changed if path not in contents or not has_content(top / path, contents[path])
    ]
    submodules = tuple(
        _submodule(top, name, path, workspace, patterns)
        for name, (mode, _) in entries.items()
        if mode == _SUBMODULE
    )
    inside = [f"{module.folder}/{path}" for module in submodules for path in module.dirty]
    dirty = sorted({*changed, *_untracked(top, excluded, patterns), *inside})
    return WorkTree(top, folder, head, origin, branch, tuple(dirty), submodules, large)


def at_commit(tree: WorkTree, commit: str) -> WorkTree:
    """Return a work tree as it would be, clean, at a commit of its repository; nothing is checked out.

    Raises:
        CodeError: when a submodule or the content of a large file of that commit is not on this machine.
    """
    entries = _entries(tree.top, commit)
    there = {module.folder: module for module in tree.submodules}
    modules = []
    for name, (mode, wanted) in entries.items():
        if mode == _SUBMODULE:
            try:
                modules.append(at_commit(there[name], wanted))
            except (KeyError, git.GitError):
                raise CodeError(
                    f"The submodule {name} of {tree.top} does not have the commit {wanted[:12]}",
                    f"Bring it: git -C {tree.top} fetch --recurse-submodules",
                ) from None
    names = [name for name, (mode, _) in entries.items() if mode != _SUBMODULE]
    filter_of = _filters_of(tree.top, "".join(f"{name}\0" for name in names).encode(errors="surrogateescape"))
    blobs = {name: entries[name][1] for name in names if filter_of.get(name) == _LFS}
    large = large_files(tree.top, blobs) if blobs else ()
    return replace(tree, head=commit, dirty=(), submodules=tuple(modules), large=large)


def _submodule(top: Path, name: str, path: Path, workspace: Path, patterns: Sequence[str]) -> WorkTree:
    folder = top / name
    if not os.path.lexists(folder / ".git") or folder.resolve() != folder or _top_of(folder) != folder:
        listed = (top / ".gitmodules").is_file()
        bring = f"git -C {top} submodule update --init --recursive"
        raise CodeError(
            f"The submodule {name} of {top} is not checked out",
            f"Bring it: {bring}" if listed else f"Clone it there, or take it out: git rm --cached {name}",
        )
    return _inspect(folder, name, path, workspace, patterns)


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
            f"{owned[1]} belongs to another user, and git reads it only if you trust it",
            f"If you trust it, run: git config --global --add safe.directory '{owned[1]}'",
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
    user, at, address = parts.netloc.rpartition("@")
    if not (parts.scheme and at):
        return url
    keep = "" if parts.scheme in {"http", "https", "ftp", "ftps"} else user.partition(":")[0] + at
    return parts._replace(netloc=keep + address).geturl()


# -- what differs -----------------------------------------------------------------------------------------


def _excluded(top: Path, path: Path, workspace: Path) -> list[str]:
    """Pathspecs of what never counts as dirt."""
    if not workspace.is_relative_to(top):
        return [*_BYTECODE]
    names = _WORKSPACE_NAMES if path.is_relative_to(workspace) else (".",)
    inside = (os.path.relpath(workspace / name, top) for name in names)
    return [*_BYTECODE, *(f":(top,exclude,literal){name}" for name in inside)]


def _status(top: Path, filters: Iterable[str], excluded: list[str]) -> tuple[str, str | None, list[str]]:
    """The commit, the branch and the tracked paths that are dirty, in one command."""
    emptied = [
        (f"filter.{name}.{variable}", value)
        for name in filters
        for variable, value in (("clean", ""), ("smudge", ""), ("process", ""), ("required", "false"))
    ]
    said = git.run(
        *("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=no", "--no-renames"),
        *("--ignore-submodules=dirty", "--", ":(top)", *excluded),
        folder=str(top),
        settings=emptied,
    )
    records = os.fsdecode(said).split("\0")[:-1]
    headers = dict(record[2:].split(" ", 1) for record in records if record.startswith("# "))
    head, branch = headers["branch.oid"], headers["branch.head"]
    if head == "(initial)":
        raise CodeError(f"{top} has no commit yet", "Commit the tasks there: git add . && git commit")
    return head, None if branch == "(detached)" else branch, list(_paths(records))


def _untracked(top: Path, excluded: list[str], patterns: Iterable[str]) -> list[str]:
    """The paths that git neither tracks nor ignores; a repository inside the work tree ends in a slash."""
    said = git.run(
        *("ls-files", "-z", "--others", "--exclude-standard"),
        *(f"--exclude={pattern}" for pattern in patterns),
        *("--", ":(top)", *excluded),
        folder=str(top),
    )
    return os.fsdecode(said).split("\0")[:-1]


def listed(top: Path) -> list[str]:
    """Return the paths that git tracks in a work tree or would add, relative to its top.

    Raises:
        CodeError: git cannot read it.
    """
    words = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    patterns = (f"--exclude={pattern}" for pattern in IGNORED)
    try:
        said = git.run(*words, *patterns, "--", ":(top)", *_BYTECODE, folder=str(top))
    except (git.GitError, OSError) as error:
        raise CodeError(f"The work tree {top} cannot be read: {error}") from error
    return list(dict.fromkeys(os.fsdecode(said).split("\0")[:-1]))


def _entries(top: Path, commit: str) -> dict[str, tuple[str, str]]:
    """The mode and the object of each path in a commit."""
    return {path: (mode, name) for path, mode, name in git.tree_entries(commit, folder=str(top))}


def _paths(records: Iterable[str]) -> Iterator[str]:
    """The path of each entry; what kind of entry it is says how many fields precede it."""
    fields = {"1": 8, "u": 10}
    for record in records:
        if record[0] in fields:
            yield record.split(" ", fields[record[0]])[-1]


def _large_files(
    top: Path, smudging: set[str], entries: Mapping[str, tuple[str, str]]
) -> tuple[LargeFile, ...]:
    """The files in Git LFS.

    Raises:
        CodeError: when another filter rewrites files, or a content is not on this machine.
    """
    filtered = git.run(
        *("ls-files", "-z", "--", ":(top)", ":(top,exclude,attr:!filter)", ":(top,exclude,attr:-filter)"),
        folder=str(top),
    )
    if not filtered:
        return ()
    filter_of = _filters_of(top, filtered)
    rewritten = sorted({path for path, name in filter_of.items() if name in smudging - {_LFS}})
    if rewritten:
        raise CodeError(
            f"A filter command of git rewrites {named(rewritten)} of {top}, so the commit does not hold what "
            "the work tree shows",
            "Keep such files outside of the code's repository, or take `filter=` out of .gitattributes",
        )
    blobs = {path: entries[path][1] for path, name in filter_of.items() if name == _LFS and path in entries}
    return large_files(top, blobs) if blobs else ()


def _filters_of(top: Path, paths: bytes) -> dict[str, str]:
    """The attribute ``filter`` of some paths, each ended by a null."""
    said = git.run("check-attr", "-z", "--stdin", "filter", folder=str(top), feed=paths)
    fields = os.fsdecode(said).split("\0")[:-1]
    return dict(zip(fields[0::3], fields[2::3], strict=True))
