"""`gc`, `restore` and `doctor` for Python."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from job_orchestration.api import steering
from job_orchestration.diagnostics.errors import RunRefusedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_orchestration.api.reading import Reader
    from job_orchestration.commands.selection import Selection


def gc(
    reader: Reader,
    choice: Selection,
    keep: Sequence[str],
    older_than: float | None,
    *,
    empty_trash: bool,
    yes: bool,
) -> list[dict[str, Any]]:
    """List what can be deleted, or delete it."""
    from job_orchestration.commands import gc as command
    from job_orchestration.housekeeping.retention import Policy, parse_keep

    keeps = []
    for text in [keep] if isinstance(keep, str) else keep:
        rule = parse_keep(text)
        if rule is None:
            raise UsageError(f"{text!r} is no rule", "Write last:N, best:N:METRIC or lowest:N:METRIC")
        keeps.append(rule)
    policy = Policy(tuple(keeps), older_than)
    wanted = command.Wanted(choice.names, policy, empty_trash, choice.statuses, choice.filter)
    if not yes:
        return [item.as_json() for item in command.look(reader.workspace, wanted)]
    done = command.collect(steering.prepared(reader), wanted)
    if done.refused:
        raise RunRefusedError(done.refused, [item.name for item in done.items])
    return [item.as_json() for item in done.items]


def restore(reader: Reader, names: Sequence[str]) -> Sequence[str]:
    """Move runs out of the trash; return their names."""
    from job_orchestration.commands.restore import restore as bring_back

    done = bring_back(steering.prepared(reader), names)
    if done.refused:
        raise RunRefusedError(done.refused, done.runs)
    return done.runs


def doctor(reader: Reader) -> list[dict[str, Any]]:
    """Check the workspace and this machine."""
    from job_orchestration.commands.doctor import doctor as check

    return [{**asdict(d), "level": str(d.level)} for d in check(reader.workspace.root).diagnostics]
