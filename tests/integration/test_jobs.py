"""Jobs of an application in a real workspace: submitted, executed by a worker, steered, and read."""

from __future__ import annotations

import http.server
import json
import logging
import threading
import uuid
from pathlib import Path

import pytest

from job_orchestration import ConfigRefusedError, UsageError
from job_orchestration.jobs import (
    FsspecStore,
    JobExistsError,
    JobManager,
    JobNotFoundError,
    LocalLauncher,
    NullLauncher,
    ResultsFileStore,
    UrlLauncher,
    run_and_save,
)
from job_orchestration.jobs.launchers import LaunchError
from job_orchestration.jobs.running import JobFailedError
from tests.conftest import ROOT

TASK = """
import json, pathlib

class Count:
    def __init__(self, config):
        self.config = config

    def validate(self):
        return [] if self.config.get("x", 0) >= 0 else ["x must not be negative"]

    def run(self):
        genes = pathlib.Path(self.config["geneset"]).read_text().split()
        if self.config.get("fails") and not pathlib.Path(self.config["fails"]).exists():
            raise ValueError("as the test asked")
        with open(self.config["ran"], "a") as file:
            file.write("x")
        self.context.store.save_text("df_probs.tsv", "Entrez\\tProbability\\n1\\t0.5\\n")
        return {"genes": len(genes)}
"""


