"""A run's token: its config file in one of the config folders, and the claim on it.

Where a token lies and what it is called *is* the run's place in its life, and every move is one rename. A
claim is a `flock` on the token's inode: it survives the rename, the kernel lets go of it when the last
process that shares the descriptor dies, and nobody ever has to decide whether a lock is stale. In order:

1. open and lock the token, without waiting; make sure that the name still means this inode
2. read it, and see that it is byte for byte what `ready` froze as ``config.yaml``
3. create the attempt's journal file exclusively; its number is the attempt's, and the fence
4. rename the token to ``Running/STEM~gNUMBER~WORKER.yaml``, and look at the inode once more

A copy of a token would be a second lock on the same run; so nobody claims a run that another token in
Running names. That is looked at before the rename and after it, so that of two who claim two copies at the
same moment at least one sees the other.

A holder whose token has another name than the one it gave it has lost the run.
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from job_orchestration.files import durable, journal
from job_orchestration.model.errors import ClaimLostError, OrchestrationError
from job_orchestration.model.event import Claimed, Readied
from job_orchestration.model.problem import Problem
from job_orchestration.rules import lifecycle
from job_orchestration.rules.naming import TokenName, numbered

if TYPE_CHECKING:
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.event import Entry, Event
    from job_orchestration.model.run import RunState

HEADER: Final = "job_orchestration run: "
"""How the first comment line of a token begins; the run's name follows."""

_LIMIT: Final = 8 << 20
"""More bytes than any token that `ready` writes."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token as a scan of its folder found it."""

    folder: str
    filename: str
    name: TokenName
    mtime_ns: int

    @property
    def path(self) -> str:
        """Where it lay when it was looked at."""
        return os.path.join(self.folder, self.filename)


class UnfitTokenError(OrchestrationError):
    """A file in a token's place that `ready` did not put there as it is. It never runs."""

    def problem(self, filename: str) -> Problem:
        """The finding to be written beside the file."""
        return Problem(filename, self.what, self.todo)


def scan(folder: str) -> list[Token]:
    """The tokens in a folder, oldest first: the order in which `ready` queued them."""
    found: list[Token] = []
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return found
    with entries:
        for entry in entries:
            name = TokenName.parse(entry.name)
            if name is None:
                continue
            with suppress(FileNotFoundError):  # taken by somebody else in the meantime
                found.append(Token(folder, entry.name, name, entry.stat(follow_symlinks=False).st_mtime_ns))
    found.sort(key=lambda t: (t.mtime_ns, len(t.filename), t.filename))
    return found


def run_named_in(data: bytes) -> str | None:
    """The run that a token's first line names; `None` for a file that `ready` did not write."""
    start = f"# {HEADER}".encode()
    if not data.startswith(start):
        return None
    with suppress(UnicodeDecodeError):
        return data.partition(b"\n")[0][len(start) :].decode("utf-8") or None
    return None


def run_of(path: str) -> str | None:
    """The run that the file at `path` names in its first line, whatever kind of file it is."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            return run_named_in(os.read(descriptor, 4096))
        finally:
            os.close(descriptor)
    return None


def is_inside_output(run: str) -> bool:
    """Whether a run's name stays strictly inside ``Output/``, whoever wrote it."""
    parts = run.split("/")
    return bool(run) and not run.startswith("/") and all(p not in {"", ".", ".."} for p in parts)


