"""Save tables of results in a database: one row per run, replaced by a later save.

``sqlite:///file.db`` needs only Python; all other URLs go to SQLAlchemy. New results add columns; none is
removed. Names that differ only in case, which databases cannot distinguish, get a number: ``lr``, ``LR_2``.
The database belongs to the person: this program never reads it back.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from job_orchestration.config.json_floats import strict
from job_orchestration.diagnostics.errors import OrchestrationError, UsageError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.results.text_formats import cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import sqlalchemy

    from job_orchestration.config.config import Json
    from job_orchestration.results.tables import Table

KEY: Final = "run"
_SQLITE: Final = "sqlite:///"
_PATIENCE: Final = 30.0
"""Seconds to wait for another writer."""
_INTEGERS: Final = range(-(2**63), 2**63)

Value: TypeAlias = "bool | int | float | str | None"
Records: TypeAlias = "list[dict[str, Value]]"


def save(url: str, name: str, table: Table) -> None:
    """Save the rows of a table in a table of a database.

    Args:
        url: the database.
        name: the table in it, which is created if it does not exist.
        table: with a column ``run``.

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
        _save_in_sqlite(url.removeprefix(_SQLITE), name, table)
    else:
        _save_by_sqlalchemy(url, name, table)


def _named_apart(columns: Iterable[str], there: Iterable[str]) -> dict[str, str]:
    """Return each column's name in the database: its own, or with a number if only the case differs."""
    present = set(there)
    taken = {name.casefold() for name in present}
    found: dict[str, str] = {}
    for column in columns:
        wanted = name = column.replace("\0", "\\0")
        number = 1
        while name not in present and name.casefold() in taken:
            number += 1
            name = f"{wanted}_{number}"
        found[column] = name
        present.add(name)
        taken.add(name.casefold())
    return found


def _records(table: Table, names: Mapping[str, str]) -> Records:
    return [{names[column]: _value(row[column]) for column in table.columns} for row in table.rows]


def _value(value: Json) -> Value:
    """Return a value that databases accept: null for NaN, JSON for lists, text for large integers."""
    value = strict(value)
    if isinstance(value, bool) or value is None or (isinstance(value, int) and value in _INTEGERS):
        return value
    if isinstance(value, float):
        return value
    return cell(value).encode(errors="backslashreplace").decode()


# -- SQLite -----------------------------------------------------------------------------------------------


def _save_in_sqlite(path: str, name: str, table: Table) -> None:
    if not path or "?" in path:
        raise UsageError(f"{escaped(_SQLITE + path)} names no file", "Write it as sqlite:///results.db")
    try:
        with closing(
            sqlite3.connect(os.path.expanduser(path), _PATIENCE, isolation_level=None)
        ) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            _fill(connection, name, table)
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise OrchestrationError(
            f"{escaped(path)} cannot be written: {error}", "See that it is an SQLite file that you may write"
        ) from None


def _fill(connection: sqlite3.Connection, name: str, table: Table) -> None:
    target = _quoted(name)
    connection.execute(f"CREATE TABLE IF NOT EXISTS {target} ({_quoted(KEY)} TEXT PRIMARY KEY)")
    there = [row[1] for row in connection.execute(f"PRAGMA table_info({target})")]
    _check_key(name, there)
    names = _named_apart(table.columns, there)
    for column in names.values():
        if column not in there:  # without a type: SQLite keeps each value as it is
            connection.execute(f"ALTER TABLE {target} ADD COLUMN {_quoted(column)}")
    columns = ", ".join(map(_quoted, names.values()))
    places = ", ".join("?" * len(names))
    records = _records(table, names)
    connection.executemany(f"DELETE FROM {target} WHERE {_quoted(KEY)} = ?", [(r[KEY],) for r in records])  # noqa: S608 - names are quoted
    connection.executemany(
        f"INSERT INTO {target} ({columns}) VALUES ({places})",  # noqa: S608 - the same
        [tuple(record.values()) for record in records],
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _check_key(name: str, there: Sequence[str]) -> None:
    if KEY not in there:
        raise UsageError(
            f"The table {escaped(name)} is not one of ours: it has no column run", "Name another with --table"
        )


# -- all others -------------------------------------------------------------------------------------------


def _save_by_sqlalchemy(url: str, name: str, table: Table) -> None:
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
            _merge(connection, name, table)
    except sa.exc.SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())[:300]
        raise OrchestrationError(
            f"The database {engine.url.render_as_string()} refuses: {escaped(reason)}", "See that it is there"
        ) from None
    finally:
        engine.dispose()


def _merge(connection: sqlalchemy.Connection, name: str, table: Table) -> None:
    import sqlalchemy as sa

    exists = sa.inspect(connection).has_table(name)
    there = [c["name"] for c in sa.inspect(connection).get_columns(name)] if exists else [KEY]
    _check_key(name, there)
    names = _named_apart(table.columns, there)
    records = _records(table, names)
    kinds = {column: _kind([r[column] for r in records]) for column in names.values() if column not in there}
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
