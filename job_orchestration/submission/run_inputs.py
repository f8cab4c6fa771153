"""Files that are submitted with a config: stored before it is checked, linked into its run's folder.

A task's ``validate()`` has to be able to read them, but the run's folder exists only when the run is queued.
So the files are first written into a folder of their own in ``Misc/submitted/``; during the check the config
names them there. When the run is opened they become links in ``Output/<run>/inputs/``, and the queued config
names those. The first folder is removed afterwards, however the submission ends.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import escaped, quoted
from job_orchestration.runs import kept_values, opening, submitted_files
from job_orchestration.workspace import durable, naming, safe_reads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from job_orchestration.config.config import Json
    from job_orchestration.submission.dropped_files import Drop
    from job_orchestration.workspace.layout import Workspace

FOLDER: Final = submitted_files.STAGING
_MOST_NAME_BYTES: Final = 200


@contextmanager
def stored(workspace: Workspace, inputs: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Store the files of a submission for the time of a ``with`` block.

    Args:
        workspace: with all its folders in place.
        inputs: key of the config to the content; see `_content_of`.

    Yields:
        Key of the config to the path of its file.

    Raises:
        UsageError: if a key or a value is not suited; nothing is left behind.
    """
    if not inputs:
        yield {}
        return
    contents = {key: _content_of(key, value) for key, value in inputs.items()}
    names = [name for name, _ in contents.values()]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"Two inputs are files named {escaped(twice)}", "Rename one of them")
    folder = os.path.join(workspace.misc, FOLDER, f"{os.getpid()}.{secrets.token_hex(4)}")
    durable.make_folder(folder)
    try:
        paths = {key: os.path.join(folder, name) for key, (name, _) in contents.items()}
        for key, (_, data) in contents.items():
            durable.write_new(paths[key], data)
        yield paths
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def in_run(workspace: Workspace, run: str, drop: Drop) -> dict[str, Json]:
    """Return the values of the keys of the inputs in a queued config: the paths in the run's folder."""
    folder = os.path.join(workspace.run_folder(run), opening.INPUTS)
    return {key: os.path.join(folder, os.path.basename(path)) for key, path in drop.inputs}


def source_in_run(drop: Drop, run: str) -> str:
    """Return the text of a config; the folder of its inputs, which is only there now, is the run's in it."""
    text = drop.data.decode("utf-8", "replace")
    for folder in {os.path.dirname(path) for _, path in drop.inputs}:
        own = os.path.join("Misc", FOLDER, os.path.basename(folder))
        text = text.replace(own, os.path.join("Output", run, opening.INPUTS))
    return text


def _content_of(key: str, value: object) -> tuple[str, bytes]:
    """Return the name of an input's file, and its bytes.

    A path is a file that is copied under its own name. A text and bytes are the content; so is a list of
    texts, line by line. An array of NumPy becomes ``.npy``, a data frame ``.tsv``, anything else JSON.
    """
    if not key.isidentifier():
        raise UsageError(f"An input cannot be named {quoted(escaped(key))}", "Name the key of the config")
    match value:
        case os.PathLike():
            return _file(os.fspath(value))
        case str():
            return f"{key}.txt", value.encode("utf-8", "surrogateescape")
        case bytes() | bytearray():
            return f"{key}.bin", bytes(value)
        case Sequence() | set() | frozenset() if value and all(isinstance(line, str) for line in value):
            lines = sorted(value) if isinstance(value, (set, frozenset)) else value
            return f"{key}.txt", "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    return _table(key, value) or (f"{key}.json", _json(key, value))


def _file(path: str | bytes) -> tuple[str, bytes]:
    path = os.path.abspath(os.path.expanduser(os.fsdecode(path)))
    name = os.path.basename(path)
    if fault := naming.fault_of_name(name, _MOST_NAME_BYTES):
        raise UsageError(f"The input {escaped(path)} has a name that {fault}", "Rename the file")
    try:
        return name, safe_reads.whole(os.path.realpath(path))
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"The input {escaped(path)} cannot be read: {reason}", "Name a file") from None


def _table(key: str, value: Any) -> tuple[str, bytes] | None:
    """Return an array or a data frame as a file; `None` for anything else. Nothing is imported for it."""
    library = type(value).__module__.partition(".")[0]
    if library == "numpy" and hasattr(value, "tobytes") and value.shape:
        import io

        import numpy as np

        buffer = io.BytesIO()
        with suppress(ValueError):  # an array of objects would be a pickle
            np.save(buffer, value, allow_pickle=False)
            return f"{key}.npy", buffer.getvalue()
    if library == "pandas" and hasattr(value, "to_csv"):
        return f"{key}.tsv", str(value.to_csv(sep="\t", index=False)).encode()
    return None


def _json(key: str, value: object) -> bytes:
    found, phrases = kept_values.kept(value, key, limit=None)
    if phrases:
        raise UsageError(
            f"An input cannot be stored: {escaped('; '.join(phrases))}",
            "Give a path, text, bytes, a list, a dict, an array or a data frame",
        )
    return json.dumps(found, indent=1, ensure_ascii=False).encode("utf-8", "surrogateescape")
