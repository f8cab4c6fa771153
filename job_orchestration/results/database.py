"""Save tables of results in a database: one row per run, replaced by a later save.

``sqlite:///file.db`` needs only Python; all other URLs go to SQLAlchemy. New results add columns; none is
removed. Names that differ only in case, which databases cannot distinguish, get a number: ``lr``, ``LR_2``.
A database takes only so many columns, and names only so long: the columns that a full table has no place for
are keys of a JSON object in its last column, `MORE`, and a long name is cut and gets a digest.
The database belongs to the person: this program never reads it back.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from job_orchestration.config.json_floats import strict
from job_orchestration.diagnostics.errors import OrchestrationError, UsageError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.results.text_formats import cell
from job_orchestration.workspace import naming

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import sqlalchemy

    from job_orchestration.config.config import Json
    from job_orchestration.results.tables import Table

KEY: Final = "run"
MORE: Final = "_more"
"""The column for those that are too many."""
_MOST_COLUMNS: Final = {"sqlite": 2000, "postgresql": 1600, "mssql": 1024, "mysql": 1017, "mariadb": 1017}
_FEWEST_COLUMNS: Final = 1000
"""What other databases take: it is Oracle's limit, and no known one is lower."""
_SHORTEST_NAMES: Final = {"mysql": 64, "mariadb": 64}
"""Longest column names, in bytes, where SQLAlchemy knows only the longest alias."""
_LONGEST_NAME: Final = 1000
_SQLITE: Final = "sqlite:///"
_PATIENCE: Final = 30.0
"""Seconds to wait for another writer."""
_INTEGERS: Final = range(-(2**63), 2**63)

Value: TypeAlias = "bool | int | float | str | None"
Records: TypeAlias = "list[dict[str, Value]]"


class Layout(NamedTuple):
    """Where the columns of a table of results go in a table of a database."""

    names: Mapping[str, str]
    """Column of the results to column of the database."""
    more: Sequence[str]
    """The columns that become keys of the JSON object in `MORE`."""

    @property
    def columns(self) -> list[str]:
        """The columns of the database that are written."""
        return [*self.names.values(), *([MORE] if self.more else [])]


def save(url: str, name: str, table: Table) -> int:
    """Save the rows of a table in a table of a database.

    Args:
        url: the database.
        name: the table in it, which is created if it does not exist.
        table: with a column ``run``.

    Returns:
        The number of columns that the database has no place for, and that are JSON in its column `MORE`.

    Raises:
        UsageError: if the URL is invalid, its driver is not installed, or the rows do not fit the table.
        OrchestrationError: if the database refuses.
    """
    if KEY not in table.columns:
        raise UsageError(
            "A database keeps one row a run, and these rows have no column run",
            "Leave --group-by away, and name run among --columns",
        )
    if url.startswith(_SQLITE):
        return _save_in_sqlite(url.removeprefix(_SQLITE), name, table)
    return _save_by_sqlalchemy(url, name, table)


def _laid_out(table: Table, there: Sequence[str], most: int, longest: int = _LONGEST_NAME) -> Layout:
    """Return where the columns go: as many as there is place for in their own.

    Args:
        table: the results.
        there: the columns of the database's table; those of a table to be made are its key.
        most: the most columns that it takes.
        longest: the most bytes of a name.
    """
    names = _named_apart([column for column in table.columns if column != MORE], there, longest)
    new = [column for column, name in names.items() if name not in set(there)]
    place = most - len(there)
    if len(new) <= place and MORE not in table.columns:
        return Layout(names, ())
    if place <= 0 and MORE not in there:
        raise UsageError(
            f"The table is full: this database takes no more than {most} columns",
            "Name another table with --table, or choose columns with --columns",
        )
    more = new[max(place - (MORE not in there), 0) :]
    others = {column: name for column, name in names.items() if column not in set(more)}
    return Layout(others, [*more, *([MORE] if MORE in table.columns else [])])


def _named_apart(columns: Iterable[str], there: Iterable[str], longest: int) -> dict[str, str]:
    """Return each column's name in the database: its own, or with a number if only the case differs."""
    present = set(there)
    taken = {name.casefold() for name in present}
    found: dict[str, str] = {}
    for column in columns:
        wanted = name = naming.bounded(column.replace("\0", "\\0"), longest)
        number = 1
        while name not in present and name.casefold() in taken:
            number += 1
            name = f"{wanted}_{number}"
        found[column] = name
        present.add(name)
        taken.add(name.casefold())
    return found


def _records(table: Table, layout: Layout) -> Records:
    found: Records = []
    for row in table.rows:
        record = {name: _value(row[column]) for column, name in layout.names.items()}
        if layout.more:
            record[MORE] = _value({c: row[c] for c in layout.more if row[c] is not None} or None)
        found.append(record)
    return found


def _value(value: Json) -> Value:
    """Return a value that databases accept: null for NaN, JSON for lists, text for large integers."""
    value = strict(value)
    if isinstance(value, bool) or value is None or (isinstance(value, int) and value in _INTEGERS):
        return value
    if isinstance(value, float):
        return value
    return cell(value).encode(errors="backslashreplace").decode()


# -- SQLite -----------------------------------------------------------------------------------------------


def _save_in_sqlite(path: str, name: str, table: Table) -> int:
    if not path or "?" in path:
        raise UsageError(f"{escaped(_SQLITE + path)} names no file", "Write it as sqlite:///results.db")
    try:
        with closing(
            sqlite3.connect(os.path.expanduser(path), _PATIENCE, isolation_level=None)
        ) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            more = _fill(connection, name, table)
            connection.execute("COMMIT")
            return more
    except sqlite3.Error as error:
        raise OrchestrationError(
            f"{escaped(path)} cannot be written: {error}", "See that it is an SQLite file that you may write"
        ) from None


