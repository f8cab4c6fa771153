"""Hand GenePlexus data that have been read already, instead of having every step of every run read them.

GenePlexus reads a file each time that it needs it: the features twice a run, and all edges for those among
fifty genes. `handed_over` replaces its reading functions while it works; each gives what the replaced one
would have read. A file counts as read while its size and time of change stay as they were; else it is read
anew. So a run's results do not depend on what is in memory. `load` reads all that a choice needs.

This reaches inside GenePlexus. A version that is not known here reads its files itself, which is slower.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from geneplexus import _geneplexus, util

from job_orchestration.geneplexus import checkpoints, data, edge_cache, gene_lookups
from job_orchestration.geneplexus.geneset import KINDS
from job_orchestration.geneplexus.settings import effective

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from job_orchestration.geneplexus.settings import Choice

KNOWN: Final = "3.0."
"""The versions of GenePlexus whose reading functions are known begin so."""

FILES: Final = {
    "load_geneid_conversion": "IDconversion__{species}__{src_id_type}-to-{dst_id_type}.json",
    "load_gsc": "GSC__{species}__{gsc}__{net_type}.json",
    "load_biomart": "BioMart__{sp_trn}__{sp_res}.json",
    "load_pretrained_weights": "PreTrainedWeights__{species}__{gsc}__{net_type}__{features}.json",
    "load_node_order": "NodeOrder__{species}__{net_type}.txt",
    "load_gene_features": "Data__{species}__{features}__{net_type}.npy",
}
"""The reading functions of GenePlexus, each with the file that it reads."""

_COLUMNS: Final = ("Node1", "Node2", "Weight")

_held: Final[dict[tuple[str, str], tuple[data.Stamp, Any]]] = {}
"""What is in memory: path and what was made of the file, to the file's state and the content."""


def unknown_version() -> str:
    """Return why data cannot be handed over to the installed GenePlexus, as a sentence; empty if they can."""
    version = checkpoints.version_of("geneplexus")
    inside = ("_make_small_edgelist", *gene_lookups.FUNCTIONS)
    missing = [name for name in FILES if not callable(getattr(util, name, None))]
    if version.startswith(KNOWN) and not missing and all(hasattr(_geneplexus, name) for name in inside):
        return ""
    return (
        f"GenePlexus {version} is not known to these tasks, which know {KNOWN}x: every run reads all its "
        f"data itself, which is slower. Install geneplexus=={KNOWN}*, or a newer job-orchestration."
    )


def files_held() -> set[str]:
    """Return the paths of the files whose content is in memory."""
    return {path for path, _ in _held}


def forget() -> None:
    """Drop all that is in memory."""
    _held.clear()


@contextmanager
def handed_over() -> Iterator[None]:
    """Have GenePlexus take its data from memory, as far as they are there."""
    if unknown_version():
        yield
        return
    with contextlib.ExitStack() as replaced:
        for name, file_name in FILES.items():
            reader = functools.partial(_from_memory, getattr(util, name), file_name)
            replaced.enter_context(_replaced(util, name, reader))
        whole = functools.partial(_small_edgelist, _geneplexus._make_small_edgelist)  # noqa: SLF001  see the module
        replaced.enter_context(_replaced(_geneplexus, "_make_small_edgelist", whole))
        replaced.enter_context(gene_lookups.indexed(_replaced))
        yield


def load(folder: Path, choice: Choice) -> None:
    """Read all that GenePlexus will ask for, and drop all else; a run complains of what cannot be read."""
    forget()
    if unknown_version():
        return
    trained, net, features = choice.sp_trn, choice.net_type, choice.features
    with (
        contextlib.suppress(OSError, ValueError, data.DataError),
        warnings.catch_warnings(action="ignore", category=ResourceWarning),  # it never closes its files
        handed_over(),
    ):
        where = str(folder)
        for kind in KINDS:
            util.load_geneid_conversion(where, trained, kind, "Entrez", upper=True)
        for species in dict.fromkeys((trained, *(one for one, _ in choice.results))):
            for kind in ("Symbol", "Name"):
                util.load_geneid_conversion(where, species, "Entrez", kind)
            util.load_node_order(where, species, net)
            util.load_gene_features(where, species, features, net)
            if species != trained:
                util.load_biomart(where, trained, species)
        for species, collection in ((trained, choice.gsc_trn), *choice.results):
            util.load_gsc(where, species, effective(species, collection), net)
        for species, collection in choice.results:
            util.load_pretrained_weights(where, species, effective(species, collection), net, features)
            _edges(_edge_list(where, species, net), _columns_of(net))


def _from_memory(original: Callable[..., Any], file_name: str, *args: Any, **options: Any) -> Any:
    """Answer a call of one of the reading functions."""
    asked = inspect.signature(original).bind(*args, **options)
    asked.apply_defaults()
    path = Path(asked.arguments["file_loc"]) / file_name.format(**asked.arguments)
    try:
        stamp = data.stamp(path)
    except OSError:
        return original(*args, **options)  # it has the words for that
    own = {name: value for name, value in asked.arguments.items() if name != "file_loc"}
    return _once(stamp, f"{original.__name__} {own}", lambda: _content(original, path, asked.arguments))


