"""Files of a run by the names of GenePlexus's first web application, for programs that read its job folders.

They lie in the run's own folder, as they lay in the job's. Contents are what that application wrote: similar
terms in two tables (processes; diseases and phenotypes), an edge list whose columns are called ``source``,
``target`` and ``weight``, a graph whose nodes are numbers. The status is written last, and only if there are
results: the workspace knows the status of all other runs.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from job_orchestration.geneplexus import checkpoints, reports
from job_orchestration.results import legacy_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from job_orchestration.geneplexus.settings import Reader

STATUS = "Completed"
_PROCESSES = "Biological Process"
_JOB_KEYS = ("jobid", "job_url", "notifyaddress", "input_file_name")
"""Keys of a job that say nothing about the model; they are passed on."""
_TIME = (1980, 1, 1, 0, 0, 0)
"""The time of all entries, so that equal results make equal archives."""


_MODE = 0o100644


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a config asks for besides the results as they are."""

    job: str
    """The slug of the job's name; empty if nothing is asked for."""
    files: bool = False
    archive: bool = False


def wanted(reader: Reader) -> Wanted:
    """Read ``legacyNames``, ``zip`` and ``jobname``; problems are added to the reader's."""
    files, archive = reader.flag("legacyNames", False), reader.flag("zip", False)
    if not files and not archive:
        return Wanted("")
    name = reader.get("jobname")
    if name is not None and not isinstance(name, str):
        reader.problems.append(f"jobname is {name!r}. Give a text.")
        name = None
    try:
        return Wanted(legacy_names.job_name(name or _run_name(reader.config)), files, archive)
    except ValueError as error:
        reader.problems.append(f"The files are called by the job's name, and {error}. Give a jobname.")
        return Wanted("")


class RecordedPaths:
    """Gives the paths of a task's files, and remembers them for the archive."""

    def __init__(self, path: Callable[[str], Path]) -> None:
        self._path = path
        self.made: dict[str, Path] = {}

    def __call__(self, name: str) -> Path:
        """Return the path of a file to write."""
        self.made[name] = path = self._path(name)
        return path


def write(report: reports.Report, config: Mapping[str, Any], asked: Wanted, made: Mapping[str, Path]) -> None:
    """Write what is asked for into the run's folder.

    Args:
        report: the report, which is written.
        config: the task's config.
        asked: what the config asks for.
        made: the files of the report, by their names.
    """
    folder = Path(report.output_dir)
    contents = dict(_contents(report, config, asked.job)) if asked.files else {}
    for name, data in contents.items():
        checkpoints.replace(folder / name, data)
    if asked.archive:
        packed = _packed(asked.job, {**{name: path.read_bytes() for name, path in made.items()}, **contents})
        checkpoints.replace(folder / legacy_names.archive_name(asked.job), packed)


def _contents(report: reports.Report, config: Mapping[str, Any], job: str) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents; the record and the status are the last two."""
    result = next(iter(report.results.values()))
    tables = dict(
        zip(
            legacy_names.TABLES,
            (
                result.df_probs,
                *_similar(result.df_sim),
                pd.DataFrame(report.genes["table"]),
                result.df_edge.set_axis(["source", "target", "weight"][: result.df_edge.shape[1]], axis=1),
            ),
            strict=True,
        )
    )
    for kind, table in tables.items():
        text = table.to_csv(sep="\t", index=False, lineterminator="\n")
        yield legacy_names.file_name(job, kind), text.encode()
    genes = "".join(f"{one}\n" for one in report.genes["genes"])
    yield legacy_names.file_name(job, "geneset"), genes.encode()
    network = reports.graph(result.df_edge, result.df_probs, report.record["parameters"]["num_nodes"])
    yield legacy_names.file_name(job, "graph"), _json(_numbered(network))
    yield legacy_names.file_name(job, "results"), f"<html><body><p>{job}</p></html>".encode()
    yield legacy_names.file_name(job, "job_config"), _json(_job_config(report, config, job))
    yield legacy_names.file_name(job, "job_info"), _json(_job_info(report, job))
    yield legacy_names.file_name(job, "jobstatus"), STATUS.encode()


def _similar(similar: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split the similar terms into processes, and diseases with phenotypes; each is ranked anew."""
    of_process = similar["Task"] == _PROCESSES
    parts = (similar[of_process], similar[~of_process])
    first, second = (part.assign(Rank=range(1, len(part) + 1)) for part in parts)
    return first, second


def _numbered(network: dict[str, Any]) -> dict[str, Any]:
    """The network with Entrez ids as numbers, under the keys that the application's script read."""
    return {
        "nodes": [{**node, "id": _number(node["id"])} for node in network["nodes"]],
        "links": [
            {**link, "source": _number(link["source"]), "target": _number(link["target"])}
            for link in network["links"]
        ],
    }


def _number(entrez: str) -> int | str:
    return int(entrez) if str(entrez).isdigit() else entrez


def _job_config(report: reports.Report, config: Mapping[str, Any], job: str) -> dict[str, Any]:
    parameters = report.record["parameters"]
    return {
        "net_type": parameters["net_type"],
        "features": parameters["features"],
        "GSC": parameters["gsc_trn"],
        "jobname": job,
        "input_file_name": legacy_names.file_name(job, "geneset"),
        **{key: config[key] for key in _JOB_KEYS if key in config},
    }


def _job_info(report: reports.Report, job: str) -> dict[str, Any]:
    kept = {key: value for key, value in report.job_info().items() if not key.endswith("_file")}
    files = {f"{kind}_file": legacy_names.file_name(job, kind) for kind in (*legacy_names.TABLES, "graph")}
    return {**kept, "job_name": job, **files, "status": STATUS}


def _json(value: Any) -> bytes:
    return f"{json.dumps(reports.strict(value), ensure_ascii=False, allow_nan=False)}\n".encode()


def _packed(job: str, contents: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(contents.items()):
            entry = zipfile.ZipInfo(f"{job}/{name}", _TIME)
            entry.external_attr = _MODE << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _run_name(config: Mapping[str, Any]) -> str:
    return Path(str(config.get("outputDir", ""))).name
