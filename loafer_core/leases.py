"""Keeping leases: until when each delivery is ours, and one heartbeat per provider that makes it longer in batches."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from loafer_core import protocols
from loafer_core.errors import ProviderError
from loafer_core.message import Message
from loafer_core.protocols import Provider, Settled, Traits

logger = logging.getLogger("loafer.leases")

EXTEND_TIMEOUT = 30.0
"""Seconds that one extend call may take."""
GUARD = 0.1
"""Share of the lease below which no handler is started without extending first."""


@dataclass(slots=True)
class _Hold:
    since: float
    until: float
    beat_at: float


class Leases:
    """What is held for one provider. Times are the loop's.

    A beat falls every third of the lease (±10 %), so that two may be missed; a message that is settled before its
    first beat costs no request. No extend is sent once ``let_go`` was asked for, and ``let_go`` waits for one that is
    under way: an extend that overtakes a nack would hide the message again.
    """

    def __init__(
        self, route: str, provider: Provider, traits: Traits, rng: random.Random, on_lost: Callable[[Message], None]
    ) -> None:
        self._route = route
        self._extender = provider if traits.lease is not None and isinstance(provider, protocols.Leases) else None
        self._lease = traits.lease
        self._total = math.inf if traits.lease_total is None else traits.lease_total
        self._rng = rng
        self._on_lost = on_lost
        self._holds: dict[Message, _Hold] = {}
        self._extending: dict[Message, asyncio.Event] = {}
        self._wake = asyncio.Event()
        self._next = math.inf

    def hold(self, message: Message, until: float | None = None) -> None:
        """Take charge of a lease: from its receive, or again after a settlement that did not get through."""
        now = asyncio.get_running_loop().time()
        end = until if until is not None else message.lease_until
        if end is None:
            end = now + self._lease if self._lease is not None else math.inf
        received = now if self._lease is None or message.lease_until is None else message.lease_until - self._lease
        hold = self._holds[message] = _Hold(received, end, math.inf)
        if self._extender is not None:
            hold.beat_at = min(self._beat_after(now), max(now, end - self._third * 2))
            if hold.beat_at < self._next:
                self._wake.set()

    def until(self, message: Message) -> float:
        """The loop's time at which the lease ends; infinity when there is none; minus infinity when it was lost."""
        hold = self._holds.get(message)
        return -math.inf if hold is None else hold.until

    async def let_go(self, message: Message) -> float:
        """Extend no more; gives until when the message is still ours, once no extend is under way."""
        while (extending := self._extending.get(message)) is not None:
            await extending.wait()
        hold = self._holds.pop(message, None)
        return -math.inf if hold is None else hold.until

    def forget(self, message: Message) -> None:
        """It is gone, or to be left to its lease: extend no more, without waiting."""
        self._holds.pop(message, None)

    async def secure(self, message: Message) -> bool:
        """Tell whether a handler may start: there is lease enough, or it could be made longer just now."""
        if self._lease is None:
            return message in self._holds
        now = asyncio.get_running_loop().time()
        if self.until(message) - now >= GUARD * self._lease:
            return True
        if self._extender is not None and message in self._holds:
            await self._extend([message])
        return self.until(message) > asyncio.get_running_loop().time()

    async def beat(self) -> None:
        """Extend what is due, for ever. Run it as a task; it ends by being cancelled."""
        loop = asyncio.get_running_loop()
        while self._extender is not None:
            self._next = min((hold.beat_at for hold in self._holds.values()), default=math.inf)
            delay = self._next - loop.time()
            if delay > 0:
                self._wake.clear()
                try:
                    async with asyncio.timeout(None if delay == math.inf else delay):
                        await self._wake.wait()
                except TimeoutError:
                    pass
                continue
            soon = loop.time() + self._third / 5
            due = [m for m, hold in self._holds.items() if hold.beat_at <= soon and m not in self._extending]
            await self._extend(due)

    @property
    def _third(self) -> float:
        return (self._lease or 0.0) / 3

    def _beat_after(self, now: float) -> float:
        return now + self._third * self._rng.uniform(0.9, 1.1)

    async def _extend(self, messages: Sequence[Message]) -> None:
        now = asyncio.get_running_loop().time()
        within = [m for m in messages if self._within_total(m, now)]
        if not within:
            return
        done = asyncio.Event()
        self._extending.update(dict.fromkeys(within, done))
        try:
            answers = await self._ask(within)
        finally:
            for message in within:
                del self._extending[message]
            done.set()
        self._read(within, answers, sent=now)

    def _within_total(self, message: Message, now: float) -> bool:
        hold = self._holds[message]
        if now - hold.since + (self._lease or 0.0) + 5 <= self._total:
            return True
        hold.beat_at = math.inf
        logger.warning(
            "%s: message %s has been held for %.0f s, the source allows %.0f s in all: its lease is left to end",
            self._route,
            message.id,
            now - hold.since,
            self._total,
            extra={"route": self._route, "message_id": message.id},
        )
        return False

    async def _ask(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        if self._extender is None:
            return {}
        try:
            async with asyncio.timeout(EXTEND_TIMEOUT):
                return await self._extender.extend(messages)
        except Exception as error:
            unexpected = not isinstance(error, (ProviderError, TimeoutError))
            logger.warning(
                "%s: extending the lease of %d messages failed (%s: %s); tried again",
                self._route,
                len(messages),
                type(error).__name__,
                error,
                exc_info=unexpected,
                extra={"route": self._route},
            )
            return {}

    def _read(self, messages: Sequence[Message], answers: Mapping[Message, Settled], *, sent: float) -> None:
        lease = self._lease or 0.0
        for message in messages:
            hold = self._holds.get(message)
            if hold is None:
                continue
            answer = answers.get(message, Settled.RETRY)
            if answer is Settled.DONE:
                hold.until = sent + lease - min(1.0, lease / 10)
                hold.beat_at = self._beat_after(sent)
            elif answer is Settled.LOST or hold.until <= sent:
                del self._holds[message]
                self._on_lost(message)
            else:
                hold.beat_at = sent + self._third / 4 * self._rng.uniform(0.9, 1.1)
