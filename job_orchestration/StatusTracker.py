"""The status of a run, by the names of the first Job Orchestration; only for looking.

A run's journal is the truth, and ``status.yaml`` a view of it. So the view is made from the journal as it is
now, and read like the file of a run that has no journal, which the first release made. Nothing is ever
written: there, asking for the status of a config was enough to make one.
"""

from __future__ import annotations

import logging
import os
from datetime import datetime
from typing import TYPE_CHECKING, Any

import yaml

from job_orchestration.runs import journal, lifecycle, status_file
from job_orchestration.runs.state import Status
from job_orchestration.workspace import safe_reads

if TYPE_CHECKING:
    from job_orchestration.Config import Config

__all__ = ["Status", "StatusTracker"]


class StatusTracker:
    """How far the run of a config is, as of now.

    Args:
        config: the config of the run; a run that was never queued is `Status.READY`, with nothing else known.

    Attributes:
        start_time: local time, without a zone, like the other times; ``None`` when not known.
        end_time: when its last task finished.
        current_task: the id of the task that runs, or of the one that ended last.
        error_count: failed tries of the tasks that have not finished.
        currentTestSha: the commit that it runs.
        orchestrationVersion: the release that wrote this down.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        values = _values(os.fspath(config.outputDir)) if config.outputDir is not None else {}
        self.status = Status.__members__.get(str(values.get("status")), Status.READY)
        self.start_time = _moment(values.get("start_time"))
        self.end_time = _moment(values.get("end_time"))
        self.last_updated = _moment(values.get("last_updated"))
        self.current_task: str | None = values.get("current_job")
        self.error_count: int = values.get("error_count", 0)
        self.currentTestSha: str | None = values.get("current_test_sha")
        self.orchestrationVersion: str | None = values.get("orchestration_version")


def _values(run_folder: str) -> dict[str, Any]:
    """The keys of ``status.yaml``, from the journal or the file; none when they cannot be read."""
    path = os.path.join(run_folder, "status.yaml")
    try:
        written = journal.read(run_folder)
        own = status_file.status_yaml(lifecycle.fold(written)) if written.get(0) else None
        found = yaml.safe_load(safe_reads.whole(path) if own is None else own)
    except FileNotFoundError:
        return {}
    except (OSError, yaml.YAMLError, ValueError) as error:
        logging.getLogger(__name__).warning("%s cannot be read: %s", path, error)
        return {}
    return found if isinstance(found, dict) else {}


def _moment(text: object) -> datetime | None:
    if isinstance(text, datetime):
        return text
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None
