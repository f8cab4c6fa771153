"""The three tasks. Each checks its part of the config, does its part, and hands on by its folder.

`LoadGeneset` saves ``geneset.json``: the genes, what became of them, and which data they were looked up
in. `RunGenePlexus` saves the trained model with its results, ``geneplexus.pkl``. `SaveResults` turns both
into tables, plots and records. A problem that all three would see is told by the first of them.
"""

from __future__ import annotations

import csv
import io
import json
import os
import time
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from job_orchestration import PermanentError, TaskBase, TemporaryError
from job_orchestration.geneplexus import checkpoints, data, guest, inputs, reports, steps
from job_orchestration.geneplexus.geneset import conversion_table, map_genes
from job_orchestration.geneplexus.geneset import digest as genes_digest
from job_orchestration.geneplexus.settings import DATA_KEYS, Choice, read_choice, read_training

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from job_orchestration.geneplexus.geneset import Identifiers, MappedGeneset

GENESET_FILE = "geneset.json"
MODEL_FILE = "geneplexus.pkl"
_SHOWN = 20
"""How many names a checkpoint repeats; all of them are in the files."""


class LoadGeneset(TaskBase):
    """Reads the gene set, verifies the data, and finds the genes in the network.

    Config: ``geneset`` (a text or list) or ``genesetFile``; ``negatives`` or ``negativesFile``;
    ``file_loc``; ``net_type features sp_trn sp_res gsc_trn gsc_res``.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def validate(self) -> list[str]:
        """All that is wrong with the choice of data, the folder of the data, and the genes."""
        problems = _data_problems(self.config)
        genes: tuple[str, ...] = ()
        try:
            genes = self._genes()
        except inputs.InputError as error:
            problems.append(str(error))
        try:
            inputs.read_genes(self.config, "negatives", "negativesFile")
        except inputs.InputError as error:
            problems.append(str(error))
        if genes and not problems:
            problems += self._too_few(self._map(genes)[0])
        return problems

    def run(self) -> dict[str, Any]:
        """Look up the genes.

        Returns:
            How many names were given, and of each fate; the first names of the unlucky ones.
        """
        began = time.perf_counter()
        log, store = self.context.log, self.context.store
        folder = inputs.data_folder(self.config, os.environ)
        if not folder.is_dir():
            # It was there when the config was checked: a file server may be away for a while.
            raise TemporaryError(f"file_loc {folder} is not there now. Bring it back.")
        _refuse(self.validate())
        choice = read_choice(self.config)[0]
        _refuse(data.verify(folder, choice))
        genes = self._genes()
        mapped, identifiers = self._map(genes)
        against, _ = self._map(inputs.read_genes(self.config, "negatives", "negativesFile"))
        table = conversion_table(mapped, identifiers, choice.net_type)
        entrez, negatives = _entrez(mapped), _entrez(against)
        digest = data.digest(folder, choice)
        found = {
            "unmapped": list(mapped.unmapped),
            "ambiguous": {name: list(ids) for name, ids in mapped.ambiguous.items()},
            "not_in_network": list(mapped.not_in_network),
        }
        saved: dict[str, Any] = {
            "genes": list(genes),
            "sha256": genes_digest(genes),
            "counts": mapped.counts,
            **found,
            "entrez": entrez,
            "negatives": negatives,
            "negatives_counts": against.counts,
            "negatives_table": conversion_table(against, identifiers, choice.net_type),
            "unnamed": sorted({*entrez, *negatives}.difference(identifiers.names)),
            "table": table,
            "choice": choice.as_json(),
            "data": {"folder": str(folder), **asdict(digest), "version": _origin(data.version(folder))},
            "seconds": round(time.perf_counter() - began, 4),
        }
        store.save_json(GENESET_FILE, saved)
        store.save_text("df_convert_out.tsv", _tsv(table))
        log.info("%s", ", ".join(f"{name.replace('_', ' ')}: {n}" for name, n in mapped.counts.items()))
        for name, ids in mapped.ambiguous.items():
            log.warning("%s stands for several genes, and all are trained on: %s", name, ", ".join(ids))
        shown = {f"{name}_genes": list(some)[:_SHOWN] for name, some in found.items() if some}
        return {**mapped.counts, **shown, "geneset_sha256": saved["sha256"], "data_sha256": digest.sha256}

    def _genes(self) -> tuple[str, ...]:
        genes = inputs.read_genes(self.config, "geneset", "genesetFile")
        if not genes:
            raise inputs.InputError(
                "There is no gene set. Give the genes in geneset, or a file in genesetFile."
            )
        return genes

    def _map(self, genes: Iterable[str]) -> tuple[MappedGeneset, Identifiers]:
        choice, folder = read_choice(self.config)[0], inputs.data_folder(self.config, os.environ)
        identifiers = data.identifiers(folder, choice)
        network = data.network_genes(folder, choice.sp_trn, choice.net_type)
        return map_genes(genes, identifiers, network), identifiers

    def _too_few(self, mapped: MappedGeneset) -> list[str]:
        # What RunGenePlexus will ask for may stand in its own entry.
        training, wrong = read_training(
            {**self.config, **inputs.later_entry(self.config, "RunGenePlexus")}, guest.logreg()
        )
        if wrong:
            return []
        lost = f" Not found: {', '.join(mapped.unmapped[:5])}." if mapped.unmapped else ""
        return [problem + lost for problem in training.too_few(len(mapped.positives))]


class RunGenePlexus(TaskBase):
    """Trains the model, predicts all genes, compares with known terms, and cuts out the top network.

    Config: GenePlexus's own names: ``logreg_kwargs scale min_num_pos min_num_pos_cv num_folds null_val
    random_state cross_validate num_nodes``; ``genesetTask`` where several tasks load genes.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def validate(self) -> list[str]:
        """All that is wrong with the parameters of the training."""
        problems, told_before = [], False
        try:
            inputs.earlier_task(self.config, "LoadGeneset", "genesetTask")
            told_before = not DATA_KEYS.intersection(inputs.own_entry(self.config))
        except inputs.InputError as error:
            problems.append(str(error))
        if not told_before:
            problems += _data_problems(self.config)
        return problems + read_training(self.config, guest.logreg())[1]

    def run(self) -> dict[str, Any]:
        """Take the four steps, going on from the last one that has a checkpoint.

        Returns:
            The cross-validation's figures, how many genes were of which class, and seconds of each step.
        """
        _refuse(self.validate())
        loaded = inputs.earlier_task(self.config, "LoadGeneset", "genesetTask")
        genes = json.loads((self.context.folder_of(loaded) / GENESET_FILE).read_text("utf-8"))
        choice, folder = read_choice(self.config)[0], inputs.data_folder(self.config, os.environ)
        training = read_training(self.config, guest.logreg())[0]
        _refuse(training.too_few(genes["counts"]["positives"]))
        _refuse(_changed(choice, folder, genes))
        parameters = {
            **choice.as_json(),
            **asdict(training),
            "genes": genes_digest([*genes["entrez"], "against", *genes["negatives"]]),
            "data": genes["data"]["sha256"],
        }
        mark = checkpoints.fingerprint(parameters)
        try:
            model, record = steps.take_steps(
                partial(guest.new_model, folder, choice, genes),
                training,
                mark,
                folder=self.context.resume_dir,
                log=self.context.log,
                progress=self.context.progress,
            )
        except ValueError as error:
            raise PermanentError(str(error)) from error
        record |= {"parameters": parameters, "geneset_task": loaded}
        self.context.store.save_bytes(MODEL_FILE, checkpoints.pack(model, mark, record))
        figures = reports.strict(
            {
                **reports.cross_validation(model),
                **reports.class_counts(model),
                "seconds": record["seconds"],
                "fingerprint": mark["parameters"],
            }
        )
        return dict(figures)


