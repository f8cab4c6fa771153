"""The three tasks. Each checks its part of the config, does its part, and hands on by its folder.

`LoadGeneset` saves ``geneset.json``: the genes, what became of them, and which data they were looked up
in. `RunGenePlexus` saves the trained model with its results, ``geneplexus.pkl``. `SaveResults` turns both
into tables, plots and records. A problem that all three would see is reported by the first.
"""

from __future__ import annotations

import csv
import io
import json
import os
import time
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from job_orchestration import NotApplicable, PermanentError, TaskBase, TemporaryError
from job_orchestration.diagnostics.problems import named
from job_orchestration.geneplexus import (
    adapter,
    checkpoints,
    data,
    drawing,
    fates,
    figure_files,
    gene_tables,
    inputs,
    known_keys,
    legacy_files,
    loaded,
    reports,
    stages,
)
from job_orchestration.geneplexus.gene_names import Dropped
from job_orchestration.geneplexus.geneset import conversion_table, map_genes
from job_orchestration.geneplexus.geneset import digest as genes_digest
from job_orchestration.geneplexus.settings import (
    DATA_KEYS,
    Choice,
    Reader,
    own_entry,
    read_choice,
    read_training,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from job_orchestration.geneplexus.gene_lists import Find, GeneList
    from job_orchestration.geneplexus.geneset import Identifiers, MappedGeneset

GENESET_FILE = "geneset.json"
MODEL_FILE = "geneplexus.pkl"
DROPPED_FILE = "dropped.tsv"
_SHOWN = 20
"""How many names a checkpoint repeats; all of them are in the files."""
_PRELOAD_KEYS = tuple(sorted(DATA_KEYS))
_LISTS = (("geneset", "genesetFile"), ("negatives", "negativesFile"))


class LoadGeneset(TaskBase):
    """Reads the gene set, verifies the data, and finds the genes in the network.

    Config: ``geneset`` (a text or list) or ``genesetFile``, with ``geneColumn`` for a table and
    ``genesetName`` for a GMT file; ``negatives`` or ``negativesFile``, with ``negativesColumn`` and
    ``negativesName``; ``file_loc``; ``net_type features sp_trn sp_res gsc_trn gsc_res``.
    """

    preload_keys = _PRELOAD_KEYS
    volatile = ("geneset.json: seconds",)

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    @classmethod
    def preload(cls, config: dict[str, Any]) -> None:
        """Verify the data and read the tables of identifiers, once for many runs."""
        if (found := _whole_data(config)) is not None:
            data.warm(*found)

    def validate(self) -> list[str | Warning]:
        """All that is wrong with the choice of data, the folder of the data, and the genes."""
        problems = _data_problems(self.config)
        find = gene_tables.knows_nothing if problems else self._identifiers().find
        warnings = _key_warnings(self.config, "LoadGeneset")
        for key, file_key in _LISTS:
            try:
                genes = self._read(key, file_key, find)
            except inputs.InputError as error:
                problems.append(
                    self._of_batch(error) if isinstance(error, inputs.NoGenesError) else str(error)
                )
                continue
            if genes is None or find is gene_tables.knows_nothing:
                continue
            mapped = self._map(genes)
            if key == "geneset":
                problems += map(self._of_batch, self._too_few(mapped))
            warnings += [
                f"{key if key in self.config else file_key}: {sentence}"
                for sentence in fates.sentences(genes, self._dropped(genes, mapped), self._choice())
            ]
        return [*problems, *map(UserWarning, warnings)]

    def run(self) -> dict[str, Any]:
        """Look up the genes.

        Returns:
            How many names were given, and of each fate; the first names of the unlucky ones.
        """
        began = time.perf_counter()
        store = self.context.store
        folder = inputs.data_folder(self.config, os.environ)
        if not folder.is_dir():
            # It was there when the config was checked: a file server may be away for a while.
            raise TemporaryError(f"file_loc {folder} is not there now. Bring it back.")
        _refuse(self.validate())
        choice = self._choice()
        _refuse(data.verify(folder, choice))
        identifiers = self._identifiers()
        genes, negatives = (self._read(*keys, identifiers.find) for keys in _LISTS)
        assert genes is not None, "the check above has refused it"
        mapped, against = self._map(genes), self._map(negatives)
        table = conversion_table(mapped, identifiers, choice.net_type)
        digest = data.digest(folder, choice)
        found = _unlucky(mapped)
        dropped = self._dropped(genes, mapped)
        saved: dict[str, Any] = {
            "genes": list(genes.genes),
            "title": genes.title or _title(self.config),
            "source": genes.source,
            "sha256": genes_digest(genes.genes),
            "counts": mapped.counts,
            **found,
            "dropped": fates.counts(dropped),
            "entrez": _entrez(mapped),
            "negatives": _entrez(against),
            "negatives_counts": against.counts,
            "negatives_table": conversion_table(against, identifiers, choice.net_type),
            "unnamed": sorted({*_entrez(mapped), *_entrez(against)}.difference(identifiers.names)),
            "table": table,
            "choice": choice.as_json(),
            "data": {"folder": str(folder), **asdict(digest), "version": _origin(data.version(folder))},
            "seconds": round(time.perf_counter() - began, 4),
        }
        store.save_json(GENESET_FILE, saved)
        store.save_text("df_convert_out.tsv", _tsv(table))
        store.save_text(DROPPED_FILE, _listed(dropped))
        if negatives is not None:
            store.save_text(f"negatives_{DROPPED_FILE}", _listed(self._dropped(negatives, against)))
        self._log(genes, mapped, dropped)
        return {
            **mapped.counts,
            "dropped": len(dropped),
            "genes_from": genes.source,
            **{f"{name}_genes": list(some)[:_SHOWN] for name, some in found.items() if some},
            "geneset_sha256": saved["sha256"],
            "data_sha256": digest.sha256,
        }

    def _log(self, genes: GeneList, mapped: MappedGeneset, dropped: list[Dropped]) -> None:
        log = self.context.log
        log.info("%d names are read from %s", len(genes.names), genes.source)
        log.info("%s", ", ".join(f"{name.replace('_', ' ')}: {n}" for name, n in mapped.counts.items()))
        for name, ids in mapped.ambiguous.items():
            log.warning("%s stands for several genes, and all are trained on: %s", name, ", ".join(ids))
        for reason, count in fates.counts(dropped).items():
            names = [one.name for one in dropped if one.reason == reason]
            log.info("left out, %s: %d (%s); see %s", reason, count, named(names, _SHOWN), DROPPED_FILE)
        for sentence in fates.sentences(genes, dropped, self._choice()):
            log.warning("%s", sentence)

    def _read(self, key: str, file_key: str, find: Find) -> GeneList | None:
        genes = inputs.read_genes(self.config, key, file_key, find)
        if genes is None and key == "geneset":
            raise inputs.InputError(
                "There is no gene set. Give the genes in geneset, or a file in genesetFile."
            )
        return genes

    def _choice(self) -> Choice:
        return read_choice(self.config)[0]

    def _identifiers(self) -> Identifiers:
        return data.identifiers(inputs.data_folder(self.config, os.environ), self._choice())

    def _map(self, genes: GeneList | None) -> MappedGeneset:
        choice, folder = self._choice(), inputs.data_folder(self.config, os.environ)
        network = data.network_genes(folder, choice.sp_trn, choice.net_type)
        return map_genes(genes.genes if genes else (), self._identifiers(), network)

    def _dropped(self, genes: GeneList, mapped: MappedGeneset) -> list[Dropped]:
        choice, folder = self._choice(), inputs.data_folder(self.config, os.environ)
        elsewhere = data.species_elsewhere(folder, choice.sp_trn, mapped.unmapped)
        return fates.dropped(genes, mapped, choice, elsewhere)

    def _of_batch(self, problem: object) -> str:
        """What is wrong with one gene set; in a batch, it leaves the trial out and not the others."""
        return NotApplicable(problem) if inputs.BATCH_KEY in self.config else str(problem)

    def _too_few(self, mapped: MappedGeneset) -> list[str]:
        # What RunGenePlexus will ask for may stand in its own entry.
        training, wrong = read_training(
            {**self.config, **inputs.later_entry(self.config, "RunGenePlexus")}, adapter.logreg()
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

    preload_keys = _PRELOAD_KEYS
    volatile = ("result: seconds.*", MODEL_FILE)

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    @classmethod
    def preload(cls, config: dict[str, Any]) -> None:
        """Read all that GenePlexus will ask for, once for many runs."""
        if (found := _whole_data(config)) is not None:
            loaded.load(*found)
        checkpoints.versions()

    def validate(self) -> list[str | Warning]:
        """All that is wrong with the parameters of the training."""
        problems, checked_before = [], False
        try:
            inputs.earlier_task(self.config, "LoadGeneset", "genesetTask")
            checked_before = not DATA_KEYS.intersection(own_entry(self.config))
        except inputs.InputError as error:
            problems.append(str(error))
        if not checked_before:
            problems += _data_problems(self.config)
        problems += read_training(self.config, adapter.logreg())[1]
        warnings = [*_key_warnings(self.config, "RunGenePlexus"), *filter(None, [loaded.unknown_version()])]
        return [*problems, *map(UserWarning, warnings)]

    def run(self) -> dict[str, Any]:
        """Take the four steps, going on from the last one that has a checkpoint.

        Returns:
            The cross-validation's figures, how many genes were of which class, and seconds of each step.
        """
        _refuse(self.validate())
        loaded = inputs.earlier_task(self.config, "LoadGeneset", "genesetTask")
        genes = json.loads((self.context.folder_of(loaded) / GENESET_FILE).read_text("utf-8"))
        choice, folder = read_choice(self.config)[0], inputs.data_folder(self.config, os.environ)
        training = read_training(self.config, adapter.logreg())[0]
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
            model, record = stages.take_steps(
                partial(adapter.new_model, folder, choice, genes),
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
        scores = reports.cross_validation(model)
        if sentence := reports.weakness(scores)[1]:
            self.context.log.warning("%s", sentence)
        figures = reports.strict(
            {
                **scores,
                **reports.class_counts(model),
                "seconds": record["seconds"],
                "fingerprint": mark["parameters"],
            }
        )
        return dict(figures)


class SaveResults(TaskBase):
    """Writes the tables, the graph, the records and the plots.

    Config: ``figures``, a list of formats; ``resultsTask`` where several tasks run GenePlexus;
    ``legacyNames``, ``zip`` and ``jobname`` for files as in the first web application's job folders.
    """

    volatile = (
        *(
            "run.json: seconds.*",
            "run.json: peak_memory_mb",
            "run.json: host.*",
            "job_info.json: submit_time",
            "*_job_info.json: submit_time",
        ),
        # The name of the run is in their titles, and times in the archive; the tables say the same.
        *("*.pdf", "*.png", "*.svg", "*.zip"),
    )

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    @classmethod
    def preload(cls, config: dict[str, Any]) -> None:  # noqa: ARG003  it depends on no key
        """Prepare for drawing, once for many runs."""
        drawing.prepare()

    def validate(self) -> list[str | Warning]:
        """Whether there is a run to save the results of."""
        reader = Reader(self.config)
        reader.figures(figure_files.FORMATS)
        legacy_files.wanted(reader)
        problems = list(reader.problems)
        try:
            inputs.earlier_task(self.config, "RunGenePlexus", "resultsTask")
        except inputs.InputError as error:
            problems.append(str(error))
        return [*problems, *map(UserWarning, _key_warnings(self.config, "SaveResults"))]

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
            with adapter.guarded(context.log):
                model, record = checkpoints.unpack(packed, mark)
        except checkpoints.CheckpointError as error:
            raise PermanentError(
                f"The model of task {ran} cannot be read: {error}. Use the environment that made it."
            ) from error
        loaded = context.folder_of(record["geneset_task"])
        genes = json.loads((loaded / GENESET_FILE).read_text("utf-8"))
        report = reports.Report(
            model,
            record,
            genes,
            run=context.run,
            output_dir=self.config["outputDir"],
            formats=Reader(self.config).figures(figure_files.FORMATS),
        )
        paths = legacy_files.RecordedPaths(context.store.path)
        with adapter.guarded(context.log):
            headline = report.write(paths)
            legacy_files.write(report, self.config, legacy_files.wanted(Reader(self.config)), paths.made)
        context.log.info("%s", report.methods().splitlines()[0])
        return headline


def _data_problems(config: dict[str, Any]) -> list[str]:
    """All that is wrong with the choice of data and their folder.

    In a batch, what GenePlexus or the folder does not have leaves the trial out.
    """
    choice, problems = read_choice(config)
    try:
        folder = inputs.data_folder(config, os.environ)
    except inputs.InputError as error:
        return [*problems, str(error)]
    if not problems:
        problems = data.look(folder, choice)
    elif not folder.is_dir():
        # The names decide which files to look for; that there is no folder can be said all the same.
        problems = [*problems, *data.look(folder, Choice())]
    return problems if inputs.BATCH_KEY in config else list(map(str, problems))


def _whole_data(config: dict[str, Any]) -> tuple[Path, Choice] | None:
    """The data that a config chooses; `None` if something is wrong with them, which the run will say."""
    if _data_problems(config):
        return None
    return inputs.data_folder(config, os.environ), read_choice(config)[0]


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


def _key_warnings(config: dict[str, Any], class_name: str) -> list[str]:
    return known_keys.warnings(config, class_name, adapter.logreg()["legal"])


def _title(config: dict[str, Any]) -> str:
    """What to call a gene set that has no name of its own."""
    file = config.get("genesetFile")
    return Path(file).stem if isinstance(file, str) else Path(config["outputDir"]).name


def _refuse(problems: Sequence[str | Warning]) -> None:
    errors = [problem for problem in problems if isinstance(problem, str)]
    if errors:
        raise PermanentError(" ".join(errors))


def _unlucky(mapped: MappedGeneset) -> dict[str, Any]:
    """The names that are not one gene of the network each."""
    return {
        "unmapped": list(mapped.unmapped),
        "ambiguous": {name: list(ids) for name, ids in mapped.ambiguous.items()},
        "not_in_network": list(mapped.not_in_network),
    }


def _listed(dropped: list[Dropped]) -> str:
    return _tsv([asdict(one) for one in dropped], [field.name for field in fields(Dropped)])


def _entrez(mapped: MappedGeneset) -> list[str]:
    return list(dict.fromkeys(one for _, ids in mapped.rows for one in ids))


def _origin(version: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in version.items() if key != "files"}


def _tsv(rows: list[dict[str, Any]], columns: Iterable[str] = ()) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns or rows[0]), delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
