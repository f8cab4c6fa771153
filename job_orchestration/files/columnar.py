"""Tables of results as Parquet files and as data frames of pandas. Both libraries are extras."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.files import durable
from job_orchestration.model.errors import UsageError
from job_orchestration.rules.formats import cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from job_orchestration.model.task import Json
    from job_orchestration.rules.arranging import Table

_TOO_LARGE: Final = 2**63


def write_parquet(path: str, table: Table) -> None:
    """Write a table as a Parquet file, whole or not at all.

    A column is of one type: truth values, whole numbers, numbers, or texts; a list is its JSON.

    Raises:
        UsageError: when pyarrow is not installed.
        OSError: when the file cannot be written.
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
    """A table as a data frame of pandas.

    Raises:
        UsageError: when pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise UsageError(
            "A data frame needs pandas", "Run: pip install 'job-orchestration[pandas]', or ask for rows"
        ) from None
    return pd.DataFrame(list(table.rows), columns=list(table.columns))
