"""Answer GenePlexus's searches in lists of genes from an index.

Two of its functions look up each gene of a network by going through a whole list: half of the time of a fit,
and nearly all of that of a prediction. `indexed` hands them lists that answer the same question at once; all
else that the functions do is theirs.
"""

from __future__ import annotations

import functools
import inspect
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from geneplexus import _geneplexus, util

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Array = np.ndarray[Any, Any]

FUNCTIONS = ("_run_sl", "_make_prob_df")
"""The functions of GenePlexus that are called with indexed lists."""


class IndexedGenes(np.ndarray[Any, Any]):
    """An array of genes, each once, that knows the place of each."""

    places: dict[str, int] | None = None

    @classmethod
    def of(cls, genes: Array) -> Array:
        """Return the array with an index; the array itself if it has a gene twice or is not one of texts."""
        if genes.dtype.kind != "U" or genes.ndim != 1:
            return genes
        places = {gene: place for place, gene in enumerate(genes.tolist())}
        if len(places) != len(genes):
            return genes
        found: Any = genes.view(cls)
        found.places = places
        return found  # type: ignore[no-any-return]  # numpy's `view` is typed for its own classes

    def __eq__(self, other: object) -> Any:
        """Compare with one gene by the index, and with anything else as arrays do."""
        if self.places is None or not isinstance(other, str):
            return np.asarray(self) == other
        same: Array = np.zeros(len(self), dtype=bool)
        if (place := self.places.get(other)) is not None:
            same[place] = True
        return same

    __hash__ = None  # as arrays have none


class GeneSet(np.ndarray[Any, Any]):
    """An array of genes whose ``in`` asks a set."""

    members: frozenset[str] | None = None

    @classmethod
    def of(cls, genes: Any) -> Any:
        """Return the genes as such an array; as they are if they are no texts."""
        array = np.asarray(genes)
        if array.dtype.kind != "U" or array.ndim != 1:
            return genes
        found: GeneSet = array.view(cls)
        found.members = frozenset(array.tolist())
        return found

    def __contains__(self, gene: object) -> bool:
        return gene in (np.asarray(self) if self.members is None else self.members)


@contextmanager
def indexed(replaced: Callable[[Any, str, Any], Any]) -> Iterator[None]:
    """Have GenePlexus's functions called with indexed lists.

    Args:
        replaced: makes the context in which a name of a module has another value.
    """
    run_sl, make_prob_df = (getattr(_geneplexus, name) for name in FUNCTIONS)
    with (
        replaced(_geneplexus, "_run_sl", functools.partial(_run_sl, run_sl)),
        replaced(_geneplexus, "_make_prob_df", functools.partial(_make_prob_df, make_prob_df)),
    ):
        yield


def _run_sl(original: Callable[..., Any], *args: Any, **options: Any) -> Any:
    asked = inspect.signature(original).bind(*args, **options)
    asked.arguments["net_genes"] = IndexedGenes.of(asked.arguments["net_genes"])
    return original(*asked.args, **asked.kwargs)


def _make_prob_df(original: Callable[..., Any], *args: Any, **options: Any) -> Any:
    asked = inspect.signature(original).bind(*args, **options)
    given = asked.arguments
    lists = ("pos_genes_in_net", "negative_genes")
    if given["sp_trn"] != given["sp_res"]:
        # It would translate the genes into plain lists. So they come translated, by its own table.
        table = util.load_biomart(given["file_loc"], given["sp_trn"], given["sp_res"])
        for name in lists:
            given[name] = [table[gene] for gene in given[name] if gene in table]
        given["sp_trn"] = given["sp_res"]
    for name in lists:
        given[name] = GeneSet.of(given[name])
    return original(*asked.args, **asked.kwargs)
