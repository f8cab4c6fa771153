"""The methods of a workspace that change runs: base class of `Workspace`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from job_orchestration.api import steering
from job_orchestration.api.reading import name_of, selection_of
from job_orchestration.api.run_lists import Runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from job_orchestration.api.reading import Reader
    from job_orchestration.api.run_views import Run


class Steerable:
    """What changes the runs of a workspace."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def retry(
        self,
        *names: Run | str,
        status: str | Iterable[str] = (),
        filter: str = "",  # noqa: A002 - the option's name
        task: str | None = None,
        fresh: bool = False,
        commit: str | None = None,
        set: Mapping[str, Any] | None = None,  # noqa: A002 - the same
    ) -> Runs:
        """Queue failed runs again; they go on from their checkpoint.

        Args:
            names: runs or globs. Default: all that failed.
            status: states or outcomes.
            filter: an expression.
            task: go on from this task; its checkpoint and all later ones are discarded.
            fresh: begin from scratch; the old output goes to the trash.
            commit: go on in this commit of the tasks' repository, such as ``"HEAD"``.
            set: go on with these values, by key or ``task.key``.

        Returns:
            The runs that wait now.

        Raises:
            RunRefusedError: if a run cannot be retried, with ``problems``; the others are queued.
        """
        choice = selection_of(names, status, filter)
        done = steering.retry(self._reader, choice, task=task, fresh=fresh, commit=commit, parameters=set)
        return Runs(self._reader, done)

    def rerun(
        self,
        *names: Run | str,
        status: str | Iterable[str] = (),
        filter: str = "",  # noqa: A002 - the same
        commit: str | None = None,
        set: Mapping[str, Any] | None = None,  # noqa: A002 - the same
        task: str | None = None,
        recorded_packages: bool = False,
        strict: bool = False,
    ) -> Runs:
        """Queue ended runs once more, as new runs in their recorded code, config and seed.

        Args:
            names: runs or globs.
            status: states or outcomes.
            filter: an expression.
            commit: another commit of the tasks' repository, such as ``"HEAD"``.
            set: other values, by key or ``task.key``.
            task: take the checkpoints of the tasks before this one from the original.
            recorded_packages: install the recorded packages once, and run with these (extra ``[env]``).
            strict: refuse a run if packages, Python, machine or inputs are not as they were.

        Returns:
            The new runs.

        Raises:
            RunRefusedError: if a run cannot be rerun, with ``problems``; the others are queued.
        """
        choice = selection_of(names, status, filter)
        done = steering.rerun(
            *(self._reader, choice),
            commit=commit,
            parameters=set,
            task=task,
            recorded_environment=recorded_packages,
            strict=strict,
        )
        return Runs(self._reader, done)

    def verify(
        self,
        *names: Run | str,
        against: Run | str | None = None,
        rtol: float | None = None,
        atol: float | None = None,
        ignore: Sequence[str] | None = None,
    ) -> list[dict[str, Any]]:
        """Compare what completed reruns made with what their originals made; both runs keep the verdict.

        Args:
            names: reruns or globs.
            against: a run to compare with, instead of the original.
            rtol: relative difference up to which numbers count as equal.
            atol: absolute difference up to which numbers count as equal.
            ignore: globs of files that are left out.

        Returns:
            For each rerun what ``verify --json`` has of it; ``verdict`` is ``identical``, ``equal`` or
            ``different``.

        Raises:
            RunRefusedError: if a run cannot be compared; the others are.
        """
        other = None if against is None else name_of(against)
        return steering.verify(self._reader, names, against=other, rtol=rtol, atol=atol, ignore=ignore)

    def bisect(
        self,
        good: Run | str,
        bad: Run | str,
        metric: str,
        *,
        at: float | None = None,
        higher: bool | None = None,
        here: bool = True,
        say: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """Find the commit that moved a metric, by rerunning commits between those of two runs.

        A bisection that was interrupted continues where it was.

        Args:
            good: a run.
            bad: a run of which the metric is worse.
            metric: a column of ``results``.
            at: the limit between good and bad; half-way by default.
            higher: whether bad is whatever is higher (or, if false, lower) than at the good run, instead.
            here: run a worker as long as it lasts, if there is none.
            say: called with a line for each step.

        Returns:
            As ``bisect --json`` prints it; ``commit`` is what moved it, ``verdict`` a sentence.
        """
        ends = name_of(good), name_of(bad)
        return steering.bisect(self._reader, ends, metric, say, at=at, higher=higher, here=here)

    def export(
        self,
        *names: Run | str,
        to: str | os.PathLike[str],
        status: str | Iterable[str] = (),
        filter: str = "",  # noqa: A002 - the same
        ro_crate: bool = False,
    ) -> Path:
        """Write ended runs with code, config and outputs into a folder or archive that runs by itself.

        Args:
            names: runs or globs.
            to: a path at which nothing is; one that ends in ``.zip`` becomes an archive.
            status: states or outcomes.
            filter: an expression.
            ro_crate: whether it is an RO-Crate too (extra ``[rocrate]``).

        Returns:
            The path of the export.
        """
        choice = selection_of(names, status, filter)
        return Path(steering.export(self._reader, choice, os.fspath(to), ro_crate=ro_crate))

    def import_runs(self, path: str | os.PathLike[str]) -> Runs:
        """Take the runs of an export into this workspace; nothing in it is executed.

        Args:
            path: a folder or an archive that ``export`` wrote.

        Raises:
            RunRefusedError: if a run cannot be taken over; the others are.
        """
        return Runs(self._reader, steering.import_runs(self._reader, os.fspath(path)))

    def cancel(self, *names: Run | str, status: str | Iterable[str] = (), filter: str = "") -> Runs:  # noqa: A002 - the same
        """End runs now; ``retry`` resumes them from their checkpoint.

        Raises:
            RunRefusedError: if a run that is named has ended already; the others are cancelled.
        """
        return Runs(self._reader, steering.cancel(self._reader, selection_of(names, status, filter)))

    def hold(self, *names: Run | str, status: str | Iterable[str] = (), filter: str = "") -> Runs:  # noqa: A002 - the same
        """Keep waiting runs from being started until they are released."""
        return Runs(self._reader, steering.hold(self._reader, selection_of(names, status, filter)))

    def release(self, *names: Run | str, status: str | Iterable[str] = (), filter: str = "") -> Runs:  # noqa: A002 - the same
        """Let held runs be started again."""
        return Runs(self._reader, steering.release(self._reader, selection_of(names, status, filter)))

    def gc(
        self,
        *names: Run | str,
        status: str | Iterable[str] = (),
        filter: str = "",  # noqa: A002 - the same
        keep: Sequence[str] = (),
        older_than: float | None = None,
        empty_trash: bool = False,
        yes: bool = False,
    ) -> list[dict[str, Any]]:
        """List what can be deleted; with ``yes=True`` delete it, and move runs to the trash.

        Args:
            names: only these completed or failed runs.
            status: states or outcomes.
            filter: an expression.
            keep: what to keep: ``"last:10"``, ``"best:5:accuracy"``, ``"lowest:5:train.loss"``.
            older_than: only runs that ended longer ago, in seconds.
            empty_trash: delete only trash, for good, that is older than ``older_than``.
            yes: delete instead of only listing.

        Returns:
            Dicts with ``kind``, ``name``, ``bytes`` and ``to``.
        """
        from job_orchestration.api import housekeeping

        choice = selection_of(names, status, filter)
        return housekeeping.gc(self._reader, choice, keep, older_than, empty_trash=empty_trash, yes=yes)

    def restore(self, *names: str) -> Runs:
        """Move runs out of the trash.

        Raises:
            RunRefusedError: if a run cannot be restored; the others are.
        """
        from job_orchestration.api import housekeeping

        return Runs(self._reader, housekeeping.restore(self._reader, names))

    def doctor(self) -> list[dict[str, Any]]:
        """Check workspace and machine; return dicts with ``topic``, ``level``, ``what`` and ``todo``."""
        from job_orchestration.api import housekeeping

        return housekeeping.doctor(self._reader)


Steerable.__module__ = "job_orchestration"
