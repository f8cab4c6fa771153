"""Jobs posted by many clients at once, while server, workers and delivery are killed; how long they wait."""

from __future__ import annotations

import http.client
import json
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest

from tests.conftest import LIMIT, wait_until
from tests.integration.web_server import WebServer

pytest.importorskip("fastapi", reason="the extra [web] is not installed")

RANKS = {"accepted": 0, "started": 1, "completed": 2}


class Receiver(ThreadingHTTPServer):
    """Records the callbacks of each job in the order in which they come."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Call)
        self.calls = {}
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class _Call(BaseHTTPRequestHandler):
    def do_POST(self):
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.calls.setdefault(call["jobname"], []).append((call["event"], call["status_code"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def post_until_taken(server, name, url):
    """Post a job as a patient client does, again and again while nothing answers."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        try:
            answer = server.submit(name, callbackUrl=url)
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
            continue
        assert answer.code in {202, 409}, answer.data
        return
    pytest.fail(f"{name} was never taken")


def kill_deliveries(server):
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "--deliver" in words and str(server.root) in words:
            process.kill()


@pytest.mark.slow
def test_no_job_and_no_callback_is_lost_when_server_workers_and_delivery_are_killed(tmp_path):
    receiver = Receiver()
    url = f"http://127.0.0.1:{receiver.server_port}/"
    server = WebServer(tmp_path, callbackHosts=["127.0.0.1:*"])
    names = [f"job-{number}" for number in range(100)]
    try:
        workers = [server.work(), server.work()]
        with ThreadPoolExecutor(20) as clients:
            posting = [clients.submit(post_until_taken, server, name, url) for name in names]
            for number in (20, 60):
                wait_until(lambda number=number: sum(one.done() for one in posting) >= number)
                server.kill(server.process)
                server.kill(workers.pop(0))
                kill_deliveries(server)
                server.start()
                workers.append(server.work())
            for one in posting:
                one.result()
        jobs = server.ended(*names)
        assert {job["state"] for job in jobs} == {"completed"}
        outbox = server.root / "Misc" / "outbox"

        def is_delivered():
            server.command("notify", "--deliver").wait(LIMIT)
            return not list(outbox.glob("*.json"))

        wait_until(is_delivered)
    finally:
        server.close()
        receiver.shutdown()
        receiver.server_close()
    for name in names:
        ranks = [RANKS[event] for event, _ in receiver.calls[name]]
        assert ranks == sorted(ranks), (name, receiver.calls[name])
        assert {*ranks} == {0, 1, 2}, (name, receiver.calls[name])
        assert receiver.calls[name][-1] == ("completed", 200)


@pytest.mark.bench
def test_a_client_among_twenty_waits_little_longer_than_one_alone(tmp_path, show_figure):
    server = WebServer(tmp_path)

    def seconds(name):
        began = time.monotonic()
        assert server.submit(name).code == 202
        return time.monotonic() - began

    try:
        seconds("warm")
        alone = statistics.median(seconds(f"alone-{number}") for number in range(15))
        with ThreadPoolExecutor(20) as clients:
            among = sorted(clients.map(seconds, [f"among-{number}" for number in range(100)]))
    finally:
        server.close()
    p95 = among[94]
    show_figure(f"POST /api/enqueue: median alone {alone * 1e3:.0f} ms, p95 of 20 clients {p95 * 1e3:.0f} ms")
    assert p95 < 10 * alone