def _once(stamp: data.Stamp, what: str, read: Callable[[], Any]) -> Any:
    key = stamp[0], what
    if key not in _held or _held[key][0] != stamp:
        _held.pop(key, None)
        _held[key] = stamp, read()
    return _held[key][1]


def _content(original: Callable[..., Any], path: Path, asked: Mapping[str, Any]) -> Any:
    if original.__name__ == "load_gene_features":
        # Mapped: all workers share one copy, and a run reads the rows that it needs.
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    content = original(**asked)
    if isinstance(content, np.ndarray):
        content.flags.writeable = False
    if original.__name__ == "load_pretrained_weights":
        _compact(content)
    return content


def _compact(weights: Mapping[str, dict[str, Any]]) -> None:
    """Make arrays of the lists of weights: a quarter of the memory, and quicker to compare with."""
    for term in weights.values():
        row = np.asarray(term["Weights"])
        if row.dtype == np.float64:
            row.flags.writeable = False
            term["Weights"] = row


# -- edges --


@dataclass(frozen=True, slots=True)
class _Nodes:
    """A column of nodes."""

    nodes: pd.Index
    """Each node once, as it was read."""
    names: pd.Index
    """The same as texts."""
    codes: np.ndarray[Any, Any]
    """For each row, the place of its node."""

    @classmethod
    def of(cls, values: Any, codes: np.ndarray[Any, Any]) -> _Nodes:
        """Return the column of some nodes."""
        nodes = pd.Index(values)
        return cls(nodes, nodes.astype(str), codes)


@dataclass(frozen=True, slots=True)
class Edges:
    """All edges of a network, in the order of the file."""

    nodes: tuple[_Nodes, _Nodes]
    weights: np.ndarray[Any, Any] | None

    @classmethod
    def of(cls, path: Path, columns: tuple[str, ...]) -> Edges:
        """Return the edges of a file, from the cache of the workspace if it has them."""
        (first, second), weights = edge_cache.kept(
            data.stamp(path), columns, lambda: _parsed(pd.read_csv(path, **_options(columns)))
        )
        return cls((_Nodes.of(*first), _Nodes.of(*second)), weights)

    def among(self, genes: Iterable[str]) -> pd.DataFrame:
        """Return the rows of the table with both nodes among some genes."""
        wanted = list(genes)
        first, second = self.nodes
        rows = np.flatnonzero(first.names.isin(wanted)[first.codes])
        rows = rows[second.names.isin(wanted)[second.codes[rows]]]
        columns: list[Any] = [column.nodes.take(column.codes[rows]) for column in self.nodes]
        if self.weights is not None:
            columns.append(self.weights[rows])
        return pd.DataFrame(dict(zip(_COLUMNS, columns, strict=False)), index=rows)


def _small_edgelist(
    original: Callable[..., Any],
    file_loc: str,
    df_probs: pd.DataFrame,
    species: str,
    net_type: str,
    *,
    num_nodes: int = 50,
) -> Any:
    """Call GenePlexus's function for the edges among the top genes; it sees only the edges among these."""
    path, columns = _edge_list(file_loc, species, net_type), _columns_of(net_type)
    edges = _edges(path, columns).among(df_probs["Entrez"].to_numpy()[:num_nodes])

    def read_csv(asked: Any, **options: Any) -> pd.DataFrame:
        if str(asked) == str(path) and options == _options(columns):
            return edges
        return pd.read_csv(asked, **options)

    with _replaced(_geneplexus, "pd", _Pandas(read_csv)):
        return original(file_loc, df_probs, species, net_type, num_nodes=num_nodes)


class _Pandas:
    """Pandas with another `read_csv`."""

    def __init__(self, read_csv: Callable[..., pd.DataFrame]) -> None:
        self.read_csv = read_csv

    def __getattr__(self, name: str) -> Any:
        return getattr(pd, name)


def _edges(path: Path, columns: tuple[str, ...]) -> Edges:
    edges: Edges = _once(data.stamp(path), f"edges {columns}", lambda: Edges.of(path, columns))
    return edges


def _parsed(table: pd.DataFrame) -> edge_cache.Columns:
    first, second, *rest = (table[name] for name in table.columns)
    return (_factorised(first), _factorised(second)), rest[0].to_numpy() if rest else None


def _factorised(column: pd.Series) -> tuple[Any, np.ndarray[Any, Any]]:
    codes, values = pd.factorize(column, use_na_sentinel=False)
    return values, codes.astype(np.int32)


def _options(columns: tuple[str, ...]) -> dict[str, Any]:
    return {"sep": "\t", "header": None, "names": list(columns)}


def _columns_of(net_type: str) -> tuple[str, ...]:
    return _COLUMNS[:2] if net_type == "BioGRID" else _COLUMNS


def _edge_list(folder: str, species: str, net_type: str) -> Path:
    return Path(os.path.join(folder, f"Edgelist__{species}__{net_type}.edg"))


@contextmanager
def _replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)
