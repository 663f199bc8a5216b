"""The provider ``rabbitmq``: one queue, consumed by push."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping, Sequence

import aio_pika
from pamqp.common import FieldTable

from loafer_core import Context, Message, Settled, Traits
from loafer_rabbitmq.connection import ANSWER_TIMEOUT, TROUBLE, shared
from loafer_rabbitmq.consumer import Consumer, Verb, receipt_of
from loafer_rabbitmq.errors import classify
from loafer_rabbitmq.options import RabbitMQOptions
from loafer_rabbitmq.sender import Sender, headers

logger = logging.getLogger("loafer.rabbitmq")

MOST_PREFETCH = 65_535
PATIENCE = 1.0
"""Seconds that places are taken by messages in waiting before others are fetched in their stead."""


class RabbitMQProvider:
    """Consumes one queue with a prefetch of the route's concurrency. Deliveries are settled on their own channel."""

    def __init__(self, options: RabbitMQOptions) -> None:
        self._options = options
        self.traits = Traits(rejects=options.rejects, confirmed=False)
        self._consumer: Consumer | None = None
        self._sender = Sender(options.connection())
        self._watch: asyncio.Task[None] | None = None
        self._stopped = False

    def __repr__(self) -> str:
        return f"<RabbitMQProvider {self._options.queue!r}>"

    async def open(self, context: Context) -> None:
        """Connect, and prove that the queue is there. Nothing is delivered before somebody wants to receive.

        Raises:
            SourceConfigError: no such queue or virtual host, not for us, or declared differently.
            CredentialError: user or password was refused.
            Unavailable: nobody answered properly.
        """
        self._context, self._stopped, self._changed = context, False, asyncio.Event()
        self._link = await shared(context, self._options.connection(), "consume")
        self._consumer = await self._consume()
        if self._options.consumer_timeout:
            self._watch = asyncio.create_task(self._watch_ages(), name=f"{context.route}/consumer_timeout")
        logger.info(
            "%s: queue %r at %s, %s, prefetch %d, %s",
            context.route,
            self._options.queue,
            self._link.place,
            self._link.version,
            self._prefetch,
            "rejects are dead-lettered" if self.traits.rejects else "no dead-letter exchange is known",
            extra={"route": context.route},
        )

    @property
    def is_consuming(self) -> bool:
        """There is a channel, as far as we know: what is ours is still ours."""
        return self._consumer is not None and self._consumer.ended is None

    @property
    def _prefetch(self) -> int:
        return min(self._context.concurrency, MOST_PREFETCH)

    @property
    def _place(self) -> str:
        return f"queue {self._options.queue!r} ({self._link.place})"

    async def _consume(self) -> Consumer:
        channel = await self._link.channel(confirms=False)
        consumer = Consumer(channel, self._options.queue, self._prefetch, self._context.client_id, self._place)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await self._find(channel)
                consumer.on_delivery, consumer.on_end = self._changed.set, self._lost
                return await consumer.open()
        except TROUBLE as error:
            await consumer.close()
            raise classify(error, self._place) from None

    async def _find(self, channel: aio_pika.abc.AbstractChannel) -> aio_pika.abc.AbstractQueue:
        options = self._options
        if not options.declare:
            return await channel.declare_queue(options.queue, passive=True)
        arguments: FieldTable = {"x-queue-type": "quorum", **options.arguments}
        return await channel.declare_queue(options.queue, durable=True, arguments=arguments)

    def _lost(self, consumer: Consumer, reason: str) -> None:
        """Its channel is gone, and the broker gives to others what was delivered over it."""
        gone = [message for message in self._context.outstanding() if receipt_of(message).consumer is consumer]
        if gone:
            self._context.lost(gone, reason)
        self._changed.set()

    # --- receiving

    async def receive(self, limit: int) -> Sequence[Message]:
        """Give what has been pushed to us, and wait for the first.

        Raises what ends the channel meanwhile. After a channel that ended it begins with a new one.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._context.max_wait
        if not self._stopped and not self.is_consuming:
            self._consumer = await self._consume()
            logger.info("%s: consuming %s again", self._context.route, self._place)
        while (consumer := self._consumer) is not None and not self._stopped:
            self._changed.clear()
            if consumer.ended is not None:
                raise consumer.ended
            if consumer.buffer or loop.time() >= until:
                return consumer.take(limit)
            await self._wait(until, short=await self._let_come(consumer, limit))
        return []

    async def _let_come(self, consumer: Consumer, limit: int) -> bool:
        """Subscribe where it is time to; tells whether it may be time again before anything comes."""
        short = consumer.is_subscribed and self._options.overtake and consumer.is_short(limit)
        try:
            if not consumer.is_subscribed:
                await consumer.subscribe()
            elif short:
                await consumer.make_room(PATIENCE)
        except TROUBLE as error:
            raise classify(error, self._place) from None
        return short

    async def _wait(self, until: float, *, short: bool) -> None:
        soon = asyncio.get_running_loop().time() + PATIENCE / 4
        try:
            async with asyncio.timeout_at(min(until, soon) if short else until):
                await self._changed.wait()
        except TimeoutError:
            pass

    # --- settling

    async def ack(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        """Written, not confirmed: AMQP has no answer to an ack."""
        return await _settle(messages, "ack")

    async def nack(self, delays: Mapping[Message, float]) -> Mapping[Message, Settled]:
        """Requeue. There is no delay to ask for: ``max_delay`` is 0, and the core waits before it comes here."""
        return await _settle(list(delays), "nack")

    async def release(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        """Requeue as something that nobody tried."""
        return await _settle(messages, "release")

    async def reject(self, messages: Sequence[Message], reason: str) -> Mapping[Message, Settled]:
        """Let the queue's dead-letter exchange have them, unchanged. AMQP has no place for the reason."""
        return await _settle(messages, "reject")

    async def _watch_ages(self) -> None:
        """Give back what was held almost as long as the broker allows, before it closes the channel on all of them."""
        limit, loop = self._options.consumer_timeout, asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(30.0, limit / 20))
            old = loop.time() - limit * 0.85
            held = [m for m in self._context.outstanding() if receipt_of(m).arrived < old]
            if held:
                await self._context.revoke(held, within=min(30.0, limit / 20))
            held += [] if self._consumer is None else self._consumer.take_older(old)
            await _settle([m for m in held if receipt_of(m).settled is None], "release")

    # --- more

    async def publish(
        self, body: str | bytes, attributes: Mapping[str, str | bytes] | None = None, group: str | None = None
    ) -> str:
        """Send to this queue, durably and confirmed; gives the message id. AMQP has no groups: ``group`` is ignored.

        Raises:
            ProviderError: the broker did not take it, or nobody knows.
        """
        await self._sender.open(self._context)
        message = aio_pika.Message(
            body.encode() if isinstance(body, str) else body,
            headers=headers(attributes or {}),
            message_id=uuid.uuid4().hex,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await self._sender.send("", self._options.queue, message)
        return message.message_id or ""

    async def measure(self) -> Mapping[str, float]:
        """Count ``depth`` (waiting, without those that somebody has in hands) and ``consumers``."""
        channel = await self._link.channel(confirms=False)  # of its own: a failure closes it
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                queue = await channel.declare_queue(self._options.queue, passive=True)
                found = queue.declaration_result
                return {"depth": float(found.message_count or 0), "consumers": float(found.consumer_count or 0)}
        except TROUBLE as error:
            raise classify(error, self._place) from None
        finally:
            await channel.close()

    async def stop(self) -> None:
        """End the subscription; what was pushed and not handed out goes back at once."""
        self._stopped = True
        if self._consumer is not None:
            self._changed.set()
            await self._consumer.stop()

    async def close(self) -> None:
        """Close the channels. The connections are shared, and closed by the core after their last user."""
        self._stopped = True
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.close()
        await self._sender.close()


async def _settle(messages: Sequence[Message], verb: Verb) -> Mapping[Message, Settled]:
    return {message: await receipt_of(message).consumer.settle(message, verb) for message in messages}
