"""Select runs by name, glob, status or filter.

A run is named by its output folder or by the file name of its config. An unknown name, or a key that no run
has, is an error, so that a typing error is not mistaken for an empty result. An empty result is not an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import escaped, named
from job_orchestration.results import result_rows
from job_orchestration.runs.events import Outcome
from job_orchestration.workspace import clock, naming
from job_orchestration.workspace.layout import Place

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from job_orchestration.config.config import Json
    from job_orchestration.config.expressions import Filter
    from job_orchestration.results.result_rows import Row
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.workspace.layout import Workspace

_SEE_STATUS: Final = "See what there is with: job-orchestration status"
_SEVERAL: Final = "Name one by its output folder, or several by a glob such as 'folder/*'"
_MOST_NAMED: Final = 12
"""Maximum number of columns that a message names."""
GLOB: Final = frozenset("*?[")
"""Characters that make a name a glob."""
STATUSES: Final = tuple(dict.fromkeys((*map(str, Place), *(str(o) for o in Outcome if o is not Outcome.OK))))
"""Values of ``--status``: places, and outcomes of ended runs."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Criteria of a selection; an empty one selects everything."""

    names: tuple[str, ...] = ()
    """Names or globs; a run has to match any of them."""
    statuses: frozenset[str] = frozenset()
    """Some of `STATUSES`; a run has to match any of them."""
    filter: Filter | None = None


EVERYTHING: Final = Selection()


def statuses_of(text: str) -> frozenset[str]:
    """Parse ``--status``: values separated by commas.

    Raises:
        ValueError: if a value is unknown; its text is a sentence.
    """
    words = [word.strip().lower().replace(" ", "_").replace("-", "_") for word in text.split(",")]
    for word in words:
        if word not in STATUSES:
            raise ValueError(f"{word!r} is not one of {', '.join(STATUSES)}")
    return frozenset(words)


def chosen(workspace: Workspace, records: Sequence[RunRecord], choice: Selection) -> list[RunRecord]:
    """Return the selected configs and runs, in the order of `records`.

    Raises:
        UsageError: if a name or glob matches nothing, or a filter uses a key that no run has.
    """
    if choice.filter is None:
        return _named(records, choice)
    return [record for record, _ in chosen_rows(workspace, records, choice, [])]


def chosen_rows(
    workspace: Workspace, records: Sequence[RunRecord], choice: Selection, notes: list[str]
) -> list[tuple[RunRecord, Row]]:
    """Return the same with result rows; `notes` gets one sentence per unreadable file."""
    now = clock.now()
    found = [(record, row_of(workspace, record, now, notes)) for record in _named(records, choice)]
    if choice.filter is None or not found:
        return found
    columns = {column for _, row in found for column in row.cells}
    keys = {key for _, row in found for key in (*row.values, *row.hidden)}
    names = {name: column_of(name, columns, keys) for name in choice.filter.names}
    return [(record, row) for record, row in found if choice.filter.matches(row.answers(names))]


def column_of(
    name: str, columns: Iterable[str], keys: Iterable[str] = (), figures: Collection[str] = ()
) -> str:
    """Find a column by its name or its last parts.

    Args:
        name: a column's, or its last parts when only one column ends with them.
        columns: all that there are.
        keys: other names that may be asked for, or whose parts may.
        figures: the columns that a message names first.

    Raises:
        UsageError: if there is none, or more than one.
    """
    columns = set(columns)
    if name not in columns and any(name == key or name.startswith(f"{key}.") for key in keys):
        return name
    found = sorted(result_rows.columns_meant(name, columns))
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"{escaped(name)} may mean {named([escaped(c) for c in found])}", "Write the whole name"
        )
    raise UsageError(
        f"No run here has {escaped(name)}", _close_to(name, columns, _names_of(columns, figures))
    )


