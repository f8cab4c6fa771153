"""`verify`: compare what reruns made with what their originals made, and keep the verdicts."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.commands import changes, selection
from job_orchestration.comparison import verdicts, verification
from job_orchestration.comparison.deviations import ATOL, RTOL, Tolerance, Verdict
from job_orchestration.comparison.verification import Side
from job_orchestration.diagnostics.errors import CodeError
from job_orchestration.diagnostics.problems import Fault, Problem, escaped
from job_orchestration.runs.catalog import Catalog
from job_orchestration.workspace.layout import Place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.commands.selection import Selection
    from job_orchestration.comparison.unseeded_calls import UnseededCall
    from job_orchestration.config.config import Json
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.workspace.layout import Workspace

_MOST_CALLS: Final = 10
"""Places in the code that a verdict names."""


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """Result of `verify`, pair by pair."""

    verified: tuple[Mapping[str, Any], ...]
    """The record of each pair, as `Verification.as_json` makes it."""
    refused: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_different(self) -> bool:
        """Whether a rerun has made something else than its original."""
        return any(record["verdict"] == Verdict.DIFFERENT for record in self.verified)


@dataclass(frozen=True, slots=True)
class How:
    """How two runs are compared; `None`: as the rerun was asked for, or as is usual."""

    rtol: float | None = None
    atol: float | None = None
    ignore: tuple[str, ...] | None = None

    def as_wish(self) -> dict[str, Json]:
        """Return what a rerun's journal says of it."""
        return {
            "rtol": RTOL if self.rtol is None else self.rtol,
            "atol": ATOL if self.atol is None else self.atol,
            "ignore": list(self.ignore or ()),
        }


def verify(
    workspace: Workspace,
    choice: Selection,
    how: How | None = None,
    *,
    against: str | None = None,
    once: bool = False,
) -> VerifyResult:
    """Compare some completed reruns with their originals; the verdict is written into both runs.

    Args:
        workspace: with all its folders in place.
        choice: which reruns.
        how: which numbers count as equal, and which files are left out.
        against: a run to compare with, in the place of the original.
        once: keep a verdict that is there already.

    Raises:
        UsageError: if a name matches no run, or more than one.
        OSError: the disk failed.
    """
    records = Catalog(workspace).records()
    other = None if against is None else selection.one(records, against)
    _, unsuited = changes.suited(records, choice, lambda record: _fault_of(record, other))
    chosen = [r for r in selection.chosen(workspace, records, choice) if _fault_of(r, other) is None]
    by_name = {record.run: record for record in records if record.run is not None}
    verified, refused, notes = [], list(unsuited), list[str]()
    for record in chosen:
        original = other or by_name.get(str(record.state.rerun_of if record.state else None))
        problem = _problem_of_original(record, original)
        if problem is not None or original is None:
            refused += [problem] if problem is not None else []
            continue
        verified.append(_verify_one(workspace, original, record, how or How(), notes, once=once))
    return VerifyResult(tuple(verified), tuple(refused), tuple(notes))


def _verify_one(
    workspace: Workspace, original: RunRecord, rerun: RunRecord, how: How, notes: list[str], *, once: bool
) -> Mapping[str, Any]:
    before, after = _side(workspace, original), _side(workspace, rerun)
    wish = {**How().as_wish(), **(after.state.verify or {}), **_given(how)}
    with verdicts.only_one(after.folder):
        known = verdicts.of_pair(after.folder, after.state.readied_at, before.run) if once else None
        if known is not None and (known.get("rtol"), known.get("atol")) == (wish["rtol"], wish["atol"]):
            return known
        tolerance = Tolerance(float(str(wish["rtol"])), float(str(wish["atol"])))
        ignore = wish["ignore"] if isinstance(wish["ignore"], list) else []
        found = verification.verify(before, after, tolerance, [str(glob) for glob in ignore])
        if found.verdict is Verdict.DIFFERENT:
            found = replace(found, unseeded=_unseeded(workspace, original, rerun))
        notes += verdicts.record(workspace, found, before, after)
    return found.as_json()


def _unseeded(workspace: Workspace, original: RunRecord, rerun: RunRecord) -> tuple[UnseededCall, ...]:
    """Return where the code of a rerun draws numbers that no seed decides, if nothing else differs."""
    from pathlib import Path

    from job_orchestration.code import commits
    from job_orchestration.code.snapshots import CodeStore
    from job_orchestration.commands import diff
    from job_orchestration.comparison import unseeded_calls

    state = rerun.state
    if state is None or state.code is None or diff.has_cause(workspace, original, rerun):
        return ()
    found: list[UnseededCall] = []
    with suppress(CodeError):
        store = CodeStore(Path(workspace.misc))
        files = commits.files(store, state.code.commit)
        for path in sorted(diff.imported(state) & files.keys()):
            found += unseeded_calls.find(path, commits.content(store, files[path]))
    return tuple(found[:_MOST_CALLS])


def _given(how: How) -> dict[str, Json]:
    whole, given = how.as_wish(), (how.rtol, how.atol, how.ignore)
    return {key: whole[key] for key, value in zip(whole, given, strict=True) if value is not None}


def _side(workspace: Workspace, record: RunRecord) -> Side:
    assert record.run is not None, "it was queued"
    assert record.state is not None, "it was queued"
    return Side(record.run, workspace.run_folder(record.run), record.state)


def _fault_of(record: RunRecord, other: RunRecord | None) -> Fault | None:
    if record.place is not Place.COMPLETED or record.state is None or record.is_first_release:
        todo = "Only what has completed can be compared"
        return Fault(f"has not completed: it is {record.place.said}", todo)
    if record.state.rerun_of is None and other is None:
        return Fault("is no rerun", "Name the run to compare it with: --against RUN")
    return None


def _problem_of_original(rerun: RunRecord, original: RunRecord | None) -> Problem | None:
    name = str(rerun.run)
    if original is None:
        gone = escaped(str(rerun.state.rerun_of if rerun.state else ""))
        todo = "Restore it from the trash, or name another run: --against RUN"
        return Problem(name, f"its original {gone} is not in the workspace any more", todo)
    if original.place is not Place.COMPLETED or original.state is None:
        what = f"{escaped(str(original.run))} has not completed: it is {original.place.said}"
        return Problem(name, what, "There is nothing to compare with")
    return None


def require_comparable(records: Sequence[RunRecord]) -> list[Problem]:
    """Return a problem for each run that a rerun could not be compared with."""
    return [
        Problem(
            str(record.run),
            "it has not completed, so a rerun cannot be compared with it",
            "Leave out --verify",
        )
        for record in records
        if record.place is not Place.COMPLETED
    ]


__all__ = ["How", "VerifyResult", "require_comparable", "verify"]
