"""Gene lists as people have them, through the command line: tables, GMT files, dates, other species, keys."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("geneplexus", reason="the extra [geneplexus] is not installed")

from demo.make_data import make_data
from job_orchestration.config.yaml_writer import to_yaml
from job_orchestration.workspace import layout
from tests.conftest import ROOT
from tests.geneplexus_bench import TASKS

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]
LOAD = {"tasks": TASKS[:1], "pathToTasks": None, "min_num_pos": 1}
ALPHA = [f"SYN{number:04d}" for number in range(101, 121)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Synthetic data of two species: what is SYN0001 in Human is MUS0001 in Mouse."""
    folder = make_data(tmp_path_factory.mktemp("gene_lists") / "synthetic")
    for path in list(folder.glob("IDconversion__Human__*")):
        text = path.read_text().replace("SYN", "MUS").replace('"9', '"8').replace("ENS", "ENSMUS")
        (folder / path.name.replace("Human", "Mouse")).write_text(text)
    return folder


class Dropped:
    """A workspace whose configs, each with a gene list in a file, were readied and run together."""

    def __init__(self, folder, data):
        self.folder, self.data = folder, data
        self.workspace = Path(layout.prepare(str(folder / "workspace")).root)
        self.printed, self.line = "", {}

    def put(self, name, text, file="genes.txt", **keys):
        path = self.folder / f"{name}.{file}"
        path.write_text(text)
        self.drop(name, {**LOAD, "file_loc": str(self.data), "genesetFile": str(path), **keys})

    def drop(self, name, config):
        text = to_yaml({"outputDir": f"runs/{name}", **config})
        (self.workspace / "ConfigSources" / f"{name}.yaml").write_bytes(text)
        lines = [line.partition(b":")[0] for line in text.splitlines()]
        self.line[name] = lines.index(b"genesetFile") + 1 if b"genesetFile" in lines else 0

    def run(self):
        """Ready and run everything; what ``ready`` printed has ``FILE:LINE``, without the column."""
        done = self.cli("ready")
        assert done.returncode == 3, done.stdout + done.stderr
        self.printed = re.sub(r"(yaml:[0-9]+):[0-9]+:", r"\1:", done.stdout + done.stderr)
        done = self.cli("work", "--until-idle")
        assert done.returncode == 0, done.stdout + done.stderr

    def cli(self, *words):
        command = [sys.executable, "-m", "job_orchestration", *words, "--workspace", str(self.workspace)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)

    def loaded(self, name):
        """What the task saved, and the lines of what it left out."""
        folder = self.workspace / "Output" / "runs" / name / "load"
        with (folder / "dropped.tsv").open() as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        return json.loads((folder / "geneset.json").read_text()), rows

    def at(self, name):
        """Where the file of the genes is named."""
        return f"{name}.yaml:{self.line[name]}"

    def log(self, name):
        return (self.workspace / "Output" / "runs" / name / "log.log").read_text()


@pytest.fixture(scope="module")
def dropped(data, tmp_path_factory):
    """All gene lists of this module, readied and run."""
    made = Dropped(tmp_path_factory.mktemp("dropped"), data)
    for put in (put_tables, put_gene_sets, put_odd_names, put_odd_keys):
        put(made)
    made.run()
    return made


def reasons(rows):
    return [(row["line"], row["name"], row["reason"]) for row in rows]


def table(separator, genes=ALPHA, header=True):
    """Genes with a score that is the Entrez id of another gene, and with a description."""
    lines = [[gene, str(900_701 + place), f"gene {place}"] for place, gene in enumerate(genes)]
    return "\n".join(separator.join(one) for one in [["gene", "score", "what"]][: int(header)] + lines)


def put_tables(made):
    made.put("comma", table(","), "csv")
    made.put("tab", table("\t"), "tsv")
    made.put("semicolon", table(";"), "csv")
    made.put("bare", table("\t", header=False), "tsv")
    made.put("spaces", "\n".join(f"{gene}   {place}" for place, gene in enumerate(ALPHA, 900_701)))
    made.put("one_column", "gene\n" + "\n".join(ALPHA), "csv")
    made.put("chosen", table(","), "csv", geneColumn="score")
    made.put("numbered", table(",", header=False), "csv", geneColumn=2)
    quoted = "\n".join(f'"{gene}","one, two","{n}"' for n, gene in enumerate(ALPHA, 900_701))
    titles = "Supplementary table 3\n\nGene symbol,Gene name,Rank"
    made.put("preamble", f'{titles}\n{quoted}\n"","no gene",7\n', "csv")


