"""The verdicts of verifications as lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from job_orchestration.diagnostics.plurals import counted
from job_orchestration.diagnostics.problems import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_MOST_FILES: Final = 20
_MOST_SHOWN: Final = 3
_MOST_PLACES: Final = 10
_LONGEST: Final = 60


def lines_of(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines about one pair of runs: the verdict, and where the two are not alike."""
    yield headline(record)
    unlike = [c for c in record["compared"] if c["verdict"] != "identical"]
    worst = [c for c in unlike if c["verdict"] == record["verdict"]]
    for comparison in worst[:_MOST_FILES]:
        yield from _lines_of_one(comparison)
    if len(worst) > _MOST_FILES:
        yield f"  … and {len(worst) - _MOST_FILES} more: --json"
    yield from _reasons(record)
    if record["ignored"]:
        yield f"  left out: {escaped(', '.join(record['ignored'][:_MOST_FILES]))}"


def _reasons(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield where the code draws numbers that no seed decides, if nothing else explains a difference."""
    calls = record.get("unseeded", ())
    if calls:
        yield "  Nothing that is recorded differs. Likely, this draws other numbers each time:"
    for call in calls[:_MOST_SHOWN]:
        yield f"    {escaped(call['path'])}:{call['line']}: {_shown(call['call'])}"
    if len(calls) > _MOST_SHOWN:
        yield f"    … and {len(calls) - _MOST_SHOWN} more: --json"
    if calls:
        yield "  Give it a seed: self.context.seed is the run's."


def headline(record: Mapping[str, Any]) -> str:
    """Return the verdict in one line."""
    rerun, original = escaped(record["rerun"]), escaped(record["original"])
    number = record["identical"] + record["equal"] + record["different"]
    parts = f"{counted(number, 'result or file', 'results and files')} compared"
    counts = [f"{record[key]} {key}" for key in ("different", "equal", "identical") if record[key]]
    if record["verdict"] == "identical":
        return f"{rerun}: identical to {original}, {parts}"
    if record["verdict"] == "equal":
        within = f"rtol {record['rtol']:g}" + (f", atol {record['atol']:g}" if record["atol"] else "")
        return f"{rerun}: equal to {original} within {within}, {parts}: {', '.join(counts)}"
    return f"{rerun}: different from {original}, {parts}: {', '.join(counts)}"


def summaries(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each of the last verifications of a run, and the first places of a difference."""
    for record in records[:_MOST_SHOWN]:
        yield headline(record)
        different = [c for c in record["compared"] if c["verdict"] == "different"]
        for comparison in different[:_MOST_SHOWN]:
            yield from list(_lines_of_one(comparison))[:2]
        yield from _reasons(record)
    if len(records) > _MOST_SHOWN:
        yield f"… and {len(records) - _MOST_SHOWN} more: show --json"


def _lines_of_one(comparison: Mapping[str, Any]) -> Iterator[str]:
    count = comparison["count"]
    places = f", {count} place{'s' if count > 1 else ''}" if count else ""
    greatest = comparison["greatest"]
    by = f", by {greatest:.3g} at most" if greatest is not None else ""
    remark = f"; {escaped(comparison['remark'])}" if comparison["remark"] else ""
    yield f"  {escaped(comparison['name'])} ({escaped(comparison['method'])}){places}{by}{remark}"
    for place in comparison["first"][:_MOST_PLACES]:
        where = f"{escaped(place['where'])}: " if place["where"] else ""
        difference = place["difference"]
        apart = f"  (by {difference:.3g})" if difference is not None else ""
        yield f"    {where}{_shown(place['before'])} → {_shown(place['after'])}{apart}"
    if count > len(comparison["first"]):
        yield f"    … and {count - len(comparison['first'])} more"


def _shown(value: Any) -> str:
    text = escaped(value if isinstance(value, str) else repr(value))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
