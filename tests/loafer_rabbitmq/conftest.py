"""A RabbitMQ of our own on loopback, a look into its queues, and a wire to it that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import shutil
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from typing import Any

import aio_pika
import pytest

from loafer_core import Manager, Message, Route

FOLDER = pathlib.Path(__file__).parent
sys.path.insert(0, str(FOLDER / "far_side"))

from own_broker import MISSING, SCRIPT, Broker  # noqa: E402
from tapped_wire import Wire  # noqa: E402


class Far:
    """The other side of the queues: declares, sends, looks."""

    def __init__(self, channel: aio_pika.abc.AbstractChannel) -> None:
        self.channel = channel

    async def declare(self, name: str = "", *, dead_letter: str = "", kind: str = "classic") -> str:
        """Make a queue of a new name; gives the name."""
        name = name or f"queue-{uuid.uuid4().hex[:12]}"
        arguments: dict[str, Any] = {"x-queue-type": kind}
        if dead_letter:
            arguments |= {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead_letter}
        await self.channel.declare_queue(name, durable=True, arguments=arguments)
        return name

    async def send(self, queue: str, *bodies: str | bytes, **properties: Any) -> list[str]:
        """Publish; gives the ids."""
        ids = []
        for body in bodies:
            known = {"message_id": uuid.uuid4().hex, "delivery_mode": 2, **properties}
            message = aio_pika.Message(body.encode() if isinstance(body, str) else body, **known)
            await self.channel.default_exchange.publish(message, queue)
            ids.append(known["message_id"])
        return ids

    async def get(self, queue: str, within: float = 10.0) -> aio_pika.abc.AbstractIncomingMessage:
        """Take one message for good."""
        target = await self.channel.get_queue(queue, ensure=False)
        async with asyncio.timeout(within):
            while (message := await target.get(no_ack=True, fail=False)) is None:
                await asyncio.sleep(0.02)
        return message


class Desk:
    """A Context: the core's side, for tests that look at the provider alone."""

    payload_type: object = None

    def __init__(self, concurrency: int = 10, max_wait: float = 5.0, route: str = "orders") -> None:
        self.route, self.concurrency, self.max_wait = route, concurrency, max_wait
        self.client_id = f"desk-{route}"
        self.hands: list[Message] = []
        self.gone: list[tuple[Message, str]] = []
        self._stack = contextlib.AsyncExitStack()
        self._shared: dict[object, Any] = {}

    def outstanding(self) -> Collection[Message]:
        return list(self.hands)

    def lost(self, messages: Collection[Message], reason: str) -> None:
        self.gone += [(message, reason) for message in messages]
        self.hands = [message for message in self.hands if message not in messages]

    async def revoke(self, messages: Collection[Message], within: float) -> None:
        self.lost(messages, "revoked")

    async def shared(self, key: Any, open: Any) -> Any:
        if key not in self._shared:
            self._shared[key] = await self._stack.enter_async_context(open())
        return self._shared[key]

    async def take(self, provider: Any, count: int = 1) -> list[Message]:
        """Receive until there are as many."""
        found: list[Message] = []
        async with asyncio.timeout(20):
            while len(found) < count:
                came = list(await provider.receive(count - len(found)))
                self.hands += came
                found += came
        return found

    async def close(self) -> None:
        await self._stack.aclose()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A broker that starts on a busy machine takes its time, and it starts within some test's."""
    for item in items:
        if item.path.parent == FOLDER:
            item.add_marker(pytest.mark.timeout(120), append=False)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One for each worker; it takes some seconds to start."""
    if not (SCRIPT.exists() and shutil.which("erl") and shutil.which("epmd")):
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    broker = Broker(tmp_path_factory.mktemp("rabbitmq"))
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


@pytest.fixture(autouse=True)
def nobodys_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine."""
    for name in list(os.environ):
        if name.startswith(("LOAFER_", "RABBITMQ_")):
            monkeypatch.delenv(name)


@pytest.fixture
async def far(broker: Broker) -> AsyncIterator[Far]:
    connection = aio_pika.Connection(broker.address())
    await connection.connect(timeout=10)
    yield Far(await connection.channel())
    await connection.close()


@pytest.fixture
def wire(broker: Broker) -> Iterator[Wire]:
    wire = Wire(broker.port)
    yield wire
    wire.close()


@pytest.fixture
async def desks() -> AsyncIterator[Callable[..., Desk]]:
    """Make desks, and clear them away."""
    made: list[Desk] = []

    def desk(**more: Any) -> Desk:
        made.append(Desk(**more))
        return made[-1]

    yield desk
    for one in made:
        await one.close()


@pytest.fixture
def serve(broker: Broker) -> Callable[..., Manager]:
    """A manager with one route on a queue: ``async with serve(queue, handler, concurrency=2):``."""

    def serve(queue: str, handler: Any, *, options: dict[str, object] | None = None, **route: Any) -> Manager:
        provider = {"name": "rabbitmq", **broker.options(queue, **(options or {}))}
        return Manager([Route("orders", provider=provider, handler=handler, **route)])

    return serve


@pytest.fixture
def eventually() -> Callable[..., Any]:
    return _eventually


async def _eventually(holds: Callable[[], Any], within: float = 20.0) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(within):
        while not holds():
            await asyncio.sleep(0.02)
