"""GenePlexus with data that were read before: the same results, and nothing changed in memory."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys

import pytest

pytest.importorskip("geneplexus", reason="the extra [geneplexus] is not installed")

import geneplexus
import numpy as np
import pandas as pd
from geneplexus import _geneplexus, util

from job_orchestration.geneplexus import (
    LoadGeneset,
    RunGenePlexus,
    adapter,
    figure_files,
    gene_lookups,
    loaded,
)
from job_orchestration.geneplexus.settings import Choice
from tests.geneplexus_bench import config_of, run_configs, run_task, warnings_of

TABLES = ("df_probs", "df_sim", "df_edge", "df_edge_sym")
LOG = logging.getLogger("test")

pytestmark = [  # GenePlexus never closes its files
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def forgotten():
    """Nothing is in memory when a test begins."""
    loaded.forget()
    yield
    loaded.forget()


def preload(config):
    for kind in (LoadGeneset, RunGenePlexus):
        kind.preload({key: value for key, value in config.items() if key in kind.preload_keys})


def model_of(folder, genes, choice=None):
    """A model after all steps, made as the task makes it."""
    choice = choice or Choice()
    with adapter.guarded(LOG):
        found = {"entrez": genes, "negatives": [], "unnamed": []}
        model = adapter.new_model(folder, choice, found)
        model.fit()
        model.predict()
        model.make_sim_dfs()
        model.make_small_edgelist()
    return model


def results_of(model):
    (result,) = model.model_info["All-Genes"].results.values()
    return result


def own_results(folder, genes):
    """What GenePlexus makes of it by itself."""
    model = geneplexus.GenePlexus(file_loc=str(folder))
    model.load_genes(genes)
    for step in (model.fit, model.predict, model.make_sim_dfs, model.make_small_edgelist):
        step()
    return results_of(model)


@pytest.fixture(scope="module")
def genes(data):
    """Entrez ids to train on."""
    collection = json.loads((data / "GSC__Human__GO__STRING.json").read_text())
    return max((collection[term]["Genes"] for term in collection["Term_Order"]), key=len)


@pytest.fixture
def opened(monkeypatch):
    """The names of the files that numpy, JSON and pandas read from now on."""
    names = []

    def noted(module, name):
        before = getattr(module, name)

        def read(file, *args, **options):
            names.append(os.path.basename(getattr(file, "name", file)))
            return before(file, *args, **options)

        monkeypatch.setattr(module, name, read)

    noted(np, "load")
    noted(np, "loadtxt")
    noted(json, "load")
    noted(pd, "read_csv")
    return names


@pytest.mark.slow
def test_every_table_is_the_one_that_geneplexus_makes_by_itself(data, genes):
    own = own_results(data, genes)
    for _ in range(2):  # the second has all in memory
        ours = results_of(model_of(data, genes))
        for table in TABLES:
            pd.testing.assert_frame_equal(getattr(ours, table), getattr(own, table), check_exact=True)
        assert ours.isolated_genes == own.isolated_genes
        assert ours.isolated_genes_sym == own.isolated_genes_sym


@pytest.mark.slow
def test_after_preload_a_run_reads_no_data(config, finished, tmp_path, opened):
    preload(config)
    read = list(opened)
    assert len(read) > 10
    del opened[:]
    run = config_of(tmp_path / "alpha", **config)
    for task in ("load", "run", "save"):
        run_task(run, task)
    data_files = [name for name in opened if name in read and not name.startswith("Data__")]
    assert data_files == []
    for table in TABLES:
        assert (tmp_path / "alpha" / "save" / f"{table}.tsv").read_bytes() == (
            finished / f"{table}.tsv"
        ).read_bytes()


def test_no_step_changes_what_was_loaded(data, genes):
    loaded.load(data, Choice())
    with loaded.handed_over():
        features = util.load_gene_features(str(data), "Human", "SixSpeciesN2V", "STRING")
        order = util.load_node_order(str(data), "Human", "STRING")
        weights = util.load_pretrained_weights(str(data), "Human", "Combined", "STRING", "SixSpeciesN2V")
        collection = util.load_gsc(str(data), "Human", "Combined", "STRING")
        names = util.load_geneid_conversion(str(data), "Human", "Entrez", "Name")
    row = next(iter(weights.values()))["Weights"]
    for array in (features, order, row):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0
    before = json.dumps([collection, names])
    model_of(data, genes)
    assert json.dumps([collection, names]) == before


def test_a_file_that_changes_is_read_anew(own_data, genes):
    before = results_of(model_of(own_data, genes))
    path = own_data / "Data__Human__SixSpeciesN2V__STRING.npy"
    np.save(path, np.load(path)[:, ::-1] * 1.5)
    edges = own_data / "Edgelist__Human__STRING.edg"
    edges.write_text("".join(edges.read_text().splitlines(keepends=True)[::2]))
    after, own = results_of(model_of(own_data, genes)), own_results(own_data, genes)
    assert not after.df_probs.equals(before.df_probs)
    assert len(after.df_edge) != len(before.df_edge)
    for table in TABLES:
        pd.testing.assert_frame_equal(getattr(after, table), getattr(own, table), check_exact=True)


def test_other_data_are_not_in_memory_at_the_same_time(data, own_data):
    loaded.load(data, Choice())
    loaded.load(own_data, Choice())
    assert {os.path.dirname(path) for path in loaded.files_held()} == {str(own_data)}


@pytest.mark.parametrize("network", ["STRING", "BioGRID"])
@pytest.mark.parametrize(
    "lines", ["1\t2{}", "1\t2{0}\n3\t1{0}\n2\t3{0}\n9\t9{0}\n3\t2{0}", "A\t2{0}\n2\tB{0}", "7\t8{}"]
)
def test_the_edges_among_the_top_genes_are_those_of_the_whole_table(own_data, network, lines):
    weight = "" if network == "BioGRID" else "\t0.5"
    (own_data / f"Edgelist__Human__{network}.edg").write_text(lines.format(weight) + "\n")
    top = pd.DataFrame({"Entrez": ["1", "2", "3", "A", "B", "9"]})
    for count in (2, 5, 6):
        own = _geneplexus._make_small_edgelist(str(own_data), top, "Human", network, num_nodes=count)
        with loaded.handed_over():
            ours = _geneplexus._make_small_edgelist(str(own_data), top, "Human", network, num_nodes=count)
        for place in (0, 2):
            pd.testing.assert_frame_equal(ours[place], own[place], check_exact=True)
        assert (ours[1], ours[3]) == (own[1], own[3])


def test_data_that_cannot_be_used_are_left_for_the_task_to_complain_of(own_data):
    (own_data / "NodeOrder__Human__STRING.txt").unlink()
    preload({"file_loc": str(own_data)})
    preload({"file_loc": str(own_data / "nowhere")})
    preload({"file_loc": "relative"})
    preload({"file_loc": str(own_data), "net_type": "FOO"})
    loaded.load(own_data, Choice())


def test_a_version_that_is_not_known_reads_its_data_itself_and_that_is_said(
    config, data, genes, tmp_path, monkeypatch
):
    assert warnings_of(config_of(tmp_path / "a", **config)) == []
    monkeypatch.setattr(loaded, "KNOWN", "2.")
    (warning,) = warnings_of(config_of(tmp_path / "a", **config))
    assert "is not known to these tasks" in warning
    before = util.load_gsc
    with loaded.handed_over():
        assert util.load_gsc is before
    loaded.load(data, Choice())
    assert loaded.files_held() == set()


def test_what_was_replaced_is_put_back():
    before = {name: getattr(util, name) for name in loaded.FILES}
    small, pandas = _geneplexus._make_small_edgelist, _geneplexus.pd
    with pytest.raises(KeyError), adapter.guarded(LOG):
        raise KeyError
    assert {name: getattr(util, name) for name in loaded.FILES} == before
    assert (_geneplexus._make_small_edgelist, _geneplexus.pd) == (small, pandas)


DRAWING = """
import sys
from pathlib import Path

