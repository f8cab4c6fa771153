"""A notification: a message about a run or the queue, its JSON form, its title and its text. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.config.notification_settings import NotificationEvent
from job_orchestration.diagnostics import durations

if TYPE_CHECKING:
    from collections.abc import Mapping

_INTENDED: Final = ("cancelled", "pruned")
_KEYS: Final = {"hostname": "host", "try_number": "try", "most_tries": "max_tries"}
"""Fields whose JSON key has another name."""


@dataclass(frozen=True, slots=True)
class Notification:
    """A message about a run or the queue. Fields that do not apply or are unknown are ``None`` or empty."""

    id: str
    """The same each time the same event is published or delivered again."""
    event: NotificationEvent
    at: str
    """Time of the event: UTC, ISO 8601."""
    title: str
    """Summary in one line."""
    workspace: str
    hostname: str = ""
    run: str | None = None
    config: str | None = None
    outcome: str | None = None
    reason: str | None = None
    task: str | None = None
    attempt: int | None = None
    tries: int | None = None
    """Starts of that task so far."""
    elapsed_s: float | None = None
    """Seconds of work of the run until the event."""
    output: str | None = None
    """The run's folder."""
    dashboard: str | None = None
    """Link to the run, if ``workspace.yaml`` has ``dashboardUrl``."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Numbers of runs by place, if the message is about the whole workspace."""
    log: tuple[str, ...] = ()
    """The last lines of the run's log."""
    waiting_s: float | None = None
    """Seconds that the run has spent in the queue and between attempts."""
    try_number: int | None = None
    """The try that the event is about, from 1, as ``maxAttempts`` counts them."""
    most_tries: int | None = None
    """How many tries a task has."""
    progress: float | None = None
    """Progress of the running task, from 0 to 1, if it reports any; 1 for a completed run."""

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object that programs and web servers get."""
        found = {**asdict(self), "event": str(self.event), "log": list(self.log)}
        return {_KEYS.get(name, name): value for name, value in found.items()}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Notification:
        """Read what `as_json` returned.

        Raises:
            ValueError, TypeError, KeyError: it is not a notification.
        """
        keys = {f.name: _KEYS.get(f.name, f.name) for f in fields(cls)}
        known = {name: found[key] for name, key in keys.items() if key in found}
        return cls(
            **{**known, "event": NotificationEvent(found["event"]), "log": tuple(found.get("log", ()))}
        )


# -- text -------------------------------------------------------------------------------------------------


def text_of(notification: Notification) -> str:
    """Return the body of a message: the event, where to look, and the last lines of the log."""
    elapsed = notification.elapsed_s
    facts = [
        notification.reason,
        _task_of(notification),
        None if elapsed is None else f"After {durations.text_of(elapsed)} of work",
        ", ".join(f"{count} {place}" for place, count in notification.counts.items()) or None,
        f"Output: {notification.output}" if notification.output else f"Workspace: {notification.workspace}",
        f"On: {notification.hostname}" if notification.hostname else None,
        f"Dashboard: {notification.dashboard}" if notification.dashboard else None,
    ]
    lines = [fact for fact in facts if fact]
    if notification.log:
        lines += ["", "The last lines of its log:", *notification.log]
    return "\n".join([*lines, "", f"Message {notification.id}"])


def _task_of(notification: Notification) -> str | None:
    if not notification.task or not notification.try_number:
        return notification.task and f"Task {notification.task}"
    return f"Task {notification.task}, try {notification.try_number} of {notification.most_tries}"


def title_of(
    kind: NotificationEvent, run: str, task: str | None, reason: str | None, outcome: str | None = None
) -> str:
    """Return the title of a message about a run."""
    match kind:
        case NotificationEvent.COMPLETED:
            return f"{run} completed"
        case NotificationEvent.FAILED:
            return f"{run}: task {task} failed and will be tried again"
        case NotificationEvent.GAVE_UP:
            ended = f"was {outcome}" if outcome in _INTENDED else "failed"
            return f"{run} {ended}: {_short(reason or 'no reason was given')}"
        case NotificationEvent.STALLED:
            return f"{run} seems stalled: {_short(reason or 'it is silent')}"
        case _:
            return f"{run}{_GOES_WELL.get(kind, '')}"


_GOES_WELL: Final = {
    NotificationEvent.ACCEPTED: " was queued",
    NotificationEvent.STARTED: " has started",
    NotificationEvent.PROGRESS: " is running",
}


def _short(text: str, most: int = 150) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
