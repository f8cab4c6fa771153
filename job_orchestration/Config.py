"""A config as client programs of the first Job Orchestration look at it: all its keys, a few prepared.

It reads what `ready` writes, what its author dropped, and what the first release left behind. The strict
reader comes first; a document that only plain safe YAML understands, as the first release wrote them with
anchors and tags of sets or dates, is read so. Nothing here decides what runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from job_orchestration import Constants
from job_orchestration.config import parameter_keys, validation, yaml_reader
from job_orchestration.configBase import Dict2Class
from job_orchestration.diagnostics import problems
from job_orchestration.diagnostics.errors import WorkspaceError
from job_orchestration.runs import journal, lifecycle
from job_orchestration.workspace import clock, naming, safe_reads

_REQUIRED = ("outputDir", "tasks", "githubRepository", "pathToTasks")
_OLD_NAME_OF = {new: old for old, new in validation.OLD_NAMES.items()}


class MinimalTaskConfig(Dict2Class):
    """One entry of ``tasks``; all keys of the config, overlaid by its own, are attributes."""

    id: str
    method: str


class Config:
    """One config file, by the first release's names.

    Args:
        configFilePath: in any of the config folders, or a run's ``config.yaml``.

    Attributes:
        raw_config: the document.
        tasks: its tasks; ``None`` when it has no such key.
        outputDir: the run's folder, absolute and with its placeholders filled in; ``None`` when not given.
        moduleName: the last part of ``githubRepository``, without its ending.

    Raises:
        WorkspaceError: when the file holds no keys with values, or no workspace is named.
        OSError: when it cannot be opened.
    """

    def __init__(self, configFilePath: str | os.PathLike[str]) -> None:
        path = os.path.abspath(configFilePath)
        raw = self.raw_config = _with_changes(path, _read(path))
        self.githubRepository: str | None = raw.get("githubRepository")
        self.pathToTasks: str | None = next(
            (raw[key] for key in ("pathToTasks", _OLD_NAME_OF["pathToTasks"]) if raw.get(key) is not None),
            None,
        )
        self.overwriteOutputFine: bool = raw.get("overwriteOutputFine", False)
        self.moduleName = _module_name(self.githubRepository)
        self.outputDir = _output_dir(path, raw)
        entries = raw.get("tasks")
        self.tasks: list[MinimalTaskConfig] | None = None
        if isinstance(entries, list):
            self.tasks = [MinimalTaskConfig({**raw, **entry}) for entry in entries if isinstance(entry, dict)]

    def validate(self) -> list[str]:
        """What the first release found wrong with a config, in its words; ``check`` finds much more."""
        found = [
            f"The '{key}' attribute is required but not present."
            for key in _REQUIRED
            if key not in self.raw_config and _OLD_NAME_OF.get(key) not in self.raw_config
        ]
        if self.outputDir is not None and self.outputDir.exists() and not self.overwriteOutputFine:
            found.append(f"The path {self.outputDir} already exists.")
        for task in self.tasks or ():
            found += [f"Task({getattr(task, 'id', None)}): {sentence}" for sentence in task.validate()]
        return found


def _read(path: str) -> dict[str, Any]:
    data = safe_reads.whole(path) if _is_of_run(path) else _bytes_of(path)
    root, problems = yaml_reader.read(data, os.path.basename(path))
    if root is not None and not any(problem.is_error for problem in problems):
        found: Any = yaml_reader.plain(root)
    else:
        try:
            found = yaml.safe_load(data)
        except (yaml.YAMLError, ValueError, RecursionError):
            found = None
    if not isinstance(found, dict):
        first = problems[0] if problems else f"{path}: it holds no keys with values."
        raise WorkspaceError(f"{path} is not a config: {first}", "Mend it, or take it away")
    return found


def _is_of_run(path: str) -> bool:
    return os.path.basename(path) == Constants.config_yaml


def _bytes_of(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _with_changes(path: str, raw: dict[str, Any]) -> dict[str, Any]:
    """A run's config with the values that ``retry --set`` gave it since it was queued."""
    if not _is_of_run(path) or "tasks" not in raw:
        return raw
    changes = lifecycle.fold(journal.read(os.path.dirname(path))).changes
    for change in changes:
        raw = parameter_keys.values_with(raw, change.parameters)
    return raw


def _module_name(repository: object) -> str | None:
    return str(repository).rpartition("/")[2].partition(".")[0] if repository is not None else None


def _output_dir(path: str, raw: dict[str, Any]) -> Path | None:
    template = raw.get("outputDir")
    if template is None:
        return None
    output = Constants.output_location
    real = os.path.realpath(path)
    if os.path.basename(real) == Constants.config_yaml and real.startswith(output + os.sep):
        return Path(
            real
        ).parent  # also where the workspace was moved since the first release wrote the path down
    template = str(template)
    if os.path.isabs(template):
        return Path(template)
    stem = naming.stem_of(os.path.basename(path))
    rendered = naming.render_output_dir(template, name=stem, now=clock.local_now(), commit=None)
    return Path(output, template if isinstance(rendered, problems.Fault) else rendered)
