"""Job folders of the first web application: their files, their archive, and the command that made them."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("geneplexus", reason="the extra [geneplexus] is not installed")

import pandas as pd

from job_orchestration import UsageError, geneplexus
from job_orchestration.geneplexus import runner
from job_orchestration.results import legacy_names
from tests.geneplexus_bench import config_of, problems_of, run_configs, run_task
from tests.integration import listeners

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


# -- loading ------------------------------------------------------------------------------------------------


def test_a_run_its_task_and_a_job_folder_load_as_the_same_tables(job_folder, tmp_path):
    of_run = geneplexus.load(job_folder)
    of_task = geneplexus.load(job_folder / "save")
    job = tmp_path / "job"
    job.mkdir()
    for path in job_folder.glob(f"{JOB}_*"):
        shutil.copy(path, job)
    of_job = geneplexus.load(job)
    for name in ("df_probs", "df_edge", "df_convert_out"):
        table = getattr(of_run, name)
        pd.testing.assert_frame_equal(table, getattr(of_task, name))
        pd.testing.assert_frame_equal(table, getattr(of_job, name), check_dtype=False)
    assert sorted(of_run.df_sim["ID"]) == sorted(of_job.df_sim["ID"])
    assert of_run.info["positive_genes"] == of_job.info["positive_genes"]
    assert of_run.headline["positives"] == of_run.info["positive_genes"]
    assert of_run.df_probs["Entrez"].map(type).eq(str).all()
    network = of_run.network()
    assert set(network) == set(of_run.df_probs["Entrez"][:50]) == set(of_job.network())
    assert network.number_of_edges() == len(of_run.df_edge)


def test_what_has_no_results_is_said_and_so_are_the_results_there_are(job_folder, tmp_path):
    with pytest.raises(UsageError, match="has no results of GenePlexus"):
        geneplexus.load(tmp_path)
    with pytest.raises(UsageError, match="has no results Mouse-GO"):
        geneplexus.load(job_folder, results="Mouse-GO")
    spoilt = shutil.copytree(job_folder, tmp_path / "spoilt")
    (spoilt / "save" / "df_sim.tsv").unlink()
    with pytest.raises(UsageError, match=r"df_sim\.tsv cannot be read"):
        geneplexus.load(spoilt)


# -- the command of the first web application ---------------------------------------------------------------


def events_of(folder, event):
    paths = (folder / runner.OWN_WORKSPACE / "Output").glob("*/journal/*.jsonl")
    lines = [line for path in sorted(paths) for line in path.read_text().splitlines()]
    return [found for line in lines if (found := json.loads(line))["event"] == event]


@pytest.mark.slow
def test_the_containers_variables_run_a_job_and_post_its_status(data, config, tmp_path, monkeypatch):
    out = tmp_path / "jobs" / JOB
    variables = {
        "GENE_FILE": config["genesetFile"],
        "DATA_PATH": str(data),
        "JOBNAME": JOB,
        "GP_NET_TYPE": "STRING",
        "GP_FEATURES": "Embedding",
        "GP_GSC": "GO",
        "OUTPUT_FILE": str(out / "results.html"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with listeners.web() as server:
        monkeypatch.setenv("APP_POST_URL", f"{server.url}/jobs")
        assert runner.main([]) == 0
        info = read_as_the_web_application_did(out, JOB)
        assert (info["GSC"], info["features"]) == ("GO", "SixSpeciesN2V")
        assert (out / f"{JOB}_jobstatus").read_text() == "Completed"
        assert zipfile.is_zipfile(out / f"{JOB}.zip")
        assert "positive examples" in (out / "results.html").read_text()
        log = (out / "results.html.log").read_text()
        assert log.startswith("STARTED\n")
        assert "COMPLETED\n" in log
        loaded = geneplexus.load(JOB, out / runner.OWN_WORKSPACE)
        assert loaded.headline["positives"] == info["positive_genes"]

        assert runner.main(["-g", "DisGeNet"]) == 1
    assert (out / f"{JOB}_jobstatus").read_text() == "Failed"
    assert "Mondo is the nearest" in (out / "results.html.log").read_text()
    assert [(one["path"], one["json"]["status"]) for one in server.posted] == [
        (f"/jobs/{JOB}", 200),
        (f"/jobs/{JOB}", 500),
    ]
    monkeypatch.delenv("GENE_FILE")
    assert runner.main([]) == 2


@pytest.mark.slow
def test_a_killed_command_goes_on_from_its_checkpoint_when_it_is_given_again(data, config, tmp_path):
    out = tmp_path / "out"
    words = ["-o", out, "-n", "STRING", "-g", "GO", "-j", "My Job", "-d", data, "-cv", config["genesetFile"]]
    words = [str(word) for word in words]
    command = [sys.executable, "-m", "job_orchestration.geneplexus.runner", *words]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    while not events_of(out, "task_finished") and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert runner.main(words) == 0
    finished = [event["task"] for event in events_of(out, "task_finished")]
    assert sorted(finished) == ["load", "run", "save"]
    assert (out / "my-job_jobstatus").read_text() == "Completed"
