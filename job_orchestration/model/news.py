"""News: something that happened which somebody asked to be told of, and who is to be told."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.model.task import Json


class NewsKind(StrEnum):
    """What can be told. `docs/notifications.md` says when exactly each of them is."""

    COMPLETED = "completed"
    FAILED = "failed"
    """A try of a task failed, and there will be another one."""
    GAVE_UP = "gave_up"
    QUEUE_EMPTY = "queue_empty"
    STUCK = "stuck"
    TEST = "test"
    """Somebody tries whether messages arrive."""


@dataclass(frozen=True, slots=True)
class News:
    """One thing to tell. What does not apply, or is not known, is ``None`` or empty."""

    id: str
    """The same however often this is told."""
    event: NewsKind
    at: str
    """When it happened: UTC, ISO 8601."""
    title: str
    """All of it in one line."""
    workspace: str
    host: str = ""
    run: str | None = None
    config: str | None = None
    outcome: str | None = None
    reason: str | None = None
    task: str | None = None
    attempt: int | None = None
    tries: int | None = None
    """Starts of that task so far."""
    elapsed_s: float | None = None
    """From the first claim of the run to what happened."""
    output: str | None = None
    """The run's folder."""
    dashboard: str | None = None
    """A link, where ``workspace.yaml`` names a dashboard."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Where the runs of the workspace are, when it is about all of them."""
    log: tuple[str, ...] = ()
    """The last lines of the run's log."""

    def as_json(self) -> dict[str, Any]:
        """The news as programs and web servers get it."""
        return {**asdict(self), "event": str(self.event), "log": list(self.log)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> News:
        """The news that `as_json` wrote.

        Raises:
            ValueError, TypeError, KeyError: it is something else.
        """
        known = {f.name: found[f.name] for f in fields(cls) if f.name in found}
        return cls(**{**known, "event": NewsKind(found["event"]), "log": tuple(found.get("log", ()))})


@dataclass(frozen=True, slots=True)
class Recipient:
    """Somebody who asked to be told."""

    source: str
    """``workspace`` or ``config``: where that stands."""
    key: str
    """The dotted key of it, such as ``notify[0]``."""
    kind: str
    """Which notifier tells: ``to``, ``command``, ``callback``, or the name of a plugin."""
    target: Json
    """What that notifier needs: an address, a command. May hold secrets, so it is shown nowhere."""
    on: frozenset[NewsKind] = frozenset()

    def hears(self, kind: NewsKind) -> bool:
        """Whether it wants to be told; who asks for failures wants to know of the last one too."""
        return kind in self.on or (kind is NewsKind.GAVE_UP and NewsKind.FAILED in self.on)
