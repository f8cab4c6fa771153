"""For programs that drop configs by the hundred and gather results, as with the first Job Orchestration."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import yaml

from job_orchestration import Constants
from job_orchestration.Config import Config
from job_orchestration.diagnostics.errors import UsageError, WorkspaceError
from job_orchestration.diagnostics.problems import escaped, quoted
from job_orchestration.runs import journal, lifecycle
from job_orchestration.StatusTracker import StatusTracker
from job_orchestration.workspace import naming, safe_reads

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_log = logging.getLogger(__name__)


# -- dropping configs -------------------------------------------------------------------------------------


def saveConfigs(configs: Mapping[str, Mapping[str, Any]]) -> None:
    """Drop configs into ConfigSources, each as one whole file: a watcher never sees half of one.

    Args:
        configs: file name to document. A name without ``.yaml`` gets it; a file of that name is replaced.
            NumPy's numbers and arrays, paths, dates, sets, tuples and dataclasses are written as their JSON.

    Raises:
        UsageError: when a name or a document cannot be a config's; nothing has been written then.
        WorkspaceError: when the environment names no workspace.
    """
    from job_orchestration.submission import submitted_configs

    folder = Constants.config_source_location
    files: dict[str, bytes] = {}
    for name, config in configs.items():
        filename = name if naming.is_config_name(name) else f"{name}.yaml"
        if fault := naming.stem_problem(filename):
            raise UsageError(f"{quoted(escaped(name))}: {fault.what}", fault.todo)
        if filename in files:
            raise UsageError(f"Two configs are to be saved as {filename}", "Give each a name of its own")
        files[filename] = submitted_configs.document_of(filename, config)
    for filename, data in files.items():
        _drop(folder, filename, data)


def _drop(folder: str, filename: str, data: bytes) -> None:
    """Write under a name that is not a config's, then rename."""
    temporary = os.path.join(folder, f".{filename}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
        os.replace(temporary, os.path.join(folder, filename))
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


# -- gathering results ------------------------------------------------------------------------------------


def getResults(
    resultsFilename: str = "results.yaml",
    configFilter: Callable[[Config], bool] | None = None,
    statusFilter: Callable[[StatusTracker], bool] | None = None,
) -> list[Any]:
    """The contents of all results files below Output; always YAML.

    A file that cannot be read is left out with a warning in the log, and so is, where there are filters, one
    that belongs to no config. A folder of a task that its checkpoint passed over for another holds no result.

    Args:
        resultsFilename: the files' name, in a run's folder or that of one of its tasks.
        configFilter: whether the runs of a config are wanted.
        statusFilter: whether runs of a status are.

    Raises:
        WorkspaceError: when the environment names no workspace.
    """
    output = Constants.output_location
    results: list[Any] = []
    for path in _files_named(resultsFilename, output):
        if not _is_wanted(path, _run_folder(os.path.dirname(path), output), configFilter, statusFilter):
            continue
        try:
            results.append(yaml.load(safe_reads.whole(path), Loader=_Loader))
        except (OSError, yaml.YAMLError, ValueError) as error:
            _leave_out(path, str(error))
    return results


def _files_named(name: str, output: str) -> Iterator[str]:
    for folder, below, files in os.walk(output):
        below[:] = sorted(b for b in below if not b.startswith("."))
        if name in files:
            yield os.path.join(folder, name)


def _run_folder(folder: str, output: str) -> str | None:
    """The nearest folder from here up to Output that holds a run's config."""
    while folder != output:
        if os.path.isfile(os.path.join(folder, Constants.config_yaml)):
            return folder
        folder = os.path.dirname(folder)
    return None


def _is_wanted(
    path: str,
    run_folder: str | None,
    config_filter: Callable[[Config], bool] | None,
    status_filter: Callable[[StatusTracker], bool] | None,
) -> bool:
    if run_folder is not None and not _counts(path, run_folder):
        return False
    if config_filter is None and status_filter is None:
        return True
    if run_folder is None:
        _leave_out(path, "no config.yaml lies beside it or above, and only some configs are wanted")
        return False
    try:
        config = Config(os.path.join(run_folder, Constants.config_yaml))
    except (OSError, WorkspaceError) as error:
        _leave_out(path, str(error))
        return False
    if config_filter is not None and not config_filter(config):
        return False
    return status_filter is None or status_filter(StatusTracker(config))


def _counts(path: str, run_folder: str) -> bool:
    """Whether a file is not in a task's folder that the journal passes over for another one."""
    first, *below = os.path.relpath(path, run_folder).split(os.sep)
    if not below:
        return True
    task_id = first.partition("~")[0]
    tasks = lifecycle.fold(journal.read(run_folder)).tasks
    return all(task.folder in {first, None} for task in tasks if task.id == task_id)


def _leave_out(path: str, reason: str) -> None:
    _log.warning("%s is left out of the results: %s", escaped(path), escaped(reason))
