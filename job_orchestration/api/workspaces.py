"""A workspace from Python: each command is one method."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from job_orchestration.api import steering
from job_orchestration.api.background import Background
from job_orchestration.api.reading import Reader, name_of, selection_of
from job_orchestration.api.run_lists import Runs
from job_orchestration.api.run_views import Run
from job_orchestration.api.standing import Status
from job_orchestration.api.steerable import Steerable
from job_orchestration.commands import selection
from job_orchestration.diagnostics.errors import ConfigRefusedError, UsageError, WorkspaceError
from job_orchestration.diagnostics.problems import Problem, escaped
from job_orchestration.workspace import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pandas as pd

    from job_orchestration.results.tables import Table
    from job_orchestration.submission.reports import Report
    from job_orchestration.submission.submitted_configs import ConfigLike


class Workspace(Steerable):
    """A workspace: the folder that holds configs, runs and results.

    Args:
        path: its folder, or one inside it. Default: what ``JOB_ORCHESTRATION_WORKSPACE`` names, or the
            workspace around the current folder. ``Workspace.create`` makes a new one.

    Raises:
        WorkspaceError: if there is no workspace.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(Reader(_located(path)))
        self._workspace = self._reader.workspace

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Self:
        """Create a workspace in a folder, or complete what is missing in one; what is there stays.

        Raises:
            WorkspaceError: if the folder cannot be a workspace.
        """
        from job_orchestration.commands.init import init

        return cls(init(os.fspath(path)).workspace.root)

    @property
    def path(self) -> Path:
        """Its folder."""
        return Path(self._workspace.root)

    # -- queue ----------------------------------------------------------------------------------------

    def submit(
        self,
        config: ConfigLike,
        *,
        name: str | None = None,
        set: Mapping[str, Any] | None = None,  # noqa: A002 - the option's name
        inputs: Mapping[str, Any] | None = None,
    ) -> Run:
        """Check a config, pin it to a commit, and queue it; threads and processes may submit at once.

        Args:
            config: a dict, or the path of a YAML file, which is not changed. A dict may hold NumPy's numbers
                and arrays, paths, dates, sets, tuples and dataclasses.
            name: the name of the run, instead of the config's ``outputDir``.
            set: new values by dotted key: ``{"epochs": 20, "train.lr": 0.1}``; ``train`` is a task here.
            inputs: contents for keys of the config. Each becomes a file in the folder ``inputs`` of the run,
                and the key has the file's path, in ``validate`` and ``run``. A `Path` is a file that is
                copied; a text, bytes or a list of texts is the content; an array becomes ``.npy``, a data
                frame ``.tsv``, anything else ``.json``.

        Returns:
            The run, which waits for a worker.

        Raises:
            ConfigRefusedError: with all ``problems``; nothing is left behind.
            UsageError: if there is no such file, or an argument does not suit, such as a config of a sweep.
        """
        from job_orchestration.submission import submitted_configs

        if submitted_configs.is_sweep(config):
            raise UsageError("This config is a sweep, which has several runs", "Use submit_all([config])")
        (run,) = self._queued(self._submitted([config], name, set, inputs))
        return Run(self._reader, run)

    def submit_all(
        self,
        configs: Iterable[ConfigLike],
        *,
        set: Mapping[str, Any] | None = None,  # noqa: A002 - the same
    ) -> Runs:
        """Queue several configs in one go, which is faster than one by one; sweeps and searches as well.

        Args:
            configs: as for ``submit``.
            set: new values by dotted key, in each config.

        Returns:
            The runs; of a search those that it has opened, ``runs()`` has the later ones.

        Raises:
            ConfigRefusedError: if some were refused, with all their problems; the others are queued.
            UsageError: as for ``submit``; then none is queued.
        """
        return Runs(self._reader, self._queued(self._submitted(list(configs), None, set, None)))

    def ready(self, *files: str) -> Runs:
        """Queue what lies in ConfigSources.

        Args:
            files: only these, by path, name or glob. Default: all.

        Returns:
            The runs that were queued.

        Raises:
            ConfigRefusedError: if some were refused; their problems lie beside them, the others are queued.
        """
        from job_orchestration.commands.ready import ready

        return Runs(self._reader, self._queued(ready(steering.prepared(self._reader), files)))

    def check(self, *files: str) -> list[Problem]:
        """Run all checks of ``ready`` and queue nothing.

        Args:
            files: configs by path, or by name or glob in ConfigSources. Default: all there.

        Returns:
            All problems and warnings; a problem with ``is_error`` keeps its config from being queued.
        """
        from job_orchestration.commands.check import examine

        found = examine(steering.prepared(self._reader), files)
        return [problem for examined in found for problem in examined.problems]

    # -- execute --------------------------------------------------------------------------------------

    def work(
        self,
        *,
        workers: int = 1,
        until_idle: bool = True,
        seconds: float | None = None,
        resources: Mapping[str, int] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> bool:
        """Execute waiting runs, and return when none is left.

        The workers are processes of their own, so this works in a notebook and in any thread. Ctrl-C stops
        them politely: unfinished runs go on later from their checkpoints.

        Args:
            workers: how many runs at once.
            until_idle: whether to stop when nothing waits and nothing runs.
            seconds: stop within this time.
            resources: amounts of named resources, such as ``{"gpus": 2}``.
            say: called with each line that the workers print, in another thread.

        Returns:
            Whether no run failed.

        Raises:
            UsageError: if an argument does not suit, such as more GPUs than the machine has.
            WorkspaceError: if the workers cannot use the workspace.
        """
        words = [*_workers(workers, resources), *(["--until-idle"] if until_idle else [])]
        words += [] if seconds is None else ["--for", f"{seconds:g}s"]
        return self._background("work", words, say).wait()

    def watch(self, *, say: Callable[[str], None] | None = None) -> Background:
        """Queue new files in ConfigSources as they are dropped, in the background.

        Args:
            say: called with each line that it prints, in another thread.

        Returns:
            What goes on: ``with workspace.watch(): …``, or call its ``stop()``.
        """
        return self._background("watch", [], say)

    def up(
        self,
        *,
        workers: int = 1,
        resources: Mapping[str, int] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> Background:
        """Queue new files and execute runs in the background, until it is stopped or the program ends.

        Args:
            workers: how many runs at once.
            resources: amounts of named resources, such as ``{"gpus": 2}``.
            say: called with each line that it prints, in another thread.
        """
        return self._background("up", _workers(workers, resources), say)

    def _background(
        self, command: str, words: Sequence[str], say: Callable[[str], None] | None
    ) -> Background:
        steering.prepared(self._reader)
        return Background([command, "--workspace", self._workspace.root, *words], say)

    # -- look -----------------------------------------------------------------------------------------

    def status(self, *names: Run | str, status: str | Iterable[str] = (), filter: str = "") -> Status:  # noqa: A002 - the option's name
        """Return the state of the workspace: counts, runs with their time left, when all will be done."""
        return Status(self._reader, self._reader.overview(selection_of(names, status, filter)))

    def runs(self, *names: Run | str, status: str | Iterable[str] = (), filter: str = "") -> Runs:  # noqa: A002 - the same
        """Return runs, in the order in which they were queued.

        Args:
            names: output folders, config names or globs. Default: all.
            status: only these states or outcomes, in a list or separated by commas: ``"failed,timeout"``.
            filter: only runs for which this is true: ``"lr < 0.1 and accuracy > 0.9"``.

        Raises:
            UsageError: if a name matches no run, or a word of the filter is unknown.
        """
        records = self._reader.records()
        chosen = selection.chosen(self._workspace, records, selection_of(names, status, filter))
        found = [record for record in chosen if record.run is not None]
        found.sort(key=lambda r: ((r.summary.readied_at if r.summary else None) or "", r.run or ""))
        return Runs(self._reader, [record.run for record in found if record.run is not None])

    def run(self, name: str) -> Run:
        """Return a run by its output folder or the name of its config.

        Raises:
            UsageError: if there is none, or more than one.
        """
        record = selection.one(self._reader.records(), name)
        if record.run is None:
            raise UsageError(f"{escaped(name)} is not queued yet, so it is no run", "Queue it with ready()")
        return Run(self._reader, record.run)

    def results(self, *names: Run | str, status: str | Iterable[str] = (), filter: str = "") -> pd.DataFrame:  # noqa: A002 - the same
        """Return parameters and results of runs as a data frame of pandas, a row a run.

        Args:
            names: runs by name or glob; all if there are none.
            status: states or outcomes, in a list or separated by commas.
            filter: an expression, such as ``"lr < 0.1"``.

        Raises:
            UsageError: if something is named that is not there, or pandas is not installed.
        """
        from job_orchestration.results.columnar import data_frame

        return data_frame(self._table(names, status, filter))

    def rows(
        self,
        *names: Run | str,
        status: str | Iterable[str] = (),
        filter: str = "",  # noqa: A002 - the same
    ) -> list[dict[str, Any]]:
        """Return the same as a list of dicts; it needs no pandas."""
        from job_orchestration.results import text_formats

        return text_formats.json_rows(self._table(names, status, filter))

    def _table(self, names: tuple[Run | str, ...], status: str | Iterable[str], expression: str) -> Table:
        from job_orchestration.commands.results import results

        return results(self._workspace, selection_of(names, status, expression)).table

    def diff(self, first: Run | str, second: Run | str, *more: Run | str) -> Any:
        """Return what differs between runs, as ``diff --json`` prints it.

        Returns:
            Of two runs a dict: its ``verdict`` is a sentence, its ``only`` the single difference, if one is.
            Of more runs a list of dicts, with what differs between some of them.
        """
        from job_orchestration.commands import diff

        names = [name_of(run) for run in (first, second, *more)]
        if more:
            return diff.diff_many(self._workspace, names)
        return diff.diff(self._workspace, *names).as_json()

    def wait(self, *names: Run | str, timeout: float | None = None) -> Runs:
        """Wait until runs have ended, however they end.

        Args:
            names: runs, globs, sweeps or searches. Default: all that have not ended.
            timeout: the most seconds to wait.

        Returns:
            The runs that were waited for, in the order of their ends.

        Raises:
            TimeoutError: if some have not ended in time; it names them.
        """
        return Runs(self._reader, steering.wait(self._reader, names, timeout))

    # -- how it looks ---------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"Workspace({self._workspace.root!r})"

    def _repr_html_(self) -> str:
        return self.status()._repr_html_()

    def _submitted(
        self,
        configs: Sequence[ConfigLike],
        name: str | None,
        parameters: Mapping[str, Any] | None,
        inputs: Mapping[str, Any] | None,
    ) -> Report:
        from job_orchestration.commands.submit import submit

        workspace = steering.prepared(self._reader)
        return submit(workspace, configs, name=name, parameters=parameters, inputs=inputs)

    def _queued(self, report: Report) -> list[str]:
        """Return the names of the runs that a pass queued."""
        if report.refused:
            raise ConfigRefusedError(p for problems in report.refused.values() for p in problems)
        names: list[str] = []
        for queued in report.queued:
            if queued.token:
                names.append(queued.run)
            else:  # a search, whose runs lie in its folder
                found = self._reader.records()
                names += [r.run for r in found if r.run is not None and r.run.startswith(f"{queued.run}/")]
        return names


def _located(path: str | os.PathLike[str] | None) -> layout.Workspace:
    named = os.environ.get(layout.VARIABLE, "") if path is None else os.fspath(path)
    if not named:
        return layout.locate(layout.enclosing(os.getcwd()))
    try:
        return layout.locate(named)
    except WorkspaceError:
        around = layout.enclosing(os.path.expanduser(named)) if path is not None else ""
        if not around:
            raise
        return layout.locate(around)


def _workers(number: int, resources: Mapping[str, int] | None) -> list[str]:
    given = ",".join(f"{name}={much}" for name, much in (resources or {}).items())
    return ["--workers", str(number), *(["--resources", given] if given else [])]


Workspace.__module__ = "job_orchestration"
