"""Find the data files that a run needs, check that they fit together, and hash them.

GenePlexus makes a folder that is not there, reads a file when a step needs it, and takes an empty network
or a feature table that does not fit its gene list without complaint. So the folder is verified before
GenePlexus hears of it. `look` is quick and made for `validate`; `verify` reads everything and is made for
`run`. What was read once in a process is not read again while the file stays as it was.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from job_orchestration.geneplexus.geneset import KINDS, Identifiers
from job_orchestration.geneplexus.settings import SPECIES, effective
from job_orchestration.TaskBase import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from job_orchestration.geneplexus.settings import Choice

VERSION_FILE = "DATA_VERSION.json"
"""A file that may describe a data folder; GenePlexus itself neither writes nor reads it."""


_NAMED = 3
"""Number of examples in a sentence."""


class DataError(Exception):
    """The data cannot be used; the message says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class DataDigest:
    """The sha256 of all files that a choice needs, and of each."""

    sha256: str
    files: dict[str, str]


def needed_files(choice: Choice) -> tuple[str, ...]:
    """Names of all files that GenePlexus reads for a choice."""
    net, features, trained = choice.net_type, choice.features, choice.sp_trn
    names = [f"IDconversion__{trained}__{kind}-to-Entrez.json" for kind in KINDS]
    names.append(f"GSC__{trained}__{effective(trained, choice.gsc_trn)}__{net}.json")
    for species in (trained, *(one for one, _ in choice.results)):
        names += [
            f"IDconversion__{species}__Entrez-to-Symbol.json",
            f"IDconversion__{species}__Entrez-to-Name.json",
            f"NodeOrder__{species}__{net}.txt",
            f"Data__{species}__{features}__{net}.npy",
        ]
    for species, collection in choice.results:
        names.append(f"Edgelist__{species}__{net}.edg")
        names += _weights_and_terms(choice, species, collection)
        if species != trained:
            names.append(f"BioMart__{trained}__{species}.json")
    return tuple(dict.fromkeys(names))


