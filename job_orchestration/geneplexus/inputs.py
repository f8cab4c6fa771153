"""Find what a config refers to: the data folder, gene lists in files, earlier tasks.

Paths are absolute (or begin with ``~``). A relative one would mean one folder when the config is checked
and another in the worker that runs it, so it is refused.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from job_orchestration import PermanentError
from job_orchestration.geneplexus import gene_lists, gene_tables
from job_orchestration.geneplexus.gene_names import GenesetError
from job_orchestration.geneplexus.settings import Reader, entries, method_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from job_orchestration.geneplexus.gene_lists import GeneList

_LARGEST = 16 * 1024 * 1024
"""Bytes; every gene of every species is less."""


BATCH_KEY = "genesetsFrom"
"""The key of a config that is one of a batch: the file or folder of all gene sets."""
COLUMN_KEYS = {"geneset": "geneColumn", "negatives": "negativesColumn"}
SET_KEYS = {"geneset": "genesetName", "negatives": "negativesName"}
"""The keys that say more about a list."""


class InputError(PermanentError):
    """Something that a config refers to cannot be used; the message says what is wrong and what to do."""


class NoGenesError(InputError):
    """A gene list has no genes."""


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


def read_genes(
    config: Mapping[str, Any],
    key: str,
    file_key: str,
    find: Callable[[str], tuple[str, ...]] = gene_tables.knows_nothing,
) -> GeneList | None:
    """The gene list under ``key``, or in the file under ``file_key``; `None` when neither is given.

    Args:
        config: the task's config.
        key: the key of a list in the config.
        file_key: the key of a list in a file.
        find: gives the Entrez ids of a tidied name.

    Raises:
        InputError: both are given, the file cannot be read, it leaves open which genes are meant, or there
            are no genes in what is given.
    """
    inline, file = Reader(config).get(key), config.get(file_key)
    if inline is None and file is None:
        return None
    if inline is not None and file is not None:
        raise InputError(f"{key} and {file_key} are both given. Keep one of them.")
    given = key if file is None else file_key
    wanted = _wanted(config, key, is_gmt=_is_gmt(file))
    try:
        genes = gene_lists.read(inline if file is None else _text(file_key, file), find, wanted)
    except GenesetError as error:
        raise InputError(f"{given}: {error}{'' if str(error).endswith('?') else '.'}") from error
    if not genes.names:
        raise NoGenesError(f"{given} names no genes. Give at least one.")
    return genes


def set_names(key: str, file: str) -> tuple[str, ...]:
    """The names of the gene sets in a file; none if it is not called a GMT file.

    Args:
        key: what names the file, for the message.
        file: its path.

    Raises:
        InputError: it cannot be read.
    """
    return gene_lists.set_names(_text(key, file)) if _is_gmt(file) else ()


def _is_gmt(file: object) -> bool:
    return str(file).lower().endswith((".gmt", ".gmt.txt"))


def _wanted(config: Mapping[str, Any], key: str, *, is_gmt: bool) -> gene_lists.Wanted:
    """Read the config's options for the form of a list."""
    column_key, set_key = COLUMN_KEYS[key], SET_KEYS[key]
    column, gene_set = config.get(column_key), config.get(set_key)
    if column is not None and (isinstance(column, bool) or not isinstance(column, (str, int))):
        raise InputError(f"{column_key} is {column!r}. Give the title of a column, or its number from 1.")
    if gene_set is not None and (isinstance(gene_set, bool) or not isinstance(gene_set, (str, int))):
        raise InputError(f"{set_key} is {gene_set!r}. Give the name of a gene set in the GMT file.")
    return gene_lists.Wanted(
        column, None if gene_set is None else str(gene_set), column_key, set_key, is_gmt=is_gmt
    )


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


def later_entry(config: Mapping[str, Any], class_name: str) -> Mapping[str, Any]:
    """The first task after this one whose method is a class of that name; an empty mapping if none is."""
    after = entries(config)[len(_before(config)) + 1 :]
    return next((entry for entry in after if method_name(entry) == class_name), {})


def _before(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    before: list[Mapping[str, Any]] = []
    for entry in entries(config):
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
