"""What a go of `ready` did, as plain data and as lines for a person.

The data crosses from one process to another: `up` hears in it what its `watch` does.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from job_orchestration.model.problem import Problem, Severity, escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from job_orchestration.actions.ready import Report


def report_as_json(report: Report) -> dict[str, Any]:
    """What ``ready --json`` shows."""
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
    }


def problems_as_json(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Findings as JSON can say them."""
    return [{**asdict(p), "severity": str(p.severity)} for p in problems]


def lines_of(told: Mapping[str, Any]) -> Iterator[str]:
    """What `report_as_json` gave, a line for each thing that happened."""
    for note in told["notes"]:
        yield escaped(note)
    alone = [q for q in told["queued"] if q["parameters"] is None]
    yield from _lines_of_sweeps([q for q in told["queued"] if q["parameters"] is not None])
    for queued in alone:
        yield from lines_of_problems(queued["warnings"])
        commit = f" (commit {queued['commit'][:12]})" if queued["commit"] else ""
        yield f"{escaped(queued['file'])}: queued as {escaped(queued['run'])}{commit}"
    for refused in told["refused"]:
        yield from lines_of_problems(refused["problems"])


def _lines_of_sweeps(queued: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """A line for all trials of a sweep: a thousand lines would say no more."""
    sweeps: dict[str, list[Mapping[str, Any]]] = {}
    for trial in queued:
        sweeps.setdefault(trial["file"], []).append(trial)
    for file, trials in sweeps.items():
        warnings = {str(problem): problem for t in trials for problem in t["warnings"]}
        yield from lines_of_problems(warnings.values())
        commit = f" (commit {trials[0]['commit'][:12]})" if trials[0]["commit"] else ""
        runs = f"{len(trials)} trials" if len(trials) > 1 else "1 trial"
        yield escaped(f"{file}: queued {runs} in {os.path.dirname(trials[0]['run'])}{commit}")


def lines_of_problems(problems: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Findings as a person reads them."""
    for problem in problems:
        yield str(Problem(**{**problem, "severity": Severity(problem["severity"])}))
