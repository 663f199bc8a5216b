"""Telling the source what became of messages: in batches, every answer read, until it has confirmed or the lease ends.

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
from typing import Any, assert_never, cast, get_args

from loafer_core.api.errors import ProviderError
from loafer_core.api.message import Message
from loafer_core.api.provider import Provider, Rejects, Settled, Traits
from loafer_core.delivery.in_flight import Delivery, Verb
from loafer_core.delivery.leases import LeaseKeeper

logger = logging.getLogger("loafer.acks")

CALL_TIMEOUT = 60.0
"""Most seconds that one call to the provider may take; after that its messages count as RETRY. While a call is under
way no lease of its messages is extended, so it gets a third of the lease: there must be time for another."""

LEAST_CALL_TIMEOUT = 5.0
"""Seconds that a call gets however short the lease is."""

LEAST_CALLS_AT_ONCE = 4
"""Calls of one verb that may be under way at once: as many as receives may, and at least so many. With fewer, receives
would bring messages faster than acks go out where the source is far away. What comes meanwhile is collected."""

RETRY_BASE = 0.25
"""Seconds before the second try of a settlement, at most (full jitter); doubled with each further try."""

RETRY_CAP = 20.0
"""Most seconds between two tries."""

DRAIN_RETRY_CAP = 0.5
"""Most seconds between two tries while the route stops."""

CLOSE_TIMEOUT = 0.5
"""Seconds that a cancelled call is waited for at the very end."""


class Settler:
    """What is to be told to the source of one route, and the calls that tell it."""

    def __init__(
        self,
        route: str,
        provider: Provider,
        traits: Traits,
        leases: LeaseKeeper,
        rng: random.Random,
        on_settled: Callable[[Delivery, Verb, Settled], None],
    ) -> None:
        """``on_settled`` is called once for each delivery, with its verb and DONE, LOST, or RETRY for given up."""
        self._route, self._provider, self._traits, self._leases, self._rng = route, provider, traits, leases, rng
        self._on_settled = on_settled
        third = math.inf if traits.lease is None else traits.lease / 3
        self._call_timeout = min(CALL_TIMEOUT, max(LEAST_CALL_TIMEOUT, third))
        self._pending: dict[Delivery, None] = {}
        """An index of the records in flight: those whose source does not know yet what became of them."""
        self._queues: dict[Verb, list[Delivery]] = {verb: [] for verb in get_args(Verb)}
        """Of these, what the next call of each verb takes along."""
        self._later: dict[Delivery, asyncio.TimerHandle] = {}
        """Of these, what waits: a parked nack, or the next try."""
        self._lingering: dict[Verb, asyncio.Handle] = {}
        self._calls: dict[Verb, int] = dict.fromkeys(self._queues, 0)
        self._most_calls = max(LEAST_CALLS_AT_ONCE, traits.receives)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._context = contextvars.copy_context()
        self._linger = traits.linger
        self._draining = False
        self._closed = False
        self._loop = asyncio.get_running_loop()

    @property
    def pending(self) -> int:
        """Messages whose outcome is known and whose source does not know it yet."""
        return len(self._pending)

    def settle(self, delivery: Delivery, verb: Verb) -> None:
        """Tell the source as soon as a batch is worth it; ``delay`` and ``reason`` of the delivery go along.

        A nack whose delay is longer than ``traits.max_delay`` is first held back here for the difference.
        """
        delivery.verb = verb
        self._pending[delivery] = None
        if self._closed:
            self._finish(delivery, Settled.RETRY)
            return
        parked = delivery.delay - self._traits.max_delay
        if verb == "nack" and parked > 0:
            delivery.delay = self._traits.max_delay
            if not self._draining:
                self._enqueue_after(delivery, parked)
                return
        self._enqueue(delivery, verb)

    def discard(self, delivery: Delivery) -> None:
        """The message is gone: tell the source nothing about it."""
        if delivery in self._pending:
            self._finish(delivery, Settled.LOST)

    def expedite(self, delivery: Delivery) -> None:
        """It will not be ours for long: neither park it nor wait with the next try, nor for others to join it."""
        if delivery not in self._pending or delivery.verb is None:
            return
        if delivery in self._later:
            self._enqueue_now(delivery)
        self._send(delivery.verb)

    def flush(self) -> None:
        """Nothing more is to be expected soon: send what has been collected."""
        for verb in self._queues:
            self._send(verb)

    def drain(self) -> None:
        """From now on nothing lingers and nothing is parked; another try comes soon."""
        self._draining = True
        self._linger = 0.0
        for delivery in list(self._later):
            self._enqueue_now(delivery)
        self.flush()

    async def close(self) -> None:
        """Give up what the source has not confirmed."""
        self._closed = True
        for handle in self._lingering.values():
            handle.cancel()
        for delivery in list(self._pending):
            self._finish(delivery, Settled.RETRY)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT)

    # --- waiting to be sent

    def _enqueue(self, delivery: Delivery, verb: Verb) -> None:
        queue = self._queues[verb]
        queue.append(delivery)
        if delivery.lease_until < self._loop.time() + self._linger + 1.0:
            self._send(verb)
        elif len(queue) % self._traits.batch == 0:
            # Not at once but in the loop's next step, so that a receive for the slots that came free goes out first.
            self._loop.call_soon(functools.partial(self._send, verb, whole=True), context=self._context)
        elif verb not in self._lingering:
            self._send_later(verb)

    def _send_later(self, verb: Verb) -> None:
        if self._linger:
            self._lingering[verb] = self._loop.call_later(self._linger, self._send, verb)
        else:
            self._lingering[verb] = self._loop.call_soon(self._send, verb)

    def _enqueue_after(self, delivery: Delivery, delay: float) -> None:
        self._later[delivery] = self._loop.call_later(delay, self._enqueue_now, delivery)

    def _enqueue_now(self, delivery: Delivery) -> None:
        self._later.pop(delivery).cancel()
        if delivery.verb is not None:
            self._enqueue(delivery, delivery.verb)

    # --- one call

    def _send(self, verb: Verb, *, whole: bool = False) -> None:
        """Send what has been collected; ``whole``: full batches only, the rest waits for more."""
        queue = self._queues[verb]
        is_busy = self._closed or self._calls[verb] >= self._most_calls
        count = len(queue) - len(queue) % self._traits.batch if whole else len(queue)
        if whole and (is_busy or not count):
            return
        if (handle := self._lingering.pop(verb, None)) is not None:
            handle.cancel()
        if is_busy:
            return
        batch = [delivery for delivery in queue[:count] if delivery in self._pending]
        self._queues[verb] = queue[count:]
        if self._queues[verb]:
            self._send_later(verb)
        extending = [delivery for delivery in batch if delivery.extending is not None]
        if extending:
            batch = [delivery for delivery in batch if delivery.extending is None]
            self._wait_for_extend(verb, extending)
        if batch:
            self._start(verb, batch)

    def _wait_for_extend(self, verb: Verb, deliveries: Sequence[Delivery]) -> None:
        """These are being extended, which must not overtake them: queue them again when that is answered."""
        waiting = self._leases.suspend(deliveries)
        task = self._loop.create_task(waiting, name=f"{self._route}/extending", context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._extended, verb, deliveries))

    def _extended(self, verb: Verb, deliveries: Sequence[Delivery], task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        for delivery in deliveries:
            if delivery in self._pending:
                self._enqueue(delivery, verb)

    def _start(self, verb: Verb, batch: Sequence[Delivery]) -> None:
        self._calls[verb] += 1
        # Not in the context of the handler that happened to end just now.
        context = self._context.copy()
        task = self._loop.create_task(self._tell(verb, batch), name=f"{self._route}/{verb}", context=context)
        self._tasks.add(task)
        # A callback, not the task itself, reads the answers: it runs however the task ends, cancelled unstarted too.
        task.add_done_callback(functools.partial(self._answered, verb, batch))

    async def _tell(self, verb: Verb, batch: Sequence[Delivery]) -> Mapping[Message, Settled]:
        await self._leases.suspend(batch)
        now = self._loop.time()
        # The end of the lease did what a nack, release or reject asks for; an ack is worth sending late.
        asked = [one for one in batch if one in self._pending and (verb == "ack" or one.lease_until > now)]
        if not asked:
            return {}
        messages = [delivery.message for delivery in asked]
        match verb:
            case "ack":
                return await self._call(verb, messages, lambda: self._provider.ack(messages))
            case "nack":
                delays = {delivery.message: delivery.delay for delivery in asked}
                return await self._call(verb, messages, lambda: self._provider.nack(delays))
            case "release":
                return await self._call(verb, messages, lambda: self._provider.release(messages))
            case "reject":
                return await self._reject(asked)
            case _:
                assert_never(verb)

    async def _reject(self, asked: Sequence[Delivery]) -> Mapping[Message, Settled]:
        """One call for each reason."""
        provider = cast(Rejects, self._provider)
        answers: dict[Message, Settled] = {}
        for reason in dict.fromkeys(delivery.reason for delivery in asked):
            messages = [delivery.message for delivery in asked if delivery.reason == reason]
            call = functools.partial(provider.reject, messages, reason)
            answers.update(await self._call("reject", messages, call))
        return answers

    async def _call(
        self, verb: Verb, messages: Sequence[Message], call: Callable[[], Awaitable[Mapping[Message, Settled]]]
    ) -> Mapping[Message, Settled]:
        try:
            async with asyncio.timeout(self._call_timeout):
                answers = await call()
            if not isinstance(answers, Mapping):
                raise TypeError(f"{verb}() returned {type(answers).__name__}, not a mapping of messages to Settled")
            return dict(answers)  # here, where what a mapping of the provider's own raises is taken care of
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

    def _answered(self, verb: Verb, batch: Sequence[Delivery], task: asyncio.Task[Mapping[Message, Settled]]) -> None:
        self._tasks.discard(task)
        self._calls[verb] -= 1
        # Cancelled: whether the source heard of it is unknown, the same as RETRY.
        answers = {} if task.cancelled() else task.result()
        jitter = self._rng.random()  # one for all: what failed together is tried together
        for delivery in batch:
            if delivery in self._pending:
                self._read(delivery, verb, answers.get(delivery.message), jitter)
        is_full = len(self._queues[verb]) >= self._traits.batch
        self._send(verb, whole=is_full or verb in self._lingering)

    def _read(self, delivery: Delivery, verb: Verb, answer: Settled | None, jitter: float) -> None:
        if answer is Settled.DONE or answer is Settled.LOST:
            self._finish(delivery, answer)
            return
        delivery.tries += 1
        cap = DRAIN_RETRY_CAP if self._draining else RETRY_CAP
        delay = jitter * min(cap, RETRY_BASE * 2 ** min(delivery.tries, 20))
        now = self._loop.time()
        shall_not_come_again = verb in ("ack", "reject")
        if now >= delivery.lease_until or (not shall_not_come_again and now + delay >= delivery.lease_until):
            self._finish(delivery, Settled.RETRY)
            return
        if shall_not_come_again:
            # Ack and reject need the lease for another try. A nack or release may let it run out, to the same effect.
            self._leases.resume(delivery)
        self._enqueue_after(delivery, delay)

    def _finish(self, delivery: Delivery, answer: Settled) -> None:
        del self._pending[delivery]
        if (timer := self._later.pop(delivery, None)) is not None:
            timer.cancel()
        assert delivery.verb is not None
        self._on_settled(delivery, delivery.verb, answer)
