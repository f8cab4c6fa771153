"""Jobs through a queue of Azure Storage: a real Azurite, real workers, kills. Skipped where there is none."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from job_orchestration import UsageError
from job_orchestration.jobs import (
    AzureQueueLauncher,
    JobManager,
    JobNotFoundError,
    LocalLauncher,
    ResultsFileStore,
    azure_queue,
)
from job_orchestration.jobs.queue_consumer import QueueConsumer
from job_orchestration.runs import journal
from tests.conftest import ROOT

pytest.importorskip("azure.storage.queue")

KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The well-known key of Azurite."""
OPTIONS = ("--skipApiVersionCheck", "--disableTelemetry", "--silent")
TASK = """
import pathlib, time

class Count:
    def __init__(self, config):
        self.config = config

    def run(self):
        gate = self.config.get("gate")
        while gate and not pathlib.Path(gate).exists():
            time.sleep(0.02)
        return len(pathlib.Path(self.config["geneset"]).read_text().split())
"""
WORK = """
import sys
from job_orchestration.jobs.queue_work import work_from_queue
work_from_queue(sys.argv[1], "azure-queue", print, workers=2, lease=4, pause=1)
"""


def program():
    """The program of Azurite, as npm or ``make demo-queue`` installs it; `None` if there is none."""
    own = ROOT / ".azurite/node_modules/.bin/azurite-queue"
    return os.environ.get("AZURITE_QUEUE") or shutil.which("azurite-queue") or (own if own.exists() else None)


@pytest.fixture(scope="module")
def azurite(tmp_path_factory):
    """The connection string of a running Azurite."""
    found = program()
    if found is None:
        pytest.skip("azurite is not installed: make demo-queue installs it, with npm")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("azurite")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [found, "--queuePort", str(port), "--location", folder, *OPTIONS],
            stdout=log,
            stderr=log,
        )
    where = f"http://127.0.0.1:{port}/devstoreaccount1"
    address = f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={KEY}"
    yield f"{address};QueueEndpoint={where};"
    process.terminate()
    process.wait()


@pytest.fixture
def connection(azurite, eventually, monkeypatch):
    """The same, once it answers, without any queue."""
    from azure.core.exceptions import AzureError
    from azure.storage.queue import QueueServiceClient

    service = QueueServiceClient.from_connection_string(azurite, retry_total=0)

    def queues():
        try:
            return [[queue.name for queue in service.list_queues()]]
        except AzureError:
            return None

    for name in eventually(queues, what="Azurite answers")[0]:
        service.delete_queue(name)
    monkeypatch.setenv("QUEUECONNECTIONSTRING", azurite)
    return azurite


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The jobs of a new workspace, and a task."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/own_queue_tasks.py").write_text(TASK)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'modules'}:{ROOT}")
    return ResultsFileStore(tmp_path / "jobs", create_if_missing=True)


def config_of(name, **more):
    return {"jobname": name, "tasks": [{"id": "count", "method": "own_queue_tasks:Count"}], **more}


def left_in(name):
    """The messages of a queue that lie on it or are leased."""
    return azure_queue.connect("", name).get_queue_properties().approximate_message_count


def consumer_of(store, lines, **more):
    return QueueConsumer("", LocalLauncher(results_store=store, workers=0), lines.append, **more)