class Claim:
    """One holder's exclusive right to a run, from the claim to `release`.

    Attributes:
        run: the run's name.
        attempt: the number of this attempt, and the fence.
        descriptor: the locked token; handed on to the processes that work for this attempt.
        journal: the writer of this attempt's journal file.
        state: the fold of the journal as this attempt found it, its own `claimed` included.
    """

    def __init__(
        self,
        descriptor: int,
        path: str,
        *,
        run: str,
        run_folder: str,
        earlier: journal.Journal,
        claimed: Entry,
        writer: journal.Writer,
    ) -> None:
        self.descriptor = descriptor
        self.path = path
        self.run = run
        self.run_folder = run_folder
        self.attempt = journal.attempt_of(writer.path)
        self.journal = writer
        self.earlier = earlier
        self.state = lifecycle.fold({**earlier, self.attempt: [claimed]})

    @property
    def name(self) -> TokenName:
        """What the token is called while this claim lasts."""
        name = TokenName.parse(os.path.basename(self.path))
        assert name is not None
        return name

    def check(self) -> None:
        """Make sure that the run is still ours.

        Raises:
            ClaimLostError: when somebody else moved the token, or the lock's file has gone bad.
        """
        if not still_ours(self.path, self.descriptor):
            raise ClaimLostError(f"Attempt {self.attempt} at {self.run} was taken over by another worker")

    def write(self, event: Event, *, sync: bool = False) -> None:
        """Append an event to the journal; the state follows."""
        self.state = lifecycle.step(self.state, self.journal.write(event, sync=sync))

    def refold(self) -> RunState:
        """The journal as it is now, this attempt's file read again while another process writes to it."""
        return self._fold(journal.read_file(self.run_folder, self.attempt)[0])

    def take_back(self) -> RunState:
        """Become the journal's writer again after the process that was has ended.

        Raises:
            ClaimLostError: when the file was taken away meanwhile.
        """
        return self._fold(self.journal.resume(self.run_folder, self.attempt))

    def _fold(self, own: list[Entry]) -> RunState:
        self.state = lifecycle.fold({**self.earlier, self.attempt: own})
        return self.state

    def move(self, folder: str, name: TokenName) -> str:
        """Move the token to where the run's life goes on or ends; never over another file.

        Returns:
            The path it has now; the stem gets ``-2``, ``-3``, … when the name is taken.

        Raises:
            ClaimLostError: when the token is no longer where this claim put it.
        """
        self.check()
        while True:
            stem = numbered(
                name.stem, lambda s: os.path.lexists(os.path.join(folder, str(replace(name, stem=s))))
            )
            target = os.path.join(folder, str(replace(name, stem=stem)))
            try:
                durable.move_new(self.path, target)
            except FileExistsError:
                continue  # somebody took the name since we looked
            except FileNotFoundError:
                raise ClaimLostError(f"The token of {self.run} was taken away") from None
            self.path = target
            return target

    def release(self) -> None:
        """Let go of the run. `LOCK_UN` frees it for every process that shares the descriptor."""
        with suppress(OSError):
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        os.close(self.descriptor)
        os.close(self.journal.descriptor)


def still_ours(path: str, descriptor: int) -> bool:
    """Whether a token's name still means the inode that is locked: the fence, two system calls cheap."""
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    except OSError:
        return False


def claim(workspace: Workspace, token: Token, worker: str, host: str) -> Claim | None:
    """Try to become the holder of a run.

    Returns:
        The claim, or `None` when somebody else has the run or was quicker.

    Raises:
        UnfitTokenError: the file is not what `ready` queued; it was left as it is.
        OSError: what the disk says; nothing is locked then.
    """
    descriptor = lock(token.path)
    if descriptor is None:
        return None
    writer: journal.Writer | None = None
    try:
        _finish_move(workspace, token, descriptor)
        run, written = inspect(workspace, descriptor)
        folder = workspace.run_folder(run)
        others = _refuse_copy(workspace, run, descriptor)
        writer = _new_attempt(folder, max(token.name.generation, *written))
        attempt = journal.attempt_of(writer.path)
        target = os.path.join(workspace.running, str(TokenName(token.name.stem, attempt, worker)))
        _take(token.path, target, descriptor)
        _refuse_copy(workspace, run, descriptor, others | {os.path.basename(target)})
        durable.sync_folder(workspace.running)
        durable.sync_folder(journal.folder_of(folder))
        for earlier in sorted(written.keys() - {0}):
            journal.keep(folder, earlier)  # what this attempt builds on must not be forgotten before it
        entry = writer.write(Claimed(attempt, worker, host, os.getpid(), lifecycle.counts_of(written)))
        return Claim(
            descriptor, target, run=run, run_folder=folder, earlier=written, claimed=entry, writer=writer
        )
    except BaseException as error:
        os.close(descriptor)  # nobody shares it yet, so closing is letting go
        if writer is not None:
            os.close(writer.descriptor)
        if not isinstance(error, ClaimLostError):
            raise
        return None