def put_gene_sets(made):
    half = ALPHA[:10], ALPHA[10:]
    one = "AUTOPHAGY\thttps://example.org/GO:0006914\t" + "\t".join(ALPHA) + "\n"
    several = "".join(f"SET_{n}\tna\t" + "\t".join(genes) + "\n" for n, genes in enumerate(half, 1))
    made.put("one", one, "gmt")
    made.put("one_as_text", one)
    made.put("several", several, "gmt")
    made.put("several_as_text", several)
    made.put("chosen_set", several, "gmt", genesetName="SET_2")
    made.put("misnamed", several, "gmt", genesetName="SET2")
    made.put("none", "\n".join(ALPHA), genesetName="SET_2")
    made.put("swept", several, "gmt", sweep={"grid": {"genesetName": ["SET_1", "SET_2"]}})


def put_odd_names(made):
    made.put("dates", "\n".join([*ALPHA, "Mar-02", "1-Sep", "44621", "2022-09-02 00:00:00", "01. Mrz", "NA"]))
    made.put("numbers", "\n".join([*(str(900_100 + n) for n in range(20)), "44621"]))
    others = ["MUS0007", "ENSDARG00000000001", "FBgn0000014", "YAL001C", "NOSUCH"]
    made.put("species", "\n".join([*ALPHA, *others]))
    made.put("fasta", "".join(f">{gene} some words\nMKVLAAGLLKWERTYYPLKHGF\nMKV\n" for gene in ALPHA))
    made.put("again", "\n".join([*ALPHA, "SYN0101", "# SYN0001", "SYN0103 # twice"]))


def put_odd_keys(made):
    wrong = {"num_fold": 5, "random_sate": 3, "C": 0.1, "condition": "mine", "species": "Human"}
    own = [{**TASKS[0], "scale": True, "tissue": "liver"}, *TASKS[1:]]
    made.put("typing", "\n".join(ALPHA), **wrong, tasks=own)
    genes = str(made.folder / "genes.txt")
    shutil.copy(made.data / "genesets" / "alpha.txt", genes)
    made.drop("file", {"tasks": TASKS, "pathToTasks": None, "file_loc": str(made.data), "genesetfile": genes})


def test_a_table_gives_its_gene_column_and_no_number_of_another(dropped):
    assert (
        f"{dropped.at('preamble')}: warning: genesetFile: load: 1 place holds no gene: line 24"
        in dropped.printed
    )
    entrez = {gene: str(900_000 + int(gene[3:])) for gene in ALPHA}
    for name in ("comma", "tab", "semicolon", "bare", "spaces", "one_column", "preamble"):
        found, rows = dropped.loaded(name)
        assert found["genes"] == ALPHA, name
        assert found["entrez"] == [entrez[gene] for gene in ALPHA], name
        assert found["counts"]["positives"] == len(ALPHA), name
    for name in ("chosen", "numbered"):
        assert dropped.loaded(name)[0]["genes"] == [str(n) for n in range(900_701, 900_721)]
    assert dropped.loaded("bare")[0]["source"] == "column 1 of 3 columns"
    _, rows = dropped.loaded("comma")
    assert reasons(rows) == [
        ("0", "score", "another column"),
        ("0", "what", "another column"),
        ("1", "gene,score,what", "the titles of the columns"),
    ]
    _, rows = dropped.loaded("preamble")
    assert ("1", "Supplementary table 3", "above the first row") in reasons(rows)
    assert ("24", "", "no name") in reasons(rows)
    assert reasons(dropped.loaded("one_column")[1]) == [("1", "gene", "the title of the column")]
    log = dropped.log("comma")
    assert "20 names are read from column gene of 3 columns" in log
    assert "left out, another column: 2 (score, what); see dropped.tsv" in log


def test_a_gmt_file_of_one_set_is_read_and_of_several_is_refused_until_one_is_named(dropped):
    half = ALPHA[:10], ALPHA[10:]
    for name in ("several", "several_as_text"):
        assert (
            f"{dropped.at(name)}: genesetFile: load: There are 2 gene sets in this GMT file: SET_1, SET_2. "
            "Choose one with genesetName: SET_1, or make a run of each with "
            "sweep: {grid: {genesetName: [SET_1, SET_2]}}."
        ) in dropped.printed
    assert (
        "genesetName is 'SET2', and no gene set of the GMT file has this name. Did you mean SET_2?"
        in dropped.printed
    )
    assert "genesetName chooses a gene set of a GMT file, and this is none" in dropped.printed
    for name, genes, title in [
        ("one", ALPHA, "AUTOPHAGY"),
        ("one_as_text", ALPHA, "AUTOPHAGY"),
        ("chosen_set", half[1], "SET_2"),
        ("swept/genesetName=SET_1", half[0], "SET_1"),
        ("swept/genesetName=SET_2", half[1], "SET_2"),
    ]:
        found, _ = dropped.loaded(name)
        assert (found["genes"], found["title"]) == (genes, title)
    assert not list((dropped.workspace / "Output" / "runs").glob("several*"))


