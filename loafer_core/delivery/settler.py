"""Settling: tell the source the outcome, in batches, every answer read, until it is confirmed or the lease ends.

The one place from which ack, nack, reject and release are called.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from loafer_core.api import provider as protocols
from loafer_core.api.errors import ProviderError
from loafer_core.api.message import Message
from loafer_core.api.provider import Provider, Settled, Traits
from loafer_core.delivery.leases import Leases

logger = logging.getLogger("loafer.acks")

Verb = Literal["ack", "nack", "reject", "release"]

CALL_TIMEOUT, LEAST_CALL_TIMEOUT = 60.0, 5.0
"""Seconds that one call to the provider may take; after that its entries count as RETRY. While a call is under way no
lease is extended, so it gets a third of the lease, within these bounds: there must be time for another."""
LEAST_CALLS_AT_ONCE = 4
"""Calls of one verb that may be under way at once, or as many as receives: these would else outrun the acks where the
source is far away. What comes meanwhile is collected for the next call."""
RETRY_BASE, RETRY_CAP, DRAIN_RETRY_CAP = 0.25, 20.0, 0.5
"""Seconds between two tries of one settlement, with full jitter."""
CLOSE_TIMEOUT = 0.5
"""Seconds that a cancelled call is waited for."""


@dataclass(slots=True, eq=False)
class PendingSettlement:
    """One message on its way to being settled. ``done`` gets it, once, with DONE, LOST, or RETRY for given up."""

    message: Message
    verb: Verb
    done: Callable[[PendingSettlement, Settled], None]
    delay: float = 0.0
    reason: str = ""
    until: float = math.inf
    tries: int = 0


class Settler:
    """The settlements of one provider."""

    def __init__(self, route: str, provider: Provider, traits: Traits, leases: Leases, rng: random.Random) -> None:
        self._route, self._provider, self._traits, self._leases, self._rng = route, provider, traits, leases, rng
        third = math.inf if traits.lease is None else traits.lease / 3
        self._call_timeout = min(CALL_TIMEOUT, max(LEAST_CALL_TIMEOUT, third))
        self._open: dict[Message, PendingSettlement] = {}
        self._queues: dict[Verb, list[PendingSettlement]] = {"ack": [], "nack": [], "reject": [], "release": []}
        self._lingering: dict[Verb, asyncio.Handle] = {}
        self._later: dict[PendingSettlement, asyncio.TimerHandle] = {}
        self._calls: dict[Verb, int] = dict.fromkeys(self._queues, 0)
        self._most_calls = max(LEAST_CALLS_AT_ONCE, traits.receives)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._context = contextvars.copy_context()
        self._draining = self._closed = False
        self._loop = asyncio.get_running_loop()
        self._linger = traits.linger

    @property
    def pending(self) -> int:
        """Messages whose outcome is known and whose source does not know it yet."""
        return len(self._open)

    def put(self, settlement: PendingSettlement) -> None:
        """Settle as soon as a batch is worth it. A nack delay beyond what the source keeps is parked here first."""
        self._open[settlement.message] = settlement
        if self._closed:
            self._finish(settlement, Settled.RETRY)
            return
        parked = settlement.delay - self._traits.max_delay
        if settlement.verb == "nack" and parked > 0:
            settlement.delay = self._traits.max_delay
            if not self._draining:
                self._enqueue_after(settlement, parked)
                return
        self._enqueue(settlement)

    def discard(self, message: Message) -> None:
        """The message is gone: tell the source nothing about it."""
        if (settlement := self._open.get(message)) is not None:
            self._finish(settlement, Settled.LOST)

    def hasten(self, message: Message) -> None:
        """It will not be ours for long: neither park it nor wait with the next try, nor for others to join it."""
        if (settlement := self._open.get(message)) is not None:
            if settlement in self._later:
                self._enqueue_now(settlement)
            self._send(settlement.verb)

    def flush(self) -> None:
        """Nothing more is to be expected soon: send what has been collected."""
        for verb in self._queues:
            self._send(verb)

    def drain(self) -> None:
        """From now on nothing lingers and nothing is parked; another try comes soon."""
        self._draining, self._linger = True, 0.0
        for settlement in list(self._later):
            self._enqueue_now(settlement)
        self.flush()

    async def close(self) -> None:
        """Give up what the source has not confirmed."""
        self._closed = True
        for handle in self._lingering.values():
            handle.cancel()
        for settlement in list(self._open.values()):
            self._finish(settlement, Settled.RETRY)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT)

    # --- waiting to be sent

    def _enqueue(self, settlement: PendingSettlement) -> None:
        verb, queue = settlement.verb, self._queues[settlement.verb]
        queue.append(settlement)
        if self._leases.until(settlement.message) < self._loop.time() + self._linger + 1.0:
            self._send(verb)
        elif len(queue) % self._traits.batch == 0:
            # In a moment: a receive for the slots that came free just now goes first. Nobody waits for an ack.
            self._loop.call_soon(functools.partial(self._send, verb, whole=True), context=self._context)
        elif verb not in self._lingering:
            self._send_later(verb)

    def _send_later(self, verb: Verb) -> None:
        wait = self._linger
        self._lingering[verb] = (
            self._loop.call_later(wait, self._send, verb) if wait else self._loop.call_soon(self._send, verb)
        )

    def _enqueue_after(self, settlement: PendingSettlement, delay: float) -> None:
        self._later[settlement] = self._loop.call_later(delay, self._enqueue_now, settlement)

    def _enqueue_now(self, settlement: PendingSettlement) -> None:
        self._later.pop(settlement).cancel()
        self._enqueue(settlement)

    # --- one call

    def _send(self, verb: Verb, *, whole: bool = False) -> None:
        """Send what has been collected; ``whole``: only what fills batches, since others may join the rest yet."""
        queue, is_busy = self._queues[verb], self._closed or self._calls[verb] >= self._most_calls
        count = len(queue) - len(queue) % self._traits.batch if whole else len(queue)
        if whole and (is_busy or not count):
            return
        if (handle := self._lingering.pop(verb, None)) is not None:
            handle.cancel()
        if is_busy:
            return
        batch = [settlement for settlement in queue[:count] if settlement.message in self._open]
        self._queues[verb] = queue[count:]
        if self._queues[verb]:
            self._send_later(verb)
        held = [settlement for settlement in batch if self._leases.is_extending(settlement.message)]
        if held:
            batch = [settlement for settlement in batch if settlement not in held]
            self._hold(held)
        if batch:
            self._start(verb, batch)

    def _hold(self, settlements: Sequence[PendingSettlement]) -> None:
        """Collect them again once no extend is under way: it must not overtake them, and others need not wait."""
        waiting = self._leases.let_go([settlement.message for settlement in settlements])
        task = self._loop.create_task(waiting, name=f"{self._route}/extending", context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._extended, settlements))

    def _extended(self, settlements: Sequence[PendingSettlement], task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        for settlement in settlements:
            if settlement.message in self._open:
                self._enqueue(settlement)

    def _start(self, verb: Verb, batch: Sequence[PendingSettlement]) -> None:
        self._calls[verb] += 1
        # Not in the context of the handler that happened to end just now.
        context, name = self._context.copy(), f"{self._route}/{verb}"
        task = self._loop.create_task(self._settle(verb, batch), name=name, context=context)
        self._tasks.add(task)
        # A callback, not the task itself, reads the answers: it runs however the task ends, cancelled unstarted too.
        task.add_done_callback(functools.partial(self._answered, verb, batch))

    async def _settle(self, verb: Verb, batch: Sequence[PendingSettlement]) -> Mapping[Message, Settled]:
        for settlement, until in zip(batch, await self._leases.let_go([s.message for s in batch]), strict=True):
            settlement.until = until
        now = self._loop.time()
        # The end of the lease did what a nack, release or reject asks for; an ack is worth sending late.
        asked = [s for s in batch if s.message in self._open and (verb == "ack" or s.until > now)]
        messages = [settlement.message for settlement in asked]
        if not asked:
            return {}
        if verb == "ack":
            return await self._call(verb, messages, lambda: self._provider.ack(messages))
        if verb == "nack":
            return await self._call(verb, messages, lambda: self._provider.nack({s.message: s.delay for s in asked}))
        if verb == "release":
            return await self._call(verb, messages, lambda: self._provider.release(messages))
        return await self._reject(asked)

    async def _reject(self, asked: Sequence[PendingSettlement]) -> Mapping[Message, Settled]:
        answers: dict[Message, Settled] = {}
        for reason in dict.fromkeys(settlement.reason for settlement in asked):
            messages = [settlement.message for settlement in asked if settlement.reason == reason]
            reject = functools.partial(cast(protocols.Rejects, self._provider).reject, messages, reason)
            answers.update(await self._call("reject", messages, reject))
        return answers

    async def _call(
        self, verb: Verb, messages: Sequence[Message], call: Callable[[], Awaitable[Mapping[Message, Settled]]]
    ) -> Mapping[Message, Settled]:
        try:
            async with asyncio.timeout(self._call_timeout):
                answers = await call()
            if not isinstance(answers, Mapping):
                raise TypeError(f"{verb}() returned {type(answers).__name__}, not a mapping of messages to Settled")
            return answers
        except Exception as error:
            logger.warning(
                "%s: %s of %d messages failed (%s: %s); tried again until their leases end",
                self._route,
                verb,
                len(messages),
                type(error).__name__,
                error,
                exc_info=not isinstance(error, (ProviderError, TimeoutError)),
                extra={"route": self._route},
            )
            return {}

    def _answered(
        self, verb: Verb, batch: Sequence[PendingSettlement], task: asyncio.Task[Mapping[Message, Settled]]
    ) -> None:
        self._tasks.discard(task)
        self._calls[verb] -= 1
        # Cancelled: whether the source heard of it is unknown, the same as RETRY.
        answers = {} if task.cancelled() else task.result()
        jitter = self._rng.random()  # one for all: what failed together is tried together
        for settlement in batch:
            if settlement.message in self._open:
                self._read(settlement, answers.get(settlement.message), jitter)
        is_full = len(self._queues[verb]) >= self._traits.batch
        self._send(verb, whole=is_full or verb in self._lingering)

    def _read(self, settlement: PendingSettlement, answer: Settled | None, jitter: float) -> None:
        if answer is Settled.DONE or answer is Settled.LOST:
            self._finish(settlement, answer)
            return
        settlement.tries += 1
        cap = DRAIN_RETRY_CAP if self._draining else RETRY_CAP
        delay = jitter * min(cap, RETRY_BASE * 2 ** min(settlement.tries, 20))
        now = self._loop.time()
        keep = settlement.verb in ("ack", "reject")
        if now >= settlement.until or (not keep and now + delay >= settlement.until):
            self._finish(settlement, Settled.RETRY)
            return
        if keep:  # what shall come again comes by the end of its lease, too
            self._leases.hold_on(settlement.message)
        self._enqueue_after(settlement, delay)

    def _finish(self, settlement: PendingSettlement, answer: Settled) -> None:
        del self._open[settlement.message]
        if (timer := self._later.pop(settlement, None)) is not None:
            timer.cancel()
        settlement.done(settlement, answer)
