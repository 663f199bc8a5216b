"""Consuming one queue over one channel, from its opening to its loss. What it delivers is settled on it or nowhere."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Self, cast

from aio_pika.abc import AbstractChannel
from aiormq.abc import AbstractChannel as RawChannel
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from loafer_core import Message, ProviderError, Settled, SourceConfigError, Unavailable
from loafer_rabbitmq.connection import ANSWER_TIMEOUT, TROUBLE
from loafer_rabbitmq.errors import classify, words
from loafer_rabbitmq.wire import read

Verb = Literal["ack", "nack", "release", "reject"]

_generation = itertools.count(1)


@dataclass(slots=True, eq=False)
class Receipt:
    """The token of one delivery, good on the channel that it came over and once."""

    consumer: Consumer = field(repr=False)
    subscription: str = field(repr=False)
    tag: int
    arrived: float
    """The loop's time."""
    settled: Verb | None = None


def receipt_of(message: Message) -> Receipt:
    return cast(Receipt, message.receipt)


class Consumer:
    """A channel with one subscription to the queue.

    aiormq's channel is used below aio-pika's: aio-pika does not tell when the broker cancels a subscription.
    """

    def __init__(self, channel: AbstractChannel, queue: str, prefetch: int, name: str, place: str) -> None:
        self._channel, self._queue, self._prefetch = channel, queue, prefetch
        self._name, self._place = f"{name}/{next(_generation)}", place
        self._raw: RawChannel | None = None
        self._subscriptions = itertools.count(1)
        self._subscription = ""
        self._unsettled: Counter[str] = Counter()
        self._stopping = False
        self._short_since: float | None = None
        self._closing: asyncio.Task[None] | None = None
        self.buffer: deque[Message] = deque()
        """Delivered by the broker and not handed out; never more than the prefetch."""
        self.ended: ProviderError | None = None
        """Why the channel is gone."""
        self.on_delivery: Callable[[], None] = lambda: None
        self.on_end: Callable[[Consumer, str], None] = lambda consumer, reason: None

    def __repr__(self) -> str:
        return f"<Consumer of {self._place}>"

    async def open(self) -> Self:
        """Watch over the channel. Raises what the library raises, as does ``subscribe``."""
        self._raw = await self._channel.get_underlay_channel()
        self._channel.close_callbacks.add(self._on_close)
        self._raw.on_consumer_cancel_callbacks.add(self._on_cancelled)
        # Each subscription gets a prefetch of its own; quorum queues know no other kind.
        await self._raw.basic_qos(prefetch_count=self._prefetch)
        return self

    @property
    def is_subscribed(self) -> bool:
        return bool(self._subscription)

    async def subscribe(self) -> None:
        """Let the broker deliver; in place of the last subscription, if there was one."""
        assert self._raw is not None
        previous, self._subscription = self._subscription, f"{self._name}/{next(self._subscriptions)}"
        async with asyncio.timeout(ANSWER_TIMEOUT):
            await self._raw.basic_consume(self._queue, self._on_delivery, consumer_tag=self._subscription)
            if previous:
                await self._raw.basic_cancel(previous)

    # --- deliveries

    async def _on_delivery(self, delivered: DeliveredMessage) -> None:
        frame = cast(Basic.Deliver, delivered.delivery)
        subscription, tag = frame.consumer_tag or "", frame.delivery_tag or 0
        receipt = Receipt(self, subscription, tag, asyncio.get_running_loop().time())
        message = read(delivered, receipt, self._queue, f"{self._name}-{tag}")
        self._unsettled[subscription] += 1
        if self._stopping:
            await self.settle(message, "release")
        elif self.ended is None:
            self.buffer.append(message)
            self.on_delivery()

    def take(self, limit: int) -> list[Message]:
        """The next ones, at most ``limit``."""
        return [self.buffer.popleft() for _ in range(min(limit, len(self.buffer)))]

    def take_older(self, than: float) -> list[Message]:
        """Those that arrived before the loop's time was ``than``."""
        older = sum(receipt_of(message).arrived < than for message in self.buffer)
        return self.take(older)

    def is_short(self, limit: int) -> bool:
        """Fewer can come than are asked for: failed messages that wait for their next try take their places."""
        short = self._prefetch - self._unsettled[self._subscription] < min(limit, self._prefetch)
        if not short:
            self._short_since = None
        return short

    async def make_room(self, patience: float) -> None:
        """Once it has been short for ``patience`` seconds, subscribe anew: what is unsettled counts for the old one.

        Nothing is given back by that: the broker keeps what is unsettled with the channel, not with the subscription.
        """
        now = asyncio.get_running_loop().time()
        self._short_since = now if self._short_since is None else self._short_since
        if now >= self._short_since + patience:
            self._short_since = None
            await self.subscribe()

    # --- settlements

    async def settle(self, message: Message, verb: Verb) -> Settled:
        """Write it. The broker never answers, so DONE says that the channel was alive; asked again, it says the same.

        A failed attempt goes back by basic.reject and one that never began by basic.nack: from RabbitMQ 4.3 on, quorum
        queues count only the first kind; before, both. https://www.rabbitmq.com/docs/4.3/nack
        """
        receipt = receipt_of(message)
        if receipt.settled is not None:
            return Settled.DONE if receipt.settled == verb else Settled.LOST
        if self.ended is not None or self._raw is None:
            return Settled.LOST
        receipt.settled = verb  # before it is written: a second one of its tag would close the channel
        self._unsettled -= Counter([receipt.subscription])
        try:
            if verb == "ack":
                await self._raw.basic_ack(receipt.tag)
            elif verb == "release":
                await self._raw.basic_nack(receipt.tag, requeue=True)
            else:
                await self._raw.basic_reject(receipt.tag, requeue=verb == "nack")
        except TROUBLE:
            return Settled.LOST  # the channel is gone, and what was unsettled on it comes again
        return Settled.DONE

    # --- the end

    def _on_close(self, channel: object, error: BaseException | None) -> None:
        self._end(classify(error, self._place) if error else Unavailable(f"{self._place}: the channel was closed"))

    async def _on_cancelled(self, frame: Basic.Cancel) -> None:
        """The queue was deleted, or its node went down."""
        if frame.consumer_tag == self._subscription:
            self._end(SourceConfigError(f"{self._place}: the broker ended the subscription; was the queue deleted?"))
            self._closing = asyncio.create_task(self.close())  # not here: the channel's reader waits for us

    def _end(self, error: ProviderError) -> None:
        if self.ended is None:
            self.ended = error
            self.on_end(self, words(error))

    async def stop(self) -> None:
        """End the subscription and give back what was not handed out. Settling still works."""
        self._stopping = True
        if self._raw is not None and self._subscription and self.ended is None:
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT):
                    await self._raw.basic_cancel(self._subscription)
            except TROUBLE as error:
                self._end(classify(error, self._place))
        for message in self.take(len(self.buffer)):
            await self.settle(message, "release")

    async def close(self) -> None:
        """Close the channel: the broker delivers again what is not settled."""
        self._stopping = True
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await self._channel.close()
        except TROUBLE:
            pass  # then it is closed already
        self._end(Unavailable(f"{self._place}: closed"))