def test_dates_and_names_of_other_species_are_reported_with_what_they_were(dropped):
    assert (
        f"{dropped.at('dates')}: warning: genesetFile: load: 5 names are made of gene symbols by a "
        "spreadsheet and not trained on: Mar-02 was MARCH2 (now MARCHF2) or MARC2 (now MTARC2), 1-Sep was "
        "SEPT1 (now SEPTIN1), "
        "44621 was MARCH1 (now MARCHF1) or MARC1 (now MTARC1), 2022-09-02 was SEPT2 (now SEPTIN2)"
    ) in dropped.printed
    assert (
        "4 names are of another species than Human, and not trained on: MUS0007 (a name of Mouse), "
        "ENSDARG00000000001 (a name of Zebrafish), FBgn0000014 (a name of Fly), YAL001C (a name of Yeast). "
        "Set sp_trn, or give the Human orthologs."
    ) in dropped.printed
    assert "1 name of 25 is not known for Human, and not trained on: NOSUCH." in dropped.printed
    assert "again.yaml:" not in dropped.printed.replace("again.yaml: queued", "")
    for name in ("dates", "species", "fasta", "again"):
        assert dropped.loaded(name)[0]["counts"]["positives"] == len(ALPHA), name
    assert dropped.loaded("dates")[0]["dropped"] == {"a spreadsheet's date": 5, "no name": 1}
    assert reasons(dropped.loaded("numbers")[1]) == [("21", "44621", "not known")]
    assert dropped.loaded("species")[0]["dropped"] == {"of another species": 4, "not known": 1}
    assert dropped.loaded("fasta")[0]["dropped"] == {"a description": 20, "a sequence": 40}
    assert reasons(dropped.loaded("again")[1]) == [
        ("21", "SYN0101", "repeated"),
        ("23", "SYN0103", "repeated"),
    ]
    log = dropped.log("species")
    assert "left out, not known: 1 (NOSUCH); see dropped.tsv" in log


def test_show_and_results_print_the_summary_of_a_run_once(dropped):
    shown = dropped.cli("show", "runs/typing").stdout
    table = dropped.cli("results", "runs/typing").stdout
    row = json.loads(dropped.cli("results", "runs/typing", "--json").stdout)[0]
    assert [line.split()[0] for line in shown.partition("results:\n")[2].splitlines()[:6]] == [
        *("gene_set", "positives", "cv_median", "cv_note", "top_novel_genes", "top_term")
    ]
    assert row["gene_set"] == "typing.genes"
    assert f"{', '.join(row['top_novel_genes'][:3])} and 7 more" in shown
    assert row["top_term"] in shown
    assert "num_fold" in shown.partition("parameters:\n")[2]
    assert row["load.positives"] == row["save.positives"] == row["positives"] == len(ALPHA)
    header = table.splitlines()[0].split()
    assert header[:4] == ["run", "gene_set", "positives", "cv_median"]
    assert not [column for column in header if "." in column or "sha256" in column]
    data = json.loads(dropped.cli("show", "runs/typing", "--json").stdout)
    assert data["results"]["save.cv_median"] == row["cv_median"]
    assert data["parameters"]["condition"] == "mine"


def test_keys_that_no_task_reads_are_warned_of_with_the_one_that_was_meant(dropped):
    said = dropped.printed
    for sentence in (
        "warning: num_fold: load: the GenePlexus tasks do not read this. Did you mean num_folds?",
        "warning: random_sate: load: the GenePlexus tasks do not read this. Did you mean random_state?",
        "warning: species: load: the GenePlexus tasks do not read this. Did you mean sp_trn?",
        "warning: C: load: this is a parameter of the logistic regression. Write logreg_kwargs: {C: ...}.",
        "warning: tasks[0].scale: load: this is read by RunGenePlexus and not by this task.",
        "warning: tasks[0].tissue: load: LoadGeneset does not read this. Take it out.",
        "warning: genesetfile: load: the GenePlexus tasks do not read this. Did you mean genesetFile?",
    ):
        assert sentence in said, (sentence, said)
    assert "condition" not in said
    assert "There is no gene set." in said
