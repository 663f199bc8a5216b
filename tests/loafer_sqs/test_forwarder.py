"""The forwarder that needs no line of Python: it is killed at the worst moments, and nothing is lost."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

MESSAGES = 150

CONFIG = """
[defaults.sqs]
endpoint_url = "{endpoint}"
region_name = "us-east-1"
aws_access_key_id = "testing"
aws_secret_access_key = "testing"

[routes.forward]
provider = {{ name = "sqs", queue = "{source}", visibility_timeout = 2, wait_time_seconds = 1 }}
translator = "json"
handler = {{ name = "sqs", queue = "{destination}" }}
"""


class Relay:
    """Stands between Loafer and the server, and keeps one request, or its answer, to itself for ever."""

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream)
        self._connections: set[asyncio.Task[None]] = set()
        self.endpoint = ""
        self.expect(None)

    def expect(self, operation: str | None, *, applied: bool = False) -> None:
        """Keep the second request of ``operation`` from now on; ``applied``: its answer, so that it has happened."""
        self._operation, self._applied, self._seen = operation, applied, 0
        self.kept = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        ours, theirs = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                request = await _message(reader)
                keep = self._is_the_one(request)
                if keep and not self._applied:
                    await self._keep()
                theirs.write(request)
                answer = await _message(ours)
                if keep:
                    await self._keep()
                writer.write(answer)
        theirs.close()
        writer.close()

    async def close(self) -> None:
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections)

    def _is_the_one(self, request: bytes) -> bool:
        asked = self._operation is not None and f"AmazonSQS.{self._operation}\r\n".encode() in request
        self._seen += asked
        return asked and self._seen == 2

    async def _keep(self) -> None:
        self.kept.set()
        await asyncio.Event().wait()


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b":", 1) for line in head.splitlines()[1:] if line)
    return head + await reader.readexactly(int(fields.get(b"content-length", 0)))


@pytest.fixture
async def relay(ministack_server: str) -> AsyncIterator[Relay]:
    relay = Relay(ministack_server)
    async with await asyncio.start_server(relay.serve, "127.0.0.1", 0) as listener:
        relay.endpoint = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        yield relay
        await relay.close()


class Loafer:
    """``loafer run`` in a process of its own; killed when the block is left."""

    def __init__(self, config: Path) -> None:
        self._config, self._log = config, config.with_suffix(".log")

    async def __aenter__(self) -> Loafer:
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "loafer_core", "run", "-c", str(self._config)]
            self._process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        self._ended = asyncio.create_task(self._process.wait())
        return self

    async def until(self, condition: asyncio.Task[object]) -> None:
        await asyncio.wait({condition, self._ended}, return_when=asyncio.FIRST_COMPLETED)
        assert not self._ended.done(), self._log.read_text()
        await condition

    async def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return await self._ended

    async def __aexit__(self, *exception: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._ended


@pytest.mark.server
@pytest.mark.parametrize("server", ["ministack"], indirect=True)
async def test_a_forwarder_that_is_killed_at_the_worst_moments_loses_nothing(relay, admin, tmp_path):
    source, destination = await admin.create("source-queue"), await admin.create("destination-queue")
    for number in range(MESSAGES):
        await admin.send(source, json.dumps({"id": number}))
    config = tmp_path / "loafer.toml"
    config.write_text(CONFIG.format(endpoint=relay.endpoint, source=source, destination=destination))

    for operation in ("SendMessageBatch", "DeleteMessageBatch"):
        for applied in (False, True):
            relay.expect(operation, applied=applied)
            async with Loafer(config) as loafer:
                await loafer.until(asyncio.create_task(relay.kept.wait()))
    relay.expect(None)
    async with Loafer(config) as loafer:
        await loafer.until(asyncio.create_task(_empty(admin, source)))
        assert await loafer.stop() == 0

    copies = collections.Counter(await _all_of(admin, destination))
    assert sorted(copies) == list(range(MESSAGES))
    assert copies.total() > MESSAGES  # what was sent, and not deleted when the kill came, is there twice


async def _empty(admin, queue: str) -> None:
    while await admin.left(queue):
        await asyncio.sleep(0.1)


async def _all_of(admin, queue: str) -> list[int]:
    found: list[int] = []
    while messages := await admin.receive(queue):
        found += [json.loads(message["Body"])["id"] for message in messages]
    return found
