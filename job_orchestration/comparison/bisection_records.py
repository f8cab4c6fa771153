"""What a bisection has learned so far, kept in ``Misc/bisections/<digest>/state.json``.

A bisection is known by what was asked: the same question goes on where it was, after a kill too. The runs
themselves are the truth as long as they exist; the file is for those that were deleted since.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.config import json_floats
from job_orchestration.workspace import durable, safe_reads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.workspace.layout import Workspace

FOLDER: Final = "bisections"
"""In ``Misc``."""
_STATE: Final = "state.json"


@dataclass(frozen=True, slots=True)
class TestedCommit:
    """A commit that was tested, is being tested, or was skipped."""

    commit: str
    run: str | None = None
    """The rerun in this commit; `None` if it was refused."""
    value: float | None = None
    """The metric; `None` if it is not known yet, or never will be."""
    is_bad: bool | None = None
    """Whether it counts as bad; `None` without a metric."""
    reason: str | None = None
    """Why it was skipped; `None` if it was not."""

    def as_json(self) -> dict[str, Any]:
        """Return it as ``bisect --json`` and the file have it."""
        return {**asdict(self), "value": json_floats.strict(self.value)}


def folder_of(workspace: Workspace, question: Mapping[str, Any]) -> str:
    """Return the folder of the bisection that asks a question."""
    text = json.dumps(question, sort_keys=True)
    return os.path.join(workspace.misc, FOLDER, hashlib.sha256(text.encode()).hexdigest()[:16])


def read(folder: str) -> list[TestedCommit]:
    """Return the commits of a bisection, in the order in which they were tested; none if it is new."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        found = json_floats.value_of(safe_reads.whole(os.path.join(folder, _STATE)))
        names = [field.name for field in fields(TestedCommit)]
        return [TestedCommit(**{name: one.get(name) for name in names}) for one in found["tested"]]
    return []


def write(folder: str, question: Mapping[str, Any], tested: Sequence[TestedCommit]) -> None:
    """Keep what is known, durably.

    Raises:
        OSError: the file could not be written; the old one is whole.
    """
    content = {**question, "tested": [asdict(one) for one in tested]}
    durable.replace(os.path.join(folder, _STATE), f"{json_floats.text_of(content, indent=1)}\n".encode())
