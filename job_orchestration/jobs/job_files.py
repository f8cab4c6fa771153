"""Read and write the files of a job in their formats; the base of both stores.

Each file is named ``<job>_<name>.<suffix>``, with the safe name of the job. A write is one step, and an
error of a write or read is raised.
"""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.config.yaml_writer import to_yaml
from job_orchestration.diagnostics.errors import JobNotFoundError, UsageError
from job_orchestration.diagnostics.problems import escaped, quoted
from job_orchestration.jobs import job_names
from job_orchestration.results import loaded_files
from job_orchestration.results.legacy_names import TABLES
from job_orchestration.runs import kept_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from job_orchestration.jobs.job_status import JobStatus

GENESET: Final = "geneset"
CONFIG: Final = "job_config"
INFO: Final = "job_info"
GRAPH: Final = "graph"
OLDER_NAMES: Final = {
    "df_sim_go": "df_GO",
    "df_sim_dis": "df_dis",
    "df_convert_out": "df_convert_out_subset",
    "df_edge": "df_edgelist",
}
"""Names that GenePlexus gives its outputs, and those of the files of a job."""


class JobFiles:
    """The formats of a job's files, upon `read_bytes`, `write_bytes` and `file_names` of a store."""

    # -- of a store -----------------------------------------------------------------------------------

    def exists(self, job: str) -> bool:
        """Return whether there is such a job."""
        raise NotImplementedError

    def list(self) -> Sequence[str]:
        """Return the names of all jobs, sorted."""
        raise NotImplementedError

    def status(self, job: str) -> JobStatus:
        """Return the status of a job."""
        raise NotImplementedError

    def file_names(self, job: str) -> Sequence[str]:
        """Return the names of a job's files, sorted."""
        raise NotImplementedError

    def read_bytes(self, job: str, filename: str) -> bytes:
        """Return the content of a file of a job."""
        raise NotImplementedError

    def write_bytes(self, job: str, filename: str, data: bytes, *, is_input: bool = False) -> str:
        """Write a file of a job as one step; return its name."""
        raise NotImplementedError

    # -- names ----------------------------------------------------------------------------------------

    @staticmethod
    def path_friendly_job_name(job: str) -> str:
        """Return the safe name of a job, which all methods use."""
        return job_names.path_friendly_job_name(job)

    def results_has_file(self, job: str, filename: str) -> bool:
        """Return whether a job has a file."""
        return filename in self.file_names(job)

    def as_zip(self, job: str) -> bytes:
        """Return all files of a job as a zip archive, in a folder of the job's name.

        Raises:
            JobNotFoundError: if there is no such job.
        """
        safe = self._require(job)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in self.file_names(safe):
                archive.writestr(f"{safe}/{name}", self.read_bytes(safe, name))
        return buffer.getvalue()

    def _require(self, job: str) -> str:
        safe = job_names.path_friendly_job_name(job)
        if not self.exists(safe):
            raise JobNotFoundError(f"There is no job {escaped(safe)}", "Create it, or see list()")
        return safe

    # -- inputs ---------------------------------------------------------------------------------------

    def has_input_file(self, job: str, name: str = GENESET) -> bool:
        """Return whether an input was saved."""
        safe = self._require(job)
        return self.results_has_file(safe, job_names.file_name(safe, name, ".txt"))

    def save_input_file(self, job: str, data: str | Iterable[str], name: str = GENESET) -> str:
        """Save an input.

        Args:
            job: the name of the job.
            data: names; a text has one in each line.
            name: of the input.

        Returns:
            The name of its file.

        Raises:
            UsageError: if it is empty.
            JobNotFoundError: if there is no such job.
        """
        lines = _lines(data if isinstance(data, str) else "\n".join(map(str, data)))
        if not lines:
            raise UsageError(f"The input {escaped(name)} is empty", "Give at least one name")
        safe = self._require(job)
        text = "".join(f"{line}\n" for line in lines)
        filename = job_names.file_name(safe, name, ".txt")
        return self.write_bytes(safe, filename, text.encode("utf-8", "surrogateescape"), is_input=True)

    def read_input_file(self, job: str, name: str = GENESET) -> Sequence[str]:
        """Return the names in an input, as they were saved: ``5'-NT`` stays as it is.

        Raises:
            JobNotFoundError: if there is no such job or input.
        """
        safe = self._require(job)
        data = self.read_bytes(safe, job_names.file_name(safe, name, ".txt"))
        return _lines(data.decode("utf-8", "surrogateescape"))

    def read_config(self, job: str) -> dict[str, Any]:
        """Return the parameters that the job was submitted with.

        Raises:
            JobNotFoundError: if there is no such job, or it has none yet.
        """
        found = self.read_json_results(job, CONFIG)
        if not isinstance(found, dict):
            raise UsageError(f"The parameters of {escaped(job)} are no mapping", "Save them again")
        return found

    # -- outputs, by format ---------------------------------------------------------------------------

    def save_json_results(self, job: str, name: str, data: Any) -> str:
        """Save a value as JSON; return the name of the file. NumPy's numbers and dates are converted."""
        return self._write(job, name, ".json", _json(name, data), is_input=name == CONFIG)

    def read_json_results(self, job: str, name: str) -> Any:
        """Return a value that was saved as JSON."""
        return self.load(job, name, ".json")

    def save_yaml_results(self, job: str, name: str, data: Mapping[str, Any]) -> str:
        """Save a mapping as YAML; return the name of the file."""
        value = json.loads(_json(name, dict(data)))
        return self._write(job, name, ".yaml", to_yaml(value))

    def read_yaml_results(self, job: str, name: str) -> Any:
        """Return what was saved as YAML."""
        return self.load(job, name, ".yaml")

    def save_txt_results(self, job: str, name: str, text: str) -> str:
        """Save a text; return the name of the file."""
        return self._write(job, name, ".txt", text.encode("utf-8", "surrogateescape"))

    def read_txt_results(self, job: str, name: str) -> str:
        """Return a text."""
        return str(self.load(job, name, ".txt"))

    def save_df_results(self, job: str, name: str, df: Any) -> str:
        """Save a data frame of pandas as tab-separated text, without its index; return the file's name."""
        text = df.to_csv(sep="\t", index=False, lineterminator="\n")
        return self._write(job, _table_name(name), ".tsv", str(text).encode())

    def read_df_results(self, job: str, name: str) -> Any:
        """Return a table as a data frame of pandas."""
        return self.load(job, _table_name(name), ".tsv")

    def save_graph_results(self, job: str, graph: Mapping[str, Any], name: str = GRAPH) -> str:
        """Save a graph: ``{"nodes": […], "links": […]}``; return the name of the file."""
        return self._write(job, name, ".json", _json(name, dict(graph)))

    def read_graph_results(self, job: str, name: str = GRAPH) -> dict[str, Any]:
        """Return a graph."""
        found = self.load(job, name, ".json")
        return dict(found)

    def save_pickle_results(self, job: str, name: str, value: Any) -> str:
        """Save any Python value; return the name of the file. To load it executes what is in it."""
        import pickle

        warnings.warn(
            "A pickle executes what is in it when it is loaded: save data as JSON or a table instead",
            stacklevel=2,
        )
        return self._write(job, name, ".pickle", pickle.dumps(value))

    def read_pickle_results(self, job: str, name: str, *, allow_pickle: bool = False) -> Any:
        """Return a value that was saved as a pickle, if the caller says that its author is to be trusted."""
        return self.load(job, name, ".pickle", allow_pickle=allow_pickle)

    def save_figure(
        self, job: str, name: str, figure: Any, formats: Sequence[str] = ("png",)
    ) -> Sequence[str]:
        """Save a figure of matplotlib in some formats; return the names of the files."""
        made = []
        for one in formats:
            buffer = io.BytesIO()
            figure.savefig(buffer, format=one)
            made.append(self._write(job, name, f".{one}", buffer.getvalue()))
        return made

    def save(self, job: str, name: str, value: Any) -> str:
        """Save a value in the format that suits it: a data frame, a text, bytes or JSON."""
        if hasattr(value, "to_csv"):
            return self.save_df_results(job, name, value)
        if isinstance(value, str):
            return self.save_txt_results(job, name, value)
        if isinstance(value, bytes | bytearray):
            return self._write(job, name, "", bytes(value))
        return self.save_json_results(job, name, value)

    def save_output(self, job: str, output: Mapping[str, Any]) -> Sequence[str]:
        """Save several outputs.

        Args:
            job: the name of the job.
            output: data frames, graphs, texts or other values, by name; GenePlexus's names are accepted.

        Returns:
            The names of the files.
        """
        return [self.save(job, _table_name(name), value) for name, value in output.items()]

    def load(self, job: str, name: str, suffix: str = "", *, allow_pickle: bool = False) -> Any:
        """Load a file by its suffix, as `Run.load` does.

        Args:
            job: the name of the job.
            name: of the file, with or without the job's name before it.
            suffix: of the file, if `name` has none.
            allow_pickle: whether to load pickles too.

        Raises:
            JobNotFoundError: if there is no such job or file.
        """
        safe = self._require(job)
        filename = job_names.file_name(safe, name, suffix)
        data = self.read_bytes(safe, filename)
        return loaded_files.load_content(io.BytesIO(data), filename, allow_pickle=allow_pickle)

    def _write(self, job: str, name: str, suffix: str, data: bytes, *, is_input: bool = False) -> str:
        safe = self._require(job)
        return self.write_bytes(safe, job_names.file_name(safe, name, suffix), data, is_input=is_input)

    # -- a job as a whole -----------------------------------------------------------------------------

    def read_status(self, job: str) -> str:
        """Return the status of a job as the text of its code: ``Accepted``, ``Completed``, …."""
        return self.status(job).status_text

    def has_results(self, job: str) -> bool:
        """Return whether a job has completed.

        Raises:
            JobNotFoundError: if there is no such job.
        """
        return self.status(self._require(job)).completed

    def job_submit_time(self, job: str) -> str:
        """Return when a job was queued: UTC, ``2026-11-27 20:00:00``; empty if it was not yet.

        Raises:
            JobNotFoundError: if there is no such job.
        """
        at = self.status(self._require(job)).submitted_at
        return at[:19].replace("T", " ") if at else ""

    def read_job_info(self, job: str) -> dict[str, Any]:
        """Return what is known of a job: parameters, files, and its status as it is now.

        Raises:
            JobNotFoundError: if there is no such job.
        """
        safe = self._require(job)
        found, status = self._saved_info(safe), self.status(safe)
        config = self._or_none(self.read_config, safe) or {}
        parameters = {key: config.get(key) for key in ("net_type", "features", "GSC")}
        tables = {f"{name}_file": job_names.file_name(safe, name, ".tsv") for name in TABLES}
        files = {**tables, f"{GRAPH}_file": job_names.file_name(safe, GRAPH, ".json")}
        genes = self._or_none(self.read_input_file, safe)
        return {
            **parameters,
            **{key: found[key] for key in ("avgps", "positive_genes") if key in found},
            **{key: value for key, value in found.items() if key not in parameters},
            "job_name": safe,
            "input_count": len(genes) if genes else found.get("input_count"),
            **{key: name if self.results_has_file(safe, name) else None for key, name in files.items()},
            "submit_time": self.job_submit_time(safe),
            "has_results": status.completed,
            "status": status.status_text,
        }

    def job_info_list(self, names: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
        """Return what is known of several jobs, by name; default: of all. Names of no job are left out."""
        chosen = self.list() if names is None else map(job_names.path_friendly_job_name, names)
        return {name: self.read_job_info(name) for name in chosen if self.exists(name)}

    def read(self, job: str) -> dict[str, Any]:
        """Return `read_job_info` with the tables and the graph; `None` for each that there is not (yet).

        Raises:
            JobNotFoundError: if there is no such job.
        """
        safe = self._require(job)
        tables = {name: self._or_none(self.read_df_results, safe, name) for name in TABLES}
        return {**self.read_job_info(safe), **tables, GRAPH: self._or_none(self.read_graph_results, safe)}

    def _saved_info(self, job: str) -> dict[str, Any]:
        found = self._or_none(self.read_json_results, job, INFO)
        return found if isinstance(found, dict) else {}

    @staticmethod
    def _or_none(read: Any, *arguments: str) -> Any:
        try:
            return read(*arguments)
        except JobNotFoundError:
            return None


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _table_name(name: str) -> str:
    return OLDER_NAMES.get(name, name)


def _json(name: str, data: Any) -> bytes:
    value, phrases = kept_values.kept(data, name, limit=None)
    if phrases:
        raise UsageError(
            f"{quoted(escaped(name))} cannot be written as JSON: {escaped('; '.join(phrases))}",
            "Give texts, numbers, booleans, None, lists, dicts or arrays",
        )
    return json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8", "surrogateescape")