@pytest.mark.slow
def test_fifty_jobs_outlive_killed_workers_and_poison_is_set_aside(store, connection, eventually, tmp_path):
    manager = JobManager(store, AzureQueueLauncher(results_store=store))
    for number in range(50):
        manager.submit([f"g{n}" for n in range(number + 1)], config_of(f"job-{number}"))
    assert left_in("jobprocessing") == 50
    client = azure_queue.connect("")
    client.send_message("!!!")
    client.send_message(azure_queue.text_of("absent"))
    client.send_message(azure_queue.text_of("job-0"))

    def start():
        command = [sys.executable, "-c", WORK, store.job_path]
        with (tmp_path / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    chance, processes = random.Random(7), [start(), start()]
    for goal in (5, 15, 25, 35):
        eventually(
            lambda goal=goal: len(store.workspace.runs(status="completed")) >= goal, what=f"{goal} jobs"
        )
        victim = processes.pop(chance.randrange(2))
        os.killpg(victim.pid, signal.SIGKILL)
        victim.wait()
        processes.append(start())
    eventually(
        lambda: left_in("jobprocessing") == 0, what=f"an empty queue; {(tmp_path / 'log').read_text()}"
    )
    for process in processes:
        process.terminate()
        process.wait()
    assert sorted(store.list()) == sorted(f"job-{number}" for number in range(50))
    for number in range(50):
        run = store.run(f"job-{number}")
        assert run.result_of("count") == number + 1
        events = [
            type(entry.event).__name__
            for entries in journal.read(str(run.folder)).values()
            for entry in entries
        ]
        assert (events.count("TaskFinished"), events.count("Completed")) == (1, 1)
    aside = azure_queue.connect("", "jobprocessing-poison")
    found = [json.loads(message.content) for message in aside.receive_messages()]
    reasons = {record["message"]: record["reason"] for record in found}
    assert "names no job" in reasons.pop("!!!") or "cannot name a job" in str(found)
    assert "There is no job absent" in reasons.pop(azure_queue.text_of("absent"))
    assert (reasons, {record["receipts"] for record in found}) == ({}, {5})


@pytest.mark.slow
def test_a_lease_that_is_lost_in_the_middle_harms_nothing(store, connection, eventually, tmp_path):
    gate = tmp_path / "gate"
    JobManager(store, AzureQueueLauncher()).submit(["a"], config_of("slow", gate=str(gate)))
    first, second = [], []
    late, other = consumer_of(store, first, lease=1), consumer_of(store, second, lease=60)
    with store.workspace.up():
        assert eventually(late.turn)
        assert late.jobs == ["slow"]
        eventually(lambda: other.turn() and other.jobs, what="the lease ends, and the other one gets it")
        eventually(lambda: late.turn() or first[-1].startswith("The lease of slow was lost"))
        assert late.jobs == []
        gate.touch()
        store.run("slow").wait(timeout=60)
        eventually(lambda: other.turn() or not other.jobs)
    assert second[-1] == "slow: It completed."
    assert left_in("jobprocessing") == 0
    assert store.workspace.runs().names == ("slow",)


@pytest.mark.slow
def test_a_message_is_kept_until_its_job_has_ended_and_given_up_by_a_consumer_that_stops(store, connection):
    JobManager(store, AzureQueueLauncher()).submit(["a"], config_of("one"))
    lines = []
    consumer = consumer_of(store, lines)
    assert consumer.turn()
    assert not consumer.turn()
    assert left_in("jobprocessing") == 1, "the job waits"
    consumer.release()
    again = consumer_of(store, lines)
    assert again.turn(), "it is there at once, although the lease has not ended"
    assert store.workspace.work()
    again.turn()
    assert left_in("jobprocessing") == 0
    assert not again.turn()


@pytest.mark.slow
def test_work_from_a_queue_ends_when_it_is_idle_and_says_what_failed(store, connection, cli):
    manager = JobManager(store, AzureQueueLauncher())
    manager.submit(["a"], config_of("good"))
    done = cli("work", "--workspace", store.job_path, "--from", "azure-queue", "--until-idle")
    assert "good: It completed." in done.stdout + done.stderr
    manager.submit(["a"], config_of("bad", gate=7, maxAttempts=1))
    cli("work", "--workspace", store.job_path, "--from", "azure-queue", "--until-idle", check=1)
    assert manager.status("bad").status_code == 500
    cli("work", "--workspace", store.job_path, "--from", "elsewhere", check=2)


def test_a_launcher_of_a_queue_says_what_is_missing(store, monkeypatch):
    monkeypatch.delenv("QUEUECONNECTIONSTRING", raising=False)
    with pytest.raises(UsageError, match="Set QUEUECONNECTIONSTRING"):
        AzureQueueLauncher()
    with pytest.raises(UsageError, match="connection string"):
        AzureQueueLauncher("nonsense")


@pytest.mark.parametrize(
    "text",
    [
        *("8e3jt5kz", '{"jobname": "8e3jt5kz"}', '{"jobnames": ["8E3jt5kz"]}'),
        *("OGUzanQ1a3o=", azure_queue.text_of("8e3jt5kz")),
    ],
)
def test_messages_of_every_kind_of_sender_are_understood(text):
    assert azure_queue.jobs_in(text) == ["8e3jt5kz"]


@pytest.mark.parametrize(
    "text", ["", "!!!", "{}", "[]", '{"jobname": ""}', "[1]", "////", '{"jobnames": []}']
)
def test_a_message_that_names_no_job_is_said_to(text):
    with pytest.raises(UsageError):
        azure_queue.jobs_in(text)


@pytest.mark.slow
def test_only_jobs_that_are_in_the_store_are_put_on_the_queue(store, connection):
    with pytest.raises(JobNotFoundError):
        AzureQueueLauncher(results_store=store).launch("absent")
    assert left_in("jobprocessing") == 0
