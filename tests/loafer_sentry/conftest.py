"""A Sentry of our own: a server on loopback that keeps the envelopes which the SDK's real transport sends."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Envelopes:
    def __init__(self, port: int) -> None:
        self.dsn = f"http://key@127.0.0.1:{port}/1"
        self.raw: list[str] = []
        self.arrived = threading.Condition()

    def add(self, body: bytes) -> None:
        with self.arrived:
            self.raw.append(body.decode())
            self.arrived.notify_all()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for raw in self.raw for line in raw.splitlines() if '"exception"' in line]


@pytest.fixture
def sentry() -> Iterator[Envelopes]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            envelopes.add(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    envelopes = Envelopes(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield envelopes
    server.shutdown()
    server.server_close()
    thread.join()
