"""`make demo-queue`: an application puts jobs on a queue of Azure Storage, and workers here take them.

The queue is Azurite, the emulator from npm: no account is needed, and all stays on this machine. The workers
are killed in the middle; the jobs are finished all the same, each once.

    AZURITE_QUEUE=PATH python demo/cloud_queue.py
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from job_orchestration.jobs import AzureQueueLauncher, JobManager, ResultsFileStore

KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The key of everybody's Azurite; it is no secret."""
TASK = """\
import time
from pathlib import Path


class CountGenes:
    def __init__(self, config):
        self.config = config

    def run(self):
        time.sleep(1)
        return len(Path(self.config["geneset"]).read_text().split())
"""
OPTIONS = ("--skipApiVersionCheck", "--disableTelemetry", "--silent")
JOBS = 6


def main() -> int:
    """Run the demo; return 0 if every job completed."""
    azurite = os.environ.get("AZURITE_QUEUE", "azurite-queue")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "count_genes.py").write_text(TASK)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [name, os.environ.get("PYTHONPATH")]))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        queue = subprocess.Popen([azurite, "--queuePort", str(port), "--location", name, *OPTIONS])
        os.environ["QUEUECONNECTIONSTRING"] = (
            f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={KEY};"
            f"QueueEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
        )
        try:
            wait_for(port)
            return run_jobs(ResultsFileStore(folder / "jobs", create_if_missing=True))
        finally:
            queue.terminate()
            queue.wait()


def run_jobs(store: ResultsFileStore) -> int:
    """Submit jobs, run workers, kill them once, and wait for the last job."""
    manager = JobManager(store, AzureQueueLauncher(results_store=store))
    tasks = [{"id": "count", "method": "count_genes:CountGenes"}]
    for number in range(1, JOBS + 1):
        genes = [f"GENE{n}" for n in range(number)]
        manager.submit(genes, {"jobname": f"Job {number}", "tasks": tasks})
    print(f"{JOBS} jobs lie on the queue.")
    command = [sys.executable, "-m", "job_orchestration", "work", "--workspace", store.job_path]
    command += ["--from", "azure-queue", "--workers", "2"]
    workers = subprocess.Popen(command)
    while sum(map(store.has_results, store.list())) < 2:  # noqa: PLR2004 - of six
        time.sleep(0.2)
    workers.send_signal(signal.SIGKILL)
    workers.wait()
    print("The workers were killed. Others take over.")
    workers = subprocess.Popen(command)
    while not all(store.status(job).has_ended for job in store.list()):
        time.sleep(0.2)
    workers.terminate()
    workers.wait()
    for job in store.list():
        print(job, store.read_status(job), manager.results(job)["results"])
    return 0 if all(map(store.has_results, store.list())) else 1


def wait_for(port: int) -> None:
    """Wait until a port of this machine answers."""
    for _ in range(300):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("The emulator of the queue did not start within 30 s")


if __name__ == "__main__":
    sys.exit(main())
