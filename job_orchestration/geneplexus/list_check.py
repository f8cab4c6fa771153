"""`geneplexus check`: what becomes of the names of gene lists, in each network of a data folder.

Nothing is queued, and no workspace is needed. Lists are read and looked up exactly as `LoadGeneset` does it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.suggestions import did_you_mean, nearest_names
from job_orchestration.geneplexus import data, inputs
from job_orchestration.geneplexus.gene_names import GenesetError
from job_orchestration.geneplexus.geneset import map_genes
from job_orchestration.geneplexus.settings import NETWORKS, SPECIES, Choice, Training

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from job_orchestration.geneplexus.geneset import Identifiers

LEAST: Final = Training({}).min_num_pos
"""The number of genes in the network that a run needs by default."""


def check(
    lists: Sequence[str], folder: str, species: str, networks: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Look up the genes of some lists.

    Args:
        lists: paths of files; of a GMT file each gene set is a list.
        folder: the folder of the data.
        species: the species of the genes.
        networks: the networks to look into; default: all that the folder has of the species.

    Returns:
        An object for each list: what was read, what is mapped, ambiguous and missing, and for each network
        how many genes it has and which it lacks. A list is fine if it can be read and one network has enough.

    Raises:
        UsageError: the folder, the species or a network is not there.
    """
    known = _known(Path(os.path.abspath(os.path.expanduser(folder))), species, networks)
    return [_looked_up(path, name, known, species) for path in lists for name in _gene_sets(path)]


Known = dict[str, tuple["Identifiers", tuple[str, ...]]]
"""By network: the names of its species' genes, and its genes."""


def _known(folder: Path, species: str, networks: Sequence[str]) -> Known:
    if species not in SPECIES:
        near = nearest_names(species, SPECIES)
        todo = did_you_mean(near) if near else f"Choose one of {', '.join(SPECIES)}"
        raise UsageError(f"GenePlexus has no species {species}", todo)
    there = [name for name in NETWORKS if (folder / f"NodeOrder__{species}__{name}.txt").is_file()]
    lacking = [name for name in networks if name not in there]
    if lacking or not there:
        what = f"network {lacking[0]}" if lacking else "network"
        has = f"It has {', '.join(there)}" if there else "Name the folder with the data of GenePlexus"
        raise UsageError(f"{folder} has no {what} of {species}", has)
    try:
        return {
            name: (
                data.identifiers(folder, Choice(net_type=name, sp_trn=species)),
                data.network_genes(folder, species, name),
            )
            for name in networks or there
        }
    except (OSError, data.DataError) as error:
        raise UsageError(f"The data in {folder} cannot be read: {error}", "Download them again") from error


def _gene_sets(path: str) -> Iterator[str | None]:
    """Yield the names of the gene sets in a GMT file; `None` for the one list of any other file."""
    try:
        names = inputs.set_names("LIST", os.path.abspath(os.path.expanduser(path)))
    except (inputs.InputError, GenesetError):
        names = ()  # reading the list says what is wrong
    yield from names or (None,)


def _looked_up(path: str, gene_set: str | None, known: Known, species: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "list": path,
        "gene_set": gene_set,
        "species": species,
        "is_fine": False,
        "problem": None,
        "source": None,
        "names": 0,
        "mapped": 0,
        "ambiguous": {},
        "missing": [],
        "networks": {},
    }
    config = {"genesetFile": os.path.abspath(os.path.expanduser(path)), "genesetName": gene_set}
    first, _ = next(iter(known.values()))
    try:
        genes = inputs.read_genes(config, "geneset", "genesetFile", first.find)
    except inputs.InputError as error:
        return {**found, "problem": str(error).removeprefix("genesetFile: ")}
    assert genes is not None, "a file is given"
    for name, (identifiers, network) in known.items():
        mapped = map_genes(genes.genes, identifiers, network)
        found["networks"][name] = {
            "positives": len(mapped.positives),
            "missing": list(mapped.not_in_network),
            "is_enough": len(mapped.positives) >= LEAST,
            "least": LEAST,
        }
    return {
        **found,
        "source": genes.source,
        "names": len(mapped.rows),
        "mapped": len(mapped.rows) - len(mapped.unmapped),
        "ambiguous": {name: list(ids) for name, ids in mapped.ambiguous.items()},
        "missing": list(mapped.unmapped),
        "is_fine": _has_enough(found["networks"]),
    }


def _has_enough(networks: Mapping[str, Mapping[str, Any]]) -> bool:
    return any(network["is_enough"] for network in networks.values())
