"""A folder with a service in it, the command line as a user calls it there, and strangers' distributions beside it."""

from __future__ import annotations

import json
import logging
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from environment import forget_the_user

from loafer_core import MemoryQueue
from loafer_core.cli import main

CANARY = "canary"
"""Part of every secret and every body of these tests: it is never shown."""


@pytest.fixture
def service(tmp_path, monkeypatch) -> Iterator[Path]:
    """An empty folder, gone to. Nothing of this machine's environment; what is imported from here is forgotten."""
    forget_the_user(monkeypatch, "LOAFER_")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "shop" or str(tmp_path) in repr(getattr(sys.modules[name], "__spec__", "")):
            del sys.modules[name]
    MemoryQueue.forget_named()


@pytest.fixture
def write(service) -> Callable[..., None]:
    """Write files into the service: ``write(**{"shop/orders.py": source})``."""

    def write(**files: str) -> None:
        for name, text in files.items():
            path = service / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))

    return write


@pytest.fixture
def unpack(service, monkeypatch) -> Callable[..., None]:
    """Install a distribution by hand: one module, and the metadata that an installer writes."""

    def unpack(distribution: str, source: str, *, point: str) -> None:
        module = f"{distribution}_plugin".replace("-", "_")
        site = service / f"site-{distribution}"  # of its own: what is installed is looked up once per path
        metadata = site / f"{distribution.replace('-', '_')}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (site / f"{module}.py").write_text(textwrap.dedent(source))
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\nSummary: X\n")
        (metadata / "entry_points.txt").write_text(f"[loafer]\n{point} = {module}\n")
        monkeypatch.syspath_prepend(str(site))

    return unpack


@pytest.fixture
def loafer(service) -> Callable[..., Result]:
    """Call the command line in the service. No traceback unless asked for, and no canary, whatever the call."""

    def call(*arguments: str, stdin: str | None = None) -> Result:
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        try:
            result = CliRunner().invoke(main, arguments, input=stdin)
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
        assert isinstance(result.exception, SystemExit | None), result.output
        assert "--traceback" in arguments or "Traceback" not in result.output
        assert CANARY not in result.output.lower()
        return result

    return call


@pytest.fixture
def errors(loafer) -> Callable[..., list[str]]:
    """What ``loafer check`` finds wrong, a line each; it has to exit with 1 and to say how many they are."""

    def errors(*arguments: str) -> list[str]:
        result = loafer("check", *arguments)
        found = [line.removeprefix("error: ") for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert result.exit_code == 1, result.output
        assert f"{len(found)} error" in result.stderr.splitlines()[-1]
        return found

    return errors


@pytest.fixture
def sqs() -> Iterator[Callable[..., str]]:
    """``sqs({"GetQueueUrl": (403, {...})})``: a server on loopback that answers in SQS's JSON protocol."""
    servers = []

    def start(answers: dict[str, tuple[int, dict[str, object]]]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = answers[self.headers["X-Amz-Target"].rpartition(".")[2]]
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("x-amzn-RequestId", "of-a-test")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()
