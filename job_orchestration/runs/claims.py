"""Claim runs: lock the token, start an attempt in the journal, move the token to Running.

The lock is the kernel's `flock` on the token's inode. Every process that works for the attempt shares the
descriptor, so the lock lasts until the last of them ends or the holder releases it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.errors import ClaimLostError, OrchestrationError
from job_orchestration.diagnostics.problems import Problem
from job_orchestration.runs import journal, lifecycle, token
from job_orchestration.runs.events import Claimed, Readied
from job_orchestration.runs.state import Status
from job_orchestration.runs.token import Token, scan
from job_orchestration.runs.token_header import run_named_in, run_of
from job_orchestration.workspace import durable, failures, safe_reads
from job_orchestration.workspace.naming import TokenName, numbered, worker_name
from job_orchestration.workspace.safe_reads import DamagedFileError, UnreadableFileError

if TYPE_CHECKING:
    from job_orchestration.runs import record_repair
    from job_orchestration.runs.events import Event, JournalEntry
    from job_orchestration.runs.state import RunState
    from job_orchestration.workspace.layout import Workspace

_LIMIT: Final = 8 << 20
"""Bytes; `ready` writes no larger token."""
_FEW: Final = 3
"""Number of files of a journal up to which none is left out."""


class UnfitTokenError(OrchestrationError):
    """A file in a config folder that is not a token as `ready` wrote it. It never runs."""

    def problem(self, filename: str) -> Problem:
        """Return the problem to write beside the file."""
        return Problem(filename, self.what, self.todo)


class LostRecordError(UnfitTokenError):
    """The journal of a token's run is gone."""


def is_inside_output(run: str) -> bool:
    """Return whether a run's name stays strictly inside ``Output/``."""
    parts = run.split("/")
    return bool(run) and not run.startswith("/") and all(p not in {"", ".", ".."} for p in parts)


class Claim:
    """Exclusive right to a run, from `claim` to `release`.

    Attributes:
        run: the run's name.
        attempt: the number of this attempt; part of the token's name, it fences off earlier holders.
        descriptor: the locked token; passed to the processes that work for this attempt.
        journal: the writer of this attempt's journal file.
        state: the fold of the journal, this attempt's events included.
    """

    def __init__(
        self,
        descriptor: int,
        path: str,
        *,
        run: str,
        run_folder: str,
        earlier: journal.Journal,
        claimed: JournalEntry,
        writer: journal.Writer,
    ) -> None:
        self.descriptor = descriptor
        self.path = path
        self.run = run
        self.run_folder = run_folder
        self.attempt = journal.attempt_of(writer.path)
        self.journal = writer
        self.earlier = earlier
        self.kept: dict[str, bytes] = {}
        """The content of the earlier files of the journal, by path in the run's folder."""
        self._stamps: dict[str, record_repair.Stamp] = {}
        self.state = lifecycle.fold({**earlier, self.attempt: [claimed]})

    @property
    def name(self) -> TokenName:
        """The token's name during this claim."""
        name = TokenName.parse(os.path.basename(self.path))
        assert name is not None
        return name

    def check(self) -> None:
        """Check that this claim still holds the run.

        Raises:
            ClaimLostError: another process moved the token, or the locked file cannot be read.
        """
        if not still_ours(self.path, self.descriptor):
            raise ClaimLostError.taken_over(self.run)

    def write(self, event: Event, *, sync: bool = False) -> None:
        """Append an event to the journal and update the state."""
        self.state = lifecycle.step(self.state, self.journal.write(event, sync=sync))

    def refold(self) -> RunState:
        """Fold the journal again while another process writes this attempt's file."""
        return self._fold(journal.read_file(self.run_folder, self.attempt)[0])

    def take_back(self, lines: bytes = b"") -> RunState:
        """Become the journal's writer again after the writing process has ended.

        Args:
            lines: what that process is known to have written.

        Raises:
            ClaimLostError: the journal file was moved or removed.
        """
        return self._fold(self.journal.resume(self.run_folder, self.attempt, lines))

    def note_stamps(self) -> None:
        """Note how the files in `kept` lie on the disk, before the code of a task is executed."""
        from job_orchestration.runs import record_repair  # commands that only read claim nothing

        self._stamps = record_repair.stamps_of(self.run_folder, self.kept)

    def restore(self) -> list[str]:
        """Put back the files of the record that the processes of the attempt, which have ended, have spoilt.

        Returns:
            Their paths in the run's folder.

        Raises:
            OSError: one cannot be put back.
        """
        from job_orchestration.runs import record_repair

        return record_repair.restore(self.run_folder, self.journal, self.kept, self.descriptor, self._stamps)

    def _fold(self, own: list[JournalEntry]) -> RunState:
        self.state = lifecycle.fold({**self.earlier, self.attempt: own})
        return self.state

    def move(self, folder: str, name: TokenName) -> str:
        """Move the token to a config folder; never overwrites a file.

        Returns:
            The new path; the stem gets ``-2``, ``-3``, … if the name is taken.

        Raises:
            ClaimLostError: the token is no longer where this claim put it.
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
                continue  # the name was taken since the check
            except FileNotFoundError:
                raise ClaimLostError(f"The token of {self.run} was taken away") from None
            self.path = target
            return target

    def release(self) -> None:
        """Release the run. `LOCK_UN` unlocks it for every process that shares the descriptor.

        The journal is closed first: the next holder ends whatever still has it open for writing.
        """
        with suppress(OSError):
            os.close(self.journal.descriptor)
        with suppress(OSError):
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        os.close(self.descriptor)


def still_ours(path: str, descriptor: int) -> bool:
    """Return whether a token's path still refers to the locked inode: the fence, at two system calls."""
    try:
        named, locked = os.stat(path, follow_symlinks=False), os.fstat(descriptor)
    except OSError:
        return False
    return named.st_ino == locked.st_ino and named.st_dev == locked.st_dev


