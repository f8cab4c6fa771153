"""Job folders of the first web application: their files, their archive, and the command that made them."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

pytest.importorskip("geneplexus", reason="the extra [geneplexus] is not installed")

import pandas as pd

from job_orchestration.results import legacy_names
from tests.geneplexus_bench import config_of, problems_of, run_configs, run_task

JOB = "8e3jt5kz"


@pytest.fixture(scope="module")
def job_config(config, tmp_path_factory):
    """The config of a finished run that was asked for the old names and an archive."""
    folder = tmp_path_factory.mktemp("legacy") / JOB
    keys = {"figures": [], "legacyNames": True, "zip_output": True, "notifyaddress": "you@example.org"}
    made = config_of(folder, **config, **keys)
    run_configs([made])
    return made


@pytest.fixture
def job_folder(job_config):
    from pathlib import Path

    return Path(job_config["outputDir"])


def read_as_the_web_application_did(folder, job):
    """What its results store returned: the record with five tables and the graph."""
    info = json.loads((folder / f"{job}_job_info.json").read_text())
    for name in ("df_probs", "df_GO", "df_convert_out_subset", "df_dis", "df_edgelist"):
        assert info[f"{name}_file"] == f"{job}_{name}.tsv"
        info[name] = pd.read_csv(folder / info[f"{name}_file"], sep="\t")
    info["graph"] = json.loads((folder / info["graph_file"]).read_text())
    return info


def test_a_program_that_read_the_old_job_folders_reads_this_one(job_folder):
    info = read_as_the_web_application_did(job_folder, JOB)
    assert (job_folder / f"{JOB}_jobstatus").read_text() == info["status"] == "Completed"
    assert info["has_results"] is True
    assert (info["job_name"], info["net_type"], info["GSC"]) == (JOB, "STRING", "Combined")
    assert list(info["df_edgelist"].columns) == ["source", "target", "weight"]
    assert {node["id"] for node in info["graph"]["nodes"]} <= set(info["df_probs"]["Entrez"])
    assert set(info["df_GO"]["Task"]) == {"Biological Process"}
    assert list(info["df_GO"]["Rank"]) == list(range(1, len(info["df_GO"]) + 1))
    ours = pd.read_csv(job_folder / "save" / "df_sim.tsv", sep="\t")
    assert sorted([*info["df_GO"]["ID"], *info["df_dis"]["ID"]]) == sorted(ours["ID"])
    genes = (job_folder / f"{JOB}_geneset.txt").read_text().split()
    assert len(genes) == info["input_count"] == len(info["df_convert_out_subset"])
    config = json.loads((job_folder / f"{JOB}_job_config.json").read_text())
    assert config["notifyaddress"] == "you@example.org"
    assert (config["jobname"], config["input_file_name"]) == (JOB, f"{JOB}_geneset.txt")


def test_the_archive_has_the_results_and_the_old_names_and_is_the_same_each_time(job_config, job_folder):
    path = job_folder / f"{JOB}.zip"
    first = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert archive.testzip() is None
        names = {name.removeprefix(f"{JOB}/") for name in archive.namelist()}
        assert archive.read(f"{JOB}/df_probs.tsv") == (job_folder / "save" / "df_probs.tsv").read_bytes()
    assert {legacy_names.file_name(JOB, kind) for kind in legacy_names.KINDS} < names
    assert {"run.json", "methods.txt", "results.yaml", "graph.json"} < names
    run_task(job_config, "save")
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(io.BytesIO(first)) as before:
        same = [name for name in archive.namelist() if archive.read(name) == before.read(name)]
        assert set(archive.namelist()) - set(same) <= {f"{JOB}/run.json"}  # it has times of this try


def test_without_the_keys_no_such_file_is_there(finished):
    assert not [path for path in finished.parent.iterdir() if path.suffix == ".zip" or "_df_" in path.name]


def test_what_the_keys_cannot_mean_is_refused(config, tmp_path):
    for keys, sentence in [
        ({"legacyNames": "yes"}, "legacyNames is 'yes'. Write true or false."),
        ({"zip": 1}, "zip is 1. Write true or false."),
        ({"zip": True, "jobname": 5}, "jobname is 5. Give a text."),
        ({"legacyNames": True, "jobname": "!!"}, "has no letter from a to z and no digit. Give a jobname."),
    ]:
        (problem,) = problems_of(config_of(tmp_path / "out", **config, **keys))
        assert sentence in problem