def look(folder: Path, choice: Choice) -> list[str]:
    """Check names and sizes only, and return what is wrong as sentences.

    Every needed file is there and not empty, features and gene lists agree, networks have edges, and the
    tables of identifiers can be read.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        return [f"file_loc {folder} {what}. Name the folder with the data of GenePlexus."]
    try:
        return list(_found_wrong(folder, choice))
    except OSError as error:
        return [f"{error.filename or folder} cannot be read: {error.strerror}. Mend that."]


def verify(folder: Path, choice: Choice) -> list[str]:
    """Check the contents of a folder that passed `look`, and return what is wrong as sentences."""
    stamps = tuple(stamp(folder / name) for name in needed_files(choice))
    return list(_verified(folder, choice, stamps))


def warm(folder: Path, choice: Choice) -> None:
    """Do all reading of this module for a choice, so that forks of this process need not do it."""
    with suppress(OSError, DataError):
        verify(folder, choice)
        digest(folder, choice)
        identifiers(folder, choice)


def digest(folder: Path, choice: Choice) -> DataDigest:
    """Hash the files that a choice needs."""
    files = {name: _sha256(*stamp(folder / name)) for name in needed_files(choice)}
    lines = "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(files.items()))
    return DataDigest(hashlib.sha256(lines.encode()).hexdigest(), files)


def version(folder: Path) -> dict[str, Any]:
    """Read the folder's description of itself; an empty mapping if it has none."""
    try:
        said = json.loads((folder / VERSION_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def network_genes(folder: Path, species: str, net_type: str) -> tuple[str, ...]:
    """Read the Entrez ids of a network, in the order of the feature table's rows."""
    return _lines(*stamp(folder / f"NodeOrder__{species}__{net_type}.txt"))


def identifiers(folder: Path, choice: Choice) -> Identifiers:
    """Read how the training species names its genes.

    Raises:
        DataError: a table cannot be read.
    """
    stem = f"IDconversion__{choice.sp_trn}__"
    stamps = tuple(
        stamp(folder / f"{stem}{kind}.json")
        for kind in (*(f"{kind}-to-Entrez" for kind in KINDS), "Entrez-to-Symbol", "Entrez-to-Name")
    )
    return _identifiers(stamps, network_genes(folder, choice.sp_trn, choice.net_type))


def species_elsewhere(folder: Path, species: str, names: Iterable[str]) -> dict[str, str]:
    """The species that other tables in the folder know a name of; names that none knows are left out.

    Args:
        folder: the data.
        species: the species whose tables are not asked.
        names: tidied names.
    """
    left, found = set(names), {}
    for other in SPECIES if left else ():
        if other == species:
            continue
        for kind in KINDS:
            path = folder / f"IDconversion__{other}__{kind}-to-Entrez.json"
            if path.is_file():
                known = left & _names_in(*stamp(path))
                found.update(dict.fromkeys(known, other))
                left -= known
    return found


@lru_cache(maxsize=16)
def _names_in(path: str, _size: int, _mtime: int) -> frozenset[str]:
    try:
        return frozenset(name.upper() for name in _json(path))
    except DataError:
        return frozenset()


def _found_wrong(folder: Path, choice: Choice) -> Iterator[str]:
    names = needed_files(choice)
    missing = [name for name in names if not _has_content(folder / name)]
    if missing:
        lack = f"file_loc {folder} has no {', '.join(missing)} (or it is empty)."
        yield NotApplicable(
            f"{lack} Fetch the data again, or choose another network, species or gene set collection."
        )
        return
    yield from _mismatches(folder, choice)
    yield from _strays(folder, choice.sp_trn)


def _weights_and_terms(choice: Choice, species: str, collection: str) -> tuple[str, str]:
    middle = f"{species}__{effective(species, collection)}__{choice.net_type}"
    return f"PreTrainedWeights__{middle}__{choice.features}.json", f"GSC__{middle}.json"


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _mismatches(folder: Path, choice: Choice) -> Iterator[str]:
    columns = {}
    for species in dict.fromkeys((choice.sp_trn, *(one for one, _ in choice.results))):
        order, table = (
            f"NodeOrder__{species}__{choice.net_type}.txt",
            f"Data__{species}__{choice.features}__{choice.net_type}.npy",
        )
        try:
            genes = network_genes(folder, species, choice.net_type)
            shape = np.load(folder / table, mmap_mode="r", allow_pickle=False).shape
        except (ValueError, EOFError) as error:
            yield f"{folder / table} or {order} cannot be read: {error}. Fetch the data again."
            continue
        if len(set(genes)) != len(genes) or any(" " in gene for gene in genes):
            yield f"{order} is not a list of different Entrez ids, one a line. Fetch the data again."
        if len(shape) != 2 or shape[0] != len(genes):  # noqa: PLR2004  a table has two dimensions
            yield (
                f"{table} has the shape {shape}, but {order} has {len(genes)} genes: rows would belong to "
                f"the wrong genes. Fetch the data again."
            )
        columns[table] = shape[-1]
    if len(set(columns.values())) > 1:
        yield f"{' and '.join(columns)} have different numbers of columns. Fetch the data again."
    for species in dict.fromkeys(one for one, _ in choice.results):
        yield from _first_edge(folder / f"Edgelist__{species}__{choice.net_type}.edg", choice.net_type)
    try:
        identifiers(folder, choice)
    except DataError as error:
        yield str(error)


def _first_edge(path: Path, net_type: str) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        fields = next((line.rstrip("\n").split("\t") for line in lines if line.strip()), [])
    if not fields:
        yield f"{path.name} has no edges. Fetch the data again."
        return
    weighted = net_type != "BioGRID"
    columns = 3 if weighted else 2
    if len(fields) != columns or (weighted and not _is_number(fields[2])):
        yield (
            f"{path.name} begins with {len(fields)} columns that are no edge; {net_type} has {columns}: two "
            f"Entrez ids{' and a weight' if weighted else ''}, without a header. Fetch the data again."
        )


def _strays(folder: Path, species: str) -> Iterator[str]:
    """GenePlexus opens the network of every file that begins like a gene list of the species."""
    for name in sorted(os.listdir(folder)):
        if name.startswith(f"NodeOrder__{species}"):
            parts = name.split("__")
            net = parts[2].split(".txt")[0] if len(parts) > 2 else ""  # noqa: PLR2004  the network's place
            if not _has_content(folder / f"NodeOrder__{species}__{net}.txt"):
                yield f"{folder / name} is a left-over that GenePlexus trips over. Move it elsewhere."


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


Stamp = tuple[str, int, int]


def stamp(path: Path) -> Stamp:
    """Identity of a file that was read: path, size, time of change."""
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns


def sha256(stamped: Stamp) -> str:
    """Return the sha256 of a file as hex; it is read once while it stays as it was."""
    return _sha256(*stamped)


@lru_cache(maxsize=256)
def _sha256(path: str, _size: int, _mtime: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=16)
def _lines(path: str, _size: int, _mtime: int) -> tuple[str, ...]:
    with open(path, encoding="utf-8", errors="replace") as file:
        return tuple(line.strip() for line in file if line.strip())


def _json(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            value = json.load(file)
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}. Fetch the data again.") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} holds no mapping. Fetch the data again.")
    return value


@lru_cache(maxsize=2)
def _identifiers(stamps: tuple[Stamp, ...], network: tuple[str, ...]) -> Identifiers:
    tables = [_json(path) for path, _, _ in stamps]
    for (path, _, _), table in zip(stamps, tables, strict=True):
        if not all(isinstance(ids, list) for ids in table.values()):
            raise DataError(f"{path} is not a table of lists. Fetch the data again.")
    to_entrez, symbols, names = dict(zip(KINDS, tables, strict=False)), tables[-2], tables[-1]
    return Identifiers.of_tables(to_entrez, names, {*network, *symbols, *names})


@lru_cache(maxsize=16)
def _verified(folder: Path, choice: Choice, _stamps: tuple[Stamp, ...]) -> tuple[str, ...]:
    everywhere = dict.fromkeys((choice.sp_trn, *(one for one, _ in choice.results)))
    pairs = dict.fromkeys(((choice.sp_trn, choice.gsc_trn), *choice.results))
    checks = [
        partial(_promised, folder, choice),
        *(partial(_features, folder, choice, species) for species in everywhere),
        *(partial(_term_problems, folder, choice, *pair, compare=pair in choice.results) for pair in pairs),
    ]
    problems: list[str] = []
    for check in checks:
        try:
            problems += check()
        except DataError as error:
            problems.append(str(error))
        except (KeyError, TypeError, AttributeError) as error:
            problems.append(
                f"The data in {folder} are not laid out as GenePlexus's: {error!r}. Fetch them again."
            )
    return tuple(dict.fromkeys(problems))


def _promised(folder: Path, choice: Choice) -> Iterator[str]:
    promised = version(folder).get("files")
    if not isinstance(promised, dict):
        return
    for name, sha256 in digest(folder, choice).files.items():
        entry = promised.get(name)
        if isinstance(entry, dict) and entry.get("sha256", sha256) != sha256:
            yield f"{name} is not the file that {VERSION_FILE} describes. Fetch the data again."


def _features(folder: Path, choice: Choice, species: str) -> Iterator[str]:
    table = f"Data__{species}__{choice.features}__{choice.net_type}.npy"
    if not np.isfinite(np.load(folder / table, mmap_mode="r", allow_pickle=False)).all():
        yield f"{table} holds values that are no numbers. Fetch the data again."


def _term_problems(
    folder: Path, choice: Choice, species: str, collection: str, *, compare: bool
) -> Iterator[str]:
    weights_name, terms_name = _weights_and_terms(choice, species, collection)
    gene_sets = _json(str(folder / terms_name))
    lost = [term for term in gene_sets["Term_Order"] if term not in gene_sets]
    if lost or not gene_sets["Term_Order"]:
        yield f"{terms_name} lacks the terms of its own Term_Order ({_few(lost)}). Fetch the data again."
    strangers = set(gene_sets["Universe"]).difference(network_genes(folder, species, choice.net_type))
    if strangers or not gene_sets["Universe"]:
        yield (
            f"{terms_name} has a Universe with genes that the network lacks ({_few(sorted(strangers))}). "
            f"Fetch the data again."
        )
    if not compare:
        return
    weights = _json(str(folder / weights_name))
    table = f"Data__{species}__{choice.features}__{choice.net_type}.npy"
    columns = np.load(folder / table, mmap_mode="r", allow_pickle=False).shape[1]
    lacking = [
        term for term in gene_sets["Term_Order"] if len(weights.get(term, {}).get("Weights", ())) != columns
    ]
    if lacking:
        yield (
            f"{weights_name} lacks terms of {terms_name}, or has weights that do not fit {table} "
            f"({_few(lacking)}). Fetch the data again."
        )


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (", ".join(names[:_NAMED]) + more) or "none at all"
