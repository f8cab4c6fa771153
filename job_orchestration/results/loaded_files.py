"""Load a file of a run by its suffix: JSON, YAML, tables, arrays, texts. pandas and NumPy are optional.

A pickle executes what is in it when it is loaded, so it is loaded only if the caller says so.
"""

from __future__ import annotations

import functools
import gzip
import json
import os
from typing import IO, TYPE_CHECKING, Any, Final

import yaml

from job_orchestration.config import json_floats
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.runs import run_files

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PICKLES: Final = frozenset({".pkl", ".pickle", ".joblib"})
_TEXTS: Final = frozenset(
    {*(".txt", ".log", ".md", ".rst", ".html", ".htm", ".xml", ".svg", ".py", ".r", ".sh"), ""}
)


def load(path: str, *, allow_pickle: bool = False) -> Any:
    """Load a file by its suffix; ``.gz`` behind it is undone.

    Args:
        path: a plain file.
        allow_pickle: whether a pickle, or an array of objects, may be loaded. It executes what is in it.

    Returns:
        ``.json``, ``.yaml``: the value; ``.jsonl``, ``.ndjson``: a list; ``.csv``, ``.tsv``, ``.parquet``: a
        data frame; ``.npy``, ``.npz``: an array, or a dict of arrays; texts: a `str`; anything else: `bytes`.

    Raises:
        UsageError: if a library that it needs is not installed, it is a pickle, or its content is not what
            its suffix says.
        OSError: if it cannot be read.
    """
    with run_files.opened(path, "rb") as file:
        return load_content(file, os.path.basename(path), allow_pickle=allow_pickle)


def load_content(file: IO[bytes], name: str, *, allow_pickle: bool = False) -> Any:
    """Load the content of a file that lies anywhere, as `load` does.

    Args:
        file: opened for reading bytes.
        name: its name, whose suffix says what it is.
        allow_pickle: as for `load`.
    """
    stem, suffix = os.path.splitext(name.lower())
    is_compressed = suffix == ".gz"
    if is_compressed:
        suffix = os.path.splitext(stem)[1]
    content: IO[bytes] = gzip.GzipFile(fileobj=file) if is_compressed else file  # type: ignore[assignment]  # it reads bytes
    if suffix in _PICKLES:
        return _pickle(content, name, allow_pickle=allow_pickle)
    if suffix in {".npy", ".npz"}:
        return _array(content, name, allow_pickle=allow_pickle)
    if suffix in _TEXTS:
        return content.read().decode("utf-8", "replace")
    try:
        return _LOADERS.get(suffix, _bytes)(content)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        reason = escaped(" ".join(str(error).split())[:300])
        todo = "Read it as it is with: open(name, 'rb')"
        raise UsageError(f"{escaped(name)} is not what its suffix says: {reason}", todo) from None


def _bytes(file: IO[bytes]) -> bytes:
    return file.read()


def _json(file: IO[bytes]) -> Any:
    return json_floats.value_of(file.read())


def _json_lines(file: IO[bytes]) -> list[Any]:
    return [json.loads(line) for line in file if line.strip()]


def _yaml(file: IO[bytes]) -> Any:
    return yaml.load(file.read(), Loader=_Loader)


def _pandas() -> Any:
    try:
        import pandas as pd
    except ImportError:
        raise UsageError("Tables need pandas", "Run: pip install 'job-orchestration[pandas]'") from None
    return pd


def _separated(file: IO[bytes], separator: str) -> Any:
    return _pandas().read_csv(file, sep=separator)


def _parquet(file: IO[bytes]) -> Any:
    try:
        return _pandas().read_parquet(file)
    except ImportError:
        raise UsageError("Parquet needs pyarrow", "Run: pip install 'job-orchestration[parquet]'") from None


def _array(file: IO[bytes], name: str, *, allow_pickle: bool) -> Any:
    try:
        import numpy as np
    except ImportError:
        raise UsageError("Arrays need NumPy", "Run: pip install numpy") from None
    try:
        found = np.load(file, allow_pickle=allow_pickle)
        return dict(found) if isinstance(found, np.lib.npyio.NpzFile) else found
    except (ValueError, EOFError, OSError) as error:
        if "allow_pickle" in str(error):
            raise _pickled(f"{escaped(name)} holds Python objects") from None
        raise UsageError(f"{escaped(name)} is no array: {escaped(str(error))}", "Make it again") from None


def _pickle(file: IO[bytes], name: str, *, allow_pickle: bool) -> Any:
    if not allow_pickle:
        raise _pickled(f"{escaped(name)} is a pickle")
    if name.lower().endswith((".joblib", ".joblib.gz")):
        import importlib

        return importlib.import_module("joblib").load(file)  # what wrote the file has it
    import pickle

    return pickle.load(file)  # noqa: S301 - the same


def _pickled(what: str) -> UsageError:
    todo = "If you trust what is in it, say: load(name, allow_pickle=True)"
    return UsageError(f"{what}, which executes code of its own when it is loaded", todo)


_LOADERS: Final[Mapping[str, Callable[[IO[bytes]], Any]]] = {
    ".json": _json,
    **dict.fromkeys((".jsonl", ".ndjson"), _json_lines),
    **dict.fromkeys((".yaml", ".yml"), _yaml),
    ".csv": functools.partial(_separated, separator=","),
    **dict.fromkeys((".tsv", ".tab"), functools.partial(_separated, separator="\t")),
    ".parquet": _parquet,
}
