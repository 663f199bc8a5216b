"""The deliveries of one route: each received message gets a slot and a task, and is followed to its end."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import math
import random
from collections.abc import Callable, Collection, Sequence
from typing import assert_never

from loafer_core.api.current import Current, Flag, enter
from loafer_core.api.message import Message
from loafer_core.api.outcomes import Ack, Outcome
from loafer_core.api.provider import Provider, Settled, Traits
from loafer_core.delivery.breaker import CircuitBreaker
from loafer_core.delivery.durations import Durations
from loafer_core.delivery.emptiness import Emptiness
from loafer_core.delivery.groups import Groups
from loafer_core.delivery.handlers import name_of
from loafer_core.delivery.in_flight import (
    CLOSED,
    DECIDED,
    RUNNING,
    STARTING,
    WAITING,
    Delivery,
    InFlightTable,
    Phase,
    Verb,
)
from loafer_core.delivery.leases import LeaseKeeper
from loafer_core.delivery.ledger import Ledger
from loafer_core.delivery.pipeline import Pipeline
from loafer_core.delivery.settlement import Settlement
from loafer_core.delivery.settler import Settler
from loafer_core.observability.observers import Observers

logger = logging.getLogger("loafer.route")

MOST_PENDING = 100
"""Messages that may wait for the source's confirmation without holding up others: this many, or as many as there are
slots if that is more. Each one above takes a slot away from receiving."""


class Deliveries:
    """What one route does with messages while its provider is open."""

    def __init__(
        self,
        pipeline: Pipeline,
        provider: Provider,
        traits: Traits,
        in_flight: InFlightTable,
        emptiness: Emptiness,
        *,
        stopping: Flag,
        observers: Observers,
        rng: random.Random,
        on_change: Callable[[], None],
        on_bug: Callable[[BaseException], None],
    ) -> None:
        """Receive nothing yet.

        Args:
            pipeline: decides the outcome of each message.
            provider: is told the outcomes.
            traits: the provider's, as they are now that it is open.
            in_flight: the route's table; empty.
            emptiness: is told what comes and goes.
            stopping: set when a stop has begun.
            observers: are told of each message that is done.
            rng: for jitter.
            on_change: called when there may be room for more, or less to wait for.
            on_bug: called with what must not have been raised.
        """
        self._pipeline, self._route, self._traits = pipeline, pipeline.route, traits
        self._provider_name = name_of(type(provider))
        self._in_flight, self._emptiness, self._stopping = in_flight, emptiness, stopping
        self._on_change, self._on_bug = on_change, on_bug
        self._concurrency = self._route.concurrency
        self._most_pending = max(MOST_PENDING, self._concurrency)
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._leases = LeaseKeeper(self._route.name, provider, traits, rng, self._lease_ended)
        self._settler = Settler(self._route.name, provider, traits, self._leases, rng, self._settled)
        self._settlement = Settlement(
            self._route,
            traits,
            in_flight,
            self._settler,
            self._leases,
            emptiness,
            observers,
            rng,
            self._now,
            self._closed,
        )
        self._groups = Groups(traits.ordered)
        self._ledger = Ledger() if self._route.ledger and traits.stable_ids else None
        breaker = self._route.breaker
        self._breaker = None if breaker is None else CircuitBreaker(breaker.failures, breaker.window)
        self._durations = Durations()
        self._tasks: set[asyncio.Task[None]] = set()
        self._context = contextvars.copy_context()
        """What one handler leaves in its contextvars is not seen by the next."""
        self._takes_until = math.inf
        """During a stop: a message is started only if its handler is expected to end by then, else it is given back.
        The loop's time; infinity before a stop."""
        self.last_progress: float | None = None
        """When an outcome was last decided. The loop's time."""

    # --- what others ask

    def __len__(self) -> int:
        """Messages in our hands."""
        return len(self._in_flight)

    def outstanding(self) -> list[Message]:
        """The messages in our hands."""
        return self._in_flight.outstanding()

    def room(self) -> int:
        """Slots that a receive may fill; with an open breaker none, or one for a probe."""
        overdue = self._settler.pending - self._most_pending
        free = self._concurrency - self._in_flight.busy - (overdue if overdue > 0 else 0)
        breaker = self._breaker
        if breaker is None or not breaker.is_open:
            return free
        may_probe = not self._in_flight.busy and self._now() >= breaker.retry_at
        return min(free, 1 if may_probe else 0)

    @property
    def busy(self) -> int:
        """Slots that are held."""
        return self._in_flight.busy

    @property
    def pending(self) -> int:
        """Messages whose outcome is known and whose source does not know it yet."""
        return self._settler.pending

    @property
    def slowest_handler(self) -> float:
        """Seconds that the slowest of the last handlers took."""
        return self._durations.slowest

    async def heartbeat(self) -> None:
        """Keep the leases, for ever. Run it as a task."""
        await self._leases.heartbeat()

    # --- from receive to outcome

    def accept(self, messages: Sequence[Message]) -> None:
        """Start a delivery for each; what a stop leaves no time for is given back."""
        now = self._now()
        name, stopping = self._route.name, self._stopping
        taken = []
        for message in messages:
            if (delivery := self._in_flight.take(message, Current(message, name, stopping), now)) is not None:
                taken.append(delivery)
            else:
                self._log_twice(message)
        self._leases.track(taken, now)
        is_too_late = self._is_too_late(now)
        for delivery in taken:
            if is_too_late and not self._is_known(delivery.message):
                self._give_back(delivery)
            elif self._groups.join(delivery):
                self._start(delivery)

    def _log_twice(self, message: Message) -> None:
        logger.error(
            "%s: %s handed out message %s once more as the very object that is still in flight, so it is left out; "
            "a provider makes a new Message for each delivery",
            self._route.name,
            self._provider_name,
            message.id,
            extra={"route": self._route.name, "message_id": message.id},
        )

    def _is_too_late(self, now: float) -> bool:
        if self._takes_until == math.inf:
            return False
        timeout = self._route.handler_timeout
        expected = self._durations.usual_most if timeout is None else timeout
        return expected is None or now + expected > self._takes_until

    def _is_known(self, message: Message) -> bool:
        return self._ledger is not None and self._ledger.knows(message, self._now())

    def _start(self, delivery: Delivery) -> None:
        name = f"{self._route.name}/{delivery.message.id}"
        task = self._loop.create_task(self._deliver(delivery), name=name, context=self._context.copy())
        delivery.task = task
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._ended, delivery))

    def _ended(self, delivery: Delivery, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if delivery.phase is WAITING:
            self._give_back(delivery)  # cancelled by somebody else before its first step: nothing of it has run
        elif not task.cancelled() and (bug := task.exception()) is not None:
            self._on_bug(bug)
        if not self._tasks:
            self._settler.flush()  # the last task has ended: nothing will join the batch

    async def _deliver(self, delivery: Delivery) -> None:
        if delivery.phase is CLOSED:
            return  # a stop ended between its receive and this step, and has accounted for it
        is_known = self._is_known(delivery.message)
        try:
            self._in_flight.advance(delivery, STARTING)
            is_safe = not is_known and (self._leases.is_safe(delivery) or await self._leases.ensure(delivery))
            if is_safe and not (delivery.gone or delivery.cancelled):
                await self._decide(delivery)
        except asyncio.CancelledError:
            delivery.cancelled = True
        if delivery.phase is CLOSED:
            delivery.error = None  # a stop could not wait for it, and has accounted for it
            return
        self._in_flight.advance(delivery, DECIDED)
        if is_known:
            self._pipeline.account.known += 1
            self._settlement.tell(delivery, "ack")
        elif delivery.outcome is not None:
            self._decided(delivery, delivery.outcome)
        elif delivery.cancelled and not delivery.gone:
            self._settlement.tell(delivery, "release")
        else:
            self._settlement.close(delivery, "dropped")

    async def _decide(self, delivery: Delivery) -> None:
        enter(delivery.current)
        self._in_flight.advance(delivery, RUNNING)
        delivery.started_at = self._now()
        try:
            delivery.outcome, delivery.error = await self._pipeline.decide(
                delivery.message, lambda: delivery.cancelled, delivery.task
            )
        finally:
            delivery.seconds = self._now() - delivery.started_at
            self._durations.add(delivery.seconds)

    def _decided(self, delivery: Delivery, outcome: Outcome) -> None:
        now = delivery.started_at + delivery.seconds
        self.last_progress = now
        if self._breaker is not None:
            self._record(self._breaker, delivery.error)
        if self._ledger is not None and isinstance(outcome, Ack):
            self._ledger.remember(delivery.message, now)
        self._settlement.carry_out(delivery, outcome)
        if delivery.revoked:
            self._settler.expedite(delivery)

    def _record(self, breaker: CircuitBreaker, error: BaseException | None) -> None:
        if breaker.record(error, self._now()):
            if breaker.is_open:
                text = "%s: breaker open: receiving pauses, what its handler needs seems down"
            else:
                text = "%s: breaker closed again"
            logger.warning(text, self._route.name, extra={"route": self._route.name})
        if breaker.is_open:
            self._loop.call_at(breaker.retry_at, self._on_change)

    def _settled(self, delivery: Delivery, verb: Verb, answer: Settled) -> None:
        self._settlement.answered(delivery, verb, answer)

    def _closed(self, delivery: Delivery) -> None:
        following, left_over = self._groups.leave(delivery)
        if following is not None:
            self._start(following)
        for sibling in left_over:
            self._give_back(sibling)
        if self._settler.pending >= self._most_pending or self._stopping.is_set():
            # Only a full backlog or a stop waits for a close; otherwise the slot came free with the outcome.
            self._on_change()

    def _give_back(self, delivery: Delivery) -> None:
        """Release a delivery that was not started; drop it if it is gone."""
        self._in_flight.advance(delivery, DECIDED)
        if delivery.gone:
            self._settlement.close(delivery, "dropped")
        else:
            self._settlement.tell(delivery, "release")

    # --- a stop

    def begin_stop(self, takes_until: float) -> None:
        """Give back what waits behind a sibling or has not reached its handler; start only what ends by then."""
        self._takes_until = takes_until
        self.release_unstarted()
        self._settler.flush()

    def start_nothing_more(self) -> None:
        """Give back whatever still comes in."""
        self._takes_until = -math.inf

    def release_unstarted(self) -> None:
        """Give back what has not reached its handler."""
        for delivery in self._in_flight:
            if delivery.phase in (WAITING, STARTING):
                delivery.cancelled = True
                if delivery.waits_its_turn:
                    self._give_back_from(delivery)

    def cancel_running(self) -> None:
        """The time for work is over: cancel what still runs. Threads go on."""
        self.release_unstarted()
        for delivery in self._in_flight:
            self._cancel(delivery)

    def drain_settlements(self) -> None:
        """From now on nothing lingers, nothing is parked, and what failed is tried again soon."""
        self._settler.drain()

    async def give_up_settlements(self) -> None:
        """Account for what the source has not confirmed as not settled."""
        await self._settler.close()

    def abandon_running(self) -> None:
        """Account for what a stop cannot wait for as abandoned: the end of its lease brings it back."""
        for delivery in self._in_flight:
            match delivery.phase:
                case Phase.WAITING | Phase.STARTING | Phase.RUNNING:
                    self._settlement.close(delivery, "abandoned")
                case Phase.DECIDED | Phase.SETTLING | Phase.CLOSED:
                    pass
                case _:
                    assert_never(delivery.phase)

    # --- what takes a message away

    def lost(self, messages: Collection[Message], reason: str) -> None:
        """They are not ours any more: unstarted ones are dropped, running ones told, on ordered sources cancelled."""
        self._lose(self._in_flight.find(messages), reason, late_ack=False)

    async def revoke(self, messages: Collection[Message], within: float) -> None:
        """They will be taken away: running ones get ``within`` seconds, the rest is lost."""
        deliveries = self._in_flight.find(messages)
        unstarted = [delivery for delivery in deliveries if not delivery.has_started]
        self._lose(unstarted, "revoked", late_ack=False)
        for delivery in deliveries:
            delivery.revoked = True
        try:
            async with asyncio.timeout(within):
                for delivery in deliveries:
                    self._settler.expedite(delivery)
                for delivery in deliveries:
                    if delivery.phase is not CLOSED:
                        delivery.closed = delivery.closed or asyncio.Event()
                        await delivery.closed.wait()
        except TimeoutError:
            pass
        finally:
            for delivery in deliveries:
                delivery.revoked = False
        self.lost(messages, "revoked")

    def _lease_ended(self, delivery: Delivery) -> None:
        # Without order an ack that comes late is still worth sending: some sources take it.
        self._lose([delivery], "its lease could not be kept", late_ack=not self._traits.ordered)

    def _lose(self, deliveries: Sequence[Delivery], reason: str, *, late_ack: bool) -> None:
        for delivery in deliveries:
            if not late_ack or not delivery.has_started:
                delivery.gone = True
            logger.warning(
                "%s: message %s is not ours any more: %s",
                self._route.name,
                delivery.message.id,
                reason,
                extra={"route": self._route.name, "message_id": delivery.message.id},
            )
            self._leases.untrack(delivery)
            self._pipeline.account.leases_lost += 1
            delivery.current.lease_lost.set()
        for delivery in deliveries:
            if delivery.gone:
                self._settler.discard(delivery)
            else:
                self._settler.expedite(delivery)
            if delivery.waits_its_turn:
                self._give_back_from(delivery)
            elif self._traits.ordered or not delivery.has_started:
                self._cancel(delivery)

    def _give_back_from(self, delivery: Delivery) -> None:
        """It stands behind a sibling: it goes back, and so do those behind it."""
        for taken in self._groups.take_from(delivery):
            self._give_back(taken)

    def _cancel(self, delivery: Delivery) -> None:
        delivery.cancelled = True
        if delivery.task is not None and delivery.phase in (STARTING, RUNNING):
            delivery.task.cancel()