class SaveResults(TaskBase):
    """Writes the tables, the graph, the records and the plots.

    Config: ``resultsTask`` where several tasks run GenePlexus.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def validate(self) -> list[str]:
        """Whether there is a run to save the results of."""
        try:
            inputs.earlier_task(self.config, "RunGenePlexus", "resultsTask")
        except inputs.InputError as error:
            return [str(error)]
        return []

    def run(self) -> dict[str, Any]:
        """Write everything into the task's folder, and ``results.yaml`` into the run's.

        Returns:
            The headline figures, the same as in ``results.yaml``.
        """
        _refuse(self.validate())
        context = self.context
        ran = inputs.earlier_task(self.config, "RunGenePlexus", "resultsTask")
        mark = {"versions": checkpoints.versions(), "parameters": context.result_of(ran)["fingerprint"]}  # type: ignore[index,call-overload]  # RunGenePlexus returned a mapping
        try:
            packed = (context.folder_of(ran) / MODEL_FILE).read_bytes()
            with guest.guarded(context.log):
                model, record = checkpoints.unpack(packed, mark)
        except checkpoints.CheckpointError as error:
            raise PermanentError(
                f"The model of task {ran} cannot be read: {error}. Use the environment that made it."
            ) from error
        loaded = context.folder_of(record["geneset_task"])
        genes = json.loads((loaded / GENESET_FILE).read_text("utf-8"))
        report = reports.Report(model, record, genes, run=context.run, output_dir=self.config["outputDir"])
        with guest.guarded(context.log):
            headline = report.write(context.store.path)
        context.log.info("%s", report.methods().splitlines()[0])
        return headline


def _data_problems(config: dict[str, Any]) -> list[str]:
    choice, problems = read_choice(config)
    try:
        folder = inputs.data_folder(config, os.environ)
    except inputs.InputError as error:
        return [*problems, str(error)]
    if problems:
        # The names decide which files to look for; that there is a folder can be said all the same.
        return problems if folder.is_dir() else [*problems, *data.look(folder, Choice())]
    return data.look(folder, choice)


def _changed(choice: Choice, folder: Path, genes: dict[str, Any]) -> list[str]:
    """What differs between what the genes were looked up in and what is to be trained on."""
    now = choice.as_json()
    problems = [
        f"{key} is {now[key]!r} here, but the genes were looked up with {value!r}. "
        f"Give {key} once, at the top of the config."
        for key, value in genes["choice"].items()
        if now[key] != value
    ]
    if not problems and data.digest(folder, choice).sha256 != genes["data"]["sha256"]:
        problems.append(
            f"The data in {folder} are not those that the genes were looked up in. "
            f"Give the experiment to Job Orchestration anew."
        )
    return problems


def _refuse(problems: list[str]) -> None:
    if problems:
        raise PermanentError(" ".join(problems))


def _entrez(mapped: MappedGeneset) -> list[str]:
    return list(dict.fromkeys(one for _, ids in mapped.rows for one in ids))


def _origin(version: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in version.items() if key != "files"}


def _tsv(rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
