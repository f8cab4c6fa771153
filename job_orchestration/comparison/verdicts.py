"""Keep the verdicts of verifications: a record in both runs, and a list of all in ``Misc``.

The record is ``.verifications/<other run>.json`` in the folder of each of the two runs, so that it stays as
long as either. ``Misc/verdicts.jsonl`` names the last verdict on each run for those that list many runs; it
can be made again from the records.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from job_orchestration.config import json_floats
from job_orchestration.workspace import clock, durable, locks, naming, safe_reads

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager

    from job_orchestration.comparison.verification import Side, Verification
    from job_orchestration.workspace.layout import Workspace

FOLDER: Final = ".verifications"
LIST: Final = "verdicts.jsonl"
_MOST_NAME_BYTES: Final = 200
_MOST_RECORDS: Final = 1000


class ShortVerdict(NamedTuple):
    """The last verdict on a run, as those need it that list many runs."""

    verdict: str
    readied_at: str | None
    """When the run was queued: another run may have its name now."""


def only_one(run_folder: str) -> AbstractContextManager[int]:
    """Hold the right to verify a rerun."""
    folder = os.path.join(run_folder, FOLDER)
    durable.make_folder(folder)
    return locks.folder_lock(folder)


def record(workspace: Workspace, found: Verification, before: Side, after: Side) -> list[str]:
    """Write the record of a verification into both runs, durably.

    Returns:
        A sentence for each run that has no record, since its folder cannot be written.
    """
    at = clock.timestamp()
    whole = {
        "at": at,
        "original_readied_at": before.state.readied_at,
        "rerun_readied_at": after.state.readied_at,
        **found.as_json(),
    }
    data = f"{json_floats.text_of(whole, indent=1, ensure_ascii=False)}\n"
    faults = []
    for side, other in ((after, before), (before, after)):
        folder = os.path.join(side.folder, FOLDER)
        try:
            durable.make_folder(folder)
            path = os.path.join(folder, _name_of(other.run))
            durable.replace(path, data.encode("utf-8", "backslashreplace"))
        except OSError as error:
            faults.append(f"The verdict cannot be kept in Output/{side.run}: {error.strerror or error}")
    line = {
        "at": at,
        "verdict": str(found.verdict),
        "runs": {side.run: side.state.readied_at for side in (before, after)},
    }
    with suppress(OSError):
        durable.append_view(os.path.join(workspace.misc, LIST), f"{json.dumps(line)}\n".encode())
    return faults


def _name_of(run: str) -> str:
    return f"{naming.bounded(run.replace('%', '%25').replace('/', '%2F'), _MOST_NAME_BYTES)}.json"


def of_run(run_folder: str, readied_at: str | None) -> list[dict[str, Any]]:
    """Return the records in a run's folder that are about this run, the last first."""
    found = []
    folder = os.path.join(run_folder, FOLDER)
    for name in safe_reads.names_in(folder)[:_MOST_RECORDS]:
        with suppress(OSError, ValueError):
            value = json_floats.value_of(safe_reads.whole(os.path.join(folder, name)))
            if isinstance(value, dict) and readied_at in {
                value.get("original_readied_at"),
                value.get("rerun_readied_at"),
            }:
                found.append(value)
    return sorted(found, key=lambda value: str(value.get("at")), reverse=True)


def of_pair(run_folder: str, readied_at: str | None, original: str) -> dict[str, Any] | None:
    """Return the record of a rerun about its original; `None` if there is none."""
    return next((r for r in of_run(run_folder, readied_at) if r.get("original") == original), None)


def listed(workspace: Workspace) -> Mapping[str, ShortVerdict]:
    """Return the last verdict on each run of a workspace; no run is read for it."""
    try:
        data = safe_reads.whole(os.path.join(workspace.misc, LIST))
    except OSError:
        return {}
    return dict(_lines(data.splitlines()))


def _lines(lines: Iterable[bytes]) -> Iterable[tuple[str, ShortVerdict]]:
    for line in lines:
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            value = json.loads(line)
            verdict = str(value["verdict"])
            yield from ((run, ShortVerdict(verdict, at)) for run, at in value["runs"].items())