def claim(
    workspace: Workspace, token: Token, worker: str, hostname: str, environment: str | None = None
) -> Claim | None:
    """Try to claim a run.

    Args:
        workspace: the workspace.
        token: the run's token.
        worker: the name of the worker.
        hostname: its machine.
        environment: the digest of its environment.

    Returns:
        The claim, or `None` if another process holds the run or has moved its token.

    Raises:
        UnfitTokenError: the file is not what `ready` queued; it is left as it is.
        OSError: the token or the journal could not be read or written; no lock is held.
    """
    descriptor = lock(token.path)
    if descriptor is None:
        return None
    writer: journal.Writer | None = None
    try:
        _finish_move(workspace, token, descriptor)
        kept: dict[str, bytes] = {}
        run, written = _inspect_or_repair(workspace, token, descriptor, kept)
        folder = workspace.run_folder(run)
        _settle_copy(workspace, token, run, written, descriptor)
        others = _refuse_copy(workspace, run, descriptor)
        writer = _new_attempt(folder, max(token.name.generation, *written))
        attempt = journal.attempt_of(writer.path)
        target = os.path.join(workspace.running, str(TokenName(token.name.stem, attempt, worker)))
        _take(token.path, target, descriptor)
        _refuse_copy(workspace, run, descriptor, others | {os.path.basename(target)})
        durable.sync_folder(workspace.running)
        durable.sync_folder(journal.folder_of(folder))
        for earlier in sorted(written.keys() - {0}):
            journal.sync(folder, earlier)  # this attempt builds on these events
        idle = lifecycle.idle_attempts(written) if len(written) > _FEW else []
        counts = {n: count for n, count in lifecycle.counts_of(written).items() if n not in idle}
        if journal.has_own_environment(written):
            environment = None  # its provenance says it
        event = Claimed(attempt, worker, hostname, os.getpid(), counts, environment)
        entry = writer.write(event, sync=bool(idle))
        for number in idle:  # after the event that no longer builds on them is on the disk
            durable.unlink(journal.path_of(folder, number))
            del written[number]
            kept.pop(journal.name_of(number), None)
        found = Claim(
            descriptor, target, run=run, run_folder=folder, earlier=written, claimed=entry, writer=writer
        )
        found.kept = kept
        return found
    except BaseException as error:
        if writer is not None:
            os.close(writer.descriptor)  # before the lock, as in `release`
        os.close(descriptor)  # no other process shares it yet, so closing unlocks it
        if not isinstance(error, ClaimLostError):
            raise
        return None


