"""Servers for tests of notifications: one for HTTP, one for mail, one that never answers."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Web(HTTPServer):
    """Record all POST requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Posted)
        self.code = 200
        self.posted: list[dict] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Posted(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        found = {"path": self.path, "headers": dict(self.headers), "data": data, "json": json.loads(data)}
        self.server.posted.append(found)
        self.send_response(self.server.code)
        if self.server.code == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def do_GET(self) -> None:
        self.server.posted.append({"path": self.path, "method": "GET"})
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class _Mail(socketserver.ThreadingTCPServer):
    """Accept and record every mail."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Mailed)
        self.mails: list[str] = []
        self.logins: list[str] = []
        self.address = f"127.0.0.1:{self.server_address[1]}"


class _Mailed(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.say("220 here")
        while line := self.rfile.readline().decode().strip():
            word, _, rest = line.partition(" ")
            match word.upper():
                case "EHLO":
                    self.say("250-here", "250 AUTH PLAIN")
                case "AUTH":
                    self.server.logins.append(rest)
                    self.say("235 welcome")
                case "DATA":
                    self.say("354 go on")
                    text = ""
                    while (more := self.rfile.readline().decode()) != ".\r\n":
                        text += more
                    self.server.mails.append(text)
                    self.say("250 taken")
                case "QUIT":
                    self.say("221 bye")
                    return
                case _:
                    self.say("250 fine")

    def say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def web():
    """Serve HTTP; ``posted`` has the requests, ``code`` is the status of the answers."""
    return _serving(_Web())


def mail():
    """Serve SMTP; ``mails`` has the received mails."""
    return _serving(_Mail())


@contextmanager
def silence() -> Iterator[str]:
    """Yield the URL of a server that accepts connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
