"""Keeping leases: one heartbeat for each route extends in batches what is in flight, and notices what is lost."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Mapping, Sequence

from loafer_core._tasks import is_cancel
from loafer_core.api.errors import ProviderError
from loafer_core.api.message import Message
from loafer_core.api.provider import Leases, Provider, Settled, Traits
from loafer_core.delivery.in_flight import Delivery

logger = logging.getLogger("loafer.leases")

EXTEND_SHARE = 1 / 3
"""An extend is due every third of the lease: two may fail before the lease is at risk."""

EXTEND_TIMEOUT = 30.0
"""Most seconds that one extend call may take; not more than a third of the lease, so that another can follow."""

LEAST_EXTEND_TIMEOUT = 1.0
"""Seconds that an extend call gets at the end of its lease where the source keeps no order. With order it gets only
what is left of the lease: another consumer may start on the group in the moment that it ends."""

GUARD_SHARE = 0.1
"""Share of the lease below which no handler is started without extending first."""

RETRY_SHARE = 1 / 12
"""After an extend that was not confirmed another one is sent when this share of the lease has passed."""

TOGETHER_SHARE = 1 / 15
"""What is due within this share of the lease is extended along, so that it needs no request of its own."""

TOTAL_MARGIN = 5.0
"""Seconds before the end of ``traits.lease_total`` that are left alone: the source's clock counts, not ours."""


