"""What a worker is asked to do, and what it then asks a host to do for an attempt."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from job_orchestration.engine import sweep
from job_orchestration.files.workspace import VARIABLE
from job_orchestration.model.task import specs_of
from job_orchestration.rules import checking

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.engine.messages import Message
    from job_orchestration.engine.room import Share
    from job_orchestration.files.token import Claim
    from job_orchestration.model.config import Settings


@dataclass(frozen=True, slots=True)
class Orders:
    """How a worker was asked to work."""

    until_idle: bool = False
    """End when nothing waits and nothing runs, instead of waiting for more."""
    seconds: float | None = None
    """The walltime: be gone by then, handing back what is not finished."""
    resources: Mapping[str, int] = field(default_factory=dict)
    """What the runs of its pool may take, besides the machine's processors and memory."""
    pool: str | None = None
    """The name of the pool whose account it shares; `None` when it works alone."""


def order_for(claim: Claim, settings: Settings, workspace: str, share: Share) -> Message:
    """The message that has a child forked for an attempt.

    Args:
        claim: the run.
        settings: how it is to be treated.
        workspace: the workspace's folder.
        share: what the run was given of this machine.
    """
    own = [spec.parameters.get("timeout") for spec in specs_of(claim.state.values)]
    limits = [None if limit is None else checking.parse_duration(limit) for limit in own]
    spent = sum(task.duration_s or 0.0 for task in claim.state.tasks)
    return {
        "kind": "attempt",
        "run": claim.run,
        "folder": claim.run_folder,
        "attempt": claim.attempt,
        "journal": sorted({*claim.earlier, claim.attempt}),
        "token": claim.path,
        "written": claim.journal.written,
        "isolation": settings.isolation,
        "timeouts": limits if any(limits) else [],
        "run_limit": None if settings.timeout is None else max(settings.timeout - spent, 0.0),
        "stall_timeout": settings.stall_timeout,
        "memory_limit": settings.memory_limit,
        "log": os.path.join(claim.run_folder, "log.log"),
        "log_limit": settings.log_limit,
        "share": dict(share.environment),
        "environment": {sweep.MARK: f"{claim.run}#{claim.attempt}", VARIABLE: workspace},
    }
