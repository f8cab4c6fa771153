"""A config as client programs of the first Job Orchestration look at it: all its keys, a few prepared.

It reads what `ready` writes, what its author dropped, and what the first release left behind. The strict
reader comes first; a document that only plain safe YAML understands, as the first release wrote them with
anchors and tags of sets or dates, is read so. Nothing here decides what runs.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from job_orchestration import Constants
from job_orchestration.configBase import Dict2Class
from job_orchestration.model.errors import WorkspaceError
from job_orchestration.rules import naming, reading

_REQUIRED = ("outputDir", "tasks", "githubRepository", "pathToTasks")
_FORMER_NAMES = {"pathToTasks": "pathToModuleCode"}


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
        raw = self.raw_config = _read(path)
        self.githubRepository: str | None = raw.get("githubRepository")
        self.pathToTasks: str | None = raw.get("pathToTasks", raw.get(_FORMER_NAMES["pathToTasks"]))
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
            if key not in self.raw_config and _FORMER_NAMES.get(key) not in self.raw_config
        ]
        if self.outputDir is not None and self.outputDir.exists() and not self.overwriteOutputFine:
            found.append(f"The path {self.outputDir} already exists.")
        for task in self.tasks or ():
            found += [f"Task({getattr(task, 'id', None)}): {sentence}" for sentence in task.validate()]
        return found


def _read(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        data = file.read()
    root, problems = reading.read(data, os.path.basename(path))
    if root is not None and not problems:
        found: Any = reading.plain(root)
    else:
        try:
            found = yaml.safe_load(data)
        except (yaml.YAMLError, ValueError, RecursionError):
            found = None
    if not isinstance(found, dict):
        first = problems[0] if problems else f"{path}: it holds no keys with values."
        raise WorkspaceError(f"{path} is not a config: {first}", "Mend it, or take it away")
    return found


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
    rendered = naming.render_output_dir(template, name=stem, now=datetime.now().astimezone(), commit=None)
    return Path(output, template if isinstance(rendered, naming.Fault) else rendered)
