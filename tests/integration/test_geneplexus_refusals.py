"""What the GenePlexus tasks refuse before anything is queued, and which genes they do not lose."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

pytest.importorskip("geneplexus", reason="the extra [geneplexus] is not installed")

import geneplexus
import numpy as np
import pandas as pd

from job_orchestration import PermanentError, TemporaryError
from job_orchestration.geneplexus import adapter
from tests.geneplexus_bench import TASKS, config_of, problems_of, run_configs, run_task


def rewrite(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_a_mistyped_data_folder_is_refused_and_not_created(config, tmp_path):
    folder = tmp_path / "no-such-folder"
    problems = problems_of(config_of(tmp_path, **config | {"file_loc": str(folder)}))
    assert problems == [f"file_loc {folder} does not exist. Name the folder with the data of GenePlexus."]
    assert not folder.exists()


def test_all_problems_of_three_tasks_are_reported_together_and_once(config, tmp_path):
    wrong = {
        "file_loc": str(tmp_path / "none"),
        "net_type": "STRNG",
        "genesetFile": "/none.txt",
        "num_nodes": 0,
    }
    problems = problems_of(config_of(tmp_path, **wrong))
    assert len(problems) == 4
    assert len(set(problems)) == 4


def test_the_environment_gives_the_data_folder_where_the_config_does_not(config, tmp_path, monkeypatch):
    keys = config_of(tmp_path, genesetFile=config["genesetFile"])
    monkeypatch.delenv("DATA_PATH", raising=False)
    assert "file_loc is missing" in problems_of(keys)[0]
    with pytest.raises(PermanentError, match="file_loc is missing"):
        run_task(keys, "load")
    monkeypatch.setenv("DATA_PATH", config["file_loc"])
    assert problems_of(keys) == []


def test_the_config_chooses_the_formats_of_the_figures(config, tmp_path):
    problems = problems_of(config_of(tmp_path / "out", **config, figures=["png", "jpg"]))
    assert problems == ["figures is ['png', 'jpg']. Give a list of formats from png, svg, pdf, or []."]
    folder = run_configs([config_of(tmp_path / "svg", **config, figures="svg")])[0]
    assert {path.suffix for path in folder.glob("network.*")} == {".svg"}
    folder = run_configs([config_of(tmp_path / "none", **config, figures=[])])[0]
    assert not [path for path in folder.iterdir() if path.suffix in {".png", ".svg", ".pdf"}]
    assert (folder / "job_info.json").is_file()


def test_relative_paths_are_refused(config, tmp_path, monkeypatch):
    monkeypatch.chdir(Path(config["file_loc"]).parent)
    keys = config | {"file_loc": "synthetic", "genesetFile": "genes.txt"}
    problems = problems_of(config_of(tmp_path, **keys))
    assert f"Give an absolute path ({config['file_loc']}?)." in problems[0]
    assert "genesetFile is the relative path 'genes.txt'" in problems[1]


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({}, "There is no gene set"),
        ({"geneset": ""}, "geneset names no genes"),
        ({"geneset": []}, "geneset names no genes"),
        ({"geneset": ["SYN0001", None]}, "Entry 2 of the gene list is empty"),
        ({"geneset": {"a": "b"}}, "not a mapping"),
        ({"geneset": "SYN0001", "genesetFile": "/x"}, "both given"),
        ({"genesetFile": "/no/such.txt"}, "is not a file"),
        ({"genesetFile": "/dev/zero"}, "is not a file"),
        ({"geneset": "SYN0001 SYN0002 NOSUCH"}, "Only 2 genes of the gene set are in the network"),
        ({"geneset": "SYN0001 SYN0002 NOSUCH"}, "Not found: NOSUCH"),
        ({"geneset": " ".join(f"SYN15{n:02d}" for n in range(1, 11)), "min_num_pos": 5}, "Only 0 genes"),
        ({"geneset": " ".join(f"SYN00{n}" for n in range(10, 30)), "num_folds": 21}, "cannot be split"),
        ({"geneset": "SYN0001", "min_num_pos": 1, "negatives": ""}, "negatives names no genes"),
    ],
)
def test_a_gene_set_that_cannot_be_used_is_refused(data, tmp_path, keys, sentence):
    problems = problems_of(config_of(tmp_path, file_loc=str(data), **keys))
    assert any(sentence in problem for problem in problems), problems


@pytest.mark.parametrize(("content", "sentence"), [(b"\xff\xffabc", "not UTF-8"), (b"a\0b", "not text")])
def test_a_gene_set_file_that_is_no_text_is_refused(data, tmp_path, content, sentence):
    (tmp_path / "genes.txt").write_bytes(content)
    keys = {"file_loc": str(data), "genesetFile": str(tmp_path / "genes.txt")}
    assert sentence in problems_of(config_of(tmp_path, **keys))[0]


def test_a_spreadsheets_utf16_file_is_read(data, tmp_path):
    text = (data / "genesets" / "alpha.txt").read_text().replace("\n", "\r\n")
    (tmp_path / "genes.txt").write_text(text, encoding="utf-16")
    keys = {"file_loc": str(data), "genesetFile": str(tmp_path / "genes.txt")}
    assert problems_of(config_of(tmp_path, **keys)) == []


def test_min_num_pos_in_the_entry_of_the_run_counts_when_the_genes_are_loaded(data, tmp_path):
    tasks = [TASKS[0], {**TASKS[1], "min_num_pos": 2}, TASKS[2]]
    keys = config_of(tmp_path, file_loc=str(data), geneset="SYN0001 SYN0002") | {"tasks": tasks}
    assert problems_of(keys) == []


def test_tasks_find_the_earlier_ones_by_their_class_or_by_a_key(config, tmp_path):
    wrong = config_of(tmp_path, **config) | {"tasks": TASKS[1:]}
    assert problems_of(wrong) == [
        "There is no LoadGeneset before this task. Add one, or name the task to build on in genesetTask."
    ]
    tasks = [
        {"id": "genes", "method": "LoadGeneset"},
        {"id": "train", "method": "RunGenePlexus", "genesetTask": "genes"},
        {"id": "tables", "method": "a.b:SaveResults", "resultsTask": "later"},
        {"id": "later", "method": "RunGenePlexus"},
    ]
    problems = problems_of(config_of(tmp_path, **config) | {"tasks": tasks})
    assert problems == [
        "resultsTask is 'later', which is no task before this one. Name the id of one that is."
    ]


@pytest.mark.parametrize(
    "name",
    [
        "Edgelist__Human__STRING.edg",
        "GSC__Human__Combined__STRING.json",
        "PreTrainedWeights__Human__Combined__STRING__SixSpeciesN2V.json",
        "IDconversion__Human__ENST-to-Entrez.json",
    ],
)
def test_a_missing_or_empty_file_is_named(own_data, config, tmp_path, name):
    keys = config_of(tmp_path, **config | {"file_loc": str(own_data)})
    (own_data / name).write_bytes(b"")
    assert name in problems_of(keys)[0]
    (own_data / name).unlink()
    assert name in problems_of(keys)[0]


def spoil_rows(folder):
    path = folder / "Data__Human__SixSpeciesN2V__STRING.npy"
    np.save(path, np.vstack([np.load(path)] * 2))


def spoil_edges(folder):
    (folder / "Edgelist__Human__STRING.edg").write_text("\n\n")


def spoil_header(folder):
    path = folder / "Edgelist__Human__STRING.edg"
    path.write_text("Node1\tNode2\tWeight\n" + path.read_text())


def spoil_table(folder):
    (folder / "Data__Human__SixSpeciesN2V__STRING.npy").write_bytes(b"junk")


def spoil_order(folder):
    path = folder / "NodeOrder__Human__STRING.txt"
    path.write_text(path.read_text().replace("900002", "900001"))


def spoil_symbols(folder):
    (folder / "IDconversion__Human__Symbol-to-Entrez.json").write_text('{"SYN')


def flatten_names(folder):
    path = folder / "IDconversion__Human__Entrez-to-Name.json"
    rewrite(path, lambda names: names.update({"900001": "no list"}))


def leave_a_part(folder):
    (folder / "NodeOrder__Human__IMP.txt.part").write_text("1\n")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (spoil_rows, "rows would belong to the wrong genes"),
        (spoil_edges, "has no edges"),
        (spoil_header, "are no edge"),
        (spoil_table, "cannot be read"),
        (spoil_order, "not a list of different Entrez ids"),
        (spoil_symbols, "is not JSON"),
        (flatten_names, "is not a table of lists"),
        (leave_a_part, "is a left-over"),
    ],
)
def test_data_that_geneplexus_would_take_or_stumble_over_are_refused(
    own_data, config, tmp_path, spoil, sentence
):
    keys = config_of(tmp_path, **config | {"file_loc": str(own_data)})
    assert problems_of(keys) == []
    spoil(own_data)
    assert any(sentence in problem for problem in problems_of(keys))


def lose_weights(folder):
    path = folder / "PreTrainedWeights__Human__Combined__STRING__SixSpeciesN2V.json"
    rewrite(path, lambda weights: weights.pop("SYNTHETIC:0005"))


def cut_terms(folder):
    path = folder / "GSC__Human__Combined__STRING.json"
    path.write_text(path.read_text()[:1000])


def add_stranger(folder):
    path = folder / "GSC__Human__Combined__STRING.json"
    rewrite(path, lambda go_terms: go_terms["Universe"].append("1"))


def drop_order(folder):
    rewrite(folder / "GSC__Human__Combined__STRING.json", lambda go_terms: go_terms.pop("Term_Order"))


def add_nan(folder):
    path = folder / "Data__Human__SixSpeciesN2V__STRING.npy"
    table = np.load(path)
    table[3, 3] = np.nan
    np.save(path, table)


def break_promise(folder):
    promise = {"files": {"Edgelist__Human__STRING.edg": {"sha256": "0" * 64}}}
    (folder / "DATA_VERSION.json").write_text(json.dumps(promise))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lose_weights, "SYNTHETIC:0005"),
        (cut_terms, "is not JSON"),
        (add_stranger, "genes that the network lacks (1)"),
        (drop_order, "'Term_Order'"),
        (add_nan, "no numbers"),
        (break_promise, "is not the file that DATA_VERSION.json describes"),
    ],
)
def test_spoilt_contents_end_the_run_at_its_first_task(own_data, config, tmp_path, spoil, sentence):
    spoil(own_data)
    with pytest.raises(PermanentError) as caught:
        run_task(config_of(tmp_path / "out", **config | {"file_loc": str(own_data)}), "load")
    assert sentence in str(caught.value)


def test_all_genes_of_an_ambiguous_name_are_positives_and_the_table_says_so(data, config, tmp_path):
    genes = [*(data / "genesets" / "alpha.txt").read_text().split("\n")[1:], "SYNBOTH"]
    out = config_of(tmp_path / "out", file_loc=str(data), geneset=genes, figures=[])
    folder = run_configs([out])[0]
    loaded = json.loads((tmp_path / "out" / "load.result.json").read_text())
    assert loaded["ambiguous"] == 1
    assert loaded["ambiguous_genes"] == ["SYNBOTH"]
    table = pd.read_csv(folder / "df_convert_out.tsv", sep="\t", dtype=str)
    assert set(table.loc[table["Original ID"] == "SYNBOTH", "In STRING?"]) == {"Y"}
    probabilities = pd.read_csv(folder / "df_probs.tsv", sep="\t", dtype={"Entrez": str})
    positives = set(probabilities.loc[probabilities["Class-Label"] == "P", "Entrez"])
    assert positives == set(table.loc[table["In STRING?"] == "Y", "Entrez ID"])
    assert {"900001", "900002"} <= positives


def test_genes_are_found_as_geneplexus_finds_them(data):
    from job_orchestration.geneplexus import data as folder
    from job_orchestration.geneplexus.settings import Choice

    genes = [
        "SYN0001",
        "ENSG99900000002",
        "ENSP99900000003",
        "ENST99900000004",
        "900005",
        "SYNBOTH",
        "JUNK",
        "5",
    ]
    with adapter.guarded(logging.getLogger("reference")):
        reference = geneplexus.GenePlexus(file_loc=str(data), input_genes=genes)
    known = folder.identifiers(data, Choice())
    assert [one for gene in genes for one in known.find(gene)] == reference.convert_ids


def test_a_gene_of_the_network_that_has_no_full_name_is_trained_on(own_data, config, tmp_path):
    first = "9" + (own_data / "genesets" / "alpha.txt").read_text().split("\n")[1][3:].zfill(5)
    rewrite(own_data / "IDconversion__Human__Entrez-to-Name.json", lambda names: names.pop(first))
    keys = config | {"file_loc": str(own_data), "figures": []}
    folder = run_configs([config_of(tmp_path / "out", **keys)])[0]
    probabilities = pd.read_csv(folder / "df_probs.tsv", sep="\t", dtype={"Entrez": str}).set_index("Entrez")
    assert probabilities.loc[first, "Class-Label"] == "P"


def test_negatives_are_used_and_saved(data, config, tmp_path):
    negatives = "SYN0005 SYN0006, NOSUCH"
    folder = run_configs([config_of(tmp_path / "out", **config, negatives=negatives, figures=[])])[0]
    table = pd.read_csv(folder / "df_convert_out_negatives.tsv", sep="\t")
    assert list(table["In STRING?"]) == ["Y", "Y", "N"]
    assert json.loads((folder / "run.json").read_text())["negatives_given"]["unmapped"] == 1


def test_a_data_folder_that_is_away_for_a_while_is_waited_for(own_data, config, tmp_path):
    keys = config_of(tmp_path / "out", **config | {"file_loc": str(own_data)})
    own_data.rename(tmp_path / "away")
    with pytest.raises(TemporaryError, match="is not there now"):
        run_task(keys, "load")
    (tmp_path / "away").rename(own_data)
    assert run_task(keys, "load")["positives"] > 20
