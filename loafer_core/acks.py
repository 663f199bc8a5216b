"""Settling: tell the source the outcome, in batches, every answer read, until it is confirmed or the lease ends.

The one place from which ack, nack, reject and release are called.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from loafer_core import protocols
from loafer_core.errors import ProviderError
from loafer_core.leases import Leases
from loafer_core.message import Message
from loafer_core.protocols import Provider, Settled, Traits

logger = logging.getLogger("loafer.acks")

Verb = Literal["ack", "nack", "reject", "release"]

CALL_TIMEOUT = 60.0
"""Seconds that one call to the provider may take; after that its entries count as RETRY."""
CALLS_AT_ONCE = 4
"""Calls of one verb under way at once; what comes meanwhile is collected for the next."""
RETRY_BASE, RETRY_CAP = 0.25, 20.0
"""Seconds between two tries of one settlement, with full jitter."""


@dataclass(slots=True, eq=False)
class Settlement:
    """One message on its way to being settled. ``done`` is called once, with DONE, LOST, or RETRY for given up."""

    message: Message
    verb: Verb
    done: Callable[[Settled], None]
    delay: float = 0.0
    reason: str = ""
    until: float = math.inf
    tries: int = 0


class Acks:
    """The settlements of one provider."""

    def __init__(self, route: str, provider: Provider, traits: Traits, leases: Leases, rng: random.Random) -> None:
        self._route, self._provider, self._traits, self._leases, self._rng = route, provider, traits, leases, rng
        self._queues: dict[Verb, list[Settlement]] = {"ack": [], "nack": [], "reject": [], "release": []}
        self._timers: dict[Verb, asyncio.Handle] = {}
        self._waiting: dict[Settlement, asyncio.TimerHandle] = {}
        self._calls: dict[Verb, int] = dict.fromkeys(self._queues, 0)
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: dict[Message, Settlement] = {}
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def pending(self) -> int:
        """Messages whose outcome is known and whose source does not know it yet."""
        return len(self._open)

    def put(self, settlement: Settlement) -> None:
        """Settle as soon as a batch is worth it. A nack delay beyond what the source keeps is parked here first."""
        self._open[settlement.message] = settlement
        self._empty.clear()
        parked = settlement.delay - self._traits.max_delay
        if settlement.verb == "nack" and parked > 0:
            settlement.delay = self._traits.max_delay
            if not self._draining:
                self._later(settlement, parked)
                return
        self._enqueue(settlement)

    def discard(self, message: Message) -> None:
        """The message is gone: tell the source nothing about it."""
        if (settlement := self._open.get(message)) is not None:
            self._finish(settlement, Settled.LOST)

    def flush(self) -> None:
        """Nothing more is to be expected soon: send what has been collected."""
        for verb in self._queues:
            self._send(verb)

    async def drain(self, until: float) -> None:
        """Send everything, what is parked or waits for another try too; at ``until`` (the loop's time) give up."""
        self._draining = True
        for settlement in list(self._waiting):
            self._enqueue_again(settlement)
        self.flush()
        try:
            async with asyncio.timeout_at(until):
                await self._empty.wait()
        except TimeoutError:
            pass
        for task in list(self._tasks):
            task.cancel()
        for timer in [*self._waiting.values(), *self._timers.values()]:
            timer.cancel()
        for settlement in list(self._open.values()):
            self._finish(settlement, Settled.RETRY)

    def _enqueue(self, settlement: Settlement) -> None:
        verb, queue = settlement.verb, self._queues[settlement.verb]
        queue.append(settlement)
        if len(queue) >= self._traits.batch or self._draining:
            self._send(verb)
        elif verb not in self._timers:
            loop = asyncio.get_running_loop()
            linger = self._traits.linger
            self._timers[verb] = (
                loop.call_later(linger, self._send, verb) if linger else loop.call_soon(self._send, verb)
            )

    def _later(self, settlement: Settlement, delay: float) -> None:
        loop = asyncio.get_running_loop()
        self._waiting[settlement] = loop.call_later(delay, self._enqueue_again, settlement)

    def _enqueue_again(self, settlement: Settlement) -> None:
        self._waiting.pop(settlement).cancel()
        self._enqueue(settlement)

    def _send(self, verb: Verb) -> None:
        if (timer := self._timers.pop(verb, None)) is not None:
            timer.cancel()
        if not self._queues[verb] or self._calls[verb] >= CALLS_AT_ONCE:
            return
        batch, self._queues[verb] = self._queues[verb], []
        self._calls[verb] += 1
        task = asyncio.get_running_loop().create_task(self._settle(verb, batch), name=f"{self._route}/{verb}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self, verb: Verb, batch: Sequence[Settlement]) -> None:
        batch = [settlement for settlement in batch if settlement.message in self._open]
        answers: Mapping[Message, Settled] = {}
        try:
            for settlement in batch:
                settlement.until = await self._leases.let_go(settlement.message)
            answers = await self._call(verb, batch) if batch else {}
        except asyncio.CancelledError:
            pass  # whether the source heard of it is unknown: the same as RETRY
        self._calls[verb] -= 1
        for settlement in batch:
            self._read(settlement, answers.get(settlement.message, Settled.RETRY))
        if self._queues[verb] and verb not in self._timers:
            self._send(verb)

    async def _call(self, verb: Verb, batch: Sequence[Settlement]) -> Mapping[Message, Settled]:
        messages = [settlement.message for settlement in batch]
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                if verb == "ack":
                    return await self._provider.ack(messages)
                if verb == "nack":
                    return await self._provider.nack({s.message: s.delay for s in batch})
                if verb == "release":
                    return await self._provider.release(messages)
                return await self._reject(batch)
        except Exception as error:
            logger.warning(
                "%s: %s of %d messages failed (%s: %s); tried again until their leases end",
                self._route,
                verb,
                len(batch),
                type(error).__name__,
                error,
                exc_info=not isinstance(error, (ProviderError, TimeoutError)),
                extra={"route": self._route},
            )
            return {}

    async def _reject(self, batch: Sequence[Settlement]) -> Mapping[Message, Settled]:
        answers: dict[Message, Settled] = {}
        if isinstance(self._provider, protocols.Rejects):
            for reason in {settlement.reason for settlement in batch}:
                messages = [s.message for s in batch if s.reason == reason]
                answers.update(await self._provider.reject(messages, reason))
        return answers

    def _read(self, settlement: Settlement, answer: Settled) -> None:
        now = asyncio.get_running_loop().time()
        if settlement.message not in self._open:
            return
        if answer is not Settled.RETRY or now >= settlement.until:
            self._finish(settlement, answer)
            return
        self._leases.hold(settlement.message, settlement.until)
        settlement.tries += 1
        cap = 0.5 if self._draining else RETRY_CAP
        self._later(settlement, self._rng.uniform(0, min(cap, RETRY_BASE * 2 ** min(settlement.tries, 20))))

    def _finish(self, settlement: Settlement, answer: Settled) -> None:
        if self._open.pop(settlement.message, None) is None:
            return
        if not self._open:
            self._empty.set()
        settlement.done(answer)