def _finish_move(workspace: Workspace, token: Token, descriptor: int) -> None:
    """Remove all names but one of a token that a crash left with several; the latest in the run's life stays.

    A move is a link, which commits it, followed by an unlink. A power cut may also restore the name in
    ConfigsToRun that a claim renamed: btrfs does so until that folder is synced too.
    """
    status = os.fstat(descriptor)
    fresh = os.path.join(workspace.opening, str(TokenName(token.name.stem)))
    if status.st_nlink == 1 or (status.st_nlink == 2 and _is_inode(fresh, status)):  # noqa: PLR2004
        return  # one name, or a second one in Misc/opening that `ready` is removing

    def paths_in(*folders: str) -> list[str]:
        return [t.path for folder in folders for t in scan(folder) if _is_inode(t.path, status)]

    ended = paths_in(workspace.completed, workspace.failed)
    waiting = paths_in(workspace.to_run)
    waiting.sort(key=lambda path: "~" not in os.path.basename(path))  # delayed and held ones are later
    names = [*ended, *waiting, *paths_in(workspace.running)]
    for path in names[1:]:
        durable.unlink(path)
        durable.sync_folder(os.path.dirname(path))
    if names[:1] != [token.path]:
        raise ClaimLostError("The token has moved on already")


def _settle_copy(
    workspace: Workspace, token: Token, run: str, written: journal.Journal, descriptor: int
) -> None:
    """Remove a token in Running whose run has moved on already, by its journal and by another token.

    A crash between the link and the unlink of a move leaves one file with two names. A program that copies
    the workspace without hard links makes two files of it, so `_finish_move` does not see that they are one.
    """
    if token.folder != workspace.running:
        return
    state = lifecycle.fold(written)
    ends = {Status.COMPLETE: workspace.completed, Status.FAILED: workspace.failed}
    if state.open and state.status not in ends:
        return  # interrupted; its place is here
    data = os.pread(descriptor, _LIMIT, 0)
    for other in scan(ends.get(state.status, workspace.to_run)):
        stem = other.name.stem
        if stem != token.name.stem and not stem.startswith(f"{token.name.stem}-"):
            continue
        with suppress(FileNotFoundError):
            if run_of(other.path) == run and safe_reads.whole(other.path) == data:
                durable.unlink(token.path)
                durable.sync_folder(workspace.running)
                raise ClaimLostError(f"The run {run} has moved on; a copy of its token was removed")


def _refuse_copy(
    workspace: Workspace, run: str, descriptor: int, seen: frozenset[str] = frozenset()
) -> frozenset[str]:
    """Check that Running holds no other token of a run; return the names in Running."""
    status = os.fstat(descriptor)
    names = frozenset(os.listdir(workspace.running))
    for name in names - seen:
        path = os.path.join(workspace.running, name)
        if not _is_inode(path, status) and run_of(path) == run:
            if not seen and is_free(path):  # its next claim settles which of the two counts
                raise ClaimLostError(f"The run {run} is in Running too, and waits there")
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
        raise ClaimLostError("Another process moved the token") from None
    if not still_ours(target, descriptor):
        raise ClaimLostError("Another file has the token's name")


