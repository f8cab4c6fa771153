"""Which runs are meant: by name, by glob, by where they are, or by what a filter says of them.

A run is named by its output folder or by its config's file name. A name that means nothing, and a key that no
run has, are errors: whoever mistypes must not be told that everything is fine. That nothing matches is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from job_orchestration.model.errors import UsageError
from job_orchestration.model.problem import escaped, named
from job_orchestration.model.run import Outcome, Place
from job_orchestration.rules import naming, tabulating

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from job_orchestration.files.history import RunRecord
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.task import Json
    from job_orchestration.rules.filtering import Filter
    from job_orchestration.rules.tabulating import Row

GLOB: Final = frozenset("*?[")
"""What makes a name look like a glob."""
STATUSES: Final = tuple(dict.fromkeys((*map(str, Place), *(str(o) for o in Outcome if o is not Outcome.OK))))
"""What ``--status`` knows: the places of ``status``, and how a run that is over ended."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was asked for; nothing means everything."""

    names: tuple[str, ...] = ()
    """Names or globs; a run that any of them means is wanted."""
    statuses: frozenset[str] = frozenset()
    """Some of `STATUSES`; a run that any of them fits is wanted."""
    filter: Filter | None = None


EVERYTHING: Final = Choice()


def statuses_of(text: str) -> frozenset[str]:
    """The words of ``--status``, separated by commas.

    Raises:
        ValueError: with a sentence, when one of them is none.
    """
    words = [word.strip().lower().replace(" ", "_").replace("-", "_") for word in text.split(",")]
    for word in words:
        if word not in STATUSES:
            raise ValueError(f"{word!r} is not one of {', '.join(STATUSES)}")
    return frozenset(words)


def chosen(workspace: Workspace, records: Sequence[RunRecord], choice: Choice) -> list[RunRecord]:
    """The configs and runs that are asked for, in the order of `records`.

    Raises:
        UsageError: when a name or glob means nothing, or a filter asks for a key that no run has.
    """
    if choice.filter is None:
        return _named(records, choice)
    return [record for record, _ in chosen_rows(workspace, records, choice, [])]


def chosen_rows(
    workspace: Workspace, records: Sequence[RunRecord], choice: Choice, notes: list[str]
) -> list[tuple[RunRecord, Row]]:
    """The same with what is known of each; `notes` gets a sentence for each file that could not be read."""
    now = datetime.now(UTC)
    found = [(record, _row(workspace, record, now, notes)) for record in _named(records, choice)]
    if choice.filter is None or not found:
        return found
    columns = {column for _, row in found for column in row.cells}
    keys = {key for _, row in found for key in row.values}
    names = {name: column_of(name, columns, keys) for name in choice.filter.names}
    return [(record, row) for record, row in found if choice.filter.matches(row.answers(names))]


def column_of(name: str, columns: Iterable[str], keys: Iterable[str] = ()) -> str:
    """The column that a person calls so.

    Args:
        name: a column's, or its last parts when only one column ends with them.
        columns: all that there are.
        keys: other names that may be asked for, or whose parts may.

    Raises:
        UsageError: when there is none, or more than one.
    """
    columns = set(columns)
    if name not in columns and any(name == key or name.startswith(f"{key}.") for key in keys):
        return name
    found = sorted(tabulating.columns_meant(name, columns))
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"{escaped(name)} may mean {named([escaped(c) for c in found])}", "Write the whole name"
        )
    raise UsageError(f"No run here has {escaped(name)}", _close_to(name, columns))


def _row(workspace: Workspace, record: RunRecord, now: datetime, notes: list[str]) -> Row:
    saved: list[tuple[str, Json]] = []
    if record.run is not None and record.state is not None:
        from job_orchestration.files import outcomes

        saved, unread = outcomes.saved(workspace.run_folder(record.run), record.state)
        notes += unread
    return tabulating.row_of(
        record.run, record.config, record.place, record.state, saved, error=record.error, now=now
    )


def _named(records: Sequence[RunRecord], choice: Choice) -> list[RunRecord]:
    """Those that the names and statuses fit."""
    found = list(records)
    if choice.names:
        wanted = {id(record) for name in choice.names for record in _meant(records, name)}
        found = [record for record in records if id(record) in wanted]
    return [record for record in found if not choice.statuses or choice.statuses & _words_for(record)]


def _meant(records: Sequence[RunRecord], name: str) -> list[RunRecord]:
    """The run of a name, or all that a glob fits: at least one."""
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
    """Whether a name has to be taken for a glob: it looks like one, and is nothing's name."""
    folder, stem = _folder(name), naming.stem_of(name)
    return not GLOB.isdisjoint(name) and not any(r.run == folder or stem in r.names for r in records)


def plain_names(records: Sequence[RunRecord], choice: Choice) -> list[str]:
    """The names of a choice that mean one run each; the others are globs."""
    return [name for name in choice.names if not is_glob(records, name)]


def _folder(name: str) -> str:
    return name.rstrip("/").removeprefix("Output/")


def _fits(record: RunRecord, glob: str) -> bool:
    return any(fnmatchcase(name, glob) for name in (record.run or "", *record.names))


def _words_for(record: RunRecord) -> set[str]:
    """What of `STATUSES` a config or run is."""
    words = {str(record.place)}
    if record.summary is not None and record.summary.outcome is not None:
        words.add(record.summary.outcome)
    return words


def one(records: Sequence[RunRecord], name: str) -> RunRecord:
    """The only run of a name.

    Args:
        records: all that there are.
        name: an output folder (``Output/`` before it does not matter), or the name of a config or token,
            with or without its ending.

    Raises:
        UsageError: when there is none, or more than one.
    """
    folder = _folder(name)
    exact = [r for r in records if r.run == folder]
    found = exact or [r for r in records if naming.stem_of(name) in r.names]
    if not found:
        raise UsageError(f"There is no run {escaped(name)}", _guess(records, name))
    if len(found) > 1:
        runs = named(sorted(escaped(r.run or r.path) for r in found))
        raise UsageError(
            f"{escaped(name)} may mean {len(found)} runs: {runs}",
            "Name one by its output folder, or several by a glob such as 'folder/*'",
        )
    return found[0]


def _guess(records: Sequence[RunRecord], name: str) -> str:
    return _close_to(naming.stem_of(name), {n for r in records for n in (r.run, r.config) if n})


def _close_to(name: str, names: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, names, n=3)
    if close:
        return f"Perhaps {' or '.join(escaped(n) for n in close)} is meant"
    return "See what there is with: job-orchestration status"
