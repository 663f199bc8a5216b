"""Publishing with confirms: what was sent is known to be in a queue, or the sender hears that it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from weakref import WeakValueDictionary

from aio_pika import Message
from aio_pika.abc import AbstractChannel, HeadersType

from loafer_core import Context, Unavailable
from loafer_rabbitmq.connection import ANSWER_TIMEOUT, TROUBLE, Link, shared
from loafer_rabbitmq.errors import classify
from loafer_rabbitmq.options import ConnectionOptions

CONFIRM_TIMEOUT = 30.0
"""Seconds for the broker's word that it has a message: quorum queues wait for most of their nodes."""


def headers(attributes: Mapping[str, str | bytes]) -> HeadersType:
    """As AMQP has them: bytes stay bytes."""
    return {name: bytearray(value) if isinstance(value, bytes) else value for name, value in attributes.items()}


class Sender:
    """A channel of the publishing connection, opened when it is needed and again after its loss."""

    def __init__(self, connection: ConnectionOptions) -> None:
        self._options = connection
        self._link: Link | None = None
        self._channel: AbstractChannel | None = None

    async def open(self, context: Context) -> Link:
        """Know the connection; more happens when it is needed."""
        if self._link is None:
            self._opening, self._twins = asyncio.Lock(), WeakValueDictionary[str, asyncio.Lock]()
            self._link = await shared(context, self._options, "publish")
        return self._link

    async def prove(self, *, exchange: str | None = None, queue: str | None = None) -> None:
        """Raise SourceConfigError unless it exists, and what ``Link.channel`` raises."""
        place = self._place(f"exchange {exchange!r}" if exchange else f"queue {queue!r}")
        channel = await self._ready()
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                if exchange:
                    await channel.get_exchange(exchange)
                else:
                    await channel.declare_queue(queue, passive=True)
        except TROUBLE as error:
            raise classify(error, place) from None

    async def send(self, exchange: str, routing_key: str, message: Message) -> None:
        """Publish, and return once a queue has it.

        Raises:
            SourceConfigError: there is no such exchange, or no queue is bound there for this routing key.
            ProviderError: the broker did not take it, or nobody knows.
        """
        place = self._place(f"exchange {exchange!r}" if exchange else f"queue {routing_key!r}")
        # aiormq knows a message that comes back by its id: two of one id at once, and the wrong one is told.
        async with self._twins.setdefault(message.message_id or "", asyncio.Lock()):
            channel = await self._ready()
            try:
                target = await channel.get_exchange(exchange, ensure=False)
                async with asyncio.timeout(CONFIRM_TIMEOUT):
                    await target.publish(message, routing_key, mandatory=True)
            except TimeoutError:
                raise Unavailable(f"{place}: not confirmed within {CONFIRM_TIMEOUT:g} s") from None
            except asyncio.CancelledError:
                # The library cancels who waits on a channel that is closed: that is its loss, not our end.
                if not channel.is_closed or (task := asyncio.current_task()) is None or task.cancelling():
                    raise
                raise Unavailable(f"{place}: the channel was closed, and nobody knows") from None
            except TROUBLE as error:
                raise classify(error, place) from None

    async def _ready(self) -> AbstractChannel:
        if self._link is None:
            raise Unavailable("the publisher is closed")
        async with self._opening:
            if self._channel is None or self._channel.is_closed:
                self._channel = await self._link.channel(confirms=True)
            return self._channel

    def _place(self, what: str) -> str:
        return what if self._link is None else f"{what} ({self._link.place})"

    async def close(self) -> None:
        """Close the channel."""
        channel, self._channel, self._link = self._channel, None, None
        if channel is not None and not channel.is_closed:
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT):
                    await channel.close()
            except TROUBLE:
                pass  # then it is closed already
