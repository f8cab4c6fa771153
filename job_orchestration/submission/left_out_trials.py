"""Trials that a sweep leaves out: their tasks say that there is no such combination.

They are warned of, grouped by reason, and listed in ``Output/SWEEP/summary/left_out.tsv``, which is written
before the sweep's file leaves ConfigSources. A sweep of which nothing is left is refused.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.plurals import counted
from job_orchestration.diagnostics.problems import Problem, Severity
from job_orchestration.workspace import durable, safe_reads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_orchestration.submission.candidate import Candidate
    from job_orchestration.workspace.layout import Workspace

FOLDER: Final = "summary"
"""The folder of a sweep that has what is known of it as a whole, beside the folders of its trials."""
FILE: Final = "left_out.tsv"
_MOST_REASONS: Final = 3
_KEY: Final = "sweep"
_TITLES: Final = "trial\treason\n"


def take_out(candidates: list[Candidate]) -> None:
    """Take the trials out that are left out; the others of each sweep know which they are, and why."""
    families: dict[int, list[Candidate]] = {}
    for candidate in candidates:
        if candidate.left_out:
            families.setdefault(id(candidate.drop), [])
    for candidate in candidates if families else ():
        if id(candidate.drop) in families:
            families[id(candidate.drop)].append(candidate)
    gone: set[int] = set()
    for family in families.values():
        out = [candidate for candidate in family if candidate.left_out]
        if len(out) == len(family):
            for candidate in out:
                candidate.add(candidate.left_out)
            continue
        gone.update(map(id, out))
        _note(next(c for c in family if not c.left_out), family, out)
    candidates[:] = [candidate for candidate in candidates if id(candidate) not in gone]


def _note(first: Candidate, family: Sequence[Candidate], out: Sequence[Candidate]) -> None:
    """Add a warning for each of the first reasons, and keep all of them."""
    first.beside = tuple((candidate.label, " ".join(candidate.left_out.split())) for candidate in out)
    assert first.trial is not None, "a trial of a sweep"
    line, column = first.checked.place(next(iter(first.trial.parameters)))

    def warn(what: str, todo: str = "") -> None:
        first.problems.append(Problem(first.drop.filename, what, todo, _KEY, line, column, Severity.WARNING))

    of_reason: dict[str, list[str]] = {}
    for label, reason in first.beside:
        of_reason.setdefault(reason, []).append(label)
    commonest = sorted(of_reason.items(), key=lambda entry: -len(entry[1]))
    for reason, labels in commonest[:_MOST_REASONS]:
        more = f" and {counted(len(labels) - 1, 'more trial')}" if len(labels) > 1 else ""
        warn(f"left out, {labels[0]}{more}: {reason}")
    rest = sum(len(labels) for _, labels in commonest[_MOST_REASONS:])
    if rest:
        todo = f"{FOLDER}/{FILE} in the sweep's folder lists all of them"
        warn(f"left out for other reasons: {counted(rest, 'more trial')}", todo)
    counts = f"{len(out)} of {counted(len(family), 'trial')}"
    warn(f"{counts} are left out, and the others are queued")


def record(workspace: Workspace, family: Sequence[Candidate]) -> None:
    """Write the list of the trials that a sweep leaves out, if it leaves any out.

    Trials of which an earlier form of the sweep spoke, and this one does not, stay in it.
    """
    beside = dict(next((candidate.beside for candidate in family if candidate.beside), ()))
    folder = os.path.join(os.path.dirname(workspace.run_folder(family[0].run)), FOLDER)
    before = dict(read(folder))
    now = {candidate.label for candidate in family}
    entries = {label: reason for label, reason in before.items() if label not in now} | beside
    if entries == before:
        return
    durable.make_folder(folder)
    lines = [_TITLES, *(f"{label}\t{reason}\n" for label, reason in entries.items())]
    durable.replace(os.path.join(folder, FILE), "".join(lines).encode("utf-8", "backslashreplace"))


def read(folder: str) -> list[tuple[str, str]]:
    """Return the trials that are left out, each with the reason, from the folder `FOLDER` of a sweep."""
    try:
        text = safe_reads.whole(os.path.join(folder, FILE)).decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    entries = (line.partition("\t") for line in text.splitlines()[1:])
    return [(label, reason) for label, _, reason in entries if label]
