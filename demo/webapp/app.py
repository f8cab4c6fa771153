"""A web application that submits gene sets as jobs, receives their callbacks, and shows their results."""

import hmac
import html
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib import error, request
from urllib.parse import parse_qsl

API, PORT = "http://127.0.0.1:8765", 8766
TOKEN = Path(os.environ["JOB_ORCHESTRATION_WORKSPACE"], "Misc/serve/token").expanduser().read_text().strip()
SECRET = os.environ["CALLBACK_SECRET"].encode()
TASKS = {"load": "LoadGeneset", "run": "RunGenePlexus", "save": "SaveResults"}
CALLS: dict[str, list[dict[str, Any]]] = {}
FORM = '<form method="post"><input name="name"><textarea name="genes"></textarea><button>Submit</button>'


def ask(path: str, body: Any = None) -> bytes:
    """Ask the API; the answer of an error is its text as well."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    asked = request.Request(API + path, json.dumps(body).encode() if body else None, headers)  # noqa: S310
    with request.urlopen(asked, timeout=30) as answer:  # noqa: S310
        return bytes(answer.read())


def submit(name: str, genes: str) -> None:
    """Queue a job for a gene set."""
    tasks = [{"id": id_, "method": f"job_orchestration.geneplexus:{method}"} for id_, method in TASKS.items()]
    config = {"tasks": tasks, "figures": [], "callbackUrl": f"http://127.0.0.1:{PORT}/callbacks"}
    ask(f"/jobs/{name}", {"config": config, "inputs": {"genesetFile": genes.split()}})


def shown(name: str) -> str:
    """Return what is known of a job as HTML: its calls, and the genes that fit it best."""
    calls = CALLS.get(name, [])
    lines = ["{event}: {status} ({status_code}) {message}".format(**call) for call in calls]
    if calls and calls[-1]["event"] == "completed":
        files = json.loads(ask(f"/jobs/{name}/files"))["files"]
        table = next(path for path in files if path.endswith("df_probs.tsv"))
        lines += ["", *ask(f"/jobs/{name}/files/{table}").decode().splitlines()[:6]]
    return f"<h1>{html.escape(name)}</h1><pre>{html.escape(chr(10).join(lines))}</pre>"


class Handler(BaseHTTPRequestHandler):
    """Answers a person's browser, and the callbacks."""

    def do_GET(self) -> None:
        """Show the form or a job."""
        self.answer(200, FORM if self.path == "/" else shown(self.path.removeprefix("/jobs/")))

    def do_POST(self) -> None:
        """Take a form or a callback."""
        data = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.path == "/callbacks":
            signature = "sha256=" + hmac.new(SECRET, data, "sha256").hexdigest()
            if not hmac.compare_digest(signature, self.headers.get("X-Signature", "")):
                return self.answer(403, "Who are you?")
            CALLS.setdefault((call := json.loads(data))["jobname"], []).append(call)
            return self.answer(200, "Thank you.")
        form = dict(parse_qsl(data.decode()))
        try:
            submit(form["name"], form["genes"])
        except error.HTTPError as refused:
            return self.answer(400, f"<pre>{html.escape(refused.read().decode())}</pre>")
        return self.answer(303, "", {"Location": f"/jobs/{form['name']}"})

    def answer(self, code: int, text: str, headers: dict[str, str] | None = None) -> None:
        """Send an answer."""
        self.send_response(code)
        for header in {"Content-Type": "text/html; charset=utf-8", **(headers or {})}.items():
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(text.encode())


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
