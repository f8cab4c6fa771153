"""What a config names that lies outside it: the data folder, gene lists in files, earlier tasks.

Paths are absolute (or begin with ``~``). A relative one would mean one folder when the config is checked
and another in the worker that runs it, so it is refused.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from job_orchestration import PermanentError
from job_orchestration.geneplexus.geneset import GenesetError, parse_genes
from job_orchestration.geneplexus.settings import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LARGEST = 16 * 1024 * 1024
"""Bytes; every gene of every species is less."""


class InputError(PermanentError):
    """Something that a config names cannot be used; the message says what and what to do."""


def data_folder(config: Mapping[str, Any], environment: Mapping[str, str]) -> Path:
    """The folder of the data: ``file_loc``, or the environment's ``DATA_PATH``.

    Raises:
        InputError: neither is given, or it is no absolute path. Whether it exists is not asked.
    """
    value = config.get("file_loc") or environment.get("DATA_PATH")
    if not value:
        raise InputError(
            "file_loc is missing. Name the folder with GenePlexus's data there, or in the environment "
            "variable DATA_PATH."
        )
    return _absolute("file_loc", value)


def read_genes(config: Mapping[str, Any], key: str, file_key: str) -> tuple[str, ...]:
    """The gene list under ``key``, or in the file under ``file_key``; empty when neither is given.

    Raises:
        InputError: both are given, the file cannot be read, or there are no genes in what is given.
    """
    inline, file = Reader(config).get(key), config.get(file_key)
    if inline is None and file is None:
        return ()
    if inline is not None and file is not None:
        raise InputError(f"{key} and {file_key} are both given. Keep one of them.")
    try:
        genes = parse_genes(inline if file is None else _text(file_key, file))
    except GenesetError as error:
        raise InputError(f"{key}: {error}.") from error
    if not genes:
        raise InputError(f"{key if file is None else file_key} names no genes. Give at least one.")
    return genes


def earlier_task(config: Mapping[str, Any], class_name: str, key: str) -> str:
    """The id of the task that this one builds on.

    Args:
        config: the task's config; its own id is ``config["id"]``.
        class_name: what to look for: the last task before this one whose method is a class of that name.
        key: the key that may name another task.

    Raises:
        InputError: there is none before this task.
    """
    before = _before(config)
    wanted = config.get(key)
    if wanted is not None:
        if wanted in [entry.get("id") for entry in before]:
            return str(wanted)
        raise InputError(
            f"{key} is {wanted!r}, which is no task before this one. Name the id of one that is."
        )
    ids = [entry.get("id") for entry in before if method_name(entry) == class_name]
    if not ids:
        raise InputError(
            f"There is no {class_name} before this task. Add one, or name the task to build on in {key}."
        )
    return str(ids[-1])


def own_entry(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The task's own entry in ``tasks``, with what it says itself."""
    return next((entry for entry in _entries(config) if entry.get("id") == config.get("id")), {})


def later_entry(config: Mapping[str, Any], class_name: str) -> Mapping[str, Any]:
    """The first task after this one whose method is a class of that name; an empty mapping if none is."""
    after = _entries(config)[len(_before(config)) + 1 :]
    return next((entry for entry in after if method_name(entry) == class_name), {})


def method_name(entry: Mapping[str, Any]) -> str:
    """The class in a method: ``RunGenePlexus`` of ``job_orchestration.geneplexus:RunGenePlexus``."""
    return str(entry.get("method", "")).replace(":", ".").rsplit(".", 1)[-1]


def _entries(config: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return [entry for entry in config.get("tasks") or () if isinstance(entry, dict)]


def _before(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    before: list[Mapping[str, Any]] = []
    for entry in _entries(config):
        if entry.get("id") == config.get("id"):
            return before
        before.append(entry)
    return []


def _absolute(key: str, value: object) -> Path:
    if not isinstance(value, str) or "\0" in value:
        raise InputError(f"{key} is {value!r}, which is no path. Give an absolute path.")
    path = Path(os.path.expanduser(value))
    if not path.is_absolute():
        there = f" ({path.resolve()}?)" if path.exists() else ""
        raise InputError(f"{key} is the relative path {value!r}. Give an absolute path{there}.")
    return path


def _text(key: str, value: object) -> str:
    path = _absolute(key, value)
    if not path.is_file():
        raise InputError(f"{key} {path} is not a file. Name the file with the genes.")
    try:
        data = path.read_bytes() if path.stat().st_size <= _LARGEST else None
    except OSError as error:
        raise InputError(f"{key} {path} cannot be read: {error.strerror}. Mend that.") from error
    if data is None:
        raise InputError(f"{key} {path} is larger than 16 MB. Name a file with genes only.")
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(f"{key} {path} is not UTF-8 text. Save it as plain text.") from error
    if "\0" in text:
        raise InputError(f"{key} {path} is not text. Save it as plain text.")
    return text
