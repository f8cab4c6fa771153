"""Convert tables of results to Parquet files and pandas data frames. Both libraries are extras."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.results.text_formats import cell
from job_orchestration.workspace import durable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from job_orchestration.config.config import Json
    from job_orchestration.results.tables import Table

_TOO_LARGE: Final = 2**63


def write_parquet(path: str, table: Table) -> None:
    """Write a table as a Parquet file, completely or not at all.

    A column has one type: booleans, integers, floats or texts; a list becomes its JSON.

    Raises:
        UsageError: if pyarrow is not installed.
        OSError: if the file cannot be written.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UsageError("Parquet needs pyarrow", "Run: pip install 'job-orchestration[parquet]'") from None
    columns = {name: _array(pa, [row[name] for row in table.rows]) for name in table.columns}
    target = io.BytesIO()
    pq.write_table(pa.table(columns), target)
    durable.write_view(path, target.getvalue())


def _array(pa: Any, values: Sequence[Json]) -> Any:
    known = [value for value in values if value is not None]
    kinds = {type(value) for value in known}
    small = all(abs(value) < _TOO_LARGE for value in known if isinstance(value, int))
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {int} and small:
        return pa.array(values, pa.int64())
    if kinds and kinds <= {int, float} and small:
        numbers = [float(v) if isinstance(v, (int, float)) else None for v in values]
        return pa.array(numbers, pa.float64())
    texts = [None if v is None else cell(v).encode(errors="backslashreplace").decode() for v in values]
    return pa.array(texts, pa.string())


def data_frame(table: Table) -> pd.DataFrame:
    """Return a table as a pandas data frame.

    Raises:
        UsageError: if pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise UsageError(
            "A data frame needs pandas", "Run: pip install 'job-orchestration[pandas]', or ask for rows"
        ) from None
    return pd.DataFrame(list(table.rows), columns=list(table.columns))
