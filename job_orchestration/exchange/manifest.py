"""``export.json``: what an export holds, and where. Pure.

===================================  ====================================================================
``export.json``                      this list: the runs, the commits, and size and digest of every file
``run.py``                           runs the tasks again with Python alone (`standalone_runner`)
``README.md``                        says so to people
``requirements.txt``                 the packages that the first run had
``runs/RUN/``                        the output folder of a run as it is in its workspace
``code/COMMIT/files/``               the code as it ran, for people and for ``run.py``
``code/COMMIT/commit.pack``, lfs/    the same for an import
``records/KIND/DIGEST.json``         packages, environments and inputs that the runs name by digest
===================================  ====================================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.config import json_floats

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME: Final = "export.json"
FORMAT: Final = 1
RECORDS: Final = ("packages", "environments", "inputs")
"""The folders in ``Misc`` of lists that runs name by digest."""
LARGEST: Final = 1 << 28
"""Bytes of the list; no export that we write has a larger one."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_MOST_FILES: Final = 1_000_000
_LONGEST: Final = 4000
_LONGEST_PART: Final = 255


class ManifestError(ValueError):
    """The list is not one that an export has; its text is a sentence."""


@dataclass(frozen=True, slots=True)
class ExportedRun:
    """A run in an export."""

    run: str
    config: str
    status: str
    commit: str | None
    tasks_folder: str
    """The folder of ``Tasks.py`` in the code."""
    seed: int
    values: Mapping[str, Any]
    """The resolved config, for ``run.py``."""
    results: Mapping[str, Any]
    """What each task returned, by its id."""
    requirements: str
    """The name of the file that lists its packages; empty if they are not known."""
    started_at: str | None = None
    ended_at: str | None = None
    """UTC, ISO 8601."""


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file that an import reads."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of ``export.json``."""

    exported_at: str
    runs: tuple[ExportedRun, ...]
    commits: Mapping[str, Mapping[str, Any]]
    """By commit: the commits of its submodules (``modules``), and path to digest of its ``lfs`` files."""
    files: Mapping[str, ExportedFile]
    left_out: tuple[str, ...] = ()
    """What was in the runs' folders and is no plain file."""

    def text(self) -> str:
        """Return the content of the file."""
        found = {
            "format": FORMAT,
            "exported_at": self.exported_at,
            "runs": [{name: getattr(run, name) for name in run.__slots__} for run in self.runs],
            "commits": self.commits,
            "files": {path: [file.bytes, file.sha256] for path, file in self.files.items()},
            "left_out": list(self.left_out),
        }
        return json_floats.text_of(found, indent=1) + "\n"


def read(data: bytes) -> Manifest:
    """Return the manifest in the content of ``export.json``.

    Raises:
        ManifestError: if it is none, or one of a later release.
    """
    try:
        found = json_floats.value_of(data)
        number = found["format"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ManifestError(f"{NAME} cannot be read") from None
    if number != FORMAT:
        raise ManifestError(f"it has the format {number!r:.40}; this release knows {FORMAT}")
    try:
        files = {
            path: ExportedFile(_size(size), _matching(_DIGEST, digest))
            for path, (size, digest) in found["files"].items()
        }
        runs = tuple(_run(one) for one in found["runs"])
        commits = {
            commit: {
                "modules": [_text(one) for one in about["modules"]],
                "lfs": {path: _matching(_DIGEST, digest) for path, digest in about["lfs"].items()},
            }
            for commit, about in found["commits"].items()
        }
        return Manifest(_text(found["exported_at"]), runs, commits, files, tuple(found["left_out"]))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ManifestError(f"{NAME} is damaged ({error})") from None


def _run(found: dict[str, Any]) -> ExportedRun:
    commit = found["commit"]
    for name in ("run", "config", "status", "tasks_folder", "requirements"):
        _text(found[name])
    if not (commit is None or isinstance(commit, str)) or not isinstance(found["values"], dict):
        raise TypeError(found["run"])
    return ExportedRun(**{name: found[name] for name in ExportedRun.__slots__ if name in found})


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.60} is no text")
    return value


def _size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{value!r:.60} is no size")
    return value


def _matching(pattern: re.Pattern[str], value: object) -> str:
    if not pattern.fullmatch(_text(value)):
        raise ValueError(f"{value!r:.80} is no digest")
    return _text(value)


def fault_of_paths(manifest: Manifest) -> str | None:
    """Return what is wrong with the paths of a manifest; `None` if all stay in their folder."""
    if len(manifest.files) > _MOST_FILES:
        return f"it lists {len(manifest.files)} files, more than {_MOST_FILES}"
    bad = next((path for path in manifest.files if not is_inside(path)), None)
    return None if bad is None else f"its list has the path {bad!r:.120}, which leads out of it"


def is_inside(path: str) -> bool:
    """Return whether a path is relative, plain, and stays below its folder."""
    parts = path.split("/")
    is_plain = not {"", ".", ".."} & set(parts) and "\0" not in path
    try:
        return (
            is_plain and len(path) <= _LONGEST and all(len(part.encode()) <= _LONGEST_PART for part in parts)
        )
    except UnicodeEncodeError:
        return False
