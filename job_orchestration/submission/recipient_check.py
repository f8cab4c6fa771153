"""The fourth check of a batch: whether the recipients in configs and ``workspace.yaml`` can be reached."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from job_orchestration.config import notification_settings
from job_orchestration.diagnostics.problems import Severity
from job_orchestration.notifications import targets
from job_orchestration.submission.candidate import guarded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.config.config import Json
    from job_orchestration.config.notification_settings import Recipient
    from job_orchestration.diagnostics.problems import Fault
    from job_orchestration.submission.candidate import Candidate


def check(candidates: Sequence[Candidate], defaults: Mapping[str, Json]) -> None:
    """Add the problems of each candidate's recipients; each target is checked once."""
    known: dict[tuple[str, str], Fault | None] = {}
    for candidate in candidates:
        guarded([candidate], functools.partial(_check_recipients, candidate, defaults, known))


def _check_recipients(
    candidate: Candidate, defaults: Mapping[str, Json], known: dict[tuple[str, str], Fault | None]
) -> None:
    for recipient in notification_settings.recipients_of(candidate.checked.values, defaults):
        _check_one(candidate, recipient, known)


def _check_one(
    candidate: Candidate, recipient: Recipient, known: dict[tuple[str, str], Fault | None]
) -> None:
    from job_orchestration.notifications import notifiers

    look = recipient.kind, repr(recipient.target)
    if look not in known:
        known[look] = notifiers.fault_of(recipient)
    fault = known[look]
    where = ", which workspace.yaml says" if recipient.source == notification_settings.WORKSPACE else ""
    if fault is not None:
        candidate.add(f"{fault.what}{where}", fault.todo, recipient.key)
        return
    missing = [
        name for name in notification_settings.variables_in(recipient.target) if name not in os.environ
    ]
    if missing:
        candidate.add(
            f"the environment variable {missing[0]} is not set here{where}",
            "Set it where the workers are started",
            recipient.key,
            Severity.WARNING,
        )
    if recipient.kind == notification_settings.MAIL_KIND:
        return  # the server stands in workspace.yaml
    if recipient.source == notification_settings.CONFIG and targets.shows_password(recipient.target):
        candidate.add(
            "this holds a password, which every reader of Output/ would see",
            "Write ${NAME} for it, a variable of the environment, or write the address into workspace.yaml",
            recipient.key,
            Severity.WARNING,
        )
