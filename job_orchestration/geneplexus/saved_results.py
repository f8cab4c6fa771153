"""Load the results of a run: its data frames and its graph, from a run, its folder or its name.

Folders of this program's runs and job folders of the first web application give the same value.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import yaml

from job_orchestration import Run, UsageError, Workspace
from job_orchestration.results import legacy_names

if TYPE_CHECKING:
    from collections.abc import Callable

_TABLES: Final = ("df_probs", "df_sim", "df_edge", "df_edge_sym")
_IDS: Final = {"Entrez": str, "Entrez ID": str, "Original ID": str, "Node1": str, "Node2": str, "ID": str}
_EDGES: Final = {"source": "Node1", "target": "Node2", "weight": "Weight"}
_RECORD: Final = "job_info.json"


@dataclass(frozen=True)
class SavedResults:
    """What GenePlexus found for one gene set; identifiers are texts in all tables."""

    folder: Path
    """The folder that it was loaded from."""
    df_probs: pd.DataFrame
    """A row for each gene of the network: probability, class, known or novel."""
    df_sim: pd.DataFrame
    """Similar terms."""
    df_edge: pd.DataFrame
    """The network of the top genes, by Entrez ids."""
    df_edge_sym: pd.DataFrame | None
    """The same by symbols; `None` in job folders of the first web application."""
    df_convert_out: pd.DataFrame
    """What became of each name that was given."""
    graph: dict[str, Any]
    """The network as ``nodes`` and ``links``."""
    info: dict[str, Any]
    """The record of the job: parameters, scores, counts, names of files."""
    headline: dict[str, Any] = field(default_factory=dict)
    """What ``results.yaml`` says; empty in job folders of the first web application."""

    def network(self) -> Any:
        """Return the graph as a graph of networkx, with all that the nodes and links say."""
        import networkx as nx

        graph = nx.Graph()
        for node in self.graph["nodes"]:
            graph.add_node(str(node["id"]), **{key: value for key, value in node.items() if key != "id"})
        for link in self.graph["links"]:
            graph.add_edge(str(link["source"]), str(link["target"]), weight=link["weight"])
        return graph


def load(
    run: Run | str | os.PathLike[str],
    workspace: Workspace | str | os.PathLike[str] | None = None,
    *,
    results: str | None = None,
) -> SavedResults:
    """Load the results of a completed run.

    Args:
        run: a run of the Python interface; the folder of a run or of a job; or the name of a run.
        workspace: where the name is one of a run; default: the workspace of the environment or around the
            current folder.
        results: the species and collection of the results, such as ``Mouse-GO``, if there are several;
            default: the first.

    Raises:
        UsageError: if there is no such run, or it has no results of GenePlexus.
    """
    if not isinstance(run, Run):
        folder = Path(run).expanduser()
        if workspace is None and folder.is_dir():
            return _of_folder(folder, results)
        place = workspace if isinstance(workspace, Workspace) else Workspace(workspace)
        run = place.run(os.fspath(run))
    records = [name for name in run.files if name.rpartition("/")[2] == _RECORD and "/" in name]
    if not records:
        raise UsageError(
            f"{run.name} has no results of GenePlexus", "Wait until its task SaveResults has finished"
        )
    return _of_task((run.folder / records[-1]).parent, run.folder, results)


def _of_folder(folder: Path, results: str | None) -> SavedResults:
    """Load from a folder: of a run, of its task, or of a job."""
    if (folder / _RECORD).is_file():
        return _of_task(folder, folder.parent, results)
    records = sorted(folder.glob(f"*/{_RECORD}"))
    if records:
        return _of_task(records[-1].parent, folder, results)
    jobs = sorted(folder.glob("*_job_info.json"))
    if not jobs:
        raise UsageError(
            f"{folder} has no results of GenePlexus", "Name the folder of a completed run or job"
        )
    return _of_job(folder, jobs[0].name.removesuffix("_job_info.json"))


def _of_task(folder: Path, run_folder: Path, results: str | None) -> SavedResults:
    info = _json(folder / _RECORD)
    first = os.path.dirname(info["df_probs_file"])
    pairs = sorted(path.parent.name for path in folder.glob("*/df_probs.tsv"))
    if results is not None and results not in pairs:
        known = ", ".join(pairs) or "only one"
        raise UsageError(f"{folder} has no results {results}", f"It has: {known}")
    inside = folder / (results or first)
    tables = {name: _table(inside / f"{name}.tsv") for name in _TABLES}
    return SavedResults(
        folder=folder,
        **tables,
        df_convert_out=_table(folder / "df_convert_out.tsv"),
        graph=_json(inside / "graph.json"),
        info=info,
        headline=_headline(run_folder, folder),
    )


def _of_job(folder: Path, job: str) -> SavedResults:
    def path(kind: str) -> Path:
        return folder / legacy_names.file_name(job, kind)

    similar = [_table(path(kind)) for kind in ("df_GO", "df_dis")]
    return SavedResults(
        folder=folder,
        df_probs=_table(path("df_probs")),
        df_sim=pd.concat([one for one in similar if len(one)] or similar[:1], ignore_index=True),
        df_edge=_table(path("df_edgelist"), dtype={"source": str, "target": str}).rename(columns=_EDGES),
        df_edge_sym=None,
        df_convert_out=_table(path("df_convert_out_subset")),
        graph=_json(path("graph")),
        info=_json(path("job_info")),
    )


def _headline(*folders: Path) -> dict[str, Any]:
    for folder in folders:
        path = folder / "results.yaml"
        if path.is_file():
            found = yaml.safe_load(_read(path, path.read_text))
            return found if isinstance(found, dict) else {}
    return {}


def _table(path: Path, dtype: dict[str, type] | None = None) -> pd.DataFrame:
    def read() -> pd.DataFrame:
        return pd.read_csv(path, sep="\t", dtype=dtype or _IDS, keep_default_na=False, na_values=[""])

    return _read(path, read)


def _json(path: Path) -> dict[str, Any]:
    found = json.loads(_read(path, lambda: path.read_text("utf-8")))
    return found if isinstance(found, dict) else {}


def _read(path: Path, read: Callable[[], Any]) -> Any:
    """Call what reads a file.

    Raises:
        UsageError: if it is missing or damaged.
    """
    try:
        return read()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} cannot be read: {error}", "Run the job again, or restore its files"
        ) from error
