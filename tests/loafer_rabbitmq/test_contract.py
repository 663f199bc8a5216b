"""The plugin and the provider against the contract kit, as any third party would run it."""

from __future__ import annotations

import asyncio
import uuid

import aio_pika
import pytest

from loafer_core import Message, SourceConfigError, Traits, Unavailable
from loafer_core.testing import PluginContract, ProviderContract


class TestPlugin(PluginContract):
    distribution = "loafer-rabbitmq"


class Harness:
    """A fresh quorum queue with a dead-letter queue; the provider's way to it is a wire that can be cut."""

    def __init__(self, broker, wire):
        self._broker, self._wire = broker, wire
        self._queue = f"contract-{uuid.uuid4().hex[:12]}"
        self._channel = None
        self._providers = []

    def built(self, provider):
        self._providers.append(provider)

    async def options(self):
        await self._declared()
        return {**self.missing(), "queue": self._queue, "dead_letter": True}

    def missing(self):
        return {**self._broker.options("missing"), "url": self._broker.url(port=self._wire.port)}

    async def publish(self, body, attributes=None, group=None):
        channel = await self._declared()
        headers = {
            name: bytearray(value) if isinstance(value, bytes) else value for name, value in (attributes or {}).items()
        }
        message = aio_pika.Message(
            body.encode() if isinstance(body, str) else body, headers=headers, message_id=uuid.uuid4().hex
        )
        await channel.default_exchange.publish(message, self._queue)
        return message.message_id

    def settled(self, id):
        return id in self._wire.settled

    async def rejected(self):
        dead = await (await self._declared()).get_queue(f"{self._queue}-dead", ensure=False)
        found = []
        async with asyncio.timeout(10):  # a quorum queue dead-letters in its own time
            while len(found) < max(1, self._wire.rejected):  # asked for after a reject, which may be on the wire yet
                if (letter := await dead.get(no_ack=True, fail=False)) is None:
                    await asyncio.sleep(0.02)
                    continue
                attributes = {name: value for name, value in letter.headers.items() if not name.startswith("x-")}
                found.append(Message(letter.message_id or "", letter.body, attributes=attributes))
        return found

    async def expire(self, id):
        self._wire.cut()
        async with asyncio.timeout(10):
            while any(provider.is_consuming for provider in self._providers):
                await asyncio.sleep(0.01)

    async def fail_next(self, operation, error):
        if operation == "open" and isinstance(error, Unavailable):
            self._wire.refuse = 1
        elif operation == "receive" and isinstance(error, Unavailable):
            self._wire.cut()
        elif operation == "receive" and isinstance(error, SourceConfigError):
            await (await self._declared()).queue_delete(self._queue)
        else:
            raise NotImplementedError(f"{operation} that fails with {type(error).__name__}")

    async def close(self):
        if self._channel is not None:
            for queue in self._queue, f"{self._queue}-dead":
                await self._channel.queue_delete(queue)
            await self._connection.close()

    async def _declared(self):
        if self._channel is None:
            self._connection = aio_pika.Connection(self._broker.address())
            await self._connection.connect()
            self._channel = await self._connection.channel()
            await self._channel.declare_queue(f"{self._queue}-dead", durable=True)
        dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{self._queue}-dead"}
        await self._channel.declare_queue(self._queue, durable=True, arguments={"x-queue-type": "quorum", **dead})
        return self._channel


class TestProvider(ProviderContract):
    component = "rabbitmq"
    traits = Traits(rejects=True, confirmed=False)
    release_counts = True  # until RabbitMQ 4.3

    @pytest.fixture
    def harness(self, broker, wire):
        return Harness(broker, wire)
