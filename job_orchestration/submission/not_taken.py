"""What lies in ConfigSources and is not taken: folders, files of other kinds, and half-copied ones.

Each is named with what to do, once: a person who dropped it expects a run.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.config import workspace_defaults
from job_orchestration.config.settings import settings_of
from job_orchestration.diagnostics.problems import Problem, Severity
from job_orchestration.workspace.ignored_names import is_ignored
from job_orchestration.workspace.naming import PROBLEMS_SUFFIX, is_config_name
from job_orchestration.workspace.safe_reads import names_in

if TYPE_CHECKING:
    from job_orchestration.workspace.layout import Workspace

_MOST: Final = 20
"""Names that are shown; the others are counted."""
_PARTIAL: Final = re.compile(r"(.+)\.(?:part|partial|filepart|crdownload|download|tmp|temp)", re.IGNORECASE)
"""What programs call a file that they have not copied completely."""


def find(workspace: Workspace, *, before: float | None = None) -> list[Problem]:
    """Return one warning for each thing in ConfigSources that `ready` does not take.

    Args:
        workspace: the workspace.
        before: a time in Unix seconds; what has changed since is left out.
    """
    found: list[Problem] = []
    more: tuple[str, ...] | None = None
    for name in names_in(workspace.sources):
        if is_config_name(name) or name.startswith(".") or PROBLEMS_SUFFIX in name:
            continue
        with suppress(OSError):
            path = os.path.join(workspace.sources, name)
            status = os.lstat(path)
            is_folder = stat.S_ISDIR(status.st_mode)
            if is_ignored(name, folder=is_folder) or (before is not None and status.st_ctime > before):
                continue
            more = _more(workspace) if more is None else more
            if is_ignored(name, more, folder=is_folder):
                continue
            found.append(_folder(name, path) if is_folder else _file(name))
    if len(found) > _MOST:
        rest = f"{len(found) - _MOST} more files and folders are not taken either"
        todo = "Move them elsewhere, or rename them to *.yaml if they are configs"
        return [*found[:_MOST], _warning("ConfigSources", rest, todo)]
    return found


def _more(workspace: Workspace) -> tuple[str, ...]:
    """The patterns that ``workspace.yaml`` adds."""
    values, _ = workspace_defaults.defaults(workspace)
    return settings_of(values).ignored_files


def _folder(name: str, path: str) -> Problem:
    configs = sum(map(is_config_name, names_in(path)))
    files = f"Move its {configs} config{'s' if configs > 1 else ''} into ConfigSources itself"
    todo = files if configs else "Move it elsewhere; drop configs into ConfigSources itself"
    return _warning(f"{name}/", "this is a folder, which is not looked into", todo)


def _file(name: str) -> Problem:
    partial = _PARTIAL.fullmatch(name)
    if partial and is_config_name(partial[1]):
        what = "this looks like a file that is not copied completely, and is not taken"
        return _warning(name, what, f"Rename it to {partial[1]} when it is whole, or take it away")
    stem, _, suffix = name.rpartition(".")
    if suffix.lower() == "json":
        what = "this is JSON by its name, and only *.yaml and *.yml are taken"
        return _warning(name, what, f"Rename it to {stem}.yaml: nearly all JSON is YAML")
    what = "this is not taken: only *.yaml and *.yml are"
    target = stem if is_config_name(stem) else f"{stem or name}.yaml"
    return _warning(name, what, f"Rename it to {target} if it is a config, or move it elsewhere")


def _warning(name: str, what: str, todo: str) -> Problem:
    return Problem(name, what, todo, severity=Severity.WARNING)
