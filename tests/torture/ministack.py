"""ministack, somebody else's SQS in a process of its own: as it is, or behind a FakeSQS that keeps the log."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import signal
import socket
import tempfile
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from torture.fake_queues import Json, Refusal

REPOSITORY = pathlib.Path(__file__).parents[2]


def where() -> pathlib.Path | None:
    """The program, if it is installed."""
    default = REPOSITORY / ".venvs" / "ministack" / "bin" / "ministack"
    path = pathlib.Path(os.environ.get("LOAFER_MINISTACK") or default)
    return path if path.is_file() else None


@contextlib.asynccontextmanager
async def running(program: pathlib.Path) -> AsyncIterator[str]:
    """Gives its endpoint; ends it, and what it started, afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= dict.fromkeys(("BIND_HOST", "MINISTACK_HOST"), "127.0.0.1")
    environment |= {"GATEWAY_PORT": str(port), "SERVICES": "sqs"}
    quiet = {"stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL}
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            program, env=environment, cwd=folder, start_new_session=True, **quiet
        )
        try:
            await _is_there(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its own session: the children go with it
            await process.wait()


async def _is_there(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(30):
        while process.returncode is None:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)
    raise AssertionError(f"ministack ended with {process.returncode}")


class Upstream:
    """A backend for FakeSQS that asks another server."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url, self._session = url, session
        self.endpoint = url

    def end_polls(self) -> None:
        """They end by themselves."""

    async def call(self, operation: str, request: Json) -> Json:
        """Give the answer; raises Refusal."""
        credential = "Credential=test/20260101/us-east-1/sqs/aws4_request"
        headers = {
            "X-Amz-Target": f"AmazonSQS.{operation}",
            "Content-Type": "application/x-amz-json-1.0",
            "Authorization": f"AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0",
        }
        async with self._session.post(self._url, data=json.dumps(request), headers=headers) as answer:
            body: dict[str, Any] = json.loads(await answer.text() or "{}")
        if answer.status == 200:
            return body
        code = str(body.get("__type", "Unknown")).rpartition("#")[2].rpartition(".")[2]
        raise Refusal(code, str(body.get("message") or body.get("Message") or ""), answer.status)