def _names_of(columns: Iterable[str], first: Collection[str]) -> str:
    """Return a sentence with the names of columns, without those that every run has."""
    asked = sorted((c for c in columns if c not in result_rows.FACTS), key=lambda c: (c not in first, c))
    found = [escaped(column) for column in asked]
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return f"There is {', '.join(found[:_MOST_NAMED])}{more}" if found else _SEE_STATUS


def row_of(workspace: Workspace, record: RunRecord, now: datetime, notes: list[str]) -> Row:
    """Return the result row of a run; `notes` gets one sentence per unreadable file."""
    saved: list[tuple[str, Json]] = []
    if record.run is not None and record.state is not None:
        from job_orchestration.results import result_files

        saved, unread = result_files.saved(workspace.run_folder(record.run), record.state)
        notes += unread
    return result_rows.row_of(
        record.run, record.config, record.place, record.state, saved, error=record.error, now=now
    )


def _named(records: Sequence[RunRecord], choice: Selection) -> list[RunRecord]:
    """Return the records that match the names and statuses."""
    found = list(records)
    if choice.names:
        wanted = {id(record) for name in choice.names for record in _meant(records, name)}
        found = [record for record in records if id(record) in wanted]
    return [record for record in found if not choice.statuses or choice.statuses & _words_for(record)]


def _meant(records: Sequence[RunRecord], name: str) -> list[RunRecord]:
    """Return the run of a name, or all that match a glob: at least one."""
    if not is_glob(records, name):
        return [one(records, name)]
    folder, stem = _folder(name), naming.stem_of(name)
    found = [r for r in records if _fits(r, folder) or _fits(r, stem)]
    if not found:
        raise UsageError(
            f"There is no run that {escaped(name)} fits", "See what there is with: job-orchestration status"
        )
    return found


def is_glob(records: Sequence[RunRecord], name: str) -> bool:
    """Return whether a name is a glob: it looks like one, and no run has that name."""
    folder, stem = _folder(name), naming.stem_of(name)
    return not GLOB.isdisjoint(name) and not any(r.run == folder or stem in r.names for r in records)


def plain_names(records: Sequence[RunRecord], choice: Selection) -> list[str]:
    """Return the names of a selection that are not globs."""
    return [name for name in choice.names if not is_glob(records, name)]


def _folder(name: str) -> str:
    return name.rstrip("/").removeprefix("Output/")


def _fits(record: RunRecord, glob: str) -> bool:
    return any(fnmatchcase(name, glob) for name in (record.run or "", *record.names))


def _words_for(record: RunRecord) -> set[str]:
    """Return the values of `STATUSES` that match a record."""
    words = {str(record.place)}
    if record.summary is not None and record.summary.outcome is not None:
        words.add(record.summary.outcome)
    return words


def one(records: Sequence[RunRecord], name: str) -> RunRecord:
    """Return the only run of a name.

    Args:
        records: all records.
        name: an output folder (``Output/`` before it does not matter), or the name of a config or token,
            with or without its ending; or a glob that only one fits.

    Raises:
        UsageError: if there is none, or more than one.
    """
    folder = _folder(name)
    exact = [r for r in records if r.run == folder]
    found = exact or [r for r in records if naming.stem_of(name) in r.names]
    if not found and is_glob(records, name):
        found = _meant(records, name)
    if not found:
        raise UsageError(f"There is no run {escaped(name)}", _guess(records, name))
    if len(found) > 1:
        runs = named(sorted(escaped(r.run or r.path) for r in found))
        raise UsageError(
            f"{escaped(name)} may mean {len(found)} runs: {runs}",
            "Name one by its output folder" if GLOB & {*name} else _SEVERAL,
        )
    return found[0]


def _guess(records: Sequence[RunRecord], name: str) -> str:
    return _close_to(naming.stem_of(name), {n for r in records for n in (r.run, r.config) if n})


def _close_to(name: str, names: Iterable[str], otherwise: str = _SEE_STATUS) -> str:
    from job_orchestration.diagnostics import suggestions

    near = suggestions.nearest_names(name, names, most=3)
    if near:
        return suggestions.did_you_mean([escaped(n) for n in near])
    return otherwise