def lock(path: str) -> int | None:
    """Lock a token; return its descriptor, or `None` if it is held or gone.

    Raises:
        UnfitTokenError: the path is no plain file, or cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        if failures.is_of_machine(error):
            raise  # it says nothing about the file
        raise UnfitTokenError(
            f"It cannot be opened: {error.strerror}", "Move it away, or repair it"
        ) from None
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
    """Return whether the token at a path is unlocked; takes its lock for an instant."""
    with suppress(UnfitTokenError):
        descriptor = lock(path)
        if descriptor is None:
            return False
        os.close(descriptor)
    return True


def _insist_on_plain_file(descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise UnfitTokenError("It is no plain file", "Move it away")


def _inspect_or_repair(
    workspace: Workspace, token: Token, descriptor: int, kept: dict[str, bytes]
) -> tuple[str, journal.Journal]:
    """Return a token's run and journal; a journal that is damaged or lost is repaired first."""
    try:
        return inspect(workspace, descriptor, kept)
    except (DamagedFileError, LostRecordError) as error:
        if isinstance(error, LostRecordError) and token.folder == workspace.to_run:
            raise  # a person removed it, and can ready the file again
        data = _content(descriptor)
        run = run_named_in(data)
        assert run is not None, "it was inspected"
        from job_orchestration.runs import record_repair

        kept.clear()
        record_repair.repair(workspace, token, data, run, error)
    return inspect(workspace, descriptor, kept)


def _content(descriptor: int) -> bytes:
    return os.pread(descriptor, min(os.fstat(descriptor).st_size + 1, _LIMIT), 0)


def inspect(
    workspace: Workspace, descriptor: int, kept: dict[str, bytes] | None = None
) -> tuple[str, journal.Journal]:
    """Return a token's run and journal; the journal must have been written for the bytes of the token.

    Nothing else in the run's folder is needed to go on: tasks may write a ``config.yaml`` of their own there.

    Args:
        workspace: the workspace.
        descriptor: of the token.
        kept: gets the content of each file of the journal, by path in the run's folder.

    Raises:
        UnfitTokenError: the token is not what `ready` queued; `LostRecordError` if the journal is gone.
        UnreadableFileError: the journal cannot be read.
        DamagedFileError: it is not what was written.
    """
    import hashlib

    data = _content(descriptor)
    run = run_named_in(data)
    if run is None or not is_inside_output(run):
        raise UnfitTokenError(
            "This file was not readied: nothing has checked it or pinned its code",
            "Move it to ConfigSources and run: job-orchestration ready",
        )
    folder = workspace.run_folder(run)
    try:
        written = journal.read(folder, kept=kept)
    except DamagedFileError:
        raise
    except OSError as error:
        raise UnreadableFileError(error.errno, error.strerror, error.filename) from error
    first = written[0][0].event if written.get(0) else None
    if not isinstance(first, Readied):
        is_there = os.path.isdir(folder)
        raise LostRecordError(
            f"The journal of {run} does not belong to this file"
            if is_there
            else f"Its output folder {run} is gone",
            "Move this file to ConfigSources and ready it again",
        )
    if first.digest != hashlib.sha256(data).hexdigest():
        raise UnfitTokenError(
            "This file was edited after it was readied, so its content was never checked",
            f"Put back Output/{run}/config.yaml, or move this file to ConfigSources with another outputDir",
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


def token_at(path: str) -> Token:
    """Return the token at a path."""
    folder, filename = os.path.split(path)
    name = TokenName.parse(filename)
    assert name is not None, "a run's record has a token's name"
    return token.Token(folder, filename, name, 0)


def claim_briefly(workspace: Workspace, path: str, command: str) -> Claim | None:
    """Try to claim a run for a command that moves it.

    Args:
        workspace: with all its folders in place.
        path: the path at which the token was found.
        command: takes the place of the random letters in a worker's name.

    Returns:
        The claim, or `None` if another process holds the run or has moved its token.

    Raises:
        UnfitTokenError: the file is not what `ready` queued.
        OSError: the token or the journal could not be read or written; no lock is held.
    """
    hostname = socket.gethostname()
    return claim(workspace, token_at(path), worker_name(hostname, os.getpid(), command), hostname)
