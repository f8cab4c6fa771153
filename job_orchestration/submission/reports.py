"""The report of a pass of `ready`, as plain data and as lines of text.

The data is sent between processes: `up` receives it from its `watch`. Pure.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from job_orchestration.diagnostics.plurals import counted
from job_orchestration.diagnostics.problems import Problem, Severity, escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from job_orchestration.runs.events import Trial


@dataclass(frozen=True, slots=True)
class Queued:
    """A config that was queued."""

    file: str
    run: str
    token: str
    warnings: tuple[Problem, ...] = ()
    trial: Trial | None = None
    """The trial, for a run of a sweep."""
    commit: str | None = None
    """The commit of its code; `None` for a search, whose trials have one each."""


@dataclass(slots=True)
class Report:
    """The result of one pass."""

    queued: list[Queued] = field(default_factory=list)
    refused: dict[str, list[Problem]] = field(default_factory=dict)
    unsettled: list[str] = field(default_factory=list)
    """Files that are still being written; the next pass reads them."""
    notes: list[str] = field(default_factory=list)
    """Remarks, such as the recovery of an interrupted pass."""
    not_taken: list[Problem] = field(default_factory=list)
    """One warning for each thing in ConfigSources that is no config by its name."""


def report_as_json(report: Report) -> dict[str, Any]:
    """Return the object of ``ready --json``."""
    return {
        "queued": [
            {
                "file": q.file,
                "run": q.run,
                "token": q.token,
                "commit": q.commit,
                "warnings": problems_as_json(q.warnings),
                "parameters": q.trial and dict(q.trial.parameters),
            }
            for q in report.queued
        ],
        "refused": [
            {"file": file, "problems": problems_as_json(problems)}
            for file, problems in report.refused.items()
        ],
        "unsettled": list(report.unsettled),
        "notes": list(report.notes),
        "not_taken": problems_as_json(report.not_taken),
    }


def problems_as_json(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Return problems as JSON objects."""
    return [{**asdict(p), "severity": str(p.severity)} for p in problems]


def lines_of(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield the result of `report_as_json` as lines of text."""
    for note in report["notes"]:
        yield escaped(note)
    shared: dict[str, None] = {}
    for queued in report["queued"]:  # warnings about workspace.yaml, once for all files
        others = (problem for problem in queued["warnings"] if problem["file"] != queued["file"])
        shared.update(dict.fromkeys(lines_of_problems(others)))
    yield from shared
    alone = [q for q in report["queued"] if q["parameters"] is None]
    yield from _lines_of_sweeps([q for q in report["queued"] if q["parameters"] is not None])
    for queued in alone:
        yield from lines_of_problems(p for p in queued["warnings"] if p["file"] == queued["file"])
        commit = f" (commit {queued['commit'][:12]})" if queued["commit"] else ""
        yield f"{escaped(queued['file'])}: queued as {escaped(queued['run'])}{commit}"
    for refused in report["refused"]:
        yield from lines_of_problems(refused["problems"])
    yield from lines_of_problems(report["not_taken"])


def _lines_of_sweeps(queued: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield one line for all trials of a sweep."""
    sweeps: dict[str, list[Mapping[str, Any]]] = {}
    for trial in queued:
        sweeps.setdefault(trial["file"], []).append(trial)
    for file, trials in sweeps.items():
        warnings = {str(p): p for t in trials for p in t["warnings"] if p["file"] == file}
        yield from lines_of_problems(warnings.values())
        commit = f" (commit {trials[0]['commit'][:12]})" if trials[0]["commit"] else ""
        runs = counted(len(trials), "trial")
        yield escaped(f"{file}: queued {runs} in {os.path.dirname(trials[0]['run'])}{commit}")


def lines_of_problems(problems: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield problems as lines of text."""
    for problem in problems:
        yield str(Problem(**{**problem, "severity": Severity(problem["severity"])}))