class LeaseKeeper:
    """The leases of one route. Moments are the loop's.

    A message that is settled before its first extend is due costs no request. Once ``suspend`` was asked for, no extend
    is sent, and ``suspend`` waits for one that is under way: an extend that overtakes a nack would hide the message
    again.
    """

    def __init__(
        self, route: str, provider: Provider, traits: Traits, rng: random.Random, on_lost: Callable[[Delivery], None]
    ) -> None:
        """``on_lost`` is called with each delivery whose lease is found to have ended or to be somebody else's."""
        self._route = route
        self._provider = provider if traits.lease is not None and isinstance(provider, Leases) else None
        self._lease = traits.lease or 0.0
        self._extend_every = self._lease * EXTEND_SHARE
        self._extend_timeout = min(EXTEND_TIMEOUT, self._lease * EXTEND_SHARE)
        self._guard = self._lease * GUARD_SHARE
        self._is_ordered = traits.ordered
        self._total = math.inf if traits.lease_total is None else traits.lease_total
        self._rng = rng
        self._on_lost = on_lost
        self._tracked: dict[Delivery, None] = {}
        """An index of the records in flight: those that are ours. In the order of their receive."""
        self._wake = asyncio.Event()
        self._next = math.inf
        """When the heartbeat looks at them again."""
        self._now = asyncio.get_running_loop().time

    # --- what is ours, and until when

    def track(self, deliveries: Sequence[Delivery], now: float) -> None:
        """Take charge of their leases from their receive on, which is now."""
        extend_at = self._next_extend(now)  # one moment for all: what came together is extended together
        for delivery in deliveries:
            end = delivery.message.lease_until
            if end is None:
                end = now + self._lease if self._lease else math.inf
            delivery.lease_until = end
            delivery.lease_is_final = self._provider is None
            self._tracked[delivery] = None
            self._schedule(delivery, now, extend_at)

    def resume(self, delivery: Delivery) -> None:
        """Extend it again: it was suspended for a settlement, which did not get through."""
        if delivery in self._tracked:
            now = self._now()
            self._schedule(delivery, now, self._next_extend(now))

    def untrack(self, delivery: Delivery) -> None:
        """It is settled, gone, or to be left to its lease: extend it no more, without waiting."""
        self._tracked.pop(delivery, None)
        delivery.lease_until = -math.inf

    async def suspend(self, deliveries: Sequence[Delivery]) -> None:
        """Extend them no more, and wait until no extend of theirs is under way."""
        for delivery in deliveries:
            if delivery.extending is not None:
                await _answered(delivery)
            delivery.extend_at = math.inf

    def is_safe(self, delivery: Delivery) -> bool:
        """Tell whether there is lease enough for a handler to start."""
        return delivery.lease_until > self._now() + self._guard

    async def ensure(self, delivery: Delivery) -> bool:
        """Tell whether there is lease enough, now that it was extended if need be and if possible."""
        await _answered(delivery)
        if not self.is_safe(delivery):
            await self._extend([delivery])
        return self.is_safe(delivery)

    # --- the heartbeat

    async def heartbeat(self) -> None:
        """Extend what is due, for ever. Run it as a task; it ends by being cancelled."""
        while True:
            self._look_ahead()
            while (delay := self._next - self._now()) > 0:
                self._wake.clear()
                try:
                    async with asyncio.timeout(None if delay == math.inf else delay):
                        await self._wake.wait()
                except TimeoutError:
                    pass
            soon = self._now() + self._lease * TOGETHER_SHARE
            await self._extend([one for one in self._tracked if one.extend_at <= soon and one.extending is None])

    def _schedule(self, delivery: Delivery, now: float, extend_at: float) -> None:
        if delivery.lease_is_final:
            delivery.extend_at = delivery.lease_until
        else:
            # Two extends must still fit in before the lease ends, also where it was given shorter than usual.
            latest = delivery.lease_until - 2 * self._extend_every
            delivery.extend_at = min(extend_at, max(now, latest))
        if delivery.extend_at < self._next:
            self._next = delivery.extend_at
            self._wake.set()

    def _look_ahead(self) -> None:
        """Find when the next extend is due. Once a heartbeat will do, as most messages are settled before theirs."""
        self._next = min((one.extend_at for one in self._tracked if one.extending is None), default=math.inf)
        self._wake.set()

    def _next_extend(self, now: float) -> float:
        """Give or take a tenth, so that routes that started together do not beat together."""
        return now + self._extend_every * (0.9 + 0.2 * self._rng.random())

    # --- one extend

    async def _extend(self, deliveries: Sequence[Delivery]) -> None:
        now = self._now()
        asked = [delivery for delivery in deliveries if self._can_extend(delivery, now)]
        if not asked:
            return
        answered = asyncio.Event()
        for delivery in asked:
            delivery.extending = answered
        try:
            self._read(asked, await self._ask(asked), sent=now)
        finally:
            for delivery in asked:
                delivery.extending = None
            answered.set()
            self._look_ahead()

    def _can_extend(self, delivery: Delivery, now: float) -> bool:
        if delivery not in self._tracked:
            return False
        if not delivery.lease_is_final and now + self._lease > delivery.received_at + self._total - TOTAL_MARGIN:
            delivery.lease_is_final = True
            delivery.extend_at = delivery.lease_until
            logger.warning(
                "%s: message %s has been held for %.0f s, the source allows %.0f s in all: its lease is left to end",
                self._route,
                delivery.message.id,
                now - delivery.received_at,
                self._total,
                extra={"route": self._route, "message_id": delivery.message.id},
            )
        if now >= delivery.lease_until and (delivery.lease_is_final or self._is_ordered):
            self._lose(delivery)
            return False
        return not delivery.lease_is_final

    async def _ask(self, deliveries: Sequence[Delivery]) -> Mapping[Message, Settled]:
        assert self._provider is not None
        left = min(delivery.lease_until for delivery in deliveries) - self._now()
        least = 0.0 if self._is_ordered else LEAST_EXTEND_TIMEOUT
        try:
            async with asyncio.timeout(min(self._extend_timeout, max(left, least))):
                answers = await self._provider.extend([delivery.message for delivery in deliveries])
            if not isinstance(answers, Mapping):
                raise TypeError(f"extend() returned {type(answers).__name__}, not a mapping of messages to Settled")
            return dict(answers)  # here, where what a mapping of the provider's own raises is taken care of
        except (Exception, asyncio.CancelledError) as error:
            if is_cancel(error):
                raise
            logger.warning(
                "%s: extending the lease of %d messages failed (%s: %s); tried again",
                self._route,
                len(deliveries),
                type(error).__name__,
                error,
                exc_info=not isinstance(error, (ProviderError, TimeoutError)),
                extra={"route": self._route},
            )
            return {}

    def _read(self, deliveries: Sequence[Delivery], answers: Mapping[Message, Settled], *, sent: float) -> None:
        now = self._now()
        margin = min(1.0, self._lease / 10)
        for delivery in deliveries:
            if delivery not in self._tracked:
                continue
            answer = answers.get(delivery.message)
            if answer is Settled.DONE:
                delivery.lease_until = sent + self._lease - margin
                delivery.extend_at = self._next_extend(sent)
            elif answer is Settled.LOST or delivery.lease_until <= now:
                self._lose(delivery)
            else:
                again = now + self._lease * RETRY_SHARE * self._rng.uniform(0.9, 1.1)
                delivery.extend_at = min(delivery.lease_until, again)

    def _lose(self, delivery: Delivery) -> None:
        self.untrack(delivery)
        self._on_lost(delivery)


async def _answered(delivery: Delivery) -> None:
    while (answered := delivery.extending) is not None:
        await answered.wait()
