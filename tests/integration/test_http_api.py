"""The HTTP API of a real server: jobs are submitted, watched, steered and fetched, as its documents say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading

import pytest

from job_orchestration import Workspace
from tests.conftest import LIMIT, ROOT, wait_until
from tests.integration.web_server import WebServer, events_of

fastapi = pytest.importorskip("fastapi", reason="the extra [web] is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = WebServer(tmp_path_factory.mktemp("web"))
    server.work()
    yield server
    server.close()


def test_a_submitted_job_is_watched_to_its_end_and_its_files_are_fetched(server):
    answer = server.submit("watched", x=5, inputs={"genes": ["a", "b"]})
    assert (answer.code, answer.json["jobs"][0]["jobname"]) == (202, "watched")
    events = events_of(server.get("/jobs/watched/events").data)  # ends with the job
    assert (events[-1][0], events[-1][1]["state"], events[-1][1]["status_code"]) == ("end", "completed", 200)
    job = server.get("/jobs/watched").json
    assert (job["status"], job["progress"], job["run"]) == ("Completed", 1.0, "watched")
    assert job["run_time"] > 0
    assert b"quick as a flash" in server.get(job["links"]["log"]).data
    files = server.get(job["links"]["files"]).json["files"]
    assert {"inputs/genes.txt", "log.log", "one/answer.json"} <= {*files}
    assert server.get("/jobs/watched/files/inputs/genes.txt").data == b"a\nb\n"
    found = server.get("/jobs/watched/files/one/answer.json")
    assert found.json == {"x": 5}
    assert found.headers["Content-Disposition"].startswith("attachment")


def test_a_log_is_followed_until_the_job_has_ended(server):
    server.submit("followed", "Waits")
    wait_until(lambda: b"waiting" in server.get("/jobs/followed/log").data)
    found = []
    reader = threading.Thread(target=lambda: found.append(server.get("/jobs/followed/log?follow=true")))
    reader.start()
    wait_until(lambda: server.get("/jobs/followed").json["progress"] == 0.25)
    assert not found
    (server.modules / "gate").touch()
    reader.join(LIMIT)
    assert b"waiting" in found[0].data
    assert server.ended("followed")[0]["state"] == "completed"


def test_jobs_in_config_sources_are_queued_by_name_each_with_a_code_of_its_own(server):
    for name in ("named", "also", "third", "broken"):
        server.drop(name, **({"tasks": []} if name == "broken" else {}))
    answer = server.post("/api/enqueue", {"jobnames": ["named", "also", "broken", "absent"]})
    assert answer.code == 207
    codes = {job["jobname"]: job["status_code"] for job in answer.json["jobs"]}
    assert codes.pop("named") in {200, 202}
    assert codes.pop("also") in {200, 202}
    assert codes == {"broken": 400, "absent": 404}
    refused = next(job for job in answer.json["jobs"] if job["jobname"] == "broken")
    assert refused["problems"][0]["key"] == "tasks"
    assert server.post("/api/enqueue", {"jobname": "third"}).code == 202
    server.ended("named", "also", "third")
    taken = server.post("/api/enqueue", {"jobname": "third"})
    assert (taken.code, taken.headers["Content-Type"]) == (409, "application/problem+json")
    assert "/jobs/third/rerun" in taken.json["detail"]
    assert server.post("/api/enqueue", {"jobid": "absent"}).code == 404


def test_all_problems_of_a_config_are_answered_at_once_and_nothing_is_left(server):
    body = {
        "jobname": "../up",
        "config": {
            "notify": {"command": "reboot"},
            "pathToTasks": "/home/you/tasks",
            "genesetFile": "~/genes.txt",
            "deep": [{"er": "a/../../b"}],
            "secret": "${HOME}",
            "tasks": [{"id": "one", "method": "os:system"}],
        },
    }
    answer = server.post("/api/enqueue", body)
    assert answer.code == 400
    keys = {problem["key"] for problem in answer.json["problems"]}
    assert keys == {
        *("notify", "pathToTasks", "genesetFile", "deep[0].er", "secret", "tasks[0].method", "jobname")
    }
    picky = server.submit("picky", "Picky", x=-1)
    assert (picky.code, picky.json["problems"][0]["what"]) == (400, "one: x must be positive")
    assert server.get("/jobs?name=picky").json["total"] == 0
    assert server.submit("watched_again").code == 202
    assert server.submit("watched_again", x=2).code == 409


def test_bodies_that_make_no_sense_are_refused_with_every_reason(server):
    for body in (
        {},
        {"jobname": 5},
        {"jobnames": []},
        {"jobname": "a", "jobnames": ["b"]},
        {"config": []},
        [],
        7,
    ):
        answer = server.post("/api/enqueue", body)
        assert (answer.code, answer.headers["Content-Type"]) == (400, "application/problem+json"), body
        assert answer.json["problems"], body


def test_a_job_is_cancelled_retried_rerun_and_deleted(server):
    assert server.submit("steered", "Fails", maxAttempts=1).code == 202
    assert server.ended("steered")[0]["status_code"] == 500
    assert "as the test asked" in server.get("/jobs/steered").json["message"]
    assert server.post("/jobs/steered/cancel").code == 409
    assert server.post("/jobs/steered/retry", {"fresh": True}).json["state"] in {"to_run", "running"}
    server.ended("steered")
    again = server.post("/jobs/steered/rerun").json
    assert again["run"] != "steered"
    server.ended(again["run"])
    assert server.ask("DELETE", "/jobs/steered").code == 204
    assert server.get("/jobs/steered").code == 404
    assert server.ask("DELETE", "/jobs/steered").code == 404
    assert Workspace(server.root).restore("steered").names == ("steered",)


def test_a_posted_job_is_shown_or_queued_under_its_name(server):
    body = {"config": {"tasks": [{"id": "one", "method": "web_tasks:Quick"}]}, "inputs": {"genes": "a"}}
    assert server.post("/jobs/posted", body).code == 202
    server.ended("posted")
    assert server.post("/jobs/posted").json["status"] == "Completed"
    assert server.post("/jobs/posted", body).code == 409
    assert server.post("/jobs/absent").code == 404
    assert server.post("/jobs/a%2Fb", body).code == 400


def test_a_list_is_filtered_and_cut(server):
    for number in range(3):
        server.submit(f"listed-{number}", x=number)
    server.ended(*(f"listed-{number}" for number in range(3)))
    found = server.get("/jobs?name=listed-*&filter=x%20%3E%200&status=completed&limit=1&offset=1").json
    assert (found["total"], [job["run"] for job in found["jobs"]]) == (2, ["listed-2"])
    assert server.get("/jobs?status=nonsense").code == 400
    assert server.get("/jobs?limit=0").code == 400


@pytest.mark.slow
def test_a_job_is_executed_now_without_a_worker_and_the_seeds_calls_work_as_written(tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    server = WebServer(tmp_path, "--functions")
    try:
        for name in ("8e3jt5kz", "second", "third"):
            server.drop(name)
        script = f"""
            LOCALURL='http://localhost:{server.port}/api'
            curl --request GET --location $LOCALURL/testfn \\
             --header 'Content-Type: application/json' \\
             --data-raw '{{"jobname": "8e3jt5kz"}}'
            echo
            curl -X POST ${{LOCALURL}}/enqueue -H "Content-Type: application/json" \\
             -d '{{"jobname": "second"}}'
            echo
            curl --request POST --location $LOCALURL \\
             --header 'Content-Type: application/json' \\
             --data-raw '{{"jobnames": ["third"]}}'
            echo
            curl -X POST $LOCALURL -H "Content-Type: application/json" -H "x-functions-key: {server.token}" \\
              -d '{{"jobid":"somejobid"}}'
            echo
            curl $LOCALURL/check
        """
        done = subprocess.run(
            ["bash", "-c", script], capture_output=True, text=True, timeout=LIMIT, check=True
        )
        ran, second, third, absent, check = map(json.loads, done.stdout.splitlines())
        assert (ran["jobname"], ran["status_code"]) == ("8e3jt5kz", 200)
        assert [one["jobs"][0]["status_code"] for one in (second, third)] == [202, 202]
        assert absent["status"] == 404
        assert check == {"status": "ok"}
        config = {"config": {"tasks": [{"id": "one", "method": "web_tasks:Quick"}]}}
        assert server.ask("POST", "/api/enqueue", config, {"Authorization": None}).code == 401
        assert server.ask("GET", "/jobs", None, {"Authorization": None}).code == 401
        wrong = {"Authorization": None, "X-Functions-Key": "wrong"}
        assert server.ask("POST", "/api/enqueue", {"jobname": "second"}, wrong).code == 401
    finally:
        server.close()


def test_the_document_describes_each_route_with_examples_and_the_metrics_count(server):
    document = server.get("/openapi.json").json
    assert {"/api/enqueue", "/api/testfn", "/jobs", "/jobs/{name}", "/jobs/{name}/files/{path}"} <= {
        *document["paths"]
    }
    assert "get" not in document["paths"]["/api/testfn"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["description"], (path, method)
            assert "422" not in operation["responses"], (path, method)
    assert document["components"]["schemas"]["EnqueueRequest"]["examples"][0] == {"jobnames": ["8e3jt5kz"]}
    text = server.get("/metrics").data.decode()
    assert 'job_orchestration_jobs{state="completed"} ' in text
    assert 'job_orchestration_http_requests_total{method="POST",code="202"} ' in text
    assert server.ask("GET", "/healthz", None, {"Authorization": None}).json == {"status": "ok"}


ODD = [
    "",
    "a",
    "..",
    "%00",
    "%FF%FE",
    "%C3%A9",
    "x" * 300,
    "{}",
    "null",
    "-1",
    "1e400",
    "a%2Fb",
    "%0D%0A",
    "*",
    "[",
    "'",
]
BODIES = [
    *(
        None,
        b"",
        b"null",
        b"[]",
        b"{",
        b"7",
        b'"x"',
        b"NaN",
        b'{"a": 1e999}',
        {"config": None},
        {"config": {}},
    ),
    *({"config": {"tasks": 5}}, {"config": {"tasks": [None]}}, {"config": {"sweep": {}}}, {"jobname": ""}),
    *(
        {"config": {"tasks": []}, "inputs": {"": 1}},
        {"jobnames": ["", "\ud800"]},
        {"fresh": "perhaps"},
        {"task": "no"},
    ),
    {
        "config": {"outputDir": "../x", "tasks": [{"id": "a", "method": "web_tasks:None"}]},
        "inputs": {"a": None},
    },
]


@pytest.mark.slow
def test_odd_requests_get_only_answers_that_the_document_has(server):
    document = server.get("/openapi.json").json
    asked = 0
    for path, operations in document["paths"].items():
        if path.endswith(("testfn", "log", "events")):
            continue
        for method, operation in operations.items():
            known = {int(code) for code in operation["responses"]}
            paths = (
                [re.sub(r"\{\w+\}", lambda _, v=value: v, path) for value in ODD] if "{" in path else [path]
            )
            paths += [
                f"{path}?{name}={value}"
                for name in ("limit", "filter", "status", "name")
                for value in ODD[1:]
            ] * (path == "/jobs")
            for at in paths:
                for body in BODIES if method == "post" else [None]:
                    code = server.ask(method.upper(), at, body).code
                    assert code < 500, (method, at, body)
                    assert code in known, (method, at, body)
                    asked += 1
    assert asked > 500


def test_serve_says_what_to_install_and_what_is_wrong_with_its_arguments(cli, tmp_path):
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "fastapi.py").write_text("raise ImportError('none', name='fastapi')\n")
    done = cli("serve", check=2, env={"PYTHONPATH": f"{tmp_path / 'modules'}:{ROOT}"})
    assert "pip install 'job-orchestration[web]'" in done.stderr
    assert (
        "for this machine only"
        in cli("serve", "--functions", "--bind", "0.0.0.0", "--port", "0", check=2).stderr
    )
    assert "is not a port" in cli("serve", "--port", "70000", check=2).stderr


@pytest.mark.slow
def test_a_thousand_idle_event_streams_cost_little(tmp_path, show_figure):
    import resource
    import socket

    import psutil

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    server = WebServer(tmp_path)
    streams = []
    try:
        for number in range(10):
            assert server.submit(f"idle-{number}").code == 202
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        for number in range(1000):
            stream = socket.create_connection(("127.0.0.1", server.port), LIMIT)
            head = f"GET /jobs/idle-{number % 10}/events HTTP/1.1\r\nHost: localhost\r\n"
            stream.sendall(f"{head}Authorization: Bearer {server.token}\r\n\r\n".encode())
            assert stream.recv(4096).startswith(b"HTTP/1.1 200")
            streams.append(stream)
        assert b"job_orchestration_event_streams 1000\n" in server.get("/metrics").data
        cost = process.memory_info().rss - before
        show_figure(f"1,000 idle event streams: {cost / 2**20:.0f} MiB")
        assert cost < 200 * 2**20
        server.work("--until-idle").wait(LIMIT)
        for stream in streams:
            stream.settimeout(LIMIT)
            data = b""
            while b"event: end" not in data:
                data += stream.recv(65536)
        wait_until(lambda: b"job_orchestration_event_streams 0\n" in server.get("/metrics").data)
    finally:
        for stream in streams:
            stream.close()
        server.close()