def _fill(connection: sqlite3.Connection, name: str, table: Table) -> int:
    target = _quoted(name)
    there = [row[1] for row in connection.execute(f"PRAGMA table_info({target})")]
    _check_key(name, there or [KEY])
    limits = (sqlite3.SQLITE_LIMIT_COLUMN, sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
    layout = _laid_out(table, there or [KEY], min(map(connection.getlimit, limits)))
    new = [column for column in layout.columns if column not in {KEY, *there}]
    if not there:  # the columns have no type: SQLite keeps each value as it is
        made = ", ".join([f"{_quoted(KEY)} TEXT PRIMARY KEY", *map(_quoted, new)])
        connection.execute(f"CREATE TABLE {target} ({made})")
    for column in new if there else ():
        connection.execute(f"ALTER TABLE {target} ADD COLUMN {_quoted(column)}")
    columns = ", ".join(map(_quoted, layout.columns))
    places = ", ".join("?" * len(layout.columns))
    records = _records(table, layout)
    connection.executemany(f"DELETE FROM {target} WHERE {_quoted(KEY)} = ?", [(r[KEY],) for r in records])  # noqa: S608 - names are quoted
    connection.executemany(
        f"INSERT INTO {target} ({columns}) VALUES ({places})",  # noqa: S608 - the same
        [tuple(record.values()) for record in records],
    )
    return len(layout.more)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _check_key(name: str, there: Sequence[str]) -> None:
    if KEY not in there:
        raise UsageError(
            f"The table {escaped(name)} is not one of ours: it has no column run", "Name another with --table"
        )


# -- all others -------------------------------------------------------------------------------------------


def _save_by_sqlalchemy(url: str, name: str, table: Table) -> int:
    try:
        import sqlalchemy as sa
    except ImportError:
        raise UsageError(
            "A database other than SQLite needs SQLAlchemy", "Run: pip install 'job-orchestration[database]'"
        ) from None
    try:
        engine = sa.create_engine(url)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError):
        raise UsageError(
            "The URL of the database means nothing to SQLAlchemy",
            "Write it as postgresql+psycopg://user@host/database, or sqlite:///results.db",
        ) from None
    except ImportError as error:
        raise UsageError(
            f"The driver of this database is not installed: {error.name}", "Install it"
        ) from None
    try:
        with engine.begin() as connection:
            return _merge(connection, name, table)
    except sa.exc.SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())[:300]
        raise OrchestrationError(
            f"The database {engine.url.render_as_string()} refuses: {escaped(reason)}",
            "See that it is there and that you may write. If it refuses the columns, choose some with "
            "--columns, or write a file: --parquet, --csv or --to sqlite:///results.db",
        ) from None
    finally:
        engine.dispose()


def _merge(connection: sqlalchemy.Connection, name: str, table: Table) -> int:
    import sqlalchemy as sa

    exists = sa.inspect(connection).has_table(name)
    there = [c["name"] for c in sa.inspect(connection).get_columns(name)] if exists else [KEY]
    _check_key(name, there)
    kind_of = connection.dialect.name
    longest = _SHORTEST_NAMES.get(kind_of, connection.dialect.max_identifier_length)
    layout = _laid_out(table, there, _MOST_COLUMNS.get(kind_of, _FEWEST_COLUMNS), longest)
    records = _records(table, layout)
    kinds = {c: _kind([r[c] for r in records]) for c in layout.columns if c not in there}
    if not exists:
        key = sa.Column(KEY, sa.String(500), primary_key=True)
        sa.Table(name, sa.MetaData(), key, *(sa.Column(c, kind) for c, kind in kinds.items())).create(
            connection
        )
    else:
        quote = connection.dialect.identifier_preparer.quote
        for column, kind in kinds.items():
            typed = f"{quote(column)} {kind.compile(connection.dialect)}"
            connection.execute(_statement(f"ALTER TABLE {quote(name)} ADD COLUMN {typed}"))
    target = sa.Table(name, sa.MetaData(), autoload_with=connection)
    fitting = [{c: _fitted(target.columns[c], v) for c, v in record.items()} for record in records]
    if fitting:
        connection.execute(
            sa.delete(target).where(target.columns[KEY] == sa.bindparam("its_run")),
            [{"its_run": r[KEY]} for r in fitting],
        )
        connection.execute(sa.insert(target), fitting)
    return len(layout.more)


def _statement(sql: str) -> sqlalchemy.DDL:
    import sqlalchemy as sa

    return sa.DDL(sql.replace("%", "%%"))  # type: ignore[no-untyped-call]  # it has no annotations


def _kind(values: Sequence[Value]) -> Any:
    """Return a column's type: booleans, floats (also for integers, since a float may come later) or texts."""
    import sqlalchemy as sa

    known = [value for value in values if value is not None]
    if known and all(isinstance(value, bool) for value in known):
        return sa.Boolean()
    if known and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in known):
        return sa.Double()
    return sa.Text()


def _fitted(column: sqlalchemy.Column[Any], value: Value) -> Value:
    import sqlalchemy as sa

    if value is None or isinstance(value, str) == isinstance(column.type, sa.String):
        return value
    if isinstance(column.type, sa.String):
        return cell(value)
    raise UsageError(
        f"The column {escaped(column.name)} holds no texts, and {escaped(str(value)[:60])} is one",
        "Name another table with --table, or leave the column away with --columns",
    )
