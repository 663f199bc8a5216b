"""SQS and SNS servers of somebody else's, on loopback: moto in this process, ministack in one of its own."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator

from environment import nobodys

MINISTACK = pathlib.Path(__file__).parents[1] / ".venvs" / "ministack" / "bin" / "ministack"
MISSING = "ministack is not installed (make test installs it; LOAFER_MINISTACK names another place)"


@contextlib.contextmanager
def moto() -> Iterator[str]:
    """Gives its endpoint. One receiver a queue, and few messages."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def ministack_program() -> pathlib.Path | None:
    """Where ministack is, if it is installed."""
    path = pathlib.Path(os.environ.get("LOAFER_MINISTACK") or MINISTACK)
    return path if path.is_file() else None


@contextlib.contextmanager
def ministack(program: pathlib.Path) -> Iterator[str]:
    """Gives its endpoint; ends it, and what it started, afterwards. FIFO, and visibility as documented."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1", "GATEWAY_PORT": f"{port}"}
    environment = nobodys("PYTHON") | settings | {"SERVICES": "sqs,sns"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen([program], env=environment, cwd=folder, start_new_session=True, **quiet)
        try:
            _await_port(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its own session: the children go with it
            process.wait()


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.05)
    raise RuntimeError(f"ministack did not open port {port} (exit code {process.poll()})")
