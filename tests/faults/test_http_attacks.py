"""Attacks on the HTTP API, each through a real server; what a browser, a stranger or a task could try."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import threading
import time
from contextlib import contextmanager

import pytest

from tests.conftest import LIMIT, wait_until
from tests.integration.web_server import WebServer

pytest.importorskip("fastapi", reason="the extra [web] is not installed")

import uvicorn

from job_orchestration.diagnostics.errors import WorkspaceError
from job_orchestration.web import access_tokens, downloads, guard
from job_orchestration.web import server as server_module
from job_orchestration.web.guard import Access, Guard
from job_orchestration.web.metrics import Metrics
from job_orchestration.workspace import layout

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = WebServer(tmp_path_factory.mktemp("web"))
    server.work()
    assert server.submit("planted", "Plants").code == 202
    server.ended("planted")
    yield server
    server.close()


def request(server, line, *headers, body=b""):
    """Send a request as it stands; return the status line, the head and the body of the answer."""
    head = "\r\n".join([f"{line} HTTP/1.1", *headers, "Connection: close"])
    answer = server.raw(f"{head}\r\n\r\n".encode("latin-1") + body)
    top, _, data = answer.partition(b"\r\n\r\n")
    return int(top.split()[1]), top.decode("latin-1"), data


def own(server):
    return f"Host: 127.0.0.1:{server.port}", f"Authorization: Bearer {server.token}"


@pytest.mark.parametrize(
    "path",
    [
        "../../../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "/etc/passwd",
        "%2fetc%2fpasswd", "one/../../../workspace.yaml", "log.log/../../../workspace.yaml", "log.log%00.txt",
        "..\\..\\workspace.yaml", "%c0%ae%c0%ae/workspace.yaml", "link.txt", "etc/passwd",
        "pipe.txt", "journal/000001.jsonl",
        ".", "", "./log.log", "one", "../../Misc/serve/token",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_folder_of_a_run(server, path):
    code, _, data = request(server, f"GET /jobs/planted/files/{path}", *own(server))
    assert code in {400, 404}
    assert b"root:" not in data
    assert server.token.encode() not in data


def test_a_folder_that_becomes_a_link_between_look_and_open_leads_nowhere(tmp_path):
    from job_orchestration.workspace import safe_reads

    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (tmp_path / "run").mkdir()
    os.symlink(tmp_path / "outside", tmp_path / "run" / "one")
    for path in ("one/secret", "../outside/secret", "one//secret", "", "./x"):
        with pytest.raises(OSError), safe_reads.plain_file_below(str(tmp_path / "run"), path):  # noqa: PT011
            pass


def test_a_script_that_a_task_left_is_never_shown_as_one_and_its_name_adds_no_header(server):
    answer = server.get("/jobs/planted/files/script.html")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    odd = server.get("/jobs/planted/files/odd%22;%20%C3%A9=b.txt")
    assert (odd.code, odd.data) == (200, b"odd")
    expected = "attachment; filename=\"odd__ __b.txt\"; filename*=UTF-8''odd%22%3B%20%C3%A9%3Db.txt"
    assert odd.headers["Content-Disposition"] == expected
    assert not {"\r", "\n"} & {*downloads.disposition_of("a\r\nSet-Cookie: a=b.txt")}
    assert server.get("/jobs/planted/files/bad%0Aname").code == 404


@pytest.mark.parametrize(
    "name", ["x%0d%0aSet-Cookie:%20a=b", "%1b[2Jx", "%f0%9f%a6%84%ff", "a%00b", "%e2%80%ae"]
)
def test_a_name_with_control_characters_is_escaped_in_every_answer(server, name):
    code, head, data = request(server, f"GET /jobs/{name}", *own(server))
    assert code == 404
    assert "set-cookie" not in head.lower()
    assert all(character.isprintable() for character in json.loads(data)["detail"])


@pytest.mark.parametrize(
    "name", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[", "localhost@evil"]
)
def test_a_name_that_the_server_does_not_have_is_refused_before_the_token_counts(server, name):
    code, _, _ = request(server, "GET /jobs", f"Host: {name}", own(server)[1])
    assert code in {400, 421}


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1", "file://"]
)
def test_another_origin_is_refused_whatever_it_knows(server, origin):
    for line in ("GET /jobs", "POST /jobs/planted/rerun", "OPTIONS /jobs"):
        code, head, _ = request(server, line, *own(server), f"Origin: {origin}")
        assert code == 403
        assert "access-control" not in head.lower()
    assert request(server, "GET /jobs", *own(server), f"Origin: http://127.0.0.1:{server.port}")[0] == 200


def test_a_form_of_a_foreign_site_changes_nothing(server):
    body = b'{"jobname": "planted"}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        given = (*own(server), f"Content-Length: {len(body)}", *([f"Content-Type: {kind}"] if kind else []))
        assert request(server, "POST /api/enqueue", *given, body=body)[0] == 415


def test_no_get_changes_a_state(server):
    for path in (
        "/api/enqueue",
        "/api/testfn",
        "/jobs/planted/cancel",
        "/jobs/planted/retry",
        "/jobs/planted/rerun",
    ):
        assert server.get(path).code in {404, 405}, path
    assert server.get("/jobs?name=planted*").json["total"] == 1


@pytest.mark.parametrize("token", ["wrong", "", "é", "x" * 5000])
def test_without_the_token_there_is_nothing_to_see(server, token):
    for line in ("GET /jobs", "GET /openapi.json", "GET /metrics", "DELETE /jobs/planted", "GET /nonsense"):
        code, head, _ = request(server, line, own(server)[0], f"Authorization: Bearer {token}")
        assert code == 401
        assert "www-authenticate: bearer" in head.lower()


def test_bombs_and_huge_bodies_are_refused_and_the_server_goes_on(server):
    def post(body):
        return server.ask("POST", "/api/enqueue", body).code

    def config_of(text):
        tasks = '[{"id": "a", "method": "web_tasks:Quick"}]'
        return f'{{"jobname": "bomb", "config": {{"tasks": {tasks}, "x": {text}}}}}'.encode()

    assert post(b"[" * 500_000) == 400
    assert post(config_of("[" * 900 + "]" * 900)) == 400
    assert post(config_of("1" * 5000)) == 400
    assert post(b"\xff\xfe{}") == 400
    assert post(config_of('"' + "x" * (1 << 20) + '"')) == 413
    huge = (*own(server), "Content-Type: application/json", "Content-Length: 99999999999")
    assert request(server, "POST /api/enqueue", *huge)[0] == 413
    chunked = (*own(server), "Content-Type: application/json", "Transfer-Encoding: chunked")
    body = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    assert request(server, "POST /api/enqueue", *chunked, body=body * 20)[0] == 413
    both = (*chunked, "Content-Length: 5")
    assert request(server, "POST /api/enqueue", *both, body=b"0\r\n\r\n")[0] == 400
    assert request(server, "GET /jobs", own(server)[0], *own(server))[0] == 400
    assert request(server, "GET /" + "x" * 100_000, *own(server))[0] in {400, 404, 414, 431}
    assert server.get("/healthz").code == 200
    assert server.get("/jobs?name=bomb").json["total"] == 0


def test_the_token_is_for_its_owner_only(tmp_path, monkeypatch):
    workspace = layout.prepare(str(tmp_path / "workspace"))
    monkeypatch.setattr(os, "umask", os.umask)
    before = os.umask(0)
    try:
        token = access_tokens.read_or_make(workspace)
    finally:
        os.umask(before)
    path = access_tokens.path_of(workspace)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert access_tokens.read_or_make(workspace) == token
    os.chmod(path, 0o640)
    with pytest.raises(WorkspaceError, match="may be read by others"):
        access_tokens.read_or_make(workspace)
    os.rename(path, f"{path}.old")
    os.symlink(f"{path}.old", path)
    with pytest.raises(WorkspaceError, match="may be read by others"):
        access_tokens.read_or_make(workspace)


# -- time: the limits are shortened, the protocol is the real one -------------------------------------------


@contextmanager
def guarded(**access):
    """Serve an application that reads a body, behind the guard, in a thread; yields port and server."""

    async def application(scope, receive, send):
        message = await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        piece = b"x" * 65536 if scope["path"] == "/endless" else message["body"]
        while True:
            more = scope["path"] == "/endless"
            await send({"type": "http.response.body", "body": piece, "more_body": more})
            if not more:
                return
            await asyncio.sleep(0)

    guard_ = Guard(application, Access("t" * 32, frozenset({"localhost"}), **access), Metrics())
    config = uvicorn.Config(
        guard_, http=server_module.ImpatientProtocol, ws="none", lifespan="off", log_level="critical"
    )
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)
        running = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(running.serve([listening])))
        thread.start()
        try:
            yield listening.getsockname()[1], running
        finally:
            running.should_exit = True
            running.force_exit = True
            thread.join(LIMIT)


HEAD = "Host: localhost\r\nAuthorization: Bearer " + "t" * 32 + "\r\n"


def test_a_client_that_drips_its_request_or_takes_no_answer_is_let_go(monkeypatch):
    monkeypatch.setattr(server_module, "_HEAD_LIMIT", 0.3)
    monkeypatch.setattr(guard, "_PIECE_LIMIT", 0.3)
    monkeypatch.setattr(server_module, "_SEND_LIMIT", 0.3)
    with guarded() as (port, serving):
        with socket.create_connection(("127.0.0.1", port), LIMIT) as drips:
            sent = 0
            with pytest.raises(OSError):  # noqa: PT011, PT012  # whichever says that it was closed
                while sent < 1000:
                    drips.sendall(b"G" if sent == 0 else b"E")
                    sent += 1
                    time.sleep(0.05)
        assert sent < 100
        with socket.create_connection(("127.0.0.1", port), LIMIT) as silent:
            assert silent.recv(100) == b""
        with socket.create_connection(("127.0.0.1", port), LIMIT) as half:
            half.sendall(
                f"POST / HTTP/1.1\r\n{HEAD}Content-Type: application/json\r\n".encode()
                + b"Content-Length: 9\r\n\r\n{"
            )
            assert half.recv(100).startswith(b"HTTP/1.1 408")
        with socket.create_connection(("127.0.0.1", port), LIMIT) as takes_nothing:
            takes_nothing.sendall(f"GET /endless HTTP/1.1\r\n{HEAD}\r\n".encode())
            wait_until(lambda: serving.server_state.connections, 10)
            wait_until(lambda: not serving.server_state.connections, 10)


def test_a_client_that_asks_too_often_has_to_wait_and_others_do_not():
    with guarded(rate=0.001, burst=5.0) as (port, _):
        codes = []
        for _ in range(8):
            with socket.create_connection(("127.0.0.1", port), LIMIT) as connection:
                connection.sendall(f"GET / HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n".encode())
                codes.append(int(connection.recv(4096).split()[1]))
        assert codes == [200] * 5 + [429] * 3
        with socket.socket() as other:
            other.bind(("127.0.0.2", 0))
            other.settimeout(LIMIT)
            other.connect(("127.0.0.1", port))
            other.sendall(f"GET / HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n".encode())
            assert other.recv(4096).startswith(b"HTTP/1.1 200")
