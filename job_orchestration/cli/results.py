"""`results` on the command line: a table for people, or one of the formats that other programs read."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

from job_orchestration.cli import output, render
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.plurals import counted
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.results import tables, text_formats

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from job_orchestration.results.tables import Table

_FORMATS: Final = ("json", "ndjson", "csv", "md", "parquet", "to")
_WIDEST: Final = 40
"""Maximum width of a cell on a terminal, in characters."""
_GAP: Final = 2


def results(arguments: Namespace) -> int:
    """Show, print or save the results of the selected runs."""
    from job_orchestration.commands.results import Arrangement
    from job_orchestration.commands.results import results as gather

    asked = [name for name in _FORMATS if getattr(arguments, name)]
    if len(asked) > 1:
        raise UsageError(f"results gives one format, not --{' and --'.join(asked)}", "Choose one of them")
    arrangement = Arrangement(
        group_by=arguments.group_by,
        sort=arguments.sort,
        descending=arguments.descending,
        best=arguments.best,
        lowest=arguments.lowest,
        top=arguments.top,
        columns=arguments.columns,
    )
    found = gather(output.existing(arguments), output.selected(arguments), arrangement)
    for note in found.notes:
        print(note, file=sys.stderr)
    if not found.table.rows:
        print("There are no results of such runs.", file=sys.stderr)
    _give(found.table, asked[0] if asked else "", arguments)
    return 0


def _give(table: Table, form: str, arguments: Namespace) -> None:
    match form:
        case "parquet":
            from job_orchestration.results.columnar import write_parquet

            write_parquet(arguments.parquet, table)
            print(f"{escaped(arguments.parquet)}: {counted(len(table.rows), 'row')}", file=sys.stderr)
        case "to":
            from job_orchestration.results.database import save

            more = save(arguments.to, arguments.table, table) if table.rows else 0
            apart = f"; {more} columns are too many for it, and JSON in its column _more" if more else ""
            saved = f"{counted(len(table.rows), 'row')} saved in the table {escaped(arguments.table)}"
            print(f"{saved}{apart}", file=sys.stderr)
        case "" if sys.stdout.isatty():
            show_on_terminal(table)
        case _:
            for line in _lines(table, form):
                print(line)


def _lines(table: Table, form: str) -> Iterator[str]:
    match form:
        case "json":
            yield json.dumps(text_formats.json_rows(table), indent=2)
        case "ndjson":
            yield from map(json.dumps, text_formats.json_rows(table))
        case _ if not table.rows:
            return
        case "csv":
            yield from text_formats.csv_lines(table)
        case "md":
            yield from text_formats.markdown_lines(table.shown, table.rows)
        case _:
            yield from render.table([table.shown, *_cells(table)])


def _cells(table: Table) -> list[list[str]]:
    return [[escaped(text_formats.short(row[column])) for column in table.shown] for row in table.rows]


def show_on_terminal(table: Table) -> None:
    """The table on a terminal: as many columns as fit, numbers to the right."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    if not table.rows:
        return
    console = Console(highlight=False)
    cells = [
        [cell if len(cell) <= _WIDEST else f"{cell[: _WIDEST - 1]}…" for cell in row] for row in _cells(table)
    ]
    grid = Grid(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    left, shown = console.width, 0
    for i, column in enumerate(table.shown):
        left -= max(cell_len(column), *(cell_len(row[i]) for row in cells)) + (_GAP if i else 0)
        if left < 0 and i:
            break
        numeric = any(tables.number_in(row[column]) is not None for row in table.rows)
        grid.add_column(
            Text(escaped(column)), justify="right" if numeric else "left", no_wrap=True, overflow="ellipsis"
        )
        shown += 1
    for row in cells:
        grid.add_row(*(Text(cell) for cell in row[:shown]))
    console.print(grid)
    if shown < len(table.shown):
        more = ", ".join(map(escaped, table.shown[shown:]))
        console.print(f"… and {len(table.shown) - shown} more: {more}. Choose with --columns.", markup=False)
