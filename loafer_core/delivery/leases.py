"""Keeping leases: until when each delivery is ours, and one heartbeat per provider that makes it longer in batches."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from loafer_core._tasks import is_cancel
from loafer_core.api import provider as protocols
from loafer_core.api.errors import ProviderError
from loafer_core.api.message import Message
from loafer_core.api.provider import Provider, Settled, Traits

logger = logging.getLogger("loafer.leases")

EXTEND_TIMEOUT, LEAST_EXTEND_TIMEOUT = 30.0, 1.0
"""Seconds that one extend call may take: a third of the lease at most, so that others can follow, and not beyond its
end, so that its loss is noticed: with order, where others may start on the group then, to the moment; else the last one
gets a little longer."""
GUARD = 0.1
"""Share of the lease below which no handler is started without extending first."""
TOTAL_MARGIN = 5.0
"""Seconds before the end of ``lease_total`` that are left alone: the source's clock counts."""


@dataclass(slots=True)
class _Hold:
    since: float
    until: float
    beat_at: float
    last: bool
    """It cannot be made longer any more: the beat is at its end, to say so."""


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
        self._lease = traits.lease or 0.0
        self._third, self._guard = self._lease / 3, GUARD * self._lease
        self._is_ordered = traits.ordered
        self._total = math.inf if traits.lease_total is None else traits.lease_total
        self._rng = rng
        self._on_lost = on_lost
        self._holds: dict[Message, _Hold] = {}
        self._extending: dict[Message, asyncio.Event] = {}
        self._wake = asyncio.Event()
        self._next = math.inf
        self._now = asyncio.get_running_loop().time

    def hold(self, messages: Sequence[Message], now: float) -> None:
        """Take charge of their leases, from their receive on, which is now."""
        beat_at = self._beat_after(now)  # one for all: what came together is extended together
        for message in messages:
            end = message.lease_until
            if end is None:
                end = now + self._lease if self._lease else math.inf
            hold = self._holds[message] = _Hold(now, end, math.inf, self._extender is None)
            self._keep(hold, now, beat_at)

    def hold_on(self, message: Message) -> None:
        """Extend it again: it was let go, and the settlement did not get through."""
        if (hold := self._holds.get(message)) is not None:
            now = self._now()
            self._keep(hold, now, self._beat_after(now))

    def _keep(self, hold: _Hold, now: float, beat_at: float) -> None:
        hold.beat_at = hold.until if hold.last else min(beat_at, max(now, hold.until - 2 * self._third))
        if hold.beat_at < self._next:
            self._next = hold.beat_at
            self._wake.set()

    def until(self, message: Message) -> float:
        """The loop's time at which the lease ends; infinity when there is none; minus infinity when it was lost."""
        hold = self._holds.get(message)
        return -math.inf if hold is None else hold.until

    def is_extending(self, message: Message) -> bool:
        """Tell whether an extend is under way, which ``let_go`` would wait for."""
        return message in self._extending

    async def let_go(self, messages: Sequence[Message]) -> list[float]:
        """Extend them no more; gives until when each is still ours, once no extend is under way."""
        for message in messages:
            if message in self._extending:
                await self._extended(message)
            if (hold := self._holds.get(message)) is not None:
                hold.beat_at = math.inf
        return [self.until(message) for message in messages]

    def forget(self, message: Message) -> None:
        """It is settled, gone, or to be left to its lease: extend no more, without waiting."""
        self._holds.pop(message, None)

    def is_safe(self, message: Message) -> bool:
        """Tell whether there is lease enough for a handler to start."""
        return self.until(message) > self._now() + self._guard

    async def secure(self, message: Message) -> bool:
        """Tell whether there is lease enough, now that it was made longer if need be and if possible."""
        await self._extended(message)
        if not self.is_safe(message):
            await self._extend([message])
        return self.is_safe(message)

    async def beat(self) -> None:
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
            soon = self._now() + self._third / 5
            await self._extend(
                [m for m, hold in self._holds.items() if hold.beat_at <= soon and m not in self._extending]
            )

    def _look_ahead(self) -> None:
        """Find when the next beat falls. Not done for each message: what is held comes and goes before its first."""
        idle = (hold.beat_at for message, hold in self._holds.items() if message not in self._extending)
        self._next = min(idle, default=math.inf)
        self._wake.set()

    def _beat_after(self, now: float) -> float:
        return now + self._third * (0.9 + 0.2 * self._rng.random())

    async def _extended(self, message: Message) -> None:
        while (done := self._extending.get(message)) is not None:
            await done.wait()

    async def _extend(self, messages: Sequence[Message]) -> None:
        now = self._now()
        asked = [message for message in messages if self._can_extend(message, now)]
        if not asked:
            return
        done = asyncio.Event()
        self._extending.update(dict.fromkeys(asked, done))
        try:
            self._read(asked, await self._ask(asked), sent=now)
        finally:
            for message in asked:
                del self._extending[message]
            done.set()
            self._look_ahead()

    def _can_extend(self, message: Message, now: float) -> bool:
        hold = self._holds.get(message)
        if hold is None:
            return False
        if not hold.last and now - hold.since + self._lease + TOTAL_MARGIN > self._total:
            hold.last, hold.beat_at = True, hold.until
            logger.warning(
                "%s: message %s has been held for %.0f s, the source allows %.0f s in all: its lease is left to end",
                self._route,
                message.id,
                now - hold.since,
                self._total,
                extra={"route": self._route, "message_id": message.id},
            )
        if now >= hold.until and (hold.last or self._is_ordered):
            self._lose(message)
            return False
        return not hold.last

    async def _ask(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        assert self._extender is not None
        left = min(self._holds[message].until for message in messages) - self._now()
        least = 0.0 if self._is_ordered else LEAST_EXTEND_TIMEOUT
        try:
            async with asyncio.timeout(min(EXTEND_TIMEOUT, self._third, max(left, least))):
                answers = await self._extender.extend(messages)
            if not isinstance(answers, Mapping):
                raise TypeError(f"extend() returned {type(answers).__name__}, not a mapping of messages to Settled")
            return answers
        except (Exception, asyncio.CancelledError) as error:
            if is_cancel(error):
                raise
            logger.warning(
                "%s: extending the lease of %d messages failed (%s: %s); tried again",
                self._route,
                len(messages),
                type(error).__name__,
                error,
                exc_info=not isinstance(error, (ProviderError, TimeoutError)),
                extra={"route": self._route},
            )
            return {}

    def _read(self, messages: Sequence[Message], answers: Mapping[Message, Settled], *, sent: float) -> None:
        now, margin = self._now(), min(1.0, self._lease / 10)
        for message in messages:
            hold, answer = self._holds.get(message), answers.get(message)
            if hold is None:
                continue
            if answer is Settled.DONE:
                hold.until = sent + self._lease - margin
                hold.beat_at = self._beat_after(sent)
            elif answer is Settled.LOST or hold.until <= now:
                self._lose(message)
            else:
                hold.beat_at = min(hold.until, now + self._third / 4 * self._rng.uniform(0.9, 1.1))

    def _lose(self, message: Message) -> None:
        del self._holds[message]
        self._on_lost(message)
