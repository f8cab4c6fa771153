"""Keep ``provenance.json`` of a run in step with its journal after retries in other code.

The file is written when a run is queued. A retry adds two keys: ``changes``, what each retry changed, and
``task_commits``, the commit of each task. Both are made from the journal, so a crash before the file is
written is mended by the next claim of the run.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from job_orchestration.config import json_floats
from job_orchestration.diagnostics import secrets
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.runs.opening import PROVENANCE
from job_orchestration.workspace import durable, safe_reads, temporary_files

if TYPE_CHECKING:
    from job_orchestration.runs.state import Change, RunState


def note_changes(run_folder: str, state: RunState) -> None:
    """Write the changes of a run into its provenance, unless they are there. Idempotent.

    Raises:
        OSError: the file could not be written; the old one is whole.
    """
    if not state.changes:
        return
    path = os.path.join(run_folder, PROVENANCE)
    temporary_files.collect_in_run(run_folder)
    found: Any = {}
    try:
        found = json_floats.value_of(safe_reads.whole(path))
    except safe_reads.DamagedFileError:
        durable.move_aside(path)
    except (OSError, ValueError):
        pass
    if not isinstance(found, dict):
        found = {}
    wanted = {**found, "changes": [as_json(c) for c in state.changes], "task_commits": state.commits}
    if found != wanted:
        data = json_floats.text_of(wanted, indent=1, ensure_ascii=False) + "\n"
        durable.replace(path, data.encode("utf-8", "backslashreplace"))


def read(run_folder: str) -> dict[str, Any] | None:
    """Return the content of a run's ``provenance.json``; `None` if it is not there or cannot be read."""
    with suppress(OSError, ValueError):
        found = json_floats.value_of(safe_reads.whole(os.path.join(run_folder, PROVENANCE)))
        return found if isinstance(found, dict) else None
    return None


def as_json(change: Change) -> dict[str, Any]:
    """Return a change as ``provenance.json`` and ``show --json`` have it."""
    return {
        "at": change.at,
        "attempt": change.attempt,
        "commit": change.commit,
        "set": secrets.masked_values(dict(change.parameters)),
        "dirty": [escaped(name) for name in change.dirty],
        "tasks": list(change.tasks),
    }
