"""The deliveries of one route: each received message gets a slot and a task; a group goes one after the other."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import random
from collections import deque
from collections.abc import Callable, Collection, Sequence

from loafer_core.api.current import Current, Flag, enter
from loafer_core.api.message import Message
from loafer_core.api.outcomes import Ack
from loafer_core.api.provider import Provider, Traits
from loafer_core.delivery.breaker import CircuitBreaker
from loafer_core.delivery.durations import Durations
from loafer_core.delivery.leases import Leases
from loafer_core.delivery.ledger import Ledger
from loafer_core.delivery.pipeline import Decision, Pipeline
from loafer_core.delivery.settlement import Delivery, Settling
from loafer_core.delivery.settler import Settler
from loafer_core.observability.observers import Observers

logger = logging.getLogger("loafer.route")

ACK_BOUND = 100
"""Settlements that may be pending beside the slots, or as many as there are slots if that is more."""


class Deliveries:
    """A slot is held from receive until the outcome is known.

    Settlements that are pending hold none, up to a bound; beyond it each keeps a slot busy. Siblings of a group that
    wait behind one another hold slots too.
    """

    def __init__(
        self,
        delivery: Pipeline,
        provider: Provider,
        traits: Traits,
        *,
        stopping: Flag,
        observers: Observers,
        rng: random.Random,
        on_change: Callable[[], None],
        on_bug: Callable[[BaseException], None],
    ) -> None:
        self._route, self._name, self._traits = delivery.route, delivery.route.name, traits
        self._delivery, self._stopping = delivery, stopping
        self._concurrency, self._most_pending = self._route.concurrency, max(ACK_BOUND, self._route.concurrency)
        self._on_change, self._on_bug = on_change, on_bug
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self.leases = Leases(self._name, provider, traits, rng, self._lease_ended)
        self.acks = Settler(self._name, provider, traits, self.leases, rng)
        self.settling = Settling(
            self._route, traits, self.acks, self.leases, delivery.account, observers, rng, self._closed
        )
        self._ledger = Ledger() if self._route.ledger and traits.stable_ids else None
        breaker = self._route.breaker
        self.breaker = None if breaker is None else CircuitBreaker(breaker.failures, breaker.window)
        self._groups: dict[str, deque[Delivery]] = {}
        """For each group in work: the one that is handled or settled now, and those behind it."""
        self.durations = Durations()
        self._tasks: set[asyncio.Task[None]] = set()
        self._context = contextvars.copy_context()
        """What one handler leaves in its contextvars is not seen by the next."""
        self._revoking: set[Message] = set()
        self.busy = 0
        """Slots that are held."""
        self.last_progress: float | None = None
        self.takes_until: float | None = None
        """While stopping: what does not end before then is given back instead of started. The loop's time."""

    def room(self) -> int:
        """Free slots; with an open breaker none, or one for a probe."""
        overdue = self.acks.pending - self._most_pending
        free = self._concurrency - self.busy - (overdue if overdue > 0 else 0)
        if self.breaker is not None and self.breaker.is_open:
            return min(free, int(not self.busy and self._now() >= self.breaker.retry_at))
        return free

    @property
    def oldest_running(self) -> Delivery | None:
        """What has been in its handler, or with the error handlers, for longest."""
        running = (work for work in self.settling.open.values() if work.phase == "running")
        return min(running, key=lambda work: work.started, default=None)

    # --- from receive to outcome

    def accept(self, messages: Sequence[Message]) -> None:
        """Start a delivery for each; what a stop leaves no time for is given back."""
        self._delivery.account.received += len(messages)
        self.leases.hold(messages, self._now())
        too_late = self._too_late()
        for message in messages:
            work = self.settling.open[message] = Delivery(message, Current(message, self._name, self._stopping))
            if too_late and not self._is_known(message):
                work.phase = "decided"
                self.settling.settle(work, "release")
            else:
                self.busy += 1
                self._schedule(work)

    def _too_late(self) -> bool:
        if self.takes_until is None:
            return False
        timeout = self._route.handler_timeout
        expected = self.durations.usual_most if timeout is None else timeout
        return expected is None or self._now() + expected > self.takes_until

    def _is_known(self, message: Message) -> bool:
        return self._ledger is not None and self._ledger.knows(message, self._now())

    def _schedule(self, work: Delivery) -> None:
        group = work.message.group if self._traits.ordered else None
        if group in self._groups:
            self._groups[group].append(work)
            return
        if group is not None:
            self._groups[group] = deque([work])
        self._start(work)

    def _start(self, work: Delivery) -> None:
        name = f"{self._name}/{work.message.id}"
        work.task = task = self._loop.create_task(self._deliver(work), name=name, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._ended, work))

    def _ended(self, work: Delivery, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if work.phase == "waiting":
            self._give_back(work)  # cancelled by somebody else before its first step: nothing of it has run
        elif not task.cancelled() and (bug := task.exception()) is not None:
            self._on_bug(bug)
        if not self._tasks:
            self.acks.flush()  # nothing runs that could add to a batch: lingering would only delay

    async def _deliver(self, work: Delivery) -> None:
        decision: Decision | None = None
        known = self._is_known(message := work.message)
        try:
            work.phase = "starting"
            safe = not known and (self.leases.is_safe(message) or await self.leases.secure(message))
            if safe and not (work.gone or work.cancelled):
                decision = await self._decide(work)
        except asyncio.CancelledError:
            work.cancelled = True
        work.phase = "decided"
        self._free_slot()
        if known:
            self._delivery.account.known += 1
            self.settling.settle(work, "ack")
        elif decision is not None:
            self._decided(work, decision)
        elif work.cancelled and not work.gone:
            self.settling.settle(work, "release")
        else:
            self.settling.close(work, "dropped")

    async def _decide(self, work: Delivery) -> Decision:
        enter(work.current)
        work.phase, work.started = "running", self._now()
        try:
            return await self._delivery.decide(work.message, lambda: work.cancelled, work.task)
        finally:
            work.seconds = self._now() - work.started
            self.durations.add(work.seconds)

    def _decided(self, work: Delivery, decision: Decision) -> None:
        self.last_progress = now = work.started + work.seconds
        work.error = decision.error
        if self.breaker is not None:
            self._note(self.breaker, decision.error)
        if self._ledger is not None and isinstance(decision.outcome, Ack):
            self._ledger.remember(work.message, now)
        self.settling.outcome(work, decision.outcome)
        if work.message in self._revoking:
            self.acks.hasten(work.message)

    def _note(self, breaker: CircuitBreaker, error: BaseException | None) -> None:
        if breaker.record(error, self._now()):
            what = "open: receiving pauses, what its handler needs seems down" if breaker.is_open else "closed again"
            logger.warning("%s: breaker %s", self._name, what, extra={"route": self._name})
        if breaker.is_open:
            self._loop.call_at(breaker.retry_at, self._on_change)

    def _free_slot(self) -> None:
        self.busy -= 1
        self._on_change()

    def _closed(self, work: Delivery) -> None:
        """The next of its group may start; after one that is neither acked nor rejected none may."""
        group = work.message.group or ""
        chain = self._groups.get(group)
        if chain and chain[0] is work:
            chain.popleft()
            if work.confirmed and chain:
                self._start(chain[0])
            else:
                del self._groups[group]
                for sibling in chain:
                    self._give_back(sibling)
        if self.acks.pending >= self._most_pending or self._stopping.is_set():
            self._on_change()  # else nobody waits for it: its slot came free with its outcome

    def _give_back(self, work: Delivery) -> None:
        """It was not started and will not be."""
        work.phase = "decided"
        self._free_slot()
        if work.gone:
            self.settling.close(work, "dropped")
        else:
            self.settling.settle(work, "release")

    def _give_back_from(self, work: Delivery) -> None:
        """It waits behind a sibling: it goes back, and so do those that wait behind it."""
        chain = self._groups[work.message.group or ""]
        while work in chain:
            self._give_back(chain.pop())

    # --- what takes a message away

    def release_unstarted(self) -> None:
        """A stop begins: give back what waits behind a sibling or has not reached its handler."""
        for work in list(self.settling.open.values()):
            if work.phase in ("waiting", "starting"):
                work.cancelled = True
                if work.waits_its_turn:
                    self._give_back_from(work)

    def cancel_running(self) -> None:
        """The drain is over: cancel what still runs. Threads go on."""
        self.release_unstarted()
        for work in self.settling.open.values():
            self._cancel(work)

    def abandon_running(self) -> None:
        """It could be waited for no longer: left to its lease."""
        for work in list(self.settling.open.values()):
            if work.phase != "decided":
                self.settling.close(work, "abandoned")

    def lost(self, messages: Collection[Message], reason: str) -> None:
        """They are not ours any more: unstarted ones are dropped, running ones told, on ordered sources cancelled."""
        self._lose(self._works(messages), reason, late_ack=False)

    async def revoke(self, messages: Collection[Message], within: float) -> None:
        """They will be taken away: running ones get ``within`` seconds, the rest is lost."""
        works = self._works(messages)
        self.lost([work.message for work in works if not work.has_started], "revoked")
        self._revoking.update(messages)
        try:
            async with asyncio.timeout(within):
                for work in works:
                    self.acks.hasten(work.message)
                for work in works:
                    if work.message in self.settling.open:
                        work.closed = work.closed or asyncio.Event()
                        await work.closed.wait()
        except TimeoutError:
            pass
        finally:
            self._revoking.difference_update(messages)
        self.lost(messages, "revoked")

    def _lease_ended(self, message: Message) -> None:
        # Without order an ack that comes late is still worth sending: some sources take it.
        self._lose(self._works([message]), "its lease could not be kept", late_ack=not self._traits.ordered)

    def _lose(self, works: Sequence[Delivery], reason: str, *, late_ack: bool) -> None:
        for work in works:
            work.gone = work.gone or not late_ack or not work.has_started
            logger.warning(
                "%s: message %s is not ours any more: %s",
                self._name,
                work.message.id,
                reason,
                extra={"route": self._name, "message_id": work.message.id},
            )
            self.leases.forget(work.message)
            self._delivery.account.leases_lost += 1
            work.current.lease_lost.set()
        for work in works:
            (self.acks.discard if work.gone else self.acks.hasten)(work.message)
            if work.waits_its_turn:
                self._give_back_from(work)
            elif self._traits.ordered or not work.has_started:
                self._cancel(work)

    def _cancel(self, work: Delivery) -> None:
        work.cancelled = True
        if work.task is not None and work.phase in ("starting", "running"):
            work.task.cancel()

    def _works(self, messages: Collection[Message]) -> list[Delivery]:
        return [work for message in messages if (work := self.settling.open.get(message)) is not None]
