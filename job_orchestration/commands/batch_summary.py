"""`geneplexus summary`: write the tables and heat maps of a batch of gene sets into its folder.

They are made from the runs alone, so they can be deleted and made again at any time; a worker has them made
when runs of the batch end. One process at a time writes them, each file in one step.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.commands import selection
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import escaped, named
from job_orchestration.results import batch_tables
from job_orchestration.results.batch_tables import BatchRun
from job_orchestration.runs import catalog, run_files
from job_orchestration.submission import gene_set_batches, left_out_trials
from job_orchestration.workspace import durable, locks, naming, safe_reads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from job_orchestration.config.config import Json
    from job_orchestration.results.batch_tables import Genes
    from job_orchestration.runs.catalog import RunRecord
    from job_orchestration.workspace.layout import Workspace

TABLE: Final = "summary.tsv"
_JSON: Final = "summary.json"
_SIMILARITY: Final = "similarity"
_MOST_COMPARED: Final = 400
"""Gene sets of one network that are compared with one another; the comparisons grow with their square."""
_PROBABILITIES: Final = "df_probs.tsv"
_LARGEST: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """A summary that was written."""

    folder: str
    """Where the files are: absolute."""
    runs: int
    completed: int
    left_out: int
    files: tuple[str, ...]
    notes: tuple[str, ...]
    """What could not be read or drawn."""

    def as_json(self) -> dict[str, Any]:
        """Return it as ``geneplexus summary --json`` prints it."""
        return {**asdict(self), "files": list(self.files), "notes": list(self.notes)}


def summarize(workspace: Workspace, name: str, *, only_tables: bool = False) -> BatchSummary:
    """Write the summary of a batch.

    Args:
        workspace: with all its folders in place.
        name: the folder of the batch below ``Output/``, or the name of its config.
        only_tables: whether to leave the comparison of the gene sets as it is.

    Raises:
        UsageError: there is no such batch, or several have this name.
        OSError: the disk refuses a file.
    """
    base, records = _batch_of(workspace, name)
    folder = os.path.join(workspace.run_folder(base), left_out_trials.FOLDER)
    durable.make_folder(folder)
    with locks.folder_lock(folder):
        # Read under the lock: a run that ends now is in this summary or in the next one.
        base, records = _batch_of(workspace, base)
        notes: list[str] = []
        runs = list(_runs_of(workspace, records, notes))
        rows, left_out = (
            batch_tables.rows_of(runs),
            [{"trial": t, "reason": r} for t, r in left_out_trials.read(folder)],
        )
        contents = {
            TABLE: batch_tables.text_of(rows).encode("utf-8", "backslashreplace"),
            _JSON: _json({"batch": base, "runs": rows, "left_out": left_out}),
        }
        if not only_tables:
            contents |= _compared(workspace, records, runs, notes)
        for file, data in contents.items():
            durable.replace(os.path.join(folder, file), data)
    completed = sum(1 for run in runs if run.status == "completed")
    return BatchSummary(folder, len(runs), completed, len(left_out), tuple(contents), tuple(notes))


def _batch_of(workspace: Workspace, name: str) -> tuple[str, list[RunRecord]]:
    wanted, stem = name.rstrip("/").removeprefix("Output/"), naming.stem_of(name)
    batches: dict[str, list[RunRecord]] = {}
    for record in catalog.entries(workspace):
        state = record.state
        if record.run and state and state.trial and gene_set_batches.MARK in state.values:
            batches.setdefault(os.path.dirname(record.run), []).append(record)
    found = [wanted] if wanted in batches else [b for b, rs in batches.items() if rs[0].config == stem]
    if len(found) == 1:
        return found[0], sorted(batches[found[0]], key=lambda record: record.run or "")
    if found:
        raise UsageError(f"{escaped(name)} may mean {named(map(escaped, found))}", "Write the folder")
    known = f"There is {named(map(escaped, batches))}" if batches else "No config with genesets has runs"
    raise UsageError(f"There is no batch {escaped(name)}", known)


def _runs_of(workspace: Workspace, records: Sequence[RunRecord], notes: list[str]) -> Iterator[BatchRun]:
    for record, row in selection.chosen_rows(workspace, records, selection.EVERYTHING, notes):
        assert record.run is not None, "a trial has a run"
        assert record.state is not None, "and was read"
        assert record.state.trial is not None, "by which it was chosen"
        error = row.facts["error"]
        yield BatchRun(
            record.run,
            record.end or str(record.place),
            record.state.trial.parameters,
            row.results,
            None if error is None else str(error),
        )


def _json(value: object) -> bytes:
    return f"{json.dumps(value, indent=1, ensure_ascii=False)}\n".encode("utf-8", "backslashreplace")


# -- how alike the gene sets are --------------------------------------------------------------------------


def _compared(
    workspace: Workspace, records: Sequence[RunRecord], runs: Sequence[BatchRun], notes: list[str]
) -> dict[str, bytes]:
    """Return the table and the maps of similarity, a map for each network and collection."""
    of_run = {record.run: record for record in records}
    groups: dict[str, list[BatchRun]] = {}
    for run in runs:
        if run.status == "completed":
            groups.setdefault(json.dumps(run.choice, sort_keys=True), []).append(run)
    pairs: list[dict[str, Json]] = []
    pictures: dict[str, bytes] = {}
    for group in groups.values():
        if len(group) > _MOST_COMPARED:
            notes.append(f"only {_MOST_COMPARED} of {len(group)} gene sets are compared")
        readable = (_genes_of(workspace, of_run[run.run], run, notes) for run in group[:_MOST_COMPARED])
        genes = [one for one in readable if one is not None]
        pairs += batch_tables.pairs_of(genes, group[0].choice)
        if len(genes) > 1:
            pictures |= _pictures(genes, group[0].choice, notes, is_only=len(groups) == 1)
    if pairs:
        pictures[f"{_SIMILARITY}.tsv"] = batch_tables.text_of(pairs).encode("utf-8", "backslashreplace")
    return pictures


def _genes_of(workspace: Workspace, record: RunRecord, run: BatchRun, notes: list[str]) -> Genes | None:
    assert record.state is not None, "it is completed"
    folder = workspace.run_folder(run.run)
    names = [n for n in run_files.names(folder, record.state) if os.path.basename(n) == _PROBABILITIES]
    try:
        text = safe_reads.whole(os.path.join(folder, names[0]), _LARGEST).decode()
        rows = csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
        return batch_tables.genes_in(run.gene_set, rows)
    except (OSError, ValueError, LookupError) as error:
        notes.append(f"{escaped(run.run)} is not compared, its {_PROBABILITIES} cannot be read: {error}")
        return None


def _pictures(
    genes: Sequence[Genes], choice: dict[str, Json], notes: list[str], *, is_only: bool
) -> dict[str, bytes]:
    said = ", ".join(f"{value}" for value in choice.values())
    title = f"Similarity of {len(genes)} gene sets{f': {said}' if said else ''}"
    suffix = "" if is_only else "".join(f"_{_name_part(value)}" for value in choice.values())
    try:
        # by name, as the tasks are: the packages below do without what GenePlexus needs
        found = importlib.import_module("job_orchestration.geneplexus.similarity_maps").drawn(genes, title)
    except ImportError as error:
        notes.append(f"no heat map is drawn: {error}. Install job-orchestration[geneplexus]")
        return {}
    return {f"{_SIMILARITY}{suffix}.{form}": data for form, data in found.items()}


def _name_part(value: Json) -> str:
    """Return a parameter as a part of a file's name."""
    from job_orchestration.search import trials

    return trials.text_of(value)
