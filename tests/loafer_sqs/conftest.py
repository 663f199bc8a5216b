"""Real servers on loopback (moto in this process, ministack in its own), a scripted one for faults, a Context."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

from loafer_core import Message
from loafer_sqs import SQSOptions, SQSProvider

REPOSITORY = pathlib.Path(__file__).parents[2]
REGION = "us-east-1"
KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


@pytest.fixture(autouse=True)
def nobodys_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """No profile, key, region, endpoint or proxy of this machine; no address but loopback."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    connect = socket.socket.connect

    def only_loopback(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not str(address[0]).startswith(("127.", "::1", "localhost")):
            raise AssertionError(f"a test wanted to reach {address[0]}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_loopback)


@dataclass(frozen=True)
class Server:
    """An SQS server of somebody else's."""

    name: str
    endpoint: str


@pytest.fixture(scope="session")
def moto_server() -> Iterator[Server]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Server("moto", f"http://{host}:{port}")
    server.stop()


def _ministack() -> str:
    default = REPOSITORY / ".venvs" / "ministack" / "bin" / "ministack"
    path = os.environ.get("LOAFER_MINISTACK") or str(default)
    if pathlib.Path(path).is_file():
        return path
    if os.environ.get("CI"):
        pytest.fail(f"ministack is not at {path}: LOAFER_MINISTACK names another place", pytrace=False)
    pytest.skip(f"ministack is not at {path} (make test installs it; LOAFER_MINISTACK names another place)")


@pytest.fixture(scope="session")
def ministack_server() -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {"BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1", "SERVICES": "sqs"}
    environment["GATEWAY_PORT"] = str(port)
    process = subprocess.Popen(
        [_ministack()],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _await_port(port, process)
        yield Server("ministack", f"http://127.0.0.1:{port}")
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
    pytest.fail(f"ministack did not open port {port} (exit code {process.poll()})", pytrace=False)


@pytest.fixture(params=["moto", pytest.param("ministack", marks=pytest.mark.server)])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(f"{request.param}_server")
    return found


class Context:
    """The core's side, as small as it gets."""

    def __init__(self, *, max_wait: float = 5.0) -> None:
        self.route, self.concurrency, self.client_id, self.payload_type = "orders", 10, "test-orders", None
        self.max_wait = max_wait
        self.stack = contextlib.AsyncExitStack()
        self.opened: dict[Any, Any] = {}

    def outstanding(self) -> Collection[Message]:
        return []

    def lost(self, messages: Collection[Message], reason: str) -> None: ...
    async def revoke(self, messages: Collection[Message], within: float) -> None: ...

    async def shared(self, key: Any, open: Callable[[], contextlib.AbstractAsyncContextManager[Any]]) -> Any:
        if key not in self.opened:
            self.opened[key] = await self.stack.enter_async_context(open())
        return self.opened[key]


@pytest.fixture
async def context() -> AsyncIterator[Context]:
    context = Context()
    async with context.stack:
        yield context


def connection(endpoint: str) -> dict[str, Any]:
    return {"endpoint_url": endpoint, "region_name": REGION, **KEYS}


@pytest.fixture
def connect_to() -> Callable[[str], dict[str, Any]]:
    """The connection options for an endpoint."""
    return connection


@pytest.fixture
def open_provider(context: Context) -> Callable[..., Awaitable[SQSProvider]]:
    """``await open_provider(endpoint, queue, **options)``."""

    async def open(endpoint: str, queue: str, **options: Any) -> SQSProvider:
        provider = SQSProvider(SQSOptions(queue=queue, **connection(endpoint), **options))
        await provider.open(context)
        return provider

    return open


class Admin:
    """The other side of a queue: whoever creates it, sends, and looks into it. Names are new for each test."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self._suffix = uuid.uuid4().hex[:8]

    async def create(self, name: str = "orders", *, dead_letters_after: int | None = None, **attributes: str) -> str:
        """Create a queue and give its name; with ``<name>-dead`` behind it if wanted."""
        stem, dot, kind = name.partition(".fifo")
        full = f"{stem}-{self._suffix}{dot}{kind}"
        if dot:
            attributes["FifoQueue"] = "true"
        if dead_letters_after is not None:
            dead = await self.create(f"{stem}-dead{dot}")
            found = await self.client.get_queue_attributes(QueueUrl=await self.url(dead), AttributeNames=["QueueArn"])
            policy = {"deadLetterTargetArn": found["Attributes"]["QueueArn"], "maxReceiveCount": dead_letters_after}
            attributes["RedrivePolicy"] = json.dumps(policy)
        await self.client.create_queue(QueueName=full, Attributes=attributes)
        return full

    def dead(self, queue: str) -> str:
        """The name of the dead-letter queue behind ``queue``."""
        return queue.replace(f"-{self._suffix}", f"-dead-{self._suffix}")

    async def url(self, queue: str) -> str:
        return str((await self.client.get_queue_url(QueueName=queue))["QueueUrl"])

    async def send(self, queue: str, body: str, **more: Any) -> str:
        answer = await self.client.send_message(QueueUrl=await self.url(queue), MessageBody=body, **more)
        return str(answer["MessageId"])

    async def receive(self, queue: str, *, wait: int = 0) -> list[dict[str, Any]]:
        answer = await self.client.receive_message(
            QueueUrl=await self.url(queue),
            MaxNumberOfMessages=10,
            WaitTimeSeconds=wait,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return list(answer.get("Messages", []))

    async def left(self, queue: str) -> int:
        """Messages that the queue still has, visible or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = await self.client.get_queue_attributes(QueueUrl=await self.url(queue), AttributeNames=names)
        return sum(int(found["Attributes"][name]) for name in names)


@pytest.fixture
async def admin(server: Server) -> AsyncIterator[Admin]:
    config = AioConfig(retries={"total_max_attempts": 1})
    async with AioSession().create_client("sqs", config=config, **connection(server.endpoint)) as client:
        yield Admin(client)


Reply = dict[str, Any] | bytes


@dataclass
class Scripted:
    """A server of our own for what the others cannot do. A reply is a dict, raw bytes, or a function giving either.

    Raw bytes are written as they are, and the connection is closed after them.
    """

    endpoint: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    replies: dict[str, Any] = field(default_factory=dict)
    connections: set[asyncio.Task[Any]] = field(default_factory=set)

    def on(self, operation: str, reply: Reply | Callable[[dict[str, Any]], Awaitable[Reply]]) -> None:
        self.replies[operation] = reply

    def asked(self, operation: str) -> list[dict[str, Any]]:
        return [request for name, request in self.calls if name == operation]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while await self._one(reader, writer):
                pass
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        request = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
        lowered = headers["x-amz-target"].partition(".")[2]
        operation = next((name for name in self.replies if name.lower() == lowered), lowered)
        self.calls.append((operation, request))
        reply = self.replies.get(operation, error_reply("InvalidAction"))
        if callable(reply):
            reply = await reply(request)
        writer.write(reply if isinstance(reply, bytes) else http(200, json.dumps(reply).encode()))
        await writer.drain()
        return not isinstance(reply, bytes)


def http(status: int, body: bytes, **headers: str) -> bytes:
    lines = {"content-type": "application/x-amz-json-1.0", "x-amzn-requestid": "test", **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items() if value)
    return f"HTTP/1.1 {status} X\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body


def error_reply(code: str, status: int = 400, message: str = "no") -> bytes:
    return http(status, json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": message}).encode())


@pytest.fixture
def replies() -> Any:
    """``replies.http(status, body, **headers)`` and ``replies.error(code)`` for the scripted server."""

    class Replies:
        http = staticmethod(http)
        error = staticmethod(error_reply)

    return Replies


@pytest.fixture
async def scripted() -> AsyncIterator[Scripted]:
    scripted = Scripted()
    listener = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
    scripted.endpoint = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    scripted.on("GetQueueUrl", {"QueueUrl": f"{scripted.endpoint}/000000000000/orders"})
    scripted.on("GetQueueAttributes", {"Attributes": {"VisibilityTimeout": "30"}})
    yield scripted
    listener.close()
    for task in scripted.connections:
        task.cancel()
    await asyncio.gather(*scripted.connections, return_exceptions=True)
    await listener.wait_closed()