def _finish_move(workspace: Workspace, token: Token, descriptor: int) -> None:
    """Leave one name to a token that a crash left with several: the one that is furthest in the run's life.

    A move is a link, which commits it, and then an unlink. And a power cut may bring back the name in
    ConfigsToRun from which a claim renamed the token: btrfs does so until that folder too is synced.
    """
    status = os.fstat(descriptor)
    fresh = os.path.join(workspace.opening, str(TokenName(token.name.stem)))
    if status.st_nlink == 1 or (status.st_nlink == 2 and _is_inode(fresh, status)):  # noqa: PLR2004
        return  # one name, or one in the workspace and the one that `ready` made it by and is taking away

    def names_in(*folders: str) -> list[str]:
        return [t.path for folder in folders for t in scan(folder) if _is_inode(t.path, status)]

    ended = names_in(workspace.completed, workspace.failed)
    waiting = names_in(workspace.to_run)
    waiting.sort(key=lambda path: "~" not in os.path.basename(path))  # one that waits, or is held, is later
    names = [*ended, *waiting, *names_in(workspace.running)]
    for path in names[1:]:
        durable.unlink(path)
        durable.sync_folder(os.path.dirname(path))
    if names[:1] != [token.path]:
        raise ClaimLostError("The token has moved on already")


def _refuse_copy(
    workspace: Workspace, run: str, descriptor: int, seen: frozenset[str] = frozenset()
) -> frozenset[str]:
    """Make sure that Running holds no other token of a run; returns the names that were there."""
    status = os.fstat(descriptor)
    names = frozenset(os.listdir(workspace.running))
    for name in names - seen:
        path = os.path.join(workspace.running, name)
        if not _is_inode(path, status) and run_of(path) == run:
            raise UnfitTokenError(
                f"It is a copy: the run {run} is in Running already, as {name}",
                "Remove this file; to have the run once more, ready it with another outputDir",
            )
    return names


def _is_inode(path: str, status: os.stat_result) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.lstat(path), status)
    return False


def _take(source: str, target: str, descriptor: int) -> None:
    try:
        durable.rename(source, target)
    except FileNotFoundError:
        raise ClaimLostError("Somebody else took the token") from None
    if not still_ours(target, descriptor):
        raise ClaimLostError("Another file had taken the token's name")


def lock(path: str) -> int | None:
    """The locked descriptor of a token, or `None` when it is held or gone.

    Raises:
        UnfitTokenError: no plain file has this name.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnfitTokenError(f"It cannot be opened: {error.strerror}", "Move it away, or mend it") from None
    try:
        _insist_on_plain_file(descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if still_ours(path, descriptor):
            return descriptor
    except BlockingIOError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def is_free(path: str) -> bool:
    """Whether nobody holds the token at a path at this moment; asking takes its lock for an instant."""
    with suppress(UnfitTokenError):
        descriptor = lock(path)
        if descriptor is None:
            return False
        os.close(descriptor)
    return True


def _insist_on_plain_file(descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise UnfitTokenError("It is no plain file", "Move it away")


def inspect(workspace: Workspace, descriptor: int) -> tuple[str, journal.Journal]:
    """Which run a token means, and its journal; the token must be what `ready` froze, byte for byte."""
    import hashlib

    data = os.pread(descriptor, min(os.fstat(descriptor).st_size + 1, _LIMIT), 0)
    run = run_named_in(data)
    if run is None or not is_inside_output(run):
        raise UnfitTokenError(
            "This file was not readied: nothing has checked it or pinned its code",
            "Move it to ConfigSources and run: job-orchestration ready",
        )
    folder = workspace.run_folder(run)
    try:
        frozen = journal.whole(os.path.join(folder, "config.yaml"))
    except FileNotFoundError:
        raise UnfitTokenError(
            f"Its output folder {run} is gone", "Move this file to ConfigSources and ready it anew"
        ) from None
    if frozen != data:
        raise UnfitTokenError(
            "This file was edited after it was readied, so what is in it was never checked",
            f"Put back Output/{run}/config.yaml, or move this file to ConfigSources with another outputDir",
        )
    written = journal.read(folder)
    readied = [entry.event for entry in written.get(0, ())[:1]]
    if not any(isinstance(e, Readied) and e.digest == hashlib.sha256(data).hexdigest() for e in readied):
        raise UnfitTokenError(
            f"The journal of {run} does not belong to this file",
            "Move this file to ConfigSources and ready it anew",
        )
    return run, written


def _new_attempt(run_folder: str, latest: int) -> journal.Writer:
    number = 1 + latest
    while True:
        path = journal.path_of(run_folder, number)
        try:
            return journal.Writer(durable.create(path), path)
        except FileExistsError:
            number += 1