from job_orchestration.geneplexus import SaveResults, plots

SaveResults.preload({})
before = set(sys.modules)
caption = plots.Caption("alpha", "Human", "STRING", "GO", 20)
plots.cross_validation(Path(sys.argv[1], "scores.png"), [1.0, 2.0], caption)
print(sorted(set(sys.modules) - before))
"""


@pytest.mark.slow
def test_drawing_imports_nothing_after_preload_and_draws_the_same(tmp_path):
    command = [sys.executable, "-c", DRAWING, str(tmp_path)]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "[]\n"
    plain = tmp_path / "plain"
    plain.mkdir()
    without = DRAWING.replace("SaveResults.preload({})", "")
    subprocess.run([sys.executable, "-c", without, str(plain)], check=True, capture_output=True)
    for kind in figure_files.FORMATS:
        assert (tmp_path / f"scores.{kind}").read_bytes() == (plain / f"scores.{kind}").read_bytes()


@pytest.mark.slow
def test_edges_are_parsed_once_in_a_workspace_and_are_the_same_from_its_cache(own_data, genes, root, opened):
    def tables():
        loaded.forget()
        del opened[:]
        result = results_of(model_of(own_data, genes))
        return {name: getattr(result, name) for name in TABLES}, edges.name in opened

    edges = own_data / "Edgelist__Human__STRING.edg"
    (first, has_parsed), (second, has_parsed_again) = tables(), tables()
    assert (has_parsed, has_parsed_again) == (True, False)
    (entry,) = (root / "Misc" / "cache").iterdir()
    entry.write_bytes(entry.read_bytes()[:-1] + b"?")
    third, has_parsed = tables()
    assert has_parsed
    for name in TABLES:
        pd.testing.assert_frame_equal(second[name], first[name], check_exact=True)
        pd.testing.assert_frame_equal(third[name], first[name], check_exact=True)
    edges.write_text("".join(edges.read_text().splitlines(keepends=True)[::2]))
    other, has_parsed = tables()
    assert has_parsed
    assert len(other["df_edge"]) < len(first["df_edge"])
    assert len(list((root / "Misc" / "cache").iterdir())) == 2


def test_edges_of_other_types_are_not_kept(own_data, genes, root):
    edges = own_data / "Edgelist__Human__STRING.edg"
    edges.write_text(edges.read_text() + "A\tB\t1\n")
    ours, own = results_of(model_of(own_data, genes)), own_results(own_data, genes)
    pd.testing.assert_frame_equal(ours.df_edge, own.df_edge, check_exact=True)
    assert list((root / "Misc" / "cache").iterdir()) == []


COMMAND_LINES = """
import json, sys

