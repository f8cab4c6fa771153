"""The three tasks with real GenePlexus on synthetic data: what they leave, and what they keep from others."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

pytest.importorskip("geneplexus", reason="the extra [geneplexus] is not installed")

import geneplexus
import numpy as np
import pandas as pd
from PIL import Image

from demo.make_data import make_data
from job_orchestration import PermanentError
from job_orchestration.geneplexus import adapter, network_plot, plots, reports
from tests.geneplexus_bench import config_of, run_configs, run_task

TOP = Path(__file__).resolve().parents[2]


def no_constant(name):
    raise AssertionError(f"{name} is no JSON")


def test_the_tables_graph_records_and_plots_are_there(finished):
    tables = ["df_probs", "df_sim", "df_edge", "df_edge_sym", "df_convert_out"]
    for name in tables:
        assert len(pd.read_csv(finished / f"{name}.tsv", sep="\t")) > 0, name
    for name in ["top_genes", "network", "cross_validation", "similar_terms"]:
        assert (finished / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (finished / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert ET.parse(finished / f"{name}.svg").getroot().tag.endswith("svg")
    graph = json.loads((finished / "graph.json").read_text())
    nodes = {node["id"] for node in graph["nodes"]}
    assert len(nodes) == 50
    assert {"id", "Symbol", "Name", "Probability", "Class"} <= set(graph["nodes"][0])
    assert len(graph["links"]) == len(pd.read_csv(finished / "df_edge.tsv", sep="\t"))
    assert all({link["source"], link["target"]} <= nodes for link in graph["links"])
    linked = {one for link in graph["links"] for one in (link["source"], link["target"])}
    assert set((finished / "isolated_genes.txt").read_text().split()) == nodes - linked


def words_of(path):
    """The texts of an SVG file, as they stand in it."""
    return ["".join(one.itertext()).strip() for one in ET.parse(path).iter() if one.tag.endswith("}text")]


def test_figures_have_300_dots_an_inch_and_name_what_they_are_of(finished):
    headline = yaml.safe_load((finished / "results.yaml").read_text())
    title = f"Human, STRING network, Combined gene sets, {headline['positives']} positives"
    for name, what in [
        ("top_genes", "Top 30 genes: alpha"),
        ("network", "Network of the top 50 genes: alpha"),
        ("cross_validation", "Cross-validation: alpha"),
        ("similar_terms", "Similar terms: alpha"),
    ]:
        said = " ".join(words_of(finished / f"{name}.svg"))
        assert what in said
        assert title in said
        with Image.open(finished / f"{name}.png") as image:
            assert [round(dots) for dots in image.info["dpi"]] == [300, 300]
    assert "guessing (0)" in words_of(finished / "cross_validation.svg")
    assert any(one.startswith("median ") for one in words_of(finished / "cross_validation.svg"))


def test_no_symbol_of_the_network_lies_over_another_and_each_is_there(finished):
    graph = json.loads((finished / "graph.json").read_text())
    assert {node["Symbol"] for node in graph["nodes"]} <= set(words_of(finished / "network.svg"))
    rng = np.random.default_rng(1)
    boxes = np.column_stack([rng.uniform(0.1, 0.4, 50), np.full(50, 0.06), np.full(50, 0.2)])
    places = network_plot.apart(rng.normal(0, 0.2, (50, 2)), boxes)  # all of them in one heap
    lower = places - np.column_stack([boxes[:, 0], boxes[:, 1]])
    upper = places + np.column_stack([boxes[:, 0], boxes[:, 2]])
    for one in range(50):
        for other in range(one):
            apart = (lower[one] >= upper[other] - 1e-6) | (lower[other] >= upper[one] - 1e-6)
            assert apart.any(), (one, other)


def test_a_term_that_is_not_significant_has_a_short_and_empty_bar(tmp_path):
    assert plots.significance(1.0) == plots.significance(float("nan")) == 0
    assert plots.significance(0.05) == pytest.approx(1.301, abs=1e-3)
    assert plots.significance(0) == 300
    similar_terms = pd.DataFrame(
        {
            "Task": ["Disease"] * 3,
            "ID": ["D:1", "D:2", "D:3"],
            "Name": ["surely", "hardly", "never"],
            "Similarity": [0.9, 0.89, 0.88],
            "P-adjusted": [1e-6, 0.24, 1.0],
        }
    )
    lengths = []
    axes = plots.new_figure(3, 3).subplots()
    plots.draw_terms(axes, similar_terms, [plots.significance(p) for p in similar_terms["P-adjusted"]])
    lengths = [round(bar.get_width(), 2) for bar in axes.patches]
    filled = [bar.get_facecolor() != (1, 1, 1, 1) for bar in axes.patches]
    assert (lengths, filled) == ([6.0, 0.62, 0.0], [True, False, False])


def test_a_weak_cross_validation_is_said_in_the_log_the_methods_and_the_results(
    data, config, tmp_path, caplog
):
    unrelated = " ".join(f"SYN{number:04d}" for number in range(7, 1500, 61))
    weak = config_of(tmp_path / "weak", file_loc=str(data), geneset=unrelated, figures=[])
    with caplog.at_level(logging.WARNING):
        folder = run_configs([weak])[0]
    headline = yaml.safe_load((folder / "results.yaml").read_text())
    assert headline["cv_median"] < 1
    assert headline["cv_note"].startswith("weak: ")
    assert list(headline)[:6] == [
        *("gene_set", "positives", "cv_median", "cv_note", "top_novel_genes", "top_term")
    ]
    sentence = next(line for line in caplog.messages if line.startswith("The cross-validation is "))
    assert sentence in (folder / "methods.txt").read_text()
    assert headline["gene_set"] == "weak"


def test_names_that_were_not_found_stand_in_the_methods(data, config, tmp_path, caplog):
    genes = f"{(data / 'genesets' / 'alpha.txt').read_text()}\nNOSUCH\n"
    keys = config_of(tmp_path / "out", file_loc=str(data), geneset=genes, figures=[])
    with caplog.at_level(logging.INFO):
        folder = run_configs([keys])[0]
    assert "Names not found: NOSUCH." in (folder / "methods.txt").read_text()
    assert "left out, not known: 1 (NOSUCH); see dropped.tsv" in caplog.messages


def test_every_json_file_is_strict(finished):
    files = list(finished.rglob("*.json"))
    assert len(files) >= 4
    for path in files:
        json.loads(path.read_text(), parse_constant=no_constant)


def test_numbers_that_json_cannot_say_become_null():
    value = {1: [float("nan"), np.float64("inf"), np.int64(3)], "a": (np.array([0.5]), None, True, "x")}
    assert reports.strict(value) == {"1": [None, None, 3], "a": [[0.5], None, True, "x"]}


def test_a_network_without_weights_and_of_one_gene_is_run_and_drawn(own_data, config, tmp_path):
    for path in list(own_data.glob("*STRING*")):
        path.rename(own_data / path.name.replace("STRING", "BioGRID"))
    edges = own_data / "Edgelist__Human__BioGRID.edg"
    edges.write_text("".join("\t".join(line.split()[:2]) + "\n" for line in edges.read_text().splitlines()))
    keys = config | {"file_loc": str(own_data), "net_type": "BioGRID", "scale": True, "num_nodes": 1}
    folder = run_configs([config_of(tmp_path / "out", **keys, figures="svg")])[0]
    graph = json.loads((folder / "graph.json").read_text())
    assert (len(graph["nodes"]), graph["links"]) == (1, [])
    assert (folder / "isolated_genes.txt").read_text().split() == [graph["nodes"][0]["id"]]


def test_run_json_tells_what_the_figures_depend_on(finished, data):
    reported = json.loads((finished / "run.json").read_text())
    assert reported["parameters"]["classifier"]["C"] == 1.0
    assert reported["parameters"]["random_state"] == 0
    headline = yaml.safe_load((finished / "results.yaml").read_text())
    assert reported["data"]["sha256"] == headline["data_sha256"]
    assert len(reported["data"]["files"]) == 11
    assert reported["data"]["version"]["source"] == "synthetic"
    assert set(reported["seconds"]) == {"load", "fit", "predict", "similarities", "network"}
    assert reported["peak_memory_mb"] > 50
    assert reported["versions"]["geneplexus"] == geneplexus.__version__
    assert reported["geneset"]["positives"] == reported["classes"]["positives"] > 20
    assert len(reported["geneset"]["sha256"]) == 64
    assert {pool["num_threads"] for pool in reported["threads"]["pools"]} <= {1}


def test_job_info_has_the_keys_of_the_web_application_and_a_final_status(finished):
    reported = json.loads((finished / "job_info.json").read_text())
    assert reported["status"] == "Completed"
    assert reported["has_results"] is True
    assert (reported["net_type"], reported["GSC"], reported["job_name"]) == ("STRING", "Combined", "alpha")
    files = [value for key, value in reported.items() if key.endswith("_file")]
    assert len(files) == 6
    assert all((finished / name).is_file() for name in files)


def test_results_yaml_lies_in_the_runs_folder_and_is_what_save_returned(finished):
    headline = yaml.safe_load((finished.parent / "results.yaml").read_text())
    assert headline == json.loads((finished.parent / "save.result.json").read_text())
    assert headline["cv_median"] > 2
    assert len(headline["top_novel_genes"]) == 10
    assert headline["top_similar_terms"][0].startswith("SYNTHETIC:0004 ")  # the module it was drawn from


def test_the_planted_genes_that_were_held_out_are_found(finished, data):
    table = pd.read_csv(finished / "df_probs.tsv", sep="\t")
    held_out = (data / "genesets" / "alpha_held_out.txt").read_text().split()
    ranks = table.loc[table["Symbol"].isin(held_out), "Rank"]
    assert len(ranks) == len(held_out)
    assert ranks.median() < 100  # of 1500


def test_synthetic_data_are_called_synthetic(finished, data):
    assert "SYNTHETIC" in (finished / "methods.txt").read_text()
    assert yaml.safe_load((finished / "results.yaml").read_text())["synthetic_data"] is True
    assert all(name.startswith("SYN") for name in pd.read_csv(finished / "df_probs.tsv", sep="\t")["Symbol"])


def test_the_synthetic_data_are_the_same_every_time(data, tmp_path):
    again = make_data(tmp_path / "again")
    for path in sorted(data.rglob("*")):
        if path.is_file():
            assert (again / path.relative_to(data)).read_bytes() == path.read_bytes(), path.name


def test_data_that_do_not_say_what_they_are_are_not_guessed_at(own_data, config, tmp_path):
    keys = config | {"file_loc": str(own_data), "figures": []}
    folder = run_configs([config_of(tmp_path / "out", **keys)])[0]
    assert "does not say where its data come from" in (folder / "methods.txt").read_text()


def test_several_species_of_results_get_a_folder_each(own_data, config, tmp_path):
    for path in list(own_data.glob("*__Human__*")):
        shutil.copy(path, own_data / path.name.replace("__Human__", "__Mouse__"))
    options = (own_data / "NodeOrder__Human__STRING.txt").read_text().split()
    (own_data / "BioMart__Human__Mouse.json").write_text(json.dumps({one: one for one in options}))
    keys = config | {"file_loc": str(own_data), "sp_res": ["Human", "Mouse"], "gsc_res": ["Combined", "GO"]}
    folder = run_configs([config_of(tmp_path / "out", **keys, figures="png")])[0]
    assert len(pd.read_csv(folder / "Human-Combined" / "df_sim.tsv", sep="\t")) == 60
    assert len(pd.read_csv(folder / "Mouse-GO" / "df_sim.tsv", sep="\t")) == 40
    assert (folder / "Mouse-GO" / "network.png").is_file()
    assert not (folder / "df_probs.tsv").exists()
    assert keys["sp_res"] == ["Human", "Mouse"]


def test_without_cross_validation_there_are_nulls_and_no_nan(config, tmp_path):
    keys = {**config, "cross_validate": False, "random_state": None, "figures": "png"}
    folder = run_configs([config_of(tmp_path / "out", **keys)])[0]
    reported = json.loads((folder / "run.json").read_text(), parse_constant=no_constant)
    assert reported["cv"] == [None] * 3
    assert reported["cv_median"] is None
    assert "not cross-validated" in (folder / "methods.txt").read_text()
    assert (folder / "cross_validation.png").is_file()


def test_parameters_of_one_run_do_not_reach_the_next_in_the_same_process(config, finished, tmp_path):
    before = dict(geneplexus.config.DEFAULT_LOGREG_KWARGS)
    keys = [
        config_of(tmp_path / "odd", **config, logreg_kwargs={"C": 1e-4}, figures=[]),
        config_of(tmp_path / "plain", **config, figures=[]),
    ]
    odd, plain = [yaml.safe_load((folder / "results.yaml").read_text()) for folder in run_configs(keys)]
    reference = yaml.safe_load((finished / "results.yaml").read_text())
    assert plain["cv"] == reference["cv"]
    assert plain["top_novel_probability"] == reference["top_novel_probability"]
    assert odd["top_novel_probability"] != reference["top_novel_probability"]
    assert before == geneplexus.config.DEFAULT_LOGREG_KWARGS


def test_what_geneplexus_does_to_its_own_lists_is_undone():
    with adapter.guarded(logging.getLogger("guarded")):
        geneplexus.config.ALL_SPECIES.remove("Zebrafish")
        geneplexus.config.DEFAULT_LOUVAIN_KWARGS["louvain_seed"] = 5
    assert "Zebrafish" in geneplexus.config.ALL_SPECIES
    assert geneplexus.config.DEFAULT_LOUVAIN_KWARGS["louvain_seed"] == 123


def test_geneplexus_prints_nothing_and_its_words_go_to_the_runs_log(config, tmp_path, capfd, caplog):
    handlers = logging.getLogger("geneplexus").handlers[:]
    with caplog.at_level(logging.INFO):
        run_configs([config_of(tmp_path / "out", **config, min_num_pos_cv=500)])
    assert "geneplexus: Starting model training" in caplog.text
    shown = capfd.readouterr()
    assert shown.out + shown.err == ""
    assert logging.getLogger("geneplexus").handlers == handlers
    warnings = json.loads((tmp_path / "out" / "save" / "run.json").read_text())["warnings"]
    assert len(warnings) == 1
    assert "Insufficient number of positive genes" in warnings[0]


def test_geneplexus_own_saving_and_downloading_are_never_called(config, tmp_path, monkeypatch):
    def forbidden(*_args, **_keys):
        raise AssertionError("called")

    monkeypatch.setattr(geneplexus.GenePlexus, "save_class", forbidden)
    monkeypatch.setattr(geneplexus.download, "download_select_data", forbidden)
    output = tmp_path / "out"
    output.mkdir()
    (output / "precious.txt").write_text("here")
    descriptors = len(os.listdir("/dev/fd"))
    run_configs([config_of(output, **config, figures="svg")])
    assert (output / "precious.txt").read_text() == "here"
    assert len(os.listdir("/dev/fd")) == descriptors


def test_an_error_inside_geneplexus_is_a_sentence_and_is_not_tried_again(config, tmp_path):
    keys = config_of(tmp_path / "out", **config, logreg_kwargs={"C": -1.0})
    run_task(keys, "load")
    with pytest.raises(PermanentError, match="GenePlexus could not do its step 'fit': InvalidParameterError"):
        run_task(keys, "run")


def run_python(code, home):
    environment = {**os.environ, "HOME": str(home), "MPLCONFIGDIR": str(home / "mpl"), "PYTHONPATH": str(TOP)}
    for name in ("PYSTOW_HOME", "OMP_NUM_THREADS"):
        environment.pop(name, None)
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_import_starts_no_threads_and_makes_no_folder_at_home(tmp_path):
    code = (
        "import os, psutil, job_orchestration.geneplexus;"
        "print(psutil.Process().num_threads(), os.environ['OMP_NUM_THREADS'], 'PYSTOW_HOME' in os.environ)"
    )
    done = run_python(code, tmp_path)
    assert done.stdout.split() == ["1", "1", "False"], done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mpl"]


def test_without_the_extra_there_is_one_sentence(tmp_path):
    done = run_python(
        "import sys; sys.modules['geneplexus'] = None; import job_orchestration.geneplexus", tmp_path
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last == (
        "ImportError: GenePlexus is not installed. Run: pip install 'job-orchestration[geneplexus]'."
    )
