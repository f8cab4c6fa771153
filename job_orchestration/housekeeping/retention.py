"""Retention policies: decide which completed runs are kept.

A policy keeps the best runs by a metric of a task, the last runs, and runs younger than some age. A run is
kept if at least one rule of the policy keeps it; all others can be deleted. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.runs.lifecycle import results_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.config.config import Json
    from job_orchestration.runs.state import RunState

_LAST: Final = re.compile(r"last:([0-9]{1,9})")
_BEST: Final = re.compile(r"(best|lowest):([0-9]{1,9}):(.+)")


@dataclass(frozen=True, slots=True)
class Last:
    """Keep the runs that completed last."""

    number: int


@dataclass(frozen=True, slots=True)
class Best:
    """Keep the runs with the highest value of a metric, or with the lowest."""

    number: int
    metric: str
    """``task.key``, or a bare key that only one task of a run returns."""
    lowest: bool = False


Keep: TypeAlias = Last | Best


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules that keep runs."""

    keeps: tuple[Keep, ...] = ()
    older_than: float | None = None
    """Age in seconds; younger runs are kept."""


def parse_keep(text: str) -> Keep | None:
    """Parse ``last:10``, ``best:5:accuracy`` or ``lowest:5:train.loss``; return ``None`` if invalid."""
    if match := _LAST.fullmatch(text):
        return Last(int(match[1]))
    if match := _BEST.fullmatch(text):
        return Best(int(match[2]), match[3], lowest=match[1] == "lowest")
    return None


def may_go(runs: Mapping[str, RunState], policy: Policy, now: datetime) -> list[str]:
    """Return the runs that no rule of a policy keeps, in the order in which they ended.

    Args:
        runs: the state of each completed run, by name.
        policy: the rules that keep runs.
        now: the current time, with its time zone.

    Raises:
        UsageError: if a metric is in no run, or in more than one task of a run.
    """
    ended = sorted(runs, key=lambda run: (runs[run].ended_at or "", run))
    kept: set[str] = set()
    for keep in policy.keeps:
        kept.update(ended[::-1][: keep.number] if isinstance(keep, Last) else _best(runs, ended[::-1], keep))
    return [run for run in ended if run not in kept and is_old(runs[run], policy.older_than, now)]


def is_old(state: RunState, seconds: float | None, now: datetime) -> bool:
    """Return whether a run ended longer ago than so many seconds; always true for ``None``."""
    if seconds is None:
        return True
    return state.ended_at is not None and now - datetime.fromisoformat(state.ended_at) > timedelta(
        seconds=seconds
    )


def _best(runs: Mapping[str, RunState], latest_first: Sequence[str], keep: Best) -> list[str]:
    """Return the best runs; of two equal ones the one that ended later comes first."""
    found = {run: value for run in latest_first if (value := metric_of(runs[run], keep.metric)) is not None}
    if runs and not found:  # a misspelt metric must not delete all runs
        raise UsageError(
            f"No completed run returned a number called {escaped(keep.metric)}",
            "See what a run's tasks returned with: job-orchestration show RUN --json",
        )
    sign = 1 if keep.lowest else -1
    return sorted(found, key=lambda run: sign * found[run])[: keep.number]


def metric_of(state: RunState, metric: str) -> float | None:
    """Return the value of a metric of a run.

    Args:
        state: the state of the run.
        metric: ``task.key``, where the key may go on into what is nested, or the task's id alone for one
            that returned a number; or a bare key that only one of the tasks returned.

    Returns:
        ``None`` if the run has no such number.

    Raises:
        UsageError: if more than one task returned it.
    """
    results = results_of(state.tasks)
    named = [
        value
        for task, result in results.items()
        if metric == task or metric.startswith(f"{task}.")
        if (value := _number(result, metric[len(task) + 1 :])) is not None
    ]
    bare = {task: value for task, result in results.items() if (value := _number(result, metric)) is not None}
    if named:
        return named[0]
    if len(bare) > 1:
        which = " or ".join(escaped(f"{task}.{metric}") for task in bare)
        raise UsageError(f"More than one task returned {escaped(metric)}", f"Write {which}")
    return next(iter(bare.values()), None)


def _number(result: Json, key: str) -> float | None:
    """Return the number of a dotted key of a result, or the result itself if the key is empty."""
    found = result
    while key and isinstance(found, dict):
        if key in found:
            found, key = found[key], ""
        else:
            step, _, key = key.partition(".")
            found = found.get(step) if key else None
    return found if not key and isinstance(found, int | float) and not isinstance(found, bool) else None
