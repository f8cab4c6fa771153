"""A run, live: what it shows is read when it is asked for."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Self, overload

from job_orchestration.api import html_tables, steering
from job_orchestration.api.reading import selection_of
from job_orchestration.api.run_tasks import Task, task_of
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import escaped, named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from job_orchestration.api.reading import Reader
    from job_orchestration.commands.status import StatusEntry
    from job_orchestration.results.result_rows import Row
    from job_orchestration.runs.state import RunState, TaskState


class Run:
    """One run of a workspace; nothing of it is cached, each attribute is read when it is asked for.

    Get one from ``workspace.submit(…)``, ``workspace.run(name)`` or ``workspace.runs()``.
    If the run's folder is deleted, attributes raise `UsageError`.
    """

    def __init__(self, reader: Reader, name: str) -> None:
        self._reader = reader
        self._name = name

    # -- what it is -----------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Its name: the output folder, relative to ``Output/``."""
        return self._name

    @property
    def folder(self) -> Path:
        """Its output folder."""
        return Path(self._reader.workspace.run_folder(self._name))

    @property
    def config(self) -> dict[str, Any]:
        """The resolved config that the tasks get; ``outputDir`` is relative to ``Output/``."""
        from job_orchestration.runs import submitted_files

        return submitted_files.located(self._state.values, str(self.folder))

    @property
    def parameters(self) -> dict[str, Any]:
        """What the config says to the tasks, flattened: ``{"lr": 0.1, "train.epochs": 5}``."""
        return dict(self._row.parameters)

    @property
    def provenance(self) -> dict[str, Any]:
        """What is needed to have the run again: commit, packages, versions, machine, seed."""
        from job_orchestration.runs import provenance_file

        return provenance_file.read(str(self.folder)) or {}

    # -- how it goes ----------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        """Where it is in its life, in the words of ``runs(status=…)``.

        ``to_run``, ``held``, ``running``, ``interrupted``, ``completed``, ``failed``, ``cancelled`` or
        ``pruned``.
        """
        record = self._reader.record(self._name)
        return record.end or str(record.place)

    @property
    def has_ended(self) -> bool:
        """Whether it completed, failed, or was cancelled or pruned."""
        return self._reader.record(self._name).end is not None

    @property
    def progress(self) -> float | None:
        """Progress of the running task from 0 to 1; `None` if it reports none."""
        from job_orchestration.forecast import time_left

        return time_left.fraction_of(self._reader.record(self._name))

    @property
    def eta(self) -> timedelta | None:
        """Work that is left (median), without the time in the queue; `None` if unknown or nothing is left."""
        entry = self._entry
        return None if entry.eta_s is None or entry.ended_at else timedelta(seconds=entry.eta_s)

    @property
    def error(self) -> str | None:
        """Why it failed, or was cancelled; `None` if it has not."""
        from job_orchestration.commands.status import error_of

        return error_of(self._reader.record(self._name))

    @property
    def tasks(self) -> list[Task]:
        """Its tasks, in order, as they are now."""
        return [task_of(task) for task in self._state.tasks]

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until it has ended, however it ends.

        Args:
            timeout: the most seconds to wait.

        Returns:
            This run; its ``status`` says how it ended.

        Raises:
            TimeoutError: if it has not ended in time. It goes on.
            UsageError: if its folder was deleted.
        """
        steering.wait(self._reader, [self._name], timeout)
        return self

    # -- what it made ---------------------------------------------------------------------------------

    @property
    def results(self) -> dict[str, Any]:
        """What the tasks returned and saved as results, flattened: ``{"train.accuracy": 0.93}``."""
        return dict(self._row.results)

    def result_of(self, task: str) -> Any:
        """Return what a finished task returned.

        Raises:
            UsageError: if there is no such task, or it has not finished.
        """
        found = self._task(task)
        if str(found.status) != "finished":
            todo = "Wait for the run, or see its error and log"
            raise UsageError(f"Task {escaped(task)} of {escaped(self._name)} has not finished", todo)
        return found.result

    @property
    def files(self) -> list[str]:
        """The files in its folder that are of use to people: outputs, inputs, log, config; relative paths."""
        from job_orchestration.runs import run_files

        return run_files.names(str(self.folder), self._state)

    def path(self, name: str) -> Path:
        """Return the path of a file.

        Args:
            name: one of ``files``, or the end of its path if only one file ends so: ``metrics.json``.

        Raises:
            UsageError: if there is no such file, or more than one.
        """
        from job_orchestration.runs import run_files

        return Path(run_files.path_of(str(self.folder), self._state, name))

    def open(self, name: str, mode: str = "r", encoding: str = "utf-8") -> IO[Any]:
        """Open a file for reading.

        Args:
            name: as for ``path``.
            mode: ``"r"`` for text, ``"rb"`` for bytes.
            encoding: of a text.

        Raises:
            UsageError: if there is no such file, or it is to be written.
        """
        from job_orchestration.runs import run_files

        return run_files.opened(str(self.path(name)), mode, encoding)

    def load(self, name: str, *, allow_pickle: bool = False) -> Any:
        """Load a file by its suffix.

        JSON and YAML become values, ``.jsonl`` a list, ``.csv``, ``.tsv`` and ``.parquet`` data frames of
        pandas, ``.npy`` and ``.npz`` arrays, texts a `str`, anything else `bytes`.

        Args:
            name: as for ``path``.
            allow_pickle: load pickles too. A pickle executes code of its own: only if you trust who made it.

        Raises:
            UsageError: if there is no such file, it cannot be read as its suffix says, or it is a pickle.
        """
        from job_orchestration.results import loaded_files

        return loaded_files.load(str(self.path(name)), allow_pickle=allow_pickle)

    @overload
    def log(
        self,
        *,
        follow: Literal[False] = False,
        task: str | None = None,
        lines: int | None = None,
        errors: bool = False,
    ) -> str: ...

    @overload
    def log(
        self,
        *,
        follow: Literal[True],
        task: str | None = None,
        lines: int | None = None,
        errors: bool = False,
    ) -> Iterator[str]: ...

    def log(
        self, *, follow: bool = False, task: str | None = None, lines: int | None = None, errors: bool = False
    ) -> str | Iterator[str]:
        """Return the log: everything the tasks printed or logged.

        Args:
            follow: return an iterator that yields new text until the run has ended.
            task: only what this task wrote.
            lines: only the last lines.
            errors: only errors and tracebacks.

        Raises:
            UsageError: if the run has no such task.
        """
        from job_orchestration.commands.log_extracts import Extract
        from job_orchestration.commands.logs import logs

        wanted = Extract(lines, task, None, errors)
        pieces = logs(self._reader.workspace, self._name, follow=follow, wanted=wanted)
        return pieces if follow else "".join(pieces)

    # -- what can be done with it ---------------------------------------------------------------------

    def retry(
        self,
        *,
        task: str | None = None,
        fresh: bool = False,
        commit: str | None = None,
        set: Mapping[str, Any] | None = None,  # noqa: A002 - the option's name
    ) -> Self:
        """Queue it again after it failed; see ``Workspace.retry``."""
        steering.retry(
            self._reader, selection_of([self._name]), task=task, fresh=fresh, commit=commit, parameters=set
        )
        return self

    def rerun(self, *, commit: str | None = None, set: Mapping[str, Any] | None = None) -> Run:  # noqa: A002 - the same
        """Queue a new run in the same code, config and seed; see ``Workspace.rerun``."""
        (name,) = steering.rerun(self._reader, selection_of([self._name]), commit=commit, parameters=set)
        return Run(self._reader, name)

    def cancel(self) -> Self:
        """End it now; ``retry`` resumes it from its checkpoint."""
        steering.cancel(self._reader, selection_of([self._name]))
        return self

    def hold(self) -> Self:
        """Keep it from being started until it is released."""
        steering.hold(self._reader, selection_of([self._name]))
        return self

    def release(self) -> Self:
        """Let it be started again."""
        steering.release(self._reader, selection_of([self._name]))
        return self

    def diff(self, other: Run | str | None = None) -> dict[str, Any]:
        """Return what differs from another run, or from the work tree as it is now.

        Returns:
            As ``diff --json`` prints it; ``verdict`` is a sentence, ``only`` the single difference if one.
        """
        from job_orchestration.commands import diff

        workspace = self._reader.workspace
        if other is None:
            return diff.diff_work_tree(workspace, self._name).as_json()
        return diff.diff(workspace, self._name, other.name if isinstance(other, Run) else other).as_json()

    def code(self, folder: str | Path | None = None) -> Path:
        """Make a clone of the code that it executed, to look at or to work in.

        Args:
            folder: absent or empty; default: ``<run>-code`` in the current folder.

        Returns:
            The folder of the clone.
        """
        from job_orchestration.commands.code_checkout import check_out

        made = check_out(self._reader.workspace, self._name, None if folder is None else str(folder))
        return Path(made.folder)

    # -- how it looks ---------------------------------------------------------------------------------

    def __repr__(self) -> str:
        try:
            return f"<Run {self._name!r}: {self.status}>"
        except UsageError:
            return f"<Run {self._name!r}: gone>"

    def _repr_html_(self) -> str:
        try:
            entry, tasks = self._entry, self.tasks
        except UsageError:
            return html_tables.table(("run", "status"), [(self._name, "gone")])
        rows = [(t.id, t.method, t.status, t.tries, t.seconds, t.error or "") for t in tasks]
        return html_tables.table(html_tables.HEADER, [html_tables.cells(entry)]) + html_tables.table(
            ("task", "method", "status", "tries", "seconds", "error"), rows
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Run):
            return NotImplemented
        return self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[str, str]:
        return self._reader.workspace.root, self._name

    @property
    def _state(self) -> RunState:
        from job_orchestration.runs import journal, lifecycle

        state = lifecycle.fold(journal.read(str(self.folder)))
        if state.readied_at is None:  # gone, or made by the first release
            found = self._reader.record(self._name).state
            return state if found is None else found
        return state

    @property
    def _entry(self) -> StatusEntry:
        found = self._reader.overview(selection_of([self._name])).runs
        return next(entry for entry in found if entry.run == self._name)

    @property
    def _row(self) -> Row:
        from job_orchestration.commands import selection
        from job_orchestration.workspace import clock

        record = self._reader.record(self._name)
        return selection.row_of(self._reader.workspace, record, clock.now(), [])

    def _task(self, id_: str) -> TaskState:
        tasks = self._state.tasks
        found = next((task for task in tasks if task.id == id_), None)
        if found is None:
            todo = f"Its tasks are {named(escaped(task.id) for task in tasks)}"
            raise UsageError(f"{escaped(self._name)} has no task {escaped(id_)}", todo)
        return found


Run.__module__ = "job_orchestration"
