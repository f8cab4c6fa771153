"""A part of `check`: whether those whom a config or ``workspace.yaml`` names can be told at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from job_orchestration.model.problem import Severity
from job_orchestration.rules import notifying

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.actions.candidates import Candidate
    from job_orchestration.model.news import Recipient
    from job_orchestration.model.task import Json
    from job_orchestration.rules.naming import Fault


def check(candidates: Sequence[Candidate], defaults: Mapping[str, Json]) -> None:
    """Note for each candidate what is wrong with its recipients; each target is looked at once."""
    known: dict[tuple[str, str], Fault | None] = {}
    for candidate in candidates:
        for recipient in notifying.recipients_of(candidate.checked.values, defaults):
            _check_one(candidate, recipient, known)


def _check_one(
    candidate: Candidate, recipient: Recipient, known: dict[tuple[str, str], Fault | None]
) -> None:
    from job_orchestration import notifiers

    look = recipient.kind, repr(recipient.target)
    if look not in known:
        known[look] = notifiers.fault_of(recipient)
    fault = known[look]
    where = ", which workspace.yaml says" if recipient.source == notifying.WORKSPACE else ""
    if fault is not None:
        candidate.add(f"{fault.what}{where}", fault.todo, recipient.key)
        return
    missing = [name for name in notifying.variables_in(recipient.target) if name not in os.environ]
    if missing:
        candidate.add(
            f"the environment variable {missing[0]} is not set here{where}",
            "Set it where the workers are started",
            recipient.key,
            Severity.WARNING,
        )
    if recipient.source == notifying.CONFIG and notifying.shows_password(recipient.target):
        candidate.add(
            "a password stands here, and will stand in Output/ for everybody who may read there",
            "Write ${NAME} for it, a variable of the environment, or write the address into workspace.yaml",
            recipient.key,
            Severity.WARNING,
        )
