"""A real `serve` in a process of its own, workers beside it, and a client that sends what it is asked to."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from job_orchestration.config.yaml_writer import to_yaml
from job_orchestration.workspace import layout
from tests.conftest import LIMIT, ROOT, wait_until

TASKS = """
    import time
    from pathlib import Path


    class Quick:
        def __init__(self, config):
            self.config = config

        def run(self):
            print("quick as a flash")
            self.context.store.save_json("answer.json", {"x": self.config.get("x")})
            return {"x": self.config.get("x")}


    class Fails(Quick):
        def run(self):
            raise ValueError("as the test asked")


    class Picky(Quick):
        def validate(self):
            return [] if self.config.get("x", 0) > 0 else ["x must be positive"]


    class Waits(Quick):
        def run(self):
            print("waiting", flush=True)
            while not Path(__file__).with_name("gate").exists():
                self.context.progress(1, 4)
                time.sleep(0.02)


    class Plants(Quick):
        def run(self):
            import os

            folder = Path(self.config["outputDir"])
            os.symlink("/etc/passwd", folder / "link.txt")
            os.symlink("/etc", folder / "etc")
            os.mkfifo(folder / "pipe.txt")
            (folder / "script.html").write_text("<script>alert(1)</script>")
            (folder / "bad\\nname").write_text("odd")
            (folder / 'odd"; é=b.txt').write_text("odd")
"""


class Answer(NamedTuple):
    """An answer of the server."""

    code: int
    headers: http.client.HTTPMessage
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class WebServer:
    """A workspace with its server.

    Args:
        folder: where everything is made.
        words: more words for `serve`.
        defaults: values of ``workspace.yaml`` beside the allowed methods.
    """

    def __init__(self, folder: Path, *words: str, **defaults: Any) -> None:
        self.folder = folder
        self.root = Path(layout.prepare(str(folder / "workspace")).root)
        self.modules = folder / "modules"
        self.modules.mkdir()
        (self.modules / "web_tasks.py").write_text(textwrap.dedent(TASKS))
        values = {"allowedMethods": ["web_tasks:*"], **defaults}
        (self.root / "workspace.yaml").write_bytes(to_yaml(values))
        self._words = words
        self._started: list[subprocess.Popen[str]] = []
        self.port = 0
        self.start()

    @property
    def token(self) -> str:
        return (self.root / "Misc" / "serve" / "token").read_text().strip()

    def command(self, *words: str, output: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """Start the program."""
        path = os.pathsep.join([str(ROOT), str(self.modules), *filter(None, [os.environ.get("PYTHONPATH")])])
        process = subprocess.Popen(
            [sys.executable, "-m", "job_orchestration", *words, "--workspace", str(self.root)],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            process_group=0,
            env={**os.environ, "PYTHONPATH": path},
        )
        self._started.append(process)
        return process

    def start(self) -> None:
        """Start the server, at the same port as before."""
        self.process = self.command("serve", "--port", str(self.port), *self._words, output=subprocess.PIPE)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("Listening on http://"), line
        self.port = int(line.rpartition(":")[2])

    def work(self, *words: str) -> subprocess.Popen[str]:
        """Start a worker."""
        return self.command("work", *words)

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Kill a process that was started here."""
        process.send_signal(signal.SIGKILL)
        process.wait(LIMIT)

    def close(self) -> None:
        """End all processes."""
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill(process)
            if process.stdout is not None:
                process.stdout.close()

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, token: str = ""
    ) -> Answer:
        """Send a request and return the answer; a header that is `None` is left out."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        given: dict[str, Any] = {"Authorization": f"Bearer {token or self.token}"}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data is not None:
            given["Content-Type"] = "application/json"
        given |= headers or {}
        try:
            connection.request(
                method, path, data, {name: value for name, value in given.items() if value is not None}
            )
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def post(self, path: str, body: Any = None) -> Answer:
        return self.ask("POST", path, body)

    def submit(self, name: str, method: str = "Quick", **more: Any) -> Answer:
        """Submit a config with one task."""
        inputs = more.pop("inputs", {})
        config = {"tasks": [{"id": "one", "method": f"web_tasks:{method}"}], **more}
        return self.post("/api/enqueue", {"jobname": name, "config": config, "inputs": inputs})

    def raw(self, data: bytes, seconds: float = LIMIT) -> bytes:
        """Send bytes, and return all that comes until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), seconds) as connection:
            connection.sendall(data)
            found = b""
            with suppress(ConnectionResetError):
                while piece := connection.recv(65536):
                    found += piece
            return found

    def drop(self, name: str, **config: Any) -> None:
        """Put a config into ConfigSources."""
        values = {"outputDir": name, "tasks": [{"id": "one", "method": "web_tasks:Quick"}], **config}
        temporary = self.root / "ConfigSources" / f".{name}.tmp"
        temporary.write_bytes(to_yaml(values))
        temporary.rename(self.root / "ConfigSources" / f"{name}.yaml")

    def ended(self, *names: str) -> list[dict[str, Any]]:
        """Wait until jobs have ended, and return them."""
        jobs = [self.get(f"/jobs/{name}").json for name in names]
        wait_until(lambda: all(self.get(f"/jobs/{name}").json["ended_at"] for name in names))
        return [self.get(f"/jobs/{job['run']}").json for job in jobs]


def events_of(data: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Return the server-sent events in some bytes: kind and job."""
    found = []
    for block in data.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found