from geneplexus import cli

for words in json.load(sys.stdin):
    sys.argv = ["geneplexus", *words]
    cli.main()
"""


@pytest.mark.slow
def test_ten_gene_sets_give_the_tables_of_the_command_line_to_the_last_digit(data, tmp_path, root):
    collection = json.loads((data / "GSC__Human__Combined__STRING.json").read_text())
    gene_sets = [collection[term]["Genes"] for term in collection["Term_Order"][:10]]
    command_lines, configs = [], []
    for number, chosen in enumerate(gene_sets):
        given = tmp_path / f"set{number}.txt"
        given.write_text("\n".join(chosen))
        words = ["-i", str(given), "-fl", str(data), "-od", str(tmp_path / f"made{number}"), "-l", "CRITICAL"]
        command_lines.append(words)
        keys = {"file_loc": str(data), "geneset": chosen, "figures": []}
        configs.append(config_of(tmp_path / f"ours{number}", **keys))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", COMMAND_LINES]
    text = json.dumps(command_lines)
    subprocess.run(command, input=text, text=True, env=environment, check=True, capture_output=True)
    preload(configs[0])
    for number, folder in enumerate(run_configs(configs)):
        theirs = tmp_path / f"made{number}" / "All-Genes" / "Human-Combined"
        for table in TABLES:
            name = f"{table}.tsv"
            assert (folder / name).read_bytes() == (theirs / name).read_bytes(), f"{number} {table}"


def second_species(folder):
    """Make a mouse of the human: the same genes under other ids, of which most are orthologues."""

    def other(gene):
        return str(int(gene) + 5_000_000)

    def translated(value):
        if isinstance(value, dict):
            return {other(k) if k.isdigit() else k: translated(v) for k, v in value.items()}
        if isinstance(value, list):
            return [other(one) if isinstance(one, str) and one.isdigit() else one for one in value]
        return value

    for path in sorted(folder.glob("*__Human__*")):
        target = folder / path.name.replace("__Human__", "__Mouse__")
        if path.suffix == ".json":
            target.write_text(json.dumps(translated(json.loads(path.read_text()))))
        elif path.suffix == ".npy":
            np.save(target, np.load(path)[:, ::-1])
        else:
            rows = [line.split("\t") for line in path.read_text().splitlines()]
            target.write_text("".join("\t".join([*map(other, row[:2]), *row[2:]]) + "\n" for row in rows))
    order = (folder / "NodeOrder__Human__STRING.txt").read_text().split()
    table = {gene: other(gene) for place, gene in enumerate(order) if place % 4}
    (folder / "BioMart__Human__Mouse.json").write_text(json.dumps(table))


@pytest.mark.slow
def test_tables_of_another_species_are_those_that_geneplexus_makes_by_itself(own_data, genes):
    second_species(own_data)
    pairs = {"sp_res": ["Human", "Mouse", "Mouse"], "gsc_res": ["GO", "GO", "Combined"], "gsc_trn": "GO"}
    choice = Choice(gsc_trn="GO", results=tuple(zip(pairs["sp_res"], pairs["gsc_res"], strict=True)))
    own = geneplexus.GenePlexus(file_loc=str(own_data), **pairs)
    own.load_genes(genes)
    for step in (own.fit, own.predict, own.make_sim_dfs, own.make_small_edgelist):
        step()
    ours = model_of(own_data, genes, choice).model_info["All-Genes"].results
    theirs = own.model_info["All-Genes"].results
    assert list(ours) == list(theirs) == ["Human-GO", "Mouse-GO", "Mouse-Combined"]
    for pair, result in theirs.items():
        for table in TABLES:
            pd.testing.assert_frame_equal(
                getattr(ours[pair], table), getattr(result, table), check_exact=True
            )
    assert set(ours["Mouse-GO"].df_probs["Class-Label"]) == {"P", "N", "U"}


def test_an_index_answers_as_the_list_does():
    order = np.array(["7", "42", "9"])
    indexed = gene_lookups.IndexedGenes.of(order)
    for gene in (*order, "1"):
        assert (indexed == gene).tolist() == (order == gene).tolist()
    assert (indexed == order).all()
    assert (indexed[1:] == "9").tolist() == [False, True]
    members = gene_lookups.GeneSet.of(order)
    assert [gene in members for gene in (*order, "1")] == [True, True, True, False]
    assert "7" not in members[1:]
    twice, numbers = np.array(["7", "7"]), np.array([7])
    assert gene_lookups.IndexedGenes.of(twice) is twice
    assert gene_lookups.GeneSet.of(numbers) is numbers
    assert type(pickle.loads(pickle.dumps(members[1:])[:])) is gene_lookups.GeneSet