@pytest.fixture(autouse=True)
def own_tasks(tmp_path, monkeypatch):
    """A module with a task, importable in every process."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/own_job_tasks.py").write_text(TASK)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'modules'}:{ROOT}")
    for name in ("CALLBACK_URL", "JOBS_PATH", "JOB_PATH", "DATA_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(tmp_path):
    """The jobs of a new workspace."""
    return ResultsFileStore(tmp_path / "jobs", create_if_missing=True)


@pytest.fixture
def job_config(tmp_path):
    """Makes the parameters of a job of the task above."""

    def make(name, **more):
        tasks = [{"id": "count", "method": "own_job_tasks:Count"}]
        return {"jobname": name, "tasks": tasks, "maxAttempts": 1, "ran": str(tmp_path / "ran"), **more}

    return make


@pytest.fixture
def manager(store):
    """Jobs that wait until the test runs a worker."""
    return JobManager(store, LocalLauncher(results_store=store, workers=0))


# -- one job ----------------------------------------------------------------------------------------------


def test_a_job_goes_from_an_application_to_its_results(manager, store, job_config, tmp_path):
    job = manager.submit(["CCNO", "5'-NT"], job_config("My Job", callback_url=""))
    assert job.name == "my-job"
    assert (job.status_code, job.completed, job.status.message) == (202, False, "It waits for a worker.")
    assert manager.exists("My Job")
    assert job.job_config["jobname"] == "My Job"
    assert store.read_input_file("my job") == ["CCNO", "5'-NT"]
    assert store.job_submit_time("my-job")
    assert (store.workspace.path / "Output/my-job/inputs/my-job_geneset.txt").read_text() == "CCNO\n5'-NT\n"
    assert not (store.workspace.path / "Misc/jobs/my-job").exists()
    store.save_txt_results("my-job", "notes", "of the application")
    assert store.workspace.work()
    status = job.status
    assert (status.status, status.status_code, status.status_text) == ("completed", 200, "Completed")
    assert status.run_time_s > 0
    assert status.peak_memory_bytes > 0
    assert status.links == {"results": str(store.workspace.path / "Output/my-job")}
    found = job.results
    assert found["results"] == {"count.genes": 2}
    assert list(found["df_probs"]["Probability"]) == [0.5]
    assert (found["status"], found["has_results"]) == ("Completed", True), "the status is never one of before"
    assert store.read_txt_results("my-job", "notes") == "of the application"
    assert store.job_info_list() == {"my-job": store.read_job_info("my-job")}
    with pytest.raises(JobExistsError, match="inputs are fixed"):
        store.save_input_file("my-job", ["x"])
    assert manager.status("other").status_code == 404
    with pytest.raises(JobNotFoundError):
        manager.job("other")


def test_a_name_that_exists_is_refused_with_what_can_be_done(manager, store, job_config):
    manager.submit(["a"], job_config("one"))
    with pytest.raises(JobExistsError, match="Use another name, rerun"):
        manager.launch(["b"], job_config("ONE"))
    assert store.read_input_file("one") == ["a"]
    assert manager.launcher.launch("one") == 202, "to launch it again changes nothing"
    assert len(store.workspace.runs()) == 1


def test_a_refused_job_leaves_nothing_behind_and_every_problem_is_said(manager, store, job_config):
    with pytest.raises(ConfigRefusedError, match="x must not be negative"):
        manager.submit(["a"], job_config("bad", x=-1))
    with pytest.raises(UsageError, match="is empty"):
        manager.submit([], job_config("bad"))
    with pytest.raises(ConfigRefusedError) as caught:
        manager.submit(["a"], {"features": "x"})
    assert [problem.key for problem in caught.value.problems] == ["jobname", "net_type", "GSC"]
    assert not manager.exists("bad")
    assert len(store.workspace.runs()) == 0
    manager.submit(["a"], job_config("bad", x=1))


@pytest.mark.slow
def test_a_failed_job_is_said_to_have_failed_and_can_be_retried(manager, store, job_config, tmp_path):
    job = manager.submit(["a"], job_config("fails", fails=str(tmp_path / "mended")))
    assert not store.workspace.work()
    assert (job.status_code, job.status.status_text) == (500, "Failed")
    assert job.status.message == "It failed: ValueError: as the test asked"
    assert not store.has_results("fails")
    (tmp_path / "mended").touch()
    assert manager.retry("fails").status_code == 202
    assert store.workspace.work()
    assert job.completed
    again = manager.rerun("fails")
    assert again.name != "fails"
    assert manager.cancel(again.name).status == "cancelled"
    assert store.delete("fails", confirmation=True)
    assert not store.exists("fails")
    assert store.workspace.restore("fails").names == ("fails",)
    assert job.completed


def test_a_waiting_job_is_cancelled_and_only_an_ended_one_is_deleted(manager, store, job_config):
    job = manager.submit(["a"], job_config("waits"))
    with pytest.raises(UsageError, match="has not ended"):
        store.delete("waits", confirmation=True)
    assert manager.cancel("waits").status_code == 500
    assert job.status.status == "cancelled"
    assert [item["name"] for item in manager.cleanup("waits")][:1] == ["waits"]
    assert not manager.exists("waits")


def test_a_hundred_threads_that_submit_one_name_make_one_run(manager, store, job_config):
    outcomes, start = [], threading.Barrier(100)

    def submit(number):
        start.wait()
        try:
            manager.submit([f"gene{number}"], job_config("same"))
        except JobExistsError:
            outcomes.append(None)
        else:
            outcomes.append(number)

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [number for number in outcomes if number is not None]
    assert len(outcomes) == 100
    assert len(won) == 1
    assert store.workspace.runs().names == ("same",)
    assert store.read_input_file("same") == [f"gene{won[0]}"]


def test_a_launch_that_was_cut_is_made_up_for_by_the_next_one(manager, store, job_config):
    store.create("half")
    store.save_input_file("half", ["a", "b"])
    store.save_json_results("half", "job_config", job_config("half"))
    store.save_txt_results("half", "notes", "kept")
    assert manager.status("half").status_code == 201
    with pytest.raises(JobExistsError):
        manager.submit(["other"], job_config("half"))
    assert manager.start("half").status_code == 202
    store.settle("half")
    assert store.read_input_file("half") == ["a", "b"]
    assert store.read_txt_results("half", "notes") == "kept"
    assert store.workspace.path.joinpath("Output/half/saved/half_notes.txt").is_file()
    with pytest.raises(JobNotFoundError):
        manager.start("absent")
    with pytest.raises(JobNotFoundError):
        manager.launcher.launch("absent")


def test_many_launches_of_one_job_at_once_start_it_once(manager, store, job_config):
    store.create("one")
    store.save_input_file("one", ["a"])
    store.save_json_results("one", "job_config", job_config("one"))
    codes, start = [], threading.Barrier(8)

    def launch():
        start.wait()
        codes.append(LocalLauncher(results_store=store, workers=0).launch("one"))

    threads = [threading.Thread(target=launch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [202] * 8
    assert store.workspace.runs().names == ("one",)
    assert store.read_input_file("one") == ["a"]


@pytest.mark.slow
def test_a_job_that_begins_from_scratch_has_its_inputs(manager, store, job_config, tmp_path):
    job = manager.submit(["a", "b"], job_config("again", fails=str(tmp_path / "mended")))
    assert not store.workspace.work()
    (tmp_path / "mended").touch()
    manager.retry("again", fresh=True)
    assert store.workspace.work()
    assert job.results["results"] == {"count.genes": 2}
    assert store.read_input_file("again") == ["a", "b"]
    assert job.job_config["jobname"] == "again"


def test_an_update_carries_the_status_into_a_store_elsewhere(store, job_config):
    pytest.importorskip("fsspec")
    remote = FsspecStore(f"memory://{uuid.uuid4().hex}")
    manager = JobManager(remote, LocalLauncher(results_store=remote, workspace=store, workers=0))
    manager.submit(["a"], job_config("far"))
    assert manager.status("far").status_code == 201
    assert manager.update("far").status_code == 202
    assert manager.status("far").status == "to_run"
    store.run("far").cancel()
    assert manager.status("far").status == "to_run", "it has what was last reported"
    assert manager.retry("far").status == "to_run"
    assert manager.cancel("far").status == manager.status("far").status == "cancelled"


def test_an_id_is_one_that_no_job_has(manager, store, monkeypatch):
    letters = iter("a" * 8 + "b" * 8)
    monkeypatch.setattr("secrets.choice", lambda _: next(letters))
    store.create("my-set-aaaaaaaa")
    assert manager.generate_job_id("My Set") == "my-set-bbbbbbbb"


def test_settings_of_an_application_are_defaults_below_those_of_a_job(store, job_config, monkeypatch):
    monkeypatch.setenv("CALLBACK_URL", "http://127.0.0.1:9/environment")
    manager = JobManager(store, LocalLauncher(results_store=store, workers=0))
    manager.submit(["a"], job_config("env"))
    assert store.run("env").config["callbackUrl"] == "http://127.0.0.1:9/environment/{run}"
    manager.set_config({"CALLBACK_URL": "http://127.0.0.1:9/set", "NOTIFY_ADDRESS": ""})
    assert (manager.update_url, manager.notify_address) == ("http://127.0.0.1:9/set", None)
    manager.submit(["a"], job_config("set"))
    assert store.run("set").config["callbackUrl"] == "http://127.0.0.1:9/set/{run}"
    manager.submit(["a"], job_config("own", job_url="http://127.0.0.1:9/own"))
    assert store.run("own").config["callbackUrl"] == "http://127.0.0.1:9/own"
    (store.workspace.path / "workspace.yaml").write_text("callbackUrl: http://127.0.0.1:9/{name}\n")
    manager.update_url = None
    manager.submit(["a"], job_config("workspace"))
    assert store.run("workspace").config["callbackUrl"] == "http://127.0.0.1:9/{name}"
    assert manager.job_path == store.job_path
    assert manager.status_codes[504] == "Timeout"


# -- executed here ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_local_launcher_never_waits_and_its_worker_runs_the_job(store, job_config):
    launcher = LocalLauncher(results_store=store)
    job = JobManager(store, launcher).submit(["a"], job_config("now"))
    try:
        assert store.run("now").wait(timeout=60).status == "completed"
    finally:
        launcher.close()
    assert job.completed


@pytest.mark.slow
def test_run_and_save_executes_a_job_once_and_leaves_its_results_in_any_store(tmp_path, job_config, caplog):
    pytest.importorskip("fsspec")
    remote = FsspecStore(f"memory://{uuid.uuid4().hex}")
    target = ResultsFileStore(tmp_path / "jobs", create_if_missing=True)
    manager = JobManager(remote, NullLauncher())
    job = manager.submit(["a", "b"], job_config("far"))
    assert manager.launcher.launched == ["far"]
    assert job.status_code == 201
    caplog.set_level(logging.INFO)
    logger = logging.getLogger("of the test")
    assert run_and_save("far", remote, tmp_path, logger, workspace=target) is True
    assert run_and_save("far", remote, tmp_path, workspace=target) is True
    assert (tmp_path / "ran").read_text() == "x"
    assert caplog.messages == ["far: started", "far: It completed."]
    assert job.completed
    assert list(job.results["df_probs"]["Probability"]) == [0.5]
    assert remote.status("far").run_time_s == target.status("far").run_time_s
    with pytest.raises(JobNotFoundError):
        run_and_save("absent", remote, workspace=target)
    manager.submit(["a"], job_config("fails", fails=str(tmp_path / "never")))
    with pytest.raises(JobFailedError, match="as the test asked"):
        run_and_save("fails", remote, workspace=target)
    assert remote.status("fails").status_code == 500, "a failure is reported too"


# -- executed elsewhere -----------------------------------------------------------------------------------


class Answers(http.server.ThreadingHTTPServer):
    """Answers the requests of a test one after the other: codes, or `None` to hang up."""

    def __init__(self, answers):
        self.answers = list(answers)
        self.seen = []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/api/enqueue"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((dict(self.headers), json.loads(body)))
        answer = self.server.answers.pop(0)
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer)
        if answer == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


@pytest.fixture
def listener():
    """Starts servers that answer as the test says."""
    servers = []

    def start(*answers):
        servers.append(Answers(answers))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_job_is_launched_by_one_post_of_json(listener):
    server = listener(202)
    assert UrlLauncher(server.url, token="secret").launch("My Job") == 202
    ((headers, body),) = server.seen
    assert body == {"jobnames": ["my-job"]}
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Bearer secret"


@pytest.mark.parametrize("passing", [[None], [503, 429, 500], [None, 409]])
def test_what_passes_is_tried_again_and_a_job_that_was_started_meanwhile_counts(listener, passing):
    server = listener(*passing, 202)
    assert UrlLauncher(server.url, pause=0.01).launch("a") == 202
    assert len(server.seen) == (2 if 409 in passing else len(passing) + 1)


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([404], JobNotFoundError),
        ([409], JobExistsError),
        ([400], LaunchError),
        ([302], LaunchError),
        ([503] * 4, LaunchError),
    ],
)
def test_an_answer_that_stays_is_raised(listener, answers, error):
    server = listener(*answers)
    with pytest.raises(error):
        UrlLauncher(server.url, pause=0.01).launch("a")
    assert len(server.seen) == len(answers)


def test_a_launch_that_failed_keeps_the_job_to_be_launched_again(store, listener, job_config):
    server = listener(503, 503, 202)
    manager = JobManager(store, UrlLauncher(server.url, retries=1, pause=0.01))
    with pytest.raises(LaunchError, match="Launch it again"):
        manager.submit(["a"], job_config("later"))
    assert manager.status("later").status_code == 201
    manager.start("later")
    assert [body for _, body in server.seen] == [{"jobnames": ["later"]}] * 3


@pytest.mark.slow
def test_another_instance_starts_what_an_application_has_prepared(tmp_path):
    pytest.importorskip("fastapi", reason="the extra [web] is not installed")
    from tests.integration.web_server import WebServer

    (tmp_path / "served").mkdir()
    server = WebServer(tmp_path / "served")
    try:
        store = ResultsFileStore(server.root)
        launcher = UrlLauncher(f"http://127.0.0.1:{server.port}/api/enqueue", token=server.token)
        manager = JobManager(store, launcher)
        tasks = {"tasks": [{"id": "one", "method": "web_tasks:Picky"}]}
        job = manager.submit(["a"], {"jobname": "My Job", "x": 1, **tasks})
        assert launcher.launch("my-job") == job.status_code == 202
        with pytest.raises(ConfigRefusedError, match="x must be positive"):
            manager.submit(["a"], {"jobname": "bad", "x": -1, **tasks})
        assert not manager.exists("bad")
        assert store.workspace.runs().names == ("my-job",)
        assert store.read_input_file("my-job") == ["a"]
        with pytest.raises(JobNotFoundError):
            launcher.launch("absent")
    finally:
        server.close()


def test_only_addresses_of_the_web_are_called():
    with pytest.raises(UsageError, match="cannot be called"):
        UrlLauncher("file:///etc/passwd")


# -- GenePlexus -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_gene_set_of_the_web_application_becomes_its_results(store, request):
    pytest.importorskip("geneplexus")
    data = request.getfixturevalue("data")
    genes = Path(data, "genesets/alpha.txt").read_text().split()
    launcher = LocalLauncher(data, store, workers=0)
    manager = JobManager(store, launcher)
    parameters = {"net_type": "BioGRID", "features": "Embedding", "GSC": "GO", "jobname": "PCD genes"}
    with pytest.raises(ConfigRefusedError, match="SixSpeciesN2V"):
        manager.submit(genes, parameters)
    parameters |= {"net_type": "STRING", "features": "SixSpeciesN2V", "GSC": "Combined", "figures": []}
    job = manager.submit(genes, parameters)
    assert run_and_save("PCD genes", store, data) is True
    assert job.completed
    found = job.results
    assert len(found["df_probs"]) > 0
    assert found["input_count"] == len(genes)
