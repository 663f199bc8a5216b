"""The two servers, whoever looks into them from the other side, and a Context."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from typing import Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.hooks import EventAliaser, HierarchicalEmitter
from botocore.loaders import create_loader
from environment import forget_the_user

from loafer_core import Message
from loafer_sqs import SNSPublisher, SNSPublishOptions, SQSOptions, SQSProvider, SQSPublisher, SQSPublishOptions
from loafer_sqs.messages.wire import Receipt


@pytest.fixture(scope="session", autouse=True)
def no_time_is_wasted() -> Iterator[None]:
    """For each session boto reads a megabyte of JSON and asks a table of old names for each of its 126 handlers.

    moto looks twice a second whether it should stop.
    """
    loader, new_name = create_loader(), EventAliaser(HierarchicalEmitter())._alias_event_name
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", lambda search_path_string=None: loader)
        patch.setattr("botocore.hooks.EventAliaser._alias_event_name", lambda self, name: new_name(name))
        patch.setattr("werkzeug.serving.BaseWSGIServer.serve_forever.__defaults__", (0.02,))
        yield


@pytest.fixture(autouse=True)
def nobodys_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's user; no address but loopback."""
    forget_the_user(monkeypatch)
    connect = socket.socket.connect

    def only_loopback(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not str(address[0]).startswith(("127.", "::1", "localhost")):
            raise AssertionError(f"a test wanted to reach {address[0]}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_loopback)
    # How often boto tries again is ours to test; how long it waits in between is seconds for each test.
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0.0)


@pytest.fixture(params=["moto", pytest.param("ministack", marks=pytest.mark.server)])
def server(request: pytest.FixtureRequest) -> str:
    """The endpoint of an SQS server of somebody else's."""
    return str(request.getfixturevalue(f"{request.param}_server"))


class Context:
    """The core's side, as small as it gets."""

    route, concurrency, client_id, payload_type, max_wait = "orders", 10, "test-orders", None, 5.0

    def __init__(self) -> None:
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
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return {"endpoint_url": endpoint, "region_name": "us-east-1", **keys}


@pytest.fixture
def connect_to() -> Callable[[str], dict[str, Any]]:
    """The connection options for an endpoint."""
    return connection


@pytest.fixture
def held() -> Callable[[int], Message]:
    """``held(number)``: a message as if it had been received just now, for 30 s."""

    def hold(number: int) -> Message:
        until = asyncio.get_running_loop().time() + 30
        return Message(id=f"id-{number}", body="x", receipt=Receipt(f"handle-{number}", {}), lease_until=until)

    return hold


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The stories of a module that says ``BOTH_CLIENTS = True`` are told of both."""
    if "sqs_client" in metafunc.fixturenames and getattr(metafunc.module, "BOTH_CLIENTS", False):
        metafunc.parametrize("sqs_client", ["sdk", "fast"], indirect=True)


@pytest.fixture
def sqs_client(request: pytest.FixtureRequest) -> str:
    """The option ``client``; LOAFER_SQS_CLIENT=fast runs every story on that one."""
    return str(getattr(request, "param", os.environ.get("LOAFER_SQS_CLIENT", "sdk")))


@pytest.fixture
def open_provider(context: Context, sqs_client: str) -> Callable[..., Awaitable[SQSProvider]]:
    """``await open_provider(endpoint, queue, **options)``."""

    async def open(endpoint: str, queue: str, **options: Any) -> SQSProvider:
        options.setdefault("client", sqs_client)
        provider = SQSProvider(SQSOptions(queue=queue, **connection(endpoint), **options))
        await provider.open(context)
        return provider

    return open


@pytest.fixture
async def open_publisher(context: Context) -> AsyncIterator[Callable[..., Awaitable[SQSPublisher | SNSPublisher]]]:
    """``await open_publisher(endpoint, queue, **options)``, or with ``topic=``."""
    opened: list[SQSPublisher | SNSPublisher] = []

    async def open(endpoint: str, queue: str | None = None, **options: Any) -> SQSPublisher | SNSPublisher:
        options |= connection(endpoint)
        publisher: SQSPublisher | SNSPublisher = (
            SNSPublisher(SNSPublishOptions(**options))
            if queue is None
            else SQSPublisher(SQSPublishOptions(queue=queue, **options))
        )
        opened.append(publisher)
        await publisher.open(context)
        return publisher

    yield open
    for publisher in opened:
        await publisher.close()


class Admin:
    """The other side: whoever creates queues and topics, sends, and looks into them. Names are new for each test."""

    def __init__(self, client: Any, connect: Callable[[str], Awaitable[Any]]) -> None:
        self.client, self._connect = client, connect
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

    async def topic(self, name: str = "shipped", *queues: str, raw: bool = False) -> str:
        """Create a topic that ``queues`` are subscribed to, and give its ARN."""
        stem, dot, kind = name.partition(".fifo")
        attributes = {"FifoTopic": "true"} if dot else {}
        sns = await self._connect("sns")
        created = await sns.create_topic(Name=f"{stem}-{self._suffix}{dot}{kind}", Attributes=attributes)
        arn = str(created["TopicArn"])
        for queue in queues:
            found = await self.client.get_queue_attributes(QueueUrl=await self.url(queue), AttributeNames=["QueueArn"])
            await sns.subscribe(
                TopicArn=arn,
                Protocol="sqs",
                Endpoint=found["Attributes"]["QueueArn"],
                Attributes={"RawMessageDelivery": "true"} if raw else {},
            )
        return arn


@pytest.fixture(scope="session")
def admins_session() -> AioSession:
    """Of all admins: making one costs as much as all that a test asks with it."""
    return AioSession()


@pytest.fixture
async def admin(server: str, admins_session: AioSession) -> AsyncIterator[Admin]:
    async with contextlib.AsyncExitStack() as stack:

        async def connect(service: str) -> Any:
            config = AioConfig(retries={"total_max_attempts": 1})
            client = admins_session.create_client(service, config=config, **connection(server))
            return await stack.enter_async_context(client)

        yield Admin(await connect("sqs"), connect)
